package kernel

import (
	"unsafe"

	"tandem/kernel/ref"
)

// AMX adds up products of bytes for blocks of 32×32 sums, eight times as many a cycle as the
// dot products of VNNI. It reads A and the panels of B as they lie for these,
// 16 words of each at a time, and writes the sums. The tile kernel starts from these, adds
// what further words there are, fewer than 16, and makes of the sums what is wanted: so all
// that Rescale is, and all edges, are written once.

const (
	// blockPanels are done in one call: fewer would often wait for the tiles to be configured,
	// and of more the sums, 16 KiB, would not stay in the L1 cache until they are rescaled.
	blockPanels = 4
	// leastAMXRows: with fewer rows the tiles are mostly empty.
	leastAMXRows = 8
)

// stripRows is the most rows of a strip.
func (f byteForm) stripRows() int {
	if f.blocks {
		return amxBlock
	}
	return f.tileShape.rows
}

// blockRoom is the scratch of a worker for the sums of blocks, in bytes.
func (f byteForm) blockRoom() int {
	if f.blocks {
		return 4 * blockPanels * amxBlock * f.cols
	}
	return 0
}

// blockWords is the number of words of a line of A whose products blocks add up, in m rows:
// where there are lines, all or none.
func (s *byteStrips) blockWords(m int) int {
	if !s.blocks || m < leastAMXRows || s.words*max(1, s.lines) > byteWords || s.lines > 0 && s.words%amxTile != 0 {
		return 0
	}
	return s.words &^ (amxTile - 1)
}

// runBlocks is run where blocks add up so many words of a line: the sums of a strip of rows
// and some panels are written, and the tile kernel goes on from them.
func (s *byteStrips) runBlocks(words, m0, m1, n0, n1 int) {
	rest := *s
	rest.words, rest.lines, rest.from = s.words-words, 0, s.block
	if rest.words > 0 {
		rest.a = s.a[4*words:]
	}
	args := rest.args()
	width := blockPanels * s.cols
	height := ceilDiv(m1-m0, ceilDiv(m1-m0, amxBlock))
	for i := m0; i < m1; i += height {
		end := min(i+height, m1)
		rest.fromRow = i
		for n := n0; n < n1; n += width {
			b := s.b[(n-n0)/s.cols*s.panel:]
			block := ref.ByteBlock{
				Rows: end - i, Steps: words / amxTile, Panels: ceilDiv(min(width, n1-n), s.cols),
				A: s.a[(i-s.first)*s.stride:], RS: s.stride, Lines: s.lines, Line: s.line, B: b, Panel: s.panel, Sums: s.block,
			}
			addUpBlock(&block)
			rest.b = b
			if rest.words > 0 {
				rest.b = b[4*s.cols*words:]
			}
			rest.runStrips(&args, i, end, n, min(n+width, n1))
		}
	}
}

// blockArgs is the one argument of the kernel of ref.ByteBlock. Strides are in bytes. The
// layout is known to the generator in kernel/asm.
type blockArgs struct {
	a, b, sums   unsafe.Pointer
	rs           uintptr
	steps, lines int     // at least one
	lineStep     uintptr // from the end of a line to the next
	panels       int
	panel        uintptr
	shape        *amxShape
	low          uint64 // 1: a block has one row of tiles only
}

// of sets all but shape, which it returns.
func (a *blockArgs) of(b *ref.ByteBlock) (shape amxShape) {
	*a = blockArgs{
		a: unsafe.Pointer(unsafe.SliceData(b.A)), b: unsafe.Pointer(unsafe.SliceData(b.B)), sums: unsafe.Pointer(unsafe.SliceData(b.Sums)),
		rs: uintptr(b.RS), steps: b.Steps, lines: max(1, b.Lines), lineStep: uintptr(b.Line - 4*amxTile*b.Steps),
		panels: b.Panels, panel: uintptr(b.Panel),
	}
	if b.Rows <= amxTile {
		a.low = 1
	}
	return amxShapeOf(b.Rows, amxBlock, amxTile)
}

// addUpBlock adds up the products of a block. The processor lacks AMX only in a test, which
// has the reference then.
func addUpBlock(b *ref.ByteBlock) {
	if !hasAMX {
		b.Run()
		return
	}
	var args blockArgs
	shape := args.of(b)
	args.shape = &shape
	byteBlockAsm(&args)
}
