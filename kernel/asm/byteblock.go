package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

// Offsets in kernel.blockArgs.
const (
	blockA, blockB, blockSums = 0, 8, 16
	blockRS, blockSteps       = 24, 32
	blockLines, blockLineStep = 40, 48
	blockPanels, blockPanel   = 56, 64
	blockShape, blockLow      = 72, 80
)

// Registers besides those of amxWriter: where the panel begins, and the lines that are left.
var blockPanelB, blockLinesLeft = reg.R8, reg.R10

// blockStepBytes is what B has for 16 words; blockAhead by how much it is fetched before.
const blockStepBytes, blockAhead = tileRows * blockRowBytes, 2 * tileRows * blockRowBytes

// writeByteBlock writes the sums of products of blocks of bytes. Each is two columns of
// tiles wide; rows of B and of the sums both have 128 bytes.
func (t *amxWriter) writeByteBlock() {
	t.function("byteBlockAMX", "func(args *byte)", "byteBlockAMX adds up products of unsigned bytes of A and signed ones of B; see blockArgs.")
	t.load("args", regArgs)
	t.configure(blockShape)
	for _, p := range []struct {
		offset int
		r      reg.Register
	}{{blockB, blockPanelB}, {blockSums, amxRowsOfC[0]}, {blockRS, regRS}} {
		t.do(x86.MOVQ(mem(regArgs, p.offset), p.r))
	}
	t.do(x86.MOVQ(operand.U32(blockRowBytes), regBS))
	t.do(x86.CMPQ(mem(regArgs, blockLow), operand.U8(0)))
	t.rows, t.columns = 1, 2
	t.do(x86.JNE(to(t.name("panel"))))
	for t.rows = 2; t.rows > 0; t.rows-- {
		t.panels()
	}
}

// panels writes the loop over panels.
func (t *amxWriter) panels() {
	t.label(t.name("panel"))
	t.sums(func(tile, _, _ int) {
		t.vex(prefixF2, 0x49, noTile)
		t.bytes(0xc0 | tile<<3)
	})
	t.do(x86.MOVQ(mem(regArgs, blockA), amxRowsOfA[0]))
	t.secondRow(amxRowsOfA, regRS)
	t.do(x86.MOVQ(blockPanelB, regB))
	t.do(x86.MOVQ(mem(regArgs, blockLines), blockLinesLeft))
	t.label(t.name("line"))
	t.do(x86.MOVQ(mem(regArgs, blockSteps), regK))
	t.label(t.name("step"))
	t.products()
	for at := 0; at < blockStepBytes; at += 64 {
		t.do(x86.PREFETCHT0(mem(regB, blockAhead+at)))
	}
	t.do(x86.ADDQ(operand.U32(blockStepBytes), regB))
	for _, a := range amxRowsOfA[:t.rows] {
		t.do(x86.ADDQ(operand.U8(tileBytes), a))
	}
	t.do(x86.DECQ(regK))
	t.do(x86.JNZ(to(t.name("step"))))
	for _, a := range amxRowsOfA[:t.rows] {
		t.do(x86.ADDQ(mem(regArgs, blockLineStep), a))
	}
	t.do(x86.DECQ(blockLinesLeft))
	t.do(x86.JNZ(to(t.name("line"))))
	t.secondRow(amxRowsOfC, regBS)
	t.sums(func(tile, row, column int) { t.move(storeTile, tile, amxRowsOfC[row], regBS, column) })
	t.do(x86.ADDQ(operand.U32(blockRows*blockRowBytes), amxRowsOfC[0]))
	t.do(x86.ADDQ(mem(regArgs, blockPanel), blockPanelB))
	t.do(x86.DECQ(mem(regArgs, blockPanels)))
	t.do(x86.JNZ(to(t.name("panel"))))
	t.release()
}
