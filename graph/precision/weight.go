package precision

import (
	"math"

	"tandem/kernel"
	"tandem/tensor"
)

// blockColumns is the number of weights along a column that share a scale.
const blockColumns = 32

// matrix is a view of weights as [k, n]: element (i, j) at i*rs + j*cs.
type matrix struct {
	data         []float32
	k, n, rs, cs int
}

// matrixOf are the weights of a product, [K, N], or [N, K] if trans.
func matrixOf(t *tensor.Tensor, trans bool) matrix {
	if trans {
		return matrix{t.F32(), t.Dim(1), t.Dim(0), 1, t.Dim(1)}
	}
	return matrix{t.F32(), t.Dim(0), t.Dim(1), t.Dim(1), 1}
}

// columns rounds each column to int8 in steps of its own, of which its largest magnitude
// is 127: bytes [k, n] and scales [n].
func (m matrix) columns(p *kernel.Pool, bytes []int8, scales []float32) {
	p.For(m.n, max(1, (1<<14)/max(1, m.k)), func(lo, hi, _ int) {
		clear(scales[lo:hi])
		for i := range m.k {
			for j := lo; j < hi; j++ {
				scales[j] = max(scales[j], abs(m.data[i*m.rs+j*m.cs]))
			}
		}
		for j := lo; j < hi; j++ {
			scales[j] = stepOf(scales[j])
		}
		for i := range m.k {
			for j := lo; j < hi; j++ {
				bytes[i*m.n+j] = int8(math.RoundToEven(float64(m.data[i*m.rs+j*m.cs] / scales[j])))
			}
		}
	})
}

// stepOf is the step of which a magnitude is 127; 1 if it is 0.
func stepOf(magnitude float32) float32 {
	if s := magnitude / 127; s > 0 {
		return s
	}
	return 1
}

func abs(v float32) float32 { return float32(math.Abs(float64(v))) }

// blocks rounds blocks of 32 weights along each column to so many bits, 4 or 8, as
// MatMulNBits has them: codes [n, k/32, 32·bits/8] counted from the middle of their range,
// and scales [n, k/32], which are numbers of float16 too.
func (m matrix) blocks(p *kernel.Pool, bits int, codes []byte, scales []float32) {
	per, size := m.k/blockColumns, blockColumns*bits/8
	p.For(m.n, max(1, (1<<12)/max(1, m.k)), func(lo, hi, _ int) {
		var x [blockColumns]float32
		for j := lo; j < hi; j++ {
			for b := range per {
				for i := range x {
					x[i] = m.data[(b*blockColumns+i)*m.rs+j*m.cs]
				}
				step := eightBits(&x)
				if bits == 4 {
					step = fourBits(&x)
				}
				scales[j*per+b] = step
				putCodes(codes[(j*per+b)*size:][:size], &x, step, bits)
			}
		}
	})
}

// putCodes writes a block's codes, of four bits the first in the low half of a byte.
func putCodes(to []byte, x *[blockColumns]float32, step float32, bits int) {
	if bits == 8 {
		for i, v := range x {
			to[i] = byte(level(v/step, 127) + 128)
		}
		return
	}
	for i := range to {
		to[i] = byte(level(x[2*i]/step, 7)+8) | byte(level(x[2*i+1]/step, 7)+8)<<4
	}
}

// level rounds v to a whole number from -most-1 to most.
func level(v float32, most int) int {
	return min(max(int(math.RoundToEven(float64(v))), -most-1), most)
}

// half rounds a step to float16; 1 if nothing is left of it.
func half(step float32) float32 {
	if s := tensor.Float16From(tensor.Float16Bits(step)); s != 0 {
		return s
	}
	return 1
}

// extreme is the element of the largest magnitude.
func extreme(x *[blockColumns]float32) float32 {
	var most float32
	for _, v := range x {
		if abs(v) > abs(most) {
			most = v
		}
	}
	return most
}

func eightBits(x *[blockColumns]float32) float32 { return half(abs(extreme(x)) / 127) }

// fourBits finds the step, of either sign, with the least sum of squared errors: codes
// from -8 to 7 are tried for steps about that which makes the extreme -8; to given codes
// the best step is that of least squares.
func fourBits(x *[blockColumns]float32) float32 {
	most := extreme(x)
	if most == 0 {
		return 1
	}
	best, step := float32(0), most/-8
	for t := -8; t <= 24; t++ {
		inverse := -(8 - float32(t)*0.125) / most
		var lx, ll float32
		for _, v := range x {
			l := float32(level(v*inverse, 7))
			lx += float32(l * v)
			ll += float32(l * l)
		}
		if ll > 0 && float32(lx*lx) > float32(best*ll) { // what is taken off the squares
			best, step = lx*lx/ll, lx/ll
		}
	}
	return half(step)
}
