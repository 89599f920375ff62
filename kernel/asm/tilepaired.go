package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

// What becomes of sums takes longer than a processor can look ahead, so that products wait for
// it. A paired tile has two halves of up to six rows: the first and the last words are multiplied
// by one after the other, and while the products of one half are added up, the sums of the other,
// which stay in their registers, are turned into bytes between them: those of the lower one
// beside the last words of the upper one, those of the upper one beside the first words of the
// next tile. Each half has enough chains of products for the latency of VPDPBUSD where that is
// four cycles.

const (
	pairedRows  = 9  // the fewest
	pairedWords = 16 // of A, at both ends of a tile, between whose products the instructions are spread
	pairedLong  = 48 // with so many words and more the halves are multiplied together in between
)

// Names of the two kinds: of sums alone, and combined with other bytes.
const pairedBytes, pairedSums = "paired", "pairedSums"

// Registers of the half that becomes bytes: where its next row goes, the bytes that it is
// combined with and their step, the scales of its columns. regCount is free between halves.
var regHalfC, regHalfOther, regHalfOtherStep, regHalfScale, regCount = regBS, regKS, regTmp, regC, regC

// pairs reports whether a tile of so many rows can be paired.
func (t *tileWriter) pairs(rows int) bool {
	return t.b2 == quads && t.halves == 2 && rows >= pairedRows
}

// paired writes the tile, for combined bytes or for those of its sums alone. All columns exist,
// sums start from numbers of the columns, and rows are one line of at least pairedWords.
func (t *tileWriter) paired(rows int, name string) {
	t.pairing = name
	defer func() { t.pairing, t.firstRow = "", 0 }()
	lower, upper := (rows+1)/2, rows/2
	l := func(what string) string { return t.labelName(rows, what) }
	ref := func(what string) operand.LabelRef { return operand.LabelRef(l(what)) }
	t.label(l(""))
	t.fetchNext(rows)
	if t.combines() {
		t.fetchOther(rows)
	}
	t.startHalf(lower)
	t.do(x86.CMPQ(t.arg(argHalfC), operand.U8(0)))
	t.do(x86.JE(ref("first")))
	t.loadHalfs(argHalfC, argHalfOther)
	t.do(x86.SUBQ(operand.U8(2*t.lanes*4), regHalfScale)) // those of the tile before
	t.spread(lower, t.bytesOfHalf(lower, upper))
	t.label(l("begun"))
	t.firstRow = lower
	t.startHalf(upper)
	t.do(x86.CMPQ(regK, operand.U8(pairedLong)))
	t.do(x86.JGE(ref("long")))
	t.short(lower, upper, l)
	t.do(x86.JMP(ref("last")))
	t.label(l("long"))
	t.long(rows, l)
	t.label(l("last"))
	t.firstRow = lower
	t.loadHalfs(argC, argOther)
	t.spread(upper, t.bytesOfHalf(0, lower))
	t.do(x86.MOVQ(regHalfC, t.arg(argHalfC)))
	t.do(x86.MOVQ(regHalfOther, t.arg(argHalfOther)))
	t.do(x86.CMPQ(t.arg(argTiles), operand.U8(1)))
	t.do(x86.JG(to("next")))
	t.loadHalfs(argHalfC, argHalfOther)
	for _, f := range t.bytesOfHalf(lower, upper) {
		f()
	}
	t.do(x86.MOVQ(operand.U32(0), t.arg(argHalfC)))
	t.do(x86.JMP(to("next")))
	t.firstRow = 0
	t.end(lower, rows, l("first"))
	t.moveAll(rows, -pairedWords)
	t.do(x86.JMP(ref("begun")))
}

// combines reports whether the bytes of a paired tile are combined with others.
func (t *tileWriter) combines() bool { return t.pairing == pairedSums }

// short multiplies by all words but the first of the lower half and the last of the upper one,
// by each half alone.
func (t *tileWriter) short(lower, upper int, l func(string) string) {
	t.firstRow = 0
	t.advanceHalf(lower, pairedWords)
	t.do(x86.SUBQ(operand.U8(pairedWords), regK))
	t.words(lower, l("lower"))
	t.firstRow = lower
	t.do(x86.MOVQ(t.arg(argA), regA[0]))
	t.do(x86.MOVQ(t.arg(argB), regB))
	t.do(x86.MOVQ(t.arg(argK), regK))
	t.do(x86.SUBQ(operand.U8(pairedWords), regK))
	t.rowBases()
	t.words(upper, l("upper"))
}

// long does the same where the words between the ends are multiplied by both halves at once.
func (t *tileWriter) long(rows int, l func(string) string) {
	lower, upper := (rows+1)/2, rows/2
	t.firstRow = lower
	t.end(upper, rows, l("upperfirst"))
	t.firstRow = 0
	t.do(x86.SUBQ(operand.U8(2*pairedWords), regK))
	t.words(rows, l("both"))
	t.end(lower, rows, l("lowerlast"))
	t.moveAll(rows, -pairedWords)
}

// end multiplies a half by pairedWords, and moves all rows on.
func (t *tileWriter) end(half, rows int, name string) {
	t.label(name)
	t.do(x86.MOVL(operand.U32(pairedWords/t.unroll), regCount.As32()))
	t.label(name + "words")
	for i := range t.unroll {
		t.step(half, i)
	}
	t.moveAll(rows, t.unroll)
	t.do(x86.DECL(regCount.As32()))
	t.do(x86.JNZ(operand.LabelRef(name + "words")))
}

// moveAll goes on, or back, by some words with all rows.
func (t *tileWriter) moveAll(rows, words int) {
	t.do(x86.ADDQ(operand.I32(words*t.rowB()), regB))
	for i := range (rows + 2) / 3 {
		t.do(x86.ADDQ(operand.I8(4*words), regA[i]))
	}
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
	t.do(x86.MOVQ(t.arg(argScale), regHalfScale))
	if t.combines() {
		t.do(x86.MOVQ(t.arg(other), regHalfOther))
		t.do(x86.MOVQ(t.arg(argOtherStep), regHalfOtherStep))
	}
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
		t.step(rows, i)
	}
	t.beside = nil
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

// bytesOfHalf are the instructions that do for rows from the first on what combined, or bytes,
// and pack do, in an order that needs five vectors besides. They leave the registers at the next
// half.
func (t *tileWriter) bytesOfHalf(first, rows int) (list []func()) {
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
	for h := range 2 {
		add(func() { t.do(x86.VMOVUPS(mem(regHalfScale, 64*h), v(3+h))) })
	}
	if t.combines() {
		t.combinedHalf(first, rows, add, v, constants, next)
	}
	constants(argZero, argFlip)
	add(func() { t.do(x86.VMOVUPS(t.order, v(2))) })
	for i := 0; i < rows; i += 2 {
		two := i+1 < rows
		for r := i; r < min(i+2, rows); r++ {
			x, y := t.acc(first+r, 0), t.acc(first+r, 1)
			if !t.combines() {
				for h, acc := range []reg.VecPhysical{x, y} {
					add(func() { t.do(x86.VCVTDQ2PS(acc, acc)) })
					add(func() { t.do(x86.VMULPS(v(3+h), acc, acc)) })
					add(func() { t.do(x86.VCVTPS2DQ(acc, acc)) })
				}
			}
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
		add(func() { t.do(x86.VEXTRACTI64X4(operand.U8(0), a, mem(regHalfC, 0))) })
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

// combinedHalf are those of combined.
func (t *tileWriter) combinedHalf(first, rows int, add func(func()), v func(int) reg.VecPhysical, constants func(...int), next func(reg.Register, reg.Register, uint8)) {
	constants(argLo, argHi, argFactor)
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
}
