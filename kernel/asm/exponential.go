package main

import (
	"math"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

// The exponential family. x = n·ln2 + r with |r| ≤ ln2/2; expm1(r) is its
// Taylor series to r⁷, whose error of r⁸/8! is below 0.05 ulp there.

// reduce clamps vector 0 (NaN passes: it is the second source) and leaves n as
// integers in vector 2 and expm1(r) in vector 3. It uses vectors 0 to 5.
func (w *vectorWriter) reduce(lowest, highest float64) {
	v := w.v
	w.do(x86.VMOVUPS(w.float(lowest), v(1)))
	w.do(x86.VMAXPS(v(0), v(1), v(0)))
	w.do(x86.VMOVUPS(w.float(highest), v(1)))
	w.do(x86.VMINPS(v(0), v(1), v(0)))
	w.do(x86.VMULPS(w.float(math.Log2E), v(0), v(2)))
	w.do(x86.VCVTPS2DQ(v(2), v(2)))
	w.do(x86.VCVTDQ2PS(v(2), v(4)))
	high := float64(float32(math.Ln2))
	w.do(x86.VFNMADD231PS(w.float(high), v(4), v(0)))
	w.do(x86.VFNMADD231PS(w.float(math.Ln2-high), v(4), v(0))) // r
	w.do(x86.VMOVUPS(w.float(1.0/5040), v(3)))
	for _, c := range []float64{1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 1.0 / 2} {
		w.do(x86.VFMADD213PS(w.float(c), v(0), v(3)))
	}
	w.do(x86.VMULPS(v(0), v(0), v(5)))
	w.do(x86.VFMADD213PS(v(0), v(5), v(3)))
}

// powerOfTwo replaces the integers n in vector i by the floats 2ⁿ.
func (w *vectorWriter) powerOfTwo(i int) {
	w.do(x86.VPADDD(w.constant(127), w.v(i), w.v(i)))
	w.do(x86.VPSLLD(operand.U8(23), w.v(i), w.v(i)))
}

// exp replaces vector 0 by its exponential. Without an instruction for it, 2ⁿ is
// multiplied in two halves, so that results below the normal range come out rounded,
// and large ones as Inf.
func (w *vectorWriter) exp() { w.expFrom(-104) }

// expFrom is exp of numbers that are raised to lowest first.
func (w *vectorWriter) expFrom(lowest float64) {
	w.reduce(lowest, 89)
	v := w.v
	w.do(x86.VADDPS(w.float(1), v(3), v(0)))
	if w.lanes == 16 {
		w.do(x86.VSCALEFPS(v(4), v(0), v(0)))
		return
	}
	w.do(x86.VPSRAD(operand.U8(1), v(2), v(1)))
	w.do(x86.VPSUBD(v(1), v(2), v(2)))
	w.powerOfTwo(1)
	w.powerOfTwo(2)
	w.do(x86.VMULPS(v(1), v(0), v(0)))
	w.do(x86.VMULPS(v(2), v(0), v(0)))
}

// expNonPositive replaces vector 0, which is 0 or less or NaN, by its exponential. It
// rounds to the integer by adding 3·2²², where floats are the integers, and takes exp(r) by
// a polynomial fitted for this file (minimax, 3.1e-9 relative), in fewer instructions than
// exp, for which numbers on both sides of 0 need more. It uses vectors 0 to 5.
func (w *vectorWriter) expNonPositive() {
	if w.lanes == 8 {
		w.exp()
		return
	}
	const round = 3 << 22
	v := w.v
	w.do(x86.VMOVUPS(w.float(-104), v(1)))
	w.do(x86.VMAXPS(v(0), v(1), v(0)))
	w.do(x86.VMOVUPS(w.float(round), v(2)))
	w.do(x86.VFMADD231PS(w.float(math.Log2E), v(0), v(2)))
	w.do(x86.VSUBPS(w.float(round), v(2), v(2))) // n
	high := float64(float32(math.Ln2))
	w.do(x86.VFNMADD231PS(w.float(high), v(2), v(0)))
	w.do(x86.VFNMADD231PS(w.float(math.Ln2-high), v(2), v(0))) // r
	w.horner([]float64{1, 1, 0.49999993432066575, 0.1666652039816748, 0.041668390792980764, 0.008368745212788086, 0.0013814540077912154}, 1, 0, 3)
	w.do(x86.VSCALEFPS(v(2), v(3), v(0)))
}

const signBit = 1 << 31

// sigmoid replaces vector 0 by 1/(1+exp(-x)), as t/(1+t) or 1/(1+t) with
// t = exp(-|x|), which is exact at both ends. It leaves x in vector 6 and uses vectors
// 0 to 7.
func (w *vectorWriter) sigmoid() {
	v := w.v
	w.do(x86.VMOVAPS(v(0), v(6)))
	w.do(x86.VORPS(w.constant(signBit), v(0), v(0)))
	w.expNonPositive()
	w.do(x86.VMOVUPS(w.float(1), v(7)))
	w.do(x86.VADDPS(v(7), v(0), v(1)))
	if w.lanes == 8 {
		w.do(x86.VBLENDVPS(v(6), v(0), v(7), v(0)))
		w.do(x86.VDIVPS(v(1), v(0), v(0)))
		return
	}
	negative := []reg.Register{reg.K1, reg.K2, reg.K3, reg.K4}[w.first/8]
	w.do(x86.VPMOVD2M(v(6), negative))
	w.do(x86.VBLENDMPS(v(0), v(7), negative, v(0)))
	// A division would keep its unit busy for longer than all else takes. The estimate of
	// 1/(1+t), which lies between 1/2 and 1, has 14 bits, and the error that is left is known.
	w.do(x86.VRCP14PS(v(1), v(2)))
	w.do(x86.VFNMADD231PS(v(2), v(1), v(7))) // 1 - (1+t)·estimate
	w.do(x86.VMULPS(v(2), v(0), v(0)))
	w.do(x86.VFMADD213PS(v(0), v(7), v(0)))
}

// tanh replaces vector 0 by -e/(2+e) with e = expm1(-2|x|), and x's sign.
func (w *vectorWriter) tanh() {
	v := w.v
	w.do(x86.VANDPS(w.constant(signBit), v(0), v(6)))
	w.do(x86.VORPS(w.constant(signBit), v(0), v(0)))
	w.do(x86.VADDPS(v(0), v(0), v(0)))
	w.reduce(-40, 0)
	w.powerOfTwo(2)
	w.do(x86.VSUBPS(w.float(1), v(2), v(4)))
	w.do(x86.VFMADD213PS(v(4), v(2), v(3))) // 2ⁿ·expm1(r) + (2ⁿ - 1)
	w.do(x86.VADDPS(w.float(2), v(3), v(1)))
	w.do(x86.VDIVPS(v(1), v(3), v(0)))
	w.do(x86.VANDPS(w.constant(signBit-1), v(0), v(0)))
	w.do(x86.VORPS(v(6), v(0), v(0)))
}
