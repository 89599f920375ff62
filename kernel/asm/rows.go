package main

import (
	"math"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

// writeRows writes the parts of row-wise operations: layer normalisation and the
// softmax of attention.
func writeRows(w *writer) {
	for _, v := range widths(w) {
		v.deviations()
		v.standardize()
		v.scores()
		v.weights()
	}
}

// deviations leaves the lanes of Σ(x-s)² for the caller to combine.
func (w *vectorWriter) deviations() {
	w.function("deviations"+w.suffix, "func(lanes, x *float32, n int, s float32)",
		"deviations"+w.suffix+" sums (x-s)² into lanes; n is a multiple of 64.")
	w.load("lanes", regY)
	w.load("x", regX1)
	w.load("n", regN)
	w.do(x86.VBROADCASTSS(w.param("s"), w.v(sScale)))
	for i := range 4 {
		w.zero(i)
	}
	w.label("loop")
	for i := range 4 {
		w.do(x86.VMOVUPS(mem(regX1, i*w.bytes()), w.v(4+i)))
		w.do(x86.VSUBPS(w.v(sScale), w.v(4+i), w.v(4+i)))
		w.do(x86.VFMADD231PS(w.v(4+i), w.v(4+i), w.v(i)))
	}
	w.do(x86.ADDQ(operand.U32(4*w.bytes()), regX1))
	w.do(x86.SUBQ(operand.U32(4*w.lanes), regN))
	w.do(x86.JNZ(to("loop")))
	w.do(x86.VADDPS(w.v(1), w.v(0), w.v(0)))
	w.do(x86.VADDPS(w.v(3), w.v(2), w.v(2)))
	w.do(x86.VADDPS(w.v(2), w.v(0), w.v(0)))
	w.do(x86.VMOVUPS(w.v(0), mem(regY, 0)))
	w.done()
}

// standardize writes y = (x-mean)·inverse·scale + bias.
func (w *vectorWriter) standardize() {
	w.function("standardize"+w.suffix, "func(y, x, scale, bias *float32, n int, mean, inverse float32)",
		"standardize"+w.suffix+" computes (x-mean)·inverse·scale + bias; n counts whole vectors.")
	regBias := reg.R8
	w.load("y", regY)
	w.load("x", regX1)
	w.load("scale", regX2)
	w.load("bias", regBias)
	w.load("n", regN)
	w.do(x86.VBROADCASTSS(w.param("mean"), w.v(14)))
	w.do(x86.VBROADCASTSS(w.param("inverse"), w.v(sScale)))
	w.loop(regN, []reg.GPPhysical{regY, regX1, regX2, regBias}, 4, func(disp int) {
		w.do(x86.VMOVUPS(mem(regX1, disp), w.v(0)))
		w.do(x86.VSUBPS(w.v(14), w.v(0), w.v(0)))
		w.do(x86.VMULPS(w.v(sScale), w.v(0), w.v(0)))
		w.do(x86.VMOVUPS(mem(regX2, disp), w.v(1)))
		w.do(x86.VFMADD213PS(mem(regBias, disp), w.v(1), w.v(0)))
		w.do(x86.VMOVUPS(w.v(0), mem(regY, disp)))
	})
	w.done()
}

// scores writes s = s·scale + bias and leaves the lanes of the maximum.
func (w *vectorWriter) scores() {
	w.function("scores"+w.suffix, "func(lanes, s, bias *float32, n int, scale float32)",
		"scores"+w.suffix+" computes s·scale + bias in place and reduces it to lanes of its maximum, passing over NaN; n counts whole vectors.")
	regLanes := reg.R8
	w.load("lanes", regLanes)
	w.load("s", regY)
	w.load("bias", regX1)
	w.load("n", regN)
	w.do(x86.VBROADCASTSS(w.param("scale"), w.v(sScale)))
	w.do(x86.VMOVUPS(w.float(math.Inf(-1)), w.v(2)))
	w.loop(regN, []reg.GPPhysical{regY, regX1}, 4, func(disp int) {
		w.do(x86.VMOVUPS(mem(regY, disp), w.v(0)))
		w.do(x86.VFMADD213PS(mem(regX1, disp), w.v(sScale), w.v(0)))
		w.do(x86.VMOVUPS(w.v(0), mem(regY, disp)))
		w.do(x86.VMAXPS(w.v(2), w.v(0), w.v(2))) // returns the second source, the maximum, beside NaN
	})
	w.do(x86.VMOVUPS(w.v(2), mem(regLanes, 0)))
	w.done()
}

// flushBelow is the exponent below which exp has a result under float32's normal range.
// Weights there are zero: such numbers take the processor a hundred times as long, and
// hidden keys, whose score is -Inf, are half of a causal block.
const flushBelow = -87

// weights writes s = exp(s - top) and leaves the lanes of the sum.
func (w *vectorWriter) weights() {
	w.function("weights"+w.suffix, "func(lanes, s *float32, n int, top float32)",
		"weights"+w.suffix+" computes exp(s-top) in place, 0 below the normal range, and sums it into lanes; n counts whole vectors.")
	w.load("lanes", regX2)
	w.load("s", regY)
	w.load("n", regN)
	w.do(x86.VBROADCASTSS(w.param("top"), w.v(sScale)))
	w.zero(8)
	w.loop(regN, []reg.GPPhysical{regY}, 1, func(disp int) {
		w.do(x86.VMOVUPS(mem(regY, disp), w.v(0)))
		w.do(x86.VSUBPS(w.v(sScale), w.v(0), w.v(0)))
		if w.lanes == 16 {
			w.do(x86.VCMPPS(notLess, w.float(flushBelow), w.v(0), reg.K1))
		} else {
			w.do(x86.VCMPPS(notLess, w.float(flushBelow), w.v(0), w.v(7)))
		}
		w.expFrom(flushBelow)
		if w.lanes == 16 {
			w.do(x86.VMOVAPS_Z(w.v(0), reg.K1, w.v(0)))
		} else {
			w.do(x86.VANDPS(w.v(7), w.v(0), w.v(0)))
		}
		w.do(x86.VMOVUPS(w.v(0), mem(regY, disp)))
		w.do(x86.VADDPS(w.v(0), w.v(8), w.v(8)))
	})
	w.do(x86.VMOVUPS(w.v(8), mem(regX2, 0)))
	w.done()
}
