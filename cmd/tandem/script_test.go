package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"tandem/data/mnist"
	"tandem/data/npz"
	"tandem/tensor"
)

// asProgram makes the test's own binary the program, for tests that are not scripts.
const asProgram = "TANDEM_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(runMain())
	}
	testscript.Main(m, map[string]func(){"tandem": func() { os.Exit(runMain()) }})
}

// TestScripts runs testdata/script. Those that train have names that begin with train,
// and are left out by -short.
func TestScripts(t *testing.T) {
	out, err := exec.Command("go", "env", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	s := servers{t: t, running: map[string]*process{}}
	files, err := filepath.Glob("testdata/script/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts: ", err)
	}
	if testing.Short() {
		kept := files[:0]
		for _, f := range files {
			if !strings.HasPrefix(filepath.Base(f), "train") {
				kept = append(kept, f)
			}
		}
		files = kept
	}
	testscript.Run(t, testscript.Params{
		Files: files,
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", filepath.Join(e.WorkDir, "home"))
			e.Setenv("GOMODCACHE", strings.TrimSpace(string(out))) // where MNIST may be
			e.Setenv("XDG_CACHE_HOME", cache)
			e.Setenv("LANG", "C")
			e.Setenv("TMPDIR", filepath.Join(e.WorkDir, "tmp"))
			return os.MkdirAll(filepath.Join(e.WorkDir, "tmp"), 0o755)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"server": s.start, "end": s.end, "mode": mode, "field": field, "digit": digit, "taken": taken, "unwritable": unwritable,
			"http": status, "nokey": noKey, "empty": empty, "await": await, "npz": arrays, "colours": colours, "table": table, "verse": verse,
			"digitset": digitSet,
		},
		RequireExplicitExec: true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
	})
}

// servers are those that scripts have started.
type servers struct {
	t       *testing.T
	mu      sync.Mutex
	running map[string]*process
}

type process struct {
	cmd    *exec.Cmd
	output *bufio.Reader
}

// start is "server NAME ARG…": a tandem serve. It sets NAME_URL and, if one is printed,
// NAME_KEY.
func (s *servers) start(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: server NAME ARG…")
	}
	path, err := lookIn(ts.Getenv("PATH"), "tandem")
	ts.Check(err)
	cmd := exec.Command(path, append([]string{"serve", "--json", "--http", "127.0.0.1:0"}, args[1:]...)...)
	cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"HOME", "PATH", "GOMODCACHE", "XDG_CACHE_HOME", "TMPDIR", "LANG", "GOCOVERDIR"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	p := &process{cmd, bufio.NewReader(out)}
	s.mu.Lock()
	s.running[ts.Getenv("WORK")+args[0]] = p
	s.mu.Unlock()
	ts.Defer(func() { _ = cmd.Process.Kill() }) // one that has ended already cannot be
	line, err := p.output.ReadBytes('\n')
	if err != nil {
		_ = cmd.Wait()
		ts.Fatalf("the server did not start: %v", err)
	}
	var said struct{ URL, Key string }
	ts.Check(json.Unmarshal(line, &said))
	ts.Setenv(args[0]+"_URL", said.URL)
	ts.Setenv(args[0]+"_KEY", said.Key)
	ts.Logf("%s", line)
}

// end is "end NAME SIGNAL STATUS": it waits for the server's end.
func (s *servers) end(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: end NAME TERM|KILL STATUS")
	}
	s.mu.Lock()
	p := s.running[ts.Getenv("WORK")+args[0]]
	s.mu.Unlock()
	sig := map[string]syscall.Signal{"TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL, "INT": syscall.SIGINT}[args[1]]
	ts.Check(p.cmd.Process.Signal(sig))
	ended := make(chan struct{})
	go func() { _ = p.cmd.Wait(); close(ended) }() // its status is asked for below
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		ts.Fatalf("%s did not end", args[0])
	}
	if got := strconv.Itoa(p.cmd.ProcessState.ExitCode()); got != args[2] {
		ts.Fatalf("%s ended with status %s, want %s", args[0], got, args[2])
	}
}

// mode is "mode FILE 0600".
func mode(ts *testscript.TestScript, neg bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); (got == args[1]) == neg {
		ts.Fatalf("%s has mode %s", args[0], got)
	}
}

// field is "field NAME VARIABLE": a string or number of the JSON object that the last
// command printed becomes a variable.
func field(ts *testscript.TestScript, neg bool, args []string) {
	lines := strings.Split(strings.TrimSpace(ts.ReadFile("stdout")), "\n")
	var v map[string]any
	ts.Check(json.Unmarshal([]byte(lines[len(lines)-1]), &v))
	if _, ok := v[args[0]]; ok == neg {
		ts.Fatalf("field %s: %v", args[0], v[args[0]])
	}
	if len(args) > 1 {
		ts.Setenv(args[1], fmt.Sprint(v[args[0]]))
	}
}

// digit is "digit N FILE.png": the Nth test image of MNIST as a picture.
func digit(ts *testscript.TestScript, neg bool, args []string) {
	_, test, _, err := mnist.Open(context.Background(), mnist.Options{})
	ts.Check(err)
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	pixels, _ := test.Column("image")
	picture := image.NewGray(image.Rect(0, 0, 28, 28))
	for i, v := range pixels.Rows(n, n+1).Bytes() {
		picture.SetGray(i%28, i/28, color.Gray{Y: v})
	}
	f, err := os.Create(ts.MkAbs(args[1]))
	ts.Check(err)
	defer f.Close()
	ts.Check(png.Encode(f, picture))
}

// colours is "colours DIR N": N pictures each of two classes, red and blue, in several
// sizes.
func colours(ts *testscript.TestScript, neg bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	for class, c := range map[string]color.RGBA{"red": {R: 200, G: 30, A: 255}, "blue": {B: 200, G: 30, A: 255}} {
		dir := filepath.Join(ts.MkAbs(args[0]), class)
		ts.Check(os.MkdirAll(dir, 0o755))
		for i := range n {
			picture := image.NewRGBA(image.Rect(0, 0, 12+i%5, 12+i%3))
			for p := range picture.Pix {
				picture.Pix[p] = [4]uint8{c.R, c.G, c.B, c.A}[p%4] - uint8(p%4/3+i%20)
			}
			f, err := os.Create(filepath.Join(dir, strconv.Itoa(i)+".png"))
			ts.Check(err)
			ts.Check(png.Encode(f, picture))
			ts.Check(f.Close())
		}
	}
}

// table is "table FILE N": rows whose risk is high from the age of 40 on, or where a note
// is wild.
func table(ts *testscript.TestScript, neg bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	var b strings.Builder
	b.WriteString("age,city,note,risk\n")
	for i := range n {
		age, word, risk := 18+i*37%50, []string{"calm", "wild", "dull"}[i%3], "low"
		if age >= 40 || word == "wild" {
			risk = "high"
		}
		fmt.Fprintf(&b, "%d,%s,a %s %s,%s\n", age, []string{"here", "there"}[i%2], word, []string{"day", "one"}[i/3%2], risk)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(b.String()), 0o644))
}

// verse is "verse FILE N [TEXT]": a text of N lines, of four kinds, and another one.
func verse(ts *testscript.TestScript, neg bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	var b strings.Builder
	for i := range n {
		b.WriteString([]string{"one for sorrow\n", "two for mirth\n", "three for a funeral\n", "four for birth\n"}[i*i*7919/5%4])
	}
	b.WriteString(strings.Join(args[2:], " "))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(b.String()), 0o644))
}

// arrays is "npz FILE NAME 2x3": an array of float32 between 0 and 1.
func arrays(ts *testscript.TestScript, neg bool, args []string) {
	var shape []int
	for _, d := range strings.Split(args[2], "x") {
		n, err := strconv.Atoi(d)
		ts.Check(err)
		shape = append(shape, n)
	}
	x := tensor.New(tensor.Float32, shape...)
	for i := range x.F32() {
		x.F32()[i] = float32(i%97) / 97
	}
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	defer f.Close()
	ts.Check(npz.Write(f, []npz.Array{{Name: args[1], Tensor: x}}))
}

// digitSet is "digitset N FILE.npz": the first test images of MNIST and their labels.
func digitSet(ts *testscript.TestScript, neg bool, args []string) {
	_, test, _, err := mnist.Open(context.Background(), mnist.Options{})
	ts.Check(err)
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	pixels, _ := test.Column("image")
	labels, _ := test.Column("label")
	f, err := os.Create(ts.MkAbs(args[1]))
	ts.Check(err)
	defer f.Close()
	ts.Check(npz.Write(f, []npz.Array{{Name: "image", Tensor: pixels.Rows(0, n)}, {Name: "labels", Tensor: labels.Rows(0, n)}}))
}

// taken is "taken URL VARIABLE": host and port of a URL.
func taken(ts *testscript.TestScript, neg bool, args []string) {
	ts.Setenv(args[1], strings.TrimPrefix(args[0], "http://"))
}

// unwritable sets UNWRITABLE to a directory that this user cannot make: root may write
// everywhere but beneath a file.
func unwritable(ts *testscript.TestScript, neg bool, args []string) {
	if os.Geteuid() == 0 && !neg {
		ts.Setenv("UNWRITABLE", filepath.Join(ts.MkAbs("file"), "data"))
		ts.Check(os.WriteFile(ts.MkAbs("file"), nil, 0o600))
		return
	}
	dir := ts.MkAbs("readonly")
	ts.Check(os.Mkdir(dir, 0o500))
	ts.Setenv("UNWRITABLE", filepath.Join(dir, "data"))
}

// status is "http STATUS URL [KEY]": what a GET is answered with.
func status(ts *testscript.TestScript, neg bool, args []string) {
	q, err := http.NewRequest("GET", args[1], nil)
	ts.Check(err)
	if len(args) > 2 {
		q.Header.Set("Authorization", "Bearer "+args[2])
	}
	r, err := http.DefaultClient.Do(q)
	ts.Check(err)
	defer r.Body.Close()
	if got := strconv.Itoa(r.StatusCode); (got == args[0]) == neg {
		ts.Fatalf("%s answered %s", args[1], got)
	}
}

// noKey is "nokey NAME": the start of that server printed no key.
func noKey(ts *testscript.TestScript, neg bool, args []string) {
	if key := ts.Getenv(args[0] + "_KEY"); (key == "") == neg {
		ts.Fatalf("%s printed the key %q", args[0], key)
	}
}

// empty is "empty DIR".
func empty(ts *testscript.TestScript, neg bool, args []string) {
	entries, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	if (len(entries) == 0) == neg {
		ts.Fatalf("%s has %v", args[0], entries)
	}
}

// await is "await FILE": until it is there and has something in it.
func await(ts *testscript.TestScript, neg bool, args []string) {
	for range 600 {
		if info, err := os.Stat(ts.MkAbs(args[0])); err == nil && info.Size() > 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	ts.Fatalf("%s did not come", args[0])
}

func lookIn(path, name string) (string, error) {
	for _, dir := range filepath.SplitList(path) {
		if full := filepath.Join(dir, name); exists(full) {
			return full, nil
		}
	}
	return "", fmt.Errorf("no %s in %s", name, path)
}
