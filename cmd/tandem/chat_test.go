package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ergochat/readline"

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
			if !yield(saidPiece{text: w, tokens: i + 1}, nil) {
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
		{"several lines", "\"\"\"one\n /two\n\nthree\"\"\" \nfour\n", "user one\n /two\n\nthree\nuser four\n"},
		{"several lines, quotes apart", "\"\"\"\n/exit\ntwo\n\"\"\"\n", "user /exit\ntwo\n"},
		{"several lines in one", "\"\"\"one\"\"\"\n", "user one\n"},
		{"several lines that the input ends", "\"\"\"one\ntwo", "user one\ntwo\n"},
		{"no such command", "/dance\n", ""},
		{"nothing to answer anew", "/retry\n/undo\n/edit\n/history\n", ""},
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

// TestMessagesThatAreTooLong: a line, or many between quotes, are refused by a clear error
// and at once.
func TestMessagesThatAreTooLong(t *testing.T) {
	for name, in := range map[string]io.Reader{
		"a line":       strings.NewReader(strings.Repeat("a", maxMessageBytes+2)),
		"many lines":   strings.NewReader(quotes + strings.Repeat("\n", maxMessageBytes+2)),
		"a line of it": strings.NewReader(quotes + "\n" + strings.Repeat("a", maxMessageBytes+2)),
	} {
		s := &chatSession{app: &app{in: in, out: io.Discard, err: io.Discard, msg: message.New("en")}, speak: echo}
		if err := s.converse(t.Context()); fault.KindOf(err) != fault.TooLarge || !strings.Contains(err.Error(), "a message has more than 16 MiB") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSpeedOfAnswers: the time to the first token, and the tokens after it in the time that
// they took. What comes without a token before or after, as a server's role and usage do,
// changes nothing.
func TestSpeedOfAnswers(t *testing.T) {
	var start time.Time
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	for _, tc := range []struct {
		name        string
		pieces      []saidPiece
		first, rate float64
	}{
		{"one by one", []saidPiece{{"a", 1, "", at(500)}, {"b", 2, "", at(600)}, {"c", 3, llm.FinishLength, at(700)}}, 500, 10},
		{"a role first, usage last", []saidPiece{{"", 0, "", at(1)}, {"a", 1, "", at(500)}, {"bc", 3, "", at(700)}, {"", 3, llm.FinishStop, at(700)}, {"", 3, "", at(5000)}}, 500, 10},
		{"two tokens at first", []saidPiece{{"ab", 2, "", at(500)}, {"c", 3, "", at(600)}}, 500, 10},
		{"one token", []saidPiece{{"a", 1, llm.FinishLength, at(500)}}, 500, 0},
		{"a role alone", []saidPiece{{"", 0, "", at(1)}}, 0, 0},
		{"nothing", nil, 0, 0},
	} {
		var out strings.Builder
		s := &chatSession{app: &app{json: true, out: &out, err: io.Discard, msg: message.New("en")}}
		s.speak = func(context.Context, []llm.Message) iter.Seq2[saidPiece, error] {
			return func(yield func(saidPiece, error) bool) {
				start = time.Now() // some time after the answer was asked for
				for _, p := range tc.pieces {
					if p.at = start.Add(p.at.Sub(time.Time{})); !yield(p, nil) {
						return
					}
				}
			}
		}
		if err := s.once(t.Context(), "hi"); err != nil {
			t.Fatal(err)
		}
		var a chatAnswer
		if err := json.Unmarshal([]byte(out.String()), &a); err != nil || a.First < tc.first || tc.first == 0 && a.First != 0 || a.Rate != tc.rate {
			t.Errorf("%s: %v, %+v, expected %v ms and %v/s", tc.name, err, a, tc.first, tc.rate)
		}
	}
}

// TestFailedAnswerChangesNothing: what is asked anew in vain leaves the conversation as it
// was before.
func TestFailedAnswerChangesNothing(t *testing.T) {
	before := []llm.Message{{Role: "user", Content: "fail"}, {Role: "assistant", Content: "all the same"}}
	for _, line := range []string{"fail", "/retry", "/edit fail"} {
		s := &chatSession{app: &app{in: strings.NewReader(""), out: &strings.Builder{}, err: &strings.Builder{}, msg: message.New("en")}, speak: echo,
			messages: slices.Clone(before)}
		if done, err := s.line(t.Context(), line, false, nil); done || fault.KindOf(err) != fault.TooLarge {
			t.Fatal(done, err)
		}
		if !slices.Equal(s.messages, before) {
			t.Errorf("%s: %v", line, s.messages)
		}
	}
}

// TestInterruptWhileWaiting: who waits for a line of a pipe that says nothing is ended by an
// interrupt, or by the end of the program.
func TestInterruptWhileWaiting(t *testing.T) {
	silent, writer := io.Pipe()
	defer writer.Close()
	interrupts := make(chan os.Signal, 1)
	interrupts <- os.Interrupt
	if _, err := nextLine(t.Context(), newPipeReader(silent), interrupts); !errors.Is(err, readline.ErrInterrupt) {
		t.Error(err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := nextLine(ended, newPipeReader(silent), interrupts); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	// One that came while an answer ended is not for the next.
	s := &chatSession{app: &app{in: silent, out: &strings.Builder{}, err: &strings.Builder{}, msg: message.New("en")}}
	s.speak = func(ctx context.Context, m []llm.Message) iter.Seq2[saidPiece, error] {
		interrupts <- os.Interrupt
		<-ctx.Done()
		interrupts <- os.Interrupt
		return func(yield func(saidPiece, error) bool) { yield(saidPiece{}, fault.From(ctx.Err(), "test")) }
	}
	if _, err := s.line(t.Context(), "one", false, interrupts); err != nil || len(interrupts) != 0 {
		t.Error(err, len(interrupts))
	}
}

// TestTemplateArguments: --arg NAME=VALUE.
func TestTemplateArguments(t *testing.T) {
	c := chatCmd{Arg: []string{"enable_thinking=false", "budget=-5", "effort=low", "text=", "formula=a=b"}}
	got, err := c.arguments()
	want := map[string]any{"enable_thinking": false, "budget": -5, "effort": "low", "text": "", "formula": "a=b"}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("%v %v", got, err)
	}
	if _, err := (&chatCmd{Arg: []string{"x"}}).arguments(); err == nil {
		t.Error("x is taken")
	}
}

// TestInterruptedAnswerStays: what was said before Ctrl-C is part of the conversation.
func TestInterruptedAnswerStays(t *testing.T) {
	half := func(ctx context.Context, _ []llm.Message) iter.Seq2[saidPiece, error] {
		return func(yield func(saidPiece, error) bool) {
			_ = yield(saidPiece{text: "half", tokens: 1}, nil) && yield(saidPiece{}, fault.From(context.Canceled, "test"))
		}
	}
	s := &chatSession{app: &app{in: strings.NewReader(""), out: &strings.Builder{}, err: &strings.Builder{}, msg: message.New("en")}, speak: half}
	if done, err := s.line(t.Context(), "one", false, nil); done || err != nil {
		t.Fatal(done, err)
	}
	want := []llm.Message{{Role: "user", Content: "one"}, {Role: "assistant", Content: "half"}}
	if !slices.Equal(s.messages, want) {
		t.Errorf("%v", s.messages)
	}
}

// hugging makes a Hugging Face folder with a configuration and nothing else.
func hugging(t *testing.T, dir string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "llm", "testdata", "transformers", "qwen3.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r struct{ Config json.RawMessage }
	if err := errors.Join(json.Unmarshal(text, &r), os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "config.json"), r.Config, 0o600)); err != nil {
		t.Fatal(err)
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
	if err := json.Unmarshal([]byte(run("", "chat", path, "-p", "One day", "--max-tokens", "7", "--seed", "3", "--json")), &answer); err != nil || answer.Tokens != 7 || answer.Content == "" || answer.Finish != llm.FinishLength {
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
	err := json.Unmarshal([]byte(run("", "bench", path, "--pp", "40", "--tg", "404", "--depth", "16", "--parallel", "3", "--threads", "2", "--json")), &r)
	if err != nil || !(r.Prefill > 0 && r.Decode > 0 && r.Open > 0) || r.Parallel != 3 || r.MemoryBytes == 0 {
		t.Errorf("%v %+v", err, r)
	}
	run("", "bench", path, "--pp", "16", "--tg", "4", "--rounds", "1") // less of an answer than it warms up with
	folder := filepath.Join(t.TempDir(), "folder")
	hugging(t, folder)
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
		{t.Context(), []string{"bench", path, "--pp", "9223372036854775807"}, exitUsage, "at most 16777216"},
		{t.Context(), []string{"bench", path, "--parallel", "513"}, exitUsage, "--parallel at most 512"},
		{t.Context(), []string{"bench", path, "--batch", "2"}, exitUsage, "--batch, --shape and --input are for tensors"},
		{t.Context(), []string{"quantize", folder, "--precision", "q8_0", "--output", "x.gguf"}, exitUsage, "convert_hf_to_gguf"},
		{t.Context(), []string{"chat", folder, "-p", "a"}, exitFailed, "has no tokenizer.json"},
		{t.Context(), []string{"chat", path, "-p", "a", "--context", "1"}, exitFailed, "expected 2 to 512"},
		{t.Context(), []string{"chat", path, "-p", "a", "--context", "100000"}, exitFailed, "a context of 100000 tokens"},
		{t.Context(), []string{"chat", "served", "-p", "a", "--context", "100"}, exitUsage, "--context and --threads are for a model on this machine"},
		{t.Context(), []string{"chat", "none.gguf", "-p", "a"}, exitFailed, "none.gguf: no such file"},
		{t.Context(), []string{"chat", filepath.Dir(path), "-p", "a"}, exitFailed, "such as " + path},
		{t.Context(), []string{"inspect", filepath.Dir(path)}, exitFailed, "such as " + path},
		{t.Context(), []string{"predict", path}, exitFailed, "try: tandem chat " + path},
		{ended, []string{"chat", path}, exitFailed, "canceled"}, // Ctrl-C while the model is opened
	} {
		var notes strings.Builder
		a := newApp(nil, strings.NewReader("a line that is not answered\n"), &strings.Builder{}, &notes, func(string) string { return "" })
		if code := execute(tc.ctx, a, tc.args); code != tc.code || !strings.Contains(notes.String(), tc.want) {
			t.Errorf("%v: %d, %q, expected %d and %q", tc.args, code, notes.String(), tc.code, tc.want)
		}
	}
}

// TestTogether: tokens count from the last answer's first one on, until the first answer's
// last; answers that do not meet have no speed.
func TestTogether(t *testing.T) {
	at := func(seconds ...int) (all []time.Time) {
		for _, s := range seconds {
			all = append(all, time.Unix(int64(s), 0))
		}
		return all
	}
	for _, tc := range []struct {
		all  [][]time.Time
		want float64
		met  bool
	}{
		{[][]time.Time{at(1, 2, 3, 4, 5)}, 1, true},
		{[][]time.Time{at(1, 2, 3, 4, 5), at(2, 4, 6)}, 4.0 / 3, true},
		{[][]time.Time{at(1, 2), at(2, 3)}, 0, false},
	} {
		if got, met := together(tc.all); got != tc.want || met != tc.met {
			t.Errorf("%v: %v, %v, expected %v, %v", tc.all, got, met, tc.want, tc.met)
		}
	}
}
