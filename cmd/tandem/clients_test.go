package main

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tandem/data/mnist"
)

// TestTritonClient lets the unmodified tritonclient.http talk to a real tandem serve.
func TestTritonClient(t *testing.T) {
	if testing.Short() {
		t.Skip("trains a model")
	}
	python, err := filepath.Abs("../../bench/.venv/bin/python")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(python, "-c", "import tritonclient.http").CombinedOutput(); err != nil {
		why := "bench/.venv has no tritonclient: make test installs it. " + string(out)
		if os.Getenv("CI") != "" {
			t.Fatal(why)
		}
		t.Skip("NOT TESTED WITH TRITONCLIENT: ", why)
	}
	dir := t.TempDir()
	tandem := func(args ...string) *exec.Cmd {
		cmd := exec.Command(os.Args[0], args...) // not t.Context, which ends before Cleanup
		cmd.Env = append(os.Environ(), asProgram+"=1", "XDG_CONFIG_HOME="+filepath.Join(dir, "config"), "TANDEM_SERVER=", "TANDEM_KEY=")
		cmd.Dir, cmd.Stderr = dir, os.Stderr
		return cmd
	}
	run := func(args ...string) {
		t.Helper()
		if out, err := tandem(args...).Output(); err != nil {
			t.Fatalf("tandem %v: %v\n%s", args, err, out)
		}
	}
	run("train", "--family", "vision", "--data", "mnist", "--epochs", "1", "--limit-rows", "640", "--seed", "1", "--out", "run")
	serve := tandem("serve", "--data", "data", "--http", "127.0.0.1:0", "--json")
	out, err := serve.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := serve.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := serve.Wait(); err != nil {
			t.Error(err)
		}
	})
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var said struct{ URL, Key string }
	if err := json.Unmarshal(line, &said); err != nil {
		t.Fatal(err)
	}
	run("import", "run", "--name", "mnist", "--deploy")

	_, test, _, err := mnist.Open(t.Context(), mnist.Options{})
	if err != nil {
		t.Fatal(err)
	}
	request := filepath.Join(dir, "request.json")
	if err := writeRequest(request, test); err != nil {
		t.Fatal(err)
	}
	limit, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	client := exec.CommandContext(limit, python, "../../bench/clients/triton_http.py", said.URL, said.Key, "mnist", request)
	answer, err := client.CombinedOutput()
	if err != nil || !strings.HasSuffix(string(answer), "\nok\n") {
		t.Fatalf("%v\n%s", err, answer)
	}
	t.Logf("%s", answer)
}
