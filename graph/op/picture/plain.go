package picture

import (
	"bytes"
	endian "encoding/binary"
	"fmt"
)

// decodeBMP reads Windows bitmaps without compression, of 8, 24 or 32 bits.
func decodeBMP(data []byte) (*picture, error) {
	if len(data) < 54 {
		return nil, fmt.Errorf("%d bytes are too few", len(data))
	}
	le := endian.LittleEndian
	start, header := int(le.Uint32(data[10:])), int(le.Uint32(data[14:]))
	width, height := int(int32(le.Uint32(data[18:]))), int(int32(le.Uint32(data[22:])))
	bits, compression := int(le.Uint16(data[28:])), le.Uint32(data[30:])
	upsideDown := height > 0
	if height < 0 {
		height = -height
	}
	if header < 40 || compression != 0 && !(compression == 3 && bits == 32) || bits != 8 && bits != 24 && bits != 32 {
		return nil, fmt.Errorf("%d bits with compression %d are not supported", bits, compression)
	}
	p, err := newPicture(width, height)
	if err != nil {
		return nil, err
	}
	stride := (width*bits/8 + 3) &^ 3
	if start < 0 || start > len(data) || len(data)-start < stride*height {
		return nil, fmt.Errorf("%d bytes are too few for %d by %d pixels", len(data), width, height)
	}
	palette := data[min(14+header, len(data)):]
	for y := range height {
		line := y
		if upsideDown {
			line = height - 1 - y
		}
		row := data[start+line*stride:]
		for x := range width {
			bgr := row[x*bits/8:]
			if bits == 8 {
				if bgr = palette[min(4*int(row[x]), len(palette)):]; len(bgr) < 3 {
					return nil, fmt.Errorf("colour %d is not in the palette", row[x])
				}
			}
			copy(p.pix[3*(y*width+x):], []byte{bgr[2], bgr[1], bgr[0]})
		}
	}
	return p, nil
}

// pnm reads the numbers of a portable any-map: text, with comments.
type pnm struct {
	rest []byte
}

// number reads white space and then digits.
func (r *pnm) number() (int, error) {
	for len(r.rest) > 0 {
		switch c := r.rest[0]; {
		case c == '#':
			end := bytes.IndexByte(r.rest, '\n')
			if end < 0 {
				end = len(r.rest) - 1
			}
			r.rest = r.rest[end+1:]
		case c == ' ' || c >= '\t' && c <= '\r':
			r.rest = r.rest[1:]
		case c >= '0' && c <= '9':
			n := 0
			for len(r.rest) > 0 && r.rest[0] >= '0' && r.rest[0] <= '9' && n < 1<<30 {
				n = 10*n + int(r.rest[0]-'0')
				r.rest = r.rest[1:]
			}
			return n, nil
		default:
			return 0, fmt.Errorf("%q where a number is expected", c)
		}
	}
	return 0, fmt.Errorf("the file ends early")
}

// decodePNM reads portable bit-, gray- and pixmaps, text or endian. Values up to
// another maximum are scaled to 255.
func decodePNM(data []byte) (*picture, error) {
	kind, r := data[1], &pnm{data[2:]}
	var size [3]int
	size[2] = 1
	for i := range size {
		if i == 2 && (kind == '1' || kind == '4') {
			break
		}
		var err error
		if size[i], err = r.number(); err != nil {
			return nil, err
		}
	}
	limit := size[2]
	if limit < 1 || limit > 65535 {
		return nil, fmt.Errorf("the greatest value is %d, expected at most 65535", limit)
	}
	p, err := newPicture(size[0], size[1])
	if err != nil {
		return nil, err
	}
	if kind >= '4' {
		if len(r.rest) == 0 {
			return nil, fmt.Errorf("the file ends early")
		}
		r.rest = r.rest[1:] // one white space
	}
	if kind == '4' {
		return p, p.readBits(r.rest)
	}
	return p, p.readPNM(r, kind, limit)
}

func (p *picture) readPNM(r *pnm, kind byte, limit int) error {
	samples := 1
	if kind == '3' || kind == '6' {
		samples = 3
	}
	for i := range p.width * p.height {
		for s := range samples {
			n, err := r.sample(kind, limit)
			if err != nil {
				return err
			}
			if kind == '1' {
				n = 1 - min(n, 1)
			}
			p.pix[3*i+s] = byte((min(n, limit)*255 + limit/2) / limit)
		}
		if samples == 1 {
			p.pix[3*i+1], p.pix[3*i+2] = p.pix[3*i], p.pix[3*i]
		}
	}
	return nil
}

// sample reads one value: a digit in bitmaps, a number in text, or 1 or 2 bytes.
func (r *pnm) sample(kind byte, limit int) (int, error) {
	switch {
	case kind == '1':
		for len(r.rest) > 0 {
			c := r.rest[0]
			r.rest = r.rest[1:]
			if c == '0' || c == '1' {
				return int(c - '0'), nil
			}
		}
	case kind < '4':
		return r.number()
	case limit < 256 && len(r.rest) > 0:
		n := int(r.rest[0])
		r.rest = r.rest[1:]
		return n, nil
	case limit > 255 && len(r.rest) > 1:
		n := int(endian.BigEndian.Uint16(r.rest))
		r.rest = r.rest[2:]
		return n, nil
	}
	return 0, fmt.Errorf("the file ends early")
}

// readBits reads a binary bitmap, in which 1 is black.
func (p *picture) readBits(data []byte) error {
	stride := (p.width + 7) / 8
	if len(data) < stride*p.height {
		return fmt.Errorf("%d bytes are too few for %d by %d pixels", len(data), p.width, p.height)
	}
	for y := range p.height {
		for x := range p.width {
			if data[y*stride+x/8]>>(7-x%8)&1 == 0 {
				copy(p.pix[3*(y*p.width+x):], []byte{255, 255, 255})
			}
		}
	}
	return nil
}
