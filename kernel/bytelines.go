package kernel

// Where rows of the output are long, patches of bytes are not copied: the rows of X that
// some of them need are, once, with their padding. A patch is then KH lines of the tile
// kernel, and that of the next pixel begins strideW pixels on, at any byte. A line that
// ends within a word is read on into what follows it, which meets weights of 0.

// byteLines is how a ByteConv is divided that reads lines.
type byteLines struct {
	byLines bool
	spreads bool // rows are spread
	width   int  // bytes of a row of X with its padding, or spread, as words
}

// hasLines reports whether lines pay: where all weights stay in L2 while a row of the
// output goes over them, and strips of it are nearly as high as tiles.
func (c *ByteConv) hasLines() bool {
	strip := ceilDiv(c.ow, max(1, ceilDiv(c.ow, c.tileShape.rows)))
	return c.groups == 1 && c.dilationW == 1 && c.KW > 1 && c.k*c.OC*c.size <= blockBytes && c.words(c.k) <= byteWords && 4*strip > 3*c.tileShape.rows-4
}

func (c *ByteConv) planLines(p *Pool) {
	c.width = 4 * c.words((c.PadLeft+c.W+c.PadRight)*c.C+3)
	c.rows = max(1, (blockBytes/2/c.width-c.reach)/c.strideH+1)
	if p.threads > 1 {
		c.rows = min(c.rows, max(1, c.N*c.oh/(8*p.threads)))
	}
	c.divideRows()
	c.worker = (((c.rows-1)*c.strideH+c.reach)*c.width+63)&^63 + c.tileBytes()
}

// divideRows divides the rows of an image into chunks of at most c.rows, about equal.
func (c *ByteConv) divideRows() {
	c.chunks = ceilDiv(c.oh, c.rows)
	c.rows = max(1, ceilDiv(c.oh, max(1, c.chunks)))
}

// lineRows computes the output rows of a chunk.
func (c *ByteConv) lineRows(s *byteStrips, chunk int, scratch []byte) {
	image, row := chunk/c.chunks, chunk%c.chunks*c.rows
	end := min(row+c.rows, c.oh)
	x := c.X[image*c.H*c.W*c.C:][:c.H*c.W*c.C]
	for i := range (end-1-row)*c.strideH + c.reach {
		c.paddedLine(scratch[i*c.width:][:c.width], x, row*c.strideH-c.PadTop+i)
	}
	s.stride, s.words = c.strideW*c.C*c.size, c.words(byteLine(c.KW, c.C))
	s.lines, s.line = c.KH, c.dilationH*c.width
	for oy := row; oy < end; oy++ {
		s.first = (image*c.oh + oy) * c.ow
		s.a = scratch[(oy-row)*c.strideH*c.width:]
		c.columns(s, c.Packed, 0, s.first, s.first+c.ow, 0, c.oc)
	}
}

// paddedLine writes row y of an image, with what pads it, as words.
func (c *ByteConv) paddedLine(to, image []byte, y int) {
	flip := byte(0)
	if c.SignedX {
		flip = 128
	}
	pad, left, n := byte(c.ZeroX)^flip, c.PadLeft*c.C*c.size, c.W*c.C
	if y < 0 || y >= c.H {
		c.fill(to, pad)
		return
	}
	c.fill(to[:left], pad)
	c.word(c.vectors, to[left:][:n*c.size], image[y*n:][:n], flip)
	c.fill(to[left+n*c.size:], pad)
}

// fill writes an unsigned byte over and over, as it is multiplied.
func (f byteForm) fill(to []byte, b byte) {
	if f.size == 1 {
		fill(to, b)
		return
	}
	for i := range int16sAt(to) {
		int16sAt(to)[i] = int16(b)
	}
}
