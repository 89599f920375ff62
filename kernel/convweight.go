package kernel

// weightPass is the gradient of a convolution's weights, transposed: for each
// group, accum[k, oc] = Σ over pixels of patch[k, pixel] · dY[oc, pixel].
//
// A unit of work is a block of channels of one group, over one part of the
// images. The images are cut into parts only when there are few blocks; their
// number depends on the shape alone, and the parts are added in order, so the
// sums do not depend on the threads.
type weightPass struct {
	patches
	window
	x, dy, dw    []float32
	images       int
	plane        int // pixels of a plane of x
	block        int // channels in a block
	parts        int
	isa          ISA
	phase        weightPhase
	accum        []float32 // [parts][groups][k][oc]
	scratch      []float32
	perWorker    int
	lists        [][]piece
	kLen, parted int // rows of accum in a group; floats in a part
}

type weightPhase uint8

const (
	weightMultiply weightPhase = iota
	weightReduce
)

const (
	weightPixels = 256               // steps of the sum in one block
	weightStride = weightPixels + 16 // row stride of packed patches, off the aliasing powers of two
	// About the rows of patches in a unit: what a block of them and one of the
	// gradient take together stays in the L2 cache. More rows share the gradient's
	// transposition.
	weightRows     = 144
	weightRowsWide = 288 // for gradients of up to weightWide channels
	weightWide     = 256
	weightUnits    = 8 // parts are made until there are as many units
	// reduceChannels are transposed together: their taps fill whole squares.
	reduceChannels = 16
)

func (c *Conv) weightPass(w *window) weightPass {
	v := weightPass{
		patches: c.forwardPass(w).patches, window: *w, x: c.X, dy: c.Y, images: c.N, plane: c.H * c.W,
	}
	rows := weightRows
	if w.oc <= weightWide {
		rows = weightRowsWide
	}
	v.block = min(max(1, w.ic), max(1, rows/w.taps))
	units := w.groups * ceilDiv(w.ic, v.block)
	v.parts = max(1, min(c.N, ceilDiv(weightUnits, max(units, 1))))
	v.kLen = w.ic * w.taps
	v.parted = w.groups * v.kLen * w.oc
	return v
}

func (v *weightPass) workerLen(isa ISA) int {
	cols := shapeOf(isa).cols
	return v.block*v.window.taps*weightStride + ceilDiv(v.oc, cols)*cols*weightPixels
}

// GradWeightScratchLen is the number of floats of scratch that GradWeight needs.
func (c *Conv) GradWeightScratchLen(p *Pool) int {
	w := c.window()
	v := c.weightPass(&w)
	return v.parts*v.parted + roomsLen[float32](p.threads, v.workerLen(p.isa))
}

// GradWeight computes dW, of the shape of Weight, from X and Y (the gradient
// of the output).
func (c *Conv) GradWeight(p *Pool, dW, scratch []float32) {
	w := c.window()
	c.check(&w, "Conv.GradWeight", len(c.X), len(dW), len(c.Y))
	checkLen("Conv.GradWeight", "scratch", len(scratch), c.GradWeightScratchLen(p))
	v := c.weightPass(&w)
	if v.parted == 0 {
		return
	}
	if c.N*v.grid() == 0 {
		clear(dW[:v.parted])
		return
	}
	lanes := shapeOf(p.isa).cols / 2
	v.lists = growLists(c.weights.lists, p.threads, weightPixels/(2*lanes)*v.listLen(lanes))
	v.dw, v.isa, v.perWorker = dW, p.isa, v.workerLen(p.isa)
	v.accum, v.scratch = scratch[:v.parts*v.parted], scratch[v.parts*v.parted:]
	c.weights = v
	c.weights.phase = weightMultiply
	p.run(v.parts*v.groups*ceilDiv(v.ic, v.block), 1, &c.weights)
	c.weights.phase = weightReduce
	p.run(v.groups*v.ic, max(reduceChannels, ceilDiv(1<<13, v.window.taps*v.oc)), &c.weights)
}

func (v *weightPass) chunk(lo, hi, worker int) {
	if v.phase == weightReduce {
		v.reduce(lo, hi)
		return
	}
	scratch := roomOf(v.scratch, worker, v.perWorker)
	blocks := ceilDiv(v.ic, v.block)
	for i := lo; i < hi; i++ {
		v.unit(i/(v.groups*blocks), i/blocks%v.groups, i%blocks*v.block, scratch, v.lists[worker])
	}
}

// unit sums one part of the images for the channels from c of group g.
func (v *weightPass) unit(part, g, c int, scratch []float32, list []piece) {
	taps := v.window.taps
	channels := min(v.block, v.ic-c)
	shape := shapeOf(v.isa)
	a, b := scratch[:v.block*taps*weightStride], scratch[v.block*taps*weightStride:]
	first := part * v.images / v.parts * v.grid()
	end := (part + 1) * v.images / v.parts * v.grid()
	t := tileRun{
		isa: v.isa, tileShape: shape, a: a, rs: weightStride, ks: 1,
		b: b, bs: shape.cols, panel: weightPixels * shape.cols,
		c: v.accum[part*v.parted+(g*v.kLen+c*taps)*v.oc:], cs: v.oc,
	}
	for q := first; q < end; q += weightPixels {
		n := min(weightPixels, end-q)
		v.packPixels(a, g*v.ic+c, channels, q, n, list)
		v.packGradient(b, g, q, n)
		t.k = n
		t.run(channels*taps, v.oc)
		t.start = startC
	}
}

// packPixels packs the patches of pixels [q,q+n) as rows [k][weightStride].
func (v *weightPass) packPixels(a []float32, channel, channels, q, n int, list []piece) {
	cols := shapeOf(v.isa).cols
	for i := 0; i < n; i += cols {
		l := list[:v.listLen(cols/2)]
		v.describe(l, q+i, min(cols, n-i), cols/2)
		packPatches(v.isa, a[i:], weightStride, v.x[channel*v.plane:], channels, v.plane, l, v.window.taps, v.pieces(cols/2))
	}
}

// packGradient packs the transposed gradient of pixels [q,q+n) in panels
// [weightPixels][cols].
func (v *weightPass) packGradient(b []float32, g, q, n int) {
	cols := shapeOf(v.isa).cols
	for oc := 0; oc < v.oc; oc += cols {
		panel := b[oc*weightPixels:]
		for at := 0; at < n; {
			image, pixel := (q+at)/v.grid(), (q+at)%v.grid()
			length := min(n-at, v.grid()-pixel)
			src := v.dy[((image*v.groups+g)*v.oc+oc)*v.grid()+pixel:]
			transpose(panel[at*cols:], src, cols, v.grid(), min(cols, v.oc-oc), length, v.isa)
			at += length
		}
	}
}

// reduce adds the parts of input channels [lo,hi), counted over all groups,
// and transposes them into dw.
func (v *weightPass) reduce(lo, hi int) {
	taps := v.window.taps
	for i := lo; i < hi; {
		g, c := i/v.ic, i%v.ic
		channels := min(hi-i, v.ic-c) // of one group
		at, n := (g*v.kLen+c*taps)*v.oc, channels*taps*v.oc
		total := v.accum[at:][:n]
		for part := 1; part < v.parts; part++ {
			binary(v.isa, OpAdd, total, total, v.accum[part*v.parted+at:][:n], 0)
		}
		transpose(v.dw[g*v.oc*v.kLen+c*taps:], total, v.kLen, v.oc, channels*taps, v.oc, v.isa)
		i += channels
	}
}
