package main

import (
	"math"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

// writeGates writes what decoders compute row by row beside products: gated
// activations, the parts of RMS normalisation, rotary positions, float16 for the
// cache.
func writeGates(w *writer) {
	for _, v := range widths(w) {
		v.unaryAbreast("silu", (*vectorWriter).silu)
		v.unary("gelu", 1, (*vectorWriter).gelu)
		v.binary("mulScaled", 4, func(w *vectorWriter) {
			w.do(x86.VMULPS(w.v(sScale), w.v(0), w.v(0)))
			w.do(x86.VMULPS(w.v(1), w.v(0), w.v(0)))
		})
		v.sumSquares()
		v.narrow()
		v.turnHalves()
		v.turnPairs()
	}
}

// silu replaces vector 0 by x·sigmoid(x).
func (w *vectorWriter) silu() {
	w.sigmoid()
	w.do(x86.VMULPS(w.v(6), w.v(0), w.v(0)))
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
	w.join(0)
	w.do(x86.VMOVUPS(w.v(0), mem(regY, 0)))
	w.done()
}

// narrow rounds to float16, to even; n is a multiple of 16.
func (w *vectorWriter) narrow() {
	w.function("narrow"+w.suffix, "func(dst *uint16, x *float32, n int)", "narrow"+w.suffix+" rounds n float32 to float16.")
	w.load("dst", regY)
	w.load("x", regX1)
	w.load("n", regN)
	w.label("loop")
	for i := range 16 / w.lanes {
		w.do(x86.VMOVUPS(mem(regX1, i*w.bytes()), w.v(i)))
		w.do(x86.VCVTPS2PH(operand.U8(0), w.v(i), mem(regY, i*w.bytes()/2)))
	}
	w.do(x86.ADDQ(operand.U32(64), regX1))
	w.do(x86.ADDQ(operand.U32(32), regY))
	w.do(x86.SUBQ(operand.U32(16), regN))
	w.do(x86.JNZ(to("loop")))
	w.done()
}

// turnHalves: the first n elements against the next n, by cosines and sines.
func (w *vectorWriter) turnHalves() {
	low, high, cos, sin := reg.RDI, reg.RSI, reg.RDX, reg.R8
	w.function("turnHalves"+w.suffix, "func(low, high, cos, sin *float32, n int)", "turnHalves"+w.suffix+" turns pairs (low[i], high[i]) by angles; n is a multiple of the lanes.")
	w.load("low", low)
	w.load("high", high)
	w.load("cos", cos)
	w.load("sin", sin)
	w.load("n", regN)
	w.label("loop")
	for i, p := range []reg.GPPhysical{low, high, cos, sin} {
		w.do(x86.VMOVUPS(mem(p, 0), w.v(i)))
	}
	w.do(x86.VMULPS(w.v(3), w.v(1), w.v(4)))
	w.do(x86.VFMSUB231PS(w.v(2), w.v(0), w.v(4))) // cos·low - sin·high
	w.do(x86.VMULPS(w.v(3), w.v(0), w.v(5)))
	w.do(x86.VFMADD231PS(w.v(2), w.v(1), w.v(5))) // cos·high + sin·low
	w.do(x86.VMOVUPS(w.v(4), mem(low, 0)))
	w.do(x86.VMOVUPS(w.v(5), mem(high, 0)))
	for _, p := range []reg.GPPhysical{low, high, cos, sin} {
		w.do(x86.ADDQ(operand.U32(w.bytes()), p))
	}
	w.do(x86.SUBQ(operand.U32(w.lanes), regN))
	w.do(x86.JNZ(to("loop")))
	w.done()
}

// turnPairs: each element of even index against the next.
func (w *vectorWriter) turnPairs() {
	x, cos, sin := reg.RDI, reg.RDX, reg.R8
	w.function("turnPairs"+w.suffix, "func(x, cos, sin *float32, n int)", "turnPairs"+w.suffix+" turns n pairs (x[2i], x[2i+1]) by angles; n is a multiple of half the lanes.")
	w.load("x", x)
	w.load("cos", cos)
	w.load("sin", sin)
	w.load("n", regN)
	w.label("loop")
	w.do(x86.VMOVUPS(mem(x, 0), w.v(0)))
	for i, p := range []reg.GPPhysical{cos, sin} { // each twice
		w.do(x86.VPMOVZXDQ(mem(p, 0), w.v(1+i)))
		w.do(x86.VMOVSLDUP(w.v(1+i), w.v(1+i)))
	}
	w.do(x86.VPERMILPS(operand.U8(0xb1), w.v(0), w.v(3)))
	w.do(x86.VMULPS(w.v(2), w.v(3), w.v(3)))
	w.do(x86.VFMADDSUB213PS(w.v(3), w.v(1), w.v(0)))
	w.do(x86.VMOVUPS(w.v(0), mem(x, 0)))
	w.do(x86.ADDQ(operand.U32(w.bytes()), x))
	w.do(x86.ADDQ(operand.U32(w.bytes()/2), cos))
	w.do(x86.ADDQ(operand.U32(w.bytes()/2), sin))
	w.do(x86.SUBQ(operand.U32(w.lanes/2), regN))
	w.do(x86.JNZ(to("loop")))
	w.done()
}
