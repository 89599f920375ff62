package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"tandem/fault"
	"tandem/graph"
	"tandem/kernel"
	"tandem/llm"
)

// textBench are the flags of `tandem bench` for a model that generates text.
type textBench struct {
	PP       int `name:"pp" help:"Tokens of a prompt, of a model that generates text." placeholder:"N" default:"512"`
	TG       int `name:"tg" help:"Tokens of its answer." placeholder:"N" default:"128"`
	Depth    int `help:"Tokens before those of the answer, which are not timed." placeholder:"N" default:"0"`
	Parallel int `help:"Answers at the same time." placeholder:"N" default:"1"`
	Rounds   int `help:"How often to measure; the median is printed." placeholder:"N" default:"3"`
}

// textResult is what --json prints.
type textResult struct {
	Model       string  `json:"model"`
	PP          int     `json:"prompt_tokens"`
	TG          int     `json:"answer_tokens"`
	Depth       int     `json:"depth_tokens"`
	Parallel    int     `json:"parallel"`
	Threads     int     `json:"threads"`
	Prefill     float64 `json:"prefill_tokens_per_s"`
	Decode      float64 `json:"decode_tokens_per_s"` // of all answers together
	Open        float64 `json:"open_ms"`
	PeakBytes   int64   `json:"peak_memory_bytes,omitempty"`
	MemoryBytes int64   `json:"model_memory_bytes"`

	Profile []benchProfile `json:"profile,omitempty"` // a run is a prompt and an answer
}

// run measures a model that generates text: the time to read prompts, then that between
// the tokens of answers, all of them going on at once. Tokens are random.
func (b *textBench) run(ctx context.Context, a *app, path string, threads int, profile *graph.Profile) (err error) {
	const (
		maxParallel = 512     // a step gives each answer a token
		maxTokens   = 1 << 24 // no model has a larger context
	)
	if b.PP < 1 || b.TG < 1 || b.Depth < 0 || b.Parallel < 1 || b.Parallel > maxParallel || b.Rounds < 1 {
		return usage("--pp, --tg, --parallel and --rounds must be at least 1, --parallel at most %d, and --depth not negative", maxParallel)
	}
	if max(b.PP, b.TG, b.Depth) > maxTokens {
		return usage("--pp, --tg and --depth must be at most %d", maxTokens)
	}
	leaveProcessorForNetwork(threads)
	pool := kernel.NewPool(threads, kernel.Detect())
	defer pool.Close()
	start := time.Now()
	const warm = 32 // tokens at most of the prompt that warms up, which two follow
	room := max(b.PP+1, b.Depth+b.TG+2, min(b.PP, warm)+2)
	// A sequence has whole pages: without room for all, some would be computed twice.
	pages := (room + kernel.PageTokens - 1) / kernel.PageTokens
	progress, opened := a.opening(path)
	m, err := llm.Open(path, llm.Options{
		Pool: pool, Context: room, Limits: llm.Limits{MaxSequences: b.Parallel, CacheTokens: b.Parallel * pages * kernel.PageTokens},
		MemoryLimitBytes: int64(memoryShare * float64(machineMemoryBytes())), PackedDir: packedDir(a.getenv), Progress: progress, Profile: profile,
	})
	opened()
	if err != nil {
		return b.explained(err, path, room)
	}
	defer func() { err = errors.Join(err, a.closing(ctx, m.Close)) }()
	r := textResult{Model: path, PP: b.PP, TG: b.TG, Depth: b.Depth, Parallel: b.Parallel, Threads: threads, Open: ms(time.Since(start)), MemoryBytes: m.MemoryBytes()}
	if _, err := b.times(ctx, m, min(b.PP, warm), 2); err != nil {
		return err
	}
	if profile != nil {
		profile.Reset()
	}
	var prefill, decode []float64
	for range b.Rounds {
		p, err := b.prefill(ctx, m)
		if err != nil {
			return err
		}
		d, err := b.decode(ctx, m)
		if err != nil {
			return err
		}
		prefill, decode = append(prefill, p), append(decode, d)
	}
	if n := m.Stats().PutBack; n > 0 {
		return fault.New("tandem.bench", fault.Internal, "the cache was too small: %d times an answer had to wait for another to end", n)
	}
	r.Prefill, r.Decode, r.PeakBytes = median(prefill), median(decode), peakMemoryBytes()
	if profile != nil {
		r.Profile = profileOf(profile, b.Rounds)
	}
	if a.json {
		return a.emit(r)
	}
	return r.show(a)
}

// explained names the flags where a model has not the context that they take.
func (b *textBench) explained(err error, path string, room int) error {
	if d, failed := llm.Describe(path); failed == nil && d.Config.Context < room {
		return usage("--pp, --depth and --tg take a context of %d tokens, and the model was made for %d", room, d.Config.Context)
	}
	return err
}

func median(x []float64) float64 {
	slices.Sort(x)
	return x[len(x)/2]
}

// prefill is how many tokens of prompts are read in a second.
func (b *textBench) prefill(ctx context.Context, m *llm.Model) (float64, error) {
	start := time.Now()
	all, err := b.times(ctx, m, b.PP, 1)
	if err != nil {
		return 0, err
	}
	var last time.Time
	for _, t := range all {
		last = later(last, t[0])
	}
	return float64(b.PP*b.Parallel) / last.Sub(start).Seconds(), nil
}

// decode is how many tokens of answers come in a second while all answers go on. Short
// answers of a small model may not meet when the processor is busy: it tries a few times.
func (b *textBench) decode(ctx context.Context, m *llm.Model) (float64, error) {
	const tries = 8
	for range tries {
		all, err := b.times(ctx, m, b.Depth+1, b.TG+1)
		if err != nil {
			return 0, err
		}
		if perSecond, met := together(all); met {
			return perSecond, nil
		}
	}
	return 0, fault.New("tandem.bench", fault.Invalid, "of %d answers of %d tokens one ended before another began", b.Parallel, b.TG).Try("raise --tg")
}

// together is how many tokens came in a second while all answers went on, if they ever did.
func together(all [][]time.Time) (perSecond float64, met bool) {
	var begin time.Time
	end := all[0][len(all[0])-1]
	for _, t := range all {
		begin = later(begin, t[0])
		if last := t[len(t)-1]; last.Before(end) {
			end = last
		}
	}
	if !end.After(begin) {
		return 0, false
	}
	n := 0
	for _, t := range all {
		for _, at := range t {
			if at.After(begin) && !at.After(end) {
				n++
			}
		}
	}
	return float64(n) / end.Sub(begin).Seconds(), true
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// times are when the tokens of each answer were picked.
func (b *textBench) times(ctx context.Context, m *llm.Model, prompt, answer int) ([][]time.Time, error) {
	all, errs := make([][]time.Time, b.Parallel), make([]error, b.Parallel)
	var running sync.WaitGroup
	for i := range all {
		running.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(i)))
			q := llm.Request{Prompt: make([]int, prompt), MaxTokens: answer, IgnoreEnd: true, Sampling: llm.Sampling{Logprobs: -1}}
			for j := range q.Prompt {
				q.Prompt[j] = r.IntN(m.Config().Vocab)
			}
			for p, err := range m.Generate(ctx, q) {
				errs[i] = err
				all[i] = append(all[i], p.At)
			}
		})
	}
	running.Wait()
	return all, errors.Join(errs...)
}

func (r *textResult) show(a *app) error {
	rows := [][]string{
		{a.msg.Sprintf("Reading prompts"), a.msg.Sprintf("%.1f tokens/s", r.Prefill)},
		{a.msg.Sprintf("Writing answers"), a.msg.Sprintf("%.1f tokens/s", r.Decode)},
		{a.msg.Sprintf("Opening"), fmt.Sprintf("%.0f ms", r.Open)},
		{a.msg.Sprintf("Model"), size(r.MemoryBytes)},
	}
	if r.PeakBytes > 0 {
		rows = append(rows, []string{a.msg.Sprintf("Peak memory"), size(r.PeakBytes)})
	}
	if err := a.table(nil, rows); err != nil {
		return err
	}
	return a.profileTable(r.Profile)
}
