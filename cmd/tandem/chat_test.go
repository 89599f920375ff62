package main

import (
	"context"
	"encoding/json"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/fault"
	"tandem/internal/message"
	"tandem/llm"
)

// echo answers with the number of messages and the last of them, word by word.
func echo(_ context.Context, messages []llm.Message) iter.Seq2[saidPiece, error] {
	return func(yield func(saidPiece, error) bool) {
		last := messages[len(messages)-1].Content
		if last == "fail" {
			yield(saidPiece{}, fault.New("test", fault.TooLarge, "too long"))
			return
		}
		words := append([]string{messages[0].Role, " "}, strings.SplitAfter(last, " ")...)
		for i, w := range words {
			if !yield(saidPiece{w, i + 1}, nil) {
				return
			}
		}
	}
}

// TestConversation: messages and commands over a pipe.
func TestConversation(t *testing.T) {
	for _, tc := range []struct{ name, in, out string }{
		{"two messages", "one two\nthree\n", "user one two\nuser three\n"},
		{"system", "/system be brief\none\n", "system one\n"},
		{"retry", "one\n/retry\n", "user one\nuser one\n"},
		{"edit", "one\n/edit two\n/history\n", "user one\nuser two\nuser: two\nassistant: user two\n"},
		{"undo", "one\ntwo\n/undo\n/history\n", "user one\nuser two\nuser: one\nassistant: user one\n"},
		{"clear", "one\n/clear\n/retry\n/history\n", "user one\n"},
		{"exit", "/exit\none\n", ""},
		{"blank lines", "\n  \none\n", "user one\n"},
		{"double width", "你好 世界\n", "user 你好 世界\n"},
		{"no such command", "/dance\n", ""},
	} {
		var out, notes strings.Builder
		s := &chatSession{app: &app{in: strings.NewReader(tc.in), out: &out, err: &notes, msg: message.New("en")}, speak: echo}
		if err := s.converse(t.Context()); err != nil || out.String() != tc.out {
			t.Errorf("%s: %v, %q, expected %q", tc.name, err, out.String(), tc.out)
		}
		if tc.name == "no such command" && !strings.Contains(notes.String(), "/dance") {
			t.Errorf("notes: %q", notes.String())
		}
	}
	s := &chatSession{app: &app{in: strings.NewReader("fail\n"), out: &strings.Builder{}, err: &strings.Builder{}, msg: message.New("en")}, speak: echo}
	if err := s.converse(t.Context()); fault.KindOf(err) != fault.TooLarge {
		t.Errorf("an error on a pipe: %v", err)
	}
}

// TestInterruptedAnswerStays: what was said before Ctrl-C is part of the conversation.
func TestInterruptedAnswerStays(t *testing.T) {
	half := func(ctx context.Context, _ []llm.Message) iter.Seq2[saidPiece, error] {
		return func(yield func(saidPiece, error) bool) {
			_ = yield(saidPiece{"half", 1}, nil) && yield(saidPiece{}, fault.From(context.Canceled, "test"))
		}
	}
	s := &chatSession{app: &app{in: strings.NewReader(""), out: &strings.Builder{}, err: &strings.Builder{}, msg: message.New("en")}, speak: half}
	if done, err := s.line(t.Context(), "one", nil); done || err != nil {
		t.Fatal(done, err)
	}
	want := []llm.Message{{Role: "user", Content: "one"}, {Role: "assistant", Content: "half"}}
	if !slices.Equal(s.messages, want) {
		t.Errorf("%v", s.messages)
	}
}

// TestChatAndBench: a real model on this machine.
func TestChatAndBench(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stories.gguf")
	storyTeller(t, path)
	run := func(in string, args ...string) string {
		t.Helper()
		var out, notes strings.Builder
		a := newApp(args, strings.NewReader(in), &out, &notes, func(string) string { return "" })
		if code := execute(t.Context(), a, args); code != exitDone {
			t.Fatalf("%v: %d %s", args, code, notes.String())
		}
		return out.String()
	}
	if got := run("Once upon a time\n", "chat", path, "--temperature", "0", "--max-tokens", "14"); !strings.HasPrefix(got, ", there was a little girl named Lily.") {
		t.Errorf("%q", got)
	}
	var answer chatAnswer
	if err := json.Unmarshal([]byte(run("", "chat", path, "-p", "One day", "--max-tokens", "7", "--seed", "3", "--json")), &answer); err != nil || answer.Tokens != 7 || answer.Content == "" {
		t.Errorf("%v %+v", err, answer)
	}
	var i textInspection
	if err := json.Unmarshal([]byte(run("", "inspect", path, "--json")), &i); err != nil || i.Architecture != "llama" || i.Layers != 5 || i.Width != 64 || i.KeyHeads != 4 ||
		i.Vocabulary != 512 || i.Bytes != 4*i.Parameters || i.BitsPerWeight != 32 || i.CacheBytes != 1600 || len(i.Weights) != 1 {
		t.Errorf("%v %+v", err, i)
	}
	if got := run("", "inspect", path); !strings.Contains(got, "512 tokens; each takes 1.6 KiB of the cache") {
		t.Errorf("%s", got)
	}
	var r textResult
	err := json.Unmarshal([]byte(run("", "bench", path, "--pp", "40", "--tg", "400", "--depth", "16", "--parallel", "3", "--threads", "2", "--json")), &r)
	if err != nil || !(r.Prefill > 0 && r.Decode > 0 && r.Open > 0) || r.Parallel != 3 || r.MemoryBytes == 0 {
		t.Errorf("%v %+v", err, r)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	for _, tc := range []struct {
		ctx  context.Context
		args []string
		code int
		want string
	}{
		{t.Context(), []string{"bench", path, "--pp", "0"}, exitUsage, "--pp"},
		{t.Context(), []string{"bench", path, "--pp", "512"}, exitUsage, "a context of 513 tokens, and the model was made for 512"},
		{t.Context(), []string{"chat", path, "-p", "a", "--context", "100000"}, exitFailed, "a context of 100000 tokens"},
		{t.Context(), []string{"chat", "none.gguf", "-p", "a"}, exitFailed, "none.gguf: no such file"},
		{t.Context(), []string{"chat", filepath.Dir(path), "-p", "a"}, exitFailed, "such as " + path},
		{t.Context(), []string{"inspect", filepath.Dir(path)}, exitFailed, "such as " + path},
		{ended, []string{"chat", path}, exitFailed, "canceled"}, // Ctrl-C while the model is opened
	} {
		var notes strings.Builder
		a := newApp(nil, strings.NewReader("a line that is not answered\n"), &strings.Builder{}, &notes, func(string) string { return "" })
		if code := execute(tc.ctx, a, tc.args); code != tc.code || !strings.Contains(notes.String(), tc.want) {
			t.Errorf("%v: %d, %q, expected %d and %q", tc.args, code, notes.String(), tc.code, tc.want)
		}
	}
}
