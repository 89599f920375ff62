package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

// Offsets in kernel.winogradArgs.
const (
	winoOffsets, winoPixels, winoV, winoStep = 0, 8, 16, 24
	winoTemp, winoCoefficients, winoVectors  = 32, 40, 48
	winoBias, winoRows, winoCols             = 56, 64, 72
	winoRowStep, winoPixelStep               = 80, 88
	winoAddStep, winoAdds, winoReLU          = 96, 104, 108
)

// winogradWriter writes the transforms of minimal filtering (kernel/ref: Winograd), a
// vector of channels at a time: along one dimension to memory that stays in L1, then
// along the other.
type winogradWriter struct {
	*writer
	lanes, side, size int
}

func writeWinograd(w *writer) {
	for _, side := range []int{2, 4} {
		for _, lanes := range []int{16, 8} {
			g := &winogradWriter{w, lanes, side, side + 2}
			tier := map[int]string{16: "AVX512", 8: "AVX2"}[lanes]
			g.input(fmt.Sprintf("winogradInput%d%s", side, tier))
			g.output(fmt.Sprintf("winogradOutput%d%s", side, tier))
		}
	}
}

func (g *winogradWriter) vec(i int) reg.VecPhysical {
	if g.lanes == 16 {
		return zmm[i]
	}
	return ymm[i]
}

// Vectors: six of data, three for what is between, and the coefficients.
func (g *winogradWriter) d(i int) reg.VecPhysical           { return g.vec(i) }
func (g *winogradWriter) spare(i int) reg.VecPhysical       { return g.vec(6 + i) }
func (g *winogradWriter) coefficient(i int) reg.VecPhysical { return g.vec(10 + i) }

func (g *winogradWriter) bytes() int { return g.lanes * 4 }

func (g *winogradWriter) move(from, to reg.VecPhysical)  { g.do(x86.VMOVAPS(from, to)) }
func (g *winogradWriter) load(m operand.Mem, i int)      { g.do(x86.VMOVUPS(m, g.d(i))) }
func (g *winogradWriter) sum(a, b, to reg.VecPhysical)   { g.do(x86.VADDPS(b, a, to)) }
func (g *winogradWriter) minus(a, b, to reg.VecPhysical) { g.do(x86.VSUBPS(b, a, to)) }

// add and sub let to += k·x and to -= k·x.
func (g *winogradWriter) add(k, x, to reg.VecPhysical) { g.do(x86.VFMADD231PS(x, k, to)) }
func (g *winogradWriter) sub(k, x, to reg.VecPhysical) { g.do(x86.VFNMADD231PS(x, k, to)) }

func (g *winogradWriter) begin(name, doc string) {
	g.function(name, "func(args *byte)", name+doc)
	g.writer.load("args", reg.RAX)
	for _, p := range []struct {
		offset int
		r      reg.Register
	}{{winoPixels, reg.RBX}, {winoV, reg.RSI}, {winoStep, reg.RDX}, {winoTemp, reg.RCX}, {winoVectors, reg.RDI}} {
		g.do(x86.MOVQ(mem(reg.RAX, p.offset), p.r))
	}
	if g.side == 4 {
		g.do(x86.MOVQ(mem(reg.RAX, winoCoefficients), reg.R8))
		for i := range 6 {
			g.do(x86.VBROADCASTSS(mem(reg.R8, 4*i), g.coefficient(i)))
		}
	}
}

func (g *winogradWriter) end() {
	g.do(x86.ADDQ(operand.U8(g.bytes()), reg.RBX))
	g.do(x86.ADDQ(operand.U8(g.bytes()), reg.RSI))
	g.do(x86.DECQ(reg.RDI))
	g.do(x86.JNZ(to("vector")))
	g.do(x86.VZEROUPPER())
	g.do(x86.RET())
}

// input writes BᵀdB.
func (g *winogradWriter) input(name string) {
	g.begin(name, " transforms a tile of inputs; see winogradArgs.")
	offsets, offset, v := reg.R9, reg.R10, reg.R11
	g.do(x86.MOVQ(mem(reg.RAX, winoOffsets), offsets))
	g.label("vector")
	for j := range g.size {
		for i := range g.size {
			g.do(x86.MOVQ(mem(offsets, 8*(i*g.size+j)), offset))
			g.load(operand.Mem{Base: reg.RBX, Index: offset, Scale: 1}, i)
		}
		k := 0
		g.forward(func(x reg.VecPhysical) {
			g.do(x86.VMOVUPS(x, mem(reg.RCX, (k*g.size+j)*g.bytes())))
			k++
		})
	}
	g.do(x86.MOVQ(reg.RSI, v))
	for i := range g.size {
		for j := range g.size {
			g.load(mem(reg.RCX, (i*g.size+j)*g.bytes()), j)
		}
		g.forward(func(x reg.VecPhysical) {
			g.do(x86.VMOVUPS(x, mem(v, 0)))
			g.do(x86.ADDQ(reg.RDX, v))
		})
	}
	g.end()
}

// forward emits Bᵀd, row by row. The coefficients are q², p², p²+q², p²q², p and q.
func (g *winogradWriter) forward(emit func(reg.VecPhysical)) {
	d, t, k := g.d, g.spare, g.coefficient
	if g.side == 2 {
		g.minus(d(2), d(0), t(0))
		emit(t(0))
		g.minus(d(3), d(1), d(3))
		emit(d(3))
		g.sum(d(1), d(2), t(1))
		emit(t(1))
		g.minus(d(2), d(1), d(2))
		emit(d(2))
		return
	}
	g.move(d(4), t(0))
	g.sub(k(2), d(2), t(0))
	g.add(k(3), d(0), t(0))
	emit(t(0))
	g.sub(k(2), d(3), d(5))
	g.add(k(3), d(1), d(5))
	emit(d(5))
	for pair, square := range []int{0, 1} {
		even, odd := t(1), t(2)
		if pair == 0 {
			g.move(d(4), even)
			g.move(d(3), odd)
		} else {
			even, odd = d(4), d(3)
		}
		g.sub(k(square), d(2), even)
		g.sub(k(square), d(1), odd)
		g.move(even, t(0))
		g.add(k(4+pair), odd, t(0))
		emit(t(0))
		g.sub(k(4+pair), odd, even)
		emit(even)
	}
}

// output writes AᵀvA, plus bias and summand, to those of the pixels that exist.
func (g *winogradWriter) output(name string) {
	g.begin(name, " transforms a tile of outputs; see winogradArgs.")
	var (
		bias, at, v            = reg.R11, reg.R10, reg.R9
		rowStep, pixelStep     = reg.R8, reg.R12
		column, pixel, addStep = reg.R13, reg.R15, reg.R14 // free in functions of ABI0
		shift, zero            = g.spare(2), g.spare(3)
	)
	g.do(x86.MOVQ(mem(reg.RAX, winoBias), bias))
	g.do(x86.MOVQ(mem(reg.RAX, winoRowStep), rowStep))
	g.do(x86.MOVQ(mem(reg.RAX, winoPixelStep), pixelStep))
	g.do(x86.MOVQ(mem(reg.RAX, winoAddStep), addStep))
	g.do(x86.XORQ(at, at))
	g.do(x86.VXORPS(zero.AsX(), zero.AsX(), zero.AsX()))
	g.do(x86.VXORPS(shift.AsX(), shift.AsX(), shift.AsX()))
	g.label("vector")
	g.do(x86.TESTQ(bias, bias))
	g.do(x86.JZ(to("unbiased")))
	g.do(x86.VMOVUPS(operand.Mem{Base: bias, Index: at, Scale: 1}, shift))
	g.label("unbiased")
	g.do(x86.MOVQ(reg.RSI, v))
	for i := range g.size {
		for j := range g.size {
			g.load(mem(v, 0), j)
			g.do(x86.ADDQ(reg.RDX, v))
		}
		for k, x := range g.inverse() {
			g.do(x86.VMOVUPS(x, mem(reg.RCX, (i*g.side+k)*g.bytes())))
		}
	}
	g.do(x86.MOVQ(reg.RBX, column))
	for c := range g.side {
		if c > 0 {
			g.do(x86.CMPQ(mem(reg.RAX, winoCols), operand.U8(c)))
			g.do(x86.JLE(to("next")))
		}
		for i := range g.size {
			g.load(mem(reg.RCX, (i*g.side+c)*g.bytes()), i)
		}
		g.do(x86.MOVQ(column, pixel))
		for r, x := range g.inverse() {
			if r > 0 {
				g.do(x86.CMPQ(mem(reg.RAX, winoRows), operand.U8(r)))
				g.do(x86.JLE(to(fmt.Sprintf("column%d", c+1))))
				g.do(x86.ADDQ(rowStep, pixel))
			}
			g.sum(x, shift, x)
			g.finish(x, zero, pixel, addStep, fmt.Sprintf("%d%d", r, c))
		}
		g.label(fmt.Sprintf("column%d", c+1))
		g.do(x86.ADDQ(pixelStep, column))
	}
	g.label("next")
	g.do(x86.ADDQ(operand.U8(g.bytes()), at))
	g.end()
}

// finish adds the summand, applies ReLU and stores. The sum is the second source of
// VMAXPS, the one it returns when there is a NaN.
func (g *winogradWriter) finish(x, zero reg.VecPhysical, pixel, addStep reg.Register, name string) {
	g.do(x86.CMPL(mem(reg.RAX, winoAdds), operand.U8(0)))
	g.do(x86.JE(to("alone" + name)))
	g.do(x86.VADDPS(operand.Mem{Base: pixel, Index: addStep, Scale: 1}, x, x))
	g.label("alone" + name)
	g.do(x86.CMPL(mem(reg.RAX, winoReLU), operand.U8(0)))
	g.do(x86.JE(to("store" + name)))
	g.do(x86.VMAXPS(x, zero, x))
	g.label("store" + name)
	g.do(x86.VMOVUPS(x, mem(pixel, 0)))
}

// inverse works out Aᵀv and tells where its rows are. The coefficients are p, q, p², q²,
// p³ and q³.
func (g *winogradWriter) inverse() []reg.VecPhysical {
	d, t, k := g.d, g.spare, g.coefficient
	g.sum(d(2), d(3), t(0))
	if g.side == 2 {
		g.minus(d(2), d(3), d(2))
		g.sum(d(0), t(0), d(0))
		g.sum(d(2), d(1), d(1))
		return []reg.VecPhysical{d(0), d(1)}
	}
	g.minus(d(2), d(3), d(2))
	g.sum(d(4), d(5), t(1))
	g.minus(d(4), d(5), d(4))
	g.sum(d(0), t(0), d(0))
	g.sum(d(0), t(1), d(0))
	g.do(x86.VMULPS(k(0), d(2), d(3)))
	g.add(k(1), d(4), d(3))
	g.do(x86.VMULPS(k(2), t(0), t(0)))
	g.add(k(3), t(1), t(0))
	g.add(k(4), d(2), d(1))
	g.add(k(5), d(4), d(1))
	return []reg.VecPhysical{d(0), d(3), t(0), d(1)}
}
