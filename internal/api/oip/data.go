package oip

import (
	"encoding/binary"
	"math"

	"tandem/tensor"
)

// maxRank bounds a tensor's dimensions.
const maxRank = 32

// tensorJSON reads the elements of an input from JSON: flat, or nested as its shape.
func (s *scanner) tensorJSON(name string, d tensor.DType, shape tensor.Shape) (*tensor.Tensor, error) {
	// An element takes two bytes of JSON at least, so a shape that promises more than
	// the body holds is refused before memory is taken for it.
	n, err := shape.CheckedLen(max(len(s.b)/2, 1))
	if err != nil {
		return nil, invalid("input %q: shape %s has more elements than the request has data, or a negative dimension", name, dims(shape))
	}
	e := elements{scanner: s, input: name, shape: shape, n: n}
	switch d {
	case tensor.Float32:
		return readNumbers(&e, d, func(v *float32, n number, text []byte) (ok bool) { *v, ok = n.float32(text); return ok })
	case tensor.Float64:
		return readNumbers(&e, d, func(v *float64, n number, text []byte) (ok bool) { *v, ok = n.float64(text); return ok })
	case tensor.Int64:
		return readNumbers(&e, d, func(v *int64, n number, _ []byte) (ok bool) { *v, ok = n.int64(); return ok })
	case tensor.Int32:
		return readNumbers(&e, d, signed[int32](math.MinInt32, math.MaxInt32))
	case tensor.Int16:
		return readNumbers(&e, d, signed[int16](math.MinInt16, math.MaxInt16))
	case tensor.Int8:
		return readNumbers(&e, d, signed[int8](math.MinInt8, math.MaxInt8))
	case tensor.Uint64:
		return readNumbers(&e, d, unsigned[uint64](math.MaxUint64))
	case tensor.Uint32:
		return readNumbers(&e, d, unsigned[uint32](math.MaxUint32))
	case tensor.Uint16:
		return readNumbers(&e, d, unsigned[uint16](math.MaxUint16))
	case tensor.Uint8:
		return readNumbers(&e, d, unsigned[uint8](math.MaxUint8))
	case tensor.Bool:
		return e.readBools()
	case tensor.String:
		return e.readStrings()
	}
	return nil, invalid("input %q: %s travels only in the binary extension: send binary_data_size, not data", name, datatypeOf(d))
}

func signed[T int8 | int16 | int32](low, high int64) func(*T, number, []byte) bool {
	return func(v *T, n number, _ []byte) bool {
		i, ok := n.int64()
		*v = T(i)
		return ok && i >= low && i <= high
	}
}

func unsigned[T uint8 | uint16 | uint32 | uint64](high uint64) func(*T, number, []byte) bool {
	return func(v *T, n number, _ []byte) bool {
		i, ok := n.uint64()
		*v = T(i)
		return ok && i <= high
	}
}

// elements walks the arrays of one input's data.
type elements struct {
	*scanner
	input string
	shape tensor.Shape
	n     int
}

func readNumbers[T tensor.Element](e *elements, d tensor.DType, convert func(*T, number, []byte) bool) (*tensor.Tensor, error) {
	t := tensor.New(d, e.shape...)
	data := tensor.Data[T](t)
	err := e.walk(func(i int) error {
		n, next := scanNumber(e.b, e.i)
		if next < 0 {
			return e.bad(i, d)
		}
		text := e.b[e.i:next]
		if !convert(&data[i], n, text) {
			return invalid("input %q: element %d is %.40s, which is not a %s", e.input, i, text, datatypeOf(d))
		}
		e.i = next
		return nil
	})
	return t, err
}

func (e *elements) readBools() (*tensor.Tensor, error) {
	t := tensor.New(tensor.Bool, e.shape...)
	data := tensor.Data[bool](t)
	err := e.walk(func(i int) (err error) {
		v, ok := e.boolean()
		if !ok {
			return e.bad(i, tensor.Bool)
		}
		data[i] = v
		return nil
	})
	return t, err
}

func (e *elements) readStrings() (*tensor.Tensor, error) {
	t := tensor.New(tensor.String, e.shape...)
	err := e.walk(func(i int) error {
		if e.peek() != '"' {
			return e.bad(i, tensor.String)
		}
		text, err := e.text()
		t.Strings()[i] = string(text)
		return err
	})
	return t, err
}

// bad says what stands where an element of type d should.
func (e *elements) bad(i int, d tensor.DType) error {
	if e.i >= len(e.b) {
		return e.unexpected("an element")
	}
	rest := e.b[e.i:]
	for _, word := range []string{"NaN", "Infinity", "-Infinity", "null"} {
		if len(rest) >= len(word) && string(rest[:len(word)]) == word {
			return invalid("input %q: element %d is %s, which JSON numbers cannot be: send the tensor as binary data", e.input, i, word)
		}
	}
	return invalid("input %q: element %d begins with %q, which is not a %s", e.input, i, rest[0], datatypeOf(d))
}

// walk calls read for each element, with the scanner at it. Elements lie flat in one
// array, or nested exactly as the shape says.
func (e *elements) walk(read func(i int) error) error {
	var counts [maxRank + 1]int // children seen in the open array of each depth
	depth, leaf, i := 0, 0, 0   // leaf: depth that elements are at, once one has been seen
	if e.peek() != '[' {
		return e.unexpected("an array of data")
	}
	for {
		switch c := e.peek(); {
		case c == '[':
			if depth >= max(len(e.shape), 1) || leaf != 0 && depth >= leaf {
				return invalid("input %q: data is nested deeper than its shape %s", e.input, dims(e.shape))
			}
			counts[depth]++
			depth++
			counts[depth] = 0
			e.i++
			if e.peek() != ']' {
				continue
			}
		case c == 0:
			return e.unexpected("an element")
		default:
			if leaf == 0 {
				leaf = depth
			}
			if depth != leaf || depth != 1 && depth != len(e.shape) {
				return invalid("input %q: element %d is at depth %d of data, which shape %s does not have elements at", e.input, i, depth, dims(e.shape))
			}
			if i >= e.n {
				return e.wrongCount("more than ", e.n)
			}
			if err := read(i); err != nil {
				return err
			}
			counts[depth]++
			i++
		}
		for e.peek() == ']' {
			if flat := depth == 1 && (leaf == 1 || counts[1] == 0); !flat && counts[depth] != e.shape[depth-1] {
				return invalid("input %q: an array of data at depth %d has %d members, and shape %s says %d",
					e.input, depth, counts[depth], dims(e.shape), e.shape[depth-1])
			}
			e.i++
			if depth--; depth == 0 {
				if i != e.n {
					return e.wrongCount("", i)
				}
				return nil
			}
		}
		if err := e.expect(','); err != nil {
			return err
		}
	}
}

func (e *elements) wrongCount(more string, got int) error {
	return invalid("input %q: data has %s%d elements, and shape %s has %d", e.input, more, got, dims(e.shape), e.n)
}

// tensorBinary takes an input's elements from raw bytes, which the tensor borrows.
func tensorBinary(name string, d tensor.DType, shape tensor.Shape, raw []byte) (*tensor.Tensor, error) {
	n, err := shape.CheckedLen(math.MaxInt32)
	if err != nil {
		return nil, invalid("input %q: shape %s is too large or has a negative dimension", name, dims(shape))
	}
	if d == tensor.String {
		return stringsBinary(name, shape, n, raw)
	}
	if d == tensor.Bool {
		for i, b := range raw {
			if b > 1 {
				return nil, invalid("input %q: element %d is byte %d, and a BOOL is 0 or 1", name, i, b)
			}
		}
	}
	t, err := tensor.FromBytes(d, raw, shape...)
	if err != nil {
		return nil, invalid("input %q: binary_data_size is %d, and %s of shape %s takes %d bytes", name, len(raw), datatypeOf(d), dims(shape), d.ByteLen(n))
	}
	return t, nil
}

// stringsBinary reads elements that each follow their length, in four little-endian
// bytes.
func stringsBinary(name string, shape tensor.Shape, n int, raw []byte) (*tensor.Tensor, error) {
	if n > len(raw)/4 {
		return nil, invalid("input %q: binary_data_size is %d, too little for the %d lengths of a BYTES tensor", name, len(raw), n)
	}
	t := tensor.New(tensor.String, shape...)
	for i := range n {
		if len(raw) < 4 || uint64(binary.LittleEndian.Uint32(raw)) > uint64(len(raw)-4) {
			return nil, invalid("input %q: element %d of the BYTES tensor is longer than binary_data_size leaves", name, i)
		}
		size := 4 + int(binary.LittleEndian.Uint32(raw))
		t.Strings()[i] = string(raw[4:size])
		raw = raw[size:]
	}
	if len(raw) > 0 {
		return nil, invalid("input %q: binary_data_size leaves %d bytes after the %d elements of the BYTES tensor", name, len(raw), n)
	}
	return t, nil
}
