package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

// writeQuantize writes the kernels that turn float32 into records of 32 signed
// bytes; kernel/ref.Quantize and QuantizeSuper say what is in a record.
func writeQuantize(w *writer) {
	for _, v := range widths(w) {
		v.quantize()
		v.quantizeSuper()
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

// quantizeSuper has one scale for eight records. If a sum of sixteen magnitudes passes
// what products of 16 bits allow, the scale grows and the records are written once more.
func (w *vectorWriter) quantizeSuper() {
	w.function("quantizeSuper"+w.suffix, "func(dst *byte, x *float32, n int)", "quantizeSuper"+w.suffix+" writes n times eight records of 32 elements.")
	dst, src, n, left, tries := reg.RDI, reg.RSI, reg.RCX, reg.RDX, reg.R8
	w.load("dst", dst)
	w.load("x", src)
	w.load("n", n)
	const top, t, scale, inverse, most = 4, 5, 6, 7, 10
	w.label("loop")
	w.zero(top)
	for i := range 256 / w.lanes {
		w.do(x86.VMOVUPS(mem(src, i*w.bytes()), w.v(t)))
		w.do(x86.VANDPS(w.constant(signBit-1), w.v(t), w.v(t)))
		w.do(x86.VMAXPS(w.v(t), w.v(top), w.v(top)))
	}
	w.fold(top, t, func(a, b, to reg.Register) { w.do(x86.VMAXPS(a, b, to)) })
	w.do(x86.VDIVSS(w.float(127), w.x(top), w.x(scale)))
	w.do(x86.VMAXSS(w.float(1e-30), w.x(top), w.x(top)))
	w.do(x86.VMOVSS(w.float(127), w.x(inverse)))
	w.do(x86.VDIVSS(w.x(top), w.x(inverse), w.x(inverse)))
	w.do(x86.MOVQ(operand.U32(2), tries))
	w.label("again")
	w.do(x86.VBROADCASTSS(w.x(inverse), w.v(inverse)))
	w.zero(most)
	w.do(x86.MOVQ(operand.U32(8), left))
	w.label("record")
	w.superRecord(dst, src, scale, inverse, most)
	w.do(x86.ADDQ(operand.U32(32*4), src))
	w.do(x86.ADDQ(operand.U32(recBytes), dst))
	w.do(x86.DECQ(left))
	w.do(x86.JNZ(to("record")))
	w.do(x86.VEXTRACTI128(operand.U8(1), ymm[most], w.x(t)))
	w.do(x86.VPMAXSD(w.x(t), w.x(most), w.x(most)))
	w.do(x86.VMOVD(w.x(most), left.As32()))
	w.do(x86.CMPL(left.As32(), operand.U32(mostMagnitude)))
	w.do(x86.JLE(to("next")))
	w.do(x86.DECQ(tries))
	w.do(x86.JZ(to("next"))) // not numbers
	w.do(x86.ADDL(operand.U8(8), left.As32()))
	w.zero(t)
	w.do(x86.VCVTSI2SSL(left.As32(), w.x(t), w.x(t)))
	w.do(x86.VDIVSS(w.float(mostMagnitude-8), w.x(t), w.x(t)))
	w.do(x86.VMULSS(w.x(t), w.x(scale), w.x(scale)))
	w.do(x86.VDIVSS(w.x(t), w.x(inverse), w.x(inverse)))
	w.do(x86.SUBQ(operand.U32(256*4), src))
	w.do(x86.SUBQ(operand.U32(8*recBytes), dst))
	w.do(x86.JMP(to("again")))
	w.label("next")
	w.do(x86.DECQ(n))
	w.do(x86.JNZ(to("loop")))
	w.done()
}

// mostMagnitude is kernel/ref.MostMagnitude.
const mostMagnitude = 1023

// superRecord writes one record by a scale that is given, and keeps the largest sum of
// sixteen magnitudes in the lanes of most.
func (w *vectorWriter) superRecord(dst, src reg.Register, scale, inverse, most int) {
	const codes, sums, high, t, none = 8, 9, 1, 0, 2
	for i := range 32 / w.lanes {
		w.do(x86.VMULPS(mem(src, i*w.bytes()), w.v(inverse), w.v(i)))
		w.do(x86.VCVTPS2DQ(w.v(i), w.v(i)))
	}
	if w.lanes == 16 {
		w.do(x86.VPMOVSDB(w.v(0), w.x(codes)))
		w.do(x86.VPMOVSDB(w.v(1), w.x(t)))
		w.do(x86.VINSERTI128(operand.U8(1), w.x(t), ymm[codes], ymm[codes]))
		w.do(x86.VMOVUPS(ymm[codes], mem(dst, 0)))
	} else {
		w.storeCodes(dst)
	}
	w.do(x86.VPXOR(ymm[none], ymm[none], ymm[none]))
	// Sums of eight bytes without signs, then of sixteen.
	sixteen := func(v int) {
		w.do(x86.VPSADBW(ymm[none], ymm[v], ymm[v]))
		w.do(x86.VPSHUFD(operand.U8(0x4e), ymm[v], ymm[t]))
		w.do(x86.VPADDD(ymm[t], ymm[v], ymm[v]))
	}
	w.do(x86.VPXOR(w.constant(0x80808080), ymm[codes], ymm[sums]))
	sixteen(sums)
	w.do(x86.VPSUBD(w.constant(16*128), ymm[sums], ymm[sums]))
	w.do(x86.VPABSB(ymm[codes], ymm[codes]))
	sixteen(codes)
	w.do(x86.VPMAXSD(ymm[codes], ymm[most], ymm[most]))
	w.do(x86.VEXTRACTI128(operand.U8(1), ymm[sums], w.x(high)))
	w.do(x86.VMOVSS(w.x(scale), mem(dst, recScale)))
	w.do(x86.VPADDD(w.x(sums), w.x(high), w.x(codes)))
	w.do(x86.VCVTDQ2PS(w.x(codes), w.x(t)))
	w.do(x86.VMULSS(w.x(scale), w.x(t), w.x(t)))
	w.do(x86.VMOVSS(w.x(t), mem(dst, recSum)))
	for _, s := range []struct{ v, shift, at int }{{sums, 5, recLow}, {high, 5, recHigh}, {codes, 4, recStart}} {
		w.do(x86.VPSLLD(operand.U8(s.shift), w.x(s.v), w.x(s.v)))
		w.do(x86.VPSUBD(w.x(s.v), w.x(none), w.x(s.v)))
		w.do(x86.VMOVD(w.x(s.v), mem(dst, s.at)))
	}
}
