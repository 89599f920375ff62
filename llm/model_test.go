package llm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tandem/fault"
	"tandem/kernel"
	"tandem/model/gguf"
	"tandem/processor/tokenizer"
	"tandem/tensor/block"
)

// letters is a tokenizer of 96 tokens that spell themselves.
func letters(t *testing.T) *tokenizer.Tokenizer {
	t.Helper()
	tokens, kinds := []string{"<unk>", "<s>", "</s>"}, []int32{2, 3, 3}
	for i := len(tokens); i < 96; i++ {
		tokens, kinds = append(tokens, fmt.Sprintf("t%d.", i)), append(kinds, 1)
	}
	values := map[string]any{
		"model": "llama", "tokens": tokens, "token_type": kinds, "scores": make([]float32, len(tokens)),
		"bos_token_id": uint32(1), "eos_token_id": uint32(2), "unknown_token_id": uint32(0),
	}
	z, err := tokenizer.FromGGUF(func(key string) any { return values[strings.TrimPrefix(key, "tokenizer.ggml.")] })
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// small opens a recorded model.
func small(t *testing.T, name string, o Options) *Model {
	t.Helper()
	return smallWith(t, name, o, func(*weights) {})
}

// smallWith opens a recorded model whose weights are changed before.
func smallWith(t *testing.T, name string, o Options, change func(*weights)) *Model {
	t.Helper()
	r := readRecorded(t, "testdata/transformers/"+name+".json")
	c, err := parseHF(r.Config, o.Context)
	if err != nil {
		t.Fatal(err)
	}
	o.Pool = kernel.NewPool(2, kernel.Detect())
	t.Cleanup(o.Pool.Close)
	m := &Model{config: c, tokenizer: letters(t), ends: []int{2}}
	w := r.weights(t, c)
	change(w)
	if err := m.start(w, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// ask collects an answer.
func ask(m *Model, r Request) (ids []int, text string, finish Finish, err error) {
	for p, err := range m.Generate(context.Background(), r) {
		if err != nil {
			return ids, text, finish, err
		}
		ids, text, finish = append(ids, p.ID), text+p.Text, p.Finish
	}
	return ids, text, finish, nil
}

// questions are requests of all kinds.
func questions(n int) []Request {
	list := make([]Request, n)
	for i := range list {
		prompt := make([]int, 1+i*7%30)
		for j := range prompt {
			prompt[j] = 3 + (i*31+j*17)%90
		}
		list[i] = Request{Prompt: prompt, MaxTokens: 5 + i*5%23, IgnoreEnd: i%2 == 0, Sampling: Sampling{Logprobs: i%4 - 1}}
		if i%3 > 0 {
			list[i].Sampling = Sampling{Temperature: 1, TopP: 0.9, Seed: uint64(i), Repetition: 1.2, Logprobs: -1}
		}
	}
	return list
}

// TestAnswersDoNotDependOnCompany: each request alone, then all at once, with a step so
// short and a cache so small that prompts are cut and sequences are put back.
func TestAnswersDoNotDependOnCompany(t *testing.T) {
	for _, name := range []string{"llama2", "gemma3"} {
		t.Run(name, func(t *testing.T) {
			requests := questions(24)
			alone := make([][]int, len(requests))
			quiet := small(t, name, Options{Context: 64})
			for i, r := range requests {
				var err error
				if alone[i], _, _, err = ask(quiet, r); err != nil {
					t.Fatal(err)
				}
			}
			busy := small(t, name, Options{Context: 64, Limits: Limits{MaxSequences: 7, MaxStepTokens: 13, CacheTokens: 96}})
			var all sync.WaitGroup
			for i, r := range requests {
				all.Go(func() {
					if got, _, _, err := ask(busy, r); err != nil || !slices.Equal(got, alone[i]) {
						t.Errorf("request %d: alone %v, among others %v %v", i, alone[i], got, err)
					}
				})
			}
			all.Wait()
			if s := busy.Stats(); s.LargestStep < 2 || s.PutBack == 0 {
				t.Errorf("the test shows nothing: %+v", s)
			}
		})
	}
}

func TestWhatCannotBeAsked(t *testing.T) {
	m := small(t, "llama2", Options{Context: 32})
	for _, tc := range []struct {
		name string
		r    Request
		kind fault.Kind
	}{
		{"no prompt", Request{}, fault.Invalid},
		{"a prompt as long as the context", Request{Prompt: make([]int, 32)}, fault.TooLarge},
		{"prompt and answer together", Request{Prompt: make([]int, 20), MaxTokens: 13}, fault.TooLarge},
		{"no such token", Request{Prompt: []int{96}}, fault.Invalid},
		{"a negative token", Request{Prompt: []int{-1}}, fault.Invalid},
		{"an empty stop string", Request{Prompt: []int{1}, Stop: []string{""}}, fault.Invalid},
		{"sampling", Request{Prompt: []int{1}, Sampling: Sampling{Temperature: -1}}, fault.Invalid},
	} {
		if _, _, _, err := ask(m, tc.r); fault.KindOf(err) != tc.kind {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	ids, _, finish, err := ask(m, Request{Prompt: make([]int, 20), IgnoreEnd: true})
	if len(ids) != 12 || finish != FinishLength || err != nil {
		t.Errorf("an answer without a limit has %d tokens, finish %q, %v", len(ids), finish, err)
	}
}

// TestBrokenWeights: a model that gives no numbers ends with an error, however tokens are
// picked.
func TestBrokenWeights(t *testing.T) {
	m := smallWith(t, "llama2", Options{Context: 32}, func(w *weights) {
		for i := range w.byName["output_norm.weight"].Data {
			w.byName["output_norm.weight"].Data[i] = 0xff
		}
	})
	for _, s := range []Sampling{
		{}, {Logprobs: 2}, {Temperature: 1, Logprobs: -1}, {Temperature: 1, TopK: 3}, {Temperature: 1, TopP: 0.5}, {Temperature: 1, MinP: 0.5, Repetition: 1.1},
	} {
		ids, _, _, err := ask(m, Request{Prompt: []int{5}, Sampling: s})
		if len(ids) != 0 || fault.KindOf(err) != fault.Corrupt || fault.RemedyOf(err) == "" {
			t.Errorf("%+v: %d tokens, %v", s, len(ids), err)
		}
	}
	m.awaitIdle(t)
}

// TestPiecesTellWhenTheyWerePicked: one by one, before somebody reads them.
func TestPiecesTellWhenTheyWerePicked(t *testing.T) {
	m := small(t, "llama2", Options{Context: 32})
	before, resumed, n := time.Now(), time.Time{}, 0
	for p, err := range m.Generate(t.Context(), Request{Prompt: []int{5}, MaxTokens: 12, IgnoreEnd: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 1 {
			m.awaitIdle(t)
			resumed = time.Now()
		}
		if !p.At.After(before) || !p.At.Before(resumed) {
			t.Errorf("piece %d is of %v, the one before of %v; reading went on at %v", n, p.At, before, resumed)
		}
		before = p.At
	}
}

// TestGoingAwayStopsTheWork: by leaving the loop, and by a context that ends; waiting
// requests too. Answers of 127 steps are left at their first tokens; on a busy machine
// the engine may be done before the reader has a turn, but not every time.
func TestGoingAwayStopsTheWork(t *testing.T) {
	m := small(t, "llama2", Options{Context: 128, Limits: Limits{MaxSequences: 1, MaxQueued: 1}})
	reason := errors.New("gone")
	for name, leave := range map[string]func(){
		"break": func() {
			for range m.Generate(context.Background(), Request{Prompt: []int{5}, IgnoreEnd: true}) {
				break
			}
		},
		"cancel": func() {
			ctx, cancel := context.WithCancelCause(context.Background())
			defer cancel(nil)
			n := 0
			for _, err := range m.Generate(ctx, Request{Prompt: []int{5}, IgnoreEnd: true}) {
				if cancel(reason); err != nil && !errors.Is(err, reason) {
					t.Error(err)
				}
				n++
			}
			if n == 0 {
				t.Error("nothing came")
			}
		},
	} {
		least := 127
		for tries := 0; tries < 50 && least > 100; tries++ {
			before := m.Stats().Steps
			leave()
			m.awaitIdle(t)
			least = min(least, m.Stats().Steps-before)
		}
		if least > 100 {
			t.Errorf("%s: %d steps at least for answers that nobody read", name, least)
		}
	}
}

func (m *Model) awaitIdle(t *testing.T) {
	t.Helper()
	for range 60_000 {
		if s := m.Stats(); s.Running+s.Waiting == 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Error("sequences are still there after a minute")
}

func TestTooManyWait(t *testing.T) {
	m := small(t, "llama2", Options{Context: 128, Limits: Limits{MaxSequences: 1, MaxQueued: 1}})
	q := func() *sequence {
		s, err := m.sequenceOf(&Request{Prompt: []int{5}, IgnoreEnd: true})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	m.engine.mu.Lock() // the engine cannot take any out
	m.engine.scheduler.add(q())
	m.engine.mu.Unlock()
	refused := 0
	for range 50 {
		if err := m.engine.submit(q()); fault.KindOf(err) == fault.Exhausted {
			refused++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if refused == 0 {
		t.Error("none of fifty requests is refused")
	}
}

func TestClosedModel(t *testing.T) {
	m := small(t, "llama2", Options{Context: 128})
	done := make(chan error, 1)
	started := make(chan struct{})
	go func() {
		var last error
		for _, err := range m.Generate(context.Background(), Request{Prompt: []int{5}, IgnoreEnd: true}) {
			select {
			case started <- struct{}{}:
			default:
			}
			last = err
			time.Sleep(time.Millisecond)
		}
		done <- last
	}()
	<-started
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	<-done // the answer ends, whole or with an error
	if _, _, _, err := ask(m, Request{Prompt: []int{5}}); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a closed model answers %v", err)
	}
}

// TestLargerThanTheMachine: a file of 64 GiB, none of which was ever written, is refused
// with the figure before anything of its weights is read.
func TestLargerThanTheMachine(t *testing.T) {
	stories, err := gguf.Open(storiesFile(t))
	if err != nil {
		t.Fatal(err)
	}
	defer stories.Close()
	const gib = 1 << 30
	tensors := append(slices.Clone(stories.Tensors), gguf.Tensor{Name: "blk.5.ffn_up.weight", Format: block.F32, Shape: []int{1 << 18, 1 << 16}})
	var head bytes.Buffer
	if _, err := gguf.NewWriter(&head, stories.Metadata, tensors); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "huge.gguf")
	if err := errors.Join(os.WriteFile(path, head.Bytes(), 0o600), os.Truncate(path, int64(head.Len())+65*gib)); err != nil {
		t.Skip("NOT TESTED: ", err) // a file system without sparse files
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = Open(path, Options{MemoryLimitBytes: 20 * gib})
	runtime.ReadMemStats(&after)
	if fault.KindOf(err) != fault.NoSpace || !strings.Contains(err.Error(), "the model takes 65536 MiB") || fault.RemedyOf(err) == "" {
		t.Error(err)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > 16<<20 {
		t.Errorf("refusing took %d MiB of memory", took>>20)
	}
}

// TestTooLargeForMemory: refused with the figure and what can be done.
func TestTooLargeForMemory(t *testing.T) {
	r := readRecorded(t, "testdata/transformers/llama2.json")
	c, err := parseHF(r.Config, 0)
	if err != nil {
		t.Fatal(err)
	}
	m := &Model{config: c, tokenizer: letters(t)}
	err = m.start(r.weights(t, c), Options{MemoryLimitBytes: 1 << 18})
	if fault.KindOf(err) != fault.NoSpace || fault.RemedyOf(err) == "" || m.engine != nil {
		t.Errorf("%v", err)
	}
	roomy := small(t, "llama2", Options{Context: 64, MemoryLimitBytes: 16 << 20})
	if _, _, _, err := ask(roomy, Request{Prompt: []int{5}, MaxTokens: 2}); err != nil {
		t.Error(err)
	}
}
