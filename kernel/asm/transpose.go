package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

// writeTranspose writes the transposition of lanes rows into lanes columns.
func writeTranspose(w *writer) {
	w.transpose("transposeAVX512", 16)
	w.transpose("transposeAVX2", 8)
}

// transpose builds, for four columns at a time, registers whose 128-bit lanes
// are those columns of rows i, i+4, i+8 …; unpacking within the lanes then
// gives whole columns with the rows in order.
func (w *writer) transpose(name string, lanes int) {
	w.function(name, "func(dst, src *float32, dstStride, srcStride, blocks int)",
		name+" writes dst[c][r] = src[r][c] for as many rows as lanes and blocks of as many columns; strides in bytes.")
	var (
		dst, src, ds, ss, blocks, ss3 = reg.RDI, reg.RSI, reg.R8, reg.R9, reg.RCX, reg.R10
		bases                         = []reg.GPPhysical{reg.RSI, reg.R11, reg.R12, reg.R13}[:lanes/4]
	)
	w.load("dst", dst)
	w.load("src", src)
	w.load("dstStride", ds)
	w.load("srcStride", ss)
	w.load("blocks", blocks)
	w.do(x86.LEAQ(operand.Mem{Base: ss, Index: ss, Scale: 2}, ss3))
	for i := 1; i < len(bases); i++ {
		w.do(x86.LEAQ(operand.Mem{Base: bases[i-1], Index: ss, Scale: 4}, bases[i]))
	}
	vec := func(i int) reg.VecPhysical {
		if lanes == 16 {
			return zmm[i]
		}
		return ymm[i]
	}
	w.label("block")
	for quad := range lanes / 4 {
		for i := range 4 {
			w.gatherQuads(vec(i), bases, ss, ss3, i, quad*16)
		}
		w.do(x86.VUNPCKLPS(vec(1), vec(0), vec(4)))
		w.do(x86.VUNPCKHPS(vec(1), vec(0), vec(5)))
		w.do(x86.VUNPCKLPS(vec(3), vec(2), vec(6)))
		w.do(x86.VUNPCKHPS(vec(3), vec(2), vec(7)))
		w.do(x86.VUNPCKLPD(vec(6), vec(4), vec(0)))
		w.do(x86.VUNPCKHPD(vec(6), vec(4), vec(1)))
		w.do(x86.VUNPCKLPD(vec(7), vec(5), vec(2)))
		w.do(x86.VUNPCKHPD(vec(7), vec(5), vec(3)))
		for i := range 4 {
			w.do(x86.VMOVUPS(vec(i), mem(dst, 0)))
			w.do(x86.ADDQ(ds, dst))
		}
	}
	for _, b := range bases {
		w.do(x86.ADDQ(operand.U8(lanes*4), b))
	}
	w.do(x86.DECQ(blocks))
	w.do(x86.JNZ(to("block")))
	w.do(x86.VZEROUPPER())
	w.do(x86.RET())
}

// gatherQuads loads four columns at disp of the rows i, i+4 … into v's lanes.
func (w *writer) gatherQuads(v reg.VecPhysical, bases []reg.GPPhysical, ss, ss3 reg.GPPhysical, i, disp int) {
	row := func(b reg.GPPhysical) operand.Mem {
		m := mem(b, disp)
		switch i {
		case 1, 2:
			m.Index, m.Scale = ss, uint8(i)
		case 3:
			m.Index, m.Scale = ss3, 1
		}
		return m
	}
	w.do(x86.VMOVUPS(row(bases[0]), v.AsX()))
	if len(bases) == 2 {
		w.do(x86.VINSERTF128(operand.U8(1), row(bases[1]), v, v))
		return
	}
	for b := 1; b < 4; b++ {
		w.do(x86.VINSERTF32X4(operand.U8(b), row(bases[b]), v, v))
	}
}
