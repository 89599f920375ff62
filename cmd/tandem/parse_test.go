package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestByteSize(t *testing.T) {
	for text, want := range map[string]byteSize{"0": 0, "512": 512, "64MiB": 64 << 20, "4 GiB": 4 << 30, "1KiB": 1024} {
		var b byteSize
		if err := b.UnmarshalText([]byte(text)); err != nil || b != want {
			t.Errorf("%q: %d, %v", text, b, err)
		}
	}
	for _, text := range []string{"", "-1", "4GB", "4.5GiB", "99999999TiB", "GiB", "1e3"} {
		var b byteSize
		if err := b.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q: %d", text, b)
		}
	}
}

func TestParseRef(t *testing.T) {
	for text, want := range map[string]modelRef{"m": {"m", 0}, "m:3": {"m", 3}} {
		if got, err := parseRef(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", ":1", "m:", "m:0", "m:-1", "m:x", "m:1:2"} {
		if got, err := parseRef(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestModelName(t *testing.T) {
	for text, want := range map[string]string{"mnist": "mnist", "My Digits": "mydigits", "..a_b-": "a_b-", "图片": "model", "": "model"} {
		if got := modelName(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestDataDir(t *testing.T) {
	for _, tc := range []struct {
		flag string
		env  map[string]string
		want string
	}{
		{"/a", map[string]string{"TANDEM_HOME": "/b"}, "/a"},
		{"", map[string]string{"TANDEM_HOME": "/b", "XDG_DATA_HOME": "/c"}, "/b"},
		{"", map[string]string{"XDG_DATA_HOME": "/c", "HOME": "/h"}, "/c/tandem"},
		{"", map[string]string{"XDG_DATA_HOME": "not/absolute", "HOME": "/h"}, "/h/.local/share/tandem"},
		{"", nil, ""},
	} {
		got, err := dataDir(tc.flag, func(name string) string { return tc.env[name] })
		if got != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("%q, %v: %q, %v", tc.flag, tc.env, got, err)
		}
	}
}

// TestCredentials: a data directory has one entry, the server that started last comes
// first, and no key is lost when two servers have had the same URL.
func TestCredentials(t *testing.T) {
	dir := t.TempDir()
	getenv := func(name string) string { return map[string]string{"XDG_CONFIG_HOME": dir}[name] }
	put := func(url, data, key string, first bool) *credentials {
		t.Helper()
		c, err := openCredentials(getenv)
		if err != nil {
			t.Fatal(err)
		}
		c.put(credential{url, data, key}, first)
		if err := c.save(); err != nil {
			t.Fatal(err)
		}
		return c
	}
	put("http://127.0.0.1:8080", "/one", "td_1", true)
	put("http://127.0.0.1:8080", "/two", "td_2", false)
	c := put("http://127.0.0.1:9090", "/three", "td_3", true)
	if c.keyFor("http://127.0.0.1:8080") != "td_1" || c.keyFor("http://localhost:9090") != "td_3" || c.keyFor("http://other:8080") != "" {
		t.Errorf("%+v", c.Servers)
	}
	c = put("http://127.0.0.1:8080", "/two", "td_2", true)
	if c.keyFor("http://127.0.0.1:8080") != "td_2" || len(c.Servers) != 3 || c.Servers[2].Key != "td_1" {
		t.Errorf("%+v", c.Servers)
	}
	info, err := os.Stat(filepath.Join(dir, "tandem", "credentials.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "tandem", ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
	if err := os.WriteFile(c.path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openCredentials(getenv); err == nil {
		t.Error("a damaged file was taken")
	}
}
