package kernel

// Where the channels of a pixel are whole words, X is read where it lies, and what pads it is
// not multiplied. Pixels of the output are grouped by the taps of their windows that lie
// within the image: those of an area have the same ones. Its strips go along a row, down a
// column or through the images of a batch, whichever takes least, so that X and the result
// have one step from row to row of a strip; the tile kernel passes over the weights of the
// taps that are left out, and sums start from what the zero point is for the others.

// byteTaps is how a ByteConv is divided whose windows are read in place.
type byteTaps struct {
	byTaps bool
	of     tapShape // what the areas are for
	tapAreas
	second    tapAreas
	strips    int // of a chunk
	padded    []byte
	preparing bool
}

// tapShape is all that areas depend on.
type tapShape struct {
	window
	n, h, w, c, kh, kw, top, left, right, rows int
}

// tapAreas are areas that make up the output. Rows of X have so many pixels before and behind
// them where they are copied with their padding.
type tapAreas struct {
	list        []tapArea
	left, right int
	kinds       int // of taps
	total       int // strips
	time        int // in rows of words of a panel
}

// tapArea is a block of pixels: axis 0 is along a row, 1 down a column, 2 through images.
type tapArea struct {
	at, size   [3]int
	along      int // the axis of its strips
	rows, cuts int // rows of a strip, strips in a line of pixels
	strips     int
	kind       int
	ky, lines  int // the lines of the window that lie within the image,
	kx, taps   int // and the taps of each
}

// hasTaps reports whether windows are read in place: not where blocks would lose by it, whose
// strips have more rows.
func (c *ByteConv) hasTaps() bool {
	return c.groups == 1 && c.C%4 == 0 && c.size == 1 && !c.blocks && !c.SignedX && c.dilationW == 1 &&
		c.words(c.k) <= byteWords && c.taps <= mostTaps && (c.taps > 1 || c.strideH > 1 || c.strideW > 1)
}

// mostTaps are as many as a window may have that is read in place: more have many areas.
const mostTaps = 64

func (c *ByteConv) planTaps(p *Pool) {
	c.preparing = false
	of := tapShape{c.window, c.N, c.H, c.W, c.C, c.KH, c.KW, c.PadTop, c.PadLeft, c.PadRight, c.tileShape.rows}
	if c.of != of {
		c.of = of
		c.divideTaps(&c.tapAreas, 0, 0)
		if c.PadLeft+c.PadRight > 0 {
			// Few images have corners of few rows: long strips pay for products with padding.
			if c.divideTaps(&c.second, c.PadLeft, c.PadRight); c.second.time < c.time {
				c.tapAreas, c.second = c.second, c.tapAreas
			}
		}
	}
	panels, units := max(1, ceilDiv(c.oc, c.cols)), 8*p.threads
	c.chunks, c.parts = ceilDiv(c.N*c.H*c.W*c.C, blockBytes), 1
	if p.threads > 1 {
		if c.total < 2*units {
			units /= 2
			c.parts = min(panels, units)
		}
		c.chunks = max(c.chunks, ceilDiv(units, c.parts))
	}
	c.wide = ceilDiv(panels, c.parts) * c.cols
	c.parts = max(1, ceilDiv(c.oc, c.wide))
	c.strips = max(1, ceilDiv(c.total, max(1, c.chunks)))
	c.chunks = ceilDiv(c.total, c.strips)
	c.worker = c.tileBytes()
}

// tapBytes is the scratch for what sums start from, and for all of X with its padding.
func (c *ByteConv) tapBytes() (starts, padded int) {
	starts = (4*c.OC*c.kinds + 63) &^ 63
	if c.left+c.right > 0 {
		padded = c.N * c.H * (c.left + c.W + c.right) * c.C
	}
	return starts, padded
}

// divideTaps finds the areas of rows of X with some pixels before and behind them.
func (c *ByteConv) divideTaps(t *tapAreas, left, right int) {
	*t = tapAreas{list: t.list[:0], left: left, right: right}
	for y := 0; y < c.oh; {
		ky, lines, y1 := tapsOf(y, c.oh, c.strideH, c.PadTop, c.dilationH, c.KH, c.H)
		for x := 0; x < c.ow; {
			kx, taps, x1 := tapsOf(x, c.ow, c.strideW, c.PadLeft-left, 1, c.KW, left+c.W+right)
			a := tapArea{at: [3]int{x, y, 0}, size: [3]int{x1 - x, y1 - y, c.N}, kind: t.kinds}
			if lines > 0 && taps > 0 {
				a.ky, a.lines, a.kx, a.taps = ky, lines, kx, taps
			}
			time, _, _ := c.tapTime(a.size, a.lines*a.taps)
			t.time += time
			t.kinds++
			c.divideArea(t, a)
			x = x1
		}
		y = y1
	}
}

// tapsOf returns the first of the taps on an axis that lie within the image for position i of
// the output, their number, and the next position that has others.
func tapsOf(i, out, stride, pad, dilation, k, size int) (first, n, next int) {
	first, n = tapsAt(i*stride-pad, dilation, k, size)
	for next = i + 1; next < out; next++ {
		if f, m := tapsAt(next*stride-pad, dilation, k, size); f != first || m != n {
			break
		}
	}
	return first, n, next
}

// tapsAt returns which taps lie within the image, of a window that begins at a place.
func tapsAt(at, dilation, k, size int) (first, n int) {
	first = min(k, ceilDiv(max(0, -at), dilation))
	return first, max(0, min(k, ceilDiv(max(0, size-at), dilation))-first)
}

// divideArea cuts an area into areas of strips.
func (c *ByteConv) divideArea(t *tapAreas, a tapArea) {
	_, along, whole := c.tapTime(a.size, a.lines*a.taps)
	rest, n := a, a.size[along]
	if whole {
		n -= n % c.tileShape.rows
		rest.at[along] += n
		rest.size[along] -= n
	}
	a.size[along], a.along = n, along
	a.cuts = ceilDiv(n, c.tileShape.rows)
	a.rows = ceilDiv(n, max(1, a.cuts))
	a.strips = a.size[(along+1)%3] * a.size[(along+2)%3] * a.cuts
	t.list = append(t.list, a)
	t.total += a.strips
	if whole {
		c.divideArea(t, rest)
	}
}

const (
	// leastTapRows are what a strip of fewer rows takes as long as: products wait for each
	// other, and for the panels from the L2 cache.
	leastTapRows = 6
	tileTime     = 60 // of a tile besides products, in rows of words
)

// tapTime is the least time that an area takes, in rows of words of a panel; the axis of its
// strips then, and whether these are all as high as tiles, and the rest another area.
func (c *ByteConv) tapTime(size [3]int, taps int) (least, along int, whole bool) {
	words, most := taps*c.C/4, c.tileShape.rows
	of := func(rows int) int { return max(rows, leastTapRows)*words + tileTime }
	least = -1
	for i, n := range size {
		lines, cuts := size[(i+1)%3]*size[(i+2)%3], ceilDiv(n, most)
		rows := ceilDiv(n, max(1, cuts))
		if time := lines * ((cuts-1)*of(rows) + of(n-(cuts-1)*rows)); least < 0 || time < least {
			least, along, whole = time, i, false
		}
		if n > most && n%most > 0 {
			rest := size
			rest[i] = n % most
			time, _, _ := c.tapTime(rest, taps)
			if time += lines * (n / most) * of(most); time < least {
				least, along, whole = time, i, true
			}
		}
	}
	return least, along, whole
}

// runTaps computes the convolution.
func (c *ByteConv) runTaps(p *Pool, scratch []byte) {
	starts, padded := c.tapBytes()
	c.start, c.padded = int32sAt(scratch[:starts]), c.X
	c.startTaps()
	if padded > 0 {
		c.padded, c.preparing = scratch[starts:][:padded], true
		p.run(c.N*c.H, ceilDiv(1<<15, max(1, c.W*c.C)), c)
		c.preparing = false
	}
	p.run(c.chunks*c.parts, 1, c)
}

// startTaps writes what the sums of each kind start from.
func (c *ByteConv) startTaps() {
	at, kind := c.sumsAt(c.k, c.oc), -1
	if c.taps > 1 {
		at += 4 * c.oc // behind those of all taps
	}
	sums := int32sAt(c.Packed[at:])
	for _, a := range c.list {
		if a.kind == kind {
			continue
		}
		kind = a.kind
		start := c.start[kind*c.OC:][:c.OC]
		if clear(start); c.Start != nil {
			copy(start, c.Start)
		}
		for t := a.ky * c.KW; t < (a.ky+a.lines)*c.KW && c.ZeroX != 0; t += c.KW {
			for kx := a.kx; kx < a.kx+a.taps; kx++ {
				addMultiple(c.vectors, start, sums[(t+kx)*c.OC:][:c.OC], -c.ZeroX)
			}
		}
	}
}

// padRows copies rows [lo,hi) of all images with what pads them.
func (c *ByteConv) padRows(lo, hi int) {
	left, n, width := c.left*c.C, c.W*c.C, (c.left+c.W+c.right)*c.C
	for i := lo; i < hi; i++ {
		to := c.padded[i*width:][:width]
		fill(to[:left], byte(c.ZeroX))
		copy(to[left:], c.X[i*n:][:n])
		fill(to[left+n:], byte(c.ZeroX))
	}
}

// tapChunk computes the strips of a chunk, for a part of the columns.
func (c *ByteConv) tapChunk(s *byteStrips, unit int) {
	lo := unit / c.parts * c.strips
	hi := min(lo+c.strips, c.total)
	n0 := unit % c.parts * c.wide
	n1 := min(n0+c.wide, c.oc)
	step := c.blockColumns(c.k, n1-n0)
	for n := n0; n < n1; n += step {
		before := 0
		for i := range c.list {
			a := &c.list[i]
			if from, until := max(lo-before, 0), min(hi-before, a.strips); from < until {
				c.tapStrips(s, a, from, until, n, min(n+step, n1))
			}
			before += a.strips
		}
	}
}

// tapStrips computes strips [lo,hi) of an area, and columns [n0,n1).
func (c *ByteConv) tapStrips(s *byteStrips, a *tapArea, lo, hi, n0, n1 int) {
	line := (c.left + c.W + c.right) * c.C
	in, out := [3]int{c.strideW * c.C, c.strideH * line, c.H * line}, [3]int{1, c.ow, c.oh * c.ow}
	s.words, s.lines, s.line = a.taps*c.C/4, a.lines, c.dilationH*line
	s.skipB = (c.KW - a.taps) * c.C * c.cols
	s.stride, s.step = in[a.along], out[a.along]
	s.b, s.start = c.Packed[n0/c.cols*s.panel+(a.ky*c.KW+a.kx)*c.C*c.cols:], c.start[a.kind*c.OC:][:c.OC]
	args := s.args()
	x, y := 0, a.at[0]+a.at[1]*out[1]+a.at[2]*out[2]
	if a.lines > 0 {
		x = a.at[0]*in[0] + a.at[1]*in[1] + a.at[2]*in[2] + (a.ky*c.dilationH-c.PadTop)*line + (a.kx+c.left-c.PadLeft)*c.C
	} else {
		in = [3]int{}
	}
	j, k := (a.along+1)%3, (a.along+2)%3 // across strips: neighbours have pixels in common
	if k == 0 {
		j, k = k, j
	}
	cut, at := lo%a.cuts, lo/a.cuts
	x, y = x+at%a.size[j]*in[j]+at/a.size[j]*in[k], y+at%a.size[j]*out[j]+at/a.size[j]*out[k]
	left := a.size[j] - at%a.size[j]
	for range hi - lo {
		row := cut * a.rows
		s.strip(&args, c.padded[x+row*in[a.along]:], y+row*s.step, min(a.rows, a.size[a.along]-row), n0, n1-n0)
		if cut++; cut < a.cuts {
			continue
		}
		cut, x, y = 0, x+in[j], y+out[j]
		if left--; left == 0 {
			left, x, y = a.size[j], x+in[k]-a.size[j]*in[j], y+out[k]-a.size[j]*out[j]
		}
	}
}

// addsTaps reports whether PackByteConv adds the sums of the weights of each tap.
func addsTaps(ic, kh, kw, groups int) bool { return groups == 1 && ic%4 == 0 && kh*kw > 1 }

// addTaps writes the sums of the weights of each tap, of rows of w with ic for each. It flips w.
func addTaps(sums []int32, w []byte, oc, ic, taps int) {
	flipBytes(w, 128)
	for o := range oc {
		for t := range taps {
			sums[t*oc+o] = sumBytes(w[(o*taps+t)*ic:][:ic]) - int32(128*ic)
		}
	}
}
