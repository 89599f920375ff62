package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

// Offsets in kernel.tileArgs.
const (
	argA, argB, argC, argBias     = 0, 8, 16, 24
	argRS, argKS, argBS, argCS    = 32, 40, 48, 56
	argK, argRows, argMask        = 64, 72, 80
	argStart, argReLU, argFrom    = 84, 88, 96
	argLines, argLineStep         = 104, 112
	argBounded, argAhead          = 92, 120
	argResult, argZero            = 128, 132
	argFlip, argSkipB             = 136, 304
	argScale, argShift            = 144, 152
	argRowScale, argRowStep       = 160, 168
	argOther, argLo, argHi        = 176, 184, 188
	argFactor, argOtherFactor     = 192, 196
	argOtherBits, argOtherZero    = 200, 204
	argOtherStep, argRowStart     = 208, 216
	argTiles, argPanel            = 224, 232
	argColumnsC, argAllLines      = 240, 248
	argFar, argFarStep            = 256, 264
	argFromAhead, argPaired       = 272, 280
	argHalfC, argHalfOther        = 288, 296
	resultFloats, resultBytes     = 1, 2
	resultCombined                = 3
	startC, startColumn, startRow = 1, 2, 3
)

// tileWriter writes one tile kernel: for every number of rows up to its
// height, a loop over k with rows × 2 vectors of accumulators.
type tileWriter struct {
	*writer
	name   string
	rows   int // the height
	lanes  int
	unroll int
	b2     storage // how B is stored
	// Of the variant being written: vectors in a row; B may end with the last column.
	halves  int
	bounded bool
	far     bool        // a line of B that is needed later is fetched with each row
	wide    bool        // rows of four vectors, of which two lie elsewhere, in B and C
	order   operand.Mem // of quads: where words of packed bytes belong
	// Few rows of whole numbers take several sets of accumulators in turn, which are added
	// up at the end: each alone would wait for its last sum. turn is the one being used.
	rowsEach, turn int
	// Of a paired tile: its half's first row; what writes the next of the besideOf instructions
	// that are spread between products, if there are any.
	pairing  string // its name, or ""
	firstRow int
	beside   func()
	besideOf int
}

// storage says how the right-hand matrix is stored: as float32; in 16 bits, of which
// whole rows are read; or as words of four signed bytes, two 16-bit numbers or two
// bfloat16, whose products with those of a word of A are added as 32-bit numbers.
type storage uint8

const (
	float32s storage = iota
	float16
	bfloat16
	quads
	pairs
	dots
)

func writeTiles(w *writer) {
	(&tileWriter{writer: w, name: "tileAVX512", rows: 12, lanes: 16, unroll: 2}).write()
	(&tileWriter{writer: w, name: "tileAVX2", rows: 6, lanes: 8, unroll: 2}).write()
}

func writeHalfTiles(w *writer) {
	for _, b := range []struct {
		name string
		half storage
	}{{"F16", float16}, {"BF16", bfloat16}} {
		(&tileWriter{writer: w, name: "tile" + b.name + "AVX512", rows: 12, lanes: 16, unroll: 2, b2: b.half}).write()
		if b.half == float16 {
			(&tileWriter{writer: w, name: "tile" + b.name + "WideAVX512", rows: 6, lanes: 16, unroll: 2, b2: b.half, wide: true}).write()
		}
		(&tileWriter{writer: w, name: "tile" + b.name + "AVX2", rows: 6, lanes: 8, unroll: 2, b2: b.half}).write()
	}
}

func writeByteTiles(w *writer) {
	// A lane has four columns of the first half of a row, of the second, and of both of the next row.
	order := w.indices("rowsOfBytes", func(i int) int { return i%4*4 + i/4 })
	(&tileWriter{writer: w, name: "tileBytesAVX512", rows: 12, lanes: 16, unroll: 4, b2: quads, order: order}).write()
	(&tileWriter{writer: w, name: "tileBytesAVX2", rows: 6, lanes: 8, unroll: 2, b2: pairs}).write()
}

// half reports whether an element of B has 16 bits, whole reports whether it is a
// word of whole numbers.
func (t *tileWriter) half() bool  { return t.b2 == float16 || t.b2 == bfloat16 }
func (t *tileWriter) whole() bool { return t.b2 == quads || t.b2 == pairs }

var (
	regB, regBS, regC, regCS = reg.RSI, reg.RDX, reg.RDI, reg.RBX
	regRS, regKS, regK       = reg.R12, reg.R13, reg.RCX
	regArgs, regTmp          = reg.RAX, reg.R15
	regAhead                 = reg.R14 // free in functions of ABI0
	regA                     = []reg.Register{reg.R8, reg.R9, reg.R10, reg.R11}
	regOther, regOtherAhead  = reg.R10, reg.R11 // in wide tiles, whose rows do not need them
)

var (
	ymm = []reg.VecPhysical{reg.Y0, reg.Y1, reg.Y2, reg.Y3, reg.Y4, reg.Y5, reg.Y6, reg.Y7,
		reg.Y8, reg.Y9, reg.Y10, reg.Y11, reg.Y12, reg.Y13, reg.Y14, reg.Y15}
	zmm = []reg.VecPhysical{reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7,
		reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15,
		reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23,
		reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31}
)

func (t *tileWriter) vec(i int) reg.VecPhysical {
	if t.lanes == 16 {
		return zmm[i]
	}
	return ymm[i]
}

func (t *tileWriter) acc(row, half int) reg.VecPhysical {
	return t.vec(t.vectors()*(t.turn*t.rowsEach+row) + half)
}
func (t *tileWriter) b(half int) reg.VecPhysical { return t.vec(t.vectors()*t.rows + half) }

func (t *tileWriter) spare(i int) reg.VecPhysical { return t.vec(t.vectors()*(t.rows+1) + i) }

// vectors is the number of them that a row has registers for.
func (t *tileWriter) vectors() int {
	if t.wide {
		return 4
	}
	return 2
}

// spares is the number of vectors that take an element of A in turn.
func (t *tileWriter) spares() int {
	switch {
	case t.wide:
		return 4
	case t.beside != nil: // they have the others
		return 1
	case t.lanes == 16:
		return 6
	case t.b2 == pairs: // the other takes products
		return 1
	}
	return 2
}

func (t *tileWriter) arg(offset int) operand.Mem { return mem(regArgs, offset) }

func (t *tileWriter) write() {
	t.function(t.name, "func(args *byte)", t.name+" computes a tile of a product; see tileArgs.")
	t.load("args", regArgs)
	if t.b2 == quads {
		t.label("tile")
	}
	for _, p := range []struct {
		offset int
		r      reg.Register
	}{{argA, regA[0]}, {argB, regB}, {argC, regC}, {argRS, regRS}, {argKS, regKS}, {argBS, regBS}, {argCS, regCS}, {argK, regK}} {
		t.do(x86.MOVQ(t.arg(p.offset), p.r))
	}
	if t.lanes == 16 {
		t.do(x86.MOVQ(t.arg(argAhead), regAhead))
	}
	if t.lanes == 16 {
		t.do(x86.MOVL(t.arg(argMask), regTmp.As32()))
		t.do(x86.KMOVW(regTmp.As32(), reg.K1))
		t.do(x86.SHRL(operand.U8(16), regTmp.As32()))
		t.do(x86.KMOVW(regTmp.As32(), reg.K2))
	}
	// Further bases for the rows 3, 6, 9: a strip of fewer rows does not use
	// them, and they are not dereferenced.
	t.rowBases()
	if t.narrows() {
		t.do(x86.TESTL(regTmp.As32(), regTmp.As32()))
		t.do(x86.JZ(to("narrow")))
	}
	if t.bounds() {
		t.do(x86.CMPL(t.arg(argBounded), operand.U8(0)))
		t.do(x86.JNE(to("bounded")))
	}
	if t.fetches() {
		t.do(x86.CMPQ(t.arg(argFar), operand.U8(0)))
		t.do(x86.JNE(to("far")))
	}
	t.halves = t.vectors()
	if t.wide {
		t.do(x86.MOVQ(t.arg(argFar), regOtherAhead))
	}
	t.variants()
	if t.fetches() {
		t.label("far")
		t.far = true
		t.variants()
		t.far = false
	}
	if t.bounds() {
		t.label("bounded")
		t.bounded = true
		t.variants()
	}
	if t.narrows() {
		t.label("narrow")
		t.halves = 1
		t.variants()
	}
	if t.b2 == quads {
		t.label("next")
		t.next()
	}
}

// rowBases sets the bases of the rows from that of the first.
func (t *tileWriter) rowBases() {
	for i := 1; i < (t.rows+2)/3; i++ {
		t.do(x86.LEAQ(operand.Mem{Base: regA[i-1], Index: regRS, Scale: 2}, regA[i]))
		t.do(x86.ADDQ(regRS, regA[i]))
	}
}

// narrows reports whether there are variants for tiles of half the width, bounds
// whether there are some for a B that may end with the last column.
func (t *tileWriter) narrows() bool { return t.lanes == 16 && !t.half() }
func (t *tileWriter) bounds() bool  { return t.lanes == 16 && (t.b2 == float32s || t.b2 == dots) }

// fetches reports whether there are variants that fetch lines of B into the L2 cache.
func (t *tileWriter) fetches() bool { return t.lanes == 16 && (t.b2 == float32s || t.b2 == dots) }

// variants writes a variant for each number of rows.
func (t *tileWriter) variants() {
	for rows := t.rows; rows >= 1; rows-- {
		t.do(x86.CMPQ(t.arg(argRows), operand.U8(rows)))
		t.do(x86.JE(operand.LabelRef(t.labelName(rows, ""))))
	}
	t.do(x86.RET())
	for rows := t.rows; rows >= 1; rows-- {
		t.variant(rows)
		if t.pairs(rows) {
			t.paired(rows, pairedBytes)
			t.paired(rows, pairedSums)
		}
	}
}

func (t *tileWriter) labelName(rows int, what string) string {
	switch {
	case t.halves == 1:
		return fmt.Sprintf("narrow%d%s", rows, what)
	case t.bounded:
		return fmt.Sprintf("bounded%d%s", rows, what)
	case t.far:
		return fmt.Sprintf("far%d%s", rows, what)
	case t.pairing != "":
		return fmt.Sprintf("%s%d%s", t.pairing, rows, what)
	}
	return fmt.Sprintf("rows%d%s", rows, what)
}

// place is where a vector lies whose elements have so many bytes.
func (t *tileWriter) place(from reg.Register, half, size int) operand.Mem {
	m := mem(from, half%2*t.lanes*size)
	if half >= 2 {
		m.Index, m.Scale = regOther, 1
	}
	return m
}

// loadHalf loads half a row of B, bias or C; on AVX-512 only the columns that exist.
func (t *tileWriter) loadHalf(from reg.Register, half int, dst reg.VecPhysical) {
	if t.wide {
		t.do(x86.VMOVUPS(t.place(from, half, 4), dst))
		return
	}
	m := mem(from, half*t.lanes*4)
	if t.lanes == 16 {
		t.do(x86.VMOVUPS_Z(m, []reg.Register{reg.K1, reg.K2}[half].(reg.OpmaskPhysical), dst))
		return
	}
	t.do(x86.VMOVUPS(m, dst))
}

func (t *tileWriter) storeHalf(src reg.VecPhysical, to reg.Register, half int) {
	if t.wide {
		t.do(x86.VMOVUPS(src, t.place(to, half, 4)))
		return
	}
	m := mem(to, half*t.lanes*4)
	if t.lanes == 16 {
		t.do(x86.VMOVUPS(src, []reg.Register{reg.K1, reg.K2}[half].(reg.OpmaskPhysical), m))
		return
	}
	t.do(x86.VMOVUPS(src, m))
}

func (t *tileWriter) variant(rows int) {
	l := func(what string) string { return t.labelName(rows, what) }
	ref := func(what string) operand.LabelRef { return operand.LabelRef(l(what)) }
	unroll, turns := t.unroll, 1
	if t.b2 == quads && rows <= 3 {
		turns = 12 / max(3, 2*rows) // 4, 3, 2
		unroll = turns
	}
	t.rowsEach, t.turn = rows, 0
	t.label(l(""))
	if t.b2 == quads {
		if t.pairs(rows) {
			for i, name := range []string{pairedBytes, pairedSums} {
				t.do(x86.CMPL(t.arg(argPaired), operand.U8(i+1)))
				t.do(x86.JE(operand.LabelRef(fmt.Sprintf("%s%d", name, rows))))
			}
		}
		t.fetchNext(rows)
		t.fetchOther(rows)
	}
	t.eachTurn(turns, func() { t.each(rows, func(i, h int) { t.zero(t.acc(i, h)) }) })
	t.start(rows)
	t.label(l("loop"))
	if t.wide {
		t.do(x86.MOVQ(t.arg(argPanel), regOther))
	}
	if t.far {
		t.do(x86.MOVQ(t.arg(argFar), regTmp))
	}
	t.do(x86.SUBQ(operand.U8(unroll), regK))
	t.do(x86.JL(ref("rest")))
	t.label(l("body"))
	for i := range unroll {
		t.turn = i % turns
		t.step(rows, i)
	}
	t.turn = 0
	t.advance(rows, unroll)
	t.do(x86.SUBQ(operand.U8(unroll), regK))
	t.do(x86.JGE(ref("body")))
	t.label(l("rest"))
	t.do(x86.ADDQ(operand.U8(unroll), regK))
	t.do(x86.JZ(ref("end")))
	t.label(l("single"))
	t.step(rows, 0)
	t.advance(rows, 1)
	t.do(x86.DECQ(regK))
	t.do(x86.JNZ(ref("single")))
	t.label(l("end"))
	t.do(x86.DECQ(t.arg(argLines)))
	t.do(x86.JLE(ref("finish")))
	t.do(x86.MOVQ(t.arg(argK), regK))
	for i := range (rows + 2) / 3 {
		t.do(x86.ADDQ(t.arg(argLineStep), regA[i]))
	}
	if t.b2 == quads {
		t.do(x86.ADDQ(t.arg(argSkipB), regB))
	}
	t.do(x86.JMP(ref("loop")))
	t.label(l("finish"))
	t.eachTurn(turns, func() { t.each(rows, func(i, h int) { t.do(x86.VPADDD(t.acc(i, h), t.vec(2*i+h), t.vec(2*i+h))) }) })
	t.finish(rows)
}

// eachTurn calls f for each set of accumulators but the first.
func (t *tileWriter) eachTurn(turns int, f func()) {
	for t.turn = 1; t.turn < turns; t.turn++ {
		f()
	}
	t.turn = 0
}

// each calls f for the accumulators of a number of rows.
func (t *tileWriter) each(rows int, f func(row, half int)) {
	for i := range rows {
		for h := range t.halves {
			f(i, h)
		}
	}
}

// loadRows loads the accumulators from rows at regTmp that lie like those of C.
func (t *tileWriter) loadRows(rows int) {
	for i := range rows {
		for h := range t.halves {
			t.loadHalf(regTmp, h, t.acc(i, h))
		}
		if i < rows-1 {
			t.do(x86.ADDQ(regCS, regTmp))
		}
	}
}

// fetchFrom fetches the rows from which the strip below starts. Those of a summand that comes
// from memory are a few lines each of many pages, which no processor foresees.
func (t *tileWriter) fetchFrom(rows int) {
	if t.waits() {
		t.do(x86.MOVQ(t.arg(argFrom), regTmp))
		t.do(x86.ADDQ(t.arg(argFromAhead), regTmp))
		t.fetchRows(rows, x86.PREFETCHT1)
	}
}

// fetchC fetches the rows that are written when the products are done.
func (t *tileWriter) fetchC(rows int) {
	if t.waits() {
		t.do(x86.MOVQ(regC, regTmp))
		t.fetchRows(rows, x86.PREFETCHT0)
	}
}

// waits reports whether the rows of C and of what sums start from are fetched ahead.
func (t *tileWriter) waits() bool { return t.lanes == 16 && (t.b2 == float32s || t.b2 == dots) }

// fetchRows fetches rows at regTmp that lie like those of C.
func (t *tileWriter) fetchRows(rows int, fetch func(operand.Op) (*ir.Instruction, error)) {
	for i := range rows {
		for h := range t.halves {
			t.do(fetch(mem(regTmp, 64*h)))
		}
		if i < rows-1 {
			t.do(x86.ADDQ(regCS, regTmp))
		}
	}
}

// loadB loads half a row of B: without a mask, which would take an issue slot from
// the multiply-adds, unless B may end with the last column.
func (t *tileWriter) loadB(half, at int) {
	dst, m := t.b(half), t.place(regB, half, 2)
	switch t.b2 {
	case float16:
		t.do(x86.VCVTPH2PS(m, dst))
	case bfloat16:
		t.do(x86.VPMOVZXWD(m, dst))
		t.do(x86.VPSLLD(operand.U8(16), dst, dst))
	default:
		if t.bounded {
			t.loadHalf(regB, half, dst)
			return
		}
		t.do(x86.VMOVUPS(mem(regB, half*t.lanes*4+at*t.rowB()), dst))
	}
}

// step adds the products of one k, with whole numbers those of the word that is at words on.
// An element of A is loaded once for both halves: as operands of the multiply-adds
// (embedded broadcast) the loads would outnumber these, which costs a sixth of the rate
// where two loads and two multiply-adds issue in a cycle.
func (t *tileWriter) step(rows, at int) {
	if !t.whole() {
		at = 0 // each advances
	}
	for h := range t.halves {
		t.loadB(h, at)
	}
	if t.lanes == 16 {
		lines := t.halves
		if t.half() {
			lines = 1
		}
		if t.wide {
			t.do(x86.PREFETCHT0(operand.Mem{Base: regB, Index: regOtherAhead, Scale: 1}))
		}
		if t.firstRow > 0 { // the other half has fetched them
			lines = 0
		}
		for h := range lines {
			t.do(x86.PREFETCHT0(operand.Mem{Base: regB, Index: regAhead, Scale: 1, Disp: 64*h + at*t.rowB()}))
		}
	}
	if t.far {
		t.do(x86.PREFETCHT1(mem(regTmp, 0)))
		t.do(x86.ADDQ(t.arg(argFarStep), regTmp))
	}
	for i := range rows {
		row := t.firstRow + i
		m := mem(regA[row/3], 4*at)
		if row%3 > 0 {
			m.Index, m.Scale = regRS, uint8(row%3)
		}
		if t.halves == 1 && t.b2 == float32s { // one multiply-add for each element
			t.do(x86.VFMADD231PS_BCST(m, t.b(0), t.acc(i, 0)))
			continue
		}
		a := t.spare(i % t.spares())
		t.do(x86.VBROADCASTSS(m, a))
		for h := range t.halves {
			t.multiply(a, h, row)
		}
		if t.beside != nil {
			t.beside()
		}
	}
	if !t.whole() {
		t.do(x86.ADDQ(regBS, regB))
		for i := range (rows + 2) / 3 {
			t.do(x86.ADDQ(regKS, regA[i]))
		}
	}
}

// advance goes on by some words of whole numbers, whose strides are fixed: four instructions
// are taken up in a cycle, and with additions for each word they would be almost all that
// there is room for beside the products.
func (t *tileWriter) advance(rows, words int) {
	if !t.whole() {
		return
	}
	t.do(x86.ADDQ(operand.U32(words*t.rowB()), regB))
	for i := range (rows + 2) / 3 {
		t.do(x86.ADDQ(operand.U8(4*words), regA[i]))
	}
}

// rowB is the bytes of a row of words of B.
func (t *tileWriter) rowB() int { return 2 * t.lanes * 4 }

// multiply adds the products of an element of A, broadcast, with half a row of B.
func (t *tileWriter) multiply(a reg.VecPhysical, half, row int) {
	b, acc := t.b(half), t.acc(row, half)
	switch t.b2 {
	case quads: // unsigned bytes of A, signed ones of B
		t.do(x86.VPDPBUSD(b, a, acc))
	case pairs:
		product := t.spare(1)
		t.do(x86.VPMADDWD(b, a, product))
		t.do(x86.VPADDD(product, acc, acc))
	case dots:
		t.dot(a, b, acc)
	default:
		t.do(x86.VFMADD231PS(a, b, acc))
	}
}

// finish applies the activation and stores.
func (t *tileWriter) finish(rows int) {
	switch t.b2 {
	case quads:
		t.do(x86.MOVL(t.arg(argResult), regTmp.As32()))
		t.do(x86.CMPL(regTmp.As32(), operand.U8(resultFloats)))
		t.do(x86.JE(operand.LabelRef(t.labelName(rows, "floats"))))
		t.do(x86.CMPL(regTmp.As32(), operand.U8(resultBytes)))
		t.do(x86.JE(operand.LabelRef(t.labelName(rows, "bytes"))))
		t.do(x86.CMPL(regTmp.As32(), operand.U8(resultCombined)))
		t.do(x86.JE(operand.LabelRef(t.labelName(rows, "combined"))))
	case pairs:
	default:
		if t.wide {
			t.do(x86.MOVQ(t.arg(argColumnsC), regOther))
			break
		}
		t.relu(rows)
	}
	t.store(rows)
	if t.b2 == quads {
		t.floats(rows)
		t.combined(rows)
		t.bytes(rows)
	}
}

// store writes the accumulators to C.
func (t *tileWriter) store(rows int) {
	for i := range rows {
		for h := range t.halves {
			t.storeHalf(t.acc(i, h), regC, h)
		}
		if i < rows-1 {
			t.do(x86.ADDQ(regCS, regC))
		}
	}
	t.do(x86.VZEROUPPER())
	t.do(x86.RET())
}

// relu: the accumulator is the second source of VMAXPS, the one it returns when there
// is a NaN.
func (t *tileWriter) relu(rows int) {
	t.do(x86.CMPL(t.arg(argReLU), operand.U8(0)))
	t.do(x86.JE(operand.LabelRef(t.labelName(rows, "store"))))
	zero := t.b(0)
	t.zero(zero)
	t.each(rows, func(i, h int) { t.do(x86.VMAXPS(t.acc(i, h), zero, t.acc(i, h))) })
	t.label(t.labelName(rows, "store"))
}
