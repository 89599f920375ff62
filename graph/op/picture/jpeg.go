package picture

import (
	"errors"
	"fmt"
	"image"
)

// errOtherJPEG is for files that this decoder leaves to the standard library's:
// progressive ones, several scans, other colour spaces.
var errOtherJPEG = errors.New("not a baseline picture in one scan")

// baseline decodes what nearly all JPEG files are. The standard library decodes
// these too, but its inverse cosine transform rounds differently from libjpeg's,
// which is what pictures are decoded by where models are trained. This one gives
// the same bits.
type baseline struct {
	data    []byte
	quant   [4][64]int32
	huffman [2][4]huffmanTable // of DC and AC coefficients
	parts   []component
	width   int
	height  int
	restart int // MCUs between restart markers; 0: none

	bits  uint32
	count int // of bits that are left
}

// component is one plane of samples.
type component struct {
	id, h, v, quant, dc, ac int
	last                    int32 // DC coefficient of the block before
	pix                     []byte
	stride                  int
}

// huffmanTable finds a code by its length (ITU-T T.81, annex F.2.2.3).
type huffmanTable struct {
	least, beyond [17]int32 // the codes of each length: least ≤ code < beyond
	first         [17]int   // the place of the least one's symbol
	symbols       []byte
}

// zigzag is the order in which a block's coefficients are written.
func zigzag() [64]int {
	return [64]int{
		0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
		35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
	}
}

// decodeBaseline gives a gray or a YCbCr image.
func decodeBaseline(data []byte) (image.Image, error) {
	d := &baseline{data: data[2:]}
	for {
		marker, body, err := d.segment()
		if err != nil {
			return nil, err
		}
		switch marker {
		case 0xdb:
			err = d.readQuant(body)
		case 0xc4:
			err = d.readHuffman(body)
		case 0xc0, 0xc1:
			err = d.readFrame(body)
		case 0xdd:
			if len(body) == 2 {
				d.restart = int(body[0])<<8 | int(body[1])
			}
		case 0xee: // Adobe's: 1 is YCbCr
			if len(body) >= 12 && string(body[:5]) == "Adobe" && body[11] != 1 {
				err = errOtherJPEG
			}
		case 0xda:
			if err = d.readScan(body); err == nil {
				return d.image()
			}
		case 0xc2, 0xc3, 0xc5, 0xc6, 0xc7, 0xc9, 0xca, 0xcb, 0xcd, 0xce, 0xcf, 0xcc, 0xd9:
			err = errOtherJPEG
		}
		if err != nil {
			return nil, err
		}
	}
}

// segment is the next marker with what belongs to it.
func (d *baseline) segment() (marker byte, body []byte, err error) {
	for len(d.data) > 1 && d.data[0] == 0xff && d.data[1] == 0xff {
		d.data = d.data[1:]
	}
	if len(d.data) < 4 || d.data[0] != 0xff {
		return 0, nil, fmt.Errorf("a marker is missing")
	}
	marker = d.data[1]
	n := int(d.data[2])<<8 | int(d.data[3])
	if n < 2 || len(d.data) < n+2 {
		return 0, nil, fmt.Errorf("a segment is cut off")
	}
	body, d.data = d.data[4:n+2], d.data[n+2:]
	return marker, body, nil
}

func (d *baseline) readQuant(b []byte) error {
	order := zigzag()
	for len(b) > 0 {
		wide, id := int(b[0]>>4), int(b[0]&15)
		size := 64 * (wide + 1)
		if wide > 1 || id > 3 || len(b) < 1+size {
			return fmt.Errorf("a quantization table is wrong")
		}
		for i, at := range order {
			if wide == 1 {
				d.quant[id][at] = int32(b[1+2*i])<<8 | int32(b[2+2*i])
			} else {
				d.quant[id][at] = int32(b[1+i])
			}
		}
		b = b[1+size:]
	}
	return nil
}

func (d *baseline) readHuffman(b []byte) error {
	for len(b) > 0 {
		if len(b) < 17 || b[0]>>4 > 1 || b[0]&15 > 3 {
			return fmt.Errorf("a Huffman table is wrong")
		}
		t := &d.huffman[b[0]>>4][b[0]&15]
		code, place := int32(0), 0
		for length := 1; length <= 16; length++ {
			n := int(b[length])
			t.least[length], t.beyond[length], t.first[length] = code, code+int32(n), place
			code, place = (code+int32(n))<<1, place+n
		}
		if place > 256 || len(b) < 17+place {
			return fmt.Errorf("a Huffman table is cut off")
		}
		t.symbols, b = b[17:17+place], b[17+place:]
	}
	return nil
}

func (d *baseline) readFrame(b []byte) error {
	if len(b) < 6 || b[0] != 8 || d.parts != nil || len(b) != 6+3*int(b[5]) || b[5] != 1 && b[5] != 3 {
		return errOtherJPEG
	}
	d.height, d.width = int(b[1])<<8|int(b[2]), int(b[3])<<8|int(b[4])
	for b = b[6:]; len(b) > 0; b = b[3:] {
		c := component{id: int(b[0]), h: int(b[1] >> 4), v: int(b[1] & 15), quant: int(b[2] & 3)}
		if len(b) == 3 && d.parts == nil {
			c.h, c.v = 1, 1 // a single component has no subsampling
		}
		d.parts = append(d.parts, c)
	}
	luma := d.parts[0]
	if luma.h < 1 || luma.h > 2 || luma.v < 1 || luma.v > luma.h || luma.id == 'R' || d.width*d.height == 0 || d.width > maxImagePixels/d.height {
		return errOtherJPEG
	}
	for i := range d.parts {
		c := &d.parts[i]
		if i > 0 && (c.h != 1 || c.v != 1) {
			return errOtherJPEG
		}
		c.stride = (d.width + 8*luma.h - 1) / (8 * luma.h) * 8 * c.h
		c.pix = make([]byte, c.stride*((d.height+8*luma.v-1)/(8*luma.v)*8*c.v))
	}
	return nil
}

// readScan decodes the one scan, which must hold all components.
func (d *baseline) readScan(b []byte) error {
	if len(d.parts) == 0 || len(b) != 4+2*len(d.parts) || int(b[0]) != len(d.parts) {
		return errOtherJPEG
	}
	for i := range d.parts {
		c := &d.parts[i]
		if int(b[1+2*i]) != c.id {
			return errOtherJPEG
		}
		c.dc, c.ac = int(b[2+2*i]>>4)&3, int(b[2+2*i])&3
	}
	luma := d.parts[0]
	cols, rows := luma.stride/(8*luma.h), len(luma.pix)/luma.stride/(8*luma.v)
	for mcu := range cols * rows {
		if d.restart > 0 && mcu > 0 && mcu%d.restart == 0 {
			if err := d.nextInterval(); err != nil {
				return err
			}
		}
		for i := range d.parts {
			c := &d.parts[i]
			for k := range c.h * c.v {
				x, y := (mcu%cols*c.h+k%c.h)*8, (mcu/cols*c.v+k/c.h)*8
				if err := d.block(c, c.pix[y*c.stride+x:]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// nextInterval passes over a restart marker.
func (d *baseline) nextInterval() error {
	if len(d.data) < 2 || d.data[0] != 0xff || d.data[1]&0xf8 != 0xd0 {
		return fmt.Errorf("a restart marker is missing")
	}
	d.data, d.bits, d.count = d.data[2:], 0, 0
	for i := range d.parts {
		d.parts[i].last = 0
	}
	return nil
}

// bit is the next one. A byte 0xff is followed by 0, which is not data.
func (d *baseline) bit() (int32, error) {
	if d.count == 0 {
		if len(d.data) < 2 || d.data[0] == 0xff && d.data[1] != 0 {
			return 0, fmt.Errorf("the data end early")
		}
		d.bits, d.count = uint32(d.data[0]), 8
		if d.data[0] == 0xff {
			d.data = d.data[1:]
		}
		d.data = d.data[1:]
	}
	d.count--
	return int32(d.bits>>d.count) & 1, nil
}

// value is a number of n bits, of which those with a leading 0 are negative.
func (d *baseline) value(n int) (int32, error) {
	v := int32(0)
	for range n {
		b, err := d.bit()
		if err != nil {
			return 0, err
		}
		v = v<<1 | b
	}
	if n > 0 && v < 1<<(n-1) {
		v += 1 - 1<<n
	}
	return v, nil
}

func (d *baseline) symbol(t *huffmanTable) (int, error) {
	code := int32(0)
	for length := 1; length <= 16; length++ {
		b, err := d.bit()
		if err != nil {
			return 0, err
		}
		if code = code<<1 | b; code >= t.least[length] && code < t.beyond[length] {
			return int(t.symbols[t.first[length]+int(code-t.least[length])]), nil
		}
	}
	return 0, fmt.Errorf("a code is not in its table")
}

// block decodes 8 by 8 samples.
func (d *baseline) block(c *component, dst []byte) error {
	var coef [64]int32
	order, quant := zigzag(), &d.quant[c.quant]
	n, err := d.symbol(&d.huffman[0][c.dc])
	if err != nil {
		return err
	}
	diff, err := d.value(n & 15)
	if err != nil {
		return err
	}
	c.last += diff
	coef[0] = c.last * quant[0]
	for k := 1; k < 64; k++ {
		s, err := d.symbol(&d.huffman[1][c.ac])
		if err != nil {
			return err
		}
		run, size := s>>4, s&15
		if size == 0 {
			if run < 15 {
				break
			}
			k += 15
			continue
		}
		v, err := d.value(size)
		if err != nil {
			return err
		}
		if k += run; k > 63 {
			return fmt.Errorf("a block has too many coefficients")
		}
		coef[order[k]] = v * quant[order[k]]
	}
	inverseCosine(&coef)
	for y := range 8 {
		for x := range 8 {
			dst[y*c.stride+x] = byte(min(max(coef[8*y+x]+128, 0), 255))
		}
	}
	return nil
}

// image shares the planes.
func (d *baseline) image() (image.Image, error) {
	rect := image.Rect(0, 0, d.width, d.height)
	luma := d.parts[0]
	if len(d.parts) == 1 {
		return &image.Gray{Pix: luma.pix, Stride: luma.stride, Rect: rect}, nil
	}
	ratio := image.YCbCrSubsampleRatio444
	switch {
	case luma.h == 2 && luma.v == 2:
		ratio = image.YCbCrSubsampleRatio420
	case luma.h == 2:
		ratio = image.YCbCrSubsampleRatio422
	}
	return &image.YCbCr{
		Y: luma.pix, Cb: d.parts[1].pix, Cr: d.parts[2].pix, YStride: luma.stride, CStride: d.parts[1].stride,
		SubsampleRatio: ratio, Rect: rect,
	}, nil
}

// inverseCosine is the accurate integer transform of libjpeg (jidctint.c; Loeffler,
// Ligtenberg and Moschytz, "Practical fast 1-D DCT algorithms with 11
// multiplications", 1989): columns, then rows.
func inverseCosine(b *[64]int32) {
	for i := range 8 {
		inverse8(b, i, 8, 11)
	}
	for i := range 8 {
		inverse8(b, 8*i, 1, 18)
	}
}

// inverse8 transforms the 8 numbers from at on, step apart, and drops shift bits.
// Constants have 13 bits behind the point.
func inverse8(b *[64]int32, at, step, shift int) {
	in := func(i int) int32 { return b[at+i*step] }
	z1 := (in(2) + in(6)) * 4433
	even2, even3 := z1-in(6)*15137, z1+in(2)*6270
	even0, even1 := (in(0)+in(4))<<13, (in(0)-in(4))<<13
	even := [4]int32{even0 + even3, even1 + even2, even1 - even2, even0 - even3}

	t0, t1, t2, t3 := in(7), in(5), in(3), in(1)
	z1, z2, z3, z4 := t0+t3, t1+t2, t0+t2, t1+t3
	z5 := (z3 + z4) * 9633
	z1, z2, z3, z4 = -z1*7373, -z2*20995, z5-z3*16069, z5-z4*3196
	odd := [4]int32{t3*12299 + z1 + z4, t2*25172 + z2 + z3, t1*16819 + z2 + z4, t0*2446 + z1 + z3}

	round := int32(1) << (shift - 1)
	for i := range 4 {
		b[at+i*step] = (even[i] + odd[i] + round) >> shift
		b[at+(7-i)*step] = (even[i] - odd[i] + round) >> shift
	}
}
