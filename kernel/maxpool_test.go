package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// naiveMax finds the first greatest element of a window by the definition;
// NaN is the greatest.
func naiveMax(m *MaxPool, x []float32, oy, ox int) int {
	best := -1
	for ky := range m.KH {
		for kx := range m.KW {
			iy := oy*or(m.StrideH, 1) + ky*or(m.DilationH, 1) - m.PadTop
			ix := ox*or(m.StrideW, 1) + kx*or(m.DilationW, 1) - m.PadLeft
			if iy < 0 || ix < 0 || iy >= m.H || ix >= m.W {
				continue
			}
			i := iy*m.W + ix
			nan := best >= 0 && x[best] != x[best]
			if best < 0 || (!nan && (x[i] > x[best] || x[i] != x[i])) {
				best = i
			}
		}
	}
	return best
}

func TestMaxPool(t *testing.T) {
	r := rand.New(rand.NewPCG(23, 24))
	pools := testPools(t)
	for round := range 200 {
		m := &MaxPool{N: 1 + r.IntN(3), C: 1 + r.IntN(4), H: 2 + r.IntN(40), W: 2 + r.IntN(80), KH: 2, KW: 2, StrideH: 2, StrideW: 2}
		if round%2 == 1 {
			m.H, m.W = m.H+5, m.W+5
			m.KH, m.KW, m.StrideH, m.StrideW = 1+r.IntN(3), 1+r.IntN(3), r.IntN(4), r.IntN(4)
			m.DilationH, m.DilationW = r.IntN(3), r.IntN(3)
			m.PadTop, m.PadLeft, m.PadBottom, m.PadRight = r.IntN(2), r.IntN(2), r.IntN(2), r.IntN(2)
		}
		oh, ow := m.OutSize()
		in, out := m.H*m.W, oh*ow
		x, dy := mixed(r, m.N*m.C*in), random(r, m.N*m.C*out, 1)
		for i := range x {
			if r.IntN(3) == 0 {
				x[i] = 1 // ties
			}
		}
		y, dx := make([]float32, len(dy)), make([]float32, len(x))
		for p := range m.N * m.C {
			for o := range out {
				y[p*out+o] = float32(math.Inf(-1)) // a window of padding only
				if i := naiveMax(m, x[p*in:][:in], o/ow, o%ow); i >= 0 {
					y[p*out+o] = x[p*in+i]
					dx[p*in+i] += dy[p*out+o]
				}
			}
		}
		m.X, m.DY = x, dy
		for _, p := range pools {
			m.Y, m.DX = guarded(len(y)), guarded(len(x))
			m.Forward(p)
			m.Grad(p)
			what := fmt.Sprintf("%v %d×%d window %d×%d", p.ISA(), m.H, m.W, m.KH, m.KW)
			compare(t, what+" forward", m.Y, y, 0)
			compare(t, what+" gradient", m.DX, dx, 1e-6)
			checkGuard(t, m.Y)
			checkGuard(t, m.DX)
		}
	}
}
