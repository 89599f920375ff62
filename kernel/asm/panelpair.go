package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

// Two panels at a time with half as many rows: an activation is loaded once for two
// products. With one panel the loads are as many as the products and their scaling,
// and the processor, which can do two of each in a cycle, keeps up with neither.

const (
	pairHeight = 6
	// The offset of the second panel, and where the group of the first begins.
	panelPairSize = 128
)

var (
	pairSize, pairHead = reg.R14, reg.R15
	pairTmp            = reg.R10
)

func writePanelPairs(w *writer) {
	for _, f := range panelFormats {
		if !f.wide { // unpacking codes for six rows costs more than the loads saved
			continue
		}
		(&pairWriter{&panelWriter{vectorWriter: &vectorWriter{w, 16, "AVX512"}, panelFormat: f, height: 12}}).write()
	}
}

// pairWriter uses the registers of a panelWriter: row i of panel h accumulates where
// that has row 6h+i. While products are added the registers of scales are free.
type pairWriter struct{ *panelWriter }

func (p *pairWriter) weight(panel int) reg.VecPhysical {
	return p.reg([]int{pvWeight, pvScale}[panel])
}

func (p *pairWriter) write() {
	name := "pair" + p.name[:2] + p.name[3:] + p.suffix
	p.function(name, "func(args *byte)", name+" multiplies two panels of 16 weight rows; see panelArgs.")
	p.do(x86.MOVQ(p.param("args"), pnlArgs))
	for _, a := range []struct {
		offset int
		r      reg.Register
	}{{panelW, pnlW}, {panelA, regA[0]}, {panelAS, pnlAS}, {panelGroups, pnlGroups}, {panelAhead, pnlAhead}, {panelPairSize, pairSize}} {
		p.do(x86.MOVQ(mem(pnlArgs, a.offset), a.r))
	}
	p.do(x86.LEAQ(operand.Mem{Base: regA[0], Index: pnlAS, Scale: 2}, regA[1]))
	p.do(x86.ADDQ(pnlAS, regA[1]))
	p.do(x86.MOVL(mem(pnlArgs, panelMask), pairTmp.As32()))
	p.do(x86.KMOVW(pairTmp.As32(), reg.K1))
	if !p.wide {
		p.do(x86.VMOVUPS(p.constant(p.lowMask()), p.reg(pvMask)))
	}
	for rows := pairHeight; rows >= 1; rows-- {
		p.do(x86.CMPQ(mem(pnlArgs, panelRows), operand.U8(rows)))
		p.do(x86.JE(to(fmt.Sprintf("rows%d", rows))))
	}
	p.do(x86.RET())
	for rows := pairHeight; rows >= 1; rows-- {
		p.variant(rows)
	}
}

func (p *pairWriter) variant(rows int) {
	l := func(what string) string { return fmt.Sprintf("rows%d%s", rows, what) }
	p.label(l(""))
	for h := range 2 {
		for i := range rows {
			p.clear(p.sum(6*h + i))
		}
	}
	p.label(l("group"))
	if p.head > 0 {
		p.do(x86.MOVQ(pnlW, pairHead))
		p.do(x86.ADDQ(operand.U32(p.head), pnlW))
		p.do(x86.MOVQ(operand.U32(p.pairs), pnlPairs))
		p.label(l("pair"))
	}
	for half := range 2 {
		p.block(rows, half)
	}
	p.do(x86.ADDQ(operand.U32(p.pairBytes()), pnlW))
	for i := range (rows + 2) / 3 {
		p.do(x86.ADDQ(operand.U32(2*recBytes), regA[i]))
	}
	if p.head > 0 {
		p.do(x86.DECQ(pnlPairs))
		p.do(x86.JNZ(to(l("pair"))))
	}
	p.do(x86.DECQ(pnlGroups))
	p.do(x86.JNZ(to(l("group"))))
	for h := range 2 {
		p.finishPanel(rows, h)
	}
	p.done()
}

func (p *pairWriter) block(rows, half int) {
	parts, quads := 1, 8
	if p.split {
		parts, quads = 2, 4
	}
	for part := range parts {
		p.begin(rows, half, part)
		for q := range quads {
			p.quad(rows, half, part*quads+q)
		}
		for h := range 2 {
			p.second = h == 1
			if p.head > 0 {
				p.loadSuper(pairHead)
			}
			p.loadScale(half, part)
			p.scaled(rows, half, h)
		}
		p.second = false
	}
	// A third of what both panels have: three calls bring the next two panels.
	lines := (2*p.pairBytes()/64 + 2) / 3
	for i := half * lines / 2; i < (half+1)*lines/2; i++ {
		p.do(x86.PREFETCHT0(mem(pnlAhead, 64*i)))
	}
	if half == 1 {
		p.do(x86.ADDQ(operand.U32(64*lines), pnlAhead))
	}
}

func (p *pairWriter) begin(rows, half, part int) {
	disp := recStart
	if p.split {
		disp = recLow + part*(recHigh-recLow)
	}
	for h := range 2 {
		for i := range rows {
			if p.mins {
				p.clear(p.dot(6*h + i))
			} else {
				p.do(x86.VPBROADCASTD(activation(i, half, disp), p.dot(6*h+i)))
			}
		}
	}
}

func (p *pairWriter) quad(rows, half, q int) {
	for h := range 2 {
		p.second = h == 1
		p.codes(half, q, p.weight(h))
	}
	p.second = false
	for i := range rows {
		a := p.reg([]int{pvMin, pvTmp}[i%2])
		p.do(x86.VPBROADCASTD(activation(i, half, 4*q), a))
		for h := range 2 {
			p.do(x86.VPDPBUSD(a, p.weight(h), p.dot(6*h+i)))
		}
	}
}

func (p *pairWriter) scaled(rows, half, h int) {
	for i := range rows {
		d, t, sum := p.dot(6*h+i), p.reg([]int{pvTmp, pvOther}[i%2]), p.sum(6*h+i)
		p.do(x86.VCVTDQ2PS(d, d))
		p.do(x86.VMULPS_BCST(activation(i, half, recScale), p.reg(pvScale), t))
		p.do(x86.VFMADD231PS(t, d, sum))
		if p.mins {
			p.do(x86.VFNMADD231PS_BCST(activation(i, half, recSum), p.reg(pvMin), sum))
		}
	}
}

// finishPanel adds, multiplies and stores as the kernel of one panel does. Only the
// second panel may lack rows.
func (p *pairWriter) finishPanel(rows, h int) {
	l := func(what string) string { return fmt.Sprintf("rows%d%s%d", rows, what, h) }
	load := func(m operand.Mem) {
		if h == 0 {
			p.do(x86.VMOVUPS(m, zmm[30]))
			return
		}
		p.do(x86.VMOVUPS_Z(m, reg.K1, zmm[30]))
	}
	given := func(pointer int, otherwise string) {
		p.do(x86.MOVQ(mem(pnlArgs, pointer), pairTmp))
		p.do(x86.TESTQ(pairTmp, pairTmp))
		p.do(x86.JZ(to(l(otherwise))))
	}
	given(panelBias, "unbiased")
	load(mem(pairTmp, 64*h))
	for i := range rows {
		p.do(x86.VADDPS(zmm[30], p.sum(6*h+i), p.sum(6*h+i)))
	}
	p.label(l("unbiased"))
	given(panelMul, "ungated")
	if h == 1 {
		p.do(x86.ADDQ(mem(pnlArgs, panelMulStep), pairTmp))
	}
	for i := range rows {
		p.do(x86.VMULPS(mem(pairTmp, 64*i), p.sum(6*h+i), p.sum(6*h+i)))
	}
	p.label(l("ungated"))
	given(panelAdd, "store")
	p.do(x86.MOVQ(mem(pnlArgs, panelAddS), pnlAS))
	for i := range rows {
		load(mem(pairTmp, 64*h))
		p.do(x86.VADDPS(zmm[30], p.sum(6*h+i), p.sum(6*h+i)))
		p.do(x86.ADDQ(pnlAS, pairTmp))
	}
	p.label(l("store"))
	p.do(x86.MOVQ(mem(pnlArgs, panelY), pnlY))
	p.do(x86.MOVQ(mem(pnlArgs, panelYS), pnlYS))
	if h == 1 {
		p.do(x86.ADDQ(mem(pnlArgs, panelYStep), pnlY))
	}
	for i := range rows {
		if h == 0 {
			p.do(x86.VMOVUPS(p.sum(i), mem(pnlY, 0)))
		} else {
			p.do(x86.VMOVUPS(p.sum(6+i), reg.K1, mem(pnlY, 0)))
		}
		p.do(x86.ADDQ(pnlYS, pnlY))
	}
}
