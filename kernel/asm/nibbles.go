package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

// nibbleRows is the number of rows that a product with codes in registers has, at most.
const nibbleRows = 8

// writeNibbles writes what makes floats of codes of four bits, and what multiplies a few
// rows by them; see kernel.Nibbles.
func writeNibbles(w *writer) {
	(&nibbleWriter{writer: w, lanes: 16, numbers: w.indices("nibbleNumbers", func(i int) int { return i })}).write("nibblesAVX512")
	(&nibbleWriter{writer: w, lanes: 8}).write("nibblesAVX2")
}

// nibbleWriter writes loops over blocks of groups of eight rows of a panel. A word has the
// codes of a column in a group, the first in its low bits. Without rows the loop writes
// floats; with them it adds their products to sums.
type nibbleWriter struct {
	*writer
	lanes   int
	numbers operand.Mem // 0 … 15
	rows    int         // of the loop being written
	zeros   bool        // of the loop being written: there are zeros
}

var (
	nibbleTo, nibbleScales, nibbleWords  = reg.RDI, reg.RSI, reg.R8
	nibbleBlocks, nibbleGroups           = reg.R9, reg.R10
	nibbleLeft, nibbleTmp                = reg.RCX, reg.R12
	nibbleStride, nibbleStride3          = reg.R13, reg.RBX
	nibbleA                              = []reg.GPPhysical{reg.RDX, reg.R14}
	vecScale, vecZero, vecWord, vecValue = 0, 2, 4, 6 // each followed by that of the second half
	vecTable, vecFactor, vecSum          = 8, 9, 12
)

func (w *nibbleWriter) vec(i int) reg.VecPhysical {
	if w.lanes == 16 {
		return zmm[i]
	}
	return ymm[i]
}

// row is the bytes of a number for each column.
func (w *nibbleWriter) row() int { return 2 * w.lanes * 4 }

func (w *nibbleWriter) write(name string) {
	w.function(name, "func(dst, scales, words *float32, blocks, groups, zeros int)",
		name+" writes (code - zero)·scale for blocks of groups of eight rows; see Nibbles.unpack.")
	w.begin("dst")
	w.load("zeros", nibbleTmp)
	w.do(x86.TESTQ(nibbleTmp, nibbleTmp))
	w.do(x86.JNZ(to("zeros0")))
	w.rows = 0
	w.both()
	if w.lanes == 8 {
		return
	}
	w.function("nibbleRowsAVX512", "func(sums, scales, words, a *float32, stride, rows, blocks, groups, zeros int)",
		"nibbleRowsAVX512 adds the products of rows, stride bytes apart, with (code - zero)·scale to sums.")
	w.begin("sums")
	w.load("a", nibbleA[0])
	w.load("stride", nibbleStride)
	w.do(x86.LEAQ(operand.Mem{Base: nibbleStride, Index: nibbleStride, Scale: 2}, nibbleStride3))
	w.do(x86.LEAQ(operand.Mem{Base: nibbleA[0], Index: nibbleStride, Scale: 4}, nibbleA[1]))
	w.load("rows", nibbleLeft)
	w.load("zeros", nibbleTmp)
	for rows := 1; rows <= nibbleRows; rows++ {
		w.do(x86.CMPQ(nibbleLeft, operand.U8(rows)))
		w.do(x86.JE(to(fmt.Sprintf("rows%d", rows))))
	}
	w.do(x86.RET())
	for w.rows = 1; w.rows <= nibbleRows; w.rows++ {
		w.label(fmt.Sprintf("rows%d", w.rows))
		w.do(x86.TESTQ(nibbleTmp, nibbleTmp))
		w.do(x86.JNZ(to(fmt.Sprintf("zeros%d", w.rows))))
		w.both()
	}
}

func (w *nibbleWriter) begin(first string) {
	w.load(first, nibbleTo)
	w.load("scales", nibbleScales)
	w.load("words", nibbleWords)
	w.load("blocks", nibbleBlocks)
	w.load("groups", nibbleGroups)
	w.broadcast(0x41000000, vecZero) // 8
	if w.lanes == 16 {
		w.do(x86.VCVTDQ2PS(w.numbers, w.vec(vecTable)))
		return
	}
	w.broadcast(15, vecTable) // the bits of a code
}

func (w *nibbleWriter) broadcast(bits uint32, i int) {
	w.do(x86.MOVL(operand.U32(bits), nibbleTmp.As32()))
	w.do(x86.VMOVD(nibbleTmp.As32(), w.vec(i).AsX()))
	w.do(x86.VPBROADCASTD(w.vec(i).AsX(), w.vec(i)))
}

// both writes the loop without zeros, where the table has numbers less 8, and the one with them.
func (w *nibbleWriter) both() {
	if w.lanes == 16 {
		w.do(x86.VSUBPS(w.vec(vecZero), w.vec(vecTable), w.vec(vecTable)))
	}
	w.zeros = false
	w.loop(fmt.Sprintf("plain%d", w.rows))
	w.zeros = true
	w.label(fmt.Sprintf("zeros%d", w.rows))
	w.loop(fmt.Sprintf("less%d", w.rows))
}

func (w *nibbleWriter) loop(name string) {
	w.sums(func(sum reg.VecPhysical, at operand.Mem) { w.do(x86.VMOVUPS(at, sum)) })
	w.label(name)
	for h := range 2 {
		w.do(x86.VMOVUPS(mem(nibbleScales, 4*w.lanes*h), w.vec(vecScale+h)))
		if w.zeros {
			w.do(x86.VMOVUPS(mem(nibbleScales, w.row()+4*w.lanes*h), w.vec(vecZero+h)))
		}
	}
	w.do(x86.MOVQ(nibbleGroups, nibbleLeft))
	w.label(name + "group")
	for h := range 2 {
		w.do(x86.VMOVUPS(mem(nibbleWords, 4*w.lanes*h), w.vec(vecWord+h)))
	}
	w.do(x86.PREFETCHT0(mem(nibbleWords, 4096)))
	if w.lanes == 16 {
		w.do(x86.PREFETCHT0(mem(nibbleWords, 4096+64)))
	}
	for i := range 8 {
		w.step(i)
	}
	if w.rows == 0 {
		w.do(x86.ADDQ(operand.U32(8*w.row()), nibbleTo))
	}
	for _, a := range nibbleA[:(w.rows+3)/4] {
		w.do(x86.ADDQ(operand.U8(8*4), a))
	}
	w.do(x86.ADDQ(operand.U32(w.row()), nibbleWords))
	w.do(x86.DECQ(nibbleLeft))
	w.do(x86.JNZ(to(name + "group")))
	w.do(x86.MOVQ(nibbleWords, nibbleScales))
	head := w.row()
	if w.zeros {
		head *= 2
	}
	w.do(x86.ADDQ(operand.U32(head), nibbleWords))
	w.do(x86.DECQ(nibbleBlocks))
	w.do(x86.JNZ(to(name)))
	w.sums(func(sum reg.VecPhysical, at operand.Mem) { w.do(x86.VMOVUPS(sum, at)) })
	w.do(x86.VZEROUPPER())
	w.do(x86.RET())
}

// sums calls f for each half of each row's sums.
func (w *nibbleWriter) sums(f func(sum reg.VecPhysical, at operand.Mem)) {
	for i := range 2 * w.rows {
		f(w.vec(vecSum+i), mem(nibbleTo, 4*w.lanes*i))
	}
}

// step makes the floats of row i of a group.
func (w *nibbleWriter) step(i int) {
	for h := range 2 {
		word, value := w.vec(vecWord+h), w.vec(vecValue+h)
		if w.lanes == 16 {
			w.do(x86.VPERMPS(w.vec(vecTable), word, value))
		} else {
			w.do(x86.VPAND(w.vec(vecTable), word, value))
			w.do(x86.VCVTDQ2PS(value, value))
		}
		switch {
		case w.zeros:
			w.do(x86.VSUBPS(w.vec(vecZero+h), value, value))
		case w.lanes == 8:
			w.do(x86.VSUBPS(w.vec(vecZero), value, value))
		}
		w.do(x86.VMULPS(w.vec(vecScale+h), value, value))
		if w.rows == 0 {
			w.do(x86.VMOVUPS(value, mem(nibbleTo, w.row()*i+4*w.lanes*h)))
		}
		if i < 7 {
			w.do(x86.VPSRLD(operand.U8(4), word, word))
		}
	}
	for r := range w.rows {
		a := mem(nibbleA[r/4], 4*i)
		switch r % 4 {
		case 1, 2:
			a.Index, a.Scale = nibbleStride, uint8(r%4)
		case 3:
			a.Index, a.Scale = nibbleStride3, 1
		}
		factor := w.vec(vecFactor + r%3)
		w.do(x86.VBROADCASTSS(a, factor))
		for h := range 2 {
			w.do(x86.VFMADD231PS(factor, w.vec(vecValue+h), w.vec(vecSum+2*r+h)))
		}
	}
}
