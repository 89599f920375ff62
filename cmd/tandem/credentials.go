package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tandem/fault"
)

// credential is a key that this user's command line has.
type credential struct {
	URL  string `json:"url"`  // of the server
	Data string `json:"data"` // the server's data directory, which the key belongs to
	Key  string `json:"key"`
}

// credentials is the file in which the first start of a server leaves its owner key for
// the command line of the same user. The newest entry is the first: of two servers that
// had the same URL, the one that started last is meant, and the other's key is not lost.
type credentials struct {
	path    string
	Servers []credential `json:"servers"`
}

// openCredentials reads the file; without one there are no entries.
func openCredentials(getenv func(string) string) (*credentials, error) {
	const op = "tandem.credentials"
	dir := getenv("XDG_CONFIG_HOME")
	if dir == "" || !filepath.IsAbs(dir) { // as the XDG specification has it
		home := getenv("HOME")
		if home == "" {
			return nil, fault.New(op, fault.NotFound, "there is no folder for the keys of the command line").Try("set HOME or XDG_CONFIG_HOME")
		}
		dir = filepath.Join(home, ".config")
	}
	c := &credentials{path: filepath.Join(dir, "tandem", "credentials.json")}
	text, err := os.ReadFile(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, fault.From(err, op)
	}
	if err := json.Unmarshal(text, c); err != nil {
		return nil, fault.Wrap(err, op, fault.Corrupt, "%s cannot be read", c.path).Try("repair or remove the file")
	}
	return c, nil
}

// keyFor is the key for a server; "" if there is none.
func (c *credentials) keyFor(url string) string {
	for _, s := range c.Servers {
		if s.URL == url || s.URL == strings.Replace(url, "//localhost:", "//127.0.0.1:", 1) {
			return s.Key
		}
	}
	return ""
}

// put enters a credential, in place of the one for the same data directory. A server
// that runs comes first; one that will be started some day, last.
func (c *credentials) put(n credential, first bool) {
	c.Servers = slices.DeleteFunc(c.Servers, func(s credential) bool { return s.Data == n.Data })
	at := len(c.Servers)
	if first {
		at = 0
	}
	c.Servers = slices.Insert(c.Servers, at, n)
}

// save writes the file whole, for this user's eyes alone.
func (c *credentials) save() error {
	const op = "tandem.credentials"
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fault.From(err, op)
	}
	dir := filepath.Dir(c.path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fault.From(err, op)
	}
	if err := os.Chmod(dir, 0o700); err != nil { // it may have been there
		return fault.From(err, op)
	}
	f, err := os.CreateTemp(dir, ".credentials.tmp-") // mode 0600
	if err != nil {
		return fault.From(err, op)
	}
	_, err = f.Write(append(text, '\n'))
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), c.path)
	}
	if err != nil {
		return fault.From(errors.Join(err, os.Remove(f.Name())), op)
	}
	return nil
}
