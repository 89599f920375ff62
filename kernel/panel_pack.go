package kernel

import (
	endian "encoding/binary"
	"fmt"
	"unsafe"

	"tandem/kernel/ref"
	"tandem/tensor/block"
)

// Weight rows for Linear, packed. In blocks of few bits they lie in panels of 16
// rows (ref.Panel), the same on every tier; floats lie in panels of the tile
// kernel's width, [columns][rows], or, where products of two bfloat16 are added at a time,
// [columns/2][rows][2].

// CanPack reports whether Linear has a form for weights of this format.
func CanPack(f block.Format) bool {
	_, ok := ref.PanelOf(f)
	return ok || floatSize(f) > 0
}

// floatSize is the size of an element of a format without scales, 0 for others.
func floatSize(f block.Format) int {
	switch f {
	case block.F32:
		return 4
	case block.F16, block.BF16:
		return 2
	}
	return 0
}

// PanelRows is the number of weight rows that are packed side by side.
func PanelRows(f block.Format, isa ISA) int {
	if floatSize(f) > 0 {
		return shapeOf(isa).cols
	}
	return ref.PanelRows
}

// PanelBytes is the size of one panel of so many columns.
func PanelBytes(f block.Format, columns int, isa ISA) int {
	if f == block.BF16 {
		columns += columns & 1 // on every tier: for whole pairs
	}
	if size := floatSize(f); size > 0 {
		return columns * shapeOf(isa).cols * size
	}
	p, ok := ref.PanelOf(f)
	if !ok {
		panic(fmt.Sprintf("kernel: no panels of %v", f))
	}
	return p.Bytes(columns)
}

// PackedBytes is the size of a matrix of rows × columns in panels.
func PackedBytes(f block.Format, rows, columns int, isa ISA) int {
	return ceilDiv(rows, PanelRows(f, isa)) * PanelBytes(f, columns, isa)
}

// PackRows packs rows × columns weights, which lie row by row in blocks of f as a
// GGUF file has them, into dst, which is zero. columns is a multiple of the block.
func PackRows(p *Pool, f block.Format, dst, src []byte, rows, columns int) {
	checkLen("PackRows", "src", len(src), f.Size(rows*columns))
	checkLen("PackRows", "dst", len(dst), PackedBytes(f, rows, columns, p.isa))
	high, size, row := PanelRows(f, p.isa), PanelBytes(f, columns, p.isa), f.Size(columns)
	p.For(ceilDiv(rows, high), 1, func(lo, hi, _ int) {
		for i := lo; i < hi; i++ {
			n := min(high, rows-i*high)
			from, to := src[i*high*row:][:n*row], dst[i*size:][:size]
			switch {
			case p.pairs(f):
				packPairs(to, from, n, columns, high, p.isa)
			case floatSize(f) > 0:
				packFloats(f, to, from, n, columns, high)
			default:
				packPanel(f, to, from, n, columns)
			}
		}
	})
}

// CanUnpack reports whether UnpackRow reads panels of this format.
func CanUnpack(f block.Format) bool {
	_, ok := ref.PanelOf(f)
	return ok
}

// UnpackRow reads a row of weights that PackRows has packed.
func UnpackRow(f block.Format, dst []float32, data []byte, row int) {
	p, _ := ref.PanelOf(f)
	panel, row := data[row/ref.PanelRows*p.Bytes(len(dst)):], row%ref.PanelRows
	center := p.Center()
	for c := 0; c < len(dst); c += 32 {
		group := panel[c/p.GroupColumns()*p.GroupBytes():]
		pair, half := group[p.Head+c%p.GroupColumns()/64*p.PairBytes():], c%64/32
		var scale, offset float32
		for q := range 8 {
			if q%4 == 0 { // as often as any format has another
				scale, offset = p.Scale(group, pair, row, 32*half+4*q)
			}
			codes := codesOf(p, pair, row, half, q)
			for i := range 4 {
				dst[c+4*q+i] = scale*float32(int(codes>>(8*i)&255)-center) - offset
			}
		}
	}
}

// codesOf reads the codes of four columns of a row of a pair, each in a byte.
func codesOf(p ref.Panel, pair []byte, row, half, quad int) uint32 {
	if p.Wide {
		return word(pair[512*half:], 16*quad+row)
	}
	codes := word(pair, 16*quad+row) >> (4 * half) & 0x0f0f0f0f
	switch p.High {
	case 1:
		codes |= word(pair[512+64*half:], row) >> quad & 0x01010101 << 4
	case 2:
		codes |= word(pair[512+128*half+quad/4*64:], row) >> (2 * (quad % 4)) & 0x03030303 << 4
	}
	return codes
}

func packFloats(f block.Format, dst, src []byte, rows, columns, high int) {
	size := floatSize(f)
	for r := range rows {
		for c := range columns {
			copy(dst[(c*high+r)*size:][:size], src[(r*columns+c)*size:])
		}
	}
}

// packPairs places the columns of a row two by two.
func packPairs(dst, src []byte, rows, columns, high int, isa ISA) {
	if columns%2 == 0 && uintptr(unsafe.Pointer(&src[0]))%4 == 0 {
		packTransposed(floatsAt(dst), floatsAt(src), columns/2, columns/2, rows, high, isa)
		return
	}
	for r := range rows {
		for c := range columns {
			copy(dst[(c/2*high+r)*4+c%2*2:][:2], src[(r*columns+c)*2:])
		}
	}
}

func packPanel(f block.Format, dst, src []byte, rows, columns int) {
	p, _ := ref.PanelOf(f)
	for r := range rows {
		from := src[r*f.Size(columns):][:f.Size(columns)]
		for c := 0; c < columns; c += f.Elements() {
			group := dst[c/p.GroupColumns()*p.GroupBytes():]
			if p.Tiny {
				packTiny(p, group, from, r, c%64/32)
			} else {
				packSuper(p, group, from, r)
			}
			from = from[f.Bytes():]
		}
	}
}

// The codes of four columns lie together: they are moved as words, several to a
// step. Words of a row are 64 bytes apart.

func word(b []byte, i int) uint32       { return endian.LittleEndian.Uint32(b[4*i:]) }
func putWord(b []byte, i int, v uint32) { endian.LittleEndian.PutUint32(b[4*i:], v) }

// packTiny places a block of 32, which has one scale.
func packTiny(p ref.Panel, pair, from []byte, row, half int) {
	copy(pair[p.ScalesAt()+32*half+2*row:], from[:2])
	codes := from[2:p.Format.Bytes()]
	if p.Wide {
		for q := range 8 {
			putWord(pair[half*512:], 16*q+row, word(codes, q)^0x80808080)
		}
		return
	}
	for q := range 4 {
		w := word(codes, q)
		orNibbles(pair, 16*q+row, w&0x0f0f0f0f, half)
		orNibbles(pair, 16*(q+4)+row, w>>4&0x0f0f0f0f, half)
	}
}

// orNibbles adds four codes of a block, the first of a pair in the low nibbles.
func orNibbles(pair []byte, at int, codes uint32, half int) {
	putWord(pair, at, word(pair, at)|codes<<(4*half))
}

// packSuper places a block of 256.
func packSuper(p ref.Panel, group, from []byte, row int) {
	var b superBlock
	b.read(p.Format, from)
	copy(group[2*row:], from[b.dAt:][:2])
	if p.Mins {
		copy(group[32+2*row:], from[2:4])
	}
	for i := range p.Pairs {
		pair := group[p.Head+i*p.PairBytes():][:p.PairBytes()]
		for q := range 16 {
			half, at := q/8, q%8
			w := b.codes[16*i+q]
			orNibbles(pair, 16*at+row, w&0x0f0f0f0f, half)
			switch high := w >> 4; p.High {
			case 1:
				plane := pair[512+half*64:]
				putWord(plane, row, word(plane, row)|high&0x01010101<<at)
			case 2:
				plane := pair[512+half*128+at/4*64:]
				putWord(plane, row, word(plane, row)|high&0x03030303<<(2*(at%4)))
			}
		}
		s := pair[p.ScalesAt():]
		if p.Split {
			for j := range 4 {
				s[16*j+row] = b.steps[4*i+j]
			}
			continue
		}
		for half := range 2 {
			s[32*half+row], s[32*half+16+row] = b.steps[2*i+half], b.offsets[2*i+half]
		}
	}
}

// superBlock is a block of 256 taken apart: codes counted from zero, four to a
// word; steps for 32 (or 16) numbers; offsets.
type superBlock struct {
	dAt     int // where the super-scale lies
	codes   [64]uint32
	steps   [16]byte
	offsets [8]byte
}

func (b *superBlock) read(f block.Format, from []byte) {
	if f == block.Q6_K {
		b.readSix(from)
		return
	}
	b.dAt = 0
	s := from[4:16]
	for j := range 4 {
		b.steps[j], b.offsets[j] = s[j]&63, s[j+4]&63
		b.steps[j+4] = s[j+8]&15 | s[j]>>6<<4
		b.offsets[j+4] = s[j+8]>>4 | s[j+4]>>6<<4
	}
	low, high := from[16:], []byte(nil)
	if f == block.Q5_K {
		high, low = from[16:48], from[48:]
	}
	for i := range b.codes {
		part, q := i/8, i%8
		w := word(low, part/2*8+q) >> (part % 2 * 4) & 0x0f0f0f0f
		if high != nil {
			w |= word(high, q) >> part & 0x01010101 << 4
		}
		b.codes[i] = w
	}
}

func (b *superBlock) readSix(from []byte) {
	low, high := from[:128], from[128:192]
	copy(b.steps[:], from[192:208])
	b.dAt = 208
	for i := range b.codes {
		h, at := i/32, i%32 // in words of a half
		w := word(low, h*16+at%16) >> (at / 16 * 4) & 0x0f0f0f0f
		b.codes[i] = w | word(high, h*8+at%8)>>(at/8*2)&0x03030303<<4
	}
}
