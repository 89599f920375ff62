package picture

import (
	"bytes"
	"compress/zlib"
	endian "encoding/binary"
	"fmt"
	"io"
)

// tiff is a TIFF file with the numbers of its first directory by tag.
type tiff struct {
	data  []byte
	order endian.ByteOrder
	tags  map[int][]int
}

// The tags that are read (TIFF 6.0, section 8 and following).
const (
	tiffWidth        = 256
	tiffHeight       = 257
	tiffBits         = 258
	tiffCompression  = 259
	tiffPhotometric  = 262
	tiffStrips       = 273
	tiffSamples      = 277
	tiffRowsPerStrip = 278
	tiffStripBytes   = 279
	tiffPlanar       = 284
	tiffPredictor    = 317
	tiffColors       = 320
)

// maxTIFFValues bounds the entries of a directory and of a list in it.
const maxTIFFValues = 1 << 20

func (t *tiff) directory() error {
	if len(t.data) < 8 {
		return fmt.Errorf("%d bytes are too few", len(t.data))
	}
	at := int(t.order.Uint32(t.data[4:]))
	if at+2 > len(t.data) {
		return fmt.Errorf("the directory is behind the end")
	}
	for i := range int(t.order.Uint16(t.data[at:])) {
		entry := at + 2 + 12*i
		if entry+12 > len(t.data) {
			return fmt.Errorf("the directory is cut off")
		}
		e := t.data[entry : entry+12]
		values, err := t.values(int(t.order.Uint16(e[2:])), int(t.order.Uint32(e[4:])), e[8:])
		if err != nil {
			return err
		}
		t.tags[int(t.order.Uint16(e))] = values
	}
	return nil
}

// values are n numbers of 1, 2 or 4 bytes, in the entry itself if they fit.
// Entries of other types are passed over.
func (t *tiff) values(kind, n int, field []byte) ([]int, error) {
	size := map[int]int{1: 1, 3: 2, 4: 4}[kind]
	if size == 0 {
		return nil, nil
	}
	if n > maxTIFFValues {
		return nil, fmt.Errorf("a list of %d numbers is over the limit of %d", n, maxTIFFValues)
	}
	if n*size > 4 {
		at := int(t.order.Uint32(field))
		if at+n*size > len(t.data) {
			return nil, fmt.Errorf("a list is behind the end")
		}
		field = t.data[at:]
	}
	out := make([]int, n)
	for i := range out {
		switch size {
		case 1:
			out[i] = int(field[i])
		case 2:
			out[i] = int(t.order.Uint16(field[2*i:]))
		case 4:
			out[i] = int(t.order.Uint32(field[4*i:]))
		}
	}
	return out, nil
}

func (t *tiff) get(tag, def int) int {
	if v := t.tags[tag]; len(v) > 0 {
		return v[0]
	}
	return def
}

// decodeTIFF reads the first picture of a file in strips of 8-bit samples: gray,
// palette or RGB, without compression or with PackBits or Deflate.
func decodeTIFF(data []byte) (*picture, error) {
	t := &tiff{data: data, order: endian.LittleEndian, tags: map[int][]int{}}
	if data[0] == 'M' {
		t.order = endian.BigEndian
	}
	if err := t.directory(); err != nil {
		return nil, err
	}
	p, err := newPicture(t.get(tiffWidth, 0), t.get(tiffHeight, 0))
	if err != nil {
		return nil, err
	}
	samples, kind := t.get(tiffSamples, 1), t.get(tiffPhotometric, 1)
	colors := map[int]int{0: 1, 1: 1, 2: 3, 3: 1}[kind]
	for _, bits := range t.tags[tiffBits] {
		if bits != 8 {
			return nil, fmt.Errorf("samples of %d bits are not supported", bits)
		}
	}
	if len(t.tags[tiffBits]) == 0 || colors == 0 || samples < colors || samples > 16 || t.get(tiffPlanar, 1) != 1 || t.get(tiffPredictor, 1) != 1 {
		return nil, fmt.Errorf("%d samples in colour space %d are not supported in this arrangement", samples, kind)
	}
	pix, err := t.strips(p.width*samples, p.height)
	if err != nil {
		return nil, err
	}
	palette := t.tags[tiffColors]
	if kind == 3 && len(palette) < 3*256 {
		return nil, fmt.Errorf("the palette has %d numbers", len(palette))
	}
	for i := range p.width * p.height {
		from, to := pix[i*samples:], p.pix[3*i:3*i+3]
		for c := range to {
			switch kind {
			case 0:
				to[c] = 255 - from[0]
			case 1:
				to[c] = from[0]
			case 2:
				to[c] = from[c]
			case 3:
				to[c] = byte(palette[c*256+int(from[0])] >> 8)
			}
		}
	}
	return p, nil
}

// strips are the rows of all strips, one after the other.
func (t *tiff) strips(stride, height int) ([]byte, error) {
	offsets, sizes := t.tags[tiffStrips], t.tags[tiffStripBytes]
	if len(offsets) == 0 || len(offsets) != len(sizes) {
		return nil, fmt.Errorf("%d strips with %d sizes", len(offsets), len(sizes))
	}
	rows := min(t.get(tiffRowsPerStrip, height), height)
	pix := make([]byte, 0, stride*height)
	for i, at := range offsets {
		want := min(rows*stride, stride*height-len(pix))
		if at+sizes[i] > len(t.data) {
			return nil, fmt.Errorf("strip %d is behind the end", i)
		}
		strip, err := t.expand(t.data[at:at+sizes[i]], want)
		if err != nil {
			return nil, fmt.Errorf("strip %d: %w", i, err)
		}
		if len(strip) < want {
			return nil, fmt.Errorf("strip %d has %d bytes, expected %d", i, len(strip), want)
		}
		pix = append(pix, strip[:want]...)
	}
	if len(pix) < stride*height {
		return nil, fmt.Errorf("the strips hold %d bytes, expected %d", len(pix), stride*height)
	}
	return pix, nil
}

// expand undoes the compression of a strip, up to want bytes.
func (t *tiff) expand(data []byte, want int) ([]byte, error) {
	switch n := t.get(tiffCompression, 1); n {
	case 1:
		return data, nil
	case 8, 32946:
		r, err := zlib.NewReader(bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		return io.ReadAll(io.LimitReader(r, int64(want)))
	case 32773:
		return packBitsRuns(data, want), nil
	default:
		return nil, fmt.Errorf("compression %d is not supported", n)
	}
}

// packBitsRuns: n ≥ 0 copies n+1 bytes, n < 0 repeats the next one 1-n times.
func packBitsRuns(data []byte, want int) []byte {
	var out []byte
	for len(data) > 1 && len(out) < want {
		n := int(int8(data[0]))
		data = data[1:]
		switch {
		case n >= 0:
			n = min(n+1, len(data))
			out, data = append(out, data[:n]...), data[n:]
		case n > -128:
			out, data = append(out, bytes.Repeat(data[:1], 1-n)...), data[1:]
		}
	}
	return out
}
