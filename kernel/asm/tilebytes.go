package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

// What becomes of the sums of whole numbers in the registers in which they were added up.

// scales loads those of the columns into the vectors of B.
func (t *tileWriter) scales() {
	t.do(x86.MOVQ(t.arg(argScale), regTmp))
	for h := range t.halves {
		t.loadHalf(regTmp, h, t.b(h))
	}
}

// floats writes c·(row's scale · column's scale) + shift to C, rounded after each
// operation; -0, which changes nothing, is added where there is no shift.
func (t *tileWriter) floats(rows int) {
	t.label(t.labelName(rows, "floats"))
	t.scales()
	t.do(x86.MOVL(operand.U32(1<<31), regTmp.As32()))
	for h := range t.halves {
		t.do(x86.VPBROADCASTD(regTmp.As32(), t.spare(h)))
	}
	t.do(x86.MOVQ(t.arg(argShift), regTmp))
	t.do(x86.TESTQ(regTmp, regTmp))
	t.do(x86.JZ(operand.LabelRef(t.labelName(rows, "unshifted"))))
	for h := range t.halves {
		t.loadHalf(regTmp, h, t.spare(h))
	}
	t.label(t.labelName(rows, "unshifted"))
	t.do(x86.MOVQ(t.arg(argRowScale), regTmp))
	t.do(x86.MOVQ(t.arg(argRowStep), regRS))
	for i := range rows {
		t.do(x86.VBROADCASTSS(mem(regTmp, 0), t.spare(2)))
		for h := range t.halves {
			acc, scale := t.acc(i, h), t.spare(3+h)
			t.do(x86.VMULPS(t.b(h), t.spare(2), scale))
			t.do(x86.VCVTDQ2PS(acc, acc))
			t.do(x86.VMULPS(scale, acc, acc))
			t.do(x86.VADDPS(t.spare(h), acc, acc))
			t.storeHalf(acc, regC, h)
		}
		if i < rows-1 {
			t.do(x86.ADDQ(regRS, regTmp))
			t.do(x86.ADDQ(regCS, regC))
		}
	}
	t.do(x86.JMP(to("next")))
}

// bytes writes round(c·column's scale) + zero to C as bytes, saturated.
func (t *tileWriter) bytes(rows int) {
	t.label(t.labelName(rows, "bytes"))
	t.scales()
	t.each(rows, func(i, h int) {
		acc := t.acc(i, h)
		t.do(x86.VCVTDQ2PS(acc, acc))
		t.do(x86.VMULPS(t.b(h), acc, acc))
		t.do(x86.VCVTPS2DQ(acc, acc))
	})
	t.label(t.labelName(rows, "pack"))
	t.pack(rows)
}

// fetchNext fetches a line of each row of the next strip into the L2 cache.
func (t *tileWriter) fetchNext(rows int) {
	skip := t.labelName(rows, "other")
	t.do(x86.MOVQ(t.arg(argFar), regTmp))
	t.do(x86.TESTQ(regTmp, regTmp))
	t.do(x86.JZ(operand.LabelRef(skip)))
	for i := range rows {
		t.do(x86.PREFETCHT1(mem(regTmp, 0)))
		if i < rows-1 {
			t.do(x86.ADDQ(regRS, regTmp))
		}
	}
	t.do(x86.ADDQ(operand.U8(64), t.arg(argFar)))
	t.label(skip)
}

// fetchOther fetches the bytes that combined reads, while the products are added up.
func (t *tileWriter) fetchOther(rows int) {
	t.do(x86.MOVQ(t.arg(argOther), regTmp))
	t.do(x86.TESTQ(regTmp, regTmp))
	t.do(x86.JZ(operand.LabelRef(t.labelName(rows, "begin"))))
	for i := range rows {
		t.do(x86.PREFETCHT0(mem(regTmp, 0)))
		if i < rows-1 {
			t.do(x86.ADDQ(t.arg(argOtherStep), regTmp))
		}
	}
	t.label(t.labelName(rows, "begin"))
}

// combined writes the sum of what bytes would write and other bytes, each
// less its zero point and times its factor. Other bytes, which otherBits flips if they are
// signed, become the lowest of the bits of 2²³, which is a float of so much more.
func (t *tileWriter) combined(rows int) {
	t.label(t.labelName(rows, "combined"))
	t.scales()
	factor := t.spare(0)
	t.do(x86.VBROADCASTSS(t.arg(argFactor), factor))
	t.do(x86.MOVQ(t.arg(argOther), regTmp))
	t.each(rows, func(i, h int) {
		acc, other := t.acc(i, h), t.spare(1+(2*i+h)%4)
		t.do(x86.VCVTDQ2PS(acc, acc))
		t.do(x86.VMULPS(t.b(h), acc, acc))
		t.do(x86.VMAXPS_BCST(t.arg(argLo), acc, acc))
		t.do(x86.VMINPS_BCST(t.arg(argHi), acc, acc))
		t.do(x86.VRNDSCALEPS(operand.U8(0), acc, acc))
		t.do(x86.VMULPS(factor, acc, acc))
		t.do(x86.VPMOVZXBD_Z(mem(regTmp, 16*h), []reg.Register{reg.K1, reg.K2}[h], other))
		t.do(x86.VPXORD_BCST(t.arg(argOtherBits), other, other))
		t.do(x86.VSUBPS_BCST(t.arg(argOtherZero), other, other))
		t.do(x86.VMULPS_BCST(t.arg(argOtherFactor), other, other))
		t.do(x86.VADDPS(other, acc, acc))
		t.do(x86.VCVTPS2DQ(acc, acc))
		if h == t.halves-1 && i < rows-1 {
			t.do(x86.ADDQ(t.arg(argOtherStep), regTmp))
		}
	})
	t.do(x86.JMP(operand.LabelRef(t.labelName(rows, "pack"))))
}

// pack writes the accumulators, whole numbers, to C as bytes. Rows are packed two by two,
// with saturation: to 16 bits, in which the zero point is added, then to 8, as signed
// bytes, which are flipped into unsigned ones.
func (t *tileWriter) pack(rows int) {
	zero, flip, order := t.spare(1), t.spare(2), t.spare(3)
	t.do(x86.VBROADCASTSS(t.arg(argZero), zero))
	t.do(x86.VBROADCASTSS(t.arg(argFlip), flip))
	t.do(x86.VMOVUPS(t.order, order))
	t.do(x86.KMOVD(t.arg(argMask), reg.K1))
	if t.halves == 2 {
		t.do(x86.CMPL(t.arg(argMask), operand.I8(-1)))
		t.do(x86.JNE(operand.LabelRef(t.labelName(rows, "packPart"))))
		t.packRows(rows, true)
		t.label(t.labelName(rows, "packPart"))
	}
	t.packRows(rows, false)
}

// packRows does so with the rows, of which all columns exist if they are whole.
func (t *tileWriter) packRows(rows int, whole bool) {
	zero, flip, order := t.spare(1), t.spare(2), t.spare(3)
	for i := 0; i < rows; i += 2 {
		pair := min(2, rows-i)
		a, b := t.acc(i, 0), t.acc(i+pair-1, 0)
		if t.halves == 2 {
			for r := i; r < i+pair; r++ {
				t.do(x86.VPACKSSDW(t.acc(r, 1), t.acc(r, 0), t.acc(r, 0)))
				t.do(x86.VPADDSW(zero, t.acc(r, 0), t.acc(r, 0)))
			}
		} else {
			t.do(x86.VPACKSSDW(b, a, a))
			t.do(x86.VPADDSW(zero, a, a))
			b = a
		}
		t.do(x86.VPACKSSWB(b, a, a))
		t.do(x86.VPERMD(a, order, a))
		t.do(x86.VPXORD(flip, a, a))
		t.storePair(a, pair, whole)
		if i+pair < rows {
			t.do(x86.ADDQ(regCS, regC))
		}
	}
	t.do(x86.JMP(to("next")))
}

// storePair writes one or two packed rows of bytes, the first in the lower part of v, and
// leaves regC at the last of them. Parts of vectors are stored beside products on AMD's Zen 5,
// where whole vectors, with a mask or without, take the time of one.
func (t *tileWriter) storePair(v reg.VecPhysical, rows int, whole bool) {
	if whole {
		t.do(x86.VEXTRACTI64X4(operand.U8(0), v, mem(regC, 0)))
		if rows == 2 {
			t.do(x86.ADDQ(regCS, regC))
			t.do(x86.VEXTRACTI64X4(operand.U8(1), v, mem(regC, 0)))
		}
		return
	}
	first, second := v.AsY(), t.spare(4).AsY()
	if t.halves == 1 {
		first, second = v.AsX(), t.spare(4).AsX()
	}
	t.do(x86.VMOVDQU8(first, reg.K1, mem(regC, 0)))
	if rows == 1 {
		return
	}
	if t.halves == 2 {
		t.do(x86.VEXTRACTI64X4(operand.U8(1), v, second))
	} else {
		t.do(x86.VEXTRACTI32X4(operand.U8(1), v, second))
	}
	t.do(x86.ADDQ(regCS, regC))
	t.do(x86.VMOVDQU8(second, reg.K1, mem(regC, 0)))
}

// blockRows and blockRowBytes are those of a panel of kernel.blockSums.
const blockRows, blockRowBytes = 32, 128

// loadSums loads the accumulators from rows of blockSums at regTmp.
func (t *tileWriter) loadSums(rows int) {
	t.each(rows, func(i, h int) { t.do(x86.VMOVUPS(mem(regTmp, blockRowBytes*i+64*h), t.acc(i, h))) })
}

// addRowStart adds a number of each row to what its sums start from.
func (t *tileWriter) addRowStart(rows int) {
	t.do(x86.MOVQ(t.arg(argRowStart), regTmp))
	t.do(x86.TESTQ(regTmp, regTmp))
	t.do(x86.JZ(operand.LabelRef(t.labelName(rows, "loop"))))
	t.each(rows, func(i, h int) { t.do(x86.VPADDD_BCST(mem(regTmp, 4*i), t.acc(i, h), t.acc(i, h))) })
}

// next goes on to the tile of the next columns, if there is one; all are whole then.
func (t *tileWriter) next() {
	t.do(x86.DECQ(t.arg(argTiles)))
	t.do(x86.JLE(to("done")))
	columns := 2 * t.lanes
	for _, p := range []struct{ step, at int }{{argPanel, argB}, {argColumnsC, argC}, {argAllLines, argLines}} {
		t.do(x86.MOVQ(t.arg(p.step), regTmp))
		if p.at == argLines { // they have been counted down
			t.do(x86.MOVQ(regTmp, t.arg(p.at)))
		} else {
			t.do(x86.ADDQ(regTmp, t.arg(p.at)))
		}
	}
	for _, at := range []int{argBias, argScale} {
		t.do(x86.ADDQ(operand.U32(4*columns), t.arg(at)))
	}
	for _, p := range []struct{ at, bytes int }{{argShift, 4 * columns}, {argOther, columns}, {argFrom, blockRows * blockRowBytes}} {
		skip := fmt.Sprintf("without%d", p.at)
		t.do(x86.CMPQ(t.arg(p.at), operand.U8(0)))
		t.do(x86.JE(operand.LabelRef(skip)))
		t.do(x86.ADDQ(operand.U32(p.bytes), t.arg(p.at)))
		t.label(skip)
	}
	t.do(x86.JMP(to("tile")))
	t.label("done")
	t.do(x86.VZEROUPPER())
	t.do(x86.RET())
}
