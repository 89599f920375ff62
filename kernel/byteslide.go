package kernel

import (
	"math"
	"unsafe"

	"tandem/kernel/ref"
)

// Depthwise convolutions of bytes slide their windows over lines of floats: x less its
// zero point and the weights are whole numbers, and so is each sum, which no
// multiply-add rounds. Sums begin with slideBase, next to which floats lie one apart; so
// the bits of a sum, read as a whole number, are those of slideBase plus the sum.
const (
	slideBase = 3 << 22
	// slideTaps products of at most 255·128 stay less than 2²² from slideBase.
	slideTaps = 128
	// slideTogether is the number of sums that are rescaled at a time, where pixels
	// have fewer channels.
	slideTogether = 256
)

// byteSlide is how a depthwise ByteConv is divided.
type byteSlide struct {
	slides   bool
	lines    int // of X, that a chunk reads
	together int // pixels that are rescaled at a time
	base     []float32
	scales   []float32 // of together pixels
}

// slidesBytes reports whether weights [oc, ic, kh, kw] are those of a convolution that
// slides.
func slidesBytes(oc, ic, kh, kw, groups int) bool {
	return ic == 1 && oc == groups && kh*kw <= slideTaps
}

func (c *ByteConv) planSlide(p *Pool) {
	line := c.W * c.C
	c.rows = max(1, (blockBytes/4/max(1, line)-c.reach)/c.strideH+1)
	c.chunks = ceilDiv(max(1, c.oh), c.rows)
	if p.threads > 1 {
		c.chunks = max(c.chunks, min(c.oh, ceilDiv(2*p.threads, max(1, c.N))))
	}
	c.rows = ceilDiv(max(1, c.oh), c.chunks)
	c.chunks = ceilDiv(c.oh, c.rows)
	c.lines = min(c.H, (c.rows-1)*c.strideH+c.reach)
	c.together = max(1, min(c.ow, slideTogether/c.C))
	c.worker = (4*(c.lines*line+c.ow*c.C) + 63) &^ 63
}

// beginSlide writes what all rows read.
func (c *ByteConv) beginSlide(scratch []byte) {
	size := c.together * c.C
	c.base, scratch = float32sAt(scratch[:4*c.C]), scratch[4*c.C:]
	c.start, scratch = int32sAt(scratch[:4*size]), scratch[4*size:]
	c.scales = float32sAt(scratch[:4*size])
	for ch := range c.C {
		c.base[ch], c.start[ch] = slideBase, -int32(math.Float32bits(slideBase))
		if c.Start != nil {
			c.start[ch] += c.Start[ch]
		}
	}
	for at := 0; at < size; at += c.C {
		copy(c.start[at:], c.start[:c.C])
		copy(c.scales[at:], c.ScaleB)
	}
}

// slide computes the rows of a chunk; each line of X becomes floats when a window first
// reaches it.
func (c *ByteConv) slide(chunk int, scratch []float32) {
	image, row, size := chunk/c.chunks, chunk%c.chunks*c.rows, c.W*c.C
	first := min(c.H, max(0, row*c.strideH-c.PadTop))
	x, have := c.X[image*c.H*size:][:c.H*size], first
	lines, sums := scratch[:c.lines*size], scratch[c.lines*size:][:c.ow*c.C]
	s := slider{
		op: ref.SlideMultiply, isa: c.vectors, h: c.H - first, w: c.W, c: c.C, ow: c.ow, kh: c.KH, kw: c.KW,
		strideH: c.strideH, strideW: c.strideW, padTop: c.PadTop + first, padLeft: c.PadLeft,
		dilationH: c.dilationH, dilationW: c.dilationW, weights: float32sAt(c.Packed), start: c.base,
	}
	for oy := row; oy < min(row+c.rows, c.oh); oy++ {
		if until := min(c.H, oy*c.strideH-c.PadTop+c.reach); until > have {
			dequantizeBytes(c.vectors, lines[(have-first)*size:(until-first)*size], x[have*size:], 1, c.ZeroX, c.SignedX)
			have = until
		}
		s.row(sums, lines, oy)
		c.rescaleSlide(unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(sums))), len(sums)), (image*c.oh+oy)*c.ow)
	}
}

// rescaleSlide turns the sums of a row that begins at the given pixel into what is wanted.
func (c *ByteConv) rescaleSlide(sums []int32, pixel int) {
	to := byteStrips{vectors: c.vectors, to: &c.Rescale, step: 1, cs: c.C}
	for i := 0; i < c.ow; i += c.together {
		n := min(c.together, c.ow-i)
		part, at := sums[i*c.C:][:n*c.C], (pixel+i)*c.C
		addMultiple(c.vectors, part, c.start, 1)
		switch {
		case c.Sums != nil:
			copy(c.Sums[at:], part)
		case c.Bytes != nil:
			c.bytes(c.vectors, at, c.C, part, c.scales)
			if y := c.Bytes[at:][:len(part)]; c.Table != nil {
				lookup(c.vectors, y, y, c.Table)
			}
		default:
			to.rescale(part, c.C, pixel+i, n, 0, c.C)
			to.finish(pixel+i, n, 0, c.C)
		}
	}
}

// packByteSlide writes weights [oc, 1, taps] as floats [taps][oc].
func packByteSlide(dst []float32, w []byte, oc, taps int) {
	for o := range oc {
		for t := range taps {
			dst[t*oc+o] = float32(int8(w[o*taps+t]))
		}
	}
}
