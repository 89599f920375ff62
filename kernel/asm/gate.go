package main

import (
	"math"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/x86"
)

// writeGates writes what decoders compute row by row beside products: gated
// activations and the parts of RMS normalisation.
func writeGates(w *writer) {
	for _, v := range widths(w) {
		v.unary("silu", 1, (*vectorWriter).silu)
		v.unary("gelu", 1, (*vectorWriter).gelu)
		v.binary("mulScaled", 4, func(w *vectorWriter) {
			w.do(x86.VMULPS(w.v(sScale), w.v(0), w.v(0)))
			w.do(x86.VMULPS(w.v(1), w.v(0), w.v(0)))
		})
		v.sumSquares()
	}
}

// silu replaces vector 0 by x·sigmoid(x).
func (w *vectorWriter) silu() {
	w.do(x86.VMOVAPS(w.v(0), w.v(8)))
	w.sigmoid()
	w.do(x86.VMULPS(w.v(8), w.v(0), w.v(0)))
}

// gelu replaces vector 0 by x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))/2.
func (w *vectorWriter) gelu() {
	v := w.v
	w.do(x86.VMOVAPS(v(0), v(8)))
	w.do(x86.VMULPS(v(0), v(0), v(1)))
	w.do(x86.VMOVUPS(w.float(1), v(2)))
	w.do(x86.VFMADD231PS(w.float(0.044715), v(1), v(2)))
	w.do(x86.VMULPS(v(2), v(0), v(0)))
	w.do(x86.VMULPS(w.float(math.Sqrt(2/math.Pi)), v(0), v(0)))
	w.tanh()
	w.do(x86.VADDPS(w.float(1), v(0), v(0)))
	w.do(x86.VMULPS(v(8), v(0), v(0)))
	w.do(x86.VMULPS(w.float(0.5), v(0), v(0)))
}

// sumSquares leaves the lanes of one vector for the caller to combine.
func (w *vectorWriter) sumSquares() {
	w.function("sumSquares"+w.suffix, "func(lanes, x *float32, n int)", "sumSquares"+w.suffix+" sums the squares of x into lanes; n is a multiple of 64.")
	w.load("lanes", regY)
	w.load("x", regX1)
	w.load("n", regN)
	for i := range 4 {
		w.zero(i)
	}
	w.label("loop")
	for i := range 4 {
		w.do(x86.VMOVUPS(mem(regX1, i*w.bytes()), w.v(4+i)))
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
