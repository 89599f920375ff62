package ref

import (
	"math"

	"tandem/tensor"
	"tandem/tensor/block"
)

// PanelRows is the number of weight rows that lie side by side in a panel.
const PanelRows = 16

// Panel is how weights in blocks are laid out for the row kernels: 16 rows side
// by side, along their columns in groups. A group begins with Head bytes (the
// super-scales of 256 columns: 16 scales, then 16 scales of the offsets, as f16)
// and holds Pairs of blocks. A pair is 64 columns:
//
//   - low bits, in vectors of 64 bytes, byte 4·row + c for four columns c. Eight
//     vectors, two nibbles a byte (the first block's low), or sixteen whole bytes;
//   - High bits that do not fit, in planes: bit 1·quad of a byte (of a vector for
//     each block), or bits 2·(quad mod 4) (of two vectors for each block);
//   - scales of 64 bytes: 16 f16 for each block; or for each block 16 bytes of
//     scales and 16 of offsets; or 16 signed bytes for each 16 columns.
//
// A panel takes one byte in forty more than the blocks of a file, and no load
// crosses a cache line.
type Panel struct {
	Format block.Format
	Head   int
	Pairs  int
	High   int
	Wide   bool // whole bytes
	Tiny   bool // f16 scales, no super-scales
	Mins   bool // codes count from zero and blocks have an offset; else they are centred
	Split  bool // a scale for 16 columns
}

// PanelOf is the layout for a format; false if there is none.
func PanelOf(f block.Format) (Panel, bool) {
	switch f {
	case block.Q8_0:
		return Panel{Format: f, Pairs: 1, Wide: true, Tiny: true}, true
	case block.Q4_0:
		return Panel{Format: f, Pairs: 1, Tiny: true}, true
	case block.Q4_K:
		return Panel{Format: f, Head: 64, Pairs: 4, Mins: true}, true
	case block.Q5_K:
		return Panel{Format: f, Head: 64, Pairs: 4, High: 1, Mins: true}, true
	case block.Q6_K:
		return Panel{Format: f, Head: 64, Pairs: 4, High: 2, Split: true}, true
	}
	return Panel{}, false
}

// LowBytes are those of a pair's low bits.
func (p Panel) LowBytes() int {
	if p.Wide {
		return 1024
	}
	return 512
}

// ScalesAt is where a pair's scales begin.
func (p Panel) ScalesAt() int { return p.LowBytes() + p.High*128 }

// PairBytes is the size of a pair.
func (p Panel) PairBytes() int { return p.ScalesAt() + 64 }

// GroupBytes is the size of a group.
func (p Panel) GroupBytes() int { return p.Head + p.Pairs*p.PairBytes() }

// GroupColumns is the number of columns of a group.
func (p Panel) GroupColumns() int { return 64 * p.Pairs }

// Groups is the number of groups that hold so many columns.
func (p Panel) Groups(columns int) int { return (columns + p.GroupColumns() - 1) / p.GroupColumns() }

// Bytes is the size of a panel of so many columns.
func (p Panel) Bytes(columns int) int { return p.Groups(columns) * p.GroupBytes() }

// Center is what codes are counted from where blocks have no offset of their own.
func (p Panel) Center() int {
	switch p.Format {
	case block.Q8_0:
		return 128
	case block.Q4_0:
		return 8
	case block.Q6_K:
		return 32
	}
	return 0
}

// Code reads the code of a column of a row of a pair.
func (p Panel) Code(pair []byte, row, column int) int {
	half, quad := column/32, column%32/4
	at := 4*row + column%4
	if p.Wide {
		return int(pair[half*512+quad*64+at])
	}
	code := int(pair[quad*64+at]) >> (4 * half) & 15
	switch p.High {
	case 1:
		code |= int(pair[512+half*64+at]) >> quad & 1 << 4
	case 2:
		code |= int(pair[512+half*128+quad/4*64+at]) >> (2 * (quad % 4)) & 3 << 4
	}
	return code
}

// Scale is that of a row for 16 columns, and its offset.
func (p Panel) Scale(group, pair []byte, row, column int) (scale, offset float32) {
	half, s := column/32, pair[p.ScalesAt():]
	if p.Tiny {
		return Half(s[32*half+2*row:]), 0
	}
	super := Half(group[2*row:])
	if p.Split {
		return super * float32(int8(s[column/16*16+row])), 0
	}
	return super * float32(s[32*half+row]), Half(group[32+2*row:]) * float32(s[32*half+16+row])
}

// Row multiplies a row of a panel with records of quantised activations: one
// chain over blocks, each the integer product of its codes times both scales.
func (p Panel) Row(panel, records []byte, row, groups int) float32 {
	var sum float32
	for g := range groups {
		group := panel[g*p.GroupBytes():]
		for i := range p.Pairs {
			pair := group[p.Head+i*p.PairBytes():]
			for half := range 2 {
				r := records[((g*p.Pairs+i)*2+half)*RecordBytes:]
				sum = p.block(sum, group, pair, r, row, half)
			}
		}
	}
	return sum
}

func (p Panel) block(sum float32, group, pair, r []byte, row, half int) float32 {
	step := 32
	if p.Split {
		step = 16
	}
	for c := 0; c < 32; c += step {
		dot := 0
		for j := c; j < c+step; j++ {
			dot += (p.Code(pair, row, half*32+j) - p.Center()) * int(int8(r[j]))
		}
		scale, offset := p.Scale(group, pair, row, half*32+c)
		sum += float32(float32(dot) * float32(scale*Word(r, recordScale)))
		if p.Mins {
			sum -= float32(offset * Word(r, recordSum))
		}
	}
	return sum
}

// Weight is the number that a code stands for.
func (p Panel) Weight(panel []byte, row, column int) float32 {
	g, c := column/p.GroupColumns(), column%p.GroupColumns()
	group := panel[g*p.GroupBytes():]
	pair := group[p.Head+c/64*p.PairBytes():]
	scale, offset := p.Scale(group, pair, row, c%64)
	return scale*float32(p.Code(pair, row, c%64)-p.Center()) - offset
}

// Super reports whether scales of blocks are multiples of those of 256 columns, and the
// activations have one scale for as many.
func (p Panel) Super() bool { return p.Head > 0 }

// A record holds 32 activations: signed bytes; their scale; minus 128 times their
// sum; the sum times the scale; minus 128 times the sums of the first and the
// last sixteen. With a scale for 256, which eight records repeat, it is minus 16 times
// their sum, and minus 32 times the sums of sixteen.
const (
	RecordBytes = 52

	// SuperColumns have one scale in records that QuantizeSuper writes.
	SuperColumns = 256
	// MostMagnitude bounds the magnitudes of sixteen activations there: a dot product
	// with codes of 6 bits, or of 32 with codes of 5 bits, has 16 bits then.
	MostMagnitude = 1<<15/32 - 1

	recordScale, recordStart, recordSum, recordLow, recordHigh = 32, 36, 40, 44, 48
)

// Quantize writes len(x)/32 records. The scale maps the largest magnitude of the
// 32 to 127; halves round to even.
func Quantize(dst []byte, x []float32) {
	for len(x) >= 32 {
		quantizeRecord(dst[:RecordBytes], x[:32])
		dst, x = dst[RecordBytes:], x[32:]
	}
}

func quantizeRecord(dst []byte, x []float32) {
	top := largest(x)
	putRecord(dst, x, top/127, 127/max(top, 1e-30), 128, 128)
}

func largest(x []float32) float32 {
	var top float32
	for _, v := range x {
		top = max(top, float32(math.Abs(float64(v))))
	}
	return top
}

// QuantizeSuper writes len(x)/32 records with one scale for 256 columns. It maps the
// largest magnitude to 127, or to less where sixteen activations would be more than
// MostMagnitude together.
func QuantizeSuper(dst []byte, x []float32) {
	const records = SuperColumns / 32
	write := func(scale, inverse float32) (most int32) {
		for i := range records {
			most = max(most, putRecord(dst[i*RecordBytes:][:RecordBytes], x[32*i:][:32], scale, inverse, 16, 32))
		}
		return most
	}
	for len(x) >= SuperColumns {
		top := largest(x[:SuperColumns])
		scale, inverse := top/127, 127/max(top, 1e-30)
		if most := write(scale, inverse); most > MostMagnitude {
			// Rounding adds a half to each of sixteen, before and after.
			less := float32(most+8) / (MostMagnitude - 8)
			write(scale*less, inverse/less)
		}
		dst, x = dst[records*RecordBytes:], x[SuperColumns:]
	}
}

// putRecord writes a record; center and half are what stands before the sums of all and
// of sixteen. It returns the larger sum of sixteen magnitudes.
func putRecord(dst []byte, x []float32, scale, inverse float32, center, half int32) int32 {
	var sums, magnitudes [2]int32
	for i, v := range x {
		q := int32(math.RoundToEven(float64(v * inverse)))
		dst[i] = byte(q)
		sums[i/16] += q
		magnitudes[i/16] += max(q, -q)
	}
	put := func(at int, v uint32) {
		dst[at], dst[at+1], dst[at+2], dst[at+3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
	}
	sum := sums[0] + sums[1]
	put(recordScale, math.Float32bits(scale))
	put(recordStart, uint32(-center*sum))
	put(recordSum, math.Float32bits(float32(sum)*scale))
	put(recordLow, uint32(-half*sums[0]))
	put(recordHigh, uint32(-half*sums[1]))
	return max(magnitudes[0], magnitudes[1])
}

// Word reads a float32 of a record.
func Word(r []byte, at int) float32 {
	return math.Float32frombits(uint32(r[at]) | uint32(r[at+1])<<8 | uint32(r[at+2])<<16 | uint32(r[at+3])<<24)
}

// Half reads a float16.
func Half(b []byte) float32 { return tensor.Float16From(uint16(b[0]) | uint16(b[1])<<8) }
