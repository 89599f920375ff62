package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"tandem/kernel/ref"
)

// randomWinograd is a random convolution that minimal filtering can compute.
func randomWinograd(r *rand.Rand) *Conv {
	c := &Conv{
		N: 1 + r.IntN(3), C: 16 * (1 + r.IntN(3)), OC: 16 * (1 + r.IntN(6)), H: 1 + r.IntN(15), W: 1 + r.IntN(15), KH: 3, KW: 3,
		PadTop: r.IntN(4), PadLeft: r.IntN(4), PadBottom: r.IntN(8), PadRight: r.IntN(8),
	}
	c.PadBottom += max(0, 3-c.H-c.PadTop-c.PadBottom)
	c.PadRight += max(0, 3-c.W-c.PadLeft-c.PadRight)
	oh, ow := c.OutSize()
	c.X, c.Y = random(r, c.N*c.C*c.H*c.W, r.IntN(16)), make([]float32, c.N*c.OC*oh*ow)
	c.Weight = random(r, c.OC*c.C*9, r.IntN(16))
	if r.IntN(2) == 0 {
		c.Bias = random(r, c.OC, r.IntN(16))
	}
	return c
}

// byWinograd lets l compute by tiles of side.
func byWinograd(l *ConvLast, weight []float32, side int, isa ISA) {
	l.Winograd = side
	l.Packed = make([]float32, WinogradLen(l.OC, l.C, side, isa))
	PackWinograd(l.Packed, weight, l.OC, l.C, side, isa)
}

// TestWinogradAgainstReference compares with the direct sums, the bits with those
// of one thread, and the bits of each image with the image alone.
func TestWinogradAgainstReference(t *testing.T) {
	r := rand.New(rand.NewPCG(51, 7))
	pools := testPools(t)
	rounds := 40
	if testing.Short() {
		rounds = 10
	}
	first := map[ISA][]float32{}
	for i := range rounds {
		c, side := randomWinograd(r), 2+i%2*2
		clear(first)
		direct, want := lastOf(r, c, Generic)
		for _, p := range pools {
			l := new(ConvLast)
			*l = *direct
			byWinograd(l, c.Weight, side, p.isa)
			l.Y = dirty(len(want))
			if l.Add != nil && c.N == 1 { // in place
				l.Y = slices.Clone(l.Add)
				l.Add = l.Y
			}
			l.Run(p, dirty(l.ScratchLen(p)))
			compare(t, fmt.Sprint(p.isa, side, l), l.Y, want, 2e-6*float32(l.k()))
			if first[p.isa] == nil {
				first[p.isa] = l.Y
			}
			same(t, l, l.Y, first[p.isa])
			eachAlone(t, l, p)
		}
	}
}

// TestWinogradError holds what the rule relies on: beside the sums in float64, how far
// the results are from them, as a share of their root mean square.
func TestWinogradError(t *testing.T) {
	r := rand.New(rand.NewPCG(51, 8))
	c := &Conv{N: 1, C: 128, OC: 32, H: 16, W: 16, KH: 3, KW: 3, PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1}
	c.X, c.Y, c.Weight = random(r, c.C*c.H*c.W, 0), make([]float32, c.OC*c.H*c.W), random(r, c.OC*c.C*9, 0)
	for i, x := range c.X {
		c.X[i] = max(x, 0) // as behind ReLU
	}
	s := c.shape()
	s.Forward(c.X, c.Weight, nil, c.Y, false)
	exact := channelsLast(c.Y, 1, c.OC, c.H*c.W)
	for _, isa := range tiers() {
		p := NewPool(1, isa)
		l, _ := lastOf(r, c, isa)
		l.Add, l.Act, l.Y = nil, ActNone, make([]float32, len(c.Y))
		for _, side := range []int{0, 2, 4} {
			bound := map[int]float64{0: 5e-7, 2: 4e-7, 4: 1e-6}[side]
			if side != 0 {
				byWinograd(l, c.Weight, side, isa)
			}
			l.Run(p, make([]float32, l.ScratchLen(p)))
			size, apart, worst := 0.0, 0.0, 0.0
			for i, want := range exact {
				d := float64(l.Y[i]) - float64(want)
				size, apart, worst = size+float64(want)*float64(want), apart+d*d, max(worst, math.Abs(d))
			}
			share := math.Sqrt(apart / size)
			t.Logf("%v, tiles of %d: root mean square %.2g, worst %.2g", isa, side, share, worst/math.Sqrt(size/float64(len(exact))))
			if share > bound {
				t.Errorf("%v, tiles of %d: error %.2g, more than %.2g", isa, side, share, bound)
			}
		}
		p.Close()
	}
}

func TestWinogradMatrices(t *testing.T) {
	for _, side := range []int{2, 4} {
		w := ref.NewWinograd(side)
		for shift := range 3 { // the output at i sums d[i+k]·g[k]
			for d := range w.Size {
				for i := range w.Side {
					sum := 0.0
					for k := range w.Size {
						sum += w.Output[i][k] * w.Weights[k][shift] * w.Input[k][d]
					}
					want := 0.0
					if d == i+shift {
						want = 1
					}
					if math.Abs(sum-want) > 1e-14 {
						t.Errorf("tiles of %d: output %d takes input %d %v times by weight %d, want %v", side, i, d, sum, shift, want)
					}
				}
			}
		}
	}
}

func BenchmarkWinograd(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, s := range []struct{ size, c int }{{112, 32}, {56, 64}, {28, 128}, {14, 256}, {7, 512}} {
		for _, batch := range []int{1, 8} {
			for _, isa := range tiers()[1:] {
				for threads := 1; threads <= 2; threads++ {
					for _, side := range []int{0, 2, 4} {
						p := NewPool(threads, isa)
						l := &ConvLast{
							N: batch, H: s.size, W: s.size, C: s.c, OC: s.c, KH: 3, KW: 3, PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1,
							X: random(r, batch*s.size*s.size*s.c, 0), Y: make([]float32, batch*s.size*s.size*s.c), Bias: random(r, s.c, 0), Act: ActReLU, Winograd: side,
						}
						w := l.planar().window()
						l.Packed = random(r, l.packedLen(&w, isa), 0)
						scratch := make([]float32, l.ScratchLen(p))
						b.Run(fmt.Sprintf("%dx%d/%d/%v/%d/tiles%d", s.size, s.c, batch, isa, threads, side), func(b *testing.B) {
							benchFlops(b, 2*float64(len(l.Y))*float64(l.k()), func() { l.Run(p, scratch) })
						})
						p.Close()
					}
				}
			}
		}
	}
}
