package llm

import "slices"

// Limits bound what an engine holds and computes at a time. Zero fields take the
// defaults.
type Limits struct {
	MaxSequences  int // that are computed together; default 16
	MaxStepTokens int // tokens that one step computes; default 512
	MaxQueued     int // requests that wait; one more is refused; default 1024
	CacheTokens   int // positions whose keys and values are kept, of all sequences; default: four full contexts, or one for each of fewer sequences
}

// sequence is what the scheduler knows of a request under way.
type sequence struct {
	tokens []int // the prompt, then what has been generated
	done   int   // of tokens: computed, so that their keys and values lie in pages
	slot   int   // names its place in a step's state; -1 while it waits
	pages  []int // of the cache, in the order of positions
	answer *answer
	stream *stream
}

// pending is how many tokens are to be computed until the next can be picked.
func (s *sequence) pending() int { return len(s.tokens) - s.done }

// part is a sequence's share of a step: its tokens from done on.
type part struct {
	*sequence
	count int
}

// last tells whether the step ends with the sequence's last token, so that the next
// one is picked.
func (p part) last() bool { return p.count == p.pending() }

// scheduler decides what each step computes. It has no clock and starts nothing: the
// same calls give the same steps.
//
// Sequences that generate come first, a token each; then prompts, in the order of
// their arrival, in pieces that fill the step. Pages are taken as they are needed. If
// there are none left, the sequence that came last gives its pages back and waits to
// be computed anew: what it says does not change by that, since neither logits nor
// draws depend on the company.
type scheduler struct {
	limits    Limits
	pageSize  int   // tokens
	freePages []int // a stack
	freeSlots []int
	crowded   bool        // a sequence was put back in this step: none is let in
	moved     int         // sequences that were put back so far
	waiting   []*sequence // first come, first served; one that was put back is first
	running   []*sequence // by arrival
}

func newScheduler(l Limits, pageSize, pages int) *scheduler {
	s := &scheduler{limits: l, pageSize: pageSize}
	for i := range pages {
		s.freePages = append(s.freePages, pages-1-i)
	}
	for i := range l.MaxSequences {
		s.freeSlots = append(s.freeSlots, l.MaxSequences-1-i)
	}
	return s
}

func (s *scheduler) add(q *sequence) {
	q.slot = -1
	s.waiting = append(s.waiting, q)
}

// next plans a step: nil if there is nothing to do.
func (s *scheduler) next() []part {
	var step []part
	budget := s.limits.MaxStepTokens
	s.crowded = false
	take := func(q *sequence, n int) {
		step = append(step, part{q, n})
		budget -= n
	}
	for i := 0; i < len(s.running) && budget > 0; i++ {
		if q := s.running[i]; q.pending() == 1 && s.grow(q, 1) {
			take(q, 1)
		}
	}
	for i := 0; i < len(s.running) && budget > 0; i++ {
		q := s.running[i]
		if n := min(q.pending(), budget); q.pending() > 1 && s.grow(q, n) {
			take(q, n)
		}
	}
	for !s.crowded && len(s.waiting) > 0 && budget > 0 && len(s.freeSlots) > 0 {
		q := s.waiting[0]
		n := min(q.pending(), budget)
		if s.pagesFor(n) > len(s.freePages) {
			break
		}
		s.waiting = s.waiting[1:]
		s.start(q)
		s.grow(q, n)
		take(q, n)
	}
	return slices.DeleteFunc(step, func(p part) bool { return p.slot < 0 }) // put back by a later one's need
}

func (s *scheduler) pagesFor(tokens int) int { return (tokens + s.pageSize - 1) / s.pageSize }

func (s *scheduler) start(q *sequence) {
	q.slot = s.freeSlots[len(s.freeSlots)-1]
	s.freeSlots = s.freeSlots[:len(s.freeSlots)-1]
	s.running = append(s.running, q)
}

// grow gives q pages for n more tokens. Sequences that came after it give way; false:
// q itself had to, or is gone already.
func (s *scheduler) grow(q *sequence, n int) bool {
	need := s.pagesFor(q.done+n) - len(q.pages)
	for need > len(s.freePages) {
		last := s.running[len(s.running)-1]
		s.putBack(last)
		if last == q {
			return false
		}
	}
	for range max(need, 0) {
		q.pages = append(q.pages, s.freePages[len(s.freePages)-1])
		s.freePages = s.freePages[:len(s.freePages)-1]
	}
	return true
}

// putBack stops a running sequence, which will be computed anew.
func (s *scheduler) putBack(q *sequence) {
	s.release(q)
	q.done, s.crowded = 0, true
	s.moved++
	s.waiting = slices.Insert(s.waiting, 0, q)
}

func (s *scheduler) release(q *sequence) {
	s.freePages = append(s.freePages, q.pages...)
	s.freeSlots = append(s.freeSlots, q.slot)
	s.running = slices.DeleteFunc(s.running, func(r *sequence) bool { return r == q })
	q.pages, q.slot = nil, -1
}

// remove forgets a sequence that has ended, running or waiting.
func (s *scheduler) remove(q *sequence) {
	if q.slot >= 0 {
		s.release(q)
		return
	}
	s.waiting = slices.DeleteFunc(s.waiting, func(r *sequence) bool { return r == q })
}
