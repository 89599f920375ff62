package kernel

// Where rows of the output are too short for strips of their own, strips go over their
// ends, so the lines of X cannot be read as they lie. What the window covers of a row of X
// is copied for every pixel of a row of the output, one after another: a row is spread. A
// patch is a line of each of KH rows, and with a stride of 1 from row to row the next
// patch begins one line on, over the ends of rows too. So KH times less is copied than in
// whole patches.

// planSpread divides a ByteConv whose rows are spread.
func (c *ByteConv) planSpread(p *Pool) {
	c.stride = 4 * c.words(byteLine(c.KW, c.C))
	c.width = c.ow * c.stride
	c.rows = max(1, blockBytes/2/max(1, c.width)-c.reach+1)
	if p.threads > 1 {
		c.rows = min(c.rows, max(ceilDiv(spreadPixels, max(1, c.ow)), ceilDiv(c.oh, p.threads), ceilDiv(c.N*c.oh, 8*p.threads)))
	}
	c.divideRows()
	c.worker = ((c.rows-1+c.reach)*c.width+c.KW*c.C+63)&^63 + c.tileBytes()
}

// spreadPixels is the number of pixels below which rows are not divided among threads.
const spreadPixels = 24

// spreadRows reports whether rows are spread: where it saves copying, and blocks do not
// lose more. A stride of rows other than 1 would need rows apart.
func (c *ByteConv) spreadRows() bool {
	words := c.words(byteLine(c.KW, c.C))
	return c.groups == 1 && c.KH > 1 && c.strideH == 1 && c.words(c.k) <= byteWords && (!c.blocks || words%amxTile == 0)
}

// spreadChunk computes the output rows of a chunk.
func (c *ByteConv) spreadChunk(s *byteStrips, chunk int, scratch []byte) {
	image, row := chunk/c.chunks, chunk%c.chunks*c.rows
	end := min(row+c.rows, c.oh)
	x := c.X[image*c.H*c.W*c.C:][:c.H*c.W*c.C]
	height := end - row - 1 + c.reach
	line := scratch[height*c.width:][:c.KW*c.C]
	for i := range height {
		c.spread(scratch[i*c.width:][:c.width], x, row-c.PadTop+i, line)
	}
	s.words, s.lines, s.line = c.stride/4, c.KH, c.dilationH*c.width
	s.first = (image*c.oh + row) * c.ow
	s.a = scratch
	c.columns(s, c.Packed, 0, s.first, s.first+(end-row)*c.ow, 0, c.oc)
}

// spread writes what the window covers of row y of an image, for each pixel of a row of the
// output, as words. line is room for one of these.
func (c *ByteConv) spread(to, image []byte, y int, line []byte) {
	flip := byte(0)
	if c.SignedX {
		flip = 128
	}
	if y < 0 || y >= c.H {
		c.fill(to, byte(c.ZeroX)^flip)
		return
	}
	direct := c.size == 1 && flip == 0
	row := image[y*c.W*c.C:][:c.W*c.C]
	for ox := range c.ow {
		part := to[ox*c.stride:][:c.stride]
		if direct {
			c.patchLine(part, row, ox*c.strideW-c.PadLeft, 0)
			clear(part[len(line):])
			continue
		}
		c.patchLine(line, row, ox*c.strideW-c.PadLeft, 0)
		c.word(c.vectors, part, line, flip)
	}
}
