package main

import (
	"math"

	"github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

// The error function, by polynomials fitted for this file (weighted minimax):
// erf(z) = z·P(z²) for |z| < 1, to 1.2e-9 relative; erfc(z) = exp(-Q(z)) for
// 1 ≤ z ≤ 10, to 4e-10 absolute, and as good as 0 beyond.
var (
	erfSmall = []float64{
		1.1283791657266748, -0.37612625823976203, 0.11283585145705126, -0.026853811813741274,
		0.005188327454985325, -0.0008010191599611612, 7.853854669649294e-05,
	}
	erfcLarge = []float64{
		-0.00019217468398835535, 1.1296445289481838, 0.63297721375088, 0.10883448294429635,
		-0.02560712427050953, 0.004431506342693949, -0.0005174212529731043, 3.556013974319839e-05,
		-1.0596726914965967e-06,
	}
)

// horner evaluates a polynomial, times sign, of vector x into vector y.
func (w *vectorWriter) horner(coefficients []float64, sign float64, x, y int) {
	last := len(coefficients) - 1
	w.do(x86.VMOVUPS(w.float(sign*coefficients[last]), w.v(y)))
	for i := last - 1; i >= 0; i-- {
		w.do(x86.VFMADD213PS(w.float(sign*coefficients[i]), w.v(x), w.v(y)))
	}
}

// erfParts takes z in vector 0 and leaves it in vector 6, erfc(|z|) in vector 0
// (right for |z| ≥ 1), z·P(z²) in vector 2, and in K1 or vector 3 where |z| < 1.
// It uses vectors 0 to 7.
func (w *vectorWriter) erfParts() {
	v := w.v
	w.do(x86.VMOVAPS(v(0), v(6)))
	w.do(x86.VANDPS(w.constant(signBit-1), v(0), v(7)))
	w.do(x86.VMOVUPS(w.float(11), v(1))) // exp(-Q(11)) is 0
	w.do(x86.VMINPS(v(7), v(1), v(7)))   // NaN passes
	w.horner(erfcLarge, -1, 7, 0)
	w.exp()
	w.do(x86.VMULPS(v(6), v(6), v(1)))
	w.horner(erfSmall, 1, 1, 2)
	w.do(x86.VMULPS(v(6), v(2), v(2)))
	if w.lanes == 16 {
		w.do(x86.VCMPPS(less, w.float(1), v(7), reg.K1))
	} else {
		w.do(x86.VCMPPS(less, w.float(1), v(7), v(3)))
	}
}

// where leaves vector a in vector dst where |z| < 1 by erfParts, else vector b.
func (w *vectorWriter) where(a, b, dst int) {
	if w.lanes == 16 {
		w.do(x86.VBLENDMPS(w.v(a), w.v(b), reg.K1, w.v(dst)))
		return
	}
	w.do(x86.VBLENDVPS(w.v(3), w.v(a), w.v(b), w.v(dst)))
}

// erf replaces vector 0 by its error function.
func (w *vectorWriter) erf() {
	w.erfParts()
	v := w.v
	w.do(x86.VMOVUPS(w.float(1), v(1)))
	w.do(x86.VSUBPS(v(0), v(1), v(0))) // 1 - erfc
	w.do(x86.VANDPS(w.constant(signBit), v(6), v(1)))
	w.do(x86.VORPS(v(1), v(0), v(0)))
	w.where(2, 0, 0)
}

// geluErf replaces vector 0 by x·(1 + erf(x/√2))/2.
func (w *vectorWriter) geluErf() {
	w.do(x86.VMOVAPS(w.v(0), w.v(8)))
	w.onePlusErf()
	w.do(x86.VMULPS(w.float(0.5), w.v(8), w.v(8)))
	w.do(x86.VMULPS(w.v(8), w.v(0), w.v(0)))
}

// onePlusErf replaces vector 0 by 1 + erf(x/√2); below 0 the sum is erfc itself,
// which does not cancel. It uses vectors 0 to 7.
func (w *vectorWriter) onePlusErf() {
	v := w.v
	w.do(x86.VMULPS(w.float(math.Sqrt2/2), v(0), v(0)))
	w.erfParts()
	w.do(x86.VADDPS(w.float(1), v(2), v(2)))
	w.do(x86.VMOVUPS(w.float(2), v(1)))
	w.do(x86.VSUBPS(v(0), v(1), v(1))) // 2 - erfc
	if w.lanes == 16 {
		w.do(x86.VPMOVD2M(v(6), reg.K2))
		w.do(x86.VBLENDMPS(v(0), v(1), reg.K2, v(0)))
	} else {
		w.do(x86.VBLENDVPS(v(6), v(0), v(1), v(0)))
	}
	w.where(2, 0, 0)
}

// geluGrad takes dy and x in vectors 0 and 1: dy·((1 + erf(x/√2))/2 + x·exp(-x²/2)/√(2π)).
func (w *vectorWriter) geluGrad() {
	v := w.v
	w.do(x86.VMOVAPS(v(0), v(9)))
	w.do(x86.VMOVAPS(v(1), v(8)))
	w.do(x86.VMOVAPS(v(1), v(0)))
	w.onePlusErf()
	w.do(x86.VMULPS(w.float(0.5), v(0), v(10)))
	w.do(x86.VMULPS(v(8), v(8), v(0)))
	w.do(x86.VMULPS(w.float(-0.5), v(0), v(0)))
	w.exp()
	w.do(x86.VMULPS(w.float(1/math.Sqrt(2*math.Pi)), v(0), v(0)))
	w.do(x86.VFMADD213PS(v(10), v(8), v(0)))
	w.do(x86.VMULPS(v(9), v(0), v(0)))
}
