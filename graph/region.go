package graph

import "tandem/fault"

// Region is memory outside the Go heap, for weights: zero, in huge pages where the
// system gives them, and used from its beginning to its end. What is not used costs
// addresses only.
type Region struct {
	memory memory
	used   int
}

// NewRegion reserves up to n bytes.
func NewRegion(n int) (*Region, error) {
	m, err := allocate(n)
	if err != nil {
		return nil, err
	}
	return &Region{memory: m}, nil
}

// Take is the next n bytes, on a cache line of their own.
func (r *Region) Take(n int) ([]byte, error) {
	at := (r.used + arenaAlign - 1) &^ (arenaAlign - 1)
	if n < 0 || n > len(r.memory)-at {
		return nil, fault.New("graph.region", fault.TooLarge, "%d bytes do not fit a region of %d, of which %d are used", n, len(r.memory), at)
	}
	r.used = at + n
	return r.memory[at:r.used:r.used], nil
}

// Close gives the memory back. Nothing may read it any more.
func (r *Region) Close() error {
	r.memory.free()
	r.memory, r.used = nil, 0
	return nil
}
