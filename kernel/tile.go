package kernel

import (
	"unsafe"

	"tandem/kernel/ref"
)

// tileShape is the part of C that one call of the tile kernel computes with
// its accumulators in registers.
type tileShape struct{ rows, cols int }

func shapeOf(isa ISA) tileShape {
	switch isa {
	case AVX512:
		return tileShape{12, 32}
	case AVX2:
		return tileShape{6, 16}
	}
	return tileShape{4, 16}
}

// Start values of a tile's accumulators; the numbers are known to the assembly.
const (
	startZero = iota
	startC
	startColumnBias
	startRowBias
	startFrom // elements laid out like C, plus a column bias if there is one
)

// storage is how the right-hand matrix of a tile is stored. In 16 bits it has
// whole rows of tileShape.cols.
type storage uint8

const (
	asFloat32 storage = iota
	asFloat16
	asBFloat16
	asPairs       // words of two whole numbers of 16 bits
	asDots        // words of two bfloat16, as those of A are then
	asWideFloat16 // see halfTile.wide
)

// tileArgs is the one argument of the assembly tile kernels, which compute
//
//	C[i,j] = act(start[i,j] + Σ_k A[i,k]·B[k,j])
//
// with one chain of fused multiply-adds per element. Strides are in bytes. The
// layout is known to the generator in kernel/asm.
type tileArgs struct {
	a, b, c, bias  unsafe.Pointer
	rs, ks, bs, cs uintptr
	k              int
	rows           int    // 1 … tileShape.rows
	mask           uint32 // columns of C that exist
	start          uint32
	relu           uint32
	bounded        uint32         // B is not to be read behind the columns that exist
	from           unsafe.Pointer // for startFrom
	// A may be several lines of k elements: lineStep is from one past the end of a
	// line to the next. 0 lines are one.
	lines    int
	lineStep uintptr
	ahead    uintptr // how far before its use a row of B is fetched
	// What becomes of the sums of whole numbers, for tileBytesAsm: see Rescale.
	result   uint32
	zero     uint32         // of bytes, as two numbers of 16 bits; of unsigned ones less 128
	flip     uint32         // of unsigned bytes 0x80808080
	scale    unsafe.Pointer // of the columns
	shift    unsafe.Pointer // of floats, for the columns; or nil
	rowScale unsafe.Pointer // of floats, for the rows, rowStep bytes apart
	rowStep  uintptr
	// Of combined bytes: where the others are, whose rows begin otherStep bytes apart; the
	// range of C's own, less their zero point, and their factor; the others' factor; the
	// bits that make floats of 2²³ and more of them, and what these are too great by.
	other               unsafe.Pointer
	lo, hi              float32
	factor, otherFactor float32
	otherBits           uint32
	otherZero           float32
	otherStep           uintptr
	// Several whole tiles of one strip follow each other: panels of b lie panel bytes
	// apart, columns of C columnsC bytes; allLines are the lines of each. 0 tiles are one.
	rowStart unsafe.Pointer // what the sums of the rows start from besides; or nil
	tiles    int
	panel    uintptr
	columnsC uintptr
	allLines int
	// What is fetched into the L2 cache: a line for each row of B, farStep bytes apart; or 0.
	far, farStep uintptr
	fromAhead    uintptr // from rows of from to those that the strip below starts from
	// A paired tile is two halves, one of which becomes bytes while the products of the other
	// are added up. Within a call: where the half goes that is still to become bytes, or nil,
	// and what it is combined with.
	paired           uint32
	halfC, halfOther unsafe.Pointer
	skipB            uintptr // for tileBytesAsm: bytes of B between the words of two lines
}

// Values of tileArgs.result.
const (
	resultSums = iota
	resultFloats
	resultBytes
	resultCombined
)

// Values of tileArgs.paired.
const (
	notPaired = iota
	pairedBytes
	pairedSums
)

// aheadRows is the number of rows of B by which fetching precedes multiplying: what
// twelve rows of A take with so many is more than the latency of memory.
const aheadRows = 32

// tileRun goes over one block of A and one of B in tiles.
type tileRun struct {
	isa ISA
	tileShape
	amx       bool    // words of two bfloat16 are multiplied by tiles
	storage   storage // of b; where it is not float32, strides count words of 4 bytes all the same
	k         int
	a         []float32 // element (i,k) at i*rs + k*ks
	rs, ks    int
	lines     int       // of k elements that a row of A has, if several,
	line      int       // and the step between them
	b         []float32 // element (k,j) of panel q at q*panel + k*bs + j
	bs, panel int
	bounded   bool      // b may end with the last column, if it is not that of a whole panel
	c         []float32 // element (i,j) at i*cs + j
	cs        int
	bias      []float32 // of the block's columns or rows
	from      []float32 // like c
	start     uint32
	last      bool // the activation and what is added after it are due
	act       Activation
	add       []float32 // like c, or nil
	halves    []float32 // words of two bfloat16 that c is rounded to in the end, rows halfStep apart; or nil
	halfStep  int
	cached    bool // b lies in the L1 cache: nothing is fetched ahead
	stream    bool // b comes from memory: see streamPanels
	next      int  // then, how far from the last panel lies the first one of the next block
}

// run computes the m×n block. The strip of A is the outer loop, so it stays in
// the L1 cache while the panels of B stream from L2.
func (t *tileRun) run(m, n int) {
	if t.amx {
		t.runAMX(m, n)
		return
	}
	relu := t.last && t.act == ActReLU
	if t.isa == Generic {
		t.runGeneric(m, n, relu)
		return
	}
	args := tileArgs{
		rs: uintptr(t.rs) * 4, ks: uintptr(t.ks) * 4, bs: uintptr(t.bs) * 4, cs: uintptr(t.cs) * 4,
		k: t.k, start: t.start, lineStep: uintptr(t.line-t.k*t.ks) * 4, ahead: uintptr(t.bs) * 4 * aheadRows,
	}
	if relu {
		args.relu = 1
	}
	if t.cached { // what lies behind b may be memory that was never touched, which is slow to ask for
		args.ahead = 0
	}
	// Strips of equal height: a low one at the end would wait for the additions.
	strips := max(1, ceilDiv(m, t.rows))
	rows := ceilDiv(m, strips)
	if t.stream {
		t.streamPanels(&args, rows, strips, m, n)
		return
	}
	for i := 0; i < m; i += rows {
		for j := 0; j < n; j += t.cols {
			t.tile(&args, i, min(rows, m-i), j, n)
		}
		t.finish(i, min(i+rows, m), n)
	}
}

// streamPanels is run in the other order. What weights take from memory takes about as long
// as what a few strips of rows compute with them. Both go on at the same time if every strip
// multiplies by a panel before the next panel is begun, and each fetches its part of that.
func (t *tileRun) streamPanels(args *tileArgs, rows, strips, m, n int) {
	args.farStep = uintptr(4 * t.bs / strips)
	for j := 0; j < n; j += t.cols {
		ahead := t.panel
		if j+t.cols >= n {
			ahead = t.next
		}
		for i := 0; i < m; i += rows {
			args.far = uintptr(unsafe.Pointer(&t.b[j/t.cols*t.panel])) + uintptr(4*ahead) + uintptr(i/rows*t.k)*args.farStep
			t.tile(args, i, min(rows, m-i), j, n)
		}
	}
	t.finish(0, m, n)
}

// tile computes rows [i,i+rows) and the columns of the panel that begins with column j, of n.
func (t *tileRun) tile(args *tileArgs, i, rows, j, n int) {
	args.rows, args.lines = rows, t.lines
	args.a, args.b, args.c = unsafe.Pointer(&t.a[i*t.rs]), unsafe.Pointer(&t.b[j/t.cols*t.panel]), unsafe.Pointer(&t.c[i*t.cs+j])
	args.mask, args.bounded = 1<<min(t.cols, n-j)-1, 0
	if t.bounded && n-j < t.cols {
		args.bounded = 1
	}
	switch t.start {
	case startRowBias:
		args.bias = unsafe.Pointer(&t.bias[i])
	case startFrom:
		args.from = unsafe.Pointer(&t.from[i*t.cs+j])
		args.fromAhead = uintptr(rows*t.cs) * 4
	}
	if t.start == startColumnBias || t.start == startFrom && t.bias != nil {
		args.bias = unsafe.Pointer(&t.bias[j])
	}
	runTile(t.isa, t.storage, args)
}

// finish completes rows [i,end) of C: they are still in L1.
func (t *tileRun) finish(i, end, n int) {
	if !t.last {
		return
	}
	if t.act > ActReLU || t.add != nil {
		t.activate(i, end, n)
	}
	if t.halves != nil {
		for r := i; r < end; r++ {
			narrowBFloat16(t.isa, t.halves[r*t.halfStep:][:n/2], t.c[r*t.cs:][:n])
		}
	}
}

// activate applies the activation to rows [i,end) and adds to them.
func (t *tileRun) activate(i, end, n int) {
	if t.cs == n && t.add == nil { // the rows follow each other
		finish(t.isa, t.act, t.c[i*n:end*n], nil)
		return
	}
	for r := i; r < end; r++ {
		add := t.add
		if add != nil {
			add = add[r*t.cs:]
		}
		finish(t.isa, t.act, t.c[r*t.cs:][:n], add)
	}
}

// finish applies the activation to a row, unless the tile has done so, and adds to it.
func finish(isa ISA, act Activation, c, add []float32) {
	if act > ActReLU {
		unary(isa, act.unary(), c, c, 0)
	}
	if add != nil {
		binary(isa, OpAdd, c, c, add[:len(c)], 0)
	}
}

func (t *tileRun) runGeneric(m, n int, relu bool) {
	for i := 0; i < m; i += t.rows {
		for j := 0; j < n; j += t.cols {
			if t.storage != asFloat32 {
				t.runBFloat16(i, j, min(t.rows, m-i), min(t.cols, n-j), relu)
				continue
			}
			s := ref.Tile{
				Rows: min(t.rows, m-i), Cols: min(t.cols, n-j), K: t.k, Lines: t.lines, Line: t.line,
				A: t.a[i*t.rs:], RS: t.rs, KS: t.ks,
				B: t.b[j/t.cols*t.panel:], BS: t.bs,
				C: t.c[i*t.cs+j:], CS: t.cs,
				FromC: t.start == startC, ReLU: relu,
			}
			switch t.start {
			case startColumnBias:
				s.ColumnBias = t.bias[j:]
			case startRowBias:
				s.RowBias = t.bias[i:]
			case startFrom:
				s.From = t.from[i*t.cs+j:]
				if t.bias != nil {
					s.ColumnBias = t.bias[j:]
				}
			}
			s.Run()
		}
		t.finish(i, min(i+t.rows, m), n)
	}
}
