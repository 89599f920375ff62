package main

import (
	"github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

// writeGradients writes the parts of the gradients of softmax and of layer
// normalisation, a row at a time; n counts whole vectors. Statistics of a row are
// four floats: mean, inverse deviation, and the means of g and of g·x̂, with x̂ the
// normalised row and g = dy·scale.
func writeGradients(w *writer) {
	for _, v := range widths(w) {
		v.dot()
		v.softmaxGrad()
		v.normGradSums()
		v.normGrad()
		v.normGradAdd()
	}
}

// accumulators calls body with the number of one of four accumulators.
func (w *vectorWriter) accumulators(n reg.GPPhysical, pointers []reg.GPPhysical, body func(disp, acc int)) {
	w.loop(n, pointers, 4, func(disp int) { body(disp, disp/w.bytes()) })
}

func (w *vectorWriter) dot() {
	w.function("dot"+w.suffix, "func(lanes, a, b *float32, n int)", "dot"+w.suffix+" leaves the lanes of Σ a·b.")
	w.load("lanes", regY)
	w.load("a", regX1)
	w.load("b", regX2)
	w.load("n", regN)
	for i := range 4 {
		w.zero(i)
	}
	w.accumulators(regN, []reg.GPPhysical{regX1, regX2}, func(disp, acc int) {
		w.do(x86.VMOVUPS(mem(regX1, disp), w.v(4+acc)))
		w.do(x86.VFMADD231PS(mem(regX2, disp), w.v(4+acc), w.v(acc)))
	})
	w.join(0)
	w.do(x86.VMOVUPS(w.v(0), mem(regY, 0)))
	w.done()
}

func (w *vectorWriter) softmaxGrad() {
	w.function("softmaxGrad"+w.suffix, "func(dx, y, dy *float32, n int, dot, scale float32)",
		"softmaxGrad"+w.suffix+" computes y·(dy - dot)·scale.")
	w.load("dx", regY)
	w.load("y", regX1)
	w.load("dy", regX2)
	w.load("n", regN)
	w.do(x86.VBROADCASTSS(w.param("dot"), w.v(14)))
	w.do(x86.VBROADCASTSS(w.param("scale"), w.v(sScale)))
	w.loop(regN, []reg.GPPhysical{regY, regX1, regX2}, 4, func(disp int) {
		w.do(x86.VMOVUPS(mem(regX2, disp), w.v(0)))
		w.do(x86.VSUBPS(w.v(14), w.v(0), w.v(0)))
		w.do(x86.VMULPS(mem(regX1, disp), w.v(0), w.v(0)))
		w.do(x86.VMULPS(w.v(sScale), w.v(0), w.v(0)))
		w.do(x86.VMOVUPS(w.v(0), mem(regY, disp)))
	})
	w.done()
}

// statistics loads a row's into vectors 12 to 15.
func (w *vectorWriter) statistics(p reg.GPPhysical, count int) {
	w.load("stats", p)
	for i := range count {
		w.do(x86.VBROADCASTSS(mem(p, 4*i), w.v(12+i)))
	}
}

// normalized leaves x̂ of the elements at p in vector v.
func (w *vectorWriter) normalized(p reg.GPPhysical, disp, v int) {
	w.do(x86.VMOVUPS(mem(p, disp), w.v(v)))
	w.do(x86.VSUBPS(w.v(12), w.v(v), w.v(v)))
	w.do(x86.VMULPS(w.v(13), w.v(v), w.v(v)))
}

func (w *vectorWriter) normGradSums() {
	w.function("normGradSums"+w.suffix, "func(lanes, x, dy, scale *float32, n int, stats *float32)",
		"normGradSums"+w.suffix+" leaves the lanes of Σg, then those of Σg·x̂.")
	scale := reg.R8
	w.statistics(reg.R9, 2)
	w.load("lanes", regY)
	w.load("x", regX1)
	w.load("dy", regX2)
	w.load("scale", scale)
	w.load("n", regN)
	for i := range 8 {
		w.zero(i)
	}
	w.accumulators(regN, []reg.GPPhysical{regX1, regX2, scale}, func(disp, acc int) {
		w.do(x86.VMOVUPS(mem(regX2, disp), w.v(8)))
		w.do(x86.VMULPS(mem(scale, disp), w.v(8), w.v(8)))
		w.normalized(regX1, disp, 9)
		w.do(x86.VADDPS(w.v(8), w.v(acc), w.v(acc)))
		w.do(x86.VFMADD231PS(w.v(8), w.v(9), w.v(4+acc)))
	})
	w.join(0)
	w.join(4)
	w.do(x86.VMOVUPS(w.v(0), mem(regY, 0)))
	w.do(x86.VMOVUPS(w.v(4), mem(regY, w.bytes())))
	w.done()
}

func (w *vectorWriter) normGrad() {
	w.function("normGrad"+w.suffix, "func(dx, x, dy, scale *float32, n int, stats *float32)",
		"normGrad"+w.suffix+" computes (g - mean(g) - x̂·mean(g·x̂))·inverse.")
	scale := reg.R8
	w.statistics(reg.R9, 4)
	w.load("dx", regY)
	w.load("x", regX1)
	w.load("dy", regX2)
	w.load("scale", scale)
	w.load("n", regN)
	w.loop(regN, []reg.GPPhysical{regY, regX1, regX2, scale}, 2, func(disp int) {
		w.do(x86.VMOVUPS(mem(regX2, disp), w.v(0)))
		w.do(x86.VMULPS(mem(scale, disp), w.v(0), w.v(0)))
		w.normalized(regX1, disp, 1)
		w.do(x86.VSUBPS(w.v(14), w.v(0), w.v(0)))
		w.do(x86.VFNMADD231PS(w.v(15), w.v(1), w.v(0)))
		w.do(x86.VMULPS(w.v(13), w.v(0), w.v(0)))
		w.do(x86.VMOVUPS(w.v(0), mem(regY, disp)))
	})
	w.done()
}

func (w *vectorWriter) normGradAdd() {
	w.function("normGradAdd"+w.suffix, "func(dscale, dbias, x, dy *float32, n int, stats *float32)",
		"normGradAdd"+w.suffix+" adds dy·x̂ to dscale and dy to dbias.")
	bias := reg.R8
	w.statistics(reg.R9, 2)
	w.load("dscale", regY)
	w.load("dbias", bias)
	w.load("x", regX1)
	w.load("dy", regX2)
	w.load("n", regN)
	w.loop(regN, []reg.GPPhysical{regY, bias, regX1, regX2}, 2, func(disp int) {
		w.do(x86.VMOVUPS(mem(regX2, disp), w.v(0)))
		w.normalized(regX1, disp, 1)
		w.do(x86.VMOVUPS(mem(regY, disp), w.v(2)))
		w.do(x86.VFMADD231PS(w.v(0), w.v(1), w.v(2)))
		w.do(x86.VMOVUPS(w.v(2), mem(regY, disp)))
		w.do(x86.VADDPS(mem(bias, disp), w.v(0), w.v(0)))
		w.do(x86.VMOVUPS(w.v(0), mem(bias, disp)))
	})
	w.done()
}
