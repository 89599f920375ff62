package kernel

import (
	"fmt"
	"math"
	"unsafe"

	"tandem/kernel/ref"
	"tandem/tensor/block"
)

// A Gemm of bfloat16 computes act(bfloat16(A)·bfloat16(B) + bias) + Add: operands are
// rounded to the nearest bfloat16, halves to even; products and sums are float32, in one
// chain for each element.
//
// The tiers differ in bits. AVX-512 with dot products of bfloat16 (VDPBF16PS) adds the
// products of two k at a time, the second of the two first, and takes numbers below the
// normal ones for zero. Tiles of AMX (TDPBF16PS) take 32 k at a time: see
// ref.BFloat16Tiles. The others add them in order, as Gemm does with the
// same numbers in float32.

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

// pairs reports whether Linear multiplies weights of f in words of two, and so rounds rows
// of X to bfloat16. A processor with AMX has slower dot products than products of floats.
func (p *workers) pairs(f block.Format) bool { return f == block.BF16 && p.dots && !p.amx }

// KeepsBFloat16 reports whether a product on p may take rows that are rounded already, and
// round its results: where rows of A lie as bfloat16. Their lengths must be even.
func KeepsBFloat16(p *Pool) bool { return bfloat16FormOf(p).storage == asDots }

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
// Gemm.Packed with BFloat16 on p: panels of columns, filled up with zeros, each [k][columns] or,
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

// bfloat16Run is what one Run of a Gemm of bfloat16 works out: the same product on words
// of 4 bytes, pairs of bfloat16 or numbers that are rounded, which are written first.
type bfloat16Run struct {
	words    *Gemm
	form     bfloat16Form
	operands [2]roundedOperand // A and, unless it is packed, B
	rounding int               // which of them is under way
}

// roundedOperand is a matrix, of which k runs along the rows or along the columns; it is
// turned if its words are to lie along the rows where k does not.
type roundedOperand struct {
	from              []float32
	rows, columns, ld int
	alongRows, turned bool // k does; its words are to
	to                []float32
	toRows, stride    int
}

func (f bfloat16Form) operand(from []float32, rows, columns, ld int, alongRows, turn bool) roundedOperand {
	o := roundedOperand{from: from, rows: rows, columns: columns, ld: or(ld, columns), alongRows: alongRows, toRows: rows, stride: columns}
	switch {
	case alongRows:
		o.stride = f.words(columns)
	case turn:
		o.toRows, o.stride, o.turned = columns, f.words(rows), true
	default:
		o.toRows = f.words(rows)
	}
	if o.stride*4%aliasBytes == 0 {
		o.stride += 16
	}
	return o
}

// len is the number of words that the operand takes.
func (o *roundedOperand) len() int { return o.toRows * o.stride }

func (g *Gemm) planBFloat16(p *Pool) {
	if g.words == nil {
		g.words = new(Gemm)
	}
	g.form = bfloat16FormOf(p)
	m := g.words
	*m = Gemm{
		M: g.M, N: g.N, K: g.form.words(g.K), TransA: g.TransA && !p.amx, TransB: g.TransB, LDC: or(g.LDC, g.N),
		C: g.C, Packed: g.Packed, Bias: g.Bias, BiasAxis: g.BiasAxis, Accumulate: g.Accumulate, Act: g.Act, Add: g.Add,
	}
	m.narrow = g.RoundedC
	if g.RoundedA || g.RoundedC {
		g.checkRounded(p)
	}
	if g.RoundedA {
		g.operands[0] = roundedOperand{stride: m.K}
	} else if g.TransA {
		g.operands[0] = g.form.operand(g.A, g.K, g.M, g.LDA, false, p.amx) // tiles need rows
	} else {
		g.operands[0] = g.form.operand(g.A, g.M, g.K, g.LDA, true, false)
	}
	m.LDA, m.storage, m.amx = g.operands[0].stride, g.form.storage, p.amx
	switch {
	case g.Packed != nil:
		g.operands[1] = roundedOperand{}
		return
	case g.TransB:
		g.operands[1] = g.form.operand(g.B, g.N, g.K, g.LDB, true, false)
	default:
		g.operands[1] = g.form.operand(g.B, g.K, g.N, g.LDB, false, false)
	}
	m.LDB = g.operands[1].stride
	if m.storage == asBFloat16 {
		m.storage = asFloat32
	}
}

// checkRounded panics unless rows of words are what the product takes and gives.
func (g *Gemm) checkRounded(p *Pool) {
	switch {
	case !KeepsBFloat16(p):
		panic("kernel: Gemm of rounded rows on a processor that multiplies none")
	case g.TransA || g.RoundedA && (g.K%2 != 0 || or(g.LDA, g.K) != g.K):
		panic(fmt.Sprintf("kernel: Gemm of rounded rows of %d with a stride of %d, transposed %v", g.K, g.LDA, g.TransA))
	case g.RoundedC && (g.N%2 != 0 || or(g.LDC, g.N) != g.N || g.K == 0 || g.Add != nil || g.Accumulate):
		panic(fmt.Sprintf("kernel: Gemm of %d×%d that rounds rows with a stride of %d, or sums of several", g.K, g.N, g.LDC))
	}
}

func (g *Gemm) bfloat16ScratchLen(p *Pool) int {
	g.planBFloat16(p)
	return g.operands[0].len() + g.operands[1].len() + g.words.ScratchLen(p)
}

func (g *Gemm) runBFloat16(p *Pool, scratch []float32) {
	g.planBFloat16(p)
	for i := range g.operands {
		o := &g.operands[i]
		checkLen("Gemm", "scratch", len(scratch), o.len())
		o.to, scratch = scratch[:o.len()], scratch[o.len():]
		if o.rows > 0 && o.columns > 0 {
			checkMatrix([]string{"A", "B"}[i], o.from, o.rows, o.columns, o.ld)
		}
		g.rounding = i
		rows, row := o.toRows, o.stride
		if o.turned {
			rows, row = ceilDiv(o.rows, turnedRows), turnedRows*o.columns
		}
		p.run(rows, ceilDiv(1<<14, max(1, row)), g)
	}
	g.words.A, g.words.B = g.operands[0].to, g.operands[1].to
	if g.RoundedA {
		g.words.A = g.A
	}
	g.words.Run(p, scratch)
}

// round writes rows [lo,hi) of words; of a turned operand, what turnedRows of its rows become.
func (g *Gemm) round(lo, hi int) {
	o, isa, pairs := &g.operands[g.rounding], g.form.isa, g.form.storage == asDots
	if o.turned {
		for i := lo; i < hi; i++ {
			o.turn(isa, i*turnedRows)
		}
		return
	}
	row := func(i int) []float32 { return o.from[i*o.ld:][:o.columns] }
	for i := lo; i < hi; i++ {
		to := o.to[i*o.stride:][:o.stride]
		switch {
		case !pairs:
			roundBFloat16(isa, to[:o.columns], row(i))
		case o.alongRows:
			narrowBFloat16(isa, to, row(i))
		case 2*i+1 < o.rows:
			pairBFloat16(isa, bitsAt(to), row(2*i), row(2*i+1))
		default:
			for j, v := range row(2 * i) {
				bitsAt(to)[j] = math.Float32bits(ref.RoundBFloat16(v)) >> 16
			}
		}
	}
}

// turnedRows are rows of a turned operand whose words fill a line of the cache.
const turnedRows = 32

// turn writes the words of two rows each, from row i on, below each other's columns.
func (o *roundedOperand) turn(isa ISA, i int) {
	const words, columns = turnedRows / 2, 64
	var block [words * columns]uint32
	high := ceilDiv(min(turnedRows, o.rows-i), 2)
	for j := 0; j < o.columns; j += columns {
		width := min(columns, o.columns-j)
		for w := range high {
			lower := o.from[(i+2*w)*o.ld+j:][:width]
			if i+2*w+1 < o.rows {
				pairBFloat16(isa, block[w*columns:][:width], lower, o.from[(i+2*w+1)*o.ld+j:][:width])
				continue
			}
			for c, v := range lower {
				block[w*columns+c] = math.Float32bits(ref.RoundBFloat16(v)) >> 16
			}
		}
		transpose(o.to[j*o.stride+i/2:], unsafe.Slice((*float32)(unsafe.Pointer(&block)), len(block)), o.stride, columns, high, width, isa)
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

// pairBFloat16 writes the bfloat16 nearest to two rows, one of each in a word.
func pairBFloat16(isa ISA, words []uint32, lower, upper []float32) {
	n := 0
	if isa == AVX512 {
		n = len(lower) &^ 15
		for i := 0; i < n; i += asmElements {
			pairBFloat16Asm(&words[i], &lower[i], &upper[i], min(asmElements, n-i))
		}
	}
	for i := n; i < len(lower); i++ {
		words[i] = math.Float32bits(ref.RoundBFloat16(lower[i]))>>16 | math.Float32bits(ref.RoundBFloat16(upper[i]))
	}
}

// runBFloat16 is a tile on processors without kernels for it.
func (t *tileRun) runBFloat16(i, j, rows, cols int, relu bool) {
	a, b, c := t.a[i*t.rs:], t.b[j/t.cols*t.panel:], t.c[i*t.cs+j:]
	var bias, rowBias, from []float32
	switch t.start {
	case startFrom:
		from = t.from[i*t.cs+j:]
		if t.bias != nil {
			bias = t.bias[j:]
		}
	case startColumnBias:
		bias = t.bias[j:]
	case startRowBias:
		rowBias = t.bias[i:]
	}
	if t.storage == asDots {
		s := ref.DotTile{Rows: rows, Cols: cols, Words: t.k, A: bitsAt(a), RS: t.rs, KS: t.ks, Lines: t.lines, Line: t.line, B: bitsAt(b), BS: t.bs,
			C: c, CS: t.cs, FromC: t.start == startC, From: from, ColumnBias: bias, RowBias: rowBias, ReLU: relu}
		s.Run()
		return
	}
	var wide [kBlock * 16]float32
	halves := unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(b))), 2*len(b))
	for q, v := range halves[:t.k*t.cols] {
		wide[q] = math.Float32frombits(uint32(v) << 16)
	}
	s := ref.Tile{Rows: rows, Cols: cols, K: t.k, A: a, RS: t.rs, KS: t.ks, B: wide[:], BS: t.cols,
		C: c, CS: t.cs, FromC: t.start == startC, ColumnBias: bias, RowBias: rowBias, ReLU: relu}
	s.Run()
}

// bitsAt are words, which have the type of floats and are not looked at as such, as numbers.
func bitsAt(x []float32) []uint32 {
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(x))), len(x))
}
