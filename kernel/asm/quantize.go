package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

// writeQuantize writes the kernels that turn float32 into records of 32 signed
// bytes; kernel/ref.Quantize says what is in a record.
func writeQuantize(w *writer) {
	for _, v := range widths(w) {
		v.quantize()
	}
}

func (w *vectorWriter) quantize() {
	w.function("quantize"+w.suffix, "func(dst *byte, x *float32, n int)", "quantize"+w.suffix+" writes n records of 32 elements.")
	dst, src, n := reg.RDI, reg.RSI, reg.RCX
	w.load("dst", dst)
	w.load("x", src)
	w.load("n", n)
	vectors := 32 / w.lanes
	x := func(i int) reg.VecPhysical { return w.v(i) }
	w.label("loop")
	for i := range vectors {
		w.do(x86.VMOVUPS(mem(src, i*w.bytes()), x(i)))
	}
	const top, t = 4, 5
	w.do(x86.VANDPS(w.constant(signBit-1), x(0), w.v(top)))
	for i := 1; i < vectors; i++ {
		w.do(x86.VANDPS(w.constant(signBit-1), x(i), w.v(t)))
		w.do(x86.VMAXPS(w.v(t), w.v(top), w.v(top)))
	}
	w.fold(top, t, func(a, b, to reg.Register) { w.do(x86.VMAXPS(a, b, to)) })
	// scale = top/127, and 127/top for the codes.
	const scale = 6
	w.do(x86.VDIVSS(w.float(127), w.x(top), w.x(scale)))
	w.do(x86.VMOVSS(w.x(scale), mem(dst, recScale)))
	w.do(x86.VMAXSS(w.float(1e-30), w.x(top), w.x(top)))
	w.do(x86.VMOVSS(w.float(127), w.x(t)))
	w.do(x86.VDIVSS(w.x(top), w.x(t), w.x(t)))
	w.do(x86.VBROADCASTSS(w.x(t), w.v(t)))
	for i := range vectors {
		w.do(x86.VMULPS(w.v(t), x(i), x(i)))
		w.do(x86.VCVTPS2DQ(x(i), x(i)))
	}
	w.storeCodes(dst)
	if w.lanes == 8 {
		w.do(x86.VPADDD(x(1), x(0), x(0)))
		w.do(x86.VPADDD(x(3), x(2), x(1)))
	}
	for i := range 2 {
		w.fold(i, t, func(a, b, to reg.Register) { w.do(x86.VPADDD(a, b, to)) })
	}
	w.do(x86.VPADDD(w.x(0), w.x(1), w.x(2)))
	w.do(x86.VCVTDQ2PS(w.x(2), w.x(t)))
	w.do(x86.VMULSS(w.x(scale), w.x(t), w.x(t)))
	w.do(x86.VMOVSS(w.x(t), mem(dst, recSum)))
	w.zero(3)
	for i, at := range []int{recLow, recHigh, recStart} {
		w.do(x86.VPSLLD(operand.U8(7), w.x(i), w.x(i)))
		w.do(x86.VPSUBD(w.x(i), w.x(3), w.x(i)))
		w.do(x86.VMOVD(w.x(i), mem(dst, at)))
	}
	w.do(x86.ADDQ(operand.U32(32*4), src))
	w.do(x86.ADDQ(operand.U32(recBytes), dst))
	w.do(x86.DECQ(n))
	w.do(x86.JNZ(to("loop")))
	w.done()
}

// fold combines the lanes of vector v into its first; t is spare.
func (w *vectorWriter) fold(v, t int, combine func(a, b, to reg.Register)) {
	if w.lanes == 16 {
		w.do(x86.VEXTRACTF64X4(operand.U8(1), w.v(v), ymm[t]))
		combine(ymm[t], ymm[v], ymm[v])
	}
	w.do(x86.VEXTRACTF128(operand.U8(1), ymm[v], w.x(t)))
	combine(w.x(t), w.x(v), w.x(v))
	for _, order := range []uint8{0x4e, 0xb1} { // halves, then neighbours
		w.do(x86.VPSHUFD(operand.U8(order), w.x(v), w.x(t)))
		combine(w.x(t), w.x(v), w.x(v))
	}
}

// storeCodes writes the integers of vectors 0 to 3 (0 and 1 of 16 lanes) as
// signed bytes and leaves them as they are.
func (w *vectorWriter) storeCodes(dst reg.Register) {
	if w.lanes == 16 {
		w.do(x86.VPMOVSDB(w.v(0), mem(dst, 0)))
		w.do(x86.VPMOVSDB(w.v(1), mem(dst, 16)))
		return
	}
	for i := range 2 {
		// Packing works within 128 bits: the words of both vectors alternate.
		w.do(x86.VPACKSSDW(w.v(2*i+1), w.v(2*i), w.v(8+i)))
		w.do(x86.VPERMQ(operand.U8(0xd8), w.v(8+i), w.v(8+i)))
	}
	w.do(x86.VPACKSSWB(w.v(9), w.v(8), w.v(8)))
	w.do(x86.VPERMQ(operand.U8(0xd8), w.v(8), w.v(8)))
	w.do(x86.VMOVUPS(w.v(8), mem(dst, 0)))
}
