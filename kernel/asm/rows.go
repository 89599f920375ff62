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
		v.softmaxRows()
		v.weigh()
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
	w.join(0)
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

// scores writes s = s·scale + bias and leaves the maximum.
func (w *vectorWriter) scores() {
	w.function("scores"+w.suffix, "func(top, s, bias *float32, n int, scale float32)",
		"scores"+w.suffix+" computes s·scale + bias in place and its maximum, passing over NaN; n counts whole vectors.")
	regTop := reg.R8
	w.load("top", regTop)
	w.load("s", regY)
	w.load("bias", regX1)
	w.load("n", regN)
	w.do(x86.VBROADCASTSS(w.param("scale"), w.v(sScale)))
	w.do(x86.VMOVUPS(w.float(math.Inf(-1)), w.v(2)))
	w.loop(regN, []reg.GPPhysical{regY, regX1}, 4, func(disp int) { w.score(mem(regY, disp), mem(regX1, disp), 2) })
	w.across(2, func(x, y, to int) { w.do(x86.VMAXPS(w.v(x), w.v(y), w.v(to))) })
	w.do(x86.VMOVSS(w.x(2), mem(regTop, 0)))
	w.done()
}

// score replaces a vector of scores by those with scale and bias, and keeps the greatest.
func (w *vectorWriter) score(s, bias operand.Mem, greatest int) {
	w.do(x86.VMOVUPS(s, w.v(0)))
	w.do(x86.VFMADD213PS(bias, w.v(sScale), w.v(0)))
	w.do(x86.VMOVUPS(w.v(0), s))
	w.do(x86.VMAXPS(w.v(greatest), w.v(0), w.v(greatest))) // returns the second source, the maximum, beside NaN
}

// flushBelow is the exponent below which exp has a result under float32's normal range.
// Weights there are zero: such numbers take the processor a hundred times as long, and
// hidden keys, whose score is -Inf, are half of a causal block.
const flushBelow = -87

// weights writes s = exp(s - top) and leaves the sum.
func (w *vectorWriter) weights() {
	w.function("weights"+w.suffix, "func(total, s *float32, n int, top float32)",
		"weights"+w.suffix+" computes exp(s-top) in place, 0 below the normal range, and the sum; n counts whole vectors.")
	const total = 8
	w.load("total", regX2)
	w.load("s", regY)
	w.load("n", regN)
	w.do(x86.VBROADCASTSS(w.param("top"), w.v(sScale)))
	w.zero(total)
	w.loop(regN, []reg.GPPhysical{regY}, 1, func(disp int) { w.weight(mem(regY, disp), sScale, total) })
	w.across(total, func(x, y, to int) { w.do(x86.VADDPS(w.v(x), w.v(y), w.v(to))) })
	w.do(x86.VMOVSS(w.x(total), mem(regX2, 0)))
	w.done()
}

// weight replaces a vector of scores by their weights and adds these to the total.
func (w *vectorWriter) weight(s operand.Mem, greatest, total int) {
	w.do(x86.VMOVUPS(s, w.v(0)))
	w.do(x86.VSUBPS(w.v(greatest), w.v(0), w.v(0)))
	w.normalExp()
	w.do(x86.VMOVUPS(w.v(0), s))
	w.do(x86.VADDPS(w.v(0), w.v(total), w.v(total)))
}

// softmaxRows is scores, weights and the division by their sum, row after row.
func (w *vectorWriter) softmaxRows() {
	w.function("softmaxRows"+w.suffix, "func(scores, bias, top *float32, rows, n, stride, biasStride int, scale float32)",
		"softmaxRows"+w.suffix+" computes softmax(scores·scale + bias) of rows in place, and the greatest score of each; n counts whole vectors, strides are in bytes.")
	const greatest, total = 9, 10
	scores, bias, top, rows, n := regY, regX1, regX2, reg.R8, reg.R9
	stride, biasStride, p, q, left := reg.R10, reg.R11, reg.RAX, reg.R12, regN
	for _, a := range []struct {
		name string
		r    reg.GPPhysical
	}{{"scores", scores}, {"bias", bias}, {"top", top}, {"rows", rows}, {"n", n}, {"stride", stride}, {"biasStride", biasStride}} {
		w.load(a.name, a.r)
	}
	w.do(x86.VBROADCASTSS(w.param("scale"), w.v(sScale)))
	through := func(label string, body func(), pointers ...reg.GPPhysical) {
		w.do(x86.MOVQ(scores, p))
		w.do(x86.MOVQ(n, left))
		w.label(label)
		body()
		for _, r := range pointers {
			w.do(x86.ADDQ(operand.U32(w.bytes()), r))
		}
		w.do(x86.SUBQ(operand.U32(w.lanes), left))
		w.do(x86.JNZ(to(label)))
	}
	w.label("row")
	w.do(x86.VMOVUPS(w.float(math.Inf(-1)), w.v(greatest)))
	w.do(x86.MOVQ(bias, q))
	through("greatest", func() { w.score(mem(p, 0), mem(q, 0), greatest) }, p, q)
	w.across(greatest, func(x, y, to int) { w.do(x86.VMAXPS(w.v(x), w.v(y), w.v(to))) })
	w.do(x86.VMOVSS(w.x(greatest), mem(top, 0)))
	w.zero(total)
	through("weight", func() { w.weight(mem(p, 0), greatest, total) }, p)
	w.across(total, func(x, y, to int) { w.do(x86.VADDPS(w.v(x), w.v(y), w.v(to))) })
	w.do(x86.VMOVUPS(w.float(1), w.v(0)))
	w.do(x86.VDIVPS(w.v(total), w.v(0), w.v(total)))
	through("divide", func() {
		w.do(x86.VMULPS(mem(p, 0), w.v(total), w.v(0)))
		w.do(x86.VMOVUPS(w.v(0), mem(p, 0)))
	}, p)
	w.do(x86.ADDQ(stride, scores))
	w.do(x86.ADDQ(biasStride, bias))
	w.do(x86.ADDQ(operand.U8(4), top))
	w.do(x86.DECQ(rows))
	w.do(x86.JNZ(to("row")))
	w.done()
}

// normalExp replaces vector 0 by its exponential, 0 below the normal range. It uses
// vectors 0 to 5 and 7, and the mask K1.
func (w *vectorWriter) normalExp() {
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
}

// across combines the lanes of vector i, so that each has the result; it uses vector 0.
// The order is the same for all: halves, quarters, pairs, neighbours.
func (w *vectorWriter) across(i int, op func(x, y, to int)) {
	step := func(turn func()) {
		turn()
		op(0, i, i)
	}
	if w.lanes == 16 {
		for _, order := range []uint8{0x4e, 0xb1} {
			step(func() { w.do(x86.VSHUFF32X4(operand.U8(order), w.v(i), w.v(i), w.v(0))) })
		}
	} else {
		step(func() { w.do(x86.VPERM2F128(operand.U8(1), w.v(i), w.v(i), w.v(0))) })
	}
	for _, order := range []uint8{0x4e, 0xb1} {
		step(func() { w.do(x86.VPERMILPS(operand.U8(order), w.v(i), w.v(0))) })
	}
}

// weigh does a block of scores' part of a softmax that goes over blocks: it replaces
// scores by weights, and moves what was summed before to a new greatest score.
func (w *vectorWriter) weigh() {
	const was, factor, greatest, total = 8, 9, 10, 11
	w.function("weigh"+w.suffix, "func(scores, top, total, out *float32, rows, n, stride, width int)",
		"weigh"+w.suffix+" is ref.Weigh for rows of scores; n and width count whole vectors, the stride of scores is in bytes.")
	scores, tops, totals, out, rows, n := regY, regX1, regX2, reg.R8, reg.R9, reg.R10
	stride, width, p, left := reg.R11, reg.R12, reg.RAX, regN
	for _, a := range []struct {
		name string
		r    reg.GPPhysical
	}{{"scores", scores}, {"top", tops}, {"total", totals}, {"out", out}, {"rows", rows}, {"n", n}, {"stride", stride}, {"width", width}} {
		w.load(a.name, a.r)
	}
	through := func(label string, count reg.GPPhysical, body func()) {
		w.do(x86.MOVQ(count, left))
		w.label(label)
		body()
		w.do(x86.ADDQ(operand.U32(w.bytes()), p))
		w.do(x86.SUBQ(operand.U32(w.lanes), left))
		w.do(x86.JNZ(to(label)))
	}
	w.label("row")
	w.do(x86.VBROADCASTSS(mem(tops, 0), w.v(was)))
	w.do(x86.VMOVAPS(w.v(was), w.v(greatest)))
	w.do(x86.MOVQ(scores, p))
	through("greatest", n, func() {
		w.do(x86.VMOVUPS(mem(p, 0), w.v(1)))
		w.do(x86.VMAXPS(w.v(greatest), w.v(1), w.v(greatest))) // the second source beside NaN
	})
	w.across(greatest, func(x, y, to int) { w.do(x86.VMAXPS(w.v(x), w.v(y), w.v(to))) })
	w.do(x86.VMOVSS(w.x(greatest), mem(tops, 0)))
	w.do(x86.VSUBPS(w.v(greatest), w.v(was), w.v(0)))
	w.normalExp()
	w.do(x86.VMOVAPS(w.v(0), w.v(factor)))
	w.zero(total)
	w.do(x86.MOVQ(scores, p))
	through("weight", n, func() { w.weight(mem(p, 0), greatest, total) })
	w.across(total, func(x, y, to int) { w.do(x86.VADDPS(w.v(x), w.v(y), w.v(to))) })
	w.do(x86.VMOVSS(mem(totals, 0), w.x(0)))
	w.do(x86.VFMADD231SS(w.x(0), w.x(factor), w.x(total)))
	w.do(x86.VMOVSS(w.x(total), mem(totals, 0)))
	w.do(x86.MOVQ(out, p))
	w.do(x86.VUCOMISS(w.x(was), w.x(greatest)))
	w.do(x86.JEQ(to("next")))
	through("out", width, func() {
		w.do(x86.VMULPS(mem(p, 0), w.v(factor), w.v(0)))
		w.do(x86.VMOVUPS(w.v(0), mem(p, 0)))
	})
	w.label("next")
	w.do(x86.LEAQ(operand.Mem{Base: out, Index: width, Scale: 4}, out))
	w.do(x86.ADDQ(stride, scores))
	w.do(x86.ADDQ(operand.U8(4), tops))
	w.do(x86.ADDQ(operand.U8(4), totals))
	w.do(x86.DECQ(rows))
	w.do(x86.JNZ(to("row")))
	w.done()
}
