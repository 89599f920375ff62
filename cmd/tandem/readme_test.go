package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// documents are where commands for people stand.
func documents(t *testing.T) []string {
	t.Helper()
	var list []string
	for _, pattern := range []string{"../../README*.md", "../../docs/*.md"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, files...)
	}
	if len(list) < 4 {
		t.Fatalf("only %v found", list)
	}
	return list
}

// block finds fenced blocks, with the comment before them that says whether they are run.
var block = regexp.MustCompile("(?ms)^(?:<!-- (run|not run here: [^\n]+) -->\n)?```(sh|python)\n(.*?)^```$")

// TestDocumentedCommands runs every block marked "run", those of a document one
// after the other in one folder, where model.gguf is a small model. A block without a mark is an error, so that none
// is left out silently.
func TestDocumentedCommands(t *testing.T) {
	if testing.Short() {
		t.Skip("trains and serves")
	}
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", filepath.Join(bin, "tandem"), ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, path := range documents(t) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var script strings.Builder
		for _, m := range block.FindAllStringSubmatch(string(text), -1) {
			switch {
			case m[1] == "":
				t.Errorf("%s: a block of commands is marked neither \"run\" nor \"not run here: reason\":\n%s", path, m[3])
			case m[1] == "run":
				script.WriteString(m[3])
			}
		}
		if script.Len() > 0 {
			t.Run(filepath.Base(path), func(t *testing.T) {
				dir := t.TempDir()
				if strings.Contains(script.String(), "model.gguf") {
					storyTeller(t, filepath.Join(dir, "model.gguf"))
				}
				runCommands(t, bin, dir, script.String())
			})
		}
	}
}

// runCommands runs a script as a user who has nothing yet, on a port that is free.
func runCommands(t *testing.T, bin, dir, script string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	script = strings.ReplaceAll(script, "127.0.0.1:8080", fmt.Sprintf("127.0.0.1:%d", port))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	home := t.TempDir()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", "trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\n"+script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "HOME="+home, "LANG=C",
		"XDG_CONFIG_HOME="+filepath.Join(home, "config"), "XDG_DATA_HOME="+filepath.Join(home, "data"), "XDG_CACHE_HOME="+filepath.Join(home, "cache"),
		"TANDEM_SERVER=", "TANDEM_KEY=", "TANDEM_HOME=")
	// HOME moves the Go module cache, from which MNIST is taken.
	if out, err := exec.Command("go", "env", "GOMODCACHE", "GOPROXY").Output(); err == nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		cmd.Env = append(cmd.Env, "GOMODCACHE="+lines[0], "GOPROXY="+lines[1])
	}
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, script, out)
	}
	t.Logf("%s", out)
}
