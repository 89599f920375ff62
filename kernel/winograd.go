package kernel

import (
	"fmt"
	"unsafe"

	"tandem/kernel/ref"
)

// winograd computes a ConvLast of 3×3 windows at stride 1 by minimal filtering
// (kernel/ref: Winograd). Tiles of side×side pixels of Y come from size×size pixels of X,
// which are transformed, channel by channel, to size² frequencies. For each of them the
// convolution is a product, tiles × C by C × OC, whose elements are one chain over the
// channels. So a tile's bits depend on its own pixels alone.
//
// A block of tiles is transformed to V [frequency][tile][channel] and multiplied by a
// few panels of weights at a time to M [frequency][tile][output channel], which is
// transformed to Y while it is in cache. Threads divide the blocks; where there are too
// few, all V are made first, and then threads divide the panels too.
type winograd struct {
	winogradPlan
	c         *ConvLast
	filter    ref.Winograd
	v         []float32 // of all blocks, if shared
	scratch   []float32
	multiply  bool // the second pass over shared V
	offsets   winogradOffsets
	in, out   [6]float32 // coefficients of the assembly
	frequency int        // floats of a frequency of weights' panel
}

type winogradPlan struct {
	tileShape
	side, size, frequencies int
	down, across, tiles     int // tiles of an image, and of all
	block, blocks           int // tiles in a block
	panels, group, groups   int // panels in a group
	row, step               int // floats from tile to tile of V, and from frequency to frequency
	room, perWorker         int // floats of a block's V, and of a worker's scratch
	shared                  bool
}

// winogradOffsets are where the pixels of a tile are, in bytes from one of them.
type winogradOffsets [36]int

// winogradArgs is the one argument of the assembly that transforms one tile, in some
// vectors of channels. Strides are in bytes. The layout is known to the generator in
// kernel/asm.
type winogradArgs struct {
	offsets      unsafe.Pointer // of inputs from pixels
	pixels       unsafe.Pointer // of X, or the first of Y
	v            unsafe.Pointer
	step         uintptr // from frequency to frequency
	temp         unsafe.Pointer
	coefficients unsafe.Pointer
	vectors      int
	bias         unsafe.Pointer // or nil
	rows, cols   int            // of outputs that exist
	rowStep      uintptr
	pixelStep    uintptr
	addStep      uintptr // from an output to its summand, if it
	adds         uint32  // has one
	relu         uint32
}

const (
	// What a block's V and M take together is to stay in the L2 cache. But where weights
	// do not, a block has tiles enough for them to be read rarely, and V is read from
	// further away too, by groups of more panels.
	winogradFloats   = 176 << 10
	winogradGroup    = 2 // panels
	winogradLeast    = 24
	winogradMost     = 96
	winogradFar      = 1 << 20 // weights
	winogradFarMost  = 48
	winogradFarGroup = 4

	winogradLane = 16 // channels are multiples of it
	winogradGap  = 16 // floats that keep rows and frequencies off the same ways of L1
	// For WinogradSide.
	winogradChannels = 32
	winogradRead     = 16
	// The time of dot products of bfloat16 in that of products of float32: measured.
	dotsTime, floatsTime = 5, 9
)

func (c *ConvLast) winogradPlan(w *window, p *Pool) winogradPlan {
	side := c.Winograd
	pl := winogradPlan{
		tileShape: shapeOf(p.isa), side: side, size: side + 2, frequencies: (side + 2) * (side + 2),
		down: ceilDiv(w.oh, side), across: ceilDiv(w.ow, side), row: c.C + winogradGap,
	}
	pl.tiles, pl.panels, pl.group = c.N*pl.down*pl.across, ceilDiv(c.OC, pl.cols), winogradGroup
	pl.shared = p.threads > 1 && pl.tiles < 2*pl.rows*p.threads
	most := min(winogradFloats/(pl.frequencies*(pl.row+pl.group*pl.cols)), winogradMost)
	if pl.frequencies*c.C*c.OC >= winogradFar {
		most, pl.group = winogradFarMost, winogradFarGroup
	}
	pl.group = min(pl.group, pl.panels)
	pl.blocks = ceilDiv(pl.tiles, max(most, winogradLeast))
	if !pl.shared {
		pl.blocks = ceilDiv(pl.blocks, p.threads) * p.threads
	} else if ceilDiv(pl.panels, pl.group)*pl.blocks < 2*p.threads {
		pl.group = 1
	}
	pl.block = ceilDiv(pl.tiles, max(pl.blocks, 1))
	pl.groups = ceilDiv(pl.panels, pl.group)
	pl.step = pl.block*pl.row + winogradGap
	pl.room = pl.frequencies * pl.step
	pl.perWorker = (pl.frequencies+1)*winogradLane + c.C + pl.frequencies*(pl.block*pl.group*pl.cols+winogradGap)
	if !pl.shared {
		pl.perWorker += pl.room
	}
	return pl
}

func (pl *winogradPlan) scratchLen(p *Pool) int {
	n := roomsLen[float32](p.threads, pl.perWorker)
	if pl.shared {
		n += pl.blocks * pl.room
	}
	return n
}

func (c *ConvLast) checkWinograd(w *window) {
	if c.KH != 3 || c.KW != 3 || w.strideH != 1 || w.strideW != 1 || w.dilationH != 1 || w.dilationW != 1 || w.groups != 1 ||
		c.C%winogradLane != 0 || c.OC%winogradLane != 0 || c.H == 0 || c.W == 0 {
		panic(fmt.Sprintf("kernel: ConvLast of %d channels %d×%d by %d×%d×%d by Winograd's filtering", c.C, c.H, c.W, c.OC, c.KH, c.KW))
	}
}

// runWinograd computes Y.
func (c *ConvLast) runWinograd(p *Pool, scratch []float32) {
	w := &c.winograd
	w.c, w.winogradPlan, w.multiply = c, c.winogradPlan(&c.window, p), false
	c.stop = p.stop
	if w.filter.Side != w.side {
		w.filter = ref.NewWinograd(w.side)
		w.setCoefficients()
	}
	w.frequency = c.C * w.cols
	for i := range w.size {
		for j := range w.size {
			w.offsets[i*w.size+j] = 4 * (i*c.W + j) * c.C
		}
	}
	checkLen("ConvLast", "scratch", len(scratch), w.scratchLen(p))
	w.scratch = scratch
	if !w.shared {
		p.run(w.blocks, 1, w)
		return
	}
	w.v = scratch[roomsLen[float32](p.threads, w.perWorker):]
	p.run(w.tiles, 1, w)
	w.multiply = true
	p.run(w.blocks*w.groups, 1, w)
}

// setCoefficients sets what the assembly for tiles of 4 multiplies by.
func (w *winograd) setCoefficients() {
	if w.side != 4 {
		return
	}
	points := ref.WinogradPoints(4)
	p, q := points[0], points[1]
	for i, v := range []float64{q * q, p * p, p*p + q*q, p * p * q * q, p, q} {
		w.in[i] = float32(v)
	}
	for i, v := range []float64{p, q, p * p, q * q, p * p * p, q * q * q} {
		w.out[i] = float32(v)
	}
}

// winogradRoom is the scratch of one worker.
type winogradRoom struct {
	temp  []float32 // what is between the two halves of a transform
	zeros []float32 // channels of pixels outside the image
	m, v  []float32
}

func (w *winograd) chunk(lo, hi, worker int) {
	var r winogradRoom
	s := roomOf(w.scratch, worker, w.perWorker)
	r.temp, s = s[:w.frequencies*winogradLane], s[w.frequencies*winogradLane:]
	r.zeros, s = s[:w.c.C], s[w.c.C:]
	r.m, r.v = s[:w.frequencies*(w.block*w.group*w.cols+winogradGap)], s[w.frequencies*(w.block*w.group*w.cols+winogradGap):]
	clear(r.zeros)
	for u := lo; u < hi && !ended(w.c.stop); u++ {
		switch {
		case !w.shared:
			end := min((u+1)*w.block, w.tiles)
			for t := u * w.block; t < end; t++ {
				w.input(r.v, t, &r)
			}
			for g := 0; g < w.groups && !ended(w.c.stop); g++ {
				w.product(r.v, u*w.block, end, g, &r)
			}
		case w.multiply:
			b := u % w.blocks
			w.product(w.v[b*w.room:], b*w.block, min((b+1)*w.block, w.tiles), u/w.blocks, &r)
		default:
			w.input(w.v[u/w.block*w.room:], u, &r)
		}
	}
}

// place is the image of a tile and its first output pixel.
func (w *winograd) place(t int) (image, y, x int) {
	return t / (w.down * w.across), t / w.across % w.down * w.side, t % w.across * w.side
}

// input transforms the pixels of tile t to its row of v.
func (w *winograd) input(v []float32, t int, r *winogradRoom) {
	c := w.c
	image, y, x := w.place(t)
	y, x = y-c.PadTop, x-c.PadLeft
	pixels := c.X[image*c.H*c.W*c.C:][:c.H*c.W*c.C]
	v = v[t%w.block*w.row:]
	if c.isa == Generic {
		w.filter.TransformInput(v, w.step, c.C, func(i, j int) []float32 {
			if y+i < 0 || y+i >= c.H || x+j < 0 || x+j >= c.W {
				return nil
			}
			return pixels[((y+i)*c.W+x+j)*c.C:]
		})
		return
	}
	args := winogradArgs{
		offsets: unsafe.Pointer(&w.offsets), v: unsafe.Pointer(&v[0]), step: uintptr(w.step) * 4,
		temp: unsafe.Pointer(&r.temp[0]), coefficients: unsafe.Pointer(&w.in), vectors: c.C / c.isa.lanes(),
	}
	if y >= 0 && x >= 0 && y+w.size <= c.H && x+w.size <= c.W {
		args.pixels = unsafe.Pointer(&pixels[(y*c.W+x)*c.C])
		winogradInputAsm(c.isa, w.side, &args)
		return
	}
	var offsets winogradOffsets
	nearY, nearX := min(max(y, 0), c.H-1), min(max(x, 0), c.W-1) // a pixel that exists
	args.pixels, args.offsets = unsafe.Pointer(&pixels[(nearY*c.W+nearX)*c.C]), unsafe.Pointer(&offsets)
	outside := int(uintptr(unsafe.Pointer(&r.zeros[0])) - uintptr(args.pixels))
	for i := range w.size {
		for j := range w.size {
			if at := &offsets[i*w.size+j]; y+i < 0 || y+i >= c.H || x+j < 0 || x+j >= c.W {
				*at = outside
			} else {
				*at = 4 * ((y+i-nearY)*c.W + x + j - nearX) * c.C
			}
		}
	}
	winogradInputAsm(c.isa, w.side, &args)
}

// product computes the channels of a group of panels for the tiles [t0,t1), whose inputs
// are in v.
func (w *winograd) product(v []float32, t0, t1, group int, r *winogradRoom) {
	first := group * w.group
	width := min(w.group, w.panels-first) * w.cols
	t := tileRun{
		isa: w.c.isa, tileShape: w.tileShape, k: w.c.C, ks: 1, rs: w.row,
		bs: w.cols, panel: w.frequencies * w.frequency, cs: width,
	}
	step := w.block*width + winogradGap
	for f := range w.frequencies {
		t.a, t.b, t.c = v[f*w.step:], w.c.Packed[(first*w.frequencies+f)*w.frequency:], r.m[f*step:]
		t.run(t1-t0, width)
	}
	channel := first * w.cols
	for i := t0; i < t1; i++ {
		w.output(r.m[(i-t0)*width:], step, i, channel, min(width, w.c.OC-channel), r)
	}
}

// output transforms tile t's row of m to its pixels, n output channels from channel on.
func (w *winograd) output(m []float32, step, t, channel, n int, r *winogradRoom) {
	c := w.c
	image, y, x := w.place(t)
	rows, cols := min(w.side, c.oh-y), min(w.side, c.ow-x)
	at := ((image*c.oh+y)*c.ow+x)*c.OC + channel
	var bias []float32
	if c.Bias != nil {
		bias = c.Bias[channel:][:n]
	}
	if c.isa == Generic {
		w.filter.TransformOutput(m, step, n, bias, func(i, j int) (y, add []float32) {
			if i >= rows || j >= cols {
				return nil, nil
			}
			at := at + (i*c.ow+j)*c.OC
			if c.Add != nil {
				add = c.Add[at:][:n]
			}
			return c.Y[at:][:n], add
		}, c.Act == ActReLU)
	} else {
		args := winogradArgs{
			pixels: unsafe.Pointer(&c.Y[at]), v: unsafe.Pointer(&m[0]), step: uintptr(step) * 4, temp: unsafe.Pointer(&r.temp[0]),
			coefficients: unsafe.Pointer(&w.out), vectors: n / c.isa.lanes(), rows: rows, cols: cols,
			rowStep: uintptr(c.ow*c.OC) * 4, pixelStep: uintptr(c.OC) * 4,
		}
		if bias != nil {
			args.bias = unsafe.Pointer(&bias[0])
		}
		if c.Add != nil {
			args.adds, args.addStep = 1, uintptr(unsafe.Pointer(&c.Add[at]))-uintptr(args.pixels)
		}
		if c.Act == ActReLU {
			args.relu = 1
		}
		winogradOutputAsm(c.isa, w.side, &args)
	}
	if c.Act <= ActReLU {
		return
	}
	for i := range rows {
		for j := range cols {
			finish(c.isa, c.Act, c.Y[at+(i*c.ow+j)*c.OC:][:n], nil)
		}
	}
}

// WinogradSide is the side of the tiles by which a convolution of c to oc channels with
// windows of 3×3 and h×w outputs is computed fastest, or 0 where it is directly. What is
// compared is the multiplications for one image and the reading of the weights, which
// takes as long as using them for winogradRead more tiles.
func WinogradSide(h, w, c, oc int) int {
	if c%winogradLane != 0 || oc%winogradLane != 0 || min(c, oc) < winogradChannels || min(h, w) < 1 {
		return 0
	}
	best, side := directCost(h, w), 0
	for _, s := range []int{2, 4} {
		if cost := winogradCost(h, w, s); cost < best {
			best, side = cost, s
		}
	}
	return side
}

// WinogradBeatsDots reports whether Winograd's filtering, in float32, takes less time than
// dot products of bfloat16.
func WinogradBeatsDots(h, w, c, oc int) bool {
	side := WinogradSide(h, w, c, oc)
	return side != 0 && floatsTime*winogradCost(h, w, side) < dotsTime*directCost(h, w)
}

func directCost(h, w int) int { return 9 * (h*w + winogradRead) }

func winogradCost(h, w, side int) int {
	return (side + 2) * (side + 2) * (ceilDiv(h, side)*ceilDiv(w, side) + winogradRead)
}

// WinogradLen is the number of floats that PackWinograd writes for weights [oc, ic, 3, 3]
// and tiles of side×side pixels.
func WinogradLen(oc, ic, side int, isa ISA) int {
	return (side + 2) * (side + 2) * PackedLen(ic, oc, isa)
}

// PackWinograd transforms the weights w [oc, ic, 3, 3] for ConvLast.Winograd: panels of
// tileShape.cols output channels, each [frequency][ic][cols] and filled up with zeros.
func PackWinograd(dst, w []float32, oc, ic, side int, isa ISA) {
	checkLen("PackWinograd", "dst", len(dst), WinogradLen(oc, ic, side, isa))
	checkLen("PackWinograd", "w", len(w), oc*ic*9)
	filter, cols := ref.NewWinograd(side), shapeOf(isa).cols
	frequencies := filter.Size * filter.Size
	var u [36]float32
	for n := 0; n < oc; n += cols {
		panel := dst[n*ic*frequencies:][:cols*ic*frequencies]
		width := min(cols, oc-n)
		if width < cols {
			clear(panel)
		}
		for ch := range ic {
			for j := range width {
				filter.TransformWeights(&u, w[((n+j)*ic+ch)*9:][:9])
				for f, v := range u[:frequencies] {
					panel[(f*ic+ch)*cols+j] = v
				}
			}
		}
	}
}
