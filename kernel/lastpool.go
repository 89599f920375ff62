package kernel

import (
	"fmt"
	"math"

	"tandem/kernel/ref"
)

// PoolLast reduces windows of X [N,H,W,C], whose channels come last, to
// Y [N,OH,OW,C]: to the greatest element (NaN is greater than any), or to the
// average. Strides and dilations of 0 mean 1. An average divides by the elements of
// the window that lie inside the image, or with CountPad by those in the padding
// too.
type PoolLast struct {
	N, H, W, C, KH, KW                   int
	StrideH, StrideW                     int
	PadTop, PadLeft, PadBottom, PadRight int
	DilationH, DilationW                 int
	OH, OW                               int // of Y; may end before or behind the padding
	Average, CountPad                    bool
	X, Y                                 []float32
	Lowest                               []float32 // room for C elements, unless Average

	slide slider
}

// Run computes Y.
func (m *PoolLast) Run(p *Pool) {
	checkLen("PoolLast", "X", len(m.X), m.N*m.H*m.W*m.C)
	checkLen("PoolLast", "Y", len(m.Y), m.N*m.OH*m.OW*m.C)
	if m.OH < 1 || m.OW < 1 || m.C < 1 {
		panic(fmt.Sprintf("kernel: PoolLast to %d×%d of %d channels", m.OH, m.OW, m.C))
	}
	m.slide = slider{
		op: ref.SlideAdd, isa: p.isa, h: m.H, w: m.W, c: m.C, ow: m.OW, kh: m.KH, kw: m.KW,
		strideH: or(m.StrideH, 1), strideW: or(m.StrideW, 1), padTop: m.PadTop, padLeft: m.PadLeft,
		dilationH: or(m.DilationH, 1), dilationW: or(m.DilationW, 1),
	}
	if !m.Average {
		checkLen("PoolLast", "Lowest", len(m.Lowest), m.C)
		m.slide.op, m.slide.start = ref.SlideMaximum, m.Lowest[:m.C]
		for i := range m.slide.start {
			m.slide.start[i] = float32(math.Inf(-1))
		}
	}
	p.run(m.N*m.OH, max(1, ceilDiv(1<<14, m.OW*m.C*m.KH*m.KW)), m)
}

func (m *PoolLast) chunk(lo, hi, _ int) {
	s := &m.slide
	for i := lo; i < hi; i++ {
		y := m.Y[i*m.OW*m.C:][:m.OW*m.C]
		s.row(y, m.X[i/m.OH*m.H*m.W*m.C:], i%m.OH)
		if m.Average {
			m.divide(y, i%m.OH)
		}
	}
}

// divide makes averages of the sums in row oy.
func (m *PoolLast) divide(y []float32, oy int) {
	s := &m.slide
	high := m.covered(oy*s.strideH-s.padTop, s.kh, s.dilationH, m.H, m.PadBottom)
	for ox := range m.OW {
		n := high * m.covered(ox*s.strideW-s.padLeft, s.kw, s.dilationW, m.W, m.PadRight)
		row := y[ox*m.C:][:m.C]
		unary(s.isa, opScale, row, row, 1/float32(max(n, 1)))
	}
}

// covered is the number of a window's n taps that count along one dimension.
func (m *PoolLast) covered(at, n, dilation, size, after int) int {
	if m.CountPad {
		return min(n, ceilDiv(size+after-at, dilation))
	}
	from, until := span(at, n, dilation, size)
	return until - from
}

// MeanLast averages X [N,Rows,C] over the rows to Y [N,C].
type MeanLast struct {
	N, Rows, C int
	X, Y       []float32

	isa ISA
}

// Run computes Y.
func (m *MeanLast) Run(p *Pool) {
	checkLen("MeanLast", "X", len(m.X), m.N*m.Rows*m.C)
	checkLen("MeanLast", "Y", len(m.Y), m.N*m.C)
	m.isa = p.isa
	p.run(m.N*ceilDiv(m.C, meanChannels), max(1, ceilDiv(1<<14, m.Rows*min(m.C, meanChannels))), m)
}

// meanChannels are the channels in a unit of MeanLast: whole cache lines.
const meanChannels = 64

func (m *MeanLast) chunk(lo, hi, _ int) {
	blocks := ceilDiv(m.C, meanChannels)
	for i := lo; i < hi; i++ {
		c := i % blocks * meanChannels
		y := m.Y[i/blocks*m.C+c:][:min(meanChannels, m.C-c)]
		sumRows(m.isa, y, m.X[i/blocks*m.Rows*m.C+c:], m.Rows, m.C)
		unary(m.isa, opScale, y, y, 1/float32(max(m.Rows, 1)))
	}
}

// BinaryRows computes Y = op(A, B) for A and Y of [Outer,Inner,Row] and B of
// [Outer,Row], each row of which stands for all of Inner. Y may be A.
type BinaryRows struct {
	Op                BinaryOp
	Outer, Inner, Row int
	Y, A, B           []float32

	isa ISA
}

// Run computes Y.
func (v *BinaryRows) Run(p *Pool) {
	n := v.Outer * v.Inner * v.Row
	checkLen("BinaryRows", "Y", len(v.Y), n)
	checkLen("BinaryRows", "A", len(v.A), n)
	checkLen("BinaryRows", "B", len(v.B), v.Outer*v.Row)
	v.isa = p.isa
	p.run(v.Outer*v.Inner, max(1, vectorGrain/max(v.Row, 1)), v)
}

// shortRow is the length below which a row of B is repeated, so that one call takes
// several rows.
const shortRow = 256

func (v *BinaryRows) chunk(lo, hi, _ int) {
	var buf [4 * shortRow]float32
	for i := lo; i < hi; {
		outer := i / v.Inner
		n := min(hi, (outer+1)*v.Inner) - i // rows of A that share one of B
		b := v.B[outer*v.Row:][:v.Row]
		group := 1
		if v.Row < shortRow && n > 1 {
			group = min(n, len(buf)/v.Row)
			for j := range group {
				copy(buf[j*v.Row:], b)
			}
			b = buf[:group*v.Row]
		}
		for end := i + n; i < end; i += group {
			m := min(group, end-i) * v.Row
			binary(v.isa, v.Op, v.Y[i*v.Row:][:m], v.A[i*v.Row:][:m], b[:m], 0)
		}
		i = (outer + 1) * v.Inner
	}
}
