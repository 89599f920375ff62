package op

import (
	"math"
	"math/bits"
	"math/cmplx"

	"tandem/graph"
)

// fourier is the discrete Fourier transform of n numbers: by halving where n is a
// power of two, else by Bluestein's reduction to a convolution of such a length.
type fourier struct {
	n      int
	roots  []complex128 // e^(-2πik/size) for k < size/2
	size   int          // power of two
	chirp  []complex128 // e^(-πik²/n); nil if n is a power of two
	filter []complex128 // transform of the conjugate chirp
	room   []complex128
}

func newFourier(c *graph.Call, n int) (f *fourier, err error) {
	f = &fourier{n: n, size: n}
	if n&(n-1) != 0 {
		f.size = 1 << bits.Len(uint(2*n-2))
	}
	if f.roots, err = graph.Room[complex128](c, f.size/2); err != nil {
		return nil, err
	}
	for k := range f.roots {
		f.roots[k] = cmplx.Rect(1, -2*math.Pi*float64(k)/float64(f.size))
	}
	if f.size == n {
		return f, nil
	}
	all, err := graph.Room[complex128](c, n+2*f.size)
	if err != nil {
		return nil, err
	}
	f.chirp, f.filter, f.room = all[:n], all[n:][:f.size], all[n+f.size:]
	for k := range f.chirp {
		// k² modulo 2n keeps the angle small, and so exact.
		f.chirp[k] = cmplx.Rect(1, -math.Pi*float64(k*k%(2*n))/float64(n))
		f.filter[k] = cmplx.Conj(f.chirp[k])
		f.filter[(f.size-k)%f.size] = f.filter[k]
	}
	f.halving(f.filter)
	return f, nil
}

// transform replaces x by X[k] = Σ x[j]·e^(-2πijk/n).
func (f *fourier) transform(x []complex128) {
	if f.chirp == nil {
		f.halving(x)
		return
	}
	clear(f.room)
	for k, c := range f.chirp {
		f.room[k] = x[k] * c
	}
	f.halving(f.room)
	for k, c := range f.filter {
		f.room[k] = cmplx.Conj(f.room[k] * c) // conjugated: the next transform goes back
	}
	f.halving(f.room)
	for k, c := range f.chirp {
		x[k] = cmplx.Conj(f.room[k]) * c / complex(float64(f.size), 0)
	}
}

// inverse replaces X by x[j] = Σ X[k]·e^(2πijk/n) / n.
func (f *fourier) inverse(x []complex128) {
	for i, v := range x {
		x[i] = cmplx.Conj(v)
	}
	f.transform(x)
	for i, v := range x {
		x[i] = cmplx.Conj(v) / complex(float64(f.n), 0)
	}
}

// halving is the transform of f.size numbers (Cooley and Tukey, in place).
func (f *fourier) halving(x []complex128) {
	n := len(x)
	if n < 2 {
		return
	}
	shift := 64 - bits.Len(uint(n-1))
	for i := range x {
		if j := int(bits.Reverse64(uint64(i)) >> shift); i < j {
			x[i], x[j] = x[j], x[i]
		}
	}
	for half := 1; half < n; half *= 2 {
		step := n / (2 * half)
		for begin := 0; begin < n; begin += 2 * half {
			for k := range half {
				a, b := x[begin+k], x[begin+half+k]*f.roots[k*step]
				x[begin+k], x[begin+half+k] = a+b, a-b
			}
		}
	}
}
