package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"tandem/kernel/ref"
	"tandem/tensor/block"
)

var linearFormats = []block.Format{block.Q8_0, block.Q4_0, block.Q4_K, block.Q5_K, block.Q6_K, block.F16, block.BF16, block.F32}

// testWeight makes a weight in blocks, and the numbers that it stands for.
func testWeight(r *rand.Rand, p *Pool, f block.Format, n, k int) (Weight, []float32) {
	x := random(r, n*k, 0)
	src := make([]byte, f.Size(n*k))
	block.Encode(f, src, x)
	block.Decode(f, x, src)
	w := Weight{Format: f, N: n, Data: make([]byte, PackedBytes(f, n, k, p.ISA()))}
	PackRows(p, f, w.Data, src, n, k)
	return w, x
}

// TestPanelsHoldTheWeights reads packed weights back.
func TestPanelsHoldTheWeights(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	p := testPools(t)[0]
	for _, f := range linearFormats {
		layout, ok := ref.PanelOf(f)
		if !ok {
			continue
		}
		n, k := 21, 512
		w, want := testWeight(r, p, f, n, k)
		for i := range n {
			for j := range k {
				got := layout.Weight(w.Data[i/ref.PanelRows*layout.Bytes(k):], i%ref.PanelRows, j)
				if d := math.Abs(float64(got - want[i*k+j])); d > 1e-6 {
					t.Fatalf("%v: weight %d,%d is %v, want %v", f, i, j, got, want[i*k+j])
				}
			}
			row := make([]float32, k)
			UnpackRow(f, row, w.Data, i)
			for j, got := range row {
				if d := math.Abs(float64(got - want[i*k+j])); d > 1e-6 {
					t.Fatalf("%v: row %d has %v at %d, want %v", f, i, got, j, want[i*k+j])
				}
			}
		}
	}
}

// TestLinearAgainstReference compares with products in float64 of the same
// weights and quantised or rounded rows.
func TestLinearAgainstReference(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, p := range bfloat16Pools(t) {
		for _, f := range linearFormats {
			for _, m := range []int{1, 2, 3, 5, 12, 13, 31} {
				n, k := 1+r.IntN(70), f.Elements()*(1+r.IntN(3))
				if f.Elements() == 1 {
					k = 1 + r.IntN(600)
				}
				checkLinear(t, r, p, f, m, n, k)
			}
		}
	}
}

func checkLinear(t *testing.T, r *rand.Rand, p *Pool, f block.Format, m, n, k int) {
	t.Helper()
	w, weights := testWeight(r, p, f, n, k)
	w.Bias = random(r, n, 1)
	compareLinear(t, r, p, w, weights, random(r, m*k, 3), m, k)
}

// TestLinearWithLargestProducts: codes and scales at the ends of their ranges, times rows
// of one magnitude, overflow nothing.
func TestLinearWithLargestProducts(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	for _, p := range testPools(t) {
		for _, f := range linearFormats[:5] {
			for _, m := range []int{1, 5, 16} {
				n, k := 33, 512
				w, weights := extremeWeight(r, p, f, n, k)
				x := make([]float32, m*k)
				for i := range x {
					x[i] = float32(1 - 2*(i/k%3/2*r.IntN(2))) // rows of ones, and of ones with signs
				}
				w.Bias = make([]float32, n)
				compareLinear(t, r, p, w, weights, x, m, k)
			}
		}
	}
}

// extremeWeight makes rows of codes that are all of their bits set, all clear, or either.
func extremeWeight(r *rand.Rand, p *Pool, f block.Format, n, k int) (Weight, []float32) {
	src, x := make([]byte, f.Size(n*k)), make([]float32, n*k)
	block.Encode(f, src, random(r, n*k, 0)) // for scales that are numbers
	row := f.Size(k)
	for i := range src {
		at := i % row % f.Bytes()
		tail := f == block.Q6_K && at >= 208 // scales of Q6_K are last, the others' first
		if !tail && (f == block.Q6_K || at >= 4) {
			src[i] = [3]byte{0, 255, byte(r.IntN(2) * 255)}[i/row%3]
		}
		if f == block.Q6_K && at >= 192 && at < 208 {
			src[i] = byte(127 + i/row%2)
		}
	}
	block.Decode(f, x, src)
	w := Weight{Format: f, N: n, Data: make([]byte, PackedBytes(f, n, k, p.ISA()))}
	PackRows(p, f, w.Data, src, n, k)
	return w, x
}

func compareLinear(t *testing.T, r *rand.Rand, p *Pool, w Weight, weights, x []float32, m, k int) {
	t.Helper()
	n, f := w.N, w.Format
	add := random(r, m*n, 0)
	l := &Linear{M: m, K: k, X: x, Weights: []Weight{w}, Add: add, Y: make([]float32, m*n)}
	l.Run(p, make([]byte, l.ScratchLen(p)))
	rows := slices.Clone(x)
	if floatSize(f) == 0 {
		for i := range m {
			roundRow(rows[i*k:][:k], f)
		}
	}
	if p.pairs(f) {
		roundBFloat16(Generic, rows, rows)
	}
	for i := range m {
		for j := range n {
			want, size := float64(w.Bias[j])+float64(add[i*n+j]), 1.0
			for c := range k {
				v := float64(rows[i*k+c]) * float64(weights[j*k+c])
				want += v
				size += math.Abs(v)
			}
			if got := float64(l.Y[i*n+j]); !(math.Abs(got-want) < 2e-6*size) {
				t.Fatalf("%v %v: %d×%d×%d element %d,%d is %v, want %v", p.Tier(), f, m, n, k, i, j, got, want)
			}
		}
	}
}

// roundRow is what quantising for a format leaves of a row.
func roundRow(x []float32, f block.Format) {
	records := make([]byte, len(x)/32*ref.RecordBytes)
	layout, _ := ref.PanelOf(f)
	quantize(Generic, records, x, layout.Super())
	for i := range x {
		rec := records[i/32*ref.RecordBytes:]
		x[i] = float32(int8(rec[i%32])) * ref.Word(rec, 32)
	}
}

// TestLinearOfPairsEqualsReference: every bit is that of ref.DotTile, for odd numbers of
// columns too. A processor's own dot products are held to it where sums are exact, of whole
// numbers, since it may add the two of a pair in another order.
func TestLinearOfPairsEqualsReference(t *testing.T) {
	r := rand.New(rand.NewPCG(16, 11))
	for _, p := range bfloat16Pools(t) {
		if !p.pairs(block.BF16) {
			continue
		}
		for round := range rounds(40) {
			m, n, k := 1+r.IntN(40), 1+r.IntN(90), 1+r.IntN(900)
			if round == 0 { // several blocks of rows
				m, n, k = 500, 5, 801
			}
			w, weights := testWeight(r, p, block.BF16, n, k)
			x := random(r, m*k, 3)
			if p.isa != Generic {
				for _, x := range [][]float32{x, weights} {
					for i := range x {
						x[i] = float32(r.IntN(15) - 7)
					}
				}
				PackRows(p, w.Format, w.Data, bfloat16Bytes(weights), n, k)
			}
			l := &Linear{M: m, K: k, X: x, Weights: []Weight{w}, Y: make([]float32, m*n)}
			if p.isa == Generic && round%2 == 1 {
				l.Norm, l.Epsilon = random(r, k, 0), 1e-6
			}
			l.Run(p, make([]byte, l.ScratchLen(p)))
			if l.Norm != nil {
				for i := range m {
					rmsNorm(Generic, x[i*k:][:k], x[i*k:][:k], l.Norm, l.Epsilon)
				}
			}
			word := func(pair []float32) (w uint32) {
				for i, v := range pair {
					w |= math.Float32bits(ref.RoundBFloat16(v)) >> 16 << (16 * i)
				}
				return w
			}
			s := ref.DotTile{Rows: m, Cols: n, Words: (k + 1) / 2, RS: (k + 1) / 2, KS: 1, BS: n, C: make([]float32, m*n), CS: n}
			for i := range m {
				for c := 0; c < k; c += 2 {
					s.A = append(s.A, word(x[i*k+c:][:min(2, k-c)]))
				}
			}
			for c := 0; c < k; c += 2 {
				for j := range n {
					s.B = append(s.B, word(weights[j*k+c:][:min(2, k-c)]))
				}
			}
			s.Run()
			same(t, fmt.Sprint(p.Tier(), " ", m, n, k), l.Y, s.C)
		}
	}
}

// TestQuantizeEqualsReference: the same bytes on every tier.
func TestQuantizeEqualsReference(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, isa := range tiers() {
		for round := range 100 {
			x, super := random(r, 32*(1+r.IntN(20)), r.IntN(4)), round%2 == 1
			if super {
				x = random(r, 256*(1+r.IntN(20)), r.IntN(4))
			}
			for i := range x {
				x[i] *= float32(math.Exp(float64(r.IntN(20) - 10)))
				if i/256%3 == 1 { // magnitudes that are about the same
					x[i] = float32(1-2*r.IntN(2)) * (1 + r.Float32()/8)
				}
			}
			clear(x[:32*r.IntN(2)])
			got, want := make([]byte, len(x)/32*ref.RecordBytes), make([]byte, len(x)/32*ref.RecordBytes)
			quantize(isa, got, x, super)
			quantize(Generic, want, x, super)
			if !slices.Equal(got, want) {
				t.Fatalf("%v super %v: %v\nwant %v", isa, super, got, want)
			}
			if super {
				checkMagnitudes(t, got)
			}
		}
	}
}

// checkMagnitudes holds the bound on which dot products of sixteen bits rely.
func checkMagnitudes(t *testing.T, records []byte) {
	t.Helper()
	for i := 0; i < len(records); i += ref.RecordBytes {
		for half := range 2 {
			sum := 0
			for _, b := range records[i+16*half:][:16] {
				sum += max(int(int8(b)), -int(int8(b)))
			}
			if sum > ref.MostMagnitude {
				t.Fatalf("sixteen magnitudes of record %d are %d together", i/ref.RecordBytes, sum)
			}
		}
	}
}

// TestLinearRowsDoNotDependOnTheirBatch: alone, in batches and on any number of
// threads a row has the same bits, with norm, gate and several weights too.
func TestLinearRowsDoNotDependOnTheirBatch(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	pools := bfloat16Pools(t)
	for round := range 24 {
		f, g := linearFormats[round%len(linearFormats)], linearFormats[r.IntN(5)]
		m, n, k := 2+r.IntN(40), 16*(1+r.IntN(5))+r.IntN(2)*5, 512
		want := map[string][]float32{}
		x, norm, seed := random(r, m*k, 0), random(r, k, 0), r.Uint64()
		for _, p := range pools {
			wr := rand.New(rand.NewPCG(seed, 1))
			a, _ := testWeight(wr, p, f, n, k)
			b, _ := testWeight(wr, p, f, n, k)
			c, _ := testWeight(wr, p, g, 7, k)
			weights, gate, cols := []Weight{a, c, b}, GateNone, 2*n+7
			if round%2 == 1 {
				weights, gate, cols = []Weight{a, b}, GateSiLU+Gate(round/2%2), n
			}
			l := &Linear{M: m, K: k, X: x, Norm: norm, Epsilon: 1e-6, Weights: weights, Gate: gate, Y: make([]float32, m*cols)}
			l.Run(p, make([]byte, l.ScratchLen(p)))
			if want[p.Tier()] == nil {
				want[p.Tier()] = l.Y
			}
			for i := range m {
				one := *l
				one.M, one.X, one.Y = 1, x[i*k:][:k], make([]float32, cols)
				one.Run(p, make([]byte, one.ScratchLen(p)))
				if !slices.Equal(one.Y, l.Y[i*cols:][:cols]) || !slices.Equal(one.Y, want[p.Tier()][i*cols:][:cols]) {
					t.Fatalf("%v, %d threads, %v and %v, %d rows: row %d differs alone", p.Tier(), p.Threads(), f, g, m, i)
				}
			}
		}
	}
}

// TestGatedLinear compares with the activation of a plain product.
func TestGatedLinear(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for _, p := range testPools(t) {
		m, n, k := 17, 37, 96
		a, _ := testWeight(r, p, block.Q8_0, n, k)
		b, _ := testWeight(r, p, block.Q8_0, n, k)
		x := random(r, m*k, 0)
		run := func(gate Gate, cols int, w ...Weight) []float32 {
			l := &Linear{M: m, K: k, X: x, Weights: w, Gate: gate, Y: make([]float32, m*cols)}
			l.Run(p, make([]byte, l.ScratchLen(p)))
			return l.Y
		}
		ga, up := run(GateNone, n, a), run(GateNone, n, b)
		for gate, f := range map[Gate]func(y, x []float32){GateSiLU: ref.SiLU, GateGELU: ref.GELU} {
			want := make([]float32, m*n)
			f(want, ga)
			for i, got := range run(gate, n, a, b) {
				if d := math.Abs(float64(got - want[i]*up[i])); d > 1e-5*(1+math.Abs(float64(got))) {
					t.Fatalf("%v gate %d: element %d is %v, want %v", p.ISA(), gate, i, got, want[i]*up[i])
				}
			}
		}
	}
}

func BenchmarkLinear(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, threads := range []int{1, 2} {
		p := NewPool(threads, Detect())
		for _, f := range []block.Format{block.Q8_0, block.Q4_0, block.Q4_K, block.Q6_K, block.F16, block.BF16} {
			const n, k = 3072, 1024
			var ws []Weight
			for range 24 { // beyond any cache
				w := Weight{Format: f, N: n, Data: make([]byte, PackedBytes(f, n, k, p.ISA()))}
				if ws == nil {
					w, _ = testWeight(r, p, f, n, k)
				} else {
					copy(w.Data, ws[0].Data)
				}
				ws = append(ws, w)
			}
			for _, m := range []int{1, 4, 16, 512} {
				b.Run(fmt.Sprintf("%v/m%d/t%d", f, m, threads), func(b *testing.B) {
					x, y := random(r, m*k, 0), make([]float32, m*n)
					l := &Linear{M: m, K: k, X: x, Weights: ws[:1], Y: y}
					scratch := make([]byte, l.ScratchLen(p))
					i, start := 0, cpuSeconds()
					for b.Loop() {
						i++
						l.Weights = ws[i%len(ws):][:1]
						l.Run(p, scratch)
					}
					s := b.Elapsed().Seconds() / float64(b.N)
					used := (cpuSeconds() - start) / float64(b.N)
					b.ReportMetric(float64(len(ws[0].Data))/s/1e9, "GB/s")
					b.ReportMetric(2*float64(m)*n*k/used/1e9, "GOP/cpu-s")
					b.ReportMetric(2*float64(m)*n*k/s/1e9, "GOP/s")
				})
			}
		}
		p.Close()
	}
}
