package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"tandem/kernel/ref"
)

// TestTilesOfBFloat16 compares all bits of products on tiles with the reference: whole blocks
// and parts of one, all widths, words that fill tiles and that do not, each start.
func TestTilesOfBFloat16(t *testing.T) {
	if !hasAMX {
		t.Skip("SKIPPED: this processor has no AMX, or the system does not give it to processes")
	}
	r := rand.New(rand.NewPCG(16, 10))
	for range 400 {
		rows, cols, words := 1+r.IntN(300), 1+r.IntN(70), 1+r.IntN(70)
		if r.IntN(3) == 0 {
			words = amxTile * (1 + r.IntN(4))
		}
		x := randomTiles(r, rows, cols, words, uint32(r.IntN(startRowBias+1)))
		want := *x
		want.isa, want.c = Generic, slices.Clone(x.c)
		want.run(rows, cols)
		x.run(rows, cols)
		sameTiles(t, x, rows, cols, want.c)
	}
}

// randomTiles is a product on tiles.
func randomTiles(r *rand.Rand, rows, cols, words int, start uint32) *tileRun {
	rs, cs, panel := words+r.IntN(5), cols+r.IntN(5), amxBlock*words
	x := &tileRun{
		isa: AVX512, tileShape: shapeOf(AVX512), amx: true, storage: asDots, k: words, last: true,
		a: randomWords(r, rows*rs), rs: rs, ks: 1, b: randomWords(r, ceilDiv(cols, amxBlock)*panel), bs: amxBlock, panel: panel,
		c: random(r, rows*cs, 1), cs: cs, start: start,
	}
	switch start {
	case startColumnBias:
		x.bias = random(r, cols, 1)
	case startRowBias:
		x.bias = random(r, rows, 1)
	}
	return x
}

// sameTiles compares all bits of C, and of what lies between its rows, with what is wanted.
func sameTiles(t *testing.T, x *tileRun, rows, cols int, want []float32) {
	t.Helper()
	for i, b := range want {
		if a := x.c[i]; math.Float32bits(a) != math.Float32bits(b) && (a == a || b == b) {
			t.Fatalf("%d×%d of %d words, start %d: row %d, column %d is %x, want %x", rows, cols, x.k, x.start, i/x.cs, i%x.cs, math.Float32bits(a), math.Float32bits(b))
		}
	}
}

// randomWords are pairs of bfloat16, some below the normal ones.
func randomWords(r *rand.Rand, n int) []float32 {
	words := make([]float32, n)
	for i := range words {
		bits := r.Uint32()&0x83ff83ff | 0x3c003c00
		if r.IntN(20) == 0 {
			bits &= 0xa0ffffff
		}
		words[i] = math.Float32frombits(bits)
	}
	return words
}

// TestTilesFollowTheManual holds the reference of products on tiles to sums by hand, of
// whole numbers and where the order of sums shows.
func TestTilesFollowTheManual(t *testing.T) {
	word := func(lower, upper float32) uint32 {
		return math.Float32bits(lower)>>16 | math.Float32bits(upper)&0xffff0000
	}
	ones := make([]uint32, 20)
	for i := range ones {
		ones[i] = word(1, 1)
	}
	huge, one := float32(1<<24), float32(1)
	for name, x := range map[string]struct {
		a    []uint32
		c    float32
		want float32
	}{
		"whole numbers":          {[]uint32{word(1, 2), word(3, 4)}, 5, 15},
		"lower ones apart":       {[]uint32{word(huge, one), word(one, one), word(one, one)}, 0, huge + 4}, // 1 and 1 are lost beside 2²⁴; 3 are not
		"begun anew after 16":    {append(make([]uint32, 16), word(one, one)), huge, huge + 2},
		"below the normal ones":  {[]uint32{0x0001_0001, word(1, 0)}, 0, 1},
		"start below the normal": {[]uint32{word(0, 0)}, math.SmallestNonzeroFloat32, 0},
	} {
		c := []float32{x.c}
		(&ref.BFloat16Tiles{Rows: 1, Cols: 1, Words: len(x.a), A: x.a, RS: len(x.a), B: ones, BS: 1, C: c, CS: 1, FromC: true}).Run()
		if c[0] != x.want {
			t.Errorf("%s: %v, want %v", name, c[0], x.want)
		}
	}
}

// TestTurnedOperands: words of a transposed matrix lie as those of the matrix that it is the
// transpose of.
func TestTurnedOperands(t *testing.T) {
	r := rand.New(rand.NewPCG(16, 11))
	for _, isa := range tiers() {
		form := bfloat16Form{isa, shapeOf(isa), asDots}
		for range 60 {
			k, m := 1+r.IntN(100), 1+r.IntN(200)
			a := random(r, k*m, 3)
			turned := make([]float32, m*k)
			for i := range k {
				for j := range m {
					turned[j*k+i] = a[i*m+j]
				}
			}
			x, y := form.operand(a, k, m, 0, false, true), form.operand(turned, m, k, 0, true, false)
			g := &Gemm{}
			g.form = form
			for i, o := range []*roundedOperand{&x, &y} {
				o.to = dirty(o.len())
				g.operands[0] = *o
				rows := o.toRows
				if i == 0 {
					rows = ceilDiv(k, turnedRows)
				}
				g.round(0, rows)
			}
			for i := range m {
				for j := range form.words(k) {
					if got, want := bitsAt(x.to)[i*x.stride+j], bitsAt(y.to)[i*y.stride+j]; got != want {
						t.Fatalf("%v: %d×%d: word %d,%d is %x, want %x", isa, k, m, i, j, got, want)
					}
				}
			}
		}
	}
}
