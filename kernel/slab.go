package kernel

import (
	"unsafe"

	"tandem/kernel/ref"
)

// Many rows go over weights in slabs: 256 columns of two panels, small enough for the
// first cache. A slab is multiplied with all rows before the next one; what has been
// summed of their chains waits in memory. Where codes have less than a byte, they are
// unpacked once for all rows, to a tile of blocks: codes of a byte, then scales of 32
// columns or of 16, and offsets. Scales are float32; where there are super-scales, these
// stand first, and scales are integers in words.

// panelHeight is how many rows at most are multiplied with panels as they lie in memory.
const panelHeight = 6

// streamRows are so few that weights come from memory about as fast as they are
// multiplied: whoever computes goes along them.
const streamRows = 64

const (
	slabPairs   = 4
	slabColumns = 64 * slabPairs
	slabRecords = 2 * slabPairs * ref.RecordBytes // of a row, which lie together

	pairTile   = 1024 + 256
	slabTile   = 64 + slabPairs*pairTile
	slabSumRow = 2 * ref.PanelRows * 4
)

// slabRoom is the memory that multiplySlabs needs for so many rows: two tiles and sums.
func slabRoom(rows int) int { return 2*slabTile + rows*slabSumRow + 64 }

// multiplySlabs computes one panel of weight w, or two.
func (l *Linear) multiplySlabs(w, panel, n, lo, hi int, data []byte, to *place, room []byte) {
	part, weight := &l.parts[w], &l.Weights[w]
	room = room[-uintptr(unsafe.Pointer(unsafe.SliceData(room)))&63:]
	n0 := panel * part.wide
	at := (lo-to.first)*to.stride + to.column + n0
	var args slabArgs                                                             // field by field, as in multiplyPanels
	args.w, args.size = unsafe.Pointer(&data[0]), uintptr(n-1)*uintptr(part.size) // alone, the second is the first again, and thrown away
	args.tile, args.sums = unsafe.Pointer(&room[0]), unsafe.Pointer(&room[2*slabTile])
	args.a, args.as, args.step = unsafe.Pointer(&l.records[part.kind][lo*slabRecords]), slabRecords, uintptr(l.slab)
	args.pairs, args.rows, args.ahead = part.blockPairs, hi-lo, to.next
	args.mask = uint32(uint64(1)<<min(n*part.wide, weight.N-n0) - 1)
	args.y, args.ys, args.ystep = unsafe.Pointer(&to.y[at]), uintptr(to.stride)*4, uintptr(to.step)*4
	if weight.Bias != nil {
		args.bias = unsafe.Pointer(&weight.Bias[n0])
	}
	if to.add != nil {
		args.add = unsafe.Pointer(&to.add[at])
	}
	if to.mul != nil {
		args.mul, args.mulstep = unsafe.Pointer(&to.mul[0]), uintptr(hi-lo)*ref.PanelRows*4
	}
	slabAsm(weight.Format, l.four, &args)
}

// slabArgs is the one argument of the slab kernels, which multiply rows with one panel of
// weights and another, and finish as the panel kernels do (panelArgs): to products they
// add a bias, multiply with factors [2][rows][16] and add what add holds. Strides are in
// bytes. The kernel changes w, a, pairs, y, add and mul; w, a and ahead may come to lie
// beyond what they are of. The layout is known to the generator.
type slabArgs struct {
	w         unsafe.Pointer
	size      uintptr        // from one panel to the other
	tile      unsafe.Pointer // room for two unpacked slabs
	a         unsafe.Pointer // records of the first slab
	as, step  uintptr        // from a row to the next, and from a slab
	sums      unsafe.Pointer // room for [rows][2][16]
	pairs     int            // of blocks in a panel
	rows      int
	ahead     uintptr // what to prefetch after the last slab
	mask      uint32  // columns that exist
	stage     uint32
	y         unsafe.Pointer
	ys, ystep uintptr // from a row to the next, and from a panel; add is placed as y is
	bias, add unsafe.Pointer
	mul       unsafe.Pointer
	mulstep   uintptr // from a panel's factors to the next
	rowA      uintptr // the rest is the kernel's own
	rowSums   uintptr
	rowsLeft  int
	count     int
}
