package llm

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"tandem/fault"
	"tandem/kernel"
)

// runner computes a step: it adds the parts' tokens to what their sequences have in
// the cache, and gives the logits after each part that is last, in order.
type runner interface {
	run(ctx context.Context, step []part) ([][]float32, error)
	close()
}

// engine computes the answers of all requests of one model. One goroutine plans a
// step, runs it and hands out what it gave; the others only add and cancel.
type engine struct {
	runner runner
	limits Limits
	stats  Stats
	pool   *kernel.Pool
	rooms  []samplerRoom // of each thread of the pool

	mu        sync.Mutex
	scheduler *scheduler
	canceled  map[*sequence]bool
	step      []part             // that runs
	stop      context.CancelFunc // of that step
	closed    bool
	wake      chan struct{}
	idle      chan struct{} // closed when the goroutine has ended
}

// Stats count what an engine has done, and what it has to do.
type Stats struct {
	Steps          int
	ComputedTokens int // of prompts and answers
	PickedTokens   int // of answers
	LargestStep    int // most sequences in one step
	PutBack        int // sequences that had to make room, and were computed anew

	Waiting, Running int // sequences now
	FreeCacheTokens  int // positions now
}

func newEngine(r runner, s *scheduler, pool *kernel.Pool) *engine {
	e := &engine{
		runner: r, limits: s.limits, scheduler: s, canceled: map[*sequence]bool{},
		pool: pool.Branch(), rooms: make([]samplerRoom, pool.Threads()),
		wake: make(chan struct{}, 1), idle: make(chan struct{}),
	}
	for i := range e.rooms {
		e.rooms[i].pool = e.pool
	}
	go e.work()
	return e
}

// submit queues sequences, all or none.
func (e *engine) submit(all ...*sequence) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.full(len(all)); err != nil {
		return err
	}
	for _, q := range all {
		e.scheduler.add(q)
	}
	e.signal()
	return nil
}

// full refuses n more sequences if that many cannot be let in together. Those for which
// there is a slot are about to run: they do not wait.
func (e *engine) full(n int) error {
	const op = "llm.generate"
	waiting, most := len(e.scheduler.waiting), e.limits.MaxQueued
	switch {
	case e.closed:
		return errClosed
	case n > most+e.limits.MaxSequences:
		return fault.New(op, fault.Invalid, "%d answers are asked for at once: %d can wait, and %d be computed", n, most, e.limits.MaxSequences).
			Try("ask for fewer answers in one request")
	case waiting+n > most+max(len(e.scheduler.freeSlots)-waiting, 0):
		return fault.New(op, fault.Exhausted, "%d requests wait and %d more came: the limit MaxQueued is %d", waiting, n, most).Try("try again later")
	}
	return nil
}

var (
	errClosed = fault.New("llm.generate", fault.Unavailable, "the model is closed")
	errBroken = fault.New("llm.generate", fault.Corrupt, "the model gives no number for what comes next: its weights are damaged, or too large to compute with").
			Try("fetch or convert the model again, or use another one")
)

func (e *engine) signal() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// cancel forgets a sequence that nobody reads any more. A step that runs for nobody
// else ends at once.
func (e *engine) cancel(q *sequence) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.canceled[q] = true
	for _, p := range e.step {
		if !e.canceled[p.sequence] {
			e.signal()
			return
		}
	}
	if e.stop != nil {
		e.stop()
	}
	e.signal()
}

// work runs steps until the engine is closed. Between two of them workers stay awake.
func (e *engine) work() {
	defer close(e.idle)
	e.pool.Hold()
	defer e.pool.Release()
	for {
		ctx, step, closed := e.plan()
		if closed {
			return
		}
		if step == nil {
			e.pool.Release()
			<-e.wake
			e.pool.Hold()
			continue
		}
		pieces, err := e.compute(ctx, step)
		e.finish(step, pieces, err)
	}
}

// compute runs a step and picks what follows. A panic is contained: other models of the
// program go on, and so do this one's other requests.
func (e *engine) compute(ctx context.Context, step []part) (pieces []Piece, err error) {
	defer func() {
		if v := recover(); v != nil {
			pieces, err = nil, fault.Wrap(fmt.Errorf("panic: %v\n%s", v, debug.Stack()), "llm.step", fault.Internal, "the model failed")
		}
	}()
	logits, err := e.runner.run(ctx, step)
	if err != nil {
		return nil, err
	}
	return e.pick(step, logits), nil
}

// plan takes canceled sequences out and chooses the next step; nil: nothing to do.
func (e *engine) plan() (ctx context.Context, step []part, closed bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for q := range e.canceled {
		e.scheduler.remove(q)
		delete(e.canceled, q)
	}
	if e.closed {
		for _, q := range append(e.scheduler.running, e.scheduler.waiting...) {
			q.stream.fail(errClosed)
		}
		return nil, nil, true
	}
	e.step = e.scheduler.next()
	if e.step == nil {
		return nil, nil, false
	}
	ctx, e.stop = context.WithCancel(context.Background())
	return ctx, e.step, false
}

// finish hands out what a step gave. Only this goroutine writes to sequences that run.
func (e *engine) finish(step []part, pieces []Piece, err error) {
	var over []*sequence
	picked, now := pieces, time.Now()
	for _, p := range step {
		if err != nil {
			p.stream.fail(fault.From(err, "llm.step"))
			over = append(over, p.sequence)
			continue
		}
		last := p.last()
		p.done += p.count
		if !last {
			continue
		}
		piece := picked[0]
		piece.At, picked = now, picked[1:]
		switch piece.Finish {
		case FinishNone:
			p.tokens = append(p.tokens, piece.ID)
			p.stream.put(piece)
		case finishBroken:
			p.stream.fail(errBroken)
			over = append(over, p.sequence)
		default:
			p.stream.put(piece)
			over = append(over, p.sequence)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stop()
	e.step, e.stop = nil, nil
	e.count(step, len(pieces))
	for _, q := range over {
		e.scheduler.remove(q)
		delete(e.canceled, q)
	}
}

// pick picks what follows after each part that is last, all threads for one answer each.
func (e *engine) pick(step []part, logits [][]float32) []Piece {
	answers := make([]*answer, 0, len(logits))
	for _, p := range step {
		if p.last() {
			answers = append(answers, p.answer)
		}
	}
	pieces := make([]Piece, len(logits))
	e.pool.For(len(pieces), 1, func(lo, hi, worker int) {
		for i := lo; i < hi; i++ {
			pieces[i] = answers[i].next(logits[i], &e.rooms[worker])
		}
	})
	return pieces
}

// count notes a step that has run; picked is how many tokens it gave.
func (e *engine) count(step []part, picked int) {
	e.stats.Steps++
	e.stats.PickedTokens += picked
	e.stats.LargestStep = max(e.stats.LargestStep, len(step))
	for _, p := range step {
		e.stats.ComputedTokens += p.count
	}
}

func (e *engine) counts() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	s, q := e.stats, e.scheduler
	s.PutBack, s.Waiting, s.Running, s.FreeCacheTokens = q.moved, len(q.waiting), len(q.running), len(q.freePages)*q.pageSize
	return s
}

// close ends every sequence and the goroutine.
func (e *engine) close() {
	e.mu.Lock()
	e.closed = true
	if e.stop != nil {
		e.stop()
	}
	e.signal()
	e.mu.Unlock()
	<-e.idle
	e.runner.close()
}
