package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

// expand unpacks a slab of both panels to bytes and scales, as the form has them; only to
// scales where the first group of rows unpacks codes.
func (p *slabWriter) expand() {
	u := p.panel
	p.arguments([]argument{{slabTile, pnlY}, {slabW, pnlW}})
	if !p.four {
		p.do(x86.VMOVUPS(u.constant(u.lowMask()), u.reg(pvMask)))
	}
	if u.high > 0 && !p.four {
		p.do(x86.VMOVUPS(u.highMask(), zmm[30]))
	}
	p.do(x86.MOVQ(operand.U32(2), slabCalls))
	p.label("panel")
	p.do(x86.MOVQ(mem(pnlArgs, slabCount), pnlPairs))
	if u.head > 0 {
		u.loadSuper(pnlW)
		p.do(x86.VMOVUPS(u.reg(pvSuper), mem(pnlY, 0)))
		p.do(x86.ADDQ(operand.U32(64), pnlY))
		p.do(x86.ADDQ(operand.U32(u.head), pnlW))
	}
	p.label("pair")
	p.expandPair()
	p.do(x86.ADDQ(operand.U32(u.pairBytes()), pnlW))
	p.do(x86.ADDQ(operand.U32(p.pairSize()), pnlY))
	p.do(x86.DECQ(pnlPairs))
	p.do(x86.JNZ(to("pair")))
	p.arguments([]argument{{slabTile, pnlY}, {slabW, pnlW}})
	p.do(x86.ADDQ(operand.U32(p.tileBytes()), pnlY))
	p.do(x86.ADDQ(mem(pnlArgs, slabSize), pnlW))
	p.do(x86.DECQ(slabCalls))
	p.do(x86.JNZ(to("panel")))
}

// expandPair unpacks a pair of blocks.
func (p *slabWriter) expandPair() {
	u := p.panel
	put := func(at, r int) { p.do(x86.VMOVUPS(u.reg(r), mem(pnlY, at))) }
	if p.four {
		p.expandScales()
		return
	}
	for q := range 8 {
		p.hold(q)
		for half := range 2 {
			w := u.dot((2*q + half) % (2 * slabHeight))
			u.codes(half, q, w)
			p.do(x86.VMOVUPS(w, mem(pnlY, p.codesAt(half)+q*64)))
		}
	}
	for half := range 2 {
		at := p.scalesAt(half)
		u.loadScale(half, 0)
		put(at, pvScale)
		if p.split {
			u.loadScale(half, 1)
			put(at+64, pvScale)
		}
		if p.mins {
			put(at+64, pvMin)
		}
	}
}

// expandScales unpacks the scales of a pair of blocks, two to a vector of words where
// sums are joined.
func (p *slabWriter) expandScales() {
	u := p.panel
	put := func(at, r int) { p.do(x86.VMOVUPS(u.reg(r), mem(pnlY, at))) }
	parts := 1
	if p.split {
		parts = 2
	}
	for half := range 2 {
		for part := range parts {
			u.loadScale(half, part)
			if p.mins {
				put(p.scalesAt(half)+64, pvMin)
			}
			scale := slabUnit{half: half, part: part}
			switch {
			case !p.joined():
				put(p.scalesAt(half), pvScale)
			case p.second(scale):
				p.do(x86.VPORD(u.dot(0), u.reg(pvScale), u.reg(pvScale)))
				put(p.scalesAt(half*(parts-1)), pvScale)
			default:
				p.do(x86.VPSLLD(operand.U8(16), u.reg(pvScale), u.dot(0)))
			}
		}
	}
}

// hold loads the planes that the codes of both blocks need from q on.
func (p *slabWriter) hold(q int) {
	u, each := p.panel, 8
	if u.high == 2 {
		each = 4
	}
	if u.high == 0 || q%each > 0 {
		return
	}
	u.held = map[int]reg.VecPhysical{heldMask: zmm[30]}
	for half := range 2 {
		at := 512 + half*64*u.high + q/each*64
		u.held[at] = zmm[28+half]
		p.do(x86.VMOVUPS(mem(pnlW, at), u.held[at]))
	}
}
