package kernel

import (
	"fmt"

	"tandem/kernel/ref"
)

// ConvLast is a 2-D convolution (cross-correlation) on tensors whose channels
// come last: X [N,H,W,C], Y [N,OH,OW,OC]. It computes
//
//	Y = act(X * Weight + Bias + Add)
//
// with Bias [OC] or nil and Add of Y's shape or nil, which may be Y itself. Strides, dilations and
// Groups of 0 mean 1. Packed is what PackConvLast makes of the weights.
//
// It is a product of pixels by output channels. A row's operand is the image
// patch of its pixel, taps in the order (ky, kx, channel), in which a row of
// the window is contiguous in memory: blocks of patches are copied to scratch
// as they are needed, and a 1×1 window at stride 1 is read in place. Each
// element is one chain of multiply-adds in the order of the taps.
//
// Where every group has one input channel and one output channel, the product
// has nothing to share, and a kernel of its own goes over the pixels.
type ConvLast struct {
	N, H, W, C, OC, KH, KW               int
	StrideH, StrideW                     int
	PadTop, PadLeft, PadBottom, PadRight int
	DilationH, DilationW, Groups         int
	X, Packed, Bias, Add, Y              []float32
	Act                                  Activation
	// Winograd is the side of the tiles for which PackWinograd has made Packed; 0:
	// PackConvLast has.
	Winograd int
	// BFloat16 rounds X to bfloat16; PackBFloat16Conv has made Packed.
	BFloat16 bool

	lastRun
}

// lastRun is what one Run of ConvLast works out.
type lastRun struct {
	window
	plan    lastPlan
	words   convWords
	isa     ISA
	stop    <-chan struct{}
	scratch []float32

	winograd winograd
}

// Blocking of ConvLast. A block of patches (lastRows × lastTaps floats) and one
// of the weights (lastTaps × lastColumns) stay in the L2 cache; a strip of the
// former stays in L1.
const (
	lastTaps    = 384
	lastRows    = 96
	lastColumns = 256
	lastWeights = 1 << 16 // weights up to which all stay in L2 while a row of pixels goes over them
)

type lastPlan struct {
	tileShape
	lines     bool // the window's rows are read from a copy of X with its padding
	k, taps   int  // length of a sum in words, and of a block of it
	pixels    int  // rows of the product
	inPlace   bool // X is read where it is
	joined    bool // pixels follow each other in a block of patches as in X
	columns   bool // threads divide the output channels
	stream    bool // panels of weights are fetched ahead: see streamPanels
	chunk     int  // pixels or panels in a chunk
	units     int  // chunks for each group
	perWorker int  // floats of scratch
}

// planar has the dimensions as a Conv.
func (c *ConvLast) planar() *Conv {
	return &Conv{
		N: c.N, C: c.C, H: c.H, W: c.W, OC: c.OC, KH: c.KH, KW: c.KW, StrideH: c.StrideH, StrideW: c.StrideW,
		PadTop: c.PadTop, PadLeft: c.PadLeft, PadBottom: c.PadBottom, PadRight: c.PadRight,
		DilationH: c.DilationH, DilationW: c.DilationW, Groups: c.Groups,
	}
}

// blockOf is the length of the blocks that a sum of k is cut into, which
// PackConvLast knows too: whole lines, the taps of a row of the window, or if these
// are long, equal parts.
func blockOf(k, line int) int {
	if line <= lastTaps {
		return min(k, lastTaps/line*line)
	}
	return ceilDiv(k, ceilDiv(k, lastTaps))
}

func (c *ConvLast) makePlan(w *window, p *Pool) lastPlan {
	words := c.wordsOf(w, p)
	pl := lastPlan{tileShape: shapeOf(p.isa), k: w.taps * words.channels, pixels: c.N * w.oh * w.ow}
	pl.taps = blockOf(pl.k, c.KW*words.channels)
	pl.lines = w.groups == 1 && w.dilationW == 1 && c.KW > 1 && c.KW*words.channels <= lastTaps && pl.k*c.OC <= lastWeights
	if pl.lines {
		pl.perWorker = c.KH * (c.PadLeft + c.W + c.PadRight) * words.channels
		rows := c.N * w.oh
		pl.chunk = max(ceilDiv(rows, p.threads*8), ceilDiv(chunkFlops/4, max(1, 2*pl.k*w.oc*w.ow)))
		pl.units = ceilDiv(rows, pl.chunk)
		return pl
	}
	pointwise := w.taps == 1 && w.strideH == 1 && w.strideW == 1 && c.PadTop+c.PadLeft+c.PadBottom+c.PadRight == 0
	pl.inPlace = pointwise && !c.BFloat16 && c.C*4%(aliasBytes/2) != 0
	pl.joined = pointwise && c.BFloat16 && pl.taps == pl.k && pl.k*4%(aliasBytes/2) != 0
	if !pl.inPlace {
		pl.perWorker = (lastRows + pl.rows) * (pl.taps + 16)
	}
	panels := ceilDiv(w.oc, pl.cols)
	pl.stream = p.isa == AVX512 && words.storage == asFloat32 && pl.pixels > pl.rows && pl.pixels <= aheadMost
	chunks := min(p.threads*8, pl.pixels/lastRows)
	if p.threads == 1 {
		chunks = 1
	}
	pl.columns = chunks < p.threads && pl.pixels < lastRows/2*p.threads && panels >= p.threads
	total, least := pl.pixels, pl.rows
	if pl.columns {
		total, least = panels, 1
	}
	chunks = max(chunks, p.threads)
	flops := 2 * pl.k * w.oc * max(pl.pixels, pl.rows) / max(total, 1) // fewer pixels wait for memory
	pl.chunk = max(ceilDiv(total, chunks), least, ceilDiv(chunkFlops/4, max(flops, 1)))
	pl.units = ceilDiv(total, pl.chunk)
	return pl
}

// depthwise reports whether every channel is a group.
func (w *window) depthwise() bool { return w.ic == 1 && w.oc == 1 }

// ScratchLen is the number of floats of scratch that Run needs on p.
func (c *ConvLast) ScratchLen(p *Pool) int {
	w := c.planar().window()
	if c.Winograd != 0 {
		pl := c.winogradPlan(&w, p)
		return pl.scratchLen(p)
	}
	if w.depthwise() {
		if c.Add == nil {
			return 0
		}
		return roomsLen[float32](p.threads, w.ow*c.OC)
	}
	pl := c.makePlan(&w, p)
	return roomsLen[float32](p.threads, pl.perWorker)
}

func (c *ConvLast) packedLen(w *window, isa ISA) int {
	if c.Winograd != 0 {
		return WinogradLen(c.OC, c.C, c.Winograd, isa)
	}
	if c.BFloat16 {
		return PackedLen(w.taps*c.words.channels, c.OC, isa)
	}
	return ConvLastLen(c.OC, w.ic, c.KH, c.KW, w.groups, isa)
}

// Run computes Y.
func (c *ConvLast) Run(p *Pool, scratch []float32) {
	w := c.planar().window()
	c.window, c.isa, c.words = w, p.isa, c.wordsOf(&w, p)
	out := c.N * w.oh * w.ow * c.OC
	checkLen("ConvLast", "X", len(c.X), c.N*c.H*c.W*c.C)
	checkLen("ConvLast", "Y", len(c.Y), out)
	checkLen("ConvLast", "Packed", len(c.Packed), c.packedLen(&w, p.isa))
	if c.Bias != nil {
		checkLen("ConvLast", "Bias", len(c.Bias), c.OC)
	}
	if c.Add != nil {
		checkLen("ConvLast", "Add", len(c.Add), out)
	}
	if out == 0 {
		return
	}
	if c.Winograd != 0 {
		c.checkWinograd(&w)
		c.runWinograd(p, scratch)
		return
	}
	if w.depthwise() {
		checkLen("ConvLast", "scratch", len(scratch), c.ScratchLen(p))
		c.scratch = scratch
		c.runDepthwise(p)
		return
	}
	c.plan, c.stop = c.makePlan(&w, p), p.stop
	checkLen("ConvLast", "scratch", len(scratch), roomsLen[float32](p.threads, c.plan.perWorker))
	c.scratch = scratch
	p.run(w.groups*c.plan.units, 1, c)
}

func (c *ConvLast) chunk(lo, hi, worker int) {
	if c.depthwise() {
		c.depthwiseRows(lo, hi, worker)
		return
	}
	pl := &c.plan
	scratch := roomOf(c.scratch, worker, pl.perWorker)
	for u := lo; u < hi; u++ {
		g, i := u/pl.units, u%pl.units
		switch {
		case pl.lines:
			c.rows(i*pl.chunk, min((i+1)*pl.chunk, c.N*c.oh), scratch)
		case pl.columns:
			c.block(g, 0, pl.pixels, i*pl.chunk*pl.cols, min((i+1)*pl.chunk*pl.cols, c.oc), scratch)
		default:
			c.block(g, i*pl.chunk, min((i+1)*pl.chunk, pl.pixels), 0, c.oc, scratch)
		}
	}
}

// block computes pixels [m0,m1) and channels [n0,n1) of group g.
func (c *ConvLast) block(g, m0, m1, n0, n1 int, scratch []float32) {
	pl := &c.plan
	step := ceilDiv(m1-m0, ceilDiv(m1-m0, lastRows))
	for m := m0; m < m1 && !ended(c.stop); m += step {
		for k := 0; k < pl.k; k += pl.taps {
			c.product(g, m, min(m+step, m1), n0, n1, k, min(k+pl.taps, pl.k), scratch)
		}
	}
}

// product adds taps [k0,k1) to pixels [m0,m1) and channels [n0,n1) of group g.
func (c *ConvLast) product(g, m0, m1, n0, n1, k0, k1 int, scratch []float32) {
	pl := &c.plan
	t := tileRun{
		isa: c.isa, tileShape: pl.tileShape, storage: c.words.storage, k: k1 - k0, ks: 1, bs: pl.cols, panel: (k1 - k0) * pl.cols,
		cs: c.OC, last: k1 == pl.k, act: c.Act,
	}
	switch {
	case pl.inPlace:
		t.a, t.rs = c.X[m0*c.C+g*c.ic+k0:], c.C
	case pl.joined:
		t.a, t.rs = scratch, pl.k
		c.write(t.a[:(m1-m0)*pl.k], c.X[m0*c.C:])
	default:
		t.a, t.rs = scratch, pl.taps+16
		c.patches(t.a, t.rs, g, m0, m1, k0, k1)
	}
	wide := ceilDiv(c.oc, pl.cols) * pl.cols
	weights := c.Packed[g*pl.k*wide+k0*wide:]
	t.stream, t.next = pl.stream, t.panel // another block of taps mostly begins there too
	for n := n0; n < n1; n += lastColumns {
		t.b = weights[n*t.k:]
		c.start(&t, m0*c.OC+g*c.oc+n, g*c.oc+n, k0)
		t.run(m1-m0, min(n1-n, lastColumns))
	}
}

// rows computes rows [lo,hi) of the output, counted over all images, from the rows
// of X that each needs, copied with their padding: a patch is then a few stretches of
// memory, and its neighbour lies strideW pixels on. For convolutions whose weights
// are few; copying patches would take a good part of their time.
func (c *ConvLast) rows(lo, hi int, scratch []float32) {
	pl := &c.plan
	channels := c.words.channels
	width, line := (c.PadLeft+c.W+c.PadRight)*channels, c.KW*channels
	wide := ceilDiv(c.OC, pl.cols) * pl.cols
	t := tileRun{
		isa: c.isa, tileShape: pl.tileShape, storage: c.words.storage, k: line, ks: 1, line: width, bs: pl.cols,
		rs: c.strideW * channels, cs: c.OC, act: c.Act,
	}
	for i := lo; i < hi; i++ {
		y := i%c.oh*c.strideH - c.PadTop
		for ky := range c.KH {
			c.paddedLine(scratch[ky*width:][:width], i/c.oh, y+ky*c.dilationH)
		}
		for k := 0; k < pl.k; k += pl.taps {
			taps := min(pl.taps, pl.k-k)
			t.a, t.lines, t.panel, t.last = scratch[k/line*width:], taps/line, taps*pl.cols, k+taps == pl.k
			for n := 0; n < c.OC; n += lastColumns {
				c.start(&t, i*c.ow*c.OC+n, n, k)
				t.b = c.Packed[k*wide+n*taps:]
				t.run(c.ow, min(c.OC-n, lastColumns))
			}
		}
	}
}

// start sets where a block's sums over taps from k on go and what they begin with:
// element at of Y is its first, of output channel n.
func (c *ConvLast) start(t *tileRun, at, n, k int) {
	t.c, t.start = c.Y[at:], startZero
	switch {
	case k > 0:
		t.start = startC
	case c.Add != nil:
		t.start, t.from = startFrom, c.Add[at:]
	case c.Bias != nil:
		t.start = startColumnBias
	}
	if c.Bias != nil {
		t.bias = c.Bias[n:]
	}
}

// paddedLine copies row y of an image, with its padding.
func (c *ConvLast) paddedLine(to []float32, image, y int) {
	if y < 0 || y >= c.H {
		clear(to)
		return
	}
	left, n := c.PadLeft*c.words.channels, c.W*c.words.channels
	clear(to[:left])
	c.write(to[left:][:n], c.X[(image*c.H+y)*c.W*c.C:])
	clear(to[left+n:])
}

// patches copies taps [k0,k1) of the patches of pixels [m0,m1) of group g to
// rows of dst with a stride of ds.
func (c *ConvLast) patches(dst []float32, ds, g, m0, m1, k0, k1 int) {
	line := c.KW * c.words.channels // taps of one row of the window
	whole := c.dilationW == 1 && c.groups == 1
	oy, ox := m0/c.ow%c.oh, m0%c.ow
	image := c.X[m0/(c.oh*c.ow)*c.H*c.W*c.C:]
	for m := m0; m < m1; m++ {
		row := dst[(m-m0)*ds:][:k1-k0]
		y0, x0 := oy*c.strideH-c.PadTop, ox*c.strideW-c.PadLeft
		for k := k0; k < k1; {
			ky := k / line
			from, until := k-ky*line, min(k1-ky*line, line)
			to := row[k-k0:][:until-from]
			y := y0 + ky*c.dilationH
			switch {
			case y < 0 || y >= c.H:
				clear(to)
			case whole && x0 >= 0 && x0+c.KW <= c.W:
				c.write(to, image[(y*c.W+x0)*c.C+from*c.words.elements:])
			default:
				c.patchLine(to, image[y*c.W*c.C+g*c.ic:], x0, from)
			}
			k += until - from
		}
		if ox++; ox == c.ow {
			ox = 0
			if oy++; oy == c.oh && m+1 < m1 {
				oy = 0
				image = image[c.H*c.W*c.C:]
			}
		}
	}
}

// patchLine copies taps from on, of one row of a window that begins at column
// x0 of the image row src.
func (c *ConvLast) patchLine(to, src []float32, x0, from int) {
	for len(to) > 0 {
		kx, ch := from/c.words.channels, from%c.words.channels
		n := min(c.words.channels-ch, len(to))
		if x := x0 + kx*c.dilationW; x < 0 || x >= c.W {
			clear(to[:n])
		} else {
			c.write(to[:n], src[x*c.C+ch*c.words.elements:])
		}
		to, from = to[n:], from+n
	}
}

// ConvLastLen is the number of floats that PackConvLast writes for weights
// [oc, ic, kh, kw] in groups.
func ConvLastLen(oc, ic, kh, kw, groups int, isa ISA) int {
	if ic == 1 && oc == groups {
		return kh * kw * oc
	}
	return groups * PackedLen(ic*kh*kw, oc/groups, isa)
}

// PackConvLast packs the weights w [oc, ic, kh, kw] for ConvLast. For each group
// and block of taps there are panels of tileShape.cols output channels, each
// [taps][cols] and filled up with zeros, in the order in which they are read.
// Depthwise weights become [taps][oc].
func PackConvLast(dst, w []float32, oc, ic, kh, kw, groups int, isa ISA) {
	if oc%groups != 0 {
		panic(fmt.Sprintf("kernel: PackConvLast of %d channels in %d groups", oc, groups))
	}
	checkLen("PackConvLast", "dst", len(dst), ConvLastLen(oc, ic, kh, kw, groups, isa))
	checkLen("PackConvLast", "w", len(w), oc*ic*kh*kw)
	if taps := kh * kw; ic == 1 && oc == groups {
		transpose(dst, w, oc, taps, oc, taps, isa)
		return
	}
	packLastPanels(dst, w, oc, ic, kh, kw, groups, isa)
}

func packLastPanels(dst, w []float32, oc, ic, kh, kw, groups int, isa ISA) {
	taps := kh * kw
	cols, k, width := shapeOf(isa).cols, ic*taps, oc/groups
	block := blockOf(k, kw*ic)
	for g := range groups {
		for k0 := 0; k0 < k; k0 += block {
			for n := 0; n < width; n += cols {
				size := min(block, k-k0) * cols
				packLastPanel(dst[:size], w[(g*width+n)*k:], k0, min(k0+block, k), ic, taps, min(cols, width-n), cols)
				dst = dst[size:]
			}
		}
	}
}

// packLastPanel writes panel[k][cols] for rows [k0,k1), k counting (tap, channel),
// from src[column][channel][tap].
func packLastPanel(panel, src []float32, k0, k1, ic, taps, width, cols int) {
	if width < cols {
		clear(panel)
	}
	for j := range width {
		column := src[j*ic*taps:][:ic*taps]
		t, ch := k0/ic, k0%ic
		for i := j; i < (k1-k0)*cols; i += cols {
			panel[i] = column[ch*taps+t]
			if ch++; ch == ic {
				ch = 0
				t++
			}
		}
	}
}

// runDepthwise hands rows of the output to the workers.
func (c *ConvLast) runDepthwise(p *Pool) {
	flops := 2 * c.taps * c.ow * c.OC
	p.run(c.N*c.oh, max(1, ceilDiv(chunkFlops/16, flops)), c)
}

// depthwiseRows computes rows [lo,hi), counted over all images.
func (c *ConvLast) depthwiseRows(lo, hi, worker int) {
	s := slider{
		op: ref.SlideMultiply, isa: c.isa, h: c.H, w: c.W, c: c.C, ow: c.ow, kh: c.KH, kw: c.KW,
		strideH: c.strideH, strideW: c.strideW, padTop: c.PadTop, padLeft: c.PadLeft,
		dilationH: c.dilationH, dilationW: c.dilationW, weights: c.Packed, start: c.Bias,
	}
	for i := lo; i < hi; i++ {
		at := i * c.ow * c.C
		y := c.Y[at:][:c.ow*c.C]
		to := y
		if c.Add != nil { // which may be y
			to = roomOf(c.scratch, worker, len(y))
		}
		s.row(to, c.X[i/c.oh*c.H*c.W*c.C:], i%c.oh)
		if c.Add != nil {
			binary(c.isa, OpAdd, y, to, c.Add[at:][:len(y)], 0)
		}
		if c.Act == ActReLU {
			unary(c.isa, OpReLU, y, y, 0)
		}
		finish(c.isa, c.Act, y, nil)
	}
}
