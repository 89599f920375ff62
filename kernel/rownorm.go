package kernel

import (
	"math"

	"tandem/kernel/ref"
)

// rmsNorm computes y = x / √(mean(x²) + epsilon) · w; with no w, without it. y may be x.
// It returns what x was multiplied with.
func rmsNorm(isa ISA, y, x, w []float32, epsilon float32) (s float32) {
	s = float32(1 / math.Sqrt(float64(sumSquares(isa, x))/float64(len(x))+float64(epsilon)))
	if isa == Generic {
		for i, v := range x {
			y[i] = v * s
			if w != nil {
				y[i] *= w[i]
			}
		}
		return s
	}
	if w == nil {
		unary(isa, opScale, y, x, s)
		return s
	}
	n := len(x) &^ (isa.lanes() - 1)
	for i := 0; i < n; i += asmElements {
		mulScaledAsm(isa, &y[i], &x[i], &w[i], min(asmElements, n-i), s)
	}
	if n < len(x) {
		var tx, tw [16]float32
		copy(tx[:], x[n:])
		copy(tw[:], w[n:])
		mulScaledAsm(isa, &tx[0], &tx[0], &tw[0], isa.lanes(), s)
		copy(y[n:], tx[:])
	}
	return s
}

// sumSquares adds in the lanes of four vectors, then the rest in order.
func sumSquares(isa ISA, x []float32) float32 {
	total := float32(0)
	if isa != Generic {
		n := len(x) &^ 63
		for i := 0; i < n; i += asmElements {
			total += sumSquaresAsm(isa, &x[i], min(asmElements, n-i))
		}
		x = x[n:]
	}
	return total + ref.SumSquares(x)
}

// Gated activations are unary operations too.
func activate(isa ISA, op UnaryOp, x []float32) { unary(isa, op, x, x, 0) }

// quantize writes len(x)/32 records, with a scale for each or, if super, for 256 columns.
func quantize(isa ISA, dst []byte, x []float32, super bool) {
	step := 32
	if super {
		step = ref.SuperColumns
	}
	n := len(x) / step
	switch {
	case n == 0:
	case isa != Generic:
		bytes, most := step/32*ref.RecordBytes, asmElements/step
		for i := 0; i < n; i += most {
			quantizeAsm(isa, super, &dst[i*bytes], &x[step*i], min(most, n-i))
		}
	case super:
		ref.QuantizeSuper(dst, x[:step*n])
	default:
		ref.Quantize(dst, x[:step*n])
	}
}
