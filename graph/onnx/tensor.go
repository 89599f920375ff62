package onnx

import (
	"bytes"
	"encoding/binary"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"unsafe"

	"tandem/tensor"
)

// rawTensor is a TensorProto as it lies in the file. At most one of its forms of
// storage is in use.
type rawTensor struct {
	name     string
	dims     []int64
	dtype    tensor.DType
	raw      []byte // raw_data, float_data or double_data: little-endian elements
	ints     []int64
	strings  []string
	external map[string]string
	away     bool           // data_location is EXTERNAL
	forms    map[uint8]bool // numbers of the data fields that are there
}

// tensor reads a TensorProto. The result borrows the file's bytes where it can.
func (r *reader) tensor(msg []byte) (name string, t *tensor.Tensor, err error) {
	p, err := parseTensor(msg)
	if err == nil {
		t, err = r.tensorOf(p)
	}
	if err != nil {
		return "", nil, within(err, "tensor %.200q", p.name)
	}
	return p.name, t, nil
}

func parseTensor(msg []byte) (*rawTensor, error) {
	p := &rawTensor{forms: map[uint8]bool{}}
	for f, err := range fields(msg) {
		if err != nil {
			return p, err
		}
		switch f.num {
		case tensorName:
			p.name, err = f.text()
		case tensorDims:
			if p.dims, err = f.ints(p.dims); len(p.dims) > maxRank {
				return p, unsupported("it has more than %d dimensions", maxRank)
			}
		case tensorType:
			var n int64
			if n, err = f.int(); err == nil {
				p.dtype, err = dtype(n)
			}
		case tensorSegment:
			err = unsupported("it is stored in segments").Try(remedyExport)
		case tensorLocation:
			var n int64
			n, err = f.int()
			p.away = n == locationExternal
		case tensorExternal:
			var key, value string
			if key, value, err = entry(f); p.external == nil {
				p.external = map[string]string{}
			}
			p.external[key] = value
		default:
			err = p.parseData(f)
		}
		if err != nil {
			return p, err
		}
	}
	return p, nil
}

func (p *rawTensor) parseData(f field) (err error) {
	switch f.num {
	case tensorRaw:
		p.raw, err = f.message()
	case tensorFloats:
		p.raw, err = f.fixed(p.raw, 4)
	case tensorDoubles:
		p.raw, err = f.fixed(p.raw, 8)
	case tensorInt32s, tensorInt64s, tensorUint64s:
		p.ints, err = f.ints(p.ints)
	case tensorStrings:
		var s string
		s, err = f.text()
		p.strings = append(p.strings, s)
	default:
		return nil
	}
	if f.typ != 2 || len(f.bytes) > 0 || f.num == tensorStrings { // some writers leave empty fields
		p.forms[uint8(f.num)] = true
	}
	return err
}

func (r *reader) tensorOf(p *rawTensor) (*tensor.Tensor, error) {
	shape, n, err := p.shape()
	if err != nil {
		return nil, err
	}
	if p.away {
		return r.externalTensor(p, shape, n)
	}
	if want := p.form(); len(p.forms) > 1 || len(p.forms) == 1 && !p.forms[want] && !p.forms[tensorRaw] {
		return nil, invalid("%v elements are not stored as they should be (in raw_data or field %d)", p.dtype, want).Try(remedyExport)
	}
	switch {
	case p.dtype == tensor.String:
		if p.forms[tensorRaw] || len(p.strings) != n {
			return nil, invalid("shape %v takes %d strings, the file has %d", shape, n, len(p.strings)).Try(damaged)
		}
		return tensor.OfStrings(p.strings, shape...), nil
	case p.ints != nil:
		return p.fromInts(shape, n)
	}
	return r.fromBytes(p.dtype, p.raw, shape)
}

// shape checks dimensions and type, and returns the number of elements.
func (p *rawTensor) shape() (tensor.Shape, int, error) {
	if p.dtype == tensor.Undefined {
		return nil, 0, invalid("it has no element type").Try(remedyExport)
	}
	shape := make(tensor.Shape, len(p.dims))
	for i, d := range p.dims {
		if d < 0 || d > math.MaxInt/256 {
			return nil, 0, invalid("dimension %d is %d", i, d).Try(remedyExport)
		}
		shape[i] = int(d)
	}
	n, err := shape.CheckedLen(math.MaxInt / 256)
	if err != nil {
		return nil, 0, invalid("%v", err).Try(remedyExport)
	}
	return shape, n, nil
}

// form is the data field, other than raw_data, for elements of the tensor's type.
func (p *rawTensor) form() uint8 {
	switch p.dtype {
	case tensor.Float32, tensor.Complex64:
		return tensorFloats
	case tensor.Float64, tensor.Complex128:
		return tensorDoubles
	case tensor.Int64:
		return tensorInt64s
	case tensor.Uint32, tensor.Uint64:
		return tensorUint64s
	case tensor.String:
		return tensorStrings
	}
	return tensorInt32s
}

// fromInts narrows int32_data, int64_data or uint64_data to the elements' bytes.
// Types under a byte have several elements in each number, the way they are packed.
func (p *rawTensor) fromInts(shape tensor.Shape, n int) (*tensor.Tensor, error) {
	size := max(p.dtype.Bits(), 8) / 8
	if want := p.dtype.ByteLen(n) / size; want != len(p.ints) {
		return nil, invalid("%v elements of shape %v take %d numbers, the file has %d", p.dtype, shape, want, len(p.ints)).Try(damaged)
	}
	t := tensor.New(p.dtype, shape...)
	dst := t.Bytes()
	for i, v := range p.ints {
		if size < 8 && (v < -1<<(8*size-1) || v >= 1<<(8*size)) {
			return nil, invalid("number %d is %d, which is no %v", i, v, p.dtype).Try(remedyExport)
		}
		switch size {
		case 1:
			dst[i] = byte(v)
		case 2:
			binary.LittleEndian.PutUint16(dst[2*i:], uint16(v))
		case 4:
			binary.LittleEndian.PutUint32(dst[4*i:], uint32(v))
		case 8:
			binary.LittleEndian.PutUint64(dst[8*i:], uint64(v))
		}
	}
	if p.dtype == tensor.Bool {
		normalize(dst)
	}
	return t, nil
}

// fromBytes borrows data as a tensor, or copies what is not aligned.
func (r *reader) fromBytes(d tensor.DType, data []byte, shape tensor.Shape) (*tensor.Tensor, error) {
	if d == tensor.String {
		return nil, invalid("strings cannot be stored as raw bytes").Try(remedyExport)
	}
	unclean := d == tensor.Bool && slices.ContainsFunc(data, func(b byte) bool { return b > 1 })
	if unclean || !aligned(data, d.Bits()/8) {
		if err := r.spend(len(data)); err != nil {
			return nil, err
		}
	}
	if unclean { // Go's bool has no other bytes than 0 and 1
		data = bytes.Clone(data)
		normalize(data)
	}
	t, err := tensor.FromBytes(d, data[:len(data):len(data)], shape...)
	if err != nil {
		return nil, invalid("%v", err).Try(damaged)
	}
	return t, nil
}

func aligned(data []byte, size int) bool {
	return size < 2 || len(data) == 0 || uintptr(unsafe.Pointer(unsafe.SliceData(data)))%uintptr(size) == 0
}

func normalize(bools []byte) {
	for i, b := range bools {
		if b > 1 {
			bools[i] = 1
		}
	}
}

// externalTensor finds the tensor's bytes in another file.
func (r *reader) externalTensor(p *rawTensor, shape tensor.Shape, n int) (*tensor.Tensor, error) {
	location := p.external["location"]
	if !filepath.IsLocal(location) {
		return nil, invalid("its data lies at %.200q, which is not inside the model's folder", location).
			Try("write the model with its data in a file beside it")
	}
	if r.opt.External == nil {
		return nil, unsupported("its data lies in the file %.200q, which did not come with the model", location).
			Try("load the model from its folder, or write it with the data inside")
	}
	if len(p.forms) > 0 {
		return nil, invalid("it has data of its own and data in the file %.200q", location).Try(remedyExport)
	}
	data, err := r.opt.External(location)
	if err != nil {
		return nil, err
	}
	if !r.sources[location] {
		r.sources[location] = true
		r.copyLeft += copyFactor * int64(len(data))
	}
	offset, length, err := extent(p.external, int64(len(data)))
	if err != nil {
		return nil, within(err, "file %.200q", location)
	}
	if want := int64(p.dtype.ByteLen(n)); want != length {
		return nil, invalid("%v elements of shape %v take %d bytes, file %.200q has %d for them", p.dtype, shape, want, location, length).Try(damaged)
	}
	return r.fromBytes(p.dtype, data[offset:offset+length], shape)
}

// extent is the part of a file of size bytes that external_data names: from offset
// (0) to the end, or of the given length.
func extent(external map[string]string, size int64) (offset, length int64, err error) {
	number := func(key string, def int64) (int64, error) {
		s, ok := external[key]
		if !ok {
			return def, nil
		}
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 0 {
			return 0, invalid("%s %.40q is not a number of bytes", key, s).Try(remedyExport)
		}
		return n, nil
	}
	if offset, err = number("offset", 0); err != nil {
		return 0, 0, err
	}
	if length, err = number("length", max(size-offset, 0)); err != nil {
		return 0, 0, err
	}
	if offset > size || length > size-offset {
		return 0, 0, invalid("%d bytes at offset %d are beyond its end, at %d", length, offset, size).Try(damaged)
	}
	return offset, length, nil
}
