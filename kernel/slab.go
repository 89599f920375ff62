package kernel

import (
	"unsafe"

	"tandem/kernel/ref"
)

// Many rows go over weights in slabs: 256 columns of two panels, small enough for the
// first cache. A slab is multiplied with all rows before the next one; what has been
// summed of their chains waits in memory. Where codes have less than a byte, they are
// unpacked once for all rows, to a tile with the pairs of a panel of Q8_0: codes of a
// byte, then scales of 32 columns or of 16, and offsets. Scales are float32; where there
// are super-scales, these stand first, and scales are integers in words.

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
func (l *Linear) multiplySlabs(w, panel, n, lo, hi int, data []byte, to place, room []byte) {
	part, weight := &l.parts[w], &l.Weights[w]
	layout, _ := ref.PanelOf(weight.Format)
	room = room[-uintptr(unsafe.Pointer(unsafe.SliceData(room)))&63:]
	tile, sums := room[:2*slabTile], room[2*slabTile:]
	n0 := panel * part.wide
	args := slabArgs{as: slabRecords, size: uintptr(part.size), aheadSize: uintptr(part.size), mask: uint32(uint64(1)<<min(n*part.wide, weight.N-n0) - 1)}
	if n == 1 { // the second is the first again, and thrown away
		args.size, args.aheadSize = 0, 0
	}
	unpacked := !layout.Wide
	pairs, group := part.groups*layout.Pairs, max(1, slabPairs/layout.Pairs)
	for p := 0; p < pairs; p += slabPairs {
		from := data[p/slabPairs*group*layout.GroupBytes():]
		args.pairs, args.stage = min(slabPairs, pairs-p), 0
		args.w = unsafe.Pointer(&from[0])
		if unpacked {
			for i := range n {
				expandAsm(weight.Format, &tile[i*slabTile], &from[i*part.size], args.pairs)
			}
			args.w = unsafe.Pointer(&tile[0])
			args.size = uintptr(n-1) * slabTile
		}
		args.a, args.rows = unsafe.Pointer(&l.records[part.kind][p/slabPairs*l.slab+lo*slabRecords]), hi-lo
		args.sums = unsafe.Pointer(&sums[0])
		args.ahead = uintptr(unsafe.Pointer(&from[0])) + uintptr(group*layout.GroupBytes())
		if p == 0 {
			args.stage = slabFirst
		}
		if p+slabPairs >= pairs {
			args.stage |= slabLast
			args.ahead = uintptr(unsafe.Pointer(&data[0])) + uintptr(n*part.size)
			l.finishSlabs(&args, weight, to, n0, lo, hi)
		}
		slabAsm(weight.Format, &args)
	}
}

// finishSlabs says where the sums of the last slab go.
func (l *Linear) finishSlabs(args *slabArgs, weight *Weight, to place, n0, lo, hi int) {
	at := (lo-to.first)*to.stride + to.column + n0
	args.y, args.ys, args.ystep = unsafe.Pointer(&to.y[at]), uintptr(to.stride)*4, uintptr(to.step)*4
	if weight.Bias != nil {
		args.bias = unsafe.Pointer(&weight.Bias[n0])
	}
	if to.add != nil {
		args.add, args.adds = unsafe.Pointer(&to.add[at]), args.ys
	}
	if to.mul != nil {
		args.mul, args.mulstep = unsafe.Pointer(&to.mul[0]), uintptr(hi-lo)*ref.PanelRows*4
	}
}

// slabArgs is the one argument of the slab kernels, which add to sums, [rows][2][16],
// the products of rows with pairs of blocks of two panels of weights. In the last
// stage they finish as the panel kernels do (panelArgs). Strides are in bytes. The
// kernel changes a, sums, rows, y, add and mul. The layout is known to the generator.
type slabArgs struct {
	w         unsafe.Pointer
	size      uintptr // from one panel's pair to the other's
	a         unsafe.Pointer
	as        uintptr
	sums      unsafe.Pointer
	pairs     int
	rows      int
	ahead     uintptr // what to prefetch of the first panel
	aheadSize uintptr // from there to the second's
	stage     uint32
	mask      uint32 // columns that exist
	y         unsafe.Pointer
	ys, ystep uintptr
	bias, add unsafe.Pointer
	adds      uintptr
	mul       unsafe.Pointer
	mulstep   uintptr
}

// Bits of slabArgs.stage.
const (
	slabFirst = 1 // sums begin with zero
	slabLast  = 2
)
