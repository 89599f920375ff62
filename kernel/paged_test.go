package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"tandem/kernel/ref"
	"tandem/tensor"
	"tandem/tensor/block"
)

// pagedCase is a step of several sequences with room for its cache.
type pagedCase struct {
	PagedAttention
	pages int
	k, v  [][]float32 // by sequence: all keys and values, [positions][KVHeads·Size]
}

func newPagedCase(r *rand.Rand, sequences int) *pagedCase {
	group := []int{1, 2, 4, 16}[r.IntN(4)]
	c := &pagedCase{}
	c.KVHeads, c.Size = 1+r.IntN(3), []int{8, 32, 40, 64, 128}[r.IntN(5)]
	c.Heads, c.Scale, c.Window = c.KVHeads*group, 1/float32(math.Sqrt(float64(c.Size))), -1
	if r.IntN(3) == 0 {
		c.Window = r.IntN(200)
	}
	if r.IntN(3) == 0 {
		c.SoftCap = 2
	}
	c.BlocksPerRow = 14
	c.pages = sequences*c.BlocksPerRow + 3
	order := r.Perm(c.pages)
	c.Lengths = []int64{0}
	for s := range sequences {
		past, n := r.IntN(300), 1+r.IntN(40)
		if r.IntN(2) == 0 {
			n = 1
		}
		c.Past = append(c.Past, int64(past))
		c.Lengths = append(c.Lengths, c.Lengths[s]+int64(n))
		for b := range c.BlocksPerRow {
			c.Blocks = append(c.Blocks, int64(order[s*c.BlocksPerRow+b]))
		}
		c.k = append(c.k, random(r, (past+n)*c.KVHeads*c.Size, 0))
		c.v = append(c.v, random(r, (past+n)*c.KVHeads*c.Size, 0))
	}
	rows := int(c.Lengths[sequences])
	c.Q = random(r, rows*c.Heads*c.Size, 0)
	return c
}

// run computes the sequences from lo to hi in one step, their past in earlier ones.
func (c *pagedCase) run(t *testing.T, p *Pool, lo, hi int) []float32 {
	t.Helper()
	kv := c.KVHeads * c.Size
	keys := dirtyBytes(c.pages * KeyPageBytes(c.KVHeads, c.Size))
	values := dirtyBytes(c.pages * ValuePageBytes(c.KVHeads, c.Size))
	step := func(past bool) []float32 {
		a := c.PagedAttention
		a.Keys, a.Values, a.pagedRun = keys, values, pagedRun{}
		a.Lengths, a.Past, a.K, a.V, a.Q = []int64{0}, nil, nil, nil, nil
		a.Blocks = c.Blocks[lo*c.BlocksPerRow : hi*c.BlocksPerRow]
		for s := lo; s < hi; s++ {
			from, to := 0, int(c.Past[s])
			if !past {
				from, to = to, len(c.k[s])/kv
			}
			a.Past = append(a.Past, int64(from))
			a.Lengths = append(a.Lengths, a.Lengths[s-lo]+int64(to-from))
			a.K, a.V = append(a.K, c.k[s][from*kv:to*kv]...), append(a.V, c.v[s][from*kv:to*kv]...)
		}
		rows := int(a.Lengths[hi-lo])
		a.Q = make([]float32, rows*c.Heads*c.Size)
		if !past {
			a.Q = c.Q[int(c.Lengths[lo])*c.Heads*c.Size:]
		}
		a.LDQ, a.LDK, a.LDV = c.Heads*c.Size, kv, kv
		a.Y = make([]float32, rows*c.Heads*c.Size)
		if err := a.Run(p, dirtyBytes(a.ScratchLen(p))); err != nil {
			t.Fatal(err)
		}
		return a.Y
	}
	step(true)
	return step(false)
}

// dirtyBytes is memory full of NaN, in float32 and float16.
func dirtyBytes(n int) []byte {
	b := tensor.AlignedBytes(n)
	for i := range b {
		b[i] = 0xff
	}
	return b
}

func (c *pagedCase) want(s, row, head int) []float64 {
	kv, at := head/(c.Heads/c.KVHeads), int(c.Past[s])+row
	q := c.Q[((int(c.Lengths[s])+row)*c.Heads+head)*c.Size:][:c.Size]
	from := 0
	if c.Window >= 0 {
		from = max(0, at-c.Window)
	}
	half := func(v float32) float64 { return float64(tensor.Float16From(tensor.Float16Bits(v))) }
	var scores []float64
	top := math.Inf(-1)
	for j := from; j <= at; j++ {
		d := 0.0
		for i, v := range q {
			d += float64(v) * half(c.k[s][(j*c.KVHeads+kv)*c.Size+i])
		}
		d *= float64(c.Scale)
		if c.SoftCap != 0 {
			d = float64(c.SoftCap) * math.Tanh(d/float64(c.SoftCap))
		}
		scores, top = append(scores, d), max(top, d)
	}
	y, total := make([]float64, c.Size), 0.0
	for j, d := range scores {
		w := math.Exp(d - top)
		total += w
		for i := range y {
			y[i] += w * half(c.v[s][((from+j)*c.KVHeads+kv)*c.Size+i])
		}
	}
	for i := range y {
		y[i] /= total
	}
	return y
}

func TestPagedAttentionAgainstReference(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	pools := testPools(t)
	for range 8 {
		c := newPagedCase(r, 1+r.IntN(3))
		for _, p := range []*Pool{pools[0], pools[len(pools)/2], pools[len(pools)-1]} {
			y := c.run(t, p, 0, len(c.Past))
			for s := range c.Past {
				for row := range int(c.Lengths[s+1] - c.Lengths[s]) {
					h := r.IntN(c.Heads)
					got := y[((int(c.Lengths[s])+row)*c.Heads+h)*c.Size:]
					for i, v := range c.want(s, row, h) {
						if !(math.Abs(float64(got[i])-v) < 2e-5) {
							t.Fatalf("%v: sequence %d row %d head %d element %d is %v, want %v", p.ISA(), s, row, h, i, got[i], v)
						}
					}
				}
			}
		}
	}
}

// TestPagedSequencesDoNotDependOnEachOther: alone and together, on any number of
// threads, sequences have the same bits.
func TestPagedSequencesDoNotDependOnEachOther(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	pools := testPools(t)
	for range 3 {
		c := newPagedCase(r, 4)
		want := map[ISA][]float32{}
		for _, p := range pools {
			all := c.run(t, p, 0, 4)
			if want[p.ISA()] == nil {
				want[p.ISA()] = all
			}
			if !slices.Equal(all, want[p.ISA()]) {
				t.Fatalf("%v: %d threads differ", p.ISA(), p.Threads())
			}
			for s := range 4 {
				w := c.Heads * c.Size
				if one := c.run(t, p, s, s+1); !slices.Equal(one, all[int(c.Lengths[s])*w:int(c.Lengths[s+1])*w]) {
					t.Fatalf("%v, %d threads: sequence %d differs alone", p.ISA(), p.Threads(), s)
				}
			}
		}
	}
}

// TestWeighEqualsReference: hidden scores, NaN and rows without anything to see among them.
func TestWeighEqualsReference(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	inf := float32(math.Inf(1))
	for _, isa := range tiers() {
		for range 50 {
			rows, n, width := 1+r.IntN(14), 32*(1+r.IntN(4)), 32*(1+r.IntN(4))
			if isa == Generic {
				continue
			}
			scores, out := random(r, rows*keyBlock, 0), random(r, rows*width, 0)
			top, total := make([]float32, rows), random(r, rows, 0)
			for i := range scores {
				switch scores[i] *= 30; r.IntN(9) {
				case 0:
					scores[i] = -inf
				case 1:
					scores[i] = -1e9
				}
			}
			for i := range rows {
				switch top[i] = float32(r.IntN(100) - 40); r.IntN(4) {
				case 0:
					top[i] = lowest
				case 1:
					hide(scores[i*keyBlock:][:n])
				case 2:
					scores[i*keyBlock+r.IntN(n)] = float32(math.NaN())
				}
			}
			gotScores, gotOut, gotTop, gotTotal := slices.Clone(scores), slices.Clone(out), slices.Clone(top), slices.Clone(total)
			weighAsm(isa, &gotScores[0], &gotTop[0], &gotTotal[0], &gotOut[0], rows, n, keyBlock, width)
			for i := range rows {
				ref.Weigh(scores[i*keyBlock:][:n], &top[i], &total[i], out[i*width:][:width])
			}
			for _, x := range []struct {
				what      string
				got, want []float32
			}{{"weight", gotScores, scores}, {"sum", gotOut, out}, {"top", gotTop, top}, {"total", gotTotal, total}} {
				for i, want := range x.want {
					got := x.got[i]
					if both := got != got && want != want; !both && got != want && !(math.Abs(float64(got-want)) <= 1e-6*math.Abs(float64(want))+1e-37) {
						t.Fatalf("%v: %d rows of %d, %s %d is %v, want %v", isa, rows, n, x.what, i, got, want)
					}
				}
			}
		}
	}
}

// BenchmarkPagedAttention writes answers: a row for each of many sequences, or for one
// with a long past, with a cache for each layer; or for one of a single layer, whose cache
// the processor keeps.
func BenchmarkPagedAttention(b *testing.B) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, c := range []struct {
		name                               string
		sequences, past, heads, size, many int // many: layers
	}{{"qwen3-0.6b/cached", 1, 45, 16, 128, 1}, {"llama3.2-1b/cached", 1, 45, 32, 64, 1}, {"qwen3-0.6b/16", 16, 45, 16, 128, 28}, {"llama3.2-1b/16", 16, 45, 32, 64, 16}, {"llama3.2-1b/deep", 1, 2050, 32, 64, 16}} {
		for _, threads := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/t%d", c.name, threads), func(b *testing.B) {
				const kv = 8
				p := NewPool(threads, Detect())
				defer p.Close()
				each := ceilDiv(c.past+1, PageTokens)
				pages := c.sequences * each
				a := &PagedAttention{Heads: c.heads, KVHeads: kv, Size: c.size, Scale: 1, Window: -1, BlocksPerRow: each, Rotary: c.size, Epsilon: 1e-6}
				all, some := c.heads*c.size, kv*c.size
				a.LDQ, a.LDK, a.LDV = all, some, some
				a.Q, a.K, a.V = random(r, c.sequences*all, 0), random(r, c.sequences*some, 0), random(r, c.sequences*some, 0)
				a.QNorm, a.KNorm, a.Y = random(r, c.size, 0), random(r, c.size, 0), make([]float32, c.sequences*all)
				a.Cos, a.Sin = random(r, (c.past+1)*c.size/2, 0), random(r, (c.past+1)*c.size/2, 0)
				a.Lengths = []int64{0}
				for s, page := range r.Perm(pages) {
					if s < c.sequences {
						a.Lengths, a.Past, a.Positions = append(a.Lengths, int64(s+1)), append(a.Past, int64(c.past)), append(a.Positions, int64(c.past))
					}
					a.Blocks = append(a.Blocks, int64(page))
				}
				var keys, values [][]byte
				half := pages * KeyPageBytes(kv, c.size) // as many bytes as values have
				memory := hugeBytes(b, 2*c.many*half)
				clear(memory) // touched
				for ; len(memory) > 0; memory = memory[2*half:] {
					keys, values = append(keys, memory[:half]), append(values, memory[half:2*half])
				}
				room := make([]byte, a.ScratchLen(p))
				for b.Loop() {
					for i := range c.many {
						a.Keys, a.Values = keys[i], values[i]
						if err := a.Run(p, room); err != nil {
							b.Fatal(err)
						}
					}
				}
				step := b.Elapsed().Seconds() / float64(b.N)
				read := float64(c.many*c.sequences*kv*c.size*2) * float64(each*PageTokens+c.past+1)
				b.ReportMetric(step*1e3, "ms/step")
				b.ReportMetric(read/step/1e9, "GB/s")
			})
		}
	}
}

// TestWideHalfTiles: what a tile of twice as many columns computes has the bits of two tiles.
func TestWideHalfTiles(t *testing.T) {
	if !slices.Contains(tiers(), AVX512) {
		t.Skip("SKIPPED: this processor has no AVX-512")
	}
	r := rand.New(rand.NewPCG(9, 10))
	const cols, bs, cs = 32, 96, 128
	for range 200 {
		rows, k := 1+r.IntN(wideRows), 1+r.IntN(300)
		numbers := random(r, 2*k*bs, 0)
		b := make([]byte, 2*len(numbers))
		narrow(AVX512, halvesAt(b), numbers)
		c := random(r, wideRows*cs, 0)
		h := halfTile{isa: AVX512, format: block.F16, rows: rows, k: k, a: random(r, rows*k, 0), as: k, bs: bs, cs: cs, accumulate: r.IntN(2) == 0}
		// The other columns lie before or after those that the tile is given.
		firstB, otherB := 2*8*r.IntN(8), k*bs*2+2*8*r.IntN(8)
		firstC, otherC := 32, 64+r.IntN(32)
		if r.IntN(2) == 0 {
			firstB, otherB, firstC, otherC = otherB, firstB, otherC, firstC
		}
		want := slices.Clone(c)
		for _, at := range [][2]int{{firstB, firstC}, {otherB, otherC}} {
			h.b, h.c = b[at[0]:], want[at[1]:]
			h.run()
		}
		h.b, h.c = b[firstB:], c[firstC:]
		h.wide, h.otherB, h.otherC = true, uintptr(otherB-firstB), uintptr(otherC-firstC)*4
		h.run()
		if !slices.Equal(c, want) {
			t.Fatalf("%d rows of %d differ", rows, k)
		}
	}
}
