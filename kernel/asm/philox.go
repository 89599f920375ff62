package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

// Offsets in kernel.dropoutArgs.
const (
	dropY, dropX, dropGroups    = 0, 8, 16
	dropCounter, dropHigh       = 24, 32
	dropThreshold, dropScale    = 40, 44
	dropKeys                    = 48 // [10][2]uint32
	philoxM0, philoxM1          = 0xD2511F53, 0xCD9E8D57
	groupCounters, groupOfBytes = 16, 256
)

// writeDropout writes dropout by Philox4x32-10, groups of 64 elements: one
// counter a lane, and each of the four words fills its vector of elements.
func writeDropout(w *writer) {
	for _, v := range widths(w) {
		v.dropout()
	}
}

func (w *vectorWriter) dropout() {
	w.function("dropout"+w.suffix, "func(args *byte)", "dropout"+w.suffix+" drops out whole groups; see dropoutArgs.")
	args, y, x, groups, counter, tmp := reg.RAX, reg.RDI, reg.RSI, reg.RCX, reg.R8, reg.R9
	w.load("args", args)
	w.do(x86.MOVQ(mem(args, dropY), y))
	w.do(x86.MOVQ(mem(args, dropX), x))
	w.do(x86.MOVQ(mem(args, dropGroups), groups))
	w.do(x86.MOVQ(mem(args, dropCounter), counter))
	const m0, m1 = 14, 15
	w.do(x86.VMOVUPS(w.constant(philoxM0), w.v(m0)))
	w.do(x86.VMOVUPS(w.constant(philoxM1), w.v(m1)))
	if w.lanes == 16 {
		w.do(x86.MOVL(operand.U32(0xAAAA), tmp.As32()))
		w.do(x86.KMOVW(tmp.As32(), reg.K2))
	}
	w.label("group")
	for half := 0; half < groupCounters/w.lanes; half++ {
		w.do(x86.VMOVD(counter.As32(), reg.X0))
		w.do(x86.VPBROADCASTD(reg.X0, w.v(0)))
		w.laneNumbers(1)
		w.do(x86.VPADDD(w.v(1), w.v(0), w.v(0)))
		w.do(x86.MOVQ(counter, tmp))
		w.do(x86.SHRQ(operand.U8(32), tmp))
		w.do(x86.VMOVD(tmp.As32(), reg.X1))
		w.do(x86.VPBROADCASTD(reg.X1, w.v(1)))
		w.do(x86.VPBROADCASTD(mem(args, dropHigh), w.v(2)))
		w.do(x86.VPBROADCASTD(mem(args, dropHigh+4), w.v(3)))
		c := [4]int{0, 1, 2, 3}
		for round := range 10 {
			c = w.philoxRound(c, m0, m1, mem(args, dropKeys+8*round))
		}
		for word := range 4 {
			w.keep(c[word], args, x, y, word*64+half*w.bytes())
		}
		w.do(x86.ADDQ(operand.U8(w.lanes), counter))
	}
	w.do(x86.ADDQ(operand.U32(groupOfBytes), x))
	w.do(x86.ADDQ(operand.U32(groupOfBytes), y))
	w.do(x86.DECQ(groups))
	w.do(x86.JNZ(to("group")))
	w.done()
}

// laneNumbers sets vector i to 0, 1, 2 …
func (w *vectorWriter) laneNumbers(i int) {
	w.do(x86.MOVQ(operand.U64(0x0706050403020100), reg.R10))
	w.do(x86.VMOVQ(reg.R10, w.x(i)))
	if w.lanes == 16 {
		w.do(x86.MOVQ(operand.U64(0x0f0e0d0c0b0a0908), reg.R10))
		w.do(x86.VPINSRQ(operand.U8(1), reg.R10, w.x(i), w.x(i)))
	}
	w.do(x86.VPMOVZXBD(w.x(i), w.v(i)))
}

// philoxRound returns where the four words of the counter are afterwards. It
// uses vectors 4 to 11 in turn with 0 to 3.
func (w *vectorWriter) philoxRound(c [4]int, m0, m1 int, key operand.Mem) [4]int {
	free := 4 - c[0]/4*4 // the words live in vectors 0–3 and 4–7 by turns
	h0, l0, h1, l1 := free, free+1, free+2, free+3
	w.multiply(c[0], m0, h0, l0)
	w.multiply(c[2], m1, h1, l1)
	w.do(x86.VPBROADCASTD(key, w.v(8)))
	w.do(x86.VXORPS(w.v(8), w.v(h1), w.v(h1)))
	w.do(x86.VXORPS(w.v(c[1]), w.v(h1), w.v(h1)))
	second := key
	second.Disp += 4
	w.do(x86.VPBROADCASTD(second, w.v(8)))
	w.do(x86.VXORPS(w.v(8), w.v(h0), w.v(h0)))
	w.do(x86.VXORPS(w.v(c[3]), w.v(h0), w.v(h0)))
	return [4]int{h1, l1, h0, l0}
}

// multiply computes the high and low halves of the 32-bit lanes' products.
func (w *vectorWriter) multiply(a, m, high, low int) {
	v := w.v
	w.do(x86.VPSRLQ(operand.U8(32), v(a), v(9)))
	w.do(x86.VPMULUDQ(v(m), v(9), v(9)))    // odd lanes: the high half is in place
	w.do(x86.VPMULUDQ(v(m), v(a), v(high))) // even lanes
	w.do(x86.VPSRLQ(operand.U8(32), v(high), v(high)))
	if w.lanes == 16 {
		w.do(x86.VPBLENDMD(v(9), v(high), reg.K2, v(high)))
	} else {
		w.do(x86.VPBLENDD(operand.U8(0xAA), v(9), v(high), v(high)))
	}
	w.do(x86.VPMULLD(v(m), v(a), v(low)))
}

// keep writes x·scale where the word reaches the threshold, else 0.
func (w *vectorWriter) keep(word int, args, x, y reg.GPPhysical, disp int) {
	v := w.v
	w.do(x86.VBROADCASTSS(mem(args, dropThreshold), v(8)))
	w.do(x86.VBROADCASTSS(mem(args, dropScale), v(9)))
	w.do(x86.VMULPS(mem(x, disp), v(9), v(9)))
	if w.lanes == 16 {
		w.do(x86.VPCMPUD(operand.U8(5), v(8), v(word), reg.K1)) // not less
		w.do(x86.VMOVAPS_Z(v(9), reg.K1, v(9)))
	} else {
		w.do(x86.VPMAXUD(v(8), v(word), v(8)))
		w.do(x86.VPCMPEQD(v(8), v(word), v(8)))
		w.do(x86.VANDPS(v(8), v(9), v(9)))
	}
	w.do(x86.VMOVUPS(v(9), mem(y, disp)))
}
