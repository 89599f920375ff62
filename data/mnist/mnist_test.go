package mnist

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"tandem/fault"
)

// moduleZipFile is the real zip, which the go command gets through whatever proxy
// this environment has.
var moduleZipFile = sync.OnceValues(func() ([]byte, error) {
	cmd := exec.Command("go", "mod", "download", "-json", Module+"@"+Version)
	cmd.Dir = os.TempDir()
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	var said struct{ Zip, Sum string }
	if err := json.Unmarshal(out, &said); err != nil {
		return nil, err
	}
	if said.Sum != Sum {
		return nil, errors.New("the go command says that the sum is " + said.Sum)
	}
	return os.ReadFile(said.Zip)
})

func realZip(t *testing.T) []byte {
	t.Helper()
	if _, ok := embedded(); ok {
		t.Skip("the set is in the program: it's never fetched")
	}
	b, err := moduleZipFile()
	if err != nil {
		t.Skipf("the module %s is out of reach: %v", Module, err)
	}
	return b
}

// serve is a module proxy on loopback that serves the zip by f and counts requests.
func serve(t *testing.T, f http.HandlerFunc) (address string, requests *atomic.Int32) {
	t.Helper()
	requests = new(atomic.Int32)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if !strings.HasSuffix(r.URL.Path, "/github.com/petar/!go!m!n!i!s!t/@v/"+Version+".zip") {
			http.Error(w, "a path that no proxy has: "+r.URL.Path, http.StatusTeapot)
			return
		}
		f(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL, requests
}

func bytesOf(b []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(b)))
		w.Write(b)
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// options look nowhere but at a proxy.
func options(t *testing.T, proxy string) Options {
	return Options{CacheDir: filepath.Join(t.TempDir(), "new", "tandem"), ModuleCache: t.TempDir(), Proxy: proxy}
}

func TestOpenDownloadsVerifiesAndKeeps(t *testing.T) {
	zip := realZip(t)
	address, requests := serve(t, bytesOf(zip))
	opt := options(t, address+"/proxy/")
	var last, total int64
	opt.Progress = func(n, of int64) {
		if n < last {
			t.Errorf("progress fell from %d to %d", last, n)
		}
		last, total = n, of
	}
	train, test, source, err := Open(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	if last != int64(len(zip)) || total != last || !strings.HasPrefix(source, address) || strings.Contains(source, "not kept") {
		t.Errorf("progress ended at %d of %d; the source is %s", last, total, source)
	}
	image, _ := train.Column("image")
	label, _ := test.Column("label")
	if train.Len() != 60_000 || test.Len() != 10_000 || image.String() != "uint8[60000x28x28]" || train.Classes("label") != 10 {
		t.Errorf("%d and %d examples of %v in %d classes", train.Len(), test.Len(), image, train.Classes("label"))
	}
	if first := label.I64()[:5]; !slices.Equal(first, []int64{7, 2, 1, 0, 4}) {
		t.Errorf("the first labels of the tests are %v", first)
	}
	checkCache(t, opt, requests)
}

// checkCache checks that what was kept is used, and fetched anew once it's damaged.
func checkCache(t *testing.T, opt Options, requests *atomic.Int32) {
	t.Helper()
	kept := cachePath(opt)
	if entries, _ := os.ReadDir(opt.CacheDir); len(entries) != 1 {
		t.Errorf("the cache folder has %v", entries)
	}
	if _, source, err := find(t.Context(), opt); err != nil || source != kept || requests.Load() != 1 {
		t.Errorf("the second time: from %s by %d requests, %v", source, requests.Load(), err)
	}
	b, err := os.ReadFile(kept)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2]++
	if err := os.WriteFile(kept, b, 0o644); err != nil {
		t.Fatal(err)
	}
	opt.Progress = nil
	if _, source, err := find(t.Context(), opt); err != nil || source == kept || requests.Load() != 2 {
		t.Errorf("of a damaged file: from %s by %d requests, %v", source, requests.Load(), err)
	}
	if _, source, err := find(t.Context(), opt); err != nil || source != kept || requests.Load() != 2 {
		t.Errorf("once mended: from %s by %d requests, %v", source, requests.Load(), err)
	}
}

func TestModuleCacheComesFirst(t *testing.T) {
	zip := realZip(t)
	address, requests := serve(t, bytesOf(zip))
	opt := options(t, address)
	path := moduleZip(opt.ModuleCache)
	if err := keep(path, zip); err != nil {
		t.Fatal(err)
	}
	if _, source, err := find(t.Context(), opt); err != nil || source != path || requests.Load() != 0 {
		t.Errorf("from %s by %d requests, %v", source, requests.Load(), err)
	}
	if err := keep(path, zip[:len(zip)-1]); err != nil {
		t.Fatal(err)
	}
	if _, source, err := find(t.Context(), opt); err != nil || source == path || requests.Load() != 1 {
		t.Errorf("of a damaged file: from %s by %d requests, %v", source, requests.Load(), err)
	}
}

func TestACacheThatCannotBeWrittenIsNoReasonToFail(t *testing.T) {
	address, _ := serve(t, bytesOf(realZip(t)))
	opt := options(t, address)
	opt.CacheDir = filepath.Join(t.TempDir(), "file", "folder")
	if err := os.WriteFile(filepath.Dir(opt.CacheDir), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, source, err := find(t.Context(), opt); err != nil || !strings.Contains(source, "not kept") {
		t.Errorf("from %s, %v", source, err)
	}
}

func TestKeepLeavesNothingBehindWhenItFails(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "taken", "by a folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := keep(filepath.Join(dir, "taken"), []byte("x")); err == nil {
		t.Error("a folder was replaced")
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left %v", entries)
	}
}

func TestASourceShowsNoPassword(t *testing.T) {
	address, _ := serve(t, bytesOf(realZip(t)))
	_, source, err := findZip(t.Context(), options(t, strings.Replace(address, "//", "//user:secret@", 1)))
	if err != nil || strings.Contains(source, "secret") {
		t.Errorf("from %s, %v", source, err)
	}
}

func TestOpenRefusesChangedBytes(t *testing.T) {
	zip := realZip(t)
	changed := slices.Clone(zip)
	changed[len(changed)/2]++
	// With another name for one of its files it's still sound as a zip.
	renamed := bytes.ReplaceAll(zip, []byte("README.md"), []byte("README.me"))
	for name, b := range map[string][]byte{
		"one byte": changed, "a renamed file": renamed, "no zip": []byte("<html>"), "nothing": nil,
		"cut": zip[:len(zip)-100],
	} {
		address, _ := serve(t, bytesOf(b))
		opt := options(t, address)
		_, _, _, err := Open(t.Context(), opt)
		if fault.KindOf(err) != fault.Corrupt || !strings.Contains(err.Error(), address) || fault.RemedyOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(cachePath(opt)); err == nil {
			t.Errorf("%s: was kept", name)
		}
	}
}

func TestAZipBombIsNotUnpacked(t *testing.T) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, name := range []string{"a", "b"} { // each alone is within the limit
		f, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(make([]byte, unpackedLimitBytes/2+1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := readZip(b.Bytes(), "bomb.zip"); fault.KindOf(err) != fault.Corrupt || !strings.Contains(err.Error(), "files are larger than") {
		t.Errorf("%d bytes: %v", b.Len(), err)
	}
}

func TestOpenReportsProxiesThatFail(t *testing.T) {
	endless := func(w http.ResponseWriter, r *http.Request) {
		for chunk := make([]byte, 1<<20); r.Context().Err() == nil; {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}
	cut := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		w.Write(make([]byte, 500))
	}
	large := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "999999999")
		w.WriteHeader(http.StatusOK)
	}
	for name, tc := range map[string]struct {
		f    http.HandlerFunc
		kind fault.Kind
		says string
	}{
		"404":     {status(404), fault.NotFound, "404"},
		"410":     {status(410), fault.NotFound, "410"},
		"500":     {status(500), fault.Unavailable, "500"},
		"401":     {status(401), fault.Unavailable, "401"},
		"cut":     {cut, fault.Unavailable, "unexpected EOF"},
		"endless": {endless, fault.TooLarge, "larger"},
		"large":   {large, fault.TooLarge, "999999999"},
	} {
		address, _ := serve(t, tc.f)
		_, _, err := findZip(t.Context(), options(t, address))
		if fault.KindOf(err) != tc.kind || !strings.Contains(err.Error(), address) ||
			!strings.Contains(err.Error(), tc.says) || fault.RemedyOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestProxyListIsWalkedAsTheGoCommandDoes(t *testing.T) {
	zip := realZip(t)
	good, _ := serve(t, bytesOf(zip))
	lacks, _ := serve(t, status(404))
	fails, _ := serve(t, status(500))
	folder := t.TempDir()
	if err := keep(filepath.Join(folder, filepath.FromSlash(zipPath())), zip); err != nil {
		t.Fatal(err)
	}
	for list, kind := range map[string]fault.Kind{
		lacks + "," + good:                    0,
		lacks + "|" + good:                    0,
		fails + "|" + good:                    0,
		fails + "," + good:                    fault.Unavailable,
		"direct|" + good:                      fault.Unsupported,
		"off|" + good:                         fault.Denied,
		lacks + ",direct":                     fault.Unsupported,
		good + ",off":                         0,
		" ," + good + " ":                     0,
		",":                                   fault.Invalid,
		"file://" + folder:                    0,
		"file://" + folder + "/no," + good:    0,
		"ftp://127.0.0.1":                     fault.Invalid,
		"http://user:secret@[bad":             fault.Invalid,
		"http://user:secret@127.0.0.1:1/path": fault.Unavailable,
	} {
		_, _, err := findZip(t.Context(), options(t, list))
		if kind == 0 && err != nil || kind != 0 && (fault.KindOf(err) != kind || fault.RemedyOf(err) == "") {
			t.Errorf("%s: %v", list, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("a password is shown: %v", err)
		}
	}
}

func TestParseProxiesCompletesAddresses(t *testing.T) {
	got := parseProxies("proxy.example.com|http://a, direct,never")
	want := []proxy{{"https://proxy.example.com", true}, {"http://a", false}, {"direct", false}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestEnvironmentIsHonoured(t *testing.T) {
	t.Setenv("GOMODCACHE", "/cache")
	t.Setenv("GOPROXY", "http://127.0.0.1:1")
	t.Setenv("GONOPROXY", "")
	t.Setenv("GOPRIVATE", "github.com/petar")
	want := goEnv{proxy: "http://127.0.0.1:1", noProxy: "github.com/petar", moduleCache: "/cache"}
	if got := readGoEnv(t.Context(), Options{}); got != want {
		t.Errorf("got %+v", got)
	}
	if _, _, err := download(t.Context(), want, Options{}); fault.KindOf(err) != fault.Denied || fault.RemedyOf(err) == "" {
		t.Errorf("a module that's private is asked for: %v", err)
	}
	if got := readGoEnv(t.Context(), Options{Proxy: "http://b"}); got.proxy != "http://b" || got.noProxy != "" {
		t.Errorf("with an option: %+v", got)
	}
	// Without the variables and without a go command, its defaults stand.
	for _, name := range []string{"GOPROXY", "GOMODCACHE", "GOPRIVATE", "GOPATH", "PATH"} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", "/nobody")
	if got := readGoEnv(t.Context(), Options{}); got.proxy != defaultProxy || got.moduleCache != "/nobody/go/pkg/mod" {
		t.Errorf("by default: %+v", got)
	}
}

func TestTheGoCommandIsAsked(t *testing.T) {
	settings := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(settings, []byte("GOPROXY=http://127.0.0.1:9\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOENV", settings)
	t.Setenv("GOPROXY", "")
	if got := readGoEnv(t.Context(), Options{}); got.proxy != "http://127.0.0.1:9" {
		t.Errorf("got %+v", got)
	}
}

func TestCancelEndsADownload(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	address, requests := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Write(make([]byte, 100))
		w.(http.Flusher).Flush()
		cancel()
		<-r.Context().Done()
	})
	_, _, err := findZip(ctx, options(t, address+"|"+address))
	if fault.KindOf(err) != fault.Canceled || !errors.Is(err, context.Canceled) || requests.Load() != 1 {
		t.Errorf("%d requests, %v", requests.Load(), err)
	}
}

func TestAProxyThatStallsIsGivenUp(t *testing.T) {
	address, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Write(make([]byte, 100))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	opt := options(t, address)
	opt.stall = 50 * time.Millisecond
	_, _, err := findZip(t.Context(), opt)
	if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "nothing came for 50ms") {
		t.Errorf("got %v", err)
	}
}

func TestVerifyNamesTheFile(t *testing.T) {
	m := fstest.MapFS{}
	if err := Verify(m); fault.KindOf(err) != fault.Corrupt || fault.RemedyOf(err) == "" {
		t.Errorf("of nothing: %v", err)
	}
	for _, name := range Files() {
		m[name] = &fstest.MapFile{Data: []byte("x")}
	}
	if err := Verify(m); fault.KindOf(err) != fault.Corrupt || !strings.Contains(err.Error(), files[0].name) {
		t.Errorf("of other files: %v", err)
	}
}

// TestEmbedded runs with -tags embed_mnist.
func TestEmbedded(t *testing.T) {
	if _, ok := embedded(); !ok {
		t.Skip("built without embed_mnist")
	}
	train, _, source, err := Open(t.Context(), Options{Proxy: "off"})
	if err != nil || source != "this program" {
		t.Fatalf("from %s, %v", source, err)
	}
	images, _ := train.Column("image")
	if last := images.Rows(59_999, 60_000); !slices.ContainsFunc(last.Bytes(), func(v byte) bool { return v > 0 }) {
		t.Error("the last picture is blank")
	}
}
