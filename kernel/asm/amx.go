package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

// Offsets in kernel.amxArgs.
const (
	amxA, amxB, amxC, amxStart        = 0, 8, 16, 24
	amxRS, amxBS, amxCS, amxStartStep = 32, 40, 48, 56
	amxSteps, amxBlocks               = 64, 72
	amxShape, amxRest, amxVariant     = 80, 88, 96
	amxPanels, amxPanel, amxStartNext = 104, 112, 120
	amxLeft                           = 128
	amxNowB, amxNowC, amxNowStart     = 136, 144, 152
)

// The prefix of an instruction as VEX holds it, and that it has no third register.
const (
	prefixNone, prefix66, prefixF3, prefixF2 = 0, 1, 2, 3
	noTile                                   = 0
)

// amxWriter writes a product on the tiles of AMX, whose instructions neither avo nor Go's
// assembler knows; they are written as bytes (Intel 64 and IA-32 Architectures Software
// Developer's Manual, volume 2). A block of C is up to two tiles by two, numbers 0 to 3;
// those of A are 4 and 5, those of B 6 and 7.
type amxWriter struct {
	*writer
	prefix, opcode int // of the product of two tiles
	rows, columns  int // of tiles in a block of the variant being written
}

func writeAMX(w *writer) {
	(&amxWriter{writer: w, prefix: prefixF3, opcode: 0x5c}).write("amxBFloat16", "words of two bfloat16")
	(&amxWriter{writer: w, prefix: prefix66, opcode: 0x5e}).writeByteBlock()
}

const tileRows, tileBytes = 16, 64

// Registers besides those of the tiles in vectors: A where a block begins, and where it
// is read, for both rows of tiles; where the sums start from, likewise.
var (
	amxBlockA      = reg.R8
	amxRowsOfA     = []reg.GPPhysical{reg.R14, reg.R9}
	amxRowsOfStart = []reg.GPPhysical{reg.R10, reg.R11}
	amxRowsOfC     = []reg.GPPhysical{reg.RDI, reg.R11} // when the start has been read
	amxStepOfB     = reg.R15
)

func (t *amxWriter) write(name, of string) {
	t.function(name, "func(args *byte)", name+" multiplies tiles of "+of+"; see amxArgs.")
	t.load("args", regArgs)
	t.configure(amxShape)
	for _, p := range []struct {
		offset int
		r      reg.Register
	}{{amxRS, regRS}, {amxBS, regBS}, {amxCS, regCS}, {amxStartStep, regKS}} {
		t.do(x86.MOVQ(mem(regArgs, p.offset), p.r))
	}
	for _, p := range [][2]int{{amxB, amxNowB}, {amxC, amxNowC}, {amxStart, amxNowStart}} {
		t.do(x86.MOVQ(mem(regArgs, p[0]), regTmp))
		t.do(x86.MOVQ(regTmp, mem(regArgs, p[1])))
	}
	variants := [][2]int{{2, 2}, {1, 2}, {2, 1}, {1, 1}}
	for i, v := range variants {
		t.rows, t.columns = v[0], v[1]
		t.do(x86.CMPQ(mem(regArgs, amxVariant), operand.U8(i)))
		t.do(x86.JE(to(t.name("panel"))))
	}
	t.release()
	for _, v := range variants {
		t.rows, t.columns = v[0], v[1]
		t.variant()
	}
}

func (t *amxWriter) name(what string) string { return fmt.Sprintf("%s%dx%d", what, t.rows, t.columns) }

// variant writes the loops over panels and over the blocks of one size.
func (t *amxWriter) variant() {
	t.label(t.name("panel"))
	t.do(x86.MOVQ(mem(regArgs, amxA), amxBlockA))
	t.do(x86.MOVQ(mem(regArgs, amxNowC), amxRowsOfC[0]))
	t.do(x86.MOVQ(mem(regArgs, amxNowStart), amxRowsOfStart[0]))
	t.do(x86.MOVQ(mem(regArgs, amxBlocks), regTmp))
	t.do(x86.MOVQ(regTmp, mem(regArgs, amxLeft)))
	t.label(t.name("block"))
	t.secondRow(amxRowsOfStart, regKS)
	t.sums(func(tile, row, column int) { t.move(loadTile, tile, amxRowsOfStart[row], regKS, column) })
	t.do(x86.MOVQ(mem(regArgs, amxNowB), regB))
	t.do(x86.MOVQ(amxBlockA, amxRowsOfA[0]))
	t.secondRow(amxRowsOfA, regRS)
	t.do(x86.MOVQ(regBS, amxStepOfB))
	t.do(x86.SHLQ(operand.U8(4), amxStepOfB))
	t.do(x86.MOVQ(mem(regArgs, amxSteps), regK))
	t.do(x86.TESTQ(regK, regK))
	t.do(x86.JZ(to(t.name("rest"))))
	t.label(t.name("step"))
	if t.rows == 1 {
		t.fetchB()
	}
	t.products()
	for row := range t.rows {
		t.do(x86.ADDQ(operand.U8(tileBytes), amxRowsOfA[row]))
	}
	t.do(x86.ADDQ(amxStepOfB, regB))
	t.do(x86.DECQ(regK))
	t.do(x86.JNZ(to(t.name("step"))))
	t.label(t.name("rest"))
	t.secondRow(amxRowsOfC, regCS)
	c := func(kind int) func(tile, row, column int) {
		return func(tile, row, column int) { t.move(kind, tile, amxRowsOfC[row], regCS, column) }
	}
	t.do(x86.CMPQ(mem(regArgs, amxRest), operand.U8(0)))
	t.do(x86.JE(to(t.name("store"))))
	// Another shape empties all tiles: meanwhile the sums are in C.
	t.sums(c(storeTile))
	t.configure(amxRest)
	t.sums(c(loadTile))
	t.products()
	t.sums(c(storeTile))
	t.configure(amxShape)
	t.do(x86.JMP(to(t.name("next"))))
	t.label(t.name("store"))
	t.sums(c(storeTile))
	t.label(t.name("next"))
	for _, p := range []struct{ at, stride reg.GPPhysical }{{amxBlockA, regRS}, {amxRowsOfC[0], regCS}, {amxRowsOfStart[0], regKS}} {
		t.do(x86.MOVQ(p.stride, regTmp))
		t.do(x86.SHLQ(operand.U8(5), regTmp))
		t.do(x86.ADDQ(regTmp, p.at))
	}
	t.do(x86.DECQ(mem(regArgs, amxLeft)))
	t.do(x86.JNZ(to(t.name("block"))))
	t.do(x86.ADDQ(operand.U32(2*tileBytes), mem(regArgs, amxNowC)))
	for _, p := range []struct{ at, step int }{{amxNowB, amxPanel}, {amxNowStart, amxStartNext}} {
		t.do(x86.MOVQ(mem(regArgs, p.step), regTmp))
		t.do(x86.ADDQ(regTmp, mem(regArgs, p.at)))
	}
	t.do(x86.DECQ(mem(regArgs, amxPanels)))
	t.do(x86.JNZ(to(t.name("panel"))))
	t.release()
}

// fetchB fetches what follows in a panel of B: with few rows of A the products wait for it.
func (t *amxWriter) fetchB() {
	const stepsAhead = 2
	t.do(x86.LEAQ(operand.Mem{Base: regB, Index: amxStepOfB, Scale: stepsAhead}, amxRowsOfC[1]))
	for range tileRows {
		for column := range t.columns {
			t.do(x86.PREFETCHT0(mem(amxRowsOfC[1], column*tileBytes)))
		}
		t.do(x86.ADDQ(regBS, amxRowsOfC[1]))
	}
}

// secondRow sets where the second row of tiles begins.
func (t *amxWriter) secondRow(rows []reg.GPPhysical, stride reg.GPPhysical) {
	if t.rows < 2 {
		return
	}
	t.do(x86.MOVQ(stride, rows[1]))
	t.do(x86.SHLQ(operand.U8(4), rows[1]))
	t.do(x86.ADDQ(rows[0], rows[1]))
}

// sums calls f for each tile of C.
func (t *amxWriter) sums(f func(tile, row, column int)) {
	for row := range t.rows {
		for column := range t.columns {
			f(2*row+column, row, column)
		}
	}
}

// products reads tiles of A and B and adds their products, each as soon as it can be.
func (t *amxWriter) products() {
	for row := range t.rows {
		t.move(loadTile, 4+row, amxRowsOfA[row], regRS, 0)
		for column := range t.columns {
			if row == 0 {
				t.move(loadTile, 6+column, regB, regBS, column)
			}
			t.vex(t.prefix, t.opcode, 6+column)
			t.bytes(0xc0 | (2*row+column)<<3 | 4 + row)
		}
	}
}

// Kinds of move: the prefixes of TILELOADD and TILESTORED.
const loadTile, storeTile = prefixF2, prefixF3

// move is TILELOADD or TILESTORED of the tile whose rows are a stride apart.
func (t *amxWriter) move(kind, tile int, base, stride reg.GPPhysical, column int) {
	b, s := int(base.PhysicalIndex()), int(stride.PhysicalIndex())
	const withStride, disp8, map0F38 = 4, 1 << 6, 2
	t.bytes(0xc4, 1<<7|(^s>>3&1)<<6|(^b>>3&1)<<5|map0F38, 0x78|kind, 0x4b, disp8|tile<<3|withStride, s&7<<3|b&7, column*tileBytes)
}

// configure is LDTILECFG from where an argument points to.
func (t *amxWriter) configure(offset int) {
	t.do(x86.MOVQ(mem(regArgs, offset), regK))
	t.vex(prefixNone, 0x49, noTile)
	t.bytes(int(regK.PhysicalIndex()))
}

// release is TILERELEASE, and the end of the function.
func (t *amxWriter) release() {
	t.vex(prefixNone, 0x49, noTile)
	t.bytes(0xc0)
	t.do(x86.RET())
}

// vex is the beginning of an instruction in the map 0F38 whose registers are below 8;
// third is held inverted.
func (t *amxWriter) vex(prefix, opcode, third int) {
	t.bytes(0xc4, 0xe2, (^third&15)<<3|prefix, opcode)
}

func (t *amxWriter) bytes(all ...int) {
	for _, b := range all {
		t.do(&ir.Instruction{Opcode: "BYTE", Operands: []operand.Op{operand.U8(b)}}, nil)
	}
}
