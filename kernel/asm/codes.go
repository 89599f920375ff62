package main

import (
	"fmt"
	"math"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

// codeRows is the number of rows that a product with codes in registers has, at most.
const codeRows = 8

// writeCodes writes what makes floats of codes of four and eight bits, and what multiplies a
// few rows by them; see kernel.Codes.
func writeCodes(w *writer) {
	numbers := w.indices("codeNumbers", func(i int) int { return i })
	for _, bits := range []int{4, 8} {
		(&codeWriter{writer: w, lanes: 16, bits: bits, numbers: numbers}).write(fmt.Sprintf("codes%dAVX512", bits))
		(&codeWriter{writer: w, lanes: 8, bits: bits}).write(fmt.Sprintf("codes%dAVX2", bits))
	}
}

// codeWriter writes loops over blocks of groups of rows of a panel. A word has the codes of a
// column in a group, the first in its low bits. Without rows the loop writes
// floats; with them it adds their products to sums.
type codeWriter struct {
	*writer
	lanes   int
	bits    int         // of a code
	numbers operand.Mem // 0 … 15
	rows    int         // of the loop being written
	zeros   bool        // of the loop being written: there are zeros
}

var (
	codeTo, codeScales, codeWords        = reg.RDI, reg.RSI, reg.R8
	codeBlocks, codeGroups               = reg.R9, reg.R10
	codeLeft, codeTmp                    = reg.RCX, reg.R12
	codeStride, codeStride3              = reg.R13, reg.RBX
	codeA                                = []reg.GPPhysical{reg.RDX, reg.R14}
	vecScale, vecZero, vecWord, vecValue = 0, 2, 4, 6 // each followed by that of the second half
	vecTable, vecFactor, vecSum          = 8, 9, 12
)

func (w *codeWriter) vec(i int) reg.VecPhysical {
	if w.lanes == 16 {
		return zmm[i]
	}
	return ymm[i]
}

// row is the bytes of a number for each column.
func (w *codeWriter) row() int { return 2 * w.lanes * 4 }

func (w *codeWriter) write(name string) {
	w.function(name, "func(dst, scales, words *float32, blocks, groups, zeros int)",
		name+" writes (code - zero)·scale for blocks of groups of rows; see Codes.unpack.")
	w.begin("dst")
	w.load("zeros", codeTmp)
	w.do(x86.TESTQ(codeTmp, codeTmp))
	w.do(x86.JNZ(to("zeros0")))
	w.rows = 0
	w.both()
	if w.lanes == 8 {
		return
	}
	name = fmt.Sprintf("codeRows%dAVX512", w.bits)
	w.function(name, "func(sums, scales, words, a *float32, stride, rows, blocks, groups, zeros int)",
		name+" adds the products of rows, stride bytes apart, with (code - zero)·scale to sums.")
	w.begin("sums")
	w.load("a", codeA[0])
	w.load("stride", codeStride)
	w.do(x86.LEAQ(operand.Mem{Base: codeStride, Index: codeStride, Scale: 2}, codeStride3))
	w.do(x86.LEAQ(operand.Mem{Base: codeA[0], Index: codeStride, Scale: 4}, codeA[1]))
	w.load("rows", codeLeft)
	w.load("zeros", codeTmp)
	for rows := 1; rows <= codeRows; rows++ {
		w.do(x86.CMPQ(codeLeft, operand.U8(rows)))
		w.do(x86.JE(to(fmt.Sprintf("rows%d", rows))))
	}
	w.do(x86.RET())
	for w.rows = 1; w.rows <= codeRows; w.rows++ {
		w.label(fmt.Sprintf("rows%d", w.rows))
		w.do(x86.TESTQ(codeTmp, codeTmp))
		w.do(x86.JNZ(to(fmt.Sprintf("zeros%d", w.rows))))
		w.both()
	}
}

func (w *codeWriter) begin(first string) {
	w.load(first, codeTo)
	w.load("scales", codeScales)
	w.load("words", codeWords)
	w.load("blocks", codeBlocks)
	w.load("groups", codeGroups)
	w.broadcast(math.Float32bits(float32(int(1)<<(w.bits-1))), vecZero)
	if w.looksUp() {
		w.do(x86.VCVTDQ2PS(w.numbers, w.vec(vecTable)))
		return
	}
	w.broadcast(1<<w.bits-1, vecTable) // the bits of a code
}

// looksUp reports whether numbers are looked up in a table, by the low four bits of words.
func (w *codeWriter) looksUp() bool { return w.lanes == 16 && w.bits == 4 }

func (w *codeWriter) broadcast(bits uint32, i int) {
	w.do(x86.MOVL(operand.U32(bits), codeTmp.As32()))
	w.do(x86.VMOVD(codeTmp.As32(), w.vec(i).AsX()))
	w.do(x86.VPBROADCASTD(w.vec(i).AsX(), w.vec(i)))
}

// both writes the loop without zeros, where a table has numbers less 8, and the one with them.
func (w *codeWriter) both() {
	if w.looksUp() {
		w.do(x86.VSUBPS(w.vec(vecZero), w.vec(vecTable), w.vec(vecTable)))
	}
	w.zeros = false
	w.loop(fmt.Sprintf("plain%d", w.rows))
	w.zeros = true
	w.label(fmt.Sprintf("zeros%d", w.rows))
	w.loop(fmt.Sprintf("less%d", w.rows))
}

func (w *codeWriter) loop(name string) {
	w.sums(func(sum reg.VecPhysical, at operand.Mem) { w.do(x86.VMOVUPS(at, sum)) })
	w.label(name)
	for h := range 2 {
		w.do(x86.VMOVUPS(mem(codeScales, 4*w.lanes*h), w.vec(vecScale+h)))
		if w.zeros {
			w.do(x86.VMOVUPS(mem(codeScales, w.row()+4*w.lanes*h), w.vec(vecZero+h)))
		}
	}
	w.do(x86.MOVQ(codeGroups, codeLeft))
	w.label(name + "group")
	for h := range 2 {
		w.do(x86.VMOVUPS(mem(codeWords, 4*w.lanes*h), w.vec(vecWord+h)))
	}
	w.do(x86.PREFETCHT0(mem(codeWords, 4096)))
	if w.lanes == 16 {
		w.do(x86.PREFETCHT0(mem(codeWords, 4096+64)))
	}
	for i := range 32 / w.bits {
		w.step(i)
	}
	if w.rows == 0 {
		w.do(x86.ADDQ(operand.U32(32/w.bits*w.row()), codeTo))
	}
	for _, a := range codeA[:(w.rows+3)/4] {
		w.do(x86.ADDQ(operand.U8(32/w.bits*4), a))
	}
	w.do(x86.ADDQ(operand.U32(w.row()), codeWords))
	w.do(x86.DECQ(codeLeft))
	w.do(x86.JNZ(to(name + "group")))
	w.do(x86.MOVQ(codeWords, codeScales))
	head := w.row()
	if w.zeros {
		head *= 2
	}
	w.do(x86.ADDQ(operand.U32(head), codeWords))
	w.do(x86.DECQ(codeBlocks))
	w.do(x86.JNZ(to(name)))
	w.sums(func(sum reg.VecPhysical, at operand.Mem) { w.do(x86.VMOVUPS(sum, at)) })
	w.do(x86.VZEROUPPER())
	w.do(x86.RET())
}

// sums calls f for each half of each row's sums.
func (w *codeWriter) sums(f func(sum reg.VecPhysical, at operand.Mem)) {
	for i := range 2 * w.rows {
		f(w.vec(vecSum+i), mem(codeTo, 4*w.lanes*i))
	}
}

// step makes the floats of row i of a group.
func (w *codeWriter) step(i int) {
	for h := range 2 {
		word, value := w.vec(vecWord+h), w.vec(vecValue+h)
		switch {
		case w.looksUp():
			w.do(x86.VPERMPS(w.vec(vecTable), word, value))
		case w.lanes == 16:
			w.do(x86.VPANDD(w.vec(vecTable), word, value))
			w.do(x86.VCVTDQ2PS(value, value))
		default:
			w.do(x86.VPAND(w.vec(vecTable), word, value))
			w.do(x86.VCVTDQ2PS(value, value))
		}
		switch {
		case w.zeros:
			w.do(x86.VSUBPS(w.vec(vecZero+h), value, value))
		case !w.looksUp():
			w.do(x86.VSUBPS(w.vec(vecZero), value, value))
		}
		w.do(x86.VMULPS(w.vec(vecScale+h), value, value))
		if w.rows == 0 {
			w.do(x86.VMOVUPS(value, mem(codeTo, w.row()*i+4*w.lanes*h)))
		}
		if i < 32/w.bits-1 {
			w.do(x86.VPSRLD(operand.U8(w.bits), word, word))
		}
	}
	for r := range w.rows {
		a := mem(codeA[r/4], 4*i)
		switch r % 4 {
		case 1, 2:
			a.Index, a.Scale = codeStride, uint8(r%4)
		case 3:
			a.Index, a.Scale = codeStride3, 1
		}
		factor := w.vec(vecFactor + r%3)
		w.do(x86.VBROADCASTSS(a, factor))
		for h := range 2 {
			w.do(x86.VFMADD231PS(factor, w.vec(vecValue+h), w.vec(vecSum+2*r+h)))
		}
	}
}
