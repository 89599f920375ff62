package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"tandem/kernel/ref"
)

// specials are values on which a kernel can go wrong, mixed into random ones.
var specials = []float32{
	0, float32(math.Copysign(0, -1)), 1, -1, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()),
	1e-45, -1e-45, 1e-38, 3e38, -3e38, 88.7, 88.73, 89.5, -87.4, -100, -103.9, -104.5, 1e-4, -1e-4, 9, -9, 0.17, 0.35,
}

func mixed(r *rand.Rand, n int) []float32 {
	x := random(r, n, r.IntN(16))
	for i := range x {
		x[i] *= 8
		if r.IntN(8) == 0 {
			x[i] = specials[r.IntN(len(specials))]
		}
	}
	return x
}

// ulps is the distance of got from the exact value, in units of the last place
// of the float32 nearest to it.
func ulps(got float32, exact float64) float64 {
	want := float32(exact)
	if got == want || (got != got && want != want) {
		return 0
	}
	if got != got || want != want || math.IsInf(float64(got), 0) != math.IsInf(float64(want), 0) {
		return math.Inf(1)
	}
	a := float32(math.Abs(float64(want)))
	unit := math.Float32frombits(math.Float32bits(a)+1) - a
	return math.Abs(float64(got)-exact) / float64(unit)
}

func TestBinary(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for op := OpAdd; op <= opAddSquare; op++ {
		for _, p := range testPools(t) {
			for _, n := range []int{0, 1, 7, 8, 15, 16, 17, 63, 64, 100, 1000, 40000} {
				a, b, s := mixed(r, n), mixed(r, n), r.Float32()
				y, want := guarded(n), make([]float32, n)
				binaryGeneric(op, want, a, b, s)
				switch op {
				case opAddScaled:
					copy(y, a)
					AddProducts(p, y, b, s)
				case opAddSquare:
					copy(y, a)
					AddSquares(p, y, b, s)
				default:
					(&Binary{Op: op, Y: y, A: a, B: b}).Run(p)
				}
				for i := range y {
					tolerance := float32(0)
					if op >= OpTanhGrad {
						m := max(1, float32(math.Abs(float64(a[i]))), float32(math.Abs(float64(b[i]))))
						tolerance = 1e-6 * m * m * m
					}
					if y[i] != want[i] && !close32(y[i], want[i], tolerance) {
						t.Fatalf("%v op %d: f(%v, %v) is %v, want %v", p.ISA(), op, a[i], b[i], y[i], want[i])
					}
				}
				checkGuard(t, y)
			}
		}
	}
}

const guard = 12345.5

// guarded is a slice with guard elements behind it.
func guarded(n int) []float32 {
	y := make([]float32, n+20)
	for i := range y {
		y[i] = guard
	}
	return y[:n]
}

func checkGuard(t *testing.T, y []float32) {
	t.Helper()
	for i, v := range y[:len(y)+20][len(y):] {
		if v != guard {
			t.Fatalf("element %d behind the end of %d was written", i, len(y))
		}
	}
}

// TestUnaryUlps holds the functions to the bounds that their constants state.
func TestUnaryUlps(t *testing.T) {
	sigmoid := func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	for _, c := range []struct {
		op    UnaryOp
		exact func(float64) float64
		ulps  float64
	}{
		{OpExp, math.Exp, 2}, {OpTanh, math.Tanh, 3}, {OpSigmoid, sigmoid, 3}, {OpErf, math.Erf, 4},
		{OpReLU, func(x float64) float64 {
			if x < 0 {
				return 0
			}
			return x
		}, 0},
	} {
		for _, p := range testPools(t) {
			r := rand.New(rand.NewPCG(13, 14))
			x := append(mixed(r, 30000), specials...)
			for i := range 20000 {
				x[i] = float32(math.Pow(10, r.Float64()*12-10)) * float32(1-2*r.IntN(2))
			}
			y := guarded(len(x))
			(&Unary{Op: c.op, X: x, Y: y}).Run(p)
			worst, at := 0.0, float32(0)
			for i, v := range x {
				if u := ulps(y[i], c.exact(float64(v))); u > worst {
					worst, at = u, v
				}
			}
			if worst > c.ulps {
				t.Errorf("%v op %d: %.2f ulp at %v", p.ISA(), c.op, worst, at)
			}
			if p.Threads() == 1 {
				t.Logf("%v op %d: %.2f ulp at %v", p.ISA(), c.op, worst, at)
			}
			checkGuard(t, y)
			(&Unary{Op: c.op, X: x[:1], Y: x[:1]}).Run(p)
			same(t, "alone and in place", x[:1], y[:1])
		}
	}
}

// TestGELUErf: within 5 ulp where the result does not vanish, and 2e-7·|x|, as no
// multiple of a unit in the last place bounds the relative error of erfc's tail.
func TestGELUErf(t *testing.T) {
	r := rand.New(rand.NewPCG(23, 24))
	for _, p := range testPools(t) {
		x := append(mixed(r, 30000), specials...)
		for i := range 20000 {
			x[i] = float32(r.NormFloat64() * 2)
		}
		y := guarded(len(x))
		(&Unary{Op: OpGELUErf, X: x, Y: y}).Run(p)
		worst := 0.0
		for i, v := range x {
			exact := float64(v) * math.Erfc(-float64(v)/math.Sqrt2) / 2
			if !close32(y[i], float32(exact), 2e-7*float32(math.Abs(float64(v)))) {
				t.Errorf("%v: gelu(%v) is %v, want %v", p.ISA(), v, y[i], exact)
			}
			if v > -1 {
				worst = max(worst, ulps(y[i], exact))
			}
		}
		if worst > 5 {
			t.Errorf("%v: %.2f ulp for x > -1", p.ISA(), worst)
		}
		checkGuard(t, y)
	}
}

func TestScale(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	for _, p := range testPools(t) {
		x := mixed(r, 20000+r.IntN(40))
		y, want := guarded(len(x)), make([]float32, len(x))
		ref.Scale(want, x, 0.3)
		(&Scale{X: x, Y: y, S: 0.3}).Run(p)
		compare(t, p.ISA(), y, want, 0)
		checkGuard(t, y)
	}
}

func TestSoftmax(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 16))
	for _, p := range testPools(t) {
		for _, cols := range []int{1, 2, 7, 10, 16, 33, 100, 300, 1000} {
			for _, log := range []bool{false, true} {
				rows := 1 + r.IntN(40)
				x, y := random(r, rows*cols, 3), guarded(rows*cols)
				for i := range x {
					x[i] *= 100
				}
				(&Softmax{X: x, Y: y, Rows: rows, Cols: cols, Log: log}).Run(p)
				for i := range rows {
					checkSoftmax(t, fmt.Sprint(p.ISA(), cols, log), x[i*cols:][:cols], y[i*cols:][:cols], log)
					row := append([]float32(nil), x[i*cols:][:cols]...)
					(&Softmax{X: row, Y: row, Rows: 1, Cols: cols, Log: log}).Run(p)
					same(t, "a row alone, in place", row, y[i*cols:][:cols])
				}
				checkGuard(t, y)
			}
		}
		x := []float32{1, float32(math.NaN()), 2}
		(&Softmax{X: x, Y: x, Rows: 1, Cols: 3}).Run(p)
		if x[0] == x[0] || x[2] == x[2] {
			t.Errorf("%v: softmax of a row with NaN is %v", p.ISA(), x)
		}
	}
}

func checkSoftmax(t *testing.T, what string, x, y []float32, log bool) {
	t.Helper()
	top := float64(x[0])
	for _, v := range x {
		top = max(top, float64(v))
	}
	total := 0.0
	for _, v := range x {
		total += math.Exp(float64(v) - top)
	}
	for i, v := range x {
		want := float64(v) - top - math.Log(total)
		if !log {
			want = math.Exp(want)
		}
		if math.Abs(float64(y[i])-want) > 1e-6*max(1, math.Abs(want)) {
			t.Fatalf("%s: element %d is %v, want %v", what, i, y[i], want)
		}
	}
}

func TestSums(t *testing.T) {
	r := rand.New(rand.NewPCG(17, 18))
	for range 30 {
		rows, cols, hw := 1+r.IntN(200), 1+r.IntN(300), 1+r.IntN(900)
		x := random(r, rows*cols, r.IntN(16))
		n, c := 1+r.IntN(5), 1+r.IntN(20)
		y := random(r, n*c*hw, r.IntN(16))
		first := map[ISA][2][]float32{}
		for _, p := range testPools(t) {
			a, b := guarded(cols), guarded(c)
			(&SumRows{Dst: a, X: x, Rows: rows, Cols: cols}).Run(p)
			(&SumChannels{Dst: b, Y: y, N: n, C: c, HW: hw}).Run(p)
			for j, v := range a {
				want := 0.0
				for i := range rows {
					want += float64(x[i*cols+j])
				}
				if math.Abs(float64(v)-want) > 1e-6*float64(rows) {
					t.Fatalf("SumRows %d: %v, want %v", j, v, want)
				}
			}
			for j, v := range b {
				want := 0.0
				for i, e := range y {
					if i/hw%c == j {
						want += float64(e)
					}
				}
				if math.Abs(float64(v)-want) > 1e-6*float64(n*hw) {
					t.Fatalf("SumChannels %d: %v, want %v", j, v, want)
				}
			}
			checkGuard(t, a)
			checkGuard(t, b)
			if first[p.ISA()][0] == nil {
				first[p.ISA()] = [2][]float32{a, b}
			}
			same(t, "SumRows", a, first[p.ISA()][0])
			same(t, "SumChannels", b, first[p.ISA()][1])
		}
	}
}

func TestAdamAndSGD(t *testing.T) {
	r := rand.New(rand.NewPCG(19, 20))
	for _, p := range testPools(t) {
		for round := range 8 {
			n := 1 + r.IntN(50000)
			w, g, m, v := random(r, n, 1), random(r, n, 2), random(r, n, 3), random(r, n, 4)
			for i := range v {
				v[i] *= v[i]
			}
			o := &Adam{W: guarded(n), G: g, M: guarded(n), V: guarded(n), AdamParams: AdamParams{
				LR: 1e-2, Beta1: 0.9, Beta2: 0.99, Eps: 1e-8, WeightDecay: 0.1, Step: 1 + round, Decoupled: round%2 == 0}}
			copy(o.W, w)
			copy(o.M, m)
			copy(o.V, v)
			o.Run(p)
			checkAdam(t, o, w, m, v)
			checkGuard(t, o.W)
			checkGuard(t, o.M)
			checkGuard(t, o.V)

			s := &SGD{W: append([]float32(nil), w...), G: g, M: append([]float32(nil), m...), SGDParams: SGDParams{
				LR: 0.1, Momentum: 0.9, Dampening: 0.2, WeightDecay: 0.01, Nesterov: round%2 == 0, First: round%3 == 0}}
			s.Run(p)
			for i := range w {
				d := float64(g[i]) + 0.01*float64(w[i])
				buf := 0.9*float64(m[i]) + 0.8*d
				if s.First {
					buf = d
				}
				step := buf
				if s.Nesterov {
					step = d + 0.9*buf
				}
				if math.Abs(float64(s.W[i])-(float64(w[i])-0.1*step)) > 1e-6 {
					t.Fatalf("SGD element %d: %v", i, s.W[i])
				}
			}
		}
	}
}

func checkAdam(t *testing.T, o *Adam, w, m, v []float32) {
	t.Helper()
	for i := range w {
		wi, d := float64(w[i]), float64(o.G[i])
		if o.Decoupled {
			wi -= 0.01 * 0.1 * wi
		} else {
			d += 0.1 * wi
		}
		mi, vi := 0.9*float64(m[i])+0.1*d, 0.99*float64(v[i])+0.01*d*d
		step := float64(o.Step)
		den := math.Sqrt(vi)/math.Sqrt(1-math.Pow(0.99, step)) + 1e-8
		want := wi - 0.01/(1-math.Pow(0.9, step))*mi/den
		if math.Abs(float64(o.W[i])-want) > 2e-5 || math.Abs(float64(o.M[i])-mi) > 1e-6 || math.Abs(float64(o.V[i])-vi) > 1e-6 {
			t.Fatalf("Adam element %d: %v %v %v, want %v %v %v", i, o.W[i], o.M[i], o.V[i], want, mi, vi)
		}
	}
}

// TestDropoutBits compares every tier with the plain-Go generator.
func TestDropoutBits(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	for _, p := range testPools(t) {
		for _, n := range []int{1, 63, 64, 65, 1000, 100000} {
			x, y, want := random(r, n, 5), guarded(n), make([]float32, n)
			d := &Dropout{X: x, Y: y, Ratio: 0.3, Seed: r.Uint64(), Stream: r.Uint64(), Step: r.Uint64()}
			d.Run(p)
			ref.NewStream(d.Seed, d.Stream, d.Step).Dropout(want, x, 0, d.threshold, d.scale)
			same(t, "Dropout", y, want)
			checkGuard(t, y)
		}
	}
	d := &Dropout{X: random(r, 1<<20, 0), Y: make([]float32, 1<<20), Ratio: 0.25, Seed: 1}
	d.Run(NewPool(1, Detect()))
	zeros := 0
	for _, v := range d.Y {
		if v == 0 {
			zeros++
		}
	}
	if share := float64(zeros) / (1 << 20); math.Abs(share-0.25) > 0.003 {
		t.Errorf("dropped %v, want 0.25", share)
	}
}

// TestPhilox checks the known answers of the Random123 distribution.
func TestPhilox(t *testing.T) {
	const f = 0xffffffff
	for _, c := range []struct {
		counter [4]uint32
		key     [2]uint32
		want    [4]uint32
	}{
		{[4]uint32{}, [2]uint32{}, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{[4]uint32{f, f, f, f}, [2]uint32{f, f}, [4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, [2]uint32{0xa4093822, 0x299f31d0},
			[4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	} {
		if got := ref.Philox(c.counter, c.key); got != c.want {
			t.Errorf("Philox(%x, %x) = %x, want %x", c.counter, c.key, got, c.want)
		}
	}
}

func TestUniformAndNormal(t *testing.T) {
	moments := func(x []float32) (mean, variance float64) {
		for _, v := range x {
			mean += float64(v) / float64(len(x))
		}
		for _, v := range x {
			variance += (float64(v) - mean) * (float64(v) - mean) / float64(len(x))
		}
		return mean, variance
	}
	x, short := make([]float32, 300001), make([]float32, 77)
	Uniform(x, 1, 2)
	Uniform(short, 1, 2)
	same(t, "a prefix of Uniform", short, x[:77])
	if m, v := moments(x); math.Abs(m-0.5) > 0.003 || math.Abs(v-1.0/12) > 0.002 {
		t.Errorf("Uniform has mean %v, variance %v", m, v)
	}
	Normal(x, 1, 2)
	Normal(short, 1, 2)
	same(t, "a prefix of Normal", short, x[:77])
	if m, v := moments(x); math.Abs(m) > 0.01 || math.Abs(v-1) > 0.01 {
		t.Errorf("Normal has mean %v, variance %v", m, v)
	}
}

func BenchmarkVector(b *testing.B) {
	const n = 1 << 20
	r := rand.New(rand.NewPCG(1, 1))
	x, y, z, w := random(r, n, 0), random(r, n, 0), make([]float32, n), make([]float32, n)
	for threads := 1; threads <= 2; threads++ {
		for _, isa := range tiers()[1:] {
			p := NewPool(threads, isa)
			for _, c := range []struct {
				name  string
				bytes int // moved per element
				run   interface{ Run(*Pool) }
			}{
				{"Add", 12, &Binary{Y: z, A: x, B: y}},
				{"ReLU", 8, &Unary{Y: z, X: x}},
				{"Exp", 8, &Unary{Op: OpExp, Y: z, X: x}},
				{"Tanh", 8, &Unary{Op: OpTanh, Y: z, X: x}},
				{"Softmax1000", 8, &Softmax{Y: z, X: x, Rows: n / 1000, Cols: 1000}},
				{"Softmax10", 8, &Softmax{Y: z, X: x, Rows: n / 10, Cols: 10}},
				{"SumRows", 4, &SumRows{Dst: z, X: x, Rows: 1 << 10, Cols: 1 << 10}},
				{"SumChannels", 4, &SumChannels{Dst: z, Y: x, N: 16, C: 64, HW: 1024}},
				{"Adam", 28, &Adam{W: x, G: y, M: z, V: w, AdamParams: AdamParams{Step: 1, Beta1: 0.9, Beta2: 0.9, Eps: 1}}},
				{"SGD", 20, &SGD{W: x, G: y, M: z, SGDParams: SGDParams{Momentum: 0.9}}},
				{"Dropout", 8, &Dropout{Y: z, X: x, Ratio: 0.5}},
				{"MaxPool", 5, poolRun{&MaxPool{N: 1, C: 1024, H: 32, W: 32, KH: 2, KW: 2, StrideH: 2, StrideW: 2, X: x, Y: z}}},
				{"MaxPoolGrad", 10, gradRun{&MaxPool{N: 1, C: 1024, H: 32, W: 32, KH: 2, KW: 2, StrideH: 2, StrideW: 2, X: x, Y: y, DY: y, DX: z}}},
			} {
				b.Run(fmt.Sprintf("%s/%v/%d", c.name, isa, threads), func(b *testing.B) {
					b.SetBytes(int64(c.bytes) * n)
					for b.Loop() {
						c.run.Run(p)
					}
				})
			}
			p.Close()
		}
	}
}

type poolRun struct{ *MaxPool }

func (m poolRun) Run(p *Pool) { m.Forward(p) }

type gradRun struct{ *MaxPool }

func (m gradRun) Run(p *Pool) { m.Grad(p) }
