package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

// Two panels at a time with six rows: an activation is loaded once for two products.
// With one panel the loads are as many as the products and their scaling, and the
// processor, which can do two of each in a cycle, keeps up with neither.
//
// A call goes over slabs of 256 columns, each for all rows, so that weights stay in the
// first cache; what has been summed waits in memory for the next slab. Codes of less
// than a byte are unpacked to a tile of bytes first, by expand. One call does all of it:
// with sixteen rows a slab takes less than a microsecond.

// Offsets in kernel.slabArgs.
const (
	slabW, slabSize, slabTile, slabA     = 0, 8, 16, 24
	slabAS, slabStep, slabSums, slabLeft = 32, 40, 48, 56
	slabRows, slabAhead                  = 64, 72
	slabMask, slabStage                  = 80, 84
	slabY, slabYS, slabYStep, slabBias   = 88, 96, 104, 112
	slabAdd, slabMul, slabMulStep        = 120, 128, 136
	// What a call keeps for itself.
	slabRowA, slabRowSums, slabRowLeft, slabCount = 144, 152, 160, 168
)

// Bits of slabStage.
const stageFirst, stageLast = 1, 2

// aheadCalls is the number of groups of rows that share the prefetching of the next slab.
const aheadCalls = 3

// slabPairs is the number of pairs of blocks in a slab.
const slabPairs = 4

func writeSlabs(w *writer) {
	for _, f := range panelFormats {
		multiply := &panelWriter{vectorWriter: &vectorWriter{writer: w, lanes: 16, suffix: "AVX512"}, panelFormat: panelFormat{head: f.head, wide: true, mins: f.mins, split: f.split}, height: 2 * slabHeight}
		unpack := &panelWriter{vectorWriter: multiply.vectorWriter, panelFormat: f, height: slabHeight}
		(&slabWriter{panelWriter: multiply, halves: f.wide, panel: unpack}).write()
		if !f.wide {
			(&slabWriter{panelWriter: multiply, halves: f.wide, panel: unpack, four: true}).write()
		}
	}
}

// slabHeight is the number of rows that are multiplied at a time.
const slabHeight = 6

// slabWriter uses the registers of a panelWriter: row i of panel h accumulates where
// that has row 6h+i. While products are added the registers of scales are free. Where
// scales are integers, sums wait in memory until the end of a slab, which is 256 columns,
// and take the place of dot products then.
//
// The rows are multiplied with blocks of codes of a byte, each with its scales and offsets
// after it, or, as in panels of Q8_0, the scales of a pair after both. Before all blocks of
// a slab may lie scales of 256 columns.
//
// There are two forms. Where the pipes of products are half of the vector pipes, the other
// half has room for what saves products (four): codes are unpacked by the first group of
// rows, between its products, and two integer sums are joined to one vector of words, so
// that one VPDPWSSD scales both.
type slabWriter struct {
	*panelWriter
	halves bool         // scales in f16, as panels of Q8_0 have them; else in f32
	panel  *panelWriter // of panels as they lie in memory
	four   bool
	first  bool // the first group of rows, which unpacks
}

// joined reports whether sums are scaled by twos.
func (p *slabWriter) joined() bool { return p.four && p.integer() }

func (p *slabWriter) sum(row int) reg.VecPhysical {
	if p.integer() {
		return p.dot(row)
	}
	return p.panelWriter.sum(row)
}

func (p *slabWriter) reg(i int) reg.VecPhysical { return p.v(2*p.height + i) }

var (
	slabPairSize, slabAheadStep = reg.R14, reg.R10
	slabTmp, slabCalls          = reg.R15, reg.RDX
	slabUnpack                  = reg.RBX // where to, for the rows that unpack
)

// pairSize is the distance from a pair of blocks to the next.
func (p *slabWriter) pairSize() int { return 2 * p.blockSize() }

// blockSize is that of a block with its scales.
func (p *slabWriter) blockSize() int {
	switch {
	case p.halves:
		return 512 + 32
	case p.mins || p.split:
		return 512 + 128
	}
	return 512 + 64
}

// codesAt is where the codes of a block of a pair lie, and scalesAt its scales.
func (p *slabWriter) codesAt(half int) int {
	if p.halves {
		return half * 512
	}
	return half * p.blockSize()
}

func (p *slabWriter) scalesAt(half int) int {
	if p.halves {
		return 1024 + half*32
	}
	return half*p.blockSize() + 512
}

// unpacked is where blocks of bytes are.
func (p *slabWriter) unpacked() reg.GPPhysical {
	if p.first {
		return slabUnpack
	}
	return pnlW
}

// at addresses panel h.
func (p *slabWriter) at(h, disp int) operand.Mem {
	m := mem(p.unpacked(), disp)
	if h == 1 {
		m.Index, m.Scale = slabPairSize, 1
	}
	return m
}

func (p *slabWriter) weight(panel int) reg.VecPhysical {
	return p.reg([]int{pvWeight, pvScale}[panel])
}

// slabBytes is the size of a slab of one panel.
func (p *slabWriter) slabBytes() int {
	return slabPairs/p.panel.pairs*p.panel.head + slabPairs*p.panel.pairBytes()
}

func (p *slabWriter) tileBytes() int { return p.head + slabPairs*p.pairSize() }

func (p *slabWriter) write() {
	name := "slab" + p.panel.name[:2] + p.panel.name[3:] + p.suffix
	if p.four {
		name += "Four"
	}
	p.function(name, "func(args *byte)", name+" multiplies two panels of 16 weight rows, slab by slab; see slabArgs.")
	p.do(x86.MOVQ(p.param("args"), pnlArgs))
	p.do(x86.MOVL(mem(pnlArgs, slabMask), slabTmp.As32()))
	p.do(x86.KMOVW(slabTmp.As32(), reg.K1))
	p.do(x86.SHRL(operand.U8(16), slabTmp.As32()))
	p.do(x86.KMOVW(slabTmp.As32(), reg.K2))
	p.do(x86.MOVL(operand.U32(stageFirst), mem(pnlArgs, slabStage)))
	p.label("slab")
	p.do(x86.MOVQ(operand.U32(slabPairs), slabTmp))
	p.do(x86.CMPQ(slabTmp, mem(pnlArgs, slabLeft)))
	p.do(x86.CMOVQGT(mem(pnlArgs, slabLeft), slabTmp))
	p.do(x86.MOVQ(slabTmp, mem(pnlArgs, slabCount)))
	p.do(x86.SUBQ(slabTmp, mem(pnlArgs, slabLeft)))
	p.do(x86.JNZ(to("begin")))
	p.do(x86.ORL(operand.U32(stageLast), mem(pnlArgs, slabStage)))
	p.label("begin")
	if !p.halves {
		p.expand()
	}
	p.rowsBegin()
	if p.four {
		p.first = true
		p.choose()
		p.first = false
	}
	p.label("more")
	p.choose()
	p.nextSlab()
	for rows := slabHeight; rows >= 1; rows-- {
		p.variant(rows)
	}
	if p.four {
		p.first = true
		for rows := slabHeight; rows >= 1; rows-- {
			p.variant(rows)
		}
		p.first = false
	}
}

// named is a label of the code for so many rows.
func (p *slabWriter) named(rows int, what string) string {
	group := "rows"
	if p.first {
		group = "first"
	}
	return fmt.Sprintf("%s%d%s", group, rows, what)
}

// choose jumps to the code for as many rows as are next, if there are any.
func (p *slabWriter) choose() {
	p.do(x86.MOVQ(mem(pnlArgs, slabRowLeft), slabTmp))
	for _, left := range []int{slabHeight + 1, slabHeight + 2} { // no group of one or two alone
		p.do(x86.CMPQ(slabTmp, operand.U8(left)))
		p.do(x86.JE(to(p.named(slabFew, ""))))
	}
	for rows := slabHeight - 1; rows >= 1; rows-- {
		p.do(x86.CMPQ(slabTmp, operand.U8(rows)))
		p.do(x86.JE(to(p.named(rows, ""))))
	}
	p.do(x86.TESTQ(slabTmp, slabTmp))
	p.do(x86.JNZ(to(p.named(slabHeight, ""))))
}

// rowsBegin sets what a slab's rows begin with. The first groups of them fetch the next slab,
// or that of the panels after these.
func (p *slabWriter) rowsBegin() {
	for _, a := range []struct{ from, to int }{{slabA, slabRowA}, {slabSums, slabRowSums}, {slabRows, slabRowLeft}} {
		p.do(x86.MOVQ(mem(pnlArgs, a.from), slabTmp))
		p.do(x86.MOVQ(slabTmp, mem(pnlArgs, a.to)))
	}
	p.arguments([]argument{{slabAS, pnlAS}, {slabW, pnlAhead}, {slabSize, slabAheadStep}, {slabSize, slabPairSize}})
	if !p.halves {
		p.do(x86.MOVQ(operand.U32(p.tileBytes()), slabPairSize))
	}
	p.do(x86.ADDQ(operand.U32(p.slabBytes()), pnlAhead))
	p.do(x86.TESTL(operand.U32(stageLast), mem(pnlArgs, slabStage)))
	p.do(x86.CMOVQNE(mem(pnlArgs, slabAhead), pnlAhead))
	p.do(x86.MOVQ(operand.U32(aheadCalls), slabCalls))
}

// nextSlab goes on with the next 256 columns, if there are any.
func (p *slabWriter) nextSlab() {
	p.do(x86.TESTL(operand.U32(stageLast), mem(pnlArgs, slabStage)))
	p.do(x86.JNZ(to("done")))
	p.do(x86.MOVL(operand.U32(0), mem(pnlArgs, slabStage)))
	p.do(x86.ADDQ(operand.U32(p.slabBytes()), mem(pnlArgs, slabW)))
	p.do(x86.MOVQ(mem(pnlArgs, slabStep), slabTmp))
	p.do(x86.ADDQ(slabTmp, mem(pnlArgs, slabA)))
	p.do(x86.JMP(to("slab")))
	p.label("done")
	p.done()
}

type argument struct {
	offset int
	r      reg.Register
}

func (p *slabWriter) arguments(list []argument) {
	for _, a := range list {
		p.do(x86.MOVQ(mem(pnlArgs, a.offset), a.r))
	}
}

func (p *slabWriter) variant(rows int) {
	l := func(what string) string { return p.named(rows, what) }
	p.label(l(""))
	weights := slabTile
	if p.halves {
		weights = slabW
	}
	if p.first {
		weights = slabW
		p.arguments([]argument{{slabTile, slabUnpack}})
	}
	p.fetchOutputs(rows)
	p.arguments([]argument{{weights, pnlW}, {slabRowA, regA[0]}, {slabRowSums, pnlY}, {slabCount, pnlPairs}})
	p.constants(rows)
	if rows > 3 {
		p.do(x86.LEAQ(operand.Mem{Base: regA[0], Index: pnlAS, Scale: 2}, regA[1]))
		p.do(x86.ADDQ(pnlAS, regA[1]))
	}
	if p.integer() {
		p.do(x86.ADDQ(operand.U8(p.head), p.unpacked()))
		if p.first {
			p.do(x86.ADDQ(operand.U8(p.head), pnlW))
		}
		for h := range 2 {
			for i := range rows {
				p.clear(p.all(slabHeight*h + i))
			}
		}
	} else {
		p.sums(rows, "pair")
	}
	if p.first {
		p.do(x86.LEAQ(mem(pnlAhead, slabPairs/p.panel.pairs*p.panel.head), slabTmp))
	}
	if p.together(rows) == 1 {
		p.do(x86.ADDQ(pnlPairs, pnlPairs))
	}
	p.label(l("pair"))
	p.blocks(rows)
	p.forward(rows, p.together(rows))
	if p.first {
		p.do(x86.ADDQ(operand.U32(p.panel.pairBytes()), pnlW))
	}
	p.do(x86.DECQ(pnlPairs))
	p.do(x86.JNZ(to(l("pair"))))
	if p.integer() {
		p.sums(rows, "scale")
		p.label(l("scale"))
		p.scaleAll(rows)
	}
	p.do(x86.TESTL(operand.U32(stageLast), mem(pnlArgs, slabStage)))
	p.do(x86.JNZ(to(l("finish"))))
	for h := range 2 {
		for i := range rows {
			p.do(x86.VMOVUPS(p.sum(slabHeight*h+i), mem(pnlY, 128*i+64*h)))
		}
	}
	p.do(x86.JMP(to(l("next"))))
	p.label(l("finish"))
	for h := range 2 {
		p.finish(rows, h)
	}
	p.outputs(rows)
	p.label(l("next"))
	p.next(rows)
}

// sums begin with nothing, or with what the slabs before gave; it goes on at then.
func (p *slabWriter) sums(rows int, then string) {
	l := func(what string) string { return p.named(rows, what) }
	p.do(x86.TESTL(operand.U32(stageFirst), mem(pnlArgs, slabStage)))
	p.do(x86.JNZ(to(l("first"))))
	for h := range 2 {
		for i := range rows {
			p.do(x86.VMOVUPS(mem(pnlY, 128*i+64*h), p.sum(slabHeight*h+i)))
		}
	}
	p.do(x86.JMP(to(l(then))))
	p.label(l("first"))
	for h := range 2 {
		for i := range rows {
			p.clear(p.sum(slabHeight*h + i))
		}
	}
}

// forward moves weights and activations on by so many blocks.
func (p *slabWriter) forward(rows, blocks int) {
	p.do(x86.ADDQ(operand.U32(blocks*p.blockSize()), p.unpacked()))
	for i := range (rows + 2) / 3 {
		p.do(x86.ADDQ(operand.U32(blocks*recBytes), regA[i]))
	}
}

// back moves them back.
func (p *slabWriter) back(rows, blocks int) {
	p.do(x86.SUBQ(operand.U32(blocks*p.blockSize()), p.unpacked()))
	for i := range (rows + 2) / 3 {
		p.do(x86.SUBQ(operand.U32(blocks*recBytes), regA[i]))
	}
}

// blocks adds the products of a turn. What is fetched meanwhile is spread over it.
func (p *slabWriter) blocks(rows int) {
	all, lines, quads := p.units(rows), p.lines(p.together(rows)), 8
	if p.split {
		quads = 4
	}
	line, turn := 0, 0
	for _, units := range all {
		for _, u := range units {
			p.begin(rows, u)
		}
		for q := range quads {
			for _, u := range units {
				p.quad(rows, u, u.part*quads+q)
			}
			if p.first && turn == quads/2 {
				p.fetchScales()
			}
			for turn++; line*len(all)*quads < turn*lines; line++ {
				p.fetch(line)
			}
		}
		for _, u := range units {
			for h := range 2 {
				p.scaled(rows, u, h)
			}
		}
	}
	p.do(x86.ADDQ(operand.U32(64*lines), pnlAhead))
}

func (p *slabWriter) begin(rows int, u slabUnit) {
	disp := recStart
	if p.split {
		disp = recLow + u.part*(recHigh-recLow)
	}
	if p.joined() && u.bank == 0 && p.second(u) {
		p.join(rows, u, disp)
		return
	}
	for h := range 2 {
		for i := range rows {
			if p.mins && !p.panel.moved() {
				p.clear(p.unitDot(u, h, i))
				continue
			}
			p.do(x86.VPBROADCASTD(activation(i, u.half, disp), p.unitDot(u, h, i)))
		}
	}
}

func (p *slabWriter) quad(rows int, u slabUnit, q int) {
	for h := range 2 {
		codes := p.at(h, p.codesAt(u.half)+q*64)
		if !p.first {
			p.do(x86.VMOVUPS(codes, p.weight(h)))
			continue
		}
		p.packed(h).codes(u.half, q, p.weight(h))
		p.do(x86.VMOVUPS(p.weight(h), codes))
	}
	for i := range rows {
		a := p.reg([]int{pvMin, pvTmp}[i%2])
		p.do(x86.VPBROADCASTD(activation(i, u.half, 4*q), a))
		for h := range 2 {
			p.do(x86.VPDPBUSD(a, p.weight(h), p.unitDot(u, h, i)))
		}
	}
}

// scaled adds the integer sums, times their scales.
func (p *slabWriter) scaled(rows int, u slabUnit, h int) {
	if p.joined() {
		if p.second(u) {
			p.scaledTwo(rows, u, h)
		}
		return
	}
	switch {
	case p.halves:
		p.do(x86.VCVTPH2PS(p.at(h, p.scalesAt(u.half)), p.reg(pvScale)))
	default:
		p.do(x86.VMOVUPS(p.at(h, p.scalesAt(u.half)+64*u.part), p.reg(pvScale)))
	}
	for i := range rows {
		d := p.unitDot(u, h, i)
		if p.integer() {
			p.do(x86.VPDPWSSD(p.reg(pvScale), d, p.all(slabHeight*h+i)))
			continue
		}
		t := p.reg([]int{pvTmp, pvOther}[i%2])
		p.do(x86.VCVTDQ2PS(d, d))
		p.do(x86.VMULPS_BCST(activation(i, u.half, recScale), p.reg(pvScale), t))
		p.do(x86.VFMADD231PS(t, d, p.sum(slabHeight*h+i)))
	}
}

// scaleAll takes the offsets of 256 columns off, and adds what has been summed as
// integers, times both scales. It comes after the last block.
func (p *slabWriter) scaleAll(rows int) {
	each := func(do func(h, i int)) {
		for i := range rows {
			for h := range 2 {
				do(h, i)
			}
		}
	}
	if p.mins {
		p.back(rows, 2*slabPairs)
		p.do(x86.MOVQ(operand.U32(2*slabPairs), pnlPairs))
		offset := p.named(rows, "offset")
		p.label(offset)
		for h := range 2 {
			p.do(x86.VMOVUPS(p.at(h, p.scalesAt(0)+64), p.weight(h)))
		}
		each(func(h, i int) {
			p.do(x86.VFNMADD231PS_BCST(activation(i, 0, recSum), p.weight(h), p.sum(slabHeight*h+i)))
		})
		p.forward(rows, 1)
		p.do(x86.DECQ(pnlPairs))
		p.do(x86.JNZ(to(offset)))
	}
	for h := range 2 {
		p.do(x86.VMOVUPS(p.at(h, -slabPairs*p.pairSize()-p.head), p.weight(h)))
	}
	each(func(h, i int) {
		all, t := p.all(slabHeight*h+i), p.reg([]int{pvTmp, pvOther}[h])
		p.do(x86.VCVTDQ2PS(all, all))
		p.do(x86.VMULPS_BCST(activation(i, -1, recScale), p.weight(h), t))
		p.do(x86.VFMADD231PS(t, all, p.sum(slabHeight*h+i)))
	})
}

// finish adds, multiplies and stores as the kernel of one panel does.
func (p *slabWriter) finish(rows, h int) {
	l := func(what string) string { return p.named(rows, fmt.Sprint(what, h)) }
	mask := []reg.Register{reg.K1, reg.K2}[h]
	load := func(m operand.Mem) { p.do(x86.VMOVUPS_Z(m, mask, zmm[30])) }
	given := func(pointer int, otherwise string) {
		p.do(x86.MOVQ(mem(pnlArgs, pointer), slabTmp))
		p.do(x86.TESTQ(slabTmp, slabTmp))
		p.do(x86.JZ(to(l(otherwise))))
	}
	given(slabBias, "unbiased")
	load(mem(slabTmp, 64*h))
	for i := range rows {
		p.do(x86.VADDPS(zmm[30], p.sum(slabHeight*h+i), p.sum(slabHeight*h+i)))
	}
	p.label(l("unbiased"))
	given(slabMul, "ungated")
	if h == 1 {
		p.do(x86.ADDQ(mem(pnlArgs, slabMulStep), slabTmp))
	}
	for i := range rows {
		p.do(x86.VMULPS(mem(slabTmp, 64*i), p.sum(slabHeight*h+i), p.sum(slabHeight*h+i)))
	}
	p.label(l("ungated"))
	given(slabAdd, "store")
	p.do(x86.MOVQ(mem(pnlArgs, slabYS), regA[0]))
	for i := range rows {
		load(mem(slabTmp, 64*h))
		p.do(x86.VADDPS(zmm[30], p.sum(slabHeight*h+i), p.sum(slabHeight*h+i)))
		p.do(x86.ADDQ(regA[0], slabTmp))
	}
	p.label(l("store"))
	p.arguments([]argument{{slabY, slabTmp}, {slabYS, regA[0]}})
	if h == 1 {
		p.do(x86.ADDQ(mem(pnlArgs, slabYStep), slabTmp))
	}
	for i := range rows {
		p.do(x86.VMOVUPS(p.sum(slabHeight*h+i), mask, mem(slabTmp, 0)))
		p.do(x86.ADDQ(regA[0], slabTmp))
	}
}

// outputs moves what the last slab writes and reads on by so many rows.
func (p *slabWriter) outputs(rows int) {
	l := func(what int) string { return p.named(rows, fmt.Sprint("without", what)) }
	p.do(x86.IMUL3Q(operand.U8(rows), mem(pnlArgs, slabYS), slabTmp))
	p.do(x86.ADDQ(slabTmp, mem(pnlArgs, slabY)))
	p.do(x86.CMPQ(mem(pnlArgs, slabAdd), operand.U8(0)))
	p.do(x86.JE(to(l(slabAdd))))
	p.do(x86.ADDQ(slabTmp, mem(pnlArgs, slabAdd)))
	p.label(l(slabAdd))
	p.do(x86.CMPQ(mem(pnlArgs, slabMul), operand.U8(0)))
	p.do(x86.JE(to(l(slabMul))))
	p.do(x86.ADDQ(operand.U32(64*rows), mem(pnlArgs, slabMul)))
	p.label(l(slabMul))
}

// next goes on with the rows that follow: where they lie is kept in the arguments.
// After some groups of rows the next slab has been fetched, and then the next rows are.
func (p *slabWriter) next(rows int) {
	p.do(x86.IMUL3Q(operand.U8(rows), pnlAS, slabTmp))
	p.do(x86.ADDQ(slabTmp, mem(pnlArgs, slabRowA)))
	p.do(x86.ADDQ(operand.U32(128*rows), mem(pnlArgs, slabRowSums)))
	p.do(x86.SUBQ(operand.U8(rows), mem(pnlArgs, slabRowLeft)))
	p.do(x86.DECQ(slabCalls))
	p.do(x86.JG(to("more")))
	p.do(x86.MOVQ(mem(pnlArgs, slabRowA), pnlAhead))
	p.do(x86.MOVQ(operand.U32(64*slabPairs*p.lines(2)), slabAheadStep))
	p.do(x86.JMP(to("more")))
}
