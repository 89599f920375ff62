package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"tandem/kernel/ref"
)

// tiers are those that this processor can run.
func tiers() []ISA {
	var t []ISA
	for i := Generic; i <= Detect(); i++ {
		t = append(t, i)
	}
	return t
}

// random returns n numbers in [-1,1), off elements into their allocation, with
// guards behind them.
func random(r *rand.Rand, n, off int) []float32 {
	x := make([]float32, off+n)
	for i := range x {
		x[i] = r.Float32()*2 - 1
	}
	return x[off : off+n : off+n]
}

func randomGemm(r *rand.Rand, m, n, k int) *Gemm {
	g := &Gemm{M: m, N: n, K: k, TransA: r.IntN(2) == 0, TransB: r.IntN(2) == 0}
	g.LDA, g.LDB, g.LDC = k+r.IntN(3), n+r.IntN(3), n+r.IntN(3)
	aRows, bRows := m, k
	if g.TransA {
		g.LDA, aRows = m+r.IntN(3), k
	}
	if g.TransB {
		g.LDB, bRows = k+r.IntN(3), n
	}
	g.A = random(r, aRows*g.LDA, r.IntN(16))
	g.B = random(r, bRows*g.LDB, r.IntN(16))
	g.C = random(r, m*g.LDC, r.IntN(16))
	g.Act = Activation(r.IntN(int(ActGELUErf) + 1))
	if r.IntN(3) == 0 {
		g.Add = random(r, m*g.LDC, r.IntN(16))
	}
	switch g.BiasAxis = BiasAxis(r.IntN(3)); g.BiasAxis {
	case BiasColumn:
		g.Bias = random(r, n, r.IntN(16))
	case BiasRow:
		g.Bias = random(r, m, r.IntN(16))
	default:
		g.Accumulate = r.IntN(2) == 0
	}
	return g
}

// oracle is what C should be, with the gaps between rows as they are.
func (g *Gemm) oracle() []float32 {
	want := append([]float32(nil), g.C...)
	for i := range g.M {
		for j := range g.N {
			c := &want[i*g.LDC+j]
			switch {
			case g.BiasAxis == BiasColumn:
				*c = g.Bias[j]
			case g.BiasAxis == BiasRow:
				*c = g.Bias[i]
			case !g.Accumulate:
				*c = 0
			}
		}
	}
	ars, aks, bks, bcs := g.LDA, 1, g.LDB, 1
	if g.TransA {
		ars, aks = 1, g.LDA
	}
	if g.TransB {
		bks, bcs = 1, g.LDB
	}
	ref.Gemm(g.M, g.N, g.K, g.A, ars, aks, g.B, bks, bcs, want, g.LDC, true)
	for i := range g.M {
		row := want[i*g.LDC:][:g.N]
		if g.Act != ActNone {
			unaryGeneric(g.Act.unary(), row, row, 0)
		}
		if g.Add != nil {
			ref.Add(row, row, g.Add[i*g.LDC:])
		}
	}
	return want
}

func (g *Gemm) String() string {
	return fmt.Sprintf("%d×%d×%d trans %v %v ld %d %d %d bias %d acc %v act %d add %v packed %v",
		g.M, g.N, g.K, g.TransA, g.TransB, g.LDA, g.LDB, g.LDC, g.BiasAxis, g.Accumulate, g.Act, g.Add != nil, g.Packed != nil)
}

func close32(a, b, tolerance float32) bool {
	if a == b || a != a || b != b {
		return a == b || (a != a && b != b)
	}
	return math.Abs(float64(a-b)) <= float64(tolerance)
}

func TestGemmAgainstReference(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	dims := []int{0, 1, 2, 3, 5, 7, 11, 12, 13, 16, 17, 24, 31, 32, 33, 47, 64, 67, 70}
	pools := testPools(t)
	for range 400 {
		m, n, k := dims[r.IntN(len(dims))], dims[r.IntN(len(dims))], dims[r.IntN(len(dims))]
		switch r.IntN(12) {
		case 0:
			k = 255 + r.IntN(300)
		case 1:
			m = 90 + r.IntN(40)
		case 2:
			n = 250 + r.IntN(40)
		}
		g := randomGemm(r, m, n, k)
		start, want := append([]float32(nil), g.C...), g.oracle()
		for _, p := range pools {
			copy(g.C, start)
			g.Packed = nil
			if r.IntN(3) == 0 && k > 0 && n > 0 {
				g.Packed = make([]float32, PackedLen(k, n, p.ISA()))
				PackB(g.Packed, g.B, k, n, g.LDB, g.TransB, p.ISA())
			}
			g.Run(p, dirty(g.ScratchLen(p)))
			for i := range want {
				if !close32(g.C[i], want[i], float32(k+1)*1e-6) {
					t.Fatalf("%v: %v: element %d,%d is %v, want %v", p.ISA(), g, i/g.LDC, i%g.LDC, g.C[i], want[i])
				}
			}
		}
	}
}

// dirty is scratch full of NaN: reading what was not written shows.
func dirty(n int) []float32 {
	s := make([]float32, n)
	for i := range s {
		s[i] = float32(math.NaN())
	}
	return s
}

func testPools(t testing.TB) []*Pool {
	var pools []*Pool
	for _, isa := range tiers() {
		for _, threads := range []int{1, 2, 3} {
			p := NewPool(threads, isa)
			t.Cleanup(p.Close)
			pools = append(pools, p)
			if isa == AVX512 && threads == 3 { // as on a processor of another kind
				p.four = !p.four
			}
		}
	}
	return pools
}

// TestGemmRowsDoNotDependOnTheirBatch computes rows alone and in batches, on
// one to three threads, packed and not: all bits must agree.
func TestGemmRowsDoNotDependOnTheirBatch(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	pools := testPools(t)
	for range 60 {
		m, n, k := 1+r.IntN(150), 1+r.IntN(100)*(1+r.IntN(2)*5), 1+r.IntN(900)
		a, b, bias := random(r, m*k, 3), random(r, n*k, 5), random(r, n, 1)
		trans := r.IntN(2) == 0
		want := map[ISA][]float32{}
		for _, p := range pools {
			g := &Gemm{M: m, N: n, K: k, TransB: trans, A: a, B: b, C: make([]float32, m*n), Bias: bias, BiasAxis: BiasColumn}
			g.Run(p, dirty(g.ScratchLen(p)))
			if want[p.ISA()] == nil {
				want[p.ISA()] = g.C
			}
			same(t, g, g.C, want[p.ISA()])
			for range 4 {
				rows := 1 + r.IntN(min(m, 30+r.IntN(2)*100))
				first := r.IntN(m - rows + 1)
				g := &Gemm{M: rows, N: n, K: k, TransB: trans, A: a[first*k:], B: b, C: make([]float32, rows*n), Bias: bias, BiasAxis: BiasColumn}
				if r.IntN(2) == 0 {
					g.Packed = make([]float32, PackedLen(k, n, p.ISA()))
					PackB(g.Packed, b, k, n, 0, trans, p.ISA())
				}
				if r.IntN(3) == 0 {
					g.TransA, g.A = true, make([]float32, rows*k)
					for i := range rows * k {
						g.A[i%k*rows+i/k] = a[first*k+i]
					}
				}
				g.Run(p, dirty(g.ScratchLen(p)))
				same(t, g, g.C, want[p.ISA()][first*n:(first+rows)*n])
			}
		}
	}
}

func same(t *testing.T, what any, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%v: element %d is %v, want the bits of %v", what, i, got[i], want[i])
		}
	}
}

func BenchmarkGemm(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, c := range []struct {
		name           string
		m, n, k        int
		transA, transB bool
		packed         bool
	}{
		{"512", 512, 512, 512, false, false, false},
		{"512packed", 512, 512, 512, false, false, true},
		{"128x1536x384packed", 128, 1536, 384, false, false, true},
		{"128x384x1536packed", 128, 384, 1536, false, false, true},
		{"1x1536x384packed", 1, 1536, 384, false, false, true},
		{"1x50257x768packed", 1, 50257, 768, false, false, true},
		{"1024x384x384packed", 1024, 384, 384, false, false, true},
		{"1024x1536x384packed", 1024, 1536, 384, false, false, true},
		{"1024x384x1536packed", 1024, 384, 1536, false, false, true},
		{"1x1536x384", 1, 1536, 384, false, false, false},
		{"dense128x128x9216", 128, 128, 9216, false, false, false},
		{"dense_dX128x9216x128", 128, 9216, 128, false, true, false},
		{"dense_dW9216x128x128", 9216, 128, 128, true, false, false},
		{"dense128x512x784", 128, 512, 784, false, false, false},
		{"dense_dX128x784x512", 128, 784, 512, false, true, false},
		{"dense_dW784x512x128", 784, 512, 128, true, false, false},
		{"dense128x10x128", 128, 10, 128, false, false, false},
	} {
		for _, isa := range tiers()[1:] {
			for threads := 1; threads <= 2; threads++ {
				b.Run(fmt.Sprintf("%s/%v/%d", c.name, isa, threads), func(b *testing.B) {
					p := NewPool(threads, isa)
					defer p.Close()
					g := &Gemm{M: c.m, N: c.n, K: c.k, TransA: c.transA, TransB: c.transB,
						A: random(r, c.m*c.k, 0), B: random(r, c.n*c.k, 0), C: make([]float32, c.m*c.n)}
					if c.packed {
						g.Packed = make([]float32, PackedLen(c.k, c.n, isa))
						PackB(g.Packed, g.B, c.k, c.n, 0, c.transB, isa)
					}
					scratch := make([]float32, g.ScratchLen(p))
					benchFlops(b, 2*float64(c.m)*float64(c.n)*float64(c.k), func() { g.Run(p, scratch) })
				})
			}
		}
	}
}

// BenchmarkGemmCold multiplies few rows by packed weights that no cache holds any more:
// what a network does at batch 1.
func BenchmarkGemmCold(b *testing.B) {
	for _, s := range [][2]int{{384, 1536}, {1536, 384}, {384, 384}} {
		for _, m := range []int{1, 8, 12, 16, 22, 36, 64, 128} {
			for threads := 1; threads <= 2; threads++ {
				b.Run(fmt.Sprintf("%dx%dx%d/%d", m, s[0], s[1], threads), func(b *testing.B) { gemmCold(b, m, s[0], s[1], threads) })
			}
		}
	}
}

func gemmCold(b *testing.B, m, k, n, threads int) {
	p := NewPool(threads, Detect())
	defer p.Close()
	packed := make([][]float32, 64<<20/4/(k*n))
	for i := range packed {
		packed[i] = random(rand.New(rand.NewPCG(1, 1)), PackedLen(k, n, p.ISA()), 0)
	}
	g := Gemm{M: m, N: n, K: k, A: make([]float32, m*k), C: make([]float32, m*n), Packed: packed[0]}
	scratch := make([]float32, g.ScratchLen(p))
	i := 0
	benchFlops(b, 2*float64(m*n*k), func() {
		g.Packed = packed[i%len(packed)]
		g.Run(p, scratch)
		i++
	})
	b.ReportMetric(float64(4*k*n*b.N)/b.Elapsed().Seconds()/1e9, "GB/s")
}

// TestEvenGrain checks that threads get as many chunks each where that costs less than
// half of the grain, and that what is one chunk stays one.
func TestEvenGrain(t *testing.T) {
	for _, c := range []struct{ units, grain, threads, want int }{
		{1, 1 << 40, 2, 1 << 40}, // found at once
		{40, 40, 2, 40},
		{96, 40, 2, 24}, // 40, 40, 16
		{41, 40, 2, 21}, // 40, 1
		{41, 40, 3, 40}, // 14 would be less than half
		{80, 40, 2, 40}, // even as it is
		{90, 40, 4, 23}, // 40, 40, 10
		{1 << 40, 3, 2, 3},
	} {
		if g := evenGrain(c.units, c.grain, c.threads); g != c.want {
			t.Errorf("evenGrain(%d, %d, %d) = %d, want %d", c.units, c.grain, c.threads, g, c.want)
		}
	}
}
