package kernel

import (
	"unsafe"

	"tandem/kernel/ref"
)

// A block of C on the tiles of AMX: two by two of 16 rows and 16 columns of words. Tiles
// belong to a thread, so they are configured anew in each call, which takes about a
// microsecond: a call computes many blocks, those of amxStrip rows in as many panels as
// amxCall products of words allow, about 100 µs.
const (
	amxTile  = 16 // rows of a tile, and words of 4 bytes in one
	amxBlock = 2 * amxTile
	amxStrip = 8 * amxBlock
	amxCall  = 1 << 23
)

// amxArgs is the one argument of the products on tiles, which compute blocks of C, below
// and beside each other:
//
//	C[i,j] = start[i,j] + Σ_k A[i,k]·B[k,j]
//
// where k counts words. Sums start at zero for every 16 words and are then added. Strides
// are in bytes. The layout is known to the generator in kernel/asm.
type amxArgs struct {
	a, b, c, start        unsafe.Pointer
	rs, bs, cs, startStep uintptr // from row to row; 0: all rows start from the same
	steps                 int     // of 16 words
	blocks                int
	shape                 *amxShape // of the tiles of a block
	rest                  *amxShape // of those of the words that are left; or nil
	variant               int       // 1: blocks have one row of tiles only, 2: one column, 3: both
	panels                int       // beside each other, each a block wide
	panel, startNext      uintptr   // from one to the next in B and in start
	// The function's own: blocks below each other that are to come; b, c and start of a panel.
	left                 int
	nowB, nowC, nowStart uintptr
}

// amxShape is what LDTILECFG reads: the bytes in a row and the rows of each tile. 0 to 3
// are those of C, 4 and 5 of A, 6 and 7 of B.
type amxShape struct {
	palette  uint8
	_        [15]uint8
	rowBytes [16]uint16
	rows     [16]uint8
}

func amxShapeOf(rows, cols, words int) amxShape {
	s := amxShape{palette: 1}
	upper, left := min(rows, amxTile), min(cols, amxTile)
	for i, of := range [8][2]int{
		{upper, left}, {upper, cols - left}, {rows - upper, left}, {rows - upper, cols - left},
		{upper, words}, {rows - upper, words}, {words, left}, {words, cols - left},
	} {
		if of[0] > 0 && of[1] > 0 {
			s.rows[i], s.rowBytes[i] = uint8(of[0]), uint16(4*of[1])
		}
	}
	return s
}

// runAMX computes the m×n block of words whose rows in A lie at a stride.
func (t *tileRun) runAMX(m, n int) {
	for i := 0; i < m; i += amxStrip {
		end := min(i+amxStrip, m)
		lower := i + (end-i)&^(amxBlock-1) // whole blocks end here
		step := t.cols * max(1, amxCall/(t.cols*max(end-i, amxBlock)*t.k))
		for j := 0; j < n; {
			next := min(j+step, n)
			if whole := n - n%t.cols; j < whole {
				next = min(next, whole)
			}
			t.amxBlocks(i, lower, j, next)
			t.amxBlocks(lower, end, j, next)
			j = next
		}
		for r := i; r < end && t.last && t.act == ActReLU; r++ {
			row := t.c[r*t.cs:][:n]
			unary(t.isa, OpReLU, row, row, 0)
		}
		t.finish(i, end, n)
	}
}

// size sets how many rows, columns and words there are: rows of whole blocks, or fewer than
// one has. It returns the shapes of tiles, for shape and, if words are left, for rest.
func (a *amxArgs) size(rows, cols, words int) (shape, rest amxShape) {
	a.steps, a.blocks, a.variant = words/amxTile, ceilDiv(rows, amxBlock), 0
	rows = min(rows, amxBlock)
	if rows <= amxTile {
		a.variant = 1
	}
	if cols <= amxTile {
		a.variant += 2
	}
	return amxShapeOf(rows, cols, amxTile), amxShapeOf(rows, cols, words%amxTile)
}

// amxBlocks computes rows [i,end) and columns [j,stop): whole blocks, or a row, a column of
// them that lacks some.
func (t *tileRun) amxBlocks(i, end, j, stop int) {
	if i == end {
		return
	}
	var zero [amxBlock]float32
	var shapes [2]amxShape
	args := t.blockArgs(i, end, j, stop, &zero, &shapes)
	if t.isa == AVX512 {
		amxAsm(&args)
		return
	}
	for ; j < stop; j += t.cols {
		s := ref.BFloat16Tiles{
			Rows: end - i, Cols: min(t.cols, stop-j), Words: t.k, A: bitsAt(t.a[i*t.rs:]), RS: t.rs, B: bitsAt(t.b[j/t.cols*t.panel:]), BS: t.bs,
			C: t.c[i*t.cs+j:], CS: t.cs, FromC: args.startStep > 0,
		}
		if t.start == startColumnBias {
			s.ColumnBias = t.bias[j:]
		}
		s.Run()
	}
}

// blockArgs are the arguments for rows [i,end) and columns [j,stop), which point to zero and
// to shapes. Where rows start from a bias of their own, it is written to C first.
func (t *tileRun) blockArgs(i, end, j, stop int, zero *[amxBlock]float32, shapes *[2]amxShape) amxArgs {
	args := amxArgs{
		a: unsafe.Pointer(&t.a[i*t.rs]), b: unsafe.Pointer(&t.b[j/t.cols*t.panel]), c: unsafe.Pointer(&t.c[i*t.cs+j]),
		rs: uintptr(t.rs) * 4, bs: uintptr(t.bs) * 4, cs: uintptr(t.cs) * 4, start: unsafe.Pointer(zero),
		panels: ceilDiv(stop-j, t.cols), panel: uintptr(t.panel) * 4,
	}
	shapes[0], shapes[1] = args.size(end-i, min(stop-j, t.cols), t.k)
	if args.shape = &shapes[0]; t.k%amxTile > 0 {
		args.rest = &shapes[1]
	}
	switch t.start {
	case startC:
		args.start, args.startStep, args.startNext = args.c, args.cs, 4*amxBlock
	case startColumnBias:
		args.start, args.startNext = unsafe.Pointer(&t.bias[j]), 4*amxBlock
	case startRowBias:
		for r := i; r < end; r++ {
			row := t.c[r*t.cs+j:][:stop-j]
			for q := range row {
				row[q] = t.bias[r]
			}
		}
		args.start, args.startStep, args.startNext = args.c, args.cs, 4*amxBlock
	}
	return args
}
