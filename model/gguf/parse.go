package gguf

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"

	"tandem/fault"
	"tandem/tensor/block"
)

const (
	magic            = "GGUF"
	oldest, newest   = 2, 3
	defaultAlignment = 32
	alignmentKey     = "general.alignment"

	maxAlignment     = 1 << 20
	maxPairs         = 1 << 16
	maxTensors       = 1 << 18
	maxNameBytes     = 1 << 16 // of a key or a tensor's name
	maxTextBytes     = 1 << 28
	maxArrayElements = 1 << 26
	maxRank          = 4
)

// The types of values, as the file numbers them.
const (
	typeUint8 = iota
	typeInt8
	typeUint16
	typeInt16
	typeUint32
	typeInt32
	typeFloat32
	typeBool
	typeText
	typeArray
	typeUint64
	typeInt64
	typeFloat64
)

// reader takes values off the front of foreign bytes. The first that is not there
// leaves an error, and all that follow are zero.
type reader struct {
	data []byte
	at   int
	err  error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("byte %d: "+format, append([]any{r.at}, args...)...)
	}
}

// take returns the next n bytes, or zeros if they are not all there and n is small.
func (r *reader) take(n int) []byte {
	if r.err == nil && n > len(r.data)-r.at {
		r.fail("the file ends within a value of %d bytes", n)
	}
	if r.err != nil {
		return make([]byte, min(n, 8))
	}
	b := r.data[r.at : r.at+n : r.at+n]
	r.at += n
	return b
}

func (r *reader) u8() uint8   { return r.take(1)[0] }
func (r *reader) u16() uint16 { return binary.LittleEndian.Uint16(r.take(2)) }
func (r *reader) u32() uint32 { return binary.LittleEndian.Uint32(r.take(4)) }
func (r *reader) u64() uint64 { return binary.LittleEndian.Uint64(r.take(8)) }

// count reads a length that must not exceed limit, nor the rest of the file if each
// takes size bytes.
func (r *reader) count(what string, limit, size int) int {
	n := r.u64()
	if n > uint64(limit) {
		r.fail("%d %s, at most %d are allowed", n, what, limit)
	} else if n > uint64((len(r.data)-r.at)/size) {
		r.fail("%d %s do not fit into the %d bytes that follow", n, what, len(r.data)-r.at)
	}
	if r.err != nil {
		return 0
	}
	return int(n)
}

func (r *reader) text(limit int) string { return string(r.take(r.count("bytes of text", limit, 1))) }

// name is a text that names something: valid UTF-8, not empty.
func (r *reader) name() string {
	s := r.text(maxNameBytes)
	if r.err == nil && (s == "" || !utf8.ValidString(s)) {
		r.fail("a name is empty or not UTF-8: %.40q", s)
	}
	return s
}

func (r *reader) bool() bool {
	b := r.u8()
	if b > 1 {
		r.fail("a bool is %d", b)
	}
	return b == 1
}

func (r *reader) value(kind uint32) any {
	switch kind {
	case typeUint8:
		return r.u8()
	case typeInt8:
		return int8(r.u8())
	case typeUint16:
		return r.u16()
	case typeInt16:
		return int16(r.u16())
	case typeUint32:
		return r.u32()
	case typeInt32:
		return int32(r.u32())
	case typeUint64:
		return r.u64()
	case typeInt64:
		return int64(r.u64())
	case typeFloat32:
		return math.Float32frombits(r.u32())
	case typeFloat64:
		return math.Float64frombits(r.u64())
	case typeBool:
		return r.bool()
	case typeText:
		return r.text(maxTextBytes)
	case typeArray:
		return r.array(r.u32())
	}
	r.fail("a value has the type %d, which is not known", kind)
	return nil
}

func (r *reader) array(kind uint32) any {
	switch kind {
	case typeUint8:
		return slices.Clone(r.take(r.count("elements", maxArrayElements, 1)))
	case typeInt8:
		return list(r, 1, func() int8 { return int8(r.u8()) })
	case typeUint16:
		return list(r, 2, r.u16)
	case typeInt16:
		return list(r, 2, func() int16 { return int16(r.u16()) })
	case typeUint32:
		return list(r, 4, r.u32)
	case typeInt32:
		return list(r, 4, func() int32 { return int32(r.u32()) })
	case typeUint64:
		return list(r, 8, r.u64)
	case typeInt64:
		return list(r, 8, func() int64 { return int64(r.u64()) })
	case typeFloat32:
		return list(r, 4, func() float32 { return math.Float32frombits(r.u32()) })
	case typeFloat64:
		return list(r, 8, func() float64 { return math.Float64frombits(r.u64()) })
	case typeBool:
		return list(r, 1, r.bool)
	case typeText:
		return r.texts()
	}
	r.fail("an array has elements of the type %d, which is not known or allowed", kind)
	return nil
}

func list[T any](r *reader, size int, next func() T) []T {
	v := make([]T, r.count("elements", maxArrayElements, size))
	for i := range v {
		v[i] = next()
	}
	return v
}

// texts reads an array of strings. They share one copy of the array's bytes: a
// vocabulary has hundreds of thousands.
func (r *reader) texts() []string {
	n := r.count("strings", maxArrayElements, 8)
	begin := r.at
	type span struct{ lo, hi int }
	spans := make([]span, n)
	for i := range spans {
		size := r.count("bytes of text", maxTextBytes, 1)
		spans[i] = span{r.at - begin, r.at - begin + size}
		r.take(size)
		if r.err != nil {
			return nil
		}
	}
	all := string(r.data[begin:r.at])
	v := make([]string, n)
	for i, s := range spans {
		v[i] = all[s.lo:s.hi]
	}
	return v
}

func parse(data []byte) (*File, error) {
	r := &reader{data: data}
	if string(r.take(4)) != magic {
		return nil, fmt.Errorf("the file does not begin with %q", magic)
	}
	version := r.u32()
	switch {
	case version&0xffff == 0 && version != 0:
		return nil, fault.New("gguf.parse", fault.Unsupported, "the file is big-endian")
	case version < oldest || version > newest:
		return nil, fault.New("gguf.parse", fault.Unsupported, "version %d of the format, expected %d or %d", version, oldest, newest)
	}
	f := &File{Version: int(version), Metadata: &Metadata{}, byName: map[string]int{}}
	tensors := r.count("tensors", maxTensors, 24) // a name, dimensions, an encoding and an offset take that at least
	pairs := r.count("pairs", maxPairs, 13)       // a key, a type and a value
	for range pairs {
		key := r.name()
		if f.Metadata.Has(key) {
			r.fail("the key %.200q is there twice", key)
		}
		value := r.value(r.u32())
		if r.err != nil {
			return nil, fmt.Errorf("metadata: %w", r.err)
		}
		f.Metadata.Set(key, value)
	}
	offsets := make([]uint64, tensors)
	f.Tensors = make([]Tensor, tensors)
	for i := range f.Tensors {
		t := &f.Tensors[i]
		offsets[i] = r.tensor(t)
		if _, twice := f.byName[t.Name]; twice {
			r.fail("the tensor %.200q is there twice", t.Name)
		}
		if r.err != nil {
			return nil, fmt.Errorf("tensor %d: %w", i, r.err)
		}
		f.byName[t.Name] = i
	}
	if r.err != nil {
		return nil, r.err
	}
	return f, f.place(data, r.at, offsets)
}

// tensor reads what the header tells of a tensor, and returns its offset.
func (r *reader) tensor(t *Tensor) uint64 {
	t.Name = r.name()
	rank := r.u32()
	if rank > maxRank {
		r.fail("%.200q has %d dimensions, at most %d are allowed", t.Name, rank, maxRank)
		return 0
	}
	t.Shape = make([]int, rank)
	total := uint64(1)
	for i := range t.Shape {
		d := r.u64()
		if r.err == nil && (d == 0 || d > math.MaxInt32 || total > math.MaxInt/16/d) {
			r.fail("%.200q has a dimension of %d", t.Name, d)
			return 0
		}
		total *= max(d, 1)
		t.Shape[len(t.Shape)-1-i] = int(d)
	}
	t.Format = block.Format(r.u32())
	if r.err == nil && !t.Format.Known() {
		r.fail("%.200q has the encoding %d, which is not known", t.Name, uint32(t.Format))
		return 0
	}
	if row := t.row(); r.err == nil && row%t.Format.Elements() != 0 {
		r.fail("%.200q has rows of %d elements, and blocks of %v have %d", t.Name, row, t.Format, t.Format.Elements())
	}
	return r.u64()
}

// row is the length of the last dimension.
func (t *Tensor) row() int {
	if len(t.Shape) == 0 {
		return 1
	}
	return t.Shape[len(t.Shape)-1]
}

// place finds the tensors' bytes, which begin at the first multiple of the alignment
// at or after end.
func (f *File) place(data []byte, end int, offsets []uint64) error {
	align, err := f.Metadata.IntOr(alignmentKey, defaultAlignment)
	if err != nil {
		return err
	}
	if align <= 0 || align > maxAlignment || align&(align-1) != 0 {
		return fmt.Errorf("%s is %d, expected a power of two up to %d", alignmentKey, align, maxAlignment)
	}
	begin := (end + align - 1) &^ (align - 1)
	if begin > len(data) {
		if len(f.Tensors) > 0 {
			return fmt.Errorf("the file ends before the tensors' bytes")
		}
		return nil
	}
	body := data[begin:]
	order := make([]int, len(offsets))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		if offsets[a] != offsets[b] {
			if offsets[a] < offsets[b] {
				return -1
			}
			return 1
		}
		return a - b
	})
	free := uint64(0)
	for _, i := range order {
		t := &f.Tensors[i]
		lo, size := offsets[i], uint64(t.Format.Size(t.Len()))
		switch {
		case lo%uint64(align) != 0:
			return fmt.Errorf("tensor %.200q begins at byte %d, which is no multiple of %d", t.Name, lo, align)
		case lo < free:
			return fmt.Errorf("tensor %.200q begins at byte %d, within the one before, which ends at %d", t.Name, lo, free)
		case lo > uint64(len(body)) || size > uint64(len(body))-lo:
			return fmt.Errorf("tensor %.200q takes %d bytes from byte %d on, and there are %d", t.Name, size, lo, len(body))
		}
		t.Data = body[lo : lo+size : lo+size]
		free = lo + size
	}
	return nil
}
