package kernel

import (
	"math/rand/v2"
	"testing"
)

// TestLargest: the first of equals, wherever it is, in rows longer than a call of the
// kernels takes.
func TestLargest(t *testing.T) {
	r := rand.New(rand.NewPCG(61, 62))
	for _, p := range testPools(t) {
		for range 60 {
			x := random(r, 1+r.IntN(3*asmElements), r.IntN(4))
			at := r.IntN(len(x))
			x[at] = 2
			for range 3 {
				x[at+r.IntN(len(x)-at)] = 2
			}
			if got := Largest(p, x); got != at {
				t.Fatalf("%v: the largest of %d is at %d, want %d", p.ISA(), len(x), got, at)
			}
		}
	}
}
