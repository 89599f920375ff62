package main

import (
	"github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

// writeOptimizers writes the Adam step; the factors are ref.AdamStep.
func writeOptimizers(w *writer) {
	for _, v := range widths(w) {
		v.adam()
	}
}

func (w *vectorWriter) adam() {
	w.function("adam"+w.suffix, "func(w, grad, m, v *float32, n int, step *float32)", "adam"+w.suffix+" does a step; see ref.AdamStep.")
	pw, pg, pm, pv, step := reg.RDI, reg.RSI, reg.RDX, reg.RBX, reg.RAX
	w.load("w", pw)
	w.load("grad", pg)
	w.load("m", pm)
	w.load("v", pv)
	w.load("n", regN)
	w.load("step", step)
	const beta1, oneMinus1, beta2, oneMinus2, eps, size, correction, keep, decay = 7, 8, 9, 10, 11, 12, 13, 14, 15
	for i, v := range []int{beta1, oneMinus1, beta2, oneMinus2, eps, size, correction, keep, decay} {
		w.do(x86.VBROADCASTSS(mem(step, 4*i), w.v(v)))
	}
	v := w.v
	w.loop(regN, []reg.GPPhysical{pw, pg, pm, pv}, 1, func(disp int) {
		w.do(x86.VMOVUPS(mem(pw, disp), v(0)))
		w.do(x86.VMOVUPS(mem(pg, disp), v(1)))
		w.do(x86.VFMADD231PS(v(decay), v(0), v(1))) // d
		w.do(x86.VMULPS(mem(pm, disp), v(beta1), v(2)))
		w.do(x86.VFMADD231PS(v(oneMinus1), v(1), v(2))) // m
		w.do(x86.VMULPS(mem(pv, disp), v(beta2), v(3)))
		w.do(x86.VMULPS(v(oneMinus2), v(1), v(4)))
		w.do(x86.VFMADD231PS(v(4), v(1), v(3))) // v
		w.do(x86.VMOVUPS(v(2), mem(pm, disp)))
		w.do(x86.VMOVUPS(v(3), mem(pv, disp)))
		w.do(x86.VSQRTPS(v(3), v(3)))
		w.do(x86.VFMADD213PS(v(eps), v(correction), v(3)))
		w.do(x86.VMULPS(v(size), v(2), v(2)))
		w.do(x86.VDIVPS(v(3), v(2), v(2)))
		w.do(x86.VFMSUB213PS(v(2), v(keep), v(0)))
		w.do(x86.VMOVUPS(v(0), mem(pw, disp)))
	})
	w.done()
}
