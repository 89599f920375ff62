package kernel

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"tandem/kernel/ref"
	"tandem/tensor/block"
)

// Weight is a matrix of N rows, packed by PackRows for the pool's tier.
type Weight struct {
	Format block.Format
	N      int
	Data   []byte
	Bias   []float32 // nil, or N
}

// Gate is how Linear joins two matrices.
type Gate uint8

const (
	GateNone Gate = iota
	GateSiLU      // silu(x·W₀ᵀ) · x·W₁ᵀ
	GateGELU      // the same with GELU by tanh
)

// Linear computes Y = X·Wᵀ + bias (+ Add) for M rows of K columns, with W the
// rows of all Weights one after another; with a Gate, of two weights of the same
// N, their gated product. Rows are first divided by their root mean square and
// multiplied with Norm, if there is one.
//
// Weights in blocks of few bits are multiplied with rows quantised to 8 bits, with a
// scale for 32 columns, or for 256 where the weights' own scales have super-scales for as
// many (ref.QuantizeSuper); with weights of bfloat16 they are rounded to it where the
// processor has dot products that are worth it. Each element is one chain over the blocks
// (over the columns, for float weights), so that a row's bits do not depend on M.
type Linear struct {
	M, K    int
	X       []float32 // [M, K]
	Norm    []float32 // nil, or K
	Epsilon float32
	Weights []Weight
	Gate    Gate
	Add     []float32 // nil, or [M, N]
	Y       []float32 // [M, N]

	linearRun
}

// linearRun is what one Run works out.
type linearRun struct {
	isa     ISA
	vnni    bool
	four    bool // pipes of vectors
	ldy     int  // columns of Y
	stride  int  // bytes from a row's records to the next row's
	slab    int  // and from those of a slab of columns to the next, if rows go over slabs
	parts   []linearPart
	panels  int // to go over for a block of rows
	run     int // panels in a call, at most
	rows    int // of X that are multiplied at a time: their records stay in L2
	tile    int // rows in a call of the kernel
	floats  bool
	pairs   bool      // words of rows are needed
	blocks  [2]bool   // records of which kind are needed
	records [2][]byte // of rows with a scale for 32 columns, and for 256
	normed  []float32 // [M, K], if weights are floats and rows are normalised
	words   []float32 // of two bfloat16: rows that are rounded, wordStride apart
	workers []byte
	worker  int // bytes of a worker
	slabs   int // where the room for slabs begins in them,
	tiles   int // and that for products of pairs
	phase   linearPhase
	shares  []linearShare // of each thread, where weights are streamed
	turn    int           // panels that a thread takes of a share at a time
	stop    <-chan struct{}
}

// linearShare are panels that follow one another. What comes next is fetched ahead, so a
// thread goes along a share of its own, and along what is left of others' at the end.
type linearShare struct {
	next atomic.Int64
	end  int
	_    [48]byte // a cache line each
}

// linearPart is what the format of a weight comes to.
type linearPart struct {
	float, pairs       bool
	wide, size, groups int // of a panel: rows, bytes, groups of columns
	blockPairs         int // pairs of blocks in all groups
	panels             int
	slabs              bool // many rows go over slabs of two panels
	kind               int  // of records: 1 for a scale for 256 columns
}

type linearPhase uint8

const (
	linearPrepare linearPhase = iota
	linearMultiply
	linearStream
)

// runBytes bounds the weights that one call of a kernel reads.
const runBytes = 256 << 10

// recordsInCache bounds the records of a block of rows: half of a usual L2 cache.
const recordsInCache = 512 << 10

// plan fills in what depends on the dimensions alone.
func (l *Linear) plan(p *Pool) {
	l.isa, l.vnni, l.four = p.isa, p.vnni, p.four
	l.ldy, l.panels, l.floats, l.pairs, l.blocks = 0, 0, false, false, [2]bool{}
	l.parts = l.parts[:0]
	for _, w := range l.Weights {
		part := linearPart{float: floatSize(w.Format) > 0, pairs: p.pairs(w.Format), wide: PanelRows(w.Format, p.isa), size: PanelBytes(w.Format, l.K, p.isa)}
		switch {
		case part.pairs:
			l.pairs = true
		case part.float:
			l.floats = true
		default:
			layout, _ := ref.PanelOf(w.Format)
			if layout.Super() {
				part.kind = 1
			}
			l.blocks[part.kind] = true
			part.groups, part.slabs = layout.Groups(l.K), l.vnni && l.M > panelHeight
			part.blockPairs = part.groups * layout.Pairs
		}
		part.panels = ceilDiv(w.N, part.wide)
		l.parts = append(l.parts, part)
		l.ldy += w.N
		l.panels += part.panels
	}
	if l.Gate != GateNone {
		l.ldy, l.panels = l.ldy/2, l.panels/2
	}
	row := ceilDiv(l.K, 64) * 2 * ref.RecordBytes
	l.stride, l.slab = row, row
	if l.vnni && l.M > panelHeight {
		l.stride, l.slab = slabRecords, l.M*slabRecords
	}
	height := l.tileHeight()
	blocks := max(1, ceilDiv(l.M, max(1, recordsInCache/row/height)*height))
	tiles := ceilDiv(ceilDiv(l.M, blocks), height) // blocks of rows that are alike
	l.rows = min(l.M, tiles*height)
	l.tile = ceilDiv(l.rows, max(1, tiles))
	l.run = 1
	if l.parts[0].slabs {
		l.run = 2
	} else if l.M <= l.tile { // long runs through memory, of some 20 µs
		l.run = max(1, runBytes/l.parts[0].size)
	}
	l.worker = 0
	if l.Gate != GateNone {
		l.worker = l.run * l.rows * l.parts[0].wide * 4
	}
	if l.vnni && l.M > panelHeight {
		l.slabs, l.worker = l.worker, l.worker+slabRoom(l.rows)
	}
	if l.pairs {
		l.tiles, l.worker = l.worker, l.worker+pairRows*shapeOf(l.isa).cols*4
	}
	l.worker = max(l.worker, ceilDiv(l.K, 64)*64*4) + 64
}

func (l *Linear) tileHeight() int {
	if l.vnni {
		return panelHeight
	}
	return 3
}

// recordBytes are those of the records of one kind.
func (l *Linear) recordBytes(kind int) int {
	if !l.blocks[kind] {
		return 0
	}
	return (l.M*ceilDiv(l.K, slabColumns)*slabRecords + 63) &^ 63
}

func (l *Linear) normedBytes() int {
	if !l.floats { // with or without a norm, which need not be there yet
		return 0
	}
	return l.M * l.K * 4
}

// ScratchLen is the number of bytes that Run needs on p for these dimensions.
func (l *Linear) ScratchLen(p *Pool) int {
	l.plan(p)
	return l.scratch(p)
}

func (l *Linear) scratch(p *Pool) int {
	return l.recordBytes(0) + l.recordBytes(1) + l.normedBytes() + l.wordBytes() + roomsLen[byte](p.threads, l.worker)
}

// Run computes Y. Y must not overlap X; it may be Add.
func (l *Linear) Run(p *Pool, scratch []byte) {
	l.plan(p)
	l.check(p, len(scratch))
	if l.M == 0 || l.ldy == 0 {
		return
	}
	for kind := range l.records {
		n := l.recordBytes(kind)
		l.records[kind], scratch = scratch[:n], scratch[n:]
	}
	n := l.normedBytes()
	l.normed, scratch = floatsAt(scratch[:n]), scratch[n:]
	n = l.wordBytes()
	l.words, l.workers = floatsAt(scratch[:n]), scratch[n:]
	if l.blocks != [2]bool{} || l.pairs || l.Norm != nil {
		l.phase = linearPrepare
		p.run(l.M, max(1, (1<<13)/max(1, l.K)), l)
	}
	units := ceilDiv(l.M, l.rows) * l.panels
	if l.parts[0].slabs || l.M <= streamRows && l.rows == l.M {
		l.share(p, units)
		p.run(p.threads, 1, l)
		return
	}
	l.phase = linearMultiply
	p.run(units, 1, l)
}

// share divides panels among threads.
func (l *Linear) share(p *Pool, units int) {
	l.phase, l.stop = linearStream, p.stop
	l.turn = 2
	if !l.parts[0].slabs {
		l.turn = max(1, units/(chunksPerThread*p.threads))
	}
	if len(l.shares) != p.threads {
		l.shares = make([]linearShare, p.threads)
	}
	turns := ceilDiv(units, l.turn)
	for i := range l.shares {
		l.shares[i].next.Store(int64(turns * i / p.threads * l.turn))
		l.shares[i].end = min(turns*(i+1)/p.threads*l.turn, units)
	}
}

// turnsLeft is the least number of turns in which the rest of a share is taken: long ones
// first, since taking one waits for all stores before, and short ones at the end, so that
// threads end together.
const turnsLeft = 8

// stream multiplies with the panels of a share, then with what is left of the others.
func (l *Linear) stream(share int, room []byte) {
	for i := range l.shares {
		s, turn := &l.shares[(share+i)%len(l.shares)], l.turn
		for !ended(l.stop) {
			lo := int(s.next.Add(int64(turn))) - turn
			if lo >= s.end {
				break
			}
			l.multiplyUnits(lo, min(lo+turn, s.end), room)
			turn = max(l.turn, (s.end-lo-turn)/turnsLeft/l.turn*l.turn)
		}
	}
}

func (l *Linear) check(p *Pool, scratch int) {
	if l.M < 0 || l.K < 1 {
		panic(fmt.Sprintf("kernel: Linear of %d rows of %d", l.M, l.K))
	}
	checkLen("Linear", "X", len(l.X), l.M*l.K)
	checkLen("Linear", "Y", len(l.Y), l.M*l.ldy)
	if l.Norm != nil {
		checkLen("Linear", "Norm", len(l.Norm), l.K)
	}
	if l.Add != nil {
		checkLen("Linear", "Add", len(l.Add), l.M*l.ldy)
	}
	for _, w := range l.Weights {
		checkLen("Linear", "Data", len(w.Data), PackedBytes(w.Format, w.N, l.K, p.isa))
		if w.Bias != nil {
			checkLen("Linear", "Bias", len(w.Bias), w.N)
		}
	}
	if l.Gate != GateNone && (len(l.Weights) != 2 || l.Weights[0].N != l.Weights[1].N ||
		l.parts[0].wide != l.parts[1].wide) {
		panic("kernel: Linear with a gate needs two weights alike")
	}
	checkLen("Linear", "scratch", scratch, l.scratch(p))
}

func (l *Linear) chunk(lo, hi, worker int) {
	room := roomOf(l.workers, worker, l.worker)
	switch l.phase {
	case linearMultiply:
		l.multiplyUnits(lo, hi, room)
	case linearPrepare:
		for i := lo; i < hi; i++ {
			l.prepare(i, room)
		}
	case linearStream:
		for i := lo; i < hi; i++ {
			l.stream(i, room)
		}
	}
}

// multiplyUnits multiplies blocks of rows with panels; a unit is one of each.
func (l *Linear) multiplyUnits(lo, hi int, room []byte) {
	for lo < hi {
		first, panel := lo/l.panels*l.rows, lo%l.panels
		n := min(hi-lo, l.panels-panel, l.run)
		lo += l.multiplyPanels(first, min(first+l.rows, l.M), panel, n, room)
	}
}

// prepare normalises a row and writes its records and its words.
func (l *Linear) prepare(row int, room []byte) {
	x := l.X[row*l.K:][:l.K]
	if l.Norm != nil {
		y := floatsAt(room)[:l.K]
		if l.floats {
			y = l.normed[row*l.K:][:l.K]
		}
		rmsNorm(l.isa, y, x, l.Norm, l.Epsilon)
		x = y
	}
	if l.pairs {
		n := l.wordStride()
		narrowBFloat16(l.isa, l.words[row*n:][:n], x)
	}
	for kind, needed := range l.blocks {
		if needed {
			l.quantize(kind, row, x)
		}
	}
}

// quantize writes the records of a row, slab by slab if rows go over slabs; half a
// pair's are followed by zeros.
func (l *Linear) quantize(kind, row int, x []float32) {
	step, size := l.K, l.stride
	if l.stride == slabRecords {
		step = slabColumns
	}
	for i := 0; i*step < l.K; i++ {
		r, x := l.records[kind][i*l.slab+row*l.stride:][:size], x[i*step:min(l.K, (i+1)*step)]
		quantize(l.isa, r, x[:len(x)&^31], kind == 1)
		clear(r[len(x)/32*ref.RecordBytes:])
	}
}

// multiplyPanels multiplies rows from lo to hi of X with up to n panels, of one
// weight, or of two that are gated. It returns how many.
func (l *Linear) multiplyPanels(lo, hi, panel, n int, room []byte) int {
	w, column := 0, 0
	for panel >= l.parts[w].panels {
		panel -= l.parts[w].panels
		column += l.Weights[w].N
		w++
	}
	n = min(n, l.parts[w].panels-panel)
	wide := l.parts[0].wide
	var to place // field by field: a literal is made elsewhere and copied, by loads that wait for stores
	to.y, to.stride, to.step, to.add = l.Y, l.ldy, l.parts[w].wide, l.Add
	if l.Gate == GateNone {
		to.column, to.next = column, l.address(w, panel+n)
		l.multiply(w, panel, n, lo, hi, &to, room)
		return n
	}
	gate := floatsAt(room)[:n*(hi-lo)*wide]
	var at place
	at.y, at.column, at.stride, at.step, at.first, at.next = gate, -panel*wide, wide, (hi-lo)*wide, lo, l.address(1, panel)
	l.multiply(0, panel, n, lo, hi, &at, room)
	op := OpSiLU
	if l.Gate == GateGELU {
		op = OpGELU
	}
	activate(l.isa, op, gate)
	to.mul, to.next = gate, l.address(0, panel+n)
	l.multiply(1, panel, n, lo, hi, &to, room)
	return n
}

// address is where a panel of weight w lies, which may be beyond the last.
func (l *Linear) address(w, panel int) uintptr {
	return uintptr(unsafe.Pointer(unsafe.SliceData(l.Weights[w].Data))) + uintptr(panel*l.parts[w].size)
}

// place says where products go: row r of column c of panel p of a weight is element
// (r-first)·stride + column + p·step + c of y.
type place struct {
	y                    []float32
	column, stride, step int
	first                int
	mul                  []float32 // factors, [panels][rows][panel width]
	add                  []float32 // addends, placed as y is
	next                 uintptr   // weights that are multiplied after these
}

// forward moves on to the products of the panel that comes n panels later; its own columns
// count anew.
func (t *place) forward(n, rows, wide int) {
	t.column += n * (t.step - wide)
	if t.mul != nil {
		t.mul = t.mul[min(len(t.mul), n*rows*wide):]
	}
}

// multiply computes n panels of weight w. It moves to forward.
func (l *Linear) multiply(w, panel, n, lo, hi int, to *place, room []byte) {
	part := &l.parts[w]
	data := l.Weights[w].Data[panel*part.size:]
	if part.slabs {
		for i := 0; i < n; i += 2 {
			l.multiplySlabs(w, panel+i, min(n-i, 2), lo, hi, data[i*part.size:], to, room[l.slabs:])
			to.forward(2, hi-lo, part.wide)
		}
		return
	}
	if !part.float && l.vnni {
		l.multiplyVNNI(w, panel, n, lo, hi, data, to)
		return
	}
	for i := range n {
		at := *to
		at.column += (panel + i) * part.wide
		if i < n-1 {
			at.next = l.address(w, panel+i+1)
		}
		switch weights := data[i*part.size:][:part.size]; {
		case part.pairs:
			l.multiplyPairs(w, weights, panel+i, lo, hi, &at, floatsAt(room[l.tiles:]))
		case part.float:
			l.multiplyFloats(w, weights, panel+i, lo, hi, &at)
		default:
			l.multiplyNarrow(w, weights, panel+i, lo, hi, &at)
		}
		to.forward(1, hi-lo, part.wide)
	}
}

// multiplyVNNI leaves all to the kernel. A last panel that is not full has a mask.
func (l *Linear) multiplyVNNI(w, panel, n, lo, hi int, data []byte, to *place) {
	part, weight := &l.parts[w], &l.Weights[w]
	if rest := weight.N - panel*part.wide; n > 1 && n*part.wide > rest {
		l.multiplyVNNI(w, panel, n-1, lo, hi, data, to)
		to.forward(n-1, hi-lo, part.wide)
		l.multiplyVNNI(w, panel+n-1, 1, lo, hi, data[(n-1)*part.size:], to)
		return
	}
	n0 := panel * part.wide
	var args panelArgs // field by field, as in multiplyPanels
	args.w, args.ahead, args.as, args.groups = unsafe.Pointer(&data[0]), streamAhead, uintptr(l.stride), part.groups
	args.ys, args.adds, args.ystep = uintptr(to.stride)*4, uintptr(to.stride)*4, uintptr(to.step)*4
	args.mask = uint32(1)<<min(part.wide, weight.N-n0-(n-1)*part.wide) - 1
	for i := lo; i < hi; i += l.tile {
		args.rows, args.panels = min(l.tile, hi-i), n
		args.a = unsafe.Pointer(&l.records[part.kind][i*l.stride])
		at := (i-to.first)*to.stride + to.column + n0
		args.y = unsafe.Pointer(&to.y[at])
		if weight.Bias != nil {
			args.bias = unsafe.Pointer(&weight.Bias[n0])
		}
		if to.add != nil {
			args.add = unsafe.Pointer(&to.add[at])
		}
		if to.mul != nil {
			args.mul = unsafe.Pointer(&to.mul[(i-lo)*part.wide])
			args.mulstep = uintptr(hi-lo) * uintptr(part.wide) * 4
		}
		panelAsm(weight.Format, true, &args)
	}
}

// streamAhead is how far ahead weights are prefetched, in bytes, which may be beyond their
// end: a prefetch there does nothing.
const streamAhead = 6 << 10

// multiplyNarrow is multiply for the kernels that leave the finish to Go.
func (l *Linear) multiplyNarrow(i int, data []byte, panel, lo, hi int, to *place) {
	w := &l.Weights[i]
	p, _ := ref.PanelOf(w.Format)
	var tile [3 * ref.PanelRows]float32
	groups, n0, records := p.Groups(l.K), panel*ref.PanelRows, l.records[l.parts[i].kind]
	for i := lo; i < hi; i += l.tile {
		rows := min(l.tile, hi-i)
		if l.isa == Generic {
			for r := range rows {
				for c := range ref.PanelRows {
					tile[r*ref.PanelRows+c] = p.Row(data, records[(i+r)*l.stride:], c, groups)
				}
			}
		} else {
			args := panelArgs{w: unsafe.Pointer(&data[0]), a: unsafe.Pointer(&records[i*l.stride]), as: uintptr(l.stride), groups: groups, rows: rows, ys: ref.PanelRows * 4}
			for half := range 2 {
				args.half, args.y = uint32(half), unsafe.Pointer(&tile[8*half])
				panelAsm(p.Format, false, &args)
			}
		}
		l.finish(w, tile[:], ref.PanelRows, i, i-lo, rows, n0, to)
	}
}

// finish adds a bias, multiplies with factors and adds addends to a tile of
// products, and stores it.
func (l *Linear) finish(w *Weight, tile []float32, wide, row, fromLo, rows, n0 int, to *place) {
	n := min(wide, w.N-n0)
	for r := range rows {
		at, v := (row+r-to.first)*to.stride+to.column, tile[r*wide:][:n]
		if w.Bias != nil {
			binary(l.isa, OpAdd, v, v, w.Bias[n0:][:n], 0)
		}
		if to.mul != nil {
			binary(l.isa, OpMul, v, v, to.mul[(fromLo+r)*wide:][:n], 0)
		}
		if to.add != nil {
			binary(l.isa, OpAdd, v, v, to.add[at:][:n], 0)
		}
		copy(to.y[at:][:n], v)
	}
}

// multiplyFloats is multiply for weights without scales.
func (l *Linear) multiplyFloats(i int, data []byte, panel, lo, hi int, to *place) {
	w := &l.Weights[i]
	shape := shapeOf(l.isa)
	x := l.X
	if l.Norm != nil {
		x = l.normed
	}
	var room [12 * 32]float32
	for i := lo; i < hi; i += shape.rows {
		rows := min(shape.rows, hi-i)
		t := halfTile{isa: l.isa, format: w.Format, rows: rows, a: x[i*l.K:], as: l.K, k: l.K, b: data, c: room[:], cs: shape.cols, ahead: halfAhead}
		t.run()
		l.finish(w, room[:], shape.cols, i, i-lo, rows, panel*shape.cols, to)
	}
}

func storageOf(f block.Format) storage {
	switch f {
	case block.F16:
		return asFloat16
	case block.BF16:
		return asBFloat16
	}
	return asFloat32
}

// floatsAt is memory as float32.
func floatsAt(b []byte) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/4)
}

// panelArgs is the one argument of the panel kernels, which compute
//
//	y[i,j] = (Σ over blocks of a[i]·w[j] + bias[j]) · mul[i,j] + add[i,j]
//
// for up to 6 rows i (3 on AVX2) and 16 columns j; without the kernels of
// AVX-512, for 8 columns and the sum alone. Strides are in bytes. The layout is
// known to the generator in kernel/asm.
type panelArgs struct {
	w, a      unsafe.Pointer
	as        uintptr
	y         unsafe.Pointer
	ys        uintptr
	groups    int
	rows      int
	ahead     uintptr // by how far prefetching is ahead of w
	bias, add unsafe.Pointer
	adds      uintptr
	mask      uint32 // columns that exist
	half      uint32 // which 8 columns, on AVX2
	mul       unsafe.Pointer
	// More panels that follow in memory: how many there are in all, and how far y
	// and mul move on from one to the next. The kernel changes y, mul, bias, add.
	panels         int
	ystep, mulstep uintptr
}
