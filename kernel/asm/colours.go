package main

import (
	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

// writeColours writes the gathering of the colours of pixels, 16 pixels at a time: each of
// three vectors of the result has bytes of all planes, which shuffles put in their places.
func writeColours(w *writer) {
	places := ir.NewStaticGlobal("placesOfColours")
	places.Attributes = attr.RODATA | attr.NOPTR
	for part := range 3 {
		for plane := range 3 {
			for i := range 16 {
				pixel, colour := (16*part+i)/3, (16*part+i)%3
				if colour != plane {
					pixel = 1 << 7 // none
				}
				places.Append(operand.U8(pixel))
			}
		}
	}
	w.file.AddSection(places)
	w.function("coloursAVX2", "func(y, x *byte, n, plane int)", "coloursAVX2 writes n pixels, a multiple of 16, of three planes that begin plane bytes apart.")
	y, x, n, plane := reg.RDI, reg.RSI, reg.RCX, reg.RDX
	w.load("y", y)
	w.load("x", x)
	w.load("n", n)
	w.load("plane", plane)
	xmm := func(i int) reg.VecPhysical { return ymm[i].AsX().(reg.VecPhysical) }
	for i := range 9 {
		m := places.Base()
		m.Disp = 16 * i
		w.do(x86.VMOVDQU(m, xmm(4+i)))
	}
	w.label("loop")
	for part := range 3 {
		for i := range 3 {
			if part == 0 {
				m := mem(x, 0)
				if i > 0 {
					m.Index, m.Scale = plane, uint8(i)
				}
				w.do(x86.VMOVDQU(m, xmm(i)))
			}
			to := xmm(13 + min(i, 1))
			w.do(x86.VPSHUFB(xmm(4+3*part+i), xmm(i), to))
			if i > 0 {
				w.do(x86.VPOR(xmm(14), xmm(13), xmm(13)))
			}
		}
		w.do(x86.VMOVDQU(xmm(13), mem(y, 16*part)))
	}
	w.do(x86.ADDQ(operand.U8(16), x))
	w.do(x86.ADDQ(operand.U8(48), y))
	w.do(x86.SUBQ(operand.U8(16), n))
	w.do(x86.JNZ(to("loop")))
	w.do(x86.VZEROUPPER())
	w.do(x86.RET())
}
