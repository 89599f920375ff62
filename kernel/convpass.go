package kernel

// convPass is an implicit product, group by group:
//
//	dst[image, row, point] = act(bias[row] + Σ_k weights[row,k] · patch[k,point])
//
// with the points of the patches' grid as columns, image after image. Threads
// divide the panels of columns; a worker packs a panel in its own scratch and
// takes all rows over it while it is in the L2 cache.
type convPass struct {
	patches
	src, dst, weights, bias []float32
	act                     Activation
	images, groups          int
	rows, channels          int // of a group, in dst and in src
	lda                     int // row stride of weights
	dstH, dstW              int // of a plane of dst
	dstY0, dstX0            int // the pixel of point (0,0)
	dstStepY, dstStepX      int // pixels between points

	isa       ISA
	stop      <-chan struct{}
	scratch   []float32
	perWorker int
	lists     [][]piece // for each worker, the descriptions of a batch
}

// batchPanels is the number of panels that share one pass over the weights.
const batchPanels = 4

// set replaces everything but what is kept between runs.
func (v *convPass) set(pass convPass) {
	pass.lists = v.lists
	*v = pass
}

// channelBlock is the number of channels in one block of k.
func (v *convPass) channelBlock() int { return min(v.channels, max(1, kBlock/v.taps())) }

// roomLen is the number of floats that a worker needs.
func (v *convPass) roomLen(isa ISA) int {
	if v.taps() == 0 {
		return 0
	}
	return batchPanels * shapeOf(isa).cols * (v.channelBlock()*v.taps() + v.rows)
}

func (v *convPass) scratchLen(p *Pool) int { return roomsLen[float32](p.threads, v.roomLen(p.isa)) }

// direct reports whether the points are dst's pixels in order.
func (v *convPass) direct() bool { return v.dstStepX == 1 && v.dstStepY == 1 }

func (v *convPass) run(p *Pool, scratch []float32) {
	v.isa, v.stop = p.isa, p.stop
	v.perWorker = v.roomLen(p.isa)
	v.scratch = scratch
	checkLen("Conv", "scratch", len(scratch), v.scratchLen(p))
	columns := v.images * v.grid()
	if columns == 0 || v.rows == 0 {
		return
	}
	cols := shapeOf(p.isa).cols
	v.lists = growLists(v.lists, p.threads, batchPanels*v.listLen(cols/2))
	panels := ceilDiv(columns, cols)
	flops := 2 * v.groups * v.rows * max(v.lda, 1) * cols
	grain := max(ceilDiv(chunkFlops, flops), min(batchPanels, ceilDiv(panels, p.threads*8)))
	p.run(panels, grain, v)
}

// listLen is the number of pieces that describe a panel.
func (g *patches) listLen(lanes int) int { return g.taps() * 2 * g.pieces(lanes) }

// growLists makes sure of n lists of length pieces; it allocates only when a
// shape is larger than all before.
func growLists(lists [][]piece, n, length int) [][]piece {
	for len(lists) < n {
		lists = append(lists, nil)
	}
	for i := range n {
		if len(lists[i]) < length {
			lists[i] = make([]piece, length)
		}
	}
	return lists
}

func (v *convPass) chunk(lo, hi, worker int) {
	scratch := roomOf(v.scratch, worker, v.perWorker)
	for i := lo; i < hi && !ended(v.stop); i += batchPanels {
		v.batch(i, min(i+batchPanels, hi), scratch, v.lists[worker])
	}
}

// batch computes panels [lo,hi) of all groups.
func (v *convPass) batch(lo, hi int, scratch []float32, list []piece) {
	cols := shapeOf(v.isa).cols
	length := v.listLen(cols / 2)
	columns := v.images * v.grid()
	for i := lo; i < hi; i++ {
		v.describe(list[(i-lo)*length:][:length], i*cols, min(cols, columns-i*cols), cols/2)
	}
	block := v.channelBlock()
	for g := range v.groups {
		for c := 0; c < v.channels; c += block {
			n := min(block, v.channels-c)
			for i := lo; i < hi; i++ {
				v.panel(g, c, n, i, i-lo, scratch, list[(i-lo)*length:][:length])
			}
		}
	}
}

// panel adds channels [c,c+n) of group g to panel i, the slot-th of its batch.
func (v *convPass) panel(g, c, n, i, slot int, scratch []float32, list []piece) {
	shape := shapeOf(v.isa)
	cols, taps := shape.cols, v.taps()
	b := scratch[slot*v.channelBlock()*taps*cols:][:n*taps*cols]
	plane := v.srcH * v.srcW
	packPatches(v.isa, b, cols, v.src[(g*v.channels+c)*plane:], n, plane, list, taps, v.pieces(cols/2))

	t := tileRun{
		isa: v.isa, tileShape: shape, k: n * taps, last: c+n == v.channels, act: v.act,
		a: v.weights[g*v.rows*v.lda+c*taps:], rs: v.lda, ks: 1, b: b, bs: cols,
	}
	switch {
	case c > 0:
		t.start = startC
	case v.bias != nil:
		t.start, t.bias = startRowBias, v.bias[g*v.rows:]
	}
	q := i * cols
	width := min(cols, v.images*v.grid()-q)
	image, at := q/v.grid(), q%v.grid()
	if v.direct() && at+width <= v.grid() {
		t.c, t.cs = v.dst[(image*v.groups+g)*v.rows*v.grid()+at:], v.grid()
		t.run(v.rows, width)
		return
	}
	t.c, t.cs = scratch[batchPanels*cols*v.channelBlock()*taps+slot*v.rows*cols:][:v.rows*cols], cols
	t.run(v.rows, width)
	if t.last {
		v.scatter(t.c, cols, g, q, width)
	}
}

// scatter moves a finished panel, [rows][cols], to where its points lie in dst.
func (v *convPass) scatter(c []float32, cols, g, q, width int) {
	var buf [maxColumns]run
	grid := v.patches
	if v.direct() {
		grid.gridH, grid.gridW = 1, v.grid() // runs may go on from row to row
	}
	plane := v.dstH * v.dstW
	for _, r := range grid.runs(&buf, q, width, cols) {
		at := (r.image*v.groups+g)*v.rows*plane + (v.dstY0+r.gy*v.dstStepY)*v.dstW + v.dstX0 + r.gx*v.dstStepX
		for row := range v.rows {
			from, to := c[row*cols+r.lane:][:r.length], v.dst[at+row*plane:]
			if v.dstStepX == 1 {
				copy(to, from)
				continue
			}
			for i, x := range from {
				to[i*v.dstStepX] = x
			}
		}
	}
}

// zero clears the points in all channels of dst: no tap meets them.
func (v *convPass) zero(dst []float32, channels int) {
	for i := range v.images * channels {
		for gy := range v.gridH {
			row := dst[i*v.dstH*v.dstW+(v.dstY0+gy*v.dstStepY)*v.dstW+v.dstX0:]
			for gx := range v.gridW {
				row[gx*v.dstStepX] = 0
			}
		}
	}
}
