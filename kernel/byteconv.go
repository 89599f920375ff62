package kernel

// ByteConv is a 2-D convolution of bytes whose channels come last, X [N,H,W,C]. Its
// sums, those of
//
//	(X - ZeroX) * Weight
//
// plus Start, are exact, and rescaled to [N,OH,OW,OC]. Packed is what PackByteConv
// makes of weights whose zero points are 0. What pads is the zero point. Strides,
// dilations and Groups of 0 mean 1.
//
// It is a product of patches by weights for each group, which are read where X lies if
// they may be (byteTaps); where every group has one channel, a window that slides. A patch
// is KH lines of KW·ic bytes, each filled up to whole words with what meets weights of 0.
type ByteConv struct {
	N, H, W, C, OC, KH, KW               int
	StrideH, StrideW                     int
	PadTop, PadLeft, PadBottom, PadRight int
	DilationH, DilationW, Groups         int
	X                                    []byte
	SignedX                              bool
	ZeroX                                int32
	Packed                               []byte
	Rescale

	byteConvRun
}

type byteConvRun struct {
	window
	byteForm
	byteSlide
	byteLines
	byteTaps
	vectors ISA
	k       int // elements of a patch
	stride  int // bytes of a patch as it is multiplied
	inPlace bool
	direct  bool // sums are rescaled in registers
	chunks  int  // of the pixels, for each group
	pixels  int  // in a chunk
	step    int  // pixels at a time
	parts   int  // of the columns, for each chunk of pixels
	wide    int  // columns of a part
	rows    int  // of the output, in a chunk of an image that slides, has lines or is spread
	reach   int  // lines that a window covers
	worker  int  // bytes of scratch of a worker
	start   []int32
	scratch []byte
}

// bytePixels is the most patches that are copied at a time: they stay in L2.
const bytePixels = 108

func (c *ByteConv) planar() *Conv {
	return &Conv{
		N: c.N, C: c.C, H: c.H, W: c.W, OC: c.OC, KH: c.KH, KW: c.KW, StrideH: c.StrideH, StrideW: c.StrideW,
		PadTop: c.PadTop, PadLeft: c.PadLeft, PadBottom: c.PadBottom, PadRight: c.PadRight,
		DilationH: c.DilationH, DilationW: c.DilationW, Groups: c.Groups,
	}
}

func (c *ByteConv) plan(p *Pool) {
	c.window, c.byteForm, c.vectors = c.planar().window(), byteFormOf(p), p.isa
	c.k, c.reach = c.KH*byteLine(c.KW, c.ic), (c.KH-1)*c.dilationH+1
	if c.slides = slidesBytes(c.OC, c.ic, c.KH, c.KW, c.groups); c.slides {
		c.planSlide(p)
		return
	}
	if c.byTaps = c.hasTaps(); c.byTaps {
		c.planTaps(p)
		return
	}
	if c.byLines = c.hasLines(); c.byLines {
		c.planLines(p)
		return
	}
	if c.spreads = c.spreadRows(); c.spreads {
		c.planSpread(p)
		return
	}
	pointwise := c.taps == 1 && c.strideH == 1 && c.strideW == 1 && c.PadTop+c.PadLeft+c.PadBottom+c.PadRight == 0
	c.inPlace = pointwise && c.size == 1 && !c.SignedX && c.groups == 1 && c.C%4 == 0 && c.C%aliasBytes != 0
	c.stride = 4 * c.words(c.k)
	if c.stride%aliasBytes == 0 {
		c.stride += 64
	}
	if c.inPlace {
		c.stride = c.C
	}
	c.dividePixels(p)
	c.worker = (bytePixels*c.stride + c.k + 63) &^ 63
	if c.inPlace {
		c.worker = 0
	}
	c.worker += c.tileBytes()
}

// dividePixels divides all pixels into chunks, and these into steps of about equal strips:
// a low one takes longer for what it does. Where there are few, columns are divided too:
// threads then read parts of the weights, which may be more than what is multiplied by them.
func (c *ByteConv) dividePixels(p *Pool) {
	total, most := max(1, c.N*c.oh*c.ow), bytePixels/c.stripRows()*c.stripRows()
	strips, panels, units := ceilDiv(total, c.stripRows()), max(1, ceilDiv(c.oc, c.cols)), 8*p.threads
	c.chunks, c.parts = ceilDiv(total, 2*most), 1
	if p.threads > 1 {
		if strips < 2*units {
			units /= 2
			c.parts = min(panels, units)
			if !c.inPlace { // each part copies patches
				c.parts = min(panels, p.threads)
			}
		}
		c.chunks = max(c.chunks, min(strips, ceilDiv(units, c.parts)))
	}
	c.wide = ceilDiv(panels, c.parts) * c.cols
	c.parts = max(1, ceilDiv(c.oc, c.wide))
	c.pixels = ceilDiv(total, c.chunks)
	c.chunks = ceilDiv(total, c.pixels)
	c.step = ceilDiv(c.pixels, ceilDiv(c.pixels, most))
}

// tileBytes is the room for the sums of a block and of a strip.
func (c *ByteConv) tileBytes() int {
	return c.blockRoom() + (4*c.tileShape.rows*min(byteColumns, c.oc)+63)&^63
}

// startBytes is the scratch that all workers share.
func (c *ByteConv) startBytes() int {
	n := 4 * c.OC
	if c.byTaps {
		starts, padded := c.tapBytes()
		n = starts + padded
	}
	if c.slides {
		n += 8 * c.together * c.C
	}
	return (n + 63) &^ 63
}

// ScratchLen is the number of bytes that Run needs on p.
func (c *ByteConv) ScratchLen(p *Pool) int {
	c.plan(p)
	return c.startBytes() + roomsLen[byte](p.threads, c.worker)
}

// Run computes the convolution.
func (c *ByteConv) Run(p *Pool, scratch []byte) {
	c.plan(p)
	checkLen("ByteConv", "X", len(c.X), c.N*c.H*c.W*c.C)
	checkLen("ByteConv", "Packed", len(c.Packed), PackedByteConvLen(c.OC, c.ic, c.KH, c.KW, c.groups, p))
	checkLen("ByteConv", "scratch", len(scratch), c.startBytes()+roomsLen[byte](p.threads, c.worker))
	c.Rescale.check(c.N*c.oh*c.ow, c.OC)
	if c.Combine != nil {
		checkLen("ByteConv", "Combine.B", len(c.Combine.B), c.N*c.oh*c.ow*c.OC)
	}
	if c.N*c.oh*c.ow*c.OC == 0 {
		return
	}
	n := c.startBytes()
	c.scratch, c.direct = scratch[n:], c.fits(c.byteForm) && c.words(c.k) <= byteWords
	if c.slides {
		c.beginSlide(scratch[:n])
		p.run(c.N*c.chunks, 1, c)
		return
	}
	if c.byTaps {
		c.runTaps(p, scratch[:n])
		return
	}
	c.start = int32sAt(scratch[:n])
	size := PackedByteLen(c.k, c.oc, p)
	for g := range c.groups {
		sums, r := int32sAt(c.Packed[g*size+c.sumsAt(c.k, c.oc):]), c.Rescale
		if r.Start != nil {
			r.Start = r.Start[g*c.oc:]
		}
		startsOf(c.vectors, c.start[g*c.oc:][:c.oc], &r, sums, nil, c.k, c.ZeroX, c.SignedX)
	}
	if c.byLines || c.spreads {
		p.run(c.N*c.chunks, 1, c)
		return
	}
	p.run(c.groups*c.chunks*c.parts, 1, c)
}

func (c *ByteConv) chunk(lo, hi, worker int) {
	if c.preparing {
		c.padRows(lo, hi)
		return
	}
	scratch := roomOf(c.scratch, worker, c.worker)
	if c.slides {
		for u := lo; u < hi; u++ {
			c.slide(u, float32sAt(scratch))
		}
		return
	}
	s := byteStrips{byteForm: c.byteForm, vectors: c.vectors, to: &c.Rescale, direct: c.direct, stride: c.stride, words: c.words(c.k), panel: c.panelBytes(c.k), step: 1, cs: c.OC}
	room := int32sAt(scratch[:c.tileBytes()])
	s.block, s.tile, scratch = room[:c.blockRoom()/4], room[c.blockRoom()/4:], scratch[c.tileBytes():]
	if c.byTaps {
		for u := lo; u < hi; u++ {
			c.tapChunk(&s, u)
		}
		return
	}
	if c.byLines {
		for u := lo; u < hi; u++ {
			c.lineRows(&s, u, scratch)
		}
		return
	}
	if c.spreads {
		for u := lo; u < hi; u++ {
			c.spreadChunk(&s, u, scratch)
		}
		return
	}
	size := c.sumsAt(c.k, c.oc) + 4*c.oc
	for u := lo; u < hi; u++ {
		g, i := u/c.parts/c.chunks, u/c.parts%c.chunks
		n0 := u % c.parts * c.wide
		n1 := min(n0+c.wide, c.oc)
		end := min((i+1)*c.pixels, c.N*c.oh*c.ow)
		for m := i * c.pixels; m < end; m += c.step {
			s.first = m
			if c.inPlace {
				s.fetched = len(c.X) > 2*blockBytes
				s.a = c.X[m*c.C:]
			} else {
				s.a = scratch
				c.patches(scratch, g, m, min(m+c.step, end))
			}
			c.columns(&s, c.Packed[g*size:], g, m, min(m+c.step, end), n0, n1)
		}
	}
}

// columns multiplies pixels [m0,m1) with columns [n0,n1) of the weights of a group.
func (c *ByteConv) columns(s *byteStrips, packed []byte, g, m0, m1, n0, n1 int) {
	step := c.blockColumns(c.k, n1-n0)
	for n := n0; n < n1; n += step {
		s.b, s.column, s.start = packed[n/c.cols*s.panel:], g*c.oc, c.start[g*c.oc:][:c.oc]
		s.run(m0, m1, n, min(n+step, n1))
	}
}

// patches writes the patches of pixels [m0,m1) of group g as words.
func (c *ByteConv) patches(to []byte, g, m0, m1 int) {
	flip := byte(0)
	if c.SignedX {
		flip = 128
	}
	direct := c.size == 1 && flip == 0
	line := to[bytePixels*c.stride:][:c.k] // room for one that is to be converted
	for m := m0; m < m1; m++ {
		row := to[(m-m0)*c.stride:][:4*c.words(c.k)]
		if direct {
			c.patch(row, g, m)
			continue
		}
		c.patch(line, g, m)
		c.word(c.vectors, row, line, flip)
	}
}

// patch copies what the window of pixel m covers of the channels of group g: rows of
// the window, in them columns, in them channels.
func (c *ByteConv) patch(to []byte, g, m int) {
	image := c.X[m/(c.oh*c.ow)*c.H*c.W*c.C:]
	y0, x0 := m/c.ow%c.oh*c.strideH-c.PadTop, m%c.ow*c.strideW-c.PadLeft
	n, line := c.KW*c.ic, byteLine(c.KW, c.ic)
	for ky := range c.KH {
		part, y := to[ky*line:][:n], y0+ky*c.dilationH
		clear(to[ky*line+n : (ky+1)*line])
		if y < 0 || y >= c.H {
			fill(part, byte(c.ZeroX))
		} else {
			c.patchLine(part, image[y*c.W*c.C:], x0, g)
		}
	}
}

// patchLine copies what a window that begins at column x0 covers of a row of X, of the
// channels of group g.
func (c *ByteConv) patchLine(to, row []byte, x0, g int) {
	if c.dilationW == 1 && c.groups == 1 && x0 >= 0 && x0+c.KW <= c.W {
		copy(to[:c.KW*c.C], row[x0*c.C:])
		return
	}
	for kx := range c.KW {
		part, x := to[kx*c.ic:][:c.ic], x0+kx*c.dilationW
		if x < 0 || x >= c.W {
			fill(part, byte(c.ZeroX))
		} else {
			copy(part, row[x*c.C+g*c.ic:])
		}
	}
}

// PackedByteConvLen is the number of bytes that PackByteConv writes for p.
func PackedByteConvLen(oc, ic, kh, kw, groups int, p *Pool) int {
	if slidesBytes(oc, ic, kh, kw, groups) {
		return 4 * oc * kh * kw
	}
	n := groups * PackedByteLen(kh*byteLine(kw, ic), oc/groups, p)
	if addsTaps(ic, kh, kw, groups) {
		n += 4 * oc * kh * kw
	}
	return n
}

// byteLine is the number of elements of a line of a patch.
func byteLine(kw, ic int) int { return (kw*ic + 3) &^ 3 }

// PackByteConv packs weights [oc, ic, kh, kw] of signed bytes for ByteConv on p, a
// matrix of PackBytes for each group, or what slides over pixels.
func PackByteConv(p *Pool, dst, w []byte, oc, ic, kh, kw, groups int) {
	taps, line, width := kh*kw, byteLine(kw, ic), oc/groups
	k := kh * line
	checkLen("PackByteConv", "w", len(w), oc*ic*taps)
	checkLen("PackByteConv", "dst", len(dst), PackedByteConvLen(oc, ic, kh, kw, groups, p))
	if slidesBytes(oc, ic, kh, kw, groups) {
		packByteSlide(float32sAt(dst), w, oc, taps)
		return
	}
	last := make([]byte, oc*k)
	for o := range oc {
		for t := range taps {
			to, from := last[o*k+t/kw*line+t%kw*ic:][:ic], w[o*ic*taps+t:]
			for ch := range to {
				to[ch] = from[ch*taps]
			}
		}
	}
	size := PackedByteLen(k, width, p)
	for g := range groups {
		PackBytes(p, dst[g*size:][:size], last[g*width*k:][:width*k], true, k, width, true)
	}
	if addsTaps(ic, kh, kw, groups) {
		addTaps(int32sAt(dst[size:]), last, oc, ic, taps)
	}
}
