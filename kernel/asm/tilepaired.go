package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

// What combined does takes longer than a processor can look ahead, so that products wait for
// it. A paired tile has two halves of up to six rows, one after the other over all words: while the
// products of one are added up, the sums of the other, which stay in their registers, are
// turned into bytes between them, also from a tile to the next. Each half has enough chains of
// products for the latency of VPDPBUSD where that is four cycles; B is read twice.

const (
	pairedRows  = 9  // the fewest
	pairedWords = 16 // of A, between whose products the instructions of combined are spread
)

// Registers of the half that becomes bytes: where its next row goes, the bytes that it is
// combined with and their step, the scales of its columns.
var regHalfC, regHalfOther, regHalfOtherStep, regHalfScale = regBS, regKS, regTmp, regC

// pairs reports whether a tile of so many rows can be paired.
func (t *tileWriter) pairs(rows int) bool {
	return t.b2 == quads && t.halves == 2 && rows >= pairedRows
}

// paired writes the tile. All columns exist, and sums start from numbers of the columns.
func (t *tileWriter) paired(rows int) {
	t.pairing = true
	defer func() { t.pairing, t.firstRow = false, 0 }()
	lower, upper := (rows+1)/2, rows/2
	l := func(what string) string { return t.labelName(rows, what) }
	ref := func(what string) operand.LabelRef { return operand.LabelRef(l(what)) }
	t.label(l(""))
	t.fetchOther(rows)
	t.startHalf(lower)
	t.do(x86.CMPQ(t.arg(argHalfC), operand.U8(0)))
	t.do(x86.JE(ref("lower")))
	t.loadHalfs(argHalfC, argHalfOther)
	t.do(x86.SUBQ(operand.U8(2*t.lanes*4), regHalfScale)) // those of the tile before
	t.spread(lower, t.combinedHalf(lower, upper))
	t.words(lower, l("lower"))
	t.firstRow = lower
	t.startHalf(upper)
	t.do(x86.MOVQ(t.arg(argA), regA[0]))
	t.do(x86.MOVQ(t.arg(argB), regB))
	t.do(x86.MOVQ(t.arg(argK), regK))
	t.rowBases()
	t.loadHalfs(argC, argOther)
	t.spread(upper, t.combinedHalf(0, lower))
	t.do(x86.MOVQ(regHalfC, t.arg(argHalfC)))
	t.do(x86.MOVQ(regHalfOther, t.arg(argHalfOther)))
	t.words(upper, l("upper"))
	t.do(x86.CMPQ(t.arg(argTiles), operand.U8(1)))
	t.do(x86.JG(to("next")))
	t.loadHalfs(argHalfC, argHalfOther)
	for _, f := range t.combinedHalf(lower, upper) {
		f()
	}
	t.do(x86.MOVQ(operand.U32(0), t.arg(argHalfC)))
	t.do(x86.JMP(to("next")))
}

// startHalf sets the accumulators of a half.
func (t *tileWriter) startHalf(rows int) {
	t.do(x86.MOVQ(t.arg(argBias), regTmp))
	t.each(rows, func(i, h int) {
		if i == 0 {
			t.loadHalf(regTmp, h, t.acc(t.firstRow, h))
		} else {
			t.do(x86.VMOVAPS(t.acc(t.firstRow, h), t.acc(t.firstRow+i, h)))
		}
	})
}

// loadHalfs loads the registers of the half that becomes bytes.
func (t *tileWriter) loadHalfs(c, other int) {
	t.do(x86.MOVQ(t.arg(c), regHalfC))
	t.do(x86.MOVQ(t.arg(other), regHalfOther))
	t.do(x86.MOVQ(t.arg(argScale), regHalfScale))
	t.do(x86.MOVQ(t.arg(argOtherStep), regHalfOtherStep))
}

// spread adds up the products of pairedWords, with other instructions spread between them.
func (t *tileWriter) spread(rows int, beside []func()) {
	slots, n := rows*pairedWords, 0
	t.beside = func() {
		for n++; len(beside) > 0 && (t.besideOf-len(beside))*slots < n*t.besideOf; beside = beside[1:] {
			beside[0]()
		}
	}
	t.besideOf = len(beside)
	for i := range pairedWords {
		t.step(rows, i%t.unroll)
		if i%t.unroll == t.unroll-1 {
			t.advanceHalf(rows, t.unroll)
		}
	}
	t.beside = nil
	t.do(x86.SUBQ(operand.U8(pairedWords), regK))
}

// words adds up the products of all words that are left.
func (t *tileWriter) words(rows int, name string) {
	ref := func(what string) operand.LabelRef { return operand.LabelRef(name + what) }
	t.label(name)
	t.do(x86.SUBQ(operand.U8(t.unroll), regK))
	t.do(x86.JL(ref("rest")))
	t.label(name + "body")
	for i := range t.unroll {
		t.step(rows, i)
	}
	t.advanceHalf(rows, t.unroll)
	t.do(x86.SUBQ(operand.U8(t.unroll), regK))
	t.do(x86.JGE(ref("body")))
	t.label(name + "rest")
	t.do(x86.ADDQ(operand.U8(t.unroll), regK))
	t.do(x86.JZ(ref("end")))
	t.label(name + "single")
	t.step(rows, 0)
	t.advanceHalf(rows, 1)
	t.do(x86.DECQ(regK))
	t.do(x86.JNZ(ref("single")))
	t.label(name + "end")
}

// advanceHalf goes on by some words.
func (t *tileWriter) advanceHalf(rows, words int) {
	t.do(x86.ADDQ(operand.U32(words*t.rowB()), regB))
	for i := t.firstRow / 3; i <= (t.firstRow+rows-1)/3; i++ {
		t.do(x86.ADDQ(operand.U8(4*words), regA[i]))
	}
}

// combinedHalf are the instructions that do for rows from the first on what combined and pack
// do, in an order that needs five vectors besides. They leave the registers at the next half.
func (t *tileWriter) combinedHalf(first, rows int) (list []func()) {
	add := func(f func()) { list = append(list, f) }
	v := func(i int) reg.VecPhysical { return t.spare(1 + i) }
	constants := func(args ...int) {
		for i, arg := range args {
			add(func() { t.do(x86.VBROADCASTSS(t.arg(arg), v(i))) })
		}
	}
	next := func(r, step reg.Register, rows uint8) {
		add(func() { t.do(x86.LEAQ(operand.Mem{Base: r, Index: step, Scale: rows}, r)) })
	}
	constants(argLo, argHi, argFactor)
	for h := range 2 {
		add(func() { t.do(x86.VMOVUPS(mem(regHalfScale, 64*h), v(3+h))) })
	}
	t.each(rows, func(i, h int) {
		acc := t.acc(first+i, h)
		add(func() { t.do(x86.VCVTDQ2PS(acc, acc)) })
		add(func() { t.do(x86.VMULPS(v(3+h), acc, acc)) })
		add(func() { t.do(x86.VMAXPS(v(0), acc, acc)) })
		add(func() { t.do(x86.VMINPS(v(1), acc, acc)) })
		add(func() { t.do(x86.VRNDSCALEPS(operand.U8(0), acc, acc)) })
		add(func() { t.do(x86.VMULPS(v(2), acc, acc)) })
	})
	constants(argOtherBits, argOtherZero, argOtherFactor)
	t.each(rows, func(i, h int) {
		acc, other := t.acc(first+i, h), v(3+h)
		from := mem(regHalfOther, 16*h)
		if i%2 == 1 {
			from.Index, from.Scale = regHalfOtherStep, 1
		}
		add(func() { t.do(x86.VPMOVZXBD(from, other)) })
		add(func() { t.do(x86.VPXORD(v(0), other, other)) })
		add(func() { t.do(x86.VSUBPS(v(1), other, other)) })
		add(func() { t.do(x86.VMULPS(v(2), other, other)) })
		add(func() { t.do(x86.VADDPS(other, acc, acc)) })
		add(func() { t.do(x86.VCVTPS2DQ(acc, acc)) })
		switch {
		case h == 0:
		case i%2 == 1:
			next(regHalfOther, regHalfOtherStep, 2)
		case i == rows-1:
			next(regHalfOther, regHalfOtherStep, 1)
		}
	})
	constants(argZero, argFlip)
	add(func() { t.do(x86.VMOVUPS(t.order, v(2))) })
	for i := 0; i < rows; i += 2 {
		two := i+1 < rows
		for r := i; r < min(i+2, rows); r++ {
			x, y := t.acc(first+r, 0), t.acc(first+r, 1)
			add(func() { t.do(x86.VPACKSSDW(y, x, x)) })
			add(func() { t.do(x86.VPADDSW(v(0), x, x)) })
		}
		a, b := t.acc(first+i, 0), t.acc(first+i, 0)
		if two {
			b = t.acc(first+i+1, 0)
		}
		add(func() { t.do(x86.VPACKSSWB(b, a, a)) })
		add(func() { t.do(x86.VPERMD(a, v(2), a)) })
		add(func() { t.do(x86.VPXORD(v(1), a, a)) })
		add(func() { t.do(x86.VMOVUPS(a.AsY(), mem(regHalfC, 0))) })
		if !two {
			next(regHalfC, regCS, 1)
			break
		}
		add(func() {
			t.do(x86.VEXTRACTI64X4(operand.U8(1), a, operand.Mem{Base: regHalfC, Index: regCS, Scale: 1}))
		})
		next(regHalfC, regCS, 2)
	}
	return list
}
