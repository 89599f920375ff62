package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

// slabUnit are columns of a pair that have one scale: a block, or the first or the last
// half of one. bank says which registers their dot products take.
type slabUnit struct{ half, part, bank int }

// together are the blocks that a turn of the loop multiplies. With tiles it is one where
// one has chains enough: the code of unpacking and of two groups of rows should fit the
// processor's cache of decoded instructions, of 8 KB at most.
func (p *slabWriter) together(rows int) int {
	switch {
	case p.first || p.joined() && !p.split:
		return 2
	case p.integer() && rows > slabFew:
		return 1
	}
	return 2
}

// units are those of a turn, in the order in which they are multiplied, and those together
// that are multiplied at the same time. With few rows these are two: a product waits five
// cycles for the one before it in its chain, so two a cycle take more than ten chains.
func (p *slabWriter) units(rows int) (all [][]slabUnit) {
	parts := 1
	if p.split {
		parts = 2
	}
	for i := range p.together(rows) * parts {
		u := slabUnit{half: i / parts, part: i % parts}
		if rows <= slabFew && i%2 == 1 {
			u.bank = 1
			all[len(all)-1] = append(all[len(all)-1], u)
			continue
		}
		all = append(all, []slabUnit{u})
	}
	return all
}

// slabFew rows leave registers for dot products of two units.
const slabFew = 4

// unitDot is the dot product of row i of panel h. The second bank are the registers of
// rows that there are not.
func (p *slabWriter) unitDot(u slabUnit, h, i int) reg.VecPhysical {
	if u.bank == 0 {
		return p.dot(slabHeight*h + i)
	}
	return p.v(p.height*h + slabHeight*(i/2) + slabFew + i%2)
}

// second reports whether u is the second of two units whose sums are joined.
func (p *slabWriter) second(u slabUnit) bool {
	if p.split {
		return u.part == 1
	}
	return u.half == 1
}

// constants are loaded for a group of rows: what joins two sums, and masks of codes.
func (p *slabWriter) constants(rows int) {
	if p.joined() {
		c := uint32(wordSign)
		if rows <= slabFew {
			c = lowWord
		}
		p.do(x86.VMOVUPS(p.constant(c), p.reg(pvSuper)))
	}
	if p.first {
		u := p.packed(0)
		p.do(x86.VMOVUPS(u.constant(u.lowMask()), u.reg(pvMask)))
		if u.high > 0 {
			p.do(x86.VMOVUPS(u.highMask(), u.held[heldMask]))
		}
	}
}

const wordSign, lowWord = 0x8000, 0xffff

// packed writes the unpacking of panel h, with the registers that products leave.
func (p *slabWriter) packed(h int) *panelWriter {
	u := *p.panel
	u.height = 2 * p.height / u.kinds()
	u.held = nil
	if u.high > 0 {
		u.held = map[int]reg.VecPhysical{heldMask: u.reg(pvSuperMin)}
	}
	if h == 1 {
		u.index = slabAheadStep
	}
	return &u
}

// join moves the sums of a unit, which have sixteen bits with their sign, to the high
// halves of their words, where the next unit's are added to. These begin with a bias, so
// that nothing is borrowed from the high half.
func (p *slabWriter) join(rows int, u slabUnit, start int) {
	for i := range rows {
		bias := p.reg(pvSuper)
		begin := !p.mins || p.panel.moved()
		if begin {
			bias = p.reg([]int{pvMin, pvTmp}[i%2])
			p.do(x86.VPBROADCASTD(activation(i, u.half, start), bias))
			p.do(x86.VPADDD(p.reg(pvSuper), bias, bias))
		}
		for h := range 2 {
			d := p.unitDot(u, h, i)
			p.do(x86.VPSLLD(operand.U8(16), d, d))
			p.do(x86.VPADDD(bias, d, d))
		}
	}
}

// scaledTwo adds the sums of two units, times their scales.
func (p *slabWriter) scaledTwo(rows int, u slabUnit, h int) {
	at := 0
	if p.split {
		at = u.half
	}
	p.do(x86.VMOVUPS(p.at(h, p.scalesAt(at)), p.reg(pvScale)))
	for i := range rows {
		d := p.unitDot(slabUnit{}, h, i)
		if u.bank == 0 {
			p.do(x86.VPXORD(p.reg(pvSuper), d, d))
		} else {
			const orAnd = 0xf8 // d | other & mask
			p.do(x86.VPSLLD(operand.U8(16), d, d))
			p.do(x86.VPTERNLOGD(operand.U8(orAnd), p.reg(pvSuper), p.unitDot(u, h, i), d))
		}
		p.do(x86.VPDPWSSD(p.reg(pvScale), d, p.all(slabHeight*h+i)))
	}
}
