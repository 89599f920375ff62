package llm

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"iter"

	"tandem/fault"
)

// Request asks for an answer.
type Request struct {
	Prompt    []int // tokens
	MaxTokens int   // of the answer; 0: until the context is full
	Sampling  Sampling
	// RandomSeed draws Sampling.Seed anew.
	RandomSeed bool
	Stop       []string // texts that end the answer, and are no part of it
	IgnoreEnd  bool     // the model's own end of text is a token like others
}

// Limits of a request's stop strings.
const (
	MaxStops     = 16
	MaxStopBytes = 1 << 10 // of each
)

// Generate answers a request, token by token. The answer ends when the caller stops
// reading, when ctx ends, or with the piece that has a Finish. Answers do not depend
// on what else the model computes at the time. Errors: Invalid and TooLarge for what
// cannot be asked, Exhausted if too many wait.
func (m *Model) Generate(ctx context.Context, r Request) iter.Seq2[Piece, error] {
	return func(yield func(Piece, error) bool) {
		q, err := m.Queue(r)
		if err != nil {
			yield(Piece{}, err)
			return
		}
		q[0].Pieces(ctx)(yield)
	}
}

// Queued is a request that the model has let in: it is computed, until Cancel.
type Queued struct {
	engine   *engine
	sequence *sequence
}

// Queue lets requests in, all of them or none. Errors are those of Generate. Each must
// be read or canceled.
func (m *Model) Queue(requests ...Request) ([]Queued, error) {
	sequences, queued := make([]*sequence, len(requests)), make([]Queued, len(requests))
	for i := range requests {
		q, err := m.sequenceOf(&requests[i])
		if err != nil {
			return nil, err
		}
		sequences[i], queued[i] = q, Queued{m.engine, q}
	}
	return queued, m.engine.submit(sequences...)
}

// Cancel ends the request. It does nothing to one that has ended.
func (q Queued) Cancel() { q.engine.cancel(q.sequence) }

// Pieces reads the answer, as Generate does, once.
func (q Queued) Pieces(ctx context.Context) iter.Seq2[Piece, error] {
	return func(yield func(Piece, error) bool) {
		defer q.Cancel()
		for {
			pieces, over, err := q.sequence.stream.take(ctx)
			if err != nil {
				yield(Piece{}, fault.From(err, "llm.generate"))
				return
			}
			if over {
				return
			}
			for _, p := range pieces {
				if !yield(p, nil) {
					return
				}
			}
		}
	}
}

func (m *Model) sequenceOf(r *Request) (*sequence, error) {
	const op = "llm.generate"
	bad := func(kind fault.Kind, format string, args ...any) error { return fault.New(op, kind, format, args...) }
	switch {
	case len(r.Prompt) == 0:
		return nil, bad(fault.Invalid, "the prompt has no tokens")
	case len(r.Prompt) >= m.context:
		return nil, fault.New(op, fault.TooLarge, "the prompt has %d tokens: the context has room for %d, the answer included", len(r.Prompt), m.context).
			Try(remedyContext)
	case r.MaxTokens < 0:
		return nil, bad(fault.Invalid, "an answer of %d tokens is asked for", r.MaxTokens)
	case r.MaxTokens > m.context-len(r.Prompt):
		return nil, fault.New(op, fault.TooLarge, "the prompt has %d tokens and the answer may have %d: the context has room for %d together",
			len(r.Prompt), r.MaxTokens, m.context).Try("send a shorter prompt, ask for a shorter answer, or open the model with a larger context")
	case len(r.Stop) > MaxStops:
		return nil, bad(fault.Invalid, "%d stop strings are given, at most %d are allowed", len(r.Stop), MaxStops)
	}
	for _, s := range r.Stop {
		if s == "" || len(s) > MaxStopBytes {
			return nil, bad(fault.Invalid, "a stop string has %d bytes, expected 1 to %d", len(s), MaxStopBytes)
		}
	}
	for i, id := range r.Prompt {
		if id < 0 || id >= m.config.Vocab {
			return nil, bad(fault.Invalid, "token %d of the prompt is %d: tokens are 0 to %d", i, id, m.config.Vocab-1)
		}
	}
	if err := r.Sampling.check(m.config.Vocab); err != nil {
		return nil, err
	}
	if r.RandomSeed {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails, as its documentation says
		r.Sampling.Seed = binary.LittleEndian.Uint64(b[:])
	}
	left := r.MaxTokens
	if left == 0 {
		left = m.context - len(r.Prompt)
	}
	text := m.tokenizer.Stream(false)
	text.Next(r.Prompt[len(r.Prompt)-1]) // a space before the answer's first word is part of it
	a := &answer{sampler: newSampler(r.Sampling, r.Prompt), decode: text.Next, flush: text.Flush, stops: r.Stop, left: left}
	if !r.IgnoreEnd {
		a.ends = m.ends
	}
	tokens := append(make([]int, 0, len(r.Prompt)+min(left, 4096)), r.Prompt...)
	return &sequence{tokens: tokens, answer: a, stream: newStream(), slot: -1}, nil
}
