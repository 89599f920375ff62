package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tandem/model/gguf/gguftest"
)

// storyTeller copies the story model and gives it a chat template, which goes on with
// the last message.
func storyTeller(t *testing.T, to string) {
	t.Helper()
	dir := os.Getenv("TANDEM_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "data")
	}
	path := filepath.Join(dir, "stories260k", "stories260K.gguf")
	if _, err := os.Stat(path); err != nil {
		t.Skip("NOT TESTED WITH A REAL MODEL: ", err)
	}
	gguftest.WithTemplate(t, path, to, "{{ bos_token }}{{ messages[-1].content }}")
}

// TestOpenAIClients lets the unmodified clients of OpenAI's protocol talk to a real
// tandem serve.
func TestOpenAIClients(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a server and compiles a client")
	}
	dir := t.TempDir()
	storyTeller(t, filepath.Join(dir, "stories.gguf"))
	tandem := func(args ...string) *exec.Cmd {
		cmd := exec.Command(os.Args[0], args...) // not t.Context, which ends before Cleanup
		cmd.Env = append(os.Environ(), asProgram+"=1", "XDG_CONFIG_HOME="+filepath.Join(dir, "config"), "TANDEM_SERVER=", "TANDEM_KEY=")
		cmd.Dir, cmd.Stderr = dir, os.Stderr
		return cmd
	}
	serve := tandem("serve", "--data", "data", "--http", "127.0.0.1:0", "--json")
	out, err := serve.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(serve.Process.Signal(syscall.SIGTERM), serve.Wait()); err != nil {
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
	if out, err := tandem("import", "stories.gguf", "--name", "stories").Output(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := tandem("deploy", "stories").Output(); err != nil || !strings.Contains(string(out), said.URL+"/v1/chat/completions") {
		t.Fatalf("deploy: %v\n%s", err, out)
	}
	if out, err := tandem("chat", "stories", "-p", "One day", "--max-tokens", "3").Output(); err != nil || len(out) == 0 {
		t.Errorf("chat: %v %q", err, out)
	}
	none := tandem("chat", "nothing")
	none.Stderr = nil
	if _, err := none.Output(); err == nil || !strings.Contains(string(err.(*exec.ExitError).Stderr), `"nothing"`) {
		t.Errorf("a conversation with a model that is not there begins: %v", err)
	}
	limit, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	t.Run("openai-python", func(t *testing.T) {
		python, err := filepath.Abs("../../bench/.venv/bin/python")
		if err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(python, "-c", "import openai").CombinedOutput(); err != nil {
			skipOrFail(t, "bench/.venv has no openai: make test installs it. "+string(out))
		}
		runClient(t, exec.CommandContext(limit, python, "../../bench/clients/openai_client.py", said.URL, said.Key, "stories"))
	})
	t.Run("openai-go", func(t *testing.T) {
		client := filepath.Join(dir, "openai_go")
		build := exec.CommandContext(limit, "go", "build", "-o", client, ".")
		build.Dir = "../../bench/clients/openai_go"
		if out, err := build.CombinedOutput(); err != nil {
			skipOrFail(t, "bench/clients/openai_go cannot be built: "+string(out))
		}
		runClient(t, exec.CommandContext(limit, client, said.URL, said.Key, "stories"))
	})
}

// skipOrFail: what the tests need must be there in CI.
func skipOrFail(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(why)
	}
	t.Skip("NOT TESTED WITH A REAL CLIENT: ", why)
}

func runClient(t *testing.T, client *exec.Cmd) {
	t.Helper()
	answer, err := client.CombinedOutput()
	if err != nil || !strings.HasSuffix(string(answer), "\nok\n") {
		t.Fatalf("%v\n%s", err, answer)
	}
	t.Logf("%s", answer)
}
