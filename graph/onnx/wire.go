package onnx

import (
	"iter"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of onnx.proto, by message.
const (
	modelIR              = 1
	modelProducer        = 2
	modelProducerVersion = 3
	modelGraph           = 7
	modelOpset           = 8
	modelMeta            = 14
	modelFunction        = 25

	opsetDomain  = 1
	opsetVersion = 2

	entryKey   = 1 // StringStringEntryProto
	entryValue = 2

	graphNode              = 1
	graphName              = 2
	graphInitializer       = 5
	graphInput             = 11
	graphOutput            = 12
	graphValueInfo         = 13
	graphSparseInitializer = 15

	nodeInput    = 1
	nodeOutput   = 2
	nodeName     = 3
	nodeOp       = 4
	nodeAttr     = 5
	nodeDomain   = 7
	nodeOverload = 8

	attrName    = 1
	attrF       = 2
	attrI       = 3
	attrS       = 4
	attrT       = 5
	attrG       = 6
	attrFloats  = 7
	attrInts    = 8
	attrStrings = 9
	attrTensors = 10
	attrGraphs  = 11
	attrTP      = 14
	attrTPs     = 15
	attrType    = 20
	attrRef     = 21
	attrSparse  = 22
	attrSparses = 23

	tensorDims       = 1
	tensorType       = 2
	tensorSegment    = 3
	tensorFloats     = 4
	tensorInt32s     = 5
	tensorStrings    = 6
	tensorInt64s     = 7
	tensorName       = 8
	tensorRaw        = 9
	tensorDoubles    = 10
	tensorUint64s    = 11
	tensorExternal   = 13
	tensorLocation   = 14
	locationExternal = 1 // value of tensorLocation

	infoName = 1 // ValueInfoProto
	infoType = 2

	typeTensor      = 1 // TypeProto
	typeSequence    = 4
	typeMap         = 5
	typeOpaque      = 7
	typeSparse      = 8
	typeOptional    = 9
	typeTensorElem  = 1 // TypeProto.Tensor
	typeTensorShape = 2
	typeListElem    = 1 // of TypeProto.Sequence and TypeProto.Optional
	typeMapKey      = 1
	typeMapValue    = 2
	shapeDim        = 1
	dimValue        = 1
	dimParam        = 2

	listTensor   = 3 // SequenceProto and OptionalProto
	listSparse   = 4
	listSequence = 5
	listMap      = 6
	listOptional = 7

	sparseValues  = 1 // SparseTensorProto
	sparseIndices = 2
	sparseDims    = 3

	functionName   = 1
	functionInput  = 4
	functionOutput = 5
	functionNode   = 7
	functionOpset  = 9
	functionDomain = 10
	functionAttr   = 11 // attributes with default values
	functionOver   = 13
)

// field is one field of a message, as it lies in the file.
type field struct {
	num   protowire.Number
	typ   protowire.Type
	bytes []byte // for BytesType
	bits  uint64 // for the others
}

const damaged = "the file is cut short or damaged: fetch or export it again"

// fields yields the fields of a message in order, and an error where it is not one.
func fields(msg []byte) iter.Seq2[field, error] {
	return func(yield func(field, error) bool) {
		for len(msg) > 0 {
			f, rest, err := nextField(msg)
			if !yield(f, err) || err != nil {
				return
			}
			msg = rest
		}
	}
}

// nextField reads the field that a message begins with; rest is what is behind it.
func nextField(msg []byte) (f field, rest []byte, err error) {
	num, typ, n := protowire.ConsumeTag(msg)
	if n < 0 {
		return field{}, nil, invalid("a field's number cannot be read: %v", protowire.ParseError(n)).Try(damaged)
	}
	f = field{num: num, typ: typ}
	m := f.consume(msg[n:])
	if m < 0 {
		return field{}, nil, invalid("field %d cannot be read: %v", num, protowire.ParseError(m)).Try(damaged)
	}
	return f, msg[n+m:], nil
}

// consume reads the field's content, and returns its length or a negative code.
func (f *field) consume(b []byte) (n int) {
	switch f.typ {
	case protowire.VarintType:
		f.bits, n = protowire.ConsumeVarint(b)
	case protowire.Fixed32Type:
		var v uint32
		v, n = protowire.ConsumeFixed32(b)
		f.bits = uint64(v)
	case protowire.Fixed64Type:
		f.bits, n = protowire.ConsumeFixed64(b)
	case protowire.BytesType:
		f.bytes, n = protowire.ConsumeBytes(b)
	default: // groups, which onnx.proto does not use
		n = protowire.ConsumeFieldValue(f.num, f.typ, b)
	}
	return n
}

func (f field) want(typ protowire.Type) error {
	if f.typ != typ {
		return invalid("field %d has wire type %d, expected %d", f.num, f.typ, typ).Try(damaged)
	}
	return nil
}

// message is the content of a bytes, string or message field.
func (f field) message() ([]byte, error) { return f.bytes, f.want(protowire.BytesType) }

func (f field) text() (string, error) {
	if err := f.want(protowire.BytesType); err != nil {
		return "", err
	}
	return string(f.bytes), nil
}

func (f field) int() (int64, error) { return int64(f.bits), f.want(protowire.VarintType) }

func (f field) float() (float32, error) {
	return math.Float32frombits(uint32(f.bits)), f.want(protowire.Fixed32Type)
}

// ints appends the elements of a repeated varint, packed or not.
func (f field) ints(to []int64) ([]int64, error) {
	if f.typ == protowire.VarintType {
		return append(to, int64(f.bits)), nil
	}
	if err := f.want(protowire.BytesType); err != nil {
		return nil, err
	}
	to = slices.Grow(to, varints(f.bytes))
	for b := f.bytes; len(b) > 0; {
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return nil, invalid("element %d of field %d cannot be read: %v", len(to), f.num, protowire.ParseError(n)).Try(damaged)
		}
		to, b = append(to, int64(v)), b[n:]
	}
	return to, nil
}

// varints counts the varints in b by their last bytes.
func varints(b []byte) (n int) {
	for _, c := range b {
		if c < 0x80 {
			n++
		}
	}
	return n
}

// fixed appends the bytes of a repeated float or double, packed or not: onnx.proto
// and tensors both hold them in little-endian order.
func (f field) fixed(to []byte, size int) ([]byte, error) {
	switch {
	case f.typ == protowire.Fixed32Type && size == 4:
		return protowire.AppendFixed32(to, uint32(f.bits)), nil
	case f.typ == protowire.Fixed64Type && size == 8:
		return protowire.AppendFixed64(to, f.bits), nil
	}
	if err := f.want(protowire.BytesType); err != nil {
		return nil, err
	}
	if len(f.bytes)%size != 0 {
		return nil, invalid("field %d has %d bytes, which are no whole elements of %d bytes", f.num, len(f.bytes), size).Try(damaged)
	}
	if to == nil {
		return f.bytes[:len(f.bytes):len(f.bytes)], nil // appending must not write into the file
	}
	return append(to, f.bytes...), nil
}

// entry reads a StringStringEntryProto.
func entry(f field) (key, value string, err error) {
	msg, err := f.message()
	if err != nil {
		return "", "", err
	}
	for f, err := range fields(msg) {
		if err != nil {
			return "", "", err
		}
		switch f.num {
		case entryKey:
			key, err = f.text()
		case entryValue:
			value, err = f.text()
		}
		if err != nil {
			return "", "", within(err, "entry %.200q", key)
		}
	}
	return key, value, nil
}
