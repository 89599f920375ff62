package kernel

import (
	"math"
	"math/rand/v2"
	"testing"

	"tandem/tensor"
	"tandem/tensor/block"
)

// TestTurnsAgainstReference: rotary positions on every tier, of whole vectors and not.
func TestTurnsAgainstReference(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, isa := range tiers() {
		for _, n := range []int{1, 3, 4, 8, 12, 16, 20, 32, 47, 64, 3000} {
			cos, sin := random(r, n, 1), random(r, n, 2)
			halves, pairs := random(r, 2*n+5, 3), random(r, 2*n+5, 1)
			a, b := append([]float32{}, halves...), append([]float32{}, pairs...)
			turnHalves(isa, a, cos, sin)
			turnPairs(isa, b, cos, sin)
			for i := range 2 * n {
				j, at := i%n, i/n
				u, v := float64(halves[j]), float64(halves[j+n])
				want := []float64{float64(cos[j])*u - float64(sin[j])*v, float64(sin[j])*u + float64(cos[j])*v}[at]
				if math.Abs(float64(a[i])-want) > 1e-6 {
					t.Fatalf("%v: halves of %d: element %d is %v, want %v", isa, n, i, a[i], want)
				}
				j = i / 2
				u, v = float64(pairs[2*j]), float64(pairs[2*j+1])
				want = []float64{float64(cos[j])*u - float64(sin[j])*v, float64(sin[j])*u + float64(cos[j])*v}[i%2]
				if math.Abs(float64(b[i])-want) > 1e-6 {
					t.Fatalf("%v: pairs of %d: element %d is %v, want %v", isa, n, i, b[i], want)
				}
			}
			for i := 2 * n; i < len(a); i++ {
				if a[i] != halves[i] || b[i] != pairs[i] {
					t.Fatalf("%v: what is beyond %d pairs has changed", isa, n)
				}
			}
		}
	}
}

// TestRotary: heads of rows in either order, part of a head, positions from a table; a
// row alone has the same bits.
func TestRotary(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for range 30 {
		half, heads, rows, batch := 1+r.IntN(40), 1+r.IntN(5), 1+r.IntN(20), 1+r.IntN(3)
		size := 2*half + r.IntN(3)
		first := Strides{Batch: heads * rows * size, Head: rows * size, Row: size}
		last := Strides{Batch: heads * rows * size, Head: size, Row: heads * size}
		positions := r.Perm(rows * batch)
		v := Rotary{X: random(r, batch*rows*heads*size, r.IntN(16)), Batch: batch, Rows: rows, Heads: heads, Size: size, XS: first, YS: last,
			Cos: random(r, batch*rows*half, 0), Sin: random(r, batch*rows*half, 1), Half: half, Interleaved: r.IntN(2) == 0,
			Position: func(b, row int) int { return positions[b*rows+row] }}
		for _, p := range testPools(t) {
			v.Y = guarded(len(v.X))
			v.Run(p)
			checkGuard(t, v.Y)
			for i := range batch * rows * heads {
				b, row, h := i/(rows*heads), i/heads%rows, i%heads
				want := append([]float32{}, v.X[first.at(b, h, row):][:size]...)
				at := positions[b*rows+row] * half
				turn := turnHalves
				if v.Interleaved {
					turn = turnPairs
				}
				turn(p.ISA(), want, v.Cos[at:][:half], v.Sin[at:][:half])
				same(t, "a head", v.Y[last.at(b, h, row):][:size], want)
			}
		}
	}
}

// TestNarrow: the same bits as plain Go, on every tier.
func TestNarrow(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, isa := range tiers() {
		for range 50 {
			x := random(r, r.IntN(70), r.IntN(4))
			for i := range x {
				x[i] *= float32(math.Exp(float64(r.IntN(40) - 25)))
			}
			got := make([]uint16, len(x))
			narrow(isa, got, x)
			for i, v := range x {
				if got[i] != tensor.Float16Bits(v) {
					t.Fatalf("%v: %v becomes %#x, want %#x", isa, v, got[i], tensor.Float16Bits(v))
				}
			}
		}
	}
}

// TestRMSNorm against float64.
func TestRMSNorm(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, p := range testPools(t) {
		for _, cols := range []int{1, 15, 64, 100, 1024} {
			x, w := random(r, 3*cols, 1), random(r, cols, 2)
			y := make([]float32, 3*cols)
			for i := range 3 {
				rmsNorm(p.ISA(), y[i*cols:][:cols], x[i*cols:][:cols], w, 1e-5)
			}
			for i, got := range y {
				sum := 0.0
				for _, a := range x[i/cols*cols:][:cols] {
					sum += float64(a) * float64(a)
				}
				want := float64(x[i]) / math.Sqrt(sum/float64(cols)+1e-5) * float64(w[i%cols])
				if math.Abs(float64(got)-want) > 1e-5*(1+math.Abs(want)) {
					t.Fatalf("%v: %d columns: element %d is %v, want %v", p.ISA(), cols, i, got, want)
				}
			}
		}
	}
}

// TestDecoderKernelsDoNotAllocate in their steady state.
func TestDecoderKernelsDoNotAllocate(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, p := range testPools(t) {
		w, _ := testWeight(r, p, linearFormats[0], 64, 64)
		half, _ := testWeight(r, p, block.BF16, 64, 64)
		l := &Linear{M: 20, K: 64, X: random(r, 20*64, 0), Weights: []Weight{w, half}, Y: make([]float32, 20*128)}
		scratch := make([]byte, l.ScratchLen(p))
		a := &PagedAttention{Heads: 2, KVHeads: 1, Size: 16, Scale: 1, Window: -1, BlocksPerRow: 1, LDQ: 32, LDK: 16, LDV: 16,
			Q: random(r, 20*32, 0), K: random(r, 20*16, 0), V: random(r, 20*16, 0), Y: make([]float32, 20*32),
			Keys: make([]byte, KeyPageBytes(1, 16)), Values: make([]byte, ValuePageBytes(1, 16)),
			Lengths: []int64{0, 20}, Past: []int64{0}, Blocks: []int64{0}}
		room := make([]byte, a.ScratchLen(p))
		for name, f := range map[string]func(){
			"Linear":         func() { l.Run(p, scratch) },
			"PagedAttention": func() { _ = a.Run(p, room) },
		} {
			n := 1.0
			for i := 0; n != 0 && i < 4; i++ {
				n = testing.AllocsPerRun(5, f)
			}
			if n != 0 {
				t.Errorf("%v, %d threads: %s allocates %v times", p.ISA(), p.Threads(), name, n)
			}
		}
	}
}
