package kernel

import (
	"math"
	"unsafe"

	"tandem/kernel/ref"
)

// BFloat16Gemm computes C = act(bfloat16(A)·B + bias) + Add for a matrix B of bfloat16:
// the elements of A are rounded to the nearest bfloat16, halves to even; products and
// sums are float32, in one chain for each element.
//
// The tiers differ in bits. AVX-512 with dot products of bfloat16 (VDPBF16PS) adds the
// products of two k at a time, the second of the two first, and takes numbers below the
// normal ones for zero; the others add them in order, as Gemm does with the same numbers
// in float32.
type BFloat16Gemm struct {
	M, N, K int
	A       []float32 // [M, K]
	Packed  []byte    // B [K, N] as PackBFloat16 wrote it, aligned to 4 bytes
	C       []float32 // [M, N]
	Bias    []float32 // for each column, or nil
	Act     Activation
	Add     []float32 // like C; or nil

	gemm   Gemm
	form   bfloat16Form
	stride int // words of a row of A as it is multiplied
}

// bfloat16Form is how a pool's processor multiplies bfloat16: by dot products of two, or
// by widening them to float32.
type bfloat16Form struct {
	isa ISA
	tileShape
	storage storage
}

func bfloat16FormOf(p *Pool) bfloat16Form {
	f := bfloat16Form{p.isa, shapeOf(p.isa), asBFloat16}
	if p.dots {
		f.storage = asDots
	}
	return f
}

// words is the number of words of 4 bytes in a row of A of k elements.
func (f bfloat16Form) words(k int) int {
	if f.storage == asDots {
		return ceilDiv(k, 2)
	}
	return k
}

// panelBytes is the size of a panel of columns: k rows of bfloat16, or rows of pairs.
func (f bfloat16Form) panelBytes(k int) int {
	if f.storage == asDots {
		k += k & 1
	}
	return 2 * k * f.cols
}

// PackedBFloat16Len is the number of bytes that PackBFloat16 writes for p.
func PackedBFloat16Len(k, n int, p *Pool) int {
	f := bfloat16FormOf(p)
	return ceilDiv(n, f.cols) * f.panelBytes(k)
}

// PackBFloat16 packs b, a matrix [k,n] of bfloat16, or [n,k] when trans, for use as
// BFloat16Gemm.Packed on p: panels of columns, filled up with zeros, each [k][columns] or,
// where dot products take two k at a time, [k/2][columns][2].
func PackBFloat16(p *Pool, dst, b []byte, k, n int, trans bool) {
	f := bfloat16FormOf(p)
	size := f.panelBytes(k)
	checkLen("PackBFloat16", "dst", len(dst), ceilDiv(n, f.cols)*size)
	checkLen("PackBFloat16", "b", len(b), 2*k*n)
	rs, cs := 2*n, 2
	if trans {
		rs, cs = 2, 2*k
	}
	p.For(ceilDiv(n, f.cols), ceilDiv(1<<15, max(1, k*f.cols)), func(lo, hi, _ int) {
		for q := lo; q < hi; q++ {
			panel, width := dst[q*size:][:size], min(f.cols, n-q*f.cols)
			clear(panel)
			for i := range k {
				from := b[i*rs+q*f.cols*cs:]
				for j := range width {
					at := 2 * (i*f.cols + j)
					if f.storage == asDots {
						at = 4*(i/2*f.cols+j) + 2*(i%2)
					}
					panel[at], panel[at+1] = from[j*cs], from[j*cs+1]
				}
			}
		}
	})
}

// plan sets up the product of words, which Gemm carries out.
func (g *BFloat16Gemm) plan(p *Pool) {
	g.form = bfloat16FormOf(p)
	words := g.form.words(g.K)
	if g.stride = words; words*4%aliasBytes == 0 {
		g.stride += 16
	}
	m := &g.gemm
	m.M, m.N, m.K, m.LDA, m.storage = g.M, g.N, words, g.stride, g.form.storage
	m.Packed = wordsAt(g.Packed)
	if m.Packed == nil {
		m.Packed = []float32{} // B is packed in any case
	}
	m.C, m.Bias, m.Act, m.Add, m.BiasAxis = g.C, g.Bias, g.Act, g.Add, BiasNone
	if g.Bias != nil {
		m.BiasAxis = BiasColumn
	}
}

// ScratchLen is the number of floats that Run needs on p for these dimensions.
func (g *BFloat16Gemm) ScratchLen(p *Pool) int {
	g.plan(p)
	return g.M*g.stride + g.gemm.ScratchLen(p)
}

// Run computes the product. C must not overlap A.
func (g *BFloat16Gemm) Run(p *Pool, scratch []float32) {
	g.plan(p)
	checkLen("BFloat16Gemm", "A", len(g.A), g.M*g.K)
	checkLen("BFloat16Gemm", "scratch", len(scratch), g.M*g.stride)
	g.gemm.A, scratch = scratch[:g.M*g.stride], scratch[g.M*g.stride:]
	p.run(g.M, ceilDiv(1<<14, max(1, g.K)), g)
	g.gemm.Run(p, scratch)
}

// chunk rounds rows of A.
func (g *BFloat16Gemm) chunk(lo, hi, _ int) {
	for i := lo; i < hi; i++ {
		x, to := g.A[i*g.K:][:g.K], g.gemm.A[i*g.stride:][:g.stride]
		if g.form.storage == asDots {
			narrowBFloat16(g.form.isa, to, x)
		} else {
			roundBFloat16(g.form.isa, to[:g.K], x)
		}
	}
}

// roundBFloat16 writes the bfloat16 nearest to x as float32.
func roundBFloat16(isa ISA, y, x []float32) {
	n := 0
	if isa != Generic {
		n = len(x) &^ (isa.lanes() - 1)
		for i := 0; i < n; i += asmElements {
			roundBFloat16Asm(isa, &y[i], &x[i], min(asmElements, n-i))
		}
	}
	for i := n; i < len(x); i++ {
		y[i] = ref.RoundBFloat16(x[i])
	}
}

// narrowBFloat16 writes the bfloat16 nearest to x, two in a word, and zeros up to the end
// of the words.
func narrowBFloat16(isa ISA, words, x []float32) {
	y := unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(words))), 2*len(words))
	n := 0
	if isa == AVX512 {
		n = len(x) &^ 15
		for i := 0; i < n; i += asmElements {
			narrowBFloat16Asm(&y[i], &x[i], min(asmElements, n-i))
		}
	}
	for i := n; i < len(x); i++ {
		y[i] = uint16(math.Float32bits(ref.RoundBFloat16(x[i])) >> 16)
	}
	clear(y[len(x):])
}

// runBFloat16 is a tile on processors without kernels for it.
func (t *tileRun) runBFloat16(i, j, rows, cols int, relu bool) {
	a, b, c := t.a[i*t.rs:], t.b[j/t.cols*t.panel:], t.c[i*t.cs+j:]
	var bias []float32
	if t.start == startColumnBias {
		bias = t.bias[j:]
	}
	if t.storage == asDots {
		s := ref.DotTile{Rows: rows, Cols: cols, Words: t.k, A: bitsAt(a), RS: t.rs, B: bitsAt(b), BS: t.bs,
			C: c, CS: t.cs, FromC: t.start == startC, ColumnBias: bias, ReLU: relu}
		s.Run()
		return
	}
	var wide [kBlock * 16]float32
	halves := unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(b))), 2*len(b))
	for q, v := range halves[:t.k*t.cols] {
		wide[q] = math.Float32frombits(uint32(v) << 16)
	}
	s := ref.Tile{Rows: rows, Cols: cols, K: t.k, A: a, RS: t.rs, KS: 1, B: wide[:], BS: t.cols,
		C: c, CS: t.cs, FromC: t.start == startC, ColumnBias: bias, ReLU: relu}
	s.Run()
}

// wordsAt are bytes as words of 4, which have the type of floats and are not looked at as
// such; bitsAt are words as numbers.
func wordsAt(b []byte) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/4)
}

func bitsAt(x []float32) []uint32 {
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(x))), len(x))
}
