package main

import (
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

// writeDotTile writes the tile of words of two bfloat16.
func writeDotTile(w *writer) {
	(&tileWriter{writer: w, name: "tileDotAVX512", rows: 12, lanes: 16, unroll: 2, b2: dots}).write()
}

// dot writes VDPBF16PS acc += x·y.
func (w *writer) dot(x, y, acc reg.VecPhysical) { w.ofBFloat16(2, 0x52, x, y, acc) }

// convert writes VCVTNE2PS2BF16: dst is y in its lower half and x in its upper one.
func (w *writer) convert(x, y, dst reg.VecPhysical) { w.ofBFloat16(3, 0x72, x, y, dst) }

// ofBFloat16 writes an instruction of AVX512_BF16, which neither avo nor Go's assembler
// knows, as bytes: EVEX.512.prefix.0F38.W0 opcode /r. The prefix, of which F3 is 2 and F2
// is 3, holds the upper bits of registers inverted.
func (w *writer) ofBFloat16(prefix, opcode uint32, x, y, dst reg.VecPhysical) {
	number := func(v reg.VecPhysical) uint32 { return uint32(v.PhysicalIndex()) }
	inverted := func(v reg.VecPhysical, bit int) uint32 { return ^number(v) >> bit & 1 }
	const map0F38, vectors512, registers = 2, 2 << 5, 0xc0
	bytes := [6]uint32{
		0x62,
		inverted(dst, 3)<<7 | inverted(y, 4)<<6 | inverted(y, 3)<<5 | inverted(dst, 4)<<4 | map0F38,
		(^number(x)&15)<<3 | 1<<2 | prefix,
		vectors512 | inverted(x, 4)<<3,
		opcode,
		registers | number(dst)&7<<3 | number(y)&7,
	}
	long := operand.U32(bytes[0] | bytes[1]<<8 | bytes[2]<<16 | bytes[3]<<24)
	word := operand.U16(bytes[4] | bytes[5]<<8)
	w.do(&ir.Instruction{Opcode: "LONG", Operands: []operand.Op{long}}, nil)
	w.do(&ir.Instruction{Opcode: "WORD", Operands: []operand.Op{word}}, nil)
}

// writeBFloat16 writes the kernels that round to bfloat16. n counts whole vectors'
// elements.
func writeBFloat16(w *writer) {
	for _, v := range widths(w) {
		v.function("roundBFloat16"+v.suffix, "func(y, x *float32, n int)",
			"roundBFloat16"+v.suffix+" rounds to the nearest bfloat16, halves to even.")
		v.load("y", regY)
		v.load("x", regX1)
		v.load("n", regN)
		v.loop(regN, []reg.GPPhysical{regY, regX1}, 4, func(disp int) {
			v.do(x86.VMOVUPS(mem(regX1, disp), v.v(0)))
			v.bfloat16()
			v.do(x86.VMOVUPS(v.v(0), mem(regY, disp)))
		})
		v.done()
	}
	v := widths(w)[0]
	v.function("narrowBFloat16AVX512", "func(y *uint16, x *float32, n int)", "narrowBFloat16AVX512 writes the nearest bfloat16, halves to even.")
	v.load("y", regY)
	v.load("x", regX1)
	v.load("n", regN)
	v.each(regN, []stream{{regY, 2}, {regX1, 4}}, func() {
		v.do(x86.VMOVUPS(mem(regX1, 0), v.v(0)))
		v.bfloat16()
		v.do(x86.VPSRLD(operand.U8(16), v.v(0), v.v(0)))
		v.do(x86.VPMOVDW(v.v(0), mem(regY, 0)))
	})
	v.function("pairBFloat16AVX512", "func(y *uint32, lower, upper *float32, n int)",
		"pairBFloat16AVX512 writes the bfloat16 nearest to two numbers as one word, halves to even.")
	v.load("y", regY)
	v.load("lower", regX1)
	v.load("upper", regX2)
	v.load("n", regN)
	v.each(regN, []stream{{regY, 4}, {regX1, 4}, {regX2, 4}}, func() {
		v.do(x86.VMOVUPS(mem(regX1, 0), v.v(0)))
		v.bfloat16()
		v.do(x86.VPSRLD(operand.U8(16), v.v(0), v.v(3)))
		v.do(x86.VMOVUPS(mem(regX2, 0), v.v(0)))
		v.bfloat16()
		v.do(x86.VORPS(v.v(3), v.v(0), v.v(0)))
		v.do(x86.VMOVUPS(v.v(0), mem(regY, 0)))
	})
	writeDotWords(v)
}

// writeDotWords writes the kernel that makes words for dot products of an even number of
// elements, 32 at a time and the rest by masks.
func writeDotWords(v *vectorWriter) {
	v.function("wordsBFloat16AVX512", "func(y *uint32, x *float32, n int)", "wordsBFloat16AVX512 rounds as dot products take numbers: see ref.DotBFloat16.")
	v.load("y", regY)
	v.load("x", regX1)
	v.load("n", regN)
	const most = 32
	v.do(x86.SUBQ(operand.U8(most), regN))
	v.do(x86.JL(to("rest")))
	v.label("loop")
	v.do(x86.VMOVUPS(mem(regX1, 0), v.v(0)))
	v.do(x86.VMOVUPS(mem(regX1, 64), v.v(1)))
	v.convert(v.v(1), v.v(0), v.v(0))
	v.do(x86.VMOVUPS(v.v(0), mem(regY, 0)))
	v.do(x86.ADDQ(operand.U32(4*most), regX1))
	v.do(x86.ADDQ(operand.U8(2*most), regY))
	v.do(x86.SUBQ(operand.U8(most), regN))
	v.do(x86.JGE(to("loop")))
	v.label("rest")
	v.do(x86.ADDQ(operand.U8(most), regN))
	v.do(x86.JZ(to("end")))
	for i, bits := range []reg.GPPhysical{regTmp, regX2} { // of elements, and of words
		v.do(x86.MOVL(operand.U32(1<<32-1), bits.As32()))
		v.do(x86.BZHIL(regN.As32(), bits.As32(), bits.As32()))
		v.do(x86.SHRQ(operand.U8(1), regN))
		v.do(x86.KMOVW(bits.As32(), []reg.OpmaskPhysical{reg.K1, reg.K3}[i]))
	}
	v.do(x86.SHRL(operand.U8(16), regTmp.As32()))
	v.do(x86.KMOVW(regTmp.As32(), reg.K2))
	v.do(x86.VMOVUPS_Z(mem(regX1, 0), reg.K1, v.v(0)))
	v.do(x86.VMOVUPS_Z(mem(regX1, 64), reg.K2, v.v(1)))
	v.convert(v.v(1), v.v(0), v.v(0))
	v.do(x86.VMOVUPS(v.v(0), reg.K3, mem(regY, 0)))
	v.label("end")
	v.done()
}

// bfloat16 rounds vector 0: it adds to the bits half of what goes, less one unless what
// stays is odd. Every NaN becomes one. It uses vectors 1 and 2.
func (w *vectorWriter) bfloat16() {
	w.do(x86.VPSRLD(operand.U8(16), w.v(0), w.v(1)))
	w.do(x86.VANDPS(w.constant(1), w.v(1), w.v(1)))
	w.do(x86.VPADDD(w.constant(0x7fff), w.v(1), w.v(1)))
	w.do(x86.VPADDD(w.v(0), w.v(1), w.v(1)))
	w.do(x86.VANDPS(w.constant(0xffff0000), w.v(1), w.v(1)))
	if w.lanes == 16 {
		w.do(x86.VCMPPS(unordered, w.v(0), w.v(0), reg.K1))
		w.do(x86.VMOVUPS(w.constant(quietNaN), reg.K1, w.v(1)))
		w.do(x86.VMOVAPS(w.v(1), w.v(0)))
		return
	}
	w.do(x86.VCMPPS(unordered, w.v(0), w.v(0), w.v(2)))
	w.do(x86.VBLENDVPS(w.v(2), w.constant(quietNaN), w.v(1), w.v(0)))
}

const quietNaN = 0x7fc00000
