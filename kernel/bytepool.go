package kernel

import "tandem/kernel/ref"

// MaxBytesLast is the greatest byte of each window of X [N,H,W,C], whose channels come
// last, in Y [N,OH,OW,C]. What pads is less than any.
type MaxBytesLast struct {
	N, H, W, C, OH, OW, KH, KW int
	StrideH, StrideW           int
	PadTop, PadLeft            int
	DilationH, DilationW       int
	X, Y                       []byte
	Signed                     bool

	isa ISA
}

// Run computes Y.
func (m *MaxBytesLast) Run(p *Pool) {
	checkLen("MaxBytesLast", "X", len(m.X), m.N*m.H*m.W*m.C)
	checkLen("MaxBytesLast", "Y", len(m.Y), m.N*m.OH*m.OW*m.C)
	m.isa = p.isa
	p.run(m.N*m.OH, max(1, ceilDiv(1<<16, max(1, m.OW*m.C*m.KH*m.KW))), m)
}

func (m *MaxBytesLast) chunk(lo, hi, _ int) {
	row, image := m.OW*m.C, m.H*m.W*m.C
	for i := lo; i < hi; i++ {
		m.row(m.Y[i*row:][:row], m.X[i/m.OH*image:][:image], i%m.OH)
	}
}

// row computes row oy of the output of the image x: pixels whose windows lie within the
// row of the image together, others one by one.
func (m *MaxBytesLast) row(y, x []byte, oy int) {
	y0 := oy*m.StrideH - m.PadTop
	ky0, ky1 := span(y0, m.KH, m.DilationH, m.H)
	for ox := 0; ox < m.OW; {
		x0, n := ox*m.StrideW-m.PadLeft, 1
		kx0, kx1 := span(x0, m.KW, m.DilationW, m.W)
		if kx1-kx0 == m.KW {
			n = min(m.OW-ox, (m.W-1-(m.KW-1)*m.DilationW-x0)/m.StrideW+1)
		}
		to := y[ox*m.C:][:n*m.C]
		ox += n
		if ky0 == ky1 || kx0 == kx1 {
			least := byte(0)
			if m.Signed {
				least = 128
			}
			fill(to, least)
			continue
		}
		m.windows(to, x[((y0+ky0*m.DilationH)*m.W+x0+kx0*m.DilationW)*m.C:], n, ky1-ky0, kx1-kx0)
	}
}

// windowBytes bounds the time in one call of the assembly.
const windowBytes = 1 << 20

// windows computes n pixels whose windows have so many rows and columns, the first of them
// at the beginning of x.
func (m *MaxBytesLast) windows(y, x []byte, n, rows, columns int) {
	w := ref.ByteWindows{Pixels: n, Channels: m.C, Step: m.StrideW * m.C, Rows: rows, Columns: columns, Line: m.DilationH * m.W * m.C, Tap: m.DilationW * m.C, Signed: m.Signed}
	if m.isa == Generic || m.C < 4*m.isa.lanes() {
		w.Max(y, x)
		return
	}
	some := max(1, windowBytes/(m.C*rows*columns))
	for i := 0; i < n; i += some {
		w.Pixels = min(some, n-i)
		maxWindowsAsm(m.isa, &w, &y[i*m.C], &x[i*w.Step])
	}
}
