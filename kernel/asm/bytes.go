package main

import (
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

// writeBytes writes the kernels between float32 and bytes with one scale and zero
// point, and what becomes of the exact sums of products of bytes. n counts whole
// vectors' elements.
func writeBytes(w *writer) {
	w.packWords()
	for _, v := range widths(w) {
		v.extremes()
		v.quantizeBytes()
		v.magnitude()
		v.steps()
		v.dequantizeBytes(false)
		v.dequantizeBytes(true)
		v.scaleSums(false)
		v.scaleSums(true)
		v.requantize()
		v.addMultiple()
		v.widenBytes()
		v.lookup()
		for _, signed := range []bool{false, true} {
			suffix := "Uint8"
			if signed {
				suffix = "Int8"
			}
			v.combineBytes("add"+suffix, addFloats, signed)
			v.combineBytes("mul"+suffix, mulFloats, signed)
			v.maxWindows(signed)
		}
	}
}

// stream is a pointer that moves on by so many bytes for an element.
type stream struct {
	r    reg.Register
	size int
}

// each runs body for every vector of n elements, not none.
func (w *vectorWriter) each(n reg.Register, streams []stream, body func()) {
	w.label("loop")
	body()
	for _, s := range streams {
		w.do(x86.ADDQ(operand.U32(s.size*w.lanes), s.r))
	}
	w.do(x86.SUBQ(operand.U32(w.lanes), n))
	w.do(x86.JNZ(to("loop")))
	w.done()
}

// extremes: least and greatest elements of lanes, beginning with what is there.
func (w *vectorWriter) extremes() {
	w.function("extremes"+w.suffix, "func(lanes, x *float32, n int)",
		"extremes"+w.suffix+" lowers a vector of lanes to the elements of x and raises the one after it, passing over NaN.")
	w.load("lanes", regY)
	w.load("x", regX1)
	w.load("n", regN)
	for i := range 4 {
		w.do(x86.VMOVUPS(mem(regY, i%2*w.bytes()), w.v(i)))
	}
	w.loopPairs(func(disp, at int) {
		w.do(x86.VMOVUPS(mem(regX1, disp), w.v(4+at)))
		w.do(x86.VMINPS(w.v(at), w.v(4+at), w.v(at))) // returns the second source, the extreme, beside NaN
		w.do(x86.VMAXPS(w.v(at+1), w.v(4+at), w.v(at+1)))
	})
	w.do(x86.VMINPS(w.v(2), w.v(0), w.v(0)))
	w.do(x86.VMAXPS(w.v(3), w.v(1), w.v(1)))
	w.do(x86.VMOVUPS(w.v(0), mem(regY, 0)))
	w.do(x86.VMOVUPS(w.v(1), mem(regY, w.bytes())))
	w.done()
}

// loopPairs is loop over x, two vectors at a time that belong to places 0 and 2.
func (w *vectorWriter) loopPairs(body func(disp, at int)) {
	i := 0
	w.loop(regN, []reg.GPPhysical{regX1}, 2, func(disp int) {
		body(disp, i%2*2)
		i++
	})
}

// limits loads what quantizing takes: the ends of the range less the zero point into
// 12 and 13, the zero point into 14.
func (w *vectorWriter) limits() {
	w.do(x86.VBROADCASTSS(w.param("lo"), w.v(12)))
	w.do(x86.VBROADCASTSS(w.param("hi"), w.v(13)))
	w.do(x86.VBROADCASTSS(w.param("zero"), w.v(14)))
}

// storeBytes saturates and rounds vector 0 and writes it as bytes, less or greater by
// the zero point.
func (w *vectorWriter) storeBytes(dst reg.Register) {
	w.do(x86.VMAXPS(w.v(12), w.v(0), w.v(0))) // NaN becomes the least
	w.do(x86.VMINPS(w.v(13), w.v(0), w.v(0)))
	w.do(x86.VCVTPS2DQ(w.v(0), w.v(0)))
	w.do(x86.VPADDD(w.v(14), w.v(0), w.v(0)))
	w.putBytes(dst, 0)
}

// putBytes writes the low bytes of vector 0.
func (w *vectorWriter) putBytes(dst reg.Register, disp int) {
	if w.lanes == 16 {
		w.do(x86.VPMOVDB(w.v(0), mem(dst, disp)))
		return
	}
	w.do(x86.VPAND(w.constant(0xff), w.v(0), w.v(0)))
	w.do(x86.VPACKSSDW(w.v(0), w.v(0), w.v(0)))
	w.do(x86.VPERMQ(operand.U8(0xd8), w.v(0), w.v(0)))
	w.do(x86.VPACKUSWB(w.x(0), w.x(0), w.x(0)))
	w.do(x86.VMOVQ(w.x(0), mem(dst, disp)))
}

func (w *vectorWriter) quantizeBytes() {
	w.function("quantizeBytes"+w.suffix, "func(dst *byte, x *float32, n int, scale, lo, hi float32, zero int32)",
		"quantizeBytes"+w.suffix+" writes round(x/scale) + zero as bytes; lo and hi are the ends of their range less zero.")
	w.load("dst", regY)
	w.load("x", regX1)
	w.load("n", regN)
	w.do(x86.VBROADCASTSS(w.param("scale"), w.v(sScale)))
	w.limits()
	w.each(regN, []stream{{regY, 1}, {regX1, 4}}, func() {
		w.do(x86.VMOVUPS(mem(regX1, 0), w.v(0)))
		w.do(x86.VDIVPS(w.v(sScale), w.v(0), w.v(0)))
		w.storeBytes(regY)
	})
}

// magnitude takes the greatest of the bits without the sign, as whole numbers: NaN is
// greater than any number.
func (w *vectorWriter) magnitude() {
	w.function("magnitude"+w.suffix, "func(lanes *uint32, x *float32, n int)",
		"magnitude"+w.suffix+" raises a vector of lanes to the bits of |x|; those of NaN are the greatest.")
	w.load("lanes", regY)
	w.load("x", regX1)
	w.load("n", regN)
	w.do(x86.VMOVUPS(mem(regY, 0), w.v(0)))
	for i := 1; i < 4; i++ {
		w.do(x86.VMOVUPS(w.v(0), w.v(i)))
	}
	w.do(x86.VMOVUPS(w.constant(0x7fffffff), w.v(sScale)))
	i := 0
	w.loop(regN, []reg.GPPhysical{regX1}, 4, func(disp int) {
		w.do(x86.VANDPS(mem(regX1, disp), w.v(sScale), w.v(4+i%4)))
		w.do(x86.VPMAXUD(w.v(4+i%4), w.v(i%4), w.v(i%4)))
		i++
	})
	w.do(x86.VPMAXUD(w.v(1), w.v(0), w.v(0)))
	w.do(x86.VPMAXUD(w.v(3), w.v(2), w.v(2)))
	w.do(x86.VPMAXUD(w.v(2), w.v(0), w.v(0)))
	w.do(x86.VMOVUPS(w.v(0), mem(regY, 0)))
	w.done()
}

// steps is for numbers that factor makes no greater than 127.
func (w *vectorWriter) steps() {
	w.function("steps"+w.suffix, "func(dst *byte, x *float32, n int, factor float32)", "steps"+w.suffix+" writes round(x·factor) + 128 as bytes.")
	w.load("dst", regY)
	w.load("x", regX1)
	w.load("n", regN)
	w.do(x86.VBROADCASTSS(w.param("factor"), w.v(sScale)))
	w.do(x86.VMOVUPS(w.constant(128), w.v(14)))
	w.loopBytes(regN, func(at int) {
		w.do(x86.VMULPS(mem(regX1, 4*at), w.v(sScale), w.v(0)))
		w.do(x86.VCVTPS2DQ(w.v(0), w.v(0)))
		w.do(x86.VPADDD(w.v(14), w.v(0), w.v(0)))
		w.putBytes(regY, at)
	})
}

// loopBytes runs body for n elements, four vectors at a time, that are read at regX1 and
// written as bytes at regY: at is the element's place.
func (w *vectorWriter) loopBytes(n reg.GPPhysical, body func(at int)) {
	w.do(x86.SUBQ(operand.U32(4*w.lanes), n))
	w.do(x86.JL(to("rest")))
	w.label("loop")
	for i := range 4 {
		body(i * w.lanes)
	}
	w.do(x86.ADDQ(operand.U32(4*w.bytes()), regX1))
	w.do(x86.ADDQ(operand.U32(4*w.lanes), regY))
	w.do(x86.SUBQ(operand.U32(4*w.lanes), n))
	w.do(x86.JGE(to("loop")))
	w.label("rest")
	w.do(x86.ADDQ(operand.U32(4*w.lanes), n))
	w.do(x86.JZ(to("end")))
	w.label("single")
	body(0)
	w.do(x86.ADDQ(operand.U32(w.bytes()), regX1))
	w.do(x86.ADDQ(operand.U32(w.lanes), regY))
	w.do(x86.SUBQ(operand.U32(w.lanes), n))
	w.do(x86.JNZ(to("single")))
	w.label("end")
	w.done()
}

func (w *vectorWriter) dequantizeBytes(signed bool) {
	name, widen := "dequantizeUint8"+w.suffix, x86.VPMOVZXBD
	if signed {
		name, widen = "dequantizeInt8"+w.suffix, x86.VPMOVSXBD
	}
	w.function(name, "func(y *float32, x *byte, n int, scale, zero float32)", name+" writes (x-zero)·scale.")
	w.load("y", regY)
	w.load("x", regX1)
	w.load("n", regN)
	w.do(x86.VBROADCASTSS(w.param("scale"), w.v(sScale)))
	w.do(x86.VBROADCASTSS(w.param("zero"), w.v(14)))
	w.each(regN, []stream{{regY, 4}, {regX1, 1}}, func() {
		w.do(widen(mem(regX1, 0), w.v(0)))
		w.do(x86.VCVTDQ2PS(w.v(0), w.v(0)))
		w.do(x86.VSUBPS(w.v(14), w.v(0), w.v(0)))
		w.do(x86.VMULPS(w.v(sScale), w.v(0), w.v(0)))
		w.do(x86.VMOVUPS(w.v(0), mem(regY, 0)))
	})
}

// scaleSums rounds after the product of the scales, after the multiplication and
// after the addition, as three operators would.
func (w *vectorWriter) scaleSums(biased bool) {
	name, params, doc := "scaleSums"+w.suffix, "y *float32, c *int32, scale *float32", " writes c·(s·scale)."
	if biased {
		name, params, doc = "scaleSumsBias"+w.suffix, "y *float32, c *int32, scale, bias *float32", " writes c·(s·scale) + bias."
	}
	w.function(name, "func("+params+", n int, s float32)", name+doc)
	regBias := reg.R8
	pointers := []reg.GPPhysical{regY, regX1, regX2}
	w.load("y", regY)
	w.load("c", regX1)
	w.load("scale", regX2)
	if biased {
		w.load("bias", regBias)
		pointers = append(pointers, regBias)
	}
	w.load("n", regN)
	w.do(x86.VBROADCASTSS(w.param("s"), w.v(sScale)))
	w.loop(regN, pointers, 4, func(disp int) {
		w.do(x86.VCVTDQ2PS(mem(regX1, disp), w.v(0)))
		w.do(x86.VMULPS(mem(regX2, disp), w.v(sScale), w.v(1)))
		w.do(x86.VMULPS(w.v(1), w.v(0), w.v(0)))
		if biased {
			w.do(x86.VADDPS(mem(regBias, disp), w.v(0), w.v(0)))
		}
		w.do(x86.VMOVUPS(w.v(0), mem(regY, disp)))
	})
	w.done()
}

func (w *vectorWriter) requantize() {
	w.function("requantize"+w.suffix, "func(dst *byte, c *int32, scale *float32, n int, lo, hi float32, zero int32)",
		"requantize"+w.suffix+" writes round(c·scale) + zero as bytes; lo and hi are the ends of their range less zero.")
	w.load("dst", regY)
	w.load("c", regX1)
	w.load("scale", regX2)
	w.load("n", regN)
	w.limits()
	w.each(regN, []stream{{regY, 1}, {regX1, 4}, {regX2, 4}}, func() {
		w.do(x86.VCVTDQ2PS(mem(regX1, 0), w.v(0)))
		w.do(x86.VMULPS(mem(regX2, 0), w.v(0), w.v(0)))
		w.storeBytes(regY)
	})
}

func (w *vectorWriter) addMultiple() {
	w.function("addMultiple"+w.suffix, "func(c, z *int32, n int, s int32)", "addMultiple"+w.suffix+" adds z·s to c.")
	w.load("c", regY)
	w.load("z", regX1)
	w.load("n", regN)
	w.do(x86.VBROADCASTSS(w.param("s"), w.v(sScale)))
	w.each(regN, []stream{{regY, 4}, {regX1, 4}}, func() {
		w.do(x86.VPMULLD(mem(regX1, 0), w.v(sScale), w.v(0)))
		w.do(x86.VPADDD(mem(regY, 0), w.v(0), w.v(0)))
		w.do(x86.VMOVUPS(w.v(0), mem(regY, 0)))
	})
}

// widenBytes is for processors without dot products of bytes.
func (w *vectorWriter) widenBytes() {
	w.function("widenBytes"+w.suffix, "func(dst *int16, x *byte, n int, flip uint32)", "widenBytes"+w.suffix+" widens bytes, xor those of flip, to 16 bits.")
	w.load("dst", regY)
	w.load("x", regX1)
	w.load("n", regN)
	half := w.v(1).AsY()
	if w.lanes == 8 {
		half = w.v(1).AsX()
	}
	w.do(x86.VBROADCASTSS(w.param("flip"), w.v(sScale).AsX()))
	w.each(regN, []stream{{regY, 2}, {regX1, 1}}, func() {
		if w.lanes == 16 {
			w.do(x86.VMOVUPS(mem(regX1, 0), w.x(0)))
		} else {
			w.do(x86.VMOVQ(mem(regX1, 0), w.x(0)))
		}
		w.do(x86.VXORPS(w.x(sScale), w.x(0), w.x(0)))
		w.do(x86.VPMOVZXBW(w.x(0), half))
		w.do(x86.VMOVUPS(half, mem(regY, 0)))
	})
}

// combineBytes writes the sum or the product of bytes with factors of their own.
func (w *vectorWriter) combineBytes(name string, combine func(x, y, z operand.Op) (*ir.Instruction, error), signed bool) {
	widen := x86.VPMOVZXBD
	if signed {
		widen = x86.VPMOVSXBD
	}
	w.function(name+w.suffix, "func(dst, a, b *byte, n int, factorA, zeroA, factorB, zeroB, lo, hi float32, zero int32)",
		name+w.suffix+" writes round(f((a-zeroA)·factorA, (b-zeroB)·factorB)) + zero as bytes; lo and hi are the ends of their range less zero.")
	w.load("dst", regY)
	w.load("a", regX1)
	w.load("b", regX2)
	w.load("n", regN)
	for i, p := range []string{"factorA", "zeroA", "factorB", "zeroB"} {
		w.do(x86.VBROADCASTSS(w.param(p), w.v(8+i)))
	}
	w.limits()
	w.each(regN, []stream{{regY, 1}, {regX1, 1}, {regX2, 1}}, func() {
		for i, r := range []reg.Register{regX1, regX2} {
			w.do(widen(mem(r, 0), w.v(i)))
			w.do(x86.VCVTDQ2PS(w.v(i), w.v(i)))
			w.do(x86.VSUBPS(w.v(9+2*i), w.v(i), w.v(i)))
			w.do(x86.VMULPS(w.v(8+2*i), w.v(i), w.v(i)))
		}
		w.do(combine(w.v(1), w.v(0), w.v(0)))
		w.storeBytes(regY)
	})
}

// maxWindows goes over the channels of a pixel in whole vectors, of which the last may reach
// back into the one before it: there are no fewer channels than a vector has.
func (w *vectorWriter) maxWindows(signed bool) {
	name, most := "maxWindowsUint8", x86.VPMAXUB
	if signed {
		name, most = "maxWindowsInt8", x86.VPMAXSB
	}
	w.function(name+w.suffix, "func(dst, x *byte, pixels, channels, step, rows, columns, line, tap int)", name+w.suffix+" writes the greatest byte of windows; see ref.ByteWindows.")
	channels, step, line, tap, at, last := reg.RCX, reg.RDX, reg.R8, reg.R9, reg.RAX, reg.R15
	rowAt, tapAt, rows, columns := reg.R10, reg.R11, reg.R12, reg.R13
	w.load("dst", regY)
	w.load("x", regX1)
	w.load("channels", channels)
	w.load("step", step)
	w.load("line", line)
	w.load("tap", tap)
	w.do(x86.LEAQ(mem(channels, -w.bytes()), last))
	w.label("pixel")
	w.do(x86.XORQ(at, at))
	w.label("vector")
	w.do(x86.LEAQ(operand.Mem{Base: regX1, Index: at, Scale: 1}, rowAt))
	w.do(x86.VMOVUPS(mem(rowAt, 0), w.v(0)))
	w.load("rows", rows)
	w.label("row")
	w.do(x86.MOVQ(rowAt, tapAt))
	w.load("columns", columns)
	w.label("tap")
	w.do(most(mem(tapAt, 0), w.v(0), w.v(0)))
	w.do(x86.ADDQ(tap, tapAt))
	w.do(x86.DECQ(columns))
	w.do(x86.JNZ(to("tap")))
	w.do(x86.ADDQ(line, rowAt))
	w.do(x86.DECQ(rows))
	w.do(x86.JNZ(to("row")))
	w.do(x86.VMOVUPS(w.v(0), operand.Mem{Base: regY, Index: at, Scale: 1}))
	w.do(x86.CMPQ(at, last))
	w.do(x86.JGE(to("next")))
	w.do(x86.ADDQ(operand.U32(w.bytes()), at))
	w.do(x86.CMPQ(at, last))
	w.do(x86.JLE(to("vector")))
	w.do(x86.MOVQ(last, at))
	w.do(x86.JMP(to("vector")))
	w.label("next")
	w.do(x86.ADDQ(step, regX1))
	w.do(x86.ADDQ(channels, regY))
	w.do(x86.DECQ(w.param("pixels")))
	w.do(x86.JNZ(to("pixel")))
	w.done()
}

// lookup goes through the table in pieces of 16 bytes, VPSHUFB's: the bytes that belong to
// one are 0 to 15 once as much has been taken off them, and the others, raised by 0x70 with
// saturation, have their highest bit set, for which VPSHUFB gives 0.
func (w *vectorWriter) lookup() {
	w.function("lookup"+w.suffix, "func(dst, x, table *byte, n int)", "lookup"+w.suffix+" writes what table has for the bytes of x; n counts bytes of whole vectors.")
	w.load("dst", regY)
	w.load("x", regX1)
	w.load("table", regX2)
	w.load("n", regN)
	const at, place, sum, raise, step, first = 0, 1, 2, 3, 4, 16
	w.do(x86.VMOVUPS(w.constant(0x70707070), w.v(raise)))
	w.do(x86.VMOVUPS(w.constant(0x10101010), w.v(step)))
	piece := func(i int) reg.VecPhysical {
		if w.lanes == 16 { // all stay in registers
			return w.v(first + i)
		}
		w.do(x86.VBROADCASTI128(mem(regX2, 16*i), w.v(5)))
		return w.v(5)
	}
	if w.lanes == 16 {
		for i := range 16 {
			w.do(x86.VBROADCASTI32X4(mem(regX2, 16*i), w.v(first+i)))
		}
	}
	w.label("loop")
	w.do(x86.VMOVUPS(mem(regX1, 0), w.v(at)))
	for i := range 16 {
		t, to := piece(i), place
		if i == 0 {
			to = sum
		}
		w.do(x86.VPADDUSB(w.v(raise), w.v(at), w.v(to)))
		w.do(x86.VPSHUFB(w.v(to), t, w.v(to)))
		if i > 0 {
			w.do(w.or(place, sum))
		}
		if i < 15 {
			w.do(x86.VPSUBB(w.v(step), w.v(at), w.v(at)))
		}
	}
	w.do(x86.VMOVUPS(w.v(sum), mem(regY, 0)))
	w.do(x86.ADDQ(operand.U32(w.bytes()), regX1))
	w.do(x86.ADDQ(operand.U32(w.bytes()), regY))
	w.do(x86.SUBQ(operand.U32(w.bytes()), regN))
	w.do(x86.JNZ(to("loop")))
	w.done()
}

// packWords interleaves the bytes of four rows. An unpacking works within lanes of 16 bytes:
// of its results the lower lanes belong to columns 0 to 15, the upper ones to 16 to 31.
func (w *writer) packWords() {
	w.function("packWordsAVX2", "func(dst, b *byte, sums *int32, k, stride int, flip uint32)",
		"packWordsAVX2 writes k rows of 32 bytes, xor flip, as words of four rows, and adds their columns to sums.")
	dst, b, sums, k, stride := reg.RDI, reg.RSI, reg.RDX, reg.RCX, reg.R8
	w.load("dst", dst)
	w.load("b", b)
	w.load("sums", sums)
	w.load("k", k)
	w.load("stride", stride)
	flip, ones, wide := ymm[15], ymm[14], ymm[13]
	w.do(x86.VBROADCASTSS(w.param("flip"), flip))
	w.do(x86.VPCMPEQB(ones, ones, ones))
	w.do(x86.VPABSB(ones, ones)) // bytes of 1
	w.do(x86.VPCMPEQW(wide, wide, wide))
	w.do(x86.VPABSW(wide, wide))
	for i := range 4 {
		w.do(x86.VMOVDQU(mem(sums, 32*i), ymm[8+i]))
	}
	w.label("loop")
	for i := range 4 {
		w.do(x86.VPXOR(mem(b, 0), flip, ymm[i]))
		w.do(x86.ADDQ(stride, b))
	}
	for i := 0; i < 4; i += 2 { // pairs of rows 0 and 1 in 4 and 5, of 2 and 3 in 6 and 7
		w.do(x86.VPUNPCKLBW(ymm[i+1], ymm[i], ymm[4+i]))
		w.do(x86.VPUNPCKHBW(ymm[i+1], ymm[i], ymm[5+i]))
	}
	for i := range 2 {
		w.do(x86.VPUNPCKLWD(ymm[6+i], ymm[4+i], ymm[2*i]))
		w.do(x86.VPUNPCKHWD(ymm[6+i], ymm[4+i], ymm[2*i+1]))
	}
	for i := range 4 { // lower lanes of 0 and 1, of 2 and 3, then upper ones
		w.do(x86.VPERM2I128(operand.U8(0x20+i/2*0x11), ymm[i%2*2+1], ymm[i%2*2], ymm[4+i]))
		w.do(x86.VMOVDQU(ymm[4+i], mem(dst, 32*i)))
		w.do(x86.VPMADDUBSW(ymm[4+i], ones, ymm[12]))
		w.do(x86.VPMADDWD(wide, ymm[12], ymm[12]))
		w.do(x86.VPADDD(ymm[12], ymm[8+i], ymm[8+i]))
	}
	w.do(x86.ADDQ(operand.U32(128), dst))
	w.do(x86.SUBQ(operand.U8(4), k))
	w.do(x86.JNZ(to("loop")))
	for i := range 4 {
		w.do(x86.VMOVDQU(ymm[8+i], mem(sums, 32*i)))
	}
	w.do(x86.VZEROUPPER())
	w.do(x86.RET())
}

// or joins the bits of vector i to those of vector sum.
func (w *vectorWriter) or(i, sum int) (*ir.Instruction, error) {
	if w.lanes == 16 {
		return x86.VPORD(w.v(i), w.v(sum), w.v(sum))
	}
	return x86.VPOR(w.v(i), w.v(sum), w.v(sum))
}

func addFloats(x, y, z operand.Op) (*ir.Instruction, error) { return x86.VADDPS(x, y, z) }
func mulFloats(x, y, z operand.Op) (*ir.Instruction, error) { return x86.VMULPS(x, y, z) }
