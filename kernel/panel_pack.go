package kernel

import (
	"fmt"

	"tandem/kernel/ref"
	"tandem/tensor/block"
)

// Weight rows for Linear, packed. In blocks of few bits they lie in panels of 16
// rows (ref.Panel), the same on every tier; floats lie in panels of the tile
// kernel's width, [columns][rows].

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
			if floatSize(f) > 0 {
				packFloats(f, to, from, n, columns, high)
			} else {
				packPanel(f, to, from, n, columns)
			}
		}
	})
}

func packFloats(f block.Format, dst, src []byte, rows, columns, high int) {
	size := floatSize(f)
	for r := range rows {
		for c := range columns {
			copy(dst[(c*high+r)*size:][:size], src[(r*columns+c)*size:])
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

// packTiny places a block of 32, which has one scale.
func packTiny(p ref.Panel, pair, from []byte, row, half int) {
	copy(pair[p.ScalesAt()+32*half+2*row:], from[:2])
	for i, q := range from[2:p.Format.Bytes()] {
		if p.Wide {
			p.PutCode(pair, row, 32*half+i, int(q^0x80))
			continue
		}
		p.PutCode(pair, row, 32*half+i, int(q&15))
		p.PutCode(pair, row, 32*half+16+i, int(q>>4))
	}
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
		for c, code := range b.codes[64*i:][:64] {
			p.PutCode(pair, row, c, int(code))
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

// superBlock is a block of 256 taken apart: codes counted from zero, steps for 32
// (or 16) numbers, offsets.
type superBlock struct {
	dAt     int // where the super-scale lies
	codes   [256]byte
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
		part := i / 32
		code := low[part/2*32+i%32] >> (part % 2 * 4) & 15
		if high != nil {
			code |= high[i%32] >> part & 1 << 4
		}
		b.codes[i] = code
	}
}

func (b *superBlock) readSix(from []byte) {
	low, high := from[:128], from[128:192]
	copy(b.steps[:], from[192:208])
	b.dAt = 208
	for i := range b.codes {
		h, at := i/128, i%128
		b.codes[i] = low[h*64+at%64]>>(at/64*4)&15 | high[h*32+at%32]>>(at/32*2)&3<<4
	}
}
