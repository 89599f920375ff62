package tensor

import "fmt"

// DType is an element type, numbered as in ONNX's TensorProto.DataType.
type DType uint8

const (
	Undefined      DType = 0
	Float32        DType = 1
	Uint8          DType = 2
	Int8           DType = 3
	Uint16         DType = 4
	Int16          DType = 5
	Int32          DType = 6
	Int64          DType = 7
	String         DType = 8
	Bool           DType = 9
	Float16        DType = 10
	Float64        DType = 11
	Uint32         DType = 12
	Uint64         DType = 13
	Complex64      DType = 14
	Complex128     DType = 15
	BFloat16       DType = 16
	Float8E4M3FN   DType = 17
	Float8E4M3FNUZ DType = 18
	Float8E5M2     DType = 19
	Float8E5M2FNUZ DType = 20
	Uint4          DType = 21
	Int4           DType = 22
	Float4E2M1     DType = 23
	Float8E8M0     DType = 24
	Uint2          DType = 25
	Int2           DType = 26

	// Sequence is a one-dimensional list of tensors, Optional one that is empty or
	// holds one; Map a pair of one-dimensional tensors, keys and values. They are not
	// element types of ONNX but kinds of values; here they are tensors whose elements
	// are tensors, so that one type carries all values.
	Sequence DType = 100
	Optional DType = 101
	Map      DType = 102
)

var dtypes = [...]struct {
	name string
	bits int // 0: not a fixed number
}{
	Undefined: {"undefined", 0}, Float32: {"float32", 32}, Uint8: {"uint8", 8}, Int8: {"int8", 8},
	Uint16: {"uint16", 16}, Int16: {"int16", 16}, Int32: {"int32", 32}, Int64: {"int64", 64},
	String: {"string", 0}, Bool: {"bool", 8}, Float16: {"float16", 16}, Float64: {"float64", 64},
	Uint32: {"uint32", 32}, Uint64: {"uint64", 64}, Complex64: {"complex64", 64}, Complex128: {"complex128", 128},
	BFloat16: {"bfloat16", 16}, Float8E4M3FN: {"float8e4m3fn", 8}, Float8E4M3FNUZ: {"float8e4m3fnuz", 8},
	Float8E5M2: {"float8e5m2", 8}, Float8E5M2FNUZ: {"float8e5m2fnuz", 8}, Uint4: {"uint4", 4}, Int4: {"int4", 4},
	Float4E2M1: {"float4e2m1", 4}, Float8E8M0: {"float8e8m0", 8}, Uint2: {"uint2", 2}, Int2: {"int2", 2},
}

// String is such as "float32".
func (d DType) String() string {
	switch d {
	case Sequence:
		return "sequence"
	case Optional:
		return "optional"
	case Map:
		return "map"
	}
	if int(d) < len(dtypes) {
		return dtypes[d].name
	}
	return fmt.Sprintf("dtype(%d)", uint8(d))
}

// ParseDType is the inverse of String.
func ParseDType(name string) (DType, error) {
	for d, t := range dtypes {
		if t.name == name && DType(d) != Undefined {
			return DType(d), nil
		}
	}
	return Undefined, fmt.Errorf("no element type is called %q", name)
}

// Valid reports whether d is a type of ONNX's list, Undefined excluded.
func (d DType) Valid() bool { return d != Undefined && int(d) < len(dtypes) }

// List reports whether elements of type d are tensors.
func (d DType) List() bool { return d == Sequence || d == Optional || d == Map }

// Bits is the size of an element in bits; 0 for strings and Undefined.
func (d DType) Bits() int {
	if int(d) < len(dtypes) {
		return dtypes[d].bits
	}
	return 0
}

// ByteLen is the number of bytes that n elements take; elements under a byte are
// packed, the first in the low bits.
func (d DType) ByteLen(n int) int { return (n*d.Bits() + 7) / 8 }
