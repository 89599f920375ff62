package kernel

import (
	"fmt"
	"math"

	"tandem/kernel/ref"
)

// MaxPool is 2-D max pooling of X [N,C,H,W] to Y [N,C,OH,OW]. Padding never
// wins; strides and dilations of 0 mean 1. NaN counts as the greatest value.
//
// Grad computes DX from X, Y and DY: the first greatest element of each window,
// in row order, gets the window's gradient.
type MaxPool struct {
	N, C, H, W, KH, KW                   int
	StrideH, StrideW                     int
	PadTop, PadLeft, PadBottom, PadRight int
	DilationH, DilationW                 int
	X, Y, DY, DX                         []float32

	shape ref.Pool
	isa   ISA
	grad  bool
}

// OutSize returns the height and width of Y.
func (m *MaxPool) OutSize() (oh, ow int) {
	oh = (m.H+m.PadTop+m.PadBottom-or(m.DilationH, 1)*(m.KH-1)-1)/or(m.StrideH, 1) + 1
	ow = (m.W+m.PadLeft+m.PadRight-or(m.DilationW, 1)*(m.KW-1)-1)/or(m.StrideW, 1) + 1
	return oh, ow
}

// Forward computes Y.
func (m *MaxPool) Forward(p *Pool) {
	m.start(p, false)
	checkLen("MaxPool", "X", len(m.X), m.N*m.C*m.H*m.W)
	checkLen("MaxPool", "Y", len(m.Y), m.N*m.C*m.shape.OH*m.shape.OW)
	p.run(m.N*m.C, m.grain(), m)
}

// Grad computes DX.
func (m *MaxPool) Grad(p *Pool) {
	m.start(p, true)
	checkLen("MaxPool", "X", len(m.X), m.N*m.C*m.H*m.W)
	checkLen("MaxPool", "DX", len(m.DX), m.N*m.C*m.H*m.W)
	checkLen("MaxPool", "Y", len(m.Y), m.N*m.C*m.shape.OH*m.shape.OW)
	checkLen("MaxPool", "DY", len(m.DY), m.N*m.C*m.shape.OH*m.shape.OW)
	p.run(m.N*m.C, m.grain(), m)
}

func (m *MaxPool) start(p *Pool, grad bool) {
	oh, ow := m.OutSize()
	if oh < 0 || ow < 0 {
		panic(fmt.Sprintf("kernel: MaxPool with a window larger than %d×%d", m.H, m.W))
	}
	m.shape = ref.Pool{
		H: m.H, W: m.W, OH: oh, OW: ow, KH: m.KH, KW: m.KW,
		StrideH: or(m.StrideH, 1), StrideW: or(m.StrideW, 1), PadTop: m.PadTop, PadLeft: m.PadLeft,
		DilationH: or(m.DilationH, 1), DilationW: or(m.DilationW, 1),
	}
	m.isa, m.grad = p.isa, grad
}

// grain is the number of planes in a chunk.
func (m *MaxPool) grain() int { return ceilDiv(1<<14, max(m.H*m.W, 1)) }

func (m *MaxPool) chunk(lo, hi, _ int) {
	in, out := m.H*m.W, m.shape.OH*m.shape.OW
	for i := lo; i < hi; i++ {
		x := m.X[i*in:][:in]
		if m.grad {
			m.gradPlane(m.DX[i*in:][:in], x, m.Y[i*out:][:out], m.DY[i*out:][:out])
		} else {
			m.maxPlane(m.Y[i*out:][:out], x)
		}
	}
}

// halving reports whether the windows are the 2×2 blocks of the plane, for
// which there are faster kernels.
func (m *MaxPool) halving() bool {
	s := &m.shape
	return s.KH == 2 && s.KW == 2 && s.StrideH == 2 && s.StrideW == 2 && s.DilationH == 1 && s.DilationW == 1 &&
		m.PadTop+m.PadLeft+m.PadBottom+m.PadRight == 0 && s.OH > 0 && s.OW > 0
}

func (m *MaxPool) maxPlane(y, x []float32) {
	switch s := &m.shape; {
	case !m.halving():
		s.Max(y, x, float32(math.Inf(-1)))
	case m.isa == AVX512:
		for oy := 0; oy < s.OH; oy += poolRows {
			maxPoolAsm(&y[oy*s.OW], &x[2*oy*s.W], min(poolRows, s.OH-oy), s.OW, s.W)
		}
	default:
		for oy := range s.OH {
			row, a, b := y[oy*s.OW:][:s.OW], x[2*oy*s.W:][:2*s.OW], x[(2*oy+1)*s.W:][:2*s.OW]
			for i := range row {
				row[i] = max(a[2*i], a[2*i+1], b[2*i], b[2*i+1])
			}
		}
	}
}

// poolRows bounds the time in one call of the assembly, for rows of up to
// some 10,000 pixels.
const poolRows = 16

func (m *MaxPool) gradPlane(dx, x, y, dy []float32) {
	s := &m.shape
	if m.isa != AVX512 || !m.halving() {
		s.MaxGrad(dx, x, dy)
		return
	}
	if s.H != 2*s.OH || s.W != 2*s.OW {
		clear(dx) // the last row or column is in no window
	}
	for oy := 0; oy < s.OH; oy += poolRows {
		at := oy * s.OW
		maxPoolGradAsm(&dx[2*oy*s.W], &x[2*oy*s.W], &y[at], &dy[at], min(poolRows, s.OH-oy), s.OW, s.W)
	}
}
