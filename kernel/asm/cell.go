package main

import (
	"github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

// writeCells writes one step of recurrent layers and its gradient for a row of
// hidden units; see package ref for the formulas. The gates of a row lie stride
// bytes apart.
func writeCells(w *writer) {
	for _, v := range widths(w) {
		v.lstmCell()
		v.lstmCellGrad()
		v.gruCell()
		v.gruCellGrad()
	}
}

// gates are pointers to the gates of a row; the first is loaded from the parameter.
func (w *vectorWriter) gates(param string, stride reg.GPPhysical, p ...reg.GPPhysical) {
	w.load(param, p[0])
	for i := 1; i < len(p); i++ {
		w.do(x86.MOVQ(p[i-1], p[i]))
		w.do(x86.ADDQ(stride, p[i]))
	}
}

func (w *vectorWriter) read(p reg.GPPhysical, i int)  { w.do(x86.VMOVUPS(mem(p, 0), w.v(i))) }
func (w *vectorWriter) write(i int, p reg.GPPhysical) { w.do(x86.VMOVUPS(w.v(i), mem(p, 0))) }
func (w *vectorWriter) move(from, to int)             { w.do(x86.VMOVAPS(w.v(from), w.v(to))) }
func (w *vectorWriter) mul(a, b, to int)              { w.do(x86.VMULPS(w.v(b), w.v(a), w.v(to))) }

// lstmCell keeps i, o, f and c in vectors 8 to 11; sigmoid and tanh use 0 to 7. With
// vectors enough, the gates are computed abreast, each in the first of its own.
func (w *vectorWriter) lstmCell() {
	w.function("lstmCell"+w.suffix, "func(gates, prev, c, h *float32, n, stride int)", "lstmCell"+w.suffix+" is a step of a row; see ref.LSTMCell.")
	stride, prev, c, h := reg.R8, reg.RSI, reg.RDX, reg.RBX
	i, o, f, g := reg.RDI, reg.R9, reg.R10, reg.R11
	w.load("stride", stride)
	w.gates("gates", stride, i, o, f, g)
	w.load("prev", prev)
	w.load("c", c)
	w.load("h", h)
	w.load("n", regN)
	all := []reg.GPPhysical{i, o, f, g, prev, c, h}
	if w.lanes == 16 {
		w.loop(regN, all, 1, func(int) {
			gate := func(p reg.GPPhysical, act func(*vectorWriter)) func(*vectorWriter) {
				return func(w *vectorWriter) {
					w.read(p, 0)
					act(w)
					w.write(0, p)
				}
			}
			sigmoid, tanh := (*vectorWriter).sigmoid, (*vectorWriter).tanh
			w.abreast(gate(i, sigmoid), gate(o, sigmoid), gate(f, sigmoid), gate(g, tanh))
			w.mul(0, 24, 0)                                      // i·g
			w.do(x86.VFMADD231PS(mem(prev, 0), w.v(16), w.v(0))) // + f·prev
			w.write(0, c)
			w.tanh()
			w.mul(0, 8, 0)
			w.write(0, h)
		})
		w.done()
		return
	}
	w.loop(regN, all, 1, func(int) {
		for n, p := range []reg.GPPhysical{i, o, f} {
			w.read(p, 0)
			w.sigmoid()
			w.write(0, p)
			w.move(0, 8+n)
		}
		w.read(g, 0)
		w.tanh()
		w.write(0, g)
		w.mul(0, 8, 8)                                       // i·g
		w.do(x86.VFMADD231PS(mem(prev, 0), w.v(10), w.v(8))) // + f·prev
		w.write(8, c)
		w.move(8, 0)
		w.tanh()
		w.mul(0, 9, 0)
		w.write(0, h)
	})
	w.done()
}

// oneMinus leaves 1 - v(i) in v(to).
func (w *vectorWriter) oneMinus(i, to int) {
	w.do(x86.VMOVUPS(w.float(1), w.v(to)))
	w.do(x86.VSUBPS(w.v(i), w.v(to), w.v(to)))
}

// oneMinusSquare leaves 1 - v(i)² in v(to).
func (w *vectorWriter) oneMinusSquare(i, to int) {
	w.do(x86.VMOVUPS(w.float(1), w.v(to)))
	w.do(x86.VFNMADD231PS(w.v(i), w.v(i), w.v(to)))
}

func (w *vectorWriter) lstmCellGrad() {
	w.function("lstmCellGrad"+w.suffix, "func(gates, prev, c, dh, dc *float32, n, stride int)", "lstmCellGrad"+w.suffix+" is the gradient of a row; see ref.LSTMCellGrad.")
	stride, prev, c, dh, dc := reg.R8, reg.RSI, reg.RDX, reg.RBX, reg.RAX
	i, o, f, g := reg.RDI, reg.R9, reg.R10, reg.R11
	w.load("stride", stride)
	w.gates("gates", stride, i, o, f, g)
	w.load("prev", prev)
	w.load("c", c)
	w.load("dh", dh)
	w.load("dc", dc)
	w.load("n", regN)
	w.loop(regN, []reg.GPPhysical{i, o, f, g, prev, c, dh, dc}, 1, func(int) {
		const sum, vi, vo, vf, vg, grad = 8, 9, 10, 11, 12, 13
		w.read(c, 0)
		w.tanh()
		w.read(dh, 1)
		w.read(o, vo)
		w.oneMinusSquare(0, 2)
		w.mul(1, vo, 3)
		w.read(dc, sum)
		w.do(x86.VFMADD231PS(w.v(2), w.v(3), w.v(sum))) // dc + dh·o·(1 - tanh²)
		w.mul(1, 0, grad)                               // dh·tanh
		w.sigmoidSlope(grad, vo, 4)
		w.write(grad, o)
		w.read(i, vi)
		w.read(g, vg)
		w.read(f, vf)
		w.mul(sum, vg, grad)
		w.sigmoidSlope(grad, vi, 4)
		w.write(grad, i)
		w.do(x86.VMULPS(mem(prev, 0), w.v(sum), w.v(grad)))
		w.sigmoidSlope(grad, vf, 4)
		w.write(grad, f)
		w.mul(sum, vi, grad)
		w.oneMinusSquare(vg, 4)
		w.mul(grad, 4, grad)
		w.write(grad, g)
		w.mul(sum, vf, sum)
		w.write(sum, dc)
	})
	w.done()
}

// sigmoidSlope multiplies v(d) by y·(1 - y), y in v(y); it uses v(t).
func (w *vectorWriter) sigmoidSlope(d, y, t int) {
	w.oneMinus(y, t)
	w.mul(d, y, d)
	w.mul(d, t, d)
}

// gruCell keeps z and r in vectors 8 and 9.
func (w *vectorWriter) gruCell() {
	w.function("gruCell"+w.suffix, "func(gates, rec, prev, h, inner *float32, n, stride int)", "gruCell"+w.suffix+" is a step of a row; see ref.GRUCell.")
	stride, prev, h, inner := reg.R8, reg.RSI, reg.RBX, reg.RAX
	z, r, g, rz, rr, rg := reg.RDI, reg.R9, reg.R10, reg.R11, reg.R12, reg.R13
	w.load("stride", stride)
	w.gates("gates", stride, z, r, g)
	w.gates("rec", stride, rz, rr, rg)
	w.load("prev", prev)
	w.load("h", h)
	w.load("inner", inner)
	w.load("n", regN)
	w.loop(regN, []reg.GPPhysical{z, r, g, rz, rr, rg, prev, h, inner}, 1, func(int) {
		for n, p := range [][2]reg.GPPhysical{{z, rz}, {r, rr}} {
			w.read(p[0], 0)
			w.do(x86.VADDPS(mem(p[1], 0), w.v(0), w.v(0)))
			w.sigmoid()
			w.write(0, p[0])
			w.move(0, 8+n)
		}
		w.read(g, 0)
		w.read(rg, 1)
		w.write(1, inner)
		w.do(x86.VFMADD231PS(w.v(9), w.v(1), w.v(0)))
		w.tanh()
		w.write(0, g)
		w.read(prev, 1)
		w.do(x86.VSUBPS(w.v(0), w.v(1), w.v(1))) // prev - candidate
		w.do(x86.VFMADD231PS(w.v(8), w.v(1), w.v(0)))
		w.write(0, h)
	})
	w.done()
}

func (w *vectorWriter) gruCellGrad() {
	w.function("gruCellGrad"+w.suffix, "func(gates, prev, inner, dh *float32, n, stride int)", "gruCellGrad"+w.suffix+" is the gradient of a row; see ref.GRUCellGrad.")
	stride, prev, inner, dh := reg.R8, reg.RSI, reg.RDX, reg.RBX
	z, r, g := reg.RDI, reg.R9, reg.R10
	w.load("stride", stride)
	w.gates("gates", stride, z, r, g)
	w.load("prev", prev)
	w.load("inner", inner)
	w.load("dh", dh)
	w.load("n", regN)
	w.loop(regN, []reg.GPPhysical{z, r, g, prev, inner, dh}, 1, func(int) {
		const d, vz, vr, vg, vi, dg, t, slope = 0, 1, 2, 3, 4, 5, 6, 7
		w.read(dh, d)
		w.read(z, vz)
		w.read(r, vr)
		w.read(g, vg)
		w.read(inner, vi)
		w.oneMinus(vz, dg)
		w.mul(dg, d, dg)
		w.oneMinusSquare(vg, t)
		w.mul(dg, t, dg) // before the candidate's tanh
		w.write(dg, g)
		w.mul(dg, vr, t)
		w.write(t, inner)
		w.mul(dg, vi, t)
		w.sigmoidSlope(t, vr, slope)
		w.write(t, r)
		w.do(x86.VMOVUPS(mem(prev, 0), w.v(t)))
		w.do(x86.VSUBPS(w.v(vg), w.v(t), w.v(t)))
		w.mul(t, d, t)
		w.sigmoidSlope(t, vz, slope)
		w.write(t, z)
		w.mul(d, vz, d)
		w.write(d, dh)
	})
	w.done()
}
