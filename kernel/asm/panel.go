package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

// Offsets in kernel.panelArgs.
const (
	panelW, panelA, panelAS, panelY, panelYS  = 0, 8, 16, 24, 32
	panelGroups, panelRows, panelAhead        = 40, 48, 56
	panelBias, panelAdd, panelAddS, panelMask = 64, 72, 80, 88
	panelHalf, panelMul                       = 92, 96
	panelPanels, panelYStep, panelMulStep     = 104, 112, 120
)

// Offsets in a record of 32 quantised activations (kernel.record).
const (
	recScale, recStart, recSum, recLow, recHigh = 32, 36, 40, 44, 48
	recBytes                                    = 52
)

// panelFormat is how a panel of 16 weight rows lies: groups that begin with head
// bytes (super-scales, for 256 columns) and hold pairs of blocks. A pair is 64
// columns: low bits in eight vectors of 64 bytes, two nibbles a byte unless wide,
// then the planes of high bits, then scales.
type panelFormat struct {
	name  string
	head  int // bytes of f16 super-scales
	pairs int // in a group
	high  int // bits a weight has in planes of their own
	wide  bool
	tiny  bool // scales are f16 and there are no super-scales
	mins  bool // a block's offset is a float of its own; else the codes are centred
	split bool // scales for 16 columns
}

var panelFormats = []panelFormat{
	{name: "Q8_0", pairs: 1, wide: true, tiny: true},
	{name: "Q4_0", pairs: 1, tiny: true},
	{name: "Q4_K", head: 64, pairs: 4, mins: true},
	{name: "Q5_K", head: 64, pairs: 4, high: 1, mins: true},
	{name: "Q6_K", head: 64, pairs: 4, high: 2, split: true},
}

func (f panelFormat) lowBytes() int {
	if f.wide {
		return 1024
	}
	return 512
}

func (f panelFormat) pairBytes() int { return f.lowBytes() + f.high*128 + 64 }

// scales is where a pair's scales begin.
func (f panelFormat) scales() int { return f.lowBytes() + f.high*128 }

// panelWriter writes the kernel of one format on one tier: 16 weight rows times
// up to so many rows of activations. Each element is one chain over blocks: the
// integer dot product, converted, times the product of both scales.
//
// Where 256 columns have super-scales, the AVX-512 kernels scale in integers: a dot
// product has sixteen bits (kernel/ref.QuantizeSuper sees to it), so that one VPDPWSSD
// multiplies it with its scale and adds it to a sum of the 256 columns; the chain is of
// those. Offsets come off first, and what moves codes to their centre with them.
type panelWriter struct {
	*vectorWriter
	panelFormat
	height int
	held   map[int]reg.VecPhysical // planes, by where they lie, that are in registers; at heldMask their mask
	index  reg.Register            // what is added to the address of weights, if any
}

const heldMask = -1

// integer reports whether scales are multiplied as integers.
func (p *panelWriter) integer() bool { return p.head > 0 && !p.narrow() }

// moved reports whether codes with an offset are counted from their center all the same:
// those of five bits, whose dot products would not have sixteen bits otherwise.
func (p *panelWriter) moved() bool { return p.integer() && p.mins && p.high > 0 }

func writePanels(w *writer) {
	for _, f := range panelFormats {
		(&panelWriter{vectorWriter: &vectorWriter{writer: w, lanes: 16, suffix: "AVX512"}, panelFormat: f, height: 6}).write()
		(&panelWriter{vectorWriter: &vectorWriter{writer: w, lanes: 8, suffix: "AVX2"}, panelFormat: f, height: 3}).write()
	}
}

var (
	pnlW, pnlArgs, pnlPairs, pnlGroups = reg.RSI, reg.RAX, reg.RCX, reg.RDX
	pnlY, pnlYS, pnlAS, pnlAhead       = reg.RDI, reg.RBX, reg.R12, reg.R13
	pnlScales, pnlTmp                  = reg.R14, reg.R15
)

// Vector registers: dot products, sums of 256 columns as integers, sums; then two for
// weights, scales, offsets, a product, the super-scales and a mask.
func (p *panelWriter) dot(row int) reg.VecPhysical { return p.v(row) }
func (p *panelWriter) all(row int) reg.VecPhysical { return p.v(p.height + row) }
func (p *panelWriter) sum(row int) reg.VecPhysical { return p.v(p.kinds()*p.height - p.height + row) }
func (p *panelWriter) reg(i int) reg.VecPhysical   { return p.v(p.kinds()*p.height + i) }

func (p *panelWriter) kinds() int {
	if p.integer() {
		return 3
	}
	return 2
}

const (
	pvWeight, pvOther, pvScale, pvMin, pvTmp, pvSuper, pvSuperMin, pvMask = 0, 1, 2, 3, 4, 5, 6, 7
	// AVX2 alone has two more; the AVX-512 kernels need none of them.
	pvOnes, pvCopy = 8, 9
	// What codes are counted from times the super-scale.
	pvCenter = 8
)

func (p *panelWriter) narrow() bool { return p.lanes == 8 }

func (p *panelWriter) write() {
	name := "panel" + p.name[:2] + p.name[3:] + p.suffix
	p.function(name, "func(args *byte)", name+" multiplies a panel of 16 weight rows; see panelArgs.")
	p.do(x86.MOVQ(p.param("args"), pnlArgs))
	p.do(x86.MOVQ(mem(pnlArgs, panelW), pnlW))
	if p.narrow() {
		p.halfPointers()
	} else {
		p.do(x86.MOVQ(mem(pnlArgs, panelAhead), pnlAhead))
		p.do(x86.MOVL(mem(pnlArgs, panelMask), pnlTmp.As32()))
		p.do(x86.KMOVW(pnlTmp.As32(), reg.K1))
	}
	if !p.wide {
		p.do(x86.VMOVUPS(p.constant(p.lowMask()), p.reg(pvMask)))
	}
	for rows := p.height; rows >= 1; rows-- {
		p.do(x86.CMPQ(mem(pnlArgs, panelRows), operand.U8(rows)))
		p.do(x86.JE(to(fmt.Sprintf("rows%d", rows))))
	}
	p.do(x86.RET())
	for rows := p.height; rows >= 1; rows-- {
		p.variant(rows)
	}
}

// halfPointers: the AVX2 kernel computes 8 of the 16 rows; their weights and
// scales lie 8 lanes on, which in scales of one byte or two is less.
func (p *panelWriter) halfPointers() {
	p.do(x86.MOVLQZX(mem(pnlArgs, panelHalf), pnlTmp))
	p.do(x86.LEAQ(operand.Mem{Base: pnlW, Index: pnlTmp, Scale: 8}, pnlScales))
	if p.tiny {
		p.do(x86.LEAQ(operand.Mem{Base: pnlScales, Index: pnlTmp, Scale: 8}, pnlScales))
	} else {
		p.do(x86.LEAQ(operand.Mem{Base: pnlScales, Index: pnlTmp, Scale: 8}, pnlAhead))
	}
	p.do(x86.SHLQ(operand.U8(5), pnlTmp))
	p.do(x86.ADDQ(pnlTmp, pnlW))
	p.do(x86.VMOVUPS(p.constant(0x00010001), p.reg(pvOnes)))
}

// up is how far codes are moved to the left: those of Q4_0 go to the high bits of a
// byte, so that their centre is 128 as that of Q8_0 is; but on AVX2 sums of two
// products would saturate.
func (p *panelWriter) up() int {
	if p.head > 0 || p.wide || p.narrow() {
		return 0
	}
	return 4
}

// down is how far the start of an integer sum, which is for a centre of 128, is
// moved to the right instead.
func (p *panelWriter) down() int {
	if p.head > 0 || p.wide || !p.narrow() {
		return 0
	}
	return 4
}

func (p *panelWriter) lowMask() uint32 { return 0x0f0f0f0f << p.up() }

func (p *panelWriter) variant(rows int) {
	l := func(what string) string { return fmt.Sprintf("rows%d%s", rows, what) }
	p.label(l(""))
	for _, a := range []struct {
		offset int
		r      reg.Register
	}{{panelA, regA[0]}, {panelAS, pnlAS}, {panelY, pnlY}, {panelYS, pnlYS}, {panelGroups, pnlGroups}} {
		p.do(x86.MOVQ(mem(pnlArgs, a.offset), a.r))
	}
	for i := 1; i < (rows+2)/3; i++ {
		p.do(x86.LEAQ(operand.Mem{Base: regA[i-1], Index: pnlAS, Scale: 2}, regA[i]))
		p.do(x86.ADDQ(pnlAS, regA[i]))
	}
	for i := range rows {
		p.clear(p.sum(i))
	}
	p.label(l("group"))
	if p.head > 0 {
		p.superScales()
		if p.integer() {
			for i := range rows {
				p.clear(p.all(i))
			}
		}
		p.do(x86.MOVQ(operand.U32(p.pairs), pnlPairs))
		p.label(l("pair"))
	}
	for half := range 2 {
		p.block(rows, half)
	}
	p.do(x86.ADDQ(operand.U32(p.pairBytes()), pnlW))
	if p.narrow() {
		p.do(x86.ADDQ(operand.U32(p.pairBytes()), pnlScales))
	}
	for i := range (rows + 2) / 3 {
		p.do(x86.ADDQ(operand.U32(2*recBytes), regA[i]))
	}
	if p.head > 0 {
		p.do(x86.DECQ(pnlPairs))
		p.do(x86.JNZ(to(l("pair"))))
	}
	if p.integer() {
		for i := range rows {
			p.do(x86.VCVTDQ2PS(p.all(i), p.all(i)))
			p.do(x86.VMULPS_BCST(activation(i, 0, recScale-recBytes), p.reg(pvSuper), p.reg(pvTmp)))
			p.do(x86.VFMADD231PS(p.reg(pvTmp), p.all(i), p.sum(i)))
		}
	}
	p.do(x86.DECQ(pnlGroups))
	p.do(x86.JNZ(to(l("group"))))
	p.finish(rows)
}

func (p *panelWriter) clear(v reg.VecPhysical) {
	if p.narrow() {
		p.do(x86.VXORPS(v, v, v))
		return
	}
	p.do(x86.VPXORD(v, v, v))
}

func (p *panelWriter) superScales() {
	from := pnlW
	if p.narrow() {
		from = pnlAhead
	}
	p.loadSuper(from)
	if !p.narrow() {
		p.ahead(0)
	}
	p.do(x86.ADDQ(operand.U32(p.head), pnlW))
	if p.narrow() {
		p.do(x86.ADDQ(operand.U32(p.head), pnlScales))
		p.do(x86.ADDQ(operand.U32(p.head+p.pairs*p.pairBytes()), pnlAhead))
	}
}

// loadSuper widens the super-scales that lie at a group's head.
func (p *panelWriter) loadSuper(head reg.Register) {
	p.do(x86.VCVTPH2PS(mem(head, 0), p.reg(pvSuper)))
	if !p.mins {
		return
	}
	p.do(x86.VCVTPH2PS(mem(head, 32), p.reg(pvSuperMin)))
	if p.moved() {
		p.do(x86.VMULPS(p.float(center), p.reg(pvSuper), p.reg(pvCenter)))
	}
}

// center is what codes of five bits are counted from where scales are integers.
const center = 16

// activation addresses a row's record of the block.
func activation(row, half, disp int) operand.Mem {
	m := mem(regA[row/3], half*recBytes+disp)
	if row%3 > 0 {
		m.Index, m.Scale = pnlAS, uint8(row%3)
	}
	return m
}

// block adds 32 columns.
func (p *panelWriter) block(rows, half int) {
	parts, quads := 1, 8
	if p.split {
		parts, quads = 2, 4
	}
	for part := range parts {
		p.begin(rows, half, part)
		for q := range quads {
			p.quad(rows, half, part*quads+q)
		}
		p.loadScale(half, part)
		p.scaled(rows, half)
	}
	if !p.narrow() {
		p.prefetch(half)
	}
}

// begin sets the integer sums: to minus the centre of codes times the sum of the
// activations, or to zero where they count from zero.
func (p *panelWriter) begin(rows, half, part int) {
	disp := recStart
	if p.split {
		disp = recLow + part*(recHigh-recLow)
	}
	signed := p.narrow() && p.wide
	for i := range rows {
		if p.mins && !p.moved() || signed {
			p.clear(p.dot(i))
			continue
		}
		p.do(x86.VPBROADCASTD(activation(i, half, disp), p.dot(i)))
		if p.down() > 0 {
			p.do(x86.VPSRAD(operand.U8(p.down()), p.dot(i), p.dot(i)))
		}
	}
}

// quad adds four columns.
func (p *panelWriter) quad(rows, half, q int) {
	w := p.reg(pvWeight)
	if !p.narrow() && q%2 == 1 && p.high == 0 {
		w = p.reg(pvOther)
	}
	p.codes(half, q, w)
	if p.narrow() {
		p.quadAVX2(rows, half, q, w)
		return
	}
	for i := range rows {
		p.do(x86.VPDPBUSD_BCST(activation(i, half, 4*q), w, p.dot(i)))
	}
}

// quadAVX2 has products of bytes added in pairs with saturation, at 32767: codes
// of eight bits go in as magnitudes, their signs to the activations.
func (p *panelWriter) quadAVX2(rows, half, q int, w reg.VecPhysical) {
	t := p.reg(pvTmp)
	if p.wide {
		p.do(x86.VPABSB(w, p.reg(pvCopy)))
	}
	for i := range rows {
		p.do(x86.VPBROADCASTD(activation(i, half, 4*q), t))
		if p.wide {
			p.do(x86.VPSIGNB(w, t, t))
			p.do(x86.VPMADDUBSW(t, p.reg(pvCopy), t))
		} else {
			p.do(x86.VPMADDUBSW(t, w, t))
		}
		p.do(x86.VPMADDWD(p.reg(pvOnes), t, t))
		p.do(x86.VPADDD(t, p.dot(i), p.dot(i)))
	}
}

// weights addresses weights.
func (p *panelWriter) weights(disp int) operand.Mem {
	m := mem(pnlW, disp)
	if p.index != nil {
		m.Index, m.Scale = p.index, 1
	}
	return m
}

// codes brings the codes of four columns of 16 rows into w.
func (p *panelWriter) codes(half, q int, w reg.VecPhysical) {
	if p.wide {
		p.do(x86.VMOVUPS(mem(pnlW, half*512+q*64), w))
		if p.narrow() { // as signed numbers
			p.do(x86.VXORPS(p.constant(0x80808080), w, w))
		}
		return
	}
	low := p.weights(q * 64)
	// How far the bits of this half of each byte are moved to the left.
	shift := p.up() - 4*half
	p.shifted(low, shift, w)
	if shift == 0 {
		p.and(low, w)
	} else {
		p.and(w, w)
	}
	switch p.high {
	case 1:
		p.plane(512+half*64, 4-q, w)
	case 2:
		p.plane(512+half*128+q/4*64, 4-2*(q%4), w)
	}
}

// and keeps the low bits of x in w.
func (p *panelWriter) and(x operand.Op, w reg.VecPhysical) {
	if p.narrow() {
		p.do(x86.VPAND(x, p.reg(pvMask), w))
		return
	}
	p.do(x86.VPANDD(x, p.reg(pvMask), w))
}

// shifted loads words moved left by shift, if it is not 0.
func (p *panelWriter) shifted(from operand.Op, shift int, w reg.VecPhysical) {
	if shift == 0 {
		return
	}
	if p.narrow() { // shifts take no memory there
		p.do(x86.VMOVUPS(from, w))
		from = w
	}
	if shift > 0 {
		p.do(x86.VPSLLW(operand.U8(shift), from, w))
	} else {
		p.do(x86.VPSRLW(operand.U8(-shift), from, w))
	}
}

// highMask is where a plane's bits belong in a code.
func (p *panelWriter) highMask() operand.Op {
	if p.high == 1 {
		return p.constant(0x10101010)
	}
	return p.constant(0x30303030)
}

// plane adds high bits to w: those of a plane, moved left by shift, under their mask.
func (p *panelWriter) plane(at, shift int, w reg.VecPhysical) {
	var from, mask operand.Op = p.weights(at), p.highMask()
	if r, ok := p.held[at]; ok {
		from = r
	}
	if r, ok := p.held[heldMask]; ok {
		mask = r
	}
	t := p.reg(pvOther)
	if shift == 0 {
		p.do(x86.VMOVUPS(from, t))
	}
	p.shifted(from, shift, t)
	if p.narrow() {
		p.do(x86.VANDPS(mask, t, t))
		p.do(x86.VORPS(t, w, w))
		return
	}
	const orAnd = 0xf8 // w | t & mask
	p.do(x86.VPTERNLOGD(operand.U8(orAnd), mask, t, w))
}

// loadScale makes the scales of the block's rows, and their offsets, in float32.
func (p *panelWriter) loadScale(half, part int) {
	from := pnlW
	if p.narrow() {
		from = pnlScales
	}
	s, at := p.reg(pvScale), p.scales()
	switch {
	case p.tiny:
		p.do(x86.VCVTPH2PS(mem(from, at+32*half), s))
		if p.up() > 0 {
			p.do(x86.VMULPS(p.float(1.0/16), s, s))
		}
		return
	case p.split:
		p.do(x86.VPMOVSXBD(mem(from, at+32*half+16*part), s))
	default:
		p.do(x86.VPMOVZXBD(mem(from, at+32*half), s))
	}
	switch {
	case !p.integer():
		p.do(x86.VCVTDQ2PS(s, s))
		p.do(x86.VMULPS(p.reg(pvSuper), s, s))
	case p.split: // a word whose neighbour, by which the sign of a product goes, is zero
		p.do(x86.VPANDD(p.constant(0xffff), s, s))
	}
	if !p.mins {
		return
	}
	m := p.reg(pvMin)
	p.do(x86.VPMOVZXBD(mem(from, at+32*half+16), m))
	p.do(x86.VCVTDQ2PS(m, m))
	p.do(x86.VMULPS(p.reg(pvSuperMin), m, m))
	if p.moved() {
		p.do(x86.VCVTDQ2PS(s, p.reg(pvTmp)))
		p.do(x86.VFNMADD231PS(p.reg(pvCenter), p.reg(pvTmp), m))
	}
}

// scaled adds the integer sums, times both scales, and takes the offsets off.
func (p *panelWriter) scaled(rows, half int) {
	for i := range rows {
		if p.integer() {
			p.do(x86.VPDPWSSD(p.reg(pvScale), p.dot(i), p.all(i)))
			if p.mins {
				p.do(x86.VFNMADD231PS_BCST(activation(i, half, recSum), p.reg(pvMin), p.sum(i)))
			}
			continue
		}
		d, t := p.dot(i), p.reg(pvTmp)
		if i%2 == 1 && !p.narrow() {
			t = p.reg(pvOther)
		}
		p.do(x86.VCVTDQ2PS(d, d))
		if p.narrow() {
			p.do(x86.VBROADCASTSS(activation(i, half, recScale), t))
			p.do(x86.VMULPS(t, p.reg(pvScale), t))
		} else {
			p.do(x86.VMULPS_BCST(activation(i, half, recScale), p.reg(pvScale), t))
		}
		p.do(x86.VFMADD231PS(t, d, p.sum(i)))
		if !p.mins {
			continue
		}
		if p.narrow() {
			p.do(x86.VBROADCASTSS(activation(i, half, recSum), t))
			p.do(x86.VFNMADD231PS(t, p.reg(pvMin), p.sum(i)))
		} else {
			p.do(x86.VFNMADD231PS_BCST(activation(i, half, recSum), p.reg(pvMin), p.sum(i)))
		}
	}
}

// finish stores. The AVX-512 kernel first adds a bias, multiplies with factors
// (rows of 16) and adds rows of addends, where there are any.
func (p *panelWriter) finish(rows int) {
	if p.narrow() {
		for i := range rows {
			p.do(x86.VMOVUPS(p.sum(i), mem(pnlY, 0)))
			p.do(x86.ADDQ(pnlYS, pnlY))
		}
		p.done()
		return
	}
	l := func(what string) string { return fmt.Sprintf("rows%d%s", rows, what) }
	p.do(x86.MOVQ(mem(pnlArgs, panelBias), pnlTmp))
	p.do(x86.TESTQ(pnlTmp, pnlTmp))
	p.do(x86.JZ(to(l("unbiased"))))
	p.do(x86.VMOVUPS_Z(mem(pnlTmp, 0), reg.K1, zmm[30]))
	for i := range rows {
		p.do(x86.VADDPS(zmm[30], p.sum(i), p.sum(i)))
	}
	p.label(l("unbiased"))
	p.do(x86.MOVQ(mem(pnlArgs, panelMul), pnlTmp))
	p.do(x86.TESTQ(pnlTmp, pnlTmp))
	p.do(x86.JZ(to(l("ungated"))))
	for i := range rows {
		p.do(x86.VMULPS(mem(pnlTmp, 64*i), p.sum(i), p.sum(i)))
	}
	p.label(l("ungated"))
	p.do(x86.MOVQ(mem(pnlArgs, panelAdd), pnlTmp))
	p.do(x86.TESTQ(pnlTmp, pnlTmp))
	p.do(x86.JZ(to(l("store"))))
	p.do(x86.MOVQ(mem(pnlArgs, panelAddS), pnlAS))
	for i := range rows {
		p.do(x86.VMOVUPS_Z(mem(pnlTmp, 0), reg.K1, zmm[30]))
		p.do(x86.VADDPS(zmm[30], p.sum(i), p.sum(i)))
		p.do(x86.ADDQ(pnlAS, pnlTmp))
	}
	p.label(l("store"))
	for i := range rows {
		p.do(x86.VMOVUPS(p.sum(i), reg.K1, mem(pnlY, 0)))
		p.do(x86.ADDQ(pnlYS, pnlY))
	}
	p.nextPanel(rows)
}

// nextPanel goes on with the panel that follows in memory, if there is one: what
// changes is kept in the arguments.
func (p *panelWriter) nextPanel(rows int) {
	l := func(what string) string { return fmt.Sprintf("rows%d%s", rows, what) }
	p.do(x86.DECQ(mem(pnlArgs, panelPanels)))
	p.do(x86.JZ(to(l("done"))))
	for _, a := range []struct{ pointer, step int }{{panelY, panelYStep}, {panelMul, panelMulStep}} {
		p.do(x86.MOVQ(mem(pnlArgs, a.step), pnlTmp))
		p.do(x86.ADDQ(pnlTmp, mem(pnlArgs, a.pointer)))
	}
	for _, pointer := range []int{panelBias, panelAdd} {
		p.do(x86.MOVQ(mem(pnlArgs, pointer), pnlTmp))
		p.do(x86.TESTQ(pnlTmp, pnlTmp))
		p.do(x86.JZ(to(l(fmt.Sprintf("without%d", pointer)))))
		p.do(x86.ADDQ(operand.U32(64), mem(pnlArgs, pointer)))
		p.label(l(fmt.Sprintf("without%d", pointer)))
	}
	p.do(x86.JMP(to(l(""))))
	p.label(l("done"))
	p.done()
}
