package kernel

import (
	"fmt"
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
// Weights in blocks of few bits are multiplied with rows quantised to 8 bits, a
// scale for 32 columns. Each element is one chain over the blocks (over the
// columns, for float weights), so that a row's bits do not depend on M.
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
	ldy     int // columns of Y
	stride  int // bytes of a row of records
	panels  int // to go over for a block of rows
	rows    int // of X that are multiplied at a time: their records stay in L2
	tile    int // rows in a call of the kernel
	floats  bool
	blocks  bool
	records []byte
	normed  []float32 // [M, K], if weights are floats and rows are normalised
	workers []byte
	worker  int // bytes of a worker
	phase   linearPhase
}

type linearPhase uint8

const (
	linearPrepare linearPhase = iota
	linearMultiply
)

// recordsInCache bounds the records of a block of rows: half of a usual L2 cache.
const recordsInCache = 512 << 10

// plan fills in what depends on the dimensions alone.
func (l *Linear) plan(p *Pool) {
	l.isa, l.vnni = p.isa, p.vnni
	l.ldy, l.panels, l.floats, l.blocks = 0, 0, false, false
	for _, w := range l.Weights {
		l.ldy += w.N
		if floatSize(w.Format) > 0 {
			l.floats = true
		} else {
			l.blocks = true
		}
		l.panels += ceilDiv(w.N, PanelRows(w.Format, p.isa))
	}
	if l.Gate != GateNone {
		l.ldy, l.panels = l.ldy/2, l.panels/2
	}
	l.stride = ceilDiv(l.K, 64) * 2 * ref.RecordBytes
	height := l.tileHeight()
	l.rows = min(l.M, max(1, recordsInCache/l.stride/height)*height)
	tiles := ceilDiv(l.rows, height)
	l.tile = ceilDiv(l.rows, max(1, tiles))
	l.worker = 0
	if l.Gate != GateNone {
		l.worker = l.rows * PanelRows(l.Weights[0].Format, p.isa) * 4
	}
	l.worker += 64 + ceilDiv(l.K, 64)*64*4
}

func (l *Linear) tileHeight() int {
	if l.vnni {
		return 12
	}
	return 3
}

func (l *Linear) recordBytes() int {
	if !l.blocks {
		return 0
	}
	return (l.M*l.stride + 63) &^ 63
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
	return l.recordBytes() + l.normedBytes() + p.threads*l.worker
}

// Run computes Y. Y must not overlap X; it may be Add.
func (l *Linear) Run(p *Pool, scratch []byte) {
	l.plan(p)
	l.check(p, len(scratch))
	if l.M == 0 || l.ldy == 0 {
		return
	}
	n := l.recordBytes()
	l.records, scratch = scratch[:n], scratch[n:]
	n = l.normedBytes()
	l.normed, l.workers = floatsAt(scratch[:n]), scratch[n:]
	if l.blocks || l.Norm != nil {
		l.phase = linearPrepare
		p.run(l.M, max(1, (1<<13)/max(1, l.K)), l)
	}
	l.phase = linearMultiply
	units := ceilDiv(l.M, l.rows) * l.panels
	grain := 1
	if l.M <= l.tile { // long runs through memory
		grain = max(1, units/(4*p.threads))
	}
	p.run(units, grain, l)
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
		PanelRows(l.Weights[0].Format, p.isa) != PanelRows(l.Weights[1].Format, p.isa)) {
		panic("kernel: Linear with a gate needs two weights alike")
	}
	checkLen("Linear", "scratch", scratch, l.recordBytes()+l.normedBytes()+p.threads*l.worker)
}

func (l *Linear) chunk(lo, hi, worker int) {
	room := l.workers[worker*l.worker:][:l.worker]
	if l.phase == linearPrepare {
		for i := lo; i < hi; i++ {
			l.prepare(i, room)
		}
		return
	}
	for i := lo; i < hi; i++ {
		first := i / l.panels * l.rows
		l.panel(first, min(first+l.rows, l.M), i%l.panels, room)
	}
}

// prepare normalises a row and writes its records.
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
	if !l.blocks {
		return
	}
	r := l.records[row*l.stride:][:l.stride]
	quantize(l.isa, r, x[:l.K&^31])
	clear(r[l.K/32*ref.RecordBytes:])
}

// panel multiplies rows from lo to hi of X with a panel of weights, or with two
// that are gated.
func (l *Linear) panel(lo, hi, panel int, room []byte) {
	if l.Gate == GateNone {
		w, column := 0, 0
		for n := ceilDiv(l.Weights[0].N, PanelRows(l.Weights[0].Format, l.isa)); panel >= n; n = ceilDiv(l.Weights[w].N, PanelRows(l.Weights[w].Format, l.isa)) {
			panel -= n
			column += l.Weights[w].N
			w++
		}
		l.multiply(&l.Weights[w], panel, lo, hi, place{y: l.Y, column: column, stride: l.ldy, add: l.Add})
		return
	}
	wide := PanelRows(l.Weights[0].Format, l.isa)
	gate := floatsAt(room)[:(hi-lo)*wide]
	l.multiply(&l.Weights[0], panel, lo, hi, place{y: gate, column: -panel * wide, stride: wide, first: lo})
	op := OpSiLU
	if l.Gate == GateGELU {
		op = OpGELU
	}
	activate(l.isa, op, gate)
	l.multiply(&l.Weights[1], panel, lo, hi, place{y: l.Y, stride: l.ldy, add: l.Add, mul: gate})
}

// place says where products go: row r and column c of a weight are element
// (r-first)·stride + column + c of y.
type place struct {
	y              []float32
	column, stride int
	first          int
	mul            []float32 // factors, [rows][panel width]
	add            []float32 // addends, placed as y is
}

func (l *Linear) multiply(w *Weight, panel, lo, hi int, to place) {
	size := PanelBytes(w.Format, l.K, l.isa)
	data := w.Data[panel*size:]
	if floatSize(w.Format) > 0 {
		l.multiplyFloats(w, data[:size], panel, lo, hi, to)
		return
	}
	if l.isa == Generic || !l.vnni {
		l.multiplyNarrow(w, data[:size], panel, lo, hi, to)
		return
	}
	p, _ := ref.PanelOf(w.Format)
	n0 := panel * ref.PanelRows
	args := panelArgs{
		w: unsafe.Pointer(&data[0]), as: uintptr(l.stride), ys: uintptr(to.stride) * 4, groups: p.Groups(l.K),
		mask: uint32(1)<<min(ref.PanelRows, w.N-n0) - 1, adds: uintptr(to.stride) * 4,
	}
	if w.Bias != nil {
		args.bias = unsafe.Pointer(&w.Bias[n0])
	}
	for i := lo; i < hi; i += l.tile {
		args.rows = min(l.tile, hi-i)
		args.a = unsafe.Pointer(&l.records[i*l.stride])
		at := (i-to.first)*to.stride + to.column + n0
		args.y = unsafe.Pointer(&to.y[at])
		if to.add != nil {
			args.add = unsafe.Pointer(&to.add[at])
		}
		if to.mul != nil {
			args.mul = unsafe.Pointer(&to.mul[(i-lo)*ref.PanelRows])
		}
		args.ahead = args.w
		switch {
		case hi-lo <= l.tile:
			args.ahead = unsafe.Pointer(&data[min(len(data)-1, streamAhead)])
		case i+l.tile >= hi && len(data) > size:
			args.ahead = unsafe.Pointer(&data[size])
		}
		panelAsm(p.Format, true, &args)
	}
}

// streamAhead is how far ahead weights are prefetched that are read once.
const streamAhead = 6 << 10

// multiplyNarrow is multiply for the kernels that leave the finish to Go.
func (l *Linear) multiplyNarrow(w *Weight, data []byte, panel, lo, hi int, to place) {
	p, _ := ref.PanelOf(w.Format)
	var tile [3 * ref.PanelRows]float32
	groups, n0 := p.Groups(l.K), panel*ref.PanelRows
	for i := lo; i < hi; i += l.tile {
		rows := min(l.tile, hi-i)
		if l.isa == Generic {
			for r := range rows {
				for c := range ref.PanelRows {
					tile[r*ref.PanelRows+c] = p.Row(data, l.records[(i+r)*l.stride:], c, groups)
				}
			}
		} else {
			args := panelArgs{w: unsafe.Pointer(&data[0]), a: unsafe.Pointer(&l.records[i*l.stride]), as: uintptr(l.stride), groups: groups, rows: rows, ys: ref.PanelRows * 4}
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
func (l *Linear) finish(w *Weight, tile []float32, wide, row, fromLo, rows, n0 int, to place) {
	n := min(wide, w.N-n0)
	for r := range rows {
		at := (row+r-to.first)*to.stride + to.column + n0
		y := to.y[at:][:n]
		for c, v := range tile[r*wide:][:n] {
			if w.Bias != nil {
				v += w.Bias[n0+c]
			}
			if to.mul != nil {
				v *= to.mul[(fromLo+r)*wide+c]
			}
			if to.add != nil {
				v += to.add[at+c]
			}
			y[c] = v
		}
	}
}

// multiplyFloats is multiply for weights without scales.
func (l *Linear) multiplyFloats(w *Weight, data []byte, panel, lo, hi int, to place) {
	shape := shapeOf(l.isa)
	x := l.X
	if l.Norm != nil {
		x = l.normed
	}
	var room [12 * 32]float32
	for i := lo; i < hi; i += shape.rows {
		rows := min(shape.rows, hi-i)
		t := halfTile{isa: l.isa, format: w.Format, rows: rows, a: x[i*l.K:], as: l.K, k: l.K, b: data, c: room[:], cs: shape.cols}
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
// for up to 12 rows i (3 on AVX2) and 16 columns j; without the kernels of
// AVX-512, for 8 columns and the sum alone. Strides are in bytes. The layout is
// known to the generator in kernel/asm.
type panelArgs struct {
	w, a      unsafe.Pointer
	as        uintptr
	y         unsafe.Pointer
	ys        uintptr
	groups    int
	rows      int
	ahead     unsafe.Pointer // what to prefetch, as far as w is read
	bias, add unsafe.Pointer
	adds      uintptr
	mask      uint32 // columns that exist
	half      uint32 // which 8 columns, on AVX2
	mul       unsafe.Pointer
}
