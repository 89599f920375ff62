package graph

import "sync"

// spares are arenas of segments that were given up, because elements decided another
// shape or other shapes came since: the next takes them instead of asking the system, which
// would have to clear every page.
type spares struct {
	mostBytes int // of what is kept

	mu     sync.Mutex
	list   []memory
	bytes  int // of list
	closed bool
}

// maxSpares bounds the arenas that are kept.
const maxSpares = 16

// spareSlack is how many bytes more than twice what is asked for may be given.
const spareSlack = 64 << 10

// take is memory of at least n bytes, with undefined content.
func (s *spares) take(n int) (memory, error) {
	s.mu.Lock()
	best := -1
	for i, m := range s.list {
		if len(m) >= n && len(m) <= 2*n+spareSlack && (best < 0 || len(m) < len(s.list[best])) {
			best = i
		}
	}
	if n > 0 && best >= 0 {
		m := s.list[best]
		s.list[best] = s.list[len(s.list)-1]
		s.list = s.list[:len(s.list)-1]
		s.bytes -= len(m)
		s.mu.Unlock()
		return m, nil
	}
	s.mu.Unlock()
	return allocate(n)
}

// give keeps memory for later, or frees it.
func (s *spares) give(m memory) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(m) == 0:
	case s.closed || len(s.list) == maxSpares || len(m) > s.mostBytes-s.bytes:
		m.free()
	default:
		s.list = append(s.list, m)
		s.bytes += len(m)
	}
}

// close frees what is kept, and what will be given.
func (s *spares) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.list {
		m.free()
	}
	s.list, s.bytes, s.closed = nil, 0, true
}
