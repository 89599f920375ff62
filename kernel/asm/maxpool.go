package main

import (
	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

// writeMaxPool writes 2×2 max pooling with stride 2 of one plane, and its
// gradient, for AVX-512: sixteen outputs at a time, the last ones by masks.
func writeMaxPool(w *writer) {
	w.maxPool(false)
	w.maxPool(true)
}

const (
	equalOrdered = operand.U8(0)
	unordered    = operand.U8(3)
)

// indices is a vector of 16 lane numbers, f(0) to f(15), in memory.
func (w *writer) indices(name string, f func(i int) int) operand.Mem {
	g := ir.NewStaticGlobal(name)
	g.Attributes = attr.RODATA | attr.NOPTR
	for i := range 16 {
		g.Append(operand.U32(f(i)))
	}
	w.file.AddSection(g)
	return g.Base()
}

func (w *writer) maxPool(grad bool) {
	name, signature := "maxPool2AVX512", "func(y, x *float32, oh, ow, w int)"
	if grad {
		name, signature = "maxPool2GradAVX512", "func(dx, x, y, dy *float32, oh, ow, w int)"
	}
	even := w.indices(name+"even", func(i int) int { return 2 * i })
	odd := w.indices(name+"odd", func(i int) int { return 2*i + 1 })
	w.function(name, signature, name+" pools oh×ow windows of a plane with rows of w pixels.")
	x, y, dx, dy := reg.RSI, reg.RDI, reg.RBX, reg.RDX
	rows, ow, width, left, mask, p, dp, all := reg.R8, reg.R9, reg.R10, reg.RCX, reg.R11, reg.R12, reg.R13, reg.RAX
	w.load("x", x)
	w.load("y", y)
	w.load("oh", rows)
	w.load("ow", ow)
	w.load("w", width)
	w.do(x86.SHLQ(operand.U8(2), width))
	w.do(x86.VMOVUPS(even, reg.Z30))
	w.do(x86.VMOVUPS(odd, reg.Z31))
	if grad {
		w.load("dx", dx)
		w.load("dy", dy)
		low := w.indices(name+"low", func(i int) int { return i/2 + i%2*16 })
		high := w.indices(name+"high", func(i int) int { return 8 + i/2 + i%2*16 })
		w.do(x86.VMOVUPS(low, reg.Z28))
		w.do(x86.VMOVUPS(high, reg.Z29))
	}
	w.do(x86.MOVQ(operand.I32(-1), all))
	w.label("row")
	w.do(x86.MOVQ(ow, left))
	w.do(x86.MOVQ(x, p))
	w.do(x86.MOVQ(dx, dp))
	w.label("columns")
	// K1: outputs; K2, K3: the 32 inputs of each row. BZHI keeps the low bits.
	w.do(x86.BZHIQ(left, all, mask))
	w.do(x86.KMOVW(mask.As32(), reg.K1))
	w.do(x86.LEAQ(operand.Mem{Base: left, Index: left, Scale: 1}, reg.R15))
	w.do(x86.BZHIQ(reg.R15, all, mask))
	w.do(x86.KMOVW(mask.As32(), reg.K2))
	w.do(x86.SHRQ(operand.U8(16), mask))
	w.do(x86.KMOVW(mask.As32(), reg.K3))
	for row := range 2 {
		at := func(disp int) operand.Mem {
			m := mem(p, disp)
			if row == 1 {
				m.Index, m.Scale = width, 1
			}
			return m
		}
		a, b := zmm[2*row], zmm[2*row+1]
		w.do(x86.VMOVUPS_Z(at(0), reg.K2, a))
		w.do(x86.VMOVUPS_Z(at(64), reg.K3, reg.Z4))
		w.do(x86.VMOVAPS(a, b))
		w.do(x86.VPERMT2PS(reg.Z4, reg.Z30, a))
		w.do(x86.VPERMT2PS(reg.Z4, reg.Z31, b))
	}
	if grad {
		w.poolGradient(y, dy, dp, width)
	} else {
		for i := 1; i < 4; i++ { // a NaN met before stays; VMAXPS itself takes the later one
			w.do(x86.VCMPPS(unordered, reg.Z0, reg.Z0, reg.K4))
			w.do(x86.VMAXPS(zmm[i], reg.Z0, zmm[i]))
			w.do(x86.VMOVAPS(reg.Z0, reg.K4, zmm[i]))
			w.do(x86.VMOVAPS(zmm[i], reg.Z0))
		}
		w.do(x86.VMOVUPS(reg.Z0, reg.K1, mem(y, 0)))
	}
	// Whole vectors move on by 16 outputs, the last one by what was left.
	w.do(x86.MOVQ(operand.U32(16), reg.R15))
	w.do(x86.CMPQ(left, reg.R15))
	w.do(x86.CMOVQLT(left, reg.R15))
	w.do(x86.LEAQ(operand.Mem{Base: y, Index: reg.R15, Scale: 4}, y))
	w.do(x86.LEAQ(operand.Mem{Base: p, Index: reg.R15, Scale: 8}, p))
	if grad {
		w.do(x86.LEAQ(operand.Mem{Base: dy, Index: reg.R15, Scale: 4}, dy))
		w.do(x86.LEAQ(operand.Mem{Base: dp, Index: reg.R15, Scale: 8}, dp))
	}
	w.do(x86.SUBQ(reg.R15, left))
	w.do(x86.JNZ(to("columns")))
	w.do(x86.LEAQ(operand.Mem{Base: x, Index: width, Scale: 2}, x))
	if grad {
		w.do(x86.LEAQ(operand.Mem{Base: dx, Index: width, Scale: 2}, dx))
	}
	w.do(x86.DECQ(rows))
	w.do(x86.JNZ(to("row")))
	w.do(x86.VZEROUPPER())
	w.do(x86.RET())
}

// poolGradient writes the 2×2 windows of dx: dy where the first element equal
// to y stands (or the first NaN), else zero. The inputs are in Z0 to Z3.
func (w *writer) poolGradient(y, dy, dp, width reg.GPPhysical) {
	w.do(x86.VMOVUPS_Z(mem(y, 0), reg.K1, reg.Z5))
	w.do(x86.VMOVUPS_Z(mem(dy, 0), reg.K1, reg.Z6))
	w.do(x86.KXORW(reg.K4, reg.K4, reg.K4)) // windows whose element is found
	for i := range 4 {
		w.do(x86.VCMPPS(equalOrdered, reg.Z5, zmm[i], reg.K5))
		w.do(x86.VCMPPS(unordered, zmm[i], zmm[i], reg.K6))
		w.do(x86.KORW(reg.K5, reg.K6, reg.K5))
		w.do(x86.KANDNW(reg.K5, reg.K4, reg.K5)) // and not found before
		w.do(x86.KORW(reg.K5, reg.K4, reg.K4))
		w.do(x86.VMOVAPS_Z(reg.Z6, reg.K5, zmm[i]))
	}
	for row := range 2 {
		at := func(disp int) operand.Mem {
			m := mem(dp, disp)
			if row == 1 {
				m.Index, m.Scale = width, 1
			}
			return m
		}
		a, b := zmm[2*row], zmm[2*row+1]
		w.do(x86.VMOVAPS(a, reg.Z7))
		w.do(x86.VPERMT2PS(b, reg.Z28, a))
		w.do(x86.VPERMT2PS(b, reg.Z29, reg.Z7))
		w.do(x86.VMOVUPS(a, reg.K2, at(0)))
		w.do(x86.VMOVUPS(reg.Z7, reg.K3, at(64)))
	}
}
