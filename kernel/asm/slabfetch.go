package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/x86"
)

// prefetch touches the lines ahead of the block's.
func (p *panelWriter) prefetch(half int) {
	lines := p.pairBytes() / 64
	for i := half * lines / 2; i < (half+1)*lines/2; i++ {
		p.ahead(64 * i)
	}
}

// ahead touches a line of what lies ahead.
func (p *panelWriter) ahead(disp int) {
	m := mem(pnlW, disp)
	m.Index, m.Scale = pnlAhead, 1
	p.do(x86.PREFETCHT0(m))
}

// fetch touches a line of each panel.
func (p *slabWriter) fetch(line int) {
	second := mem(pnlAhead, 64*line)
	second.Index, second.Scale = slabAheadStep, 1
	p.do(x86.PREFETCHT0(mem(pnlAhead, 64*line)))
	p.do(x86.PREFETCHT0(second))
}

// fetchScales touches the scales of a pair of the next slab, all of which are unpacked before
// its first products: in their turn the last would come too late. All at once would wait
// for lines that are on their way.
func (p *slabWriter) fetchScales() {
	first := mem(slabTmp, p.panel.scales())
	second := first
	second.Index, second.Scale = slabAheadStep, 1
	p.do(x86.PREFETCHT0(first))
	p.do(x86.PREFETCHT0(second))
	p.do(x86.ADDQ(operand.U32(p.panel.pairBytes()), slabTmp))
}

// lines are those of each panel that are fetched with so many blocks.
func (p *slabWriter) lines(blocks int) int {
	turns := aheadCalls * 2 * slabPairs / blocks
	return (p.slabBytes()/64 + turns - 1) / turns
}

// fetchOutputs touches, before the last slab, where products of the rows go and what is added
// to them: rows of outputs are far from each other, and mostly in another cache than the
// first, or in none.
func (p *slabWriter) fetchOutputs(rows int) {
	begin := p.named(rows, "begin")
	p.do(x86.TESTL(operand.U32(stageLast), mem(pnlArgs, slabStage)))
	p.do(x86.JZ(to(begin)))
	p.arguments([]argument{{slabYS, regA[0]}, {slabY, slabTmp}, {slabYStep, regA[1]}})
	p.fetchRows(rows, operand.Mem{Base: slabTmp, Index: regA[1], Scale: 1})
	p.do(x86.MOVQ(mem(pnlArgs, slabAdd), slabTmp))
	p.do(x86.TESTQ(slabTmp, slabTmp))
	p.do(x86.JZ(to(begin)))
	p.fetchRows(rows, mem(slabTmp, 64))
	p.label(begin)
}

// fetchRows touches a line of each row at slabTmp, and the second panel's.
func (p *slabWriter) fetchRows(rows int, second operand.Mem) {
	for range rows {
		p.do(x86.PREFETCHT0(mem(slabTmp, 0)))
		p.do(x86.PREFETCHT0(second))
		p.do(x86.ADDQ(regA[0], slabTmp))
	}
}
