package llm

import (
	"context"
	"sync"
	"time"
)

// Finish is why an answer ended.
type Finish string

const (
	FinishNone   Finish = ""       // it goes on
	FinishStop   Finish = "stop"   // the model ended it, or a stop string did
	FinishLength Finish = "length" // MaxTokens, or the context is full

	finishBroken Finish = "broken" // nothing could be picked: the engine makes it an error
)

// Piece is one token of an answer.
type Piece struct {
	Alternative               // the token, and its logarithmic probability if asked for
	Top         []Alternative // the most probable instead of it, the best first
	// Text is what can be shown now: it may lag behind the tokens, because a
	// character may take several and a stop string may have begun.
	Text string
	// Finish is set on the last piece only.
	Finish Finish
	// End: the token says that the answer is over, and is no part of it.
	End bool
	At  time.Time // when it was picked, however late it is read
}

// stream carries the pieces of one answer from the engine to whoever reads it. The
// engine never waits: an answer has a bounded number of tokens.
type stream struct {
	mu     sync.Mutex
	pieces []Piece
	err    error
	over   bool
	wake   chan struct{} // has room for one
}

func newStream() *stream { return &stream{wake: make(chan struct{}, 1)} }

func (s *stream) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// put hands over a piece; the last one ends the stream.
func (s *stream) put(p Piece) {
	s.mu.Lock()
	s.pieces = append(s.pieces, p)
	s.over = s.over || p.Finish != FinishNone
	s.mu.Unlock()
	s.signal()
}

// fail ends the stream after what has been handed over.
func (s *stream) fail(err error) {
	s.mu.Lock()
	if !s.over {
		s.err, s.over = err, true
	}
	s.mu.Unlock()
	s.signal()
}

// take waits for pieces. Without any, over tells that there will be no more.
func (s *stream) take(ctx context.Context) (pieces []Piece, over bool, err error) {
	for {
		s.mu.Lock()
		pieces, s.pieces = s.pieces, nil
		over, err = s.over, s.err
		s.mu.Unlock()
		if len(pieces) > 0 {
			return pieces, false, nil
		}
		if over {
			return nil, true, err
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return nil, true, context.Cause(ctx)
		}
	}
}
