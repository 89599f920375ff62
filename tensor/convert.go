package tensor

import (
	"fmt"
	"math"
)

// Rounding is how a conversion to Float8E8M0, which holds powers of two only,
// chooses between two of them. All other conversions round to nearest, ties to even.
type Rounding uint8

const (
	RoundUp      Rounding = iota // away from zero
	RoundDown                    // towards zero
	RoundNearest                 // ties up
)

// Conversion converts elements from one numeric type to another (ONNX, Cast).
//
// Floats become integers by truncation; integers that do not fit lose their high
// bits, as do floats after they have become 64-bit integers. Everything but zero
// becomes true.
type Conversion struct {
	// Saturate: what is beyond the range of an 8-bit float becomes its greatest
	// number, not infinity or NaN. Float4E2M1 has neither and always saturates.
	Saturate bool
	Round    Rounding
}

// Convert converts the elements of src to the type of dst, rounding up to Float8E8M0.
func Convert(dst, src *Tensor, saturate bool) error {
	return Conversion{Saturate: saturate}.Run(dst, src)
}

// Numeric reports whether elements of type d can be converted: all but strings,
// complex numbers and lists.
func (d DType) Numeric() bool { return d.Valid() && carriers[d] != noCarrier }

// Float reports whether d is a floating-point type.
func (d DType) Float() bool {
	return d.Valid() && (carriers[d] == carryFloat32 || carriers[d] == carryFloat64)
}

// carrier is a type that holds every element of several types exactly. A
// conversion reads elements into the carrier of the source and writes from there,
// so that n types need n ways in and 4·n ways out, not n².
type carrier uint8

const (
	noCarrier carrier = iota
	carryFloat32
	carryFloat64
	carryInt64
	carryUint64
)

var carriers = [...]carrier{
	Float32: carryFloat32, Float64: carryFloat64, Float16: carryFloat32, BFloat16: carryFloat32,
	Float8E4M3FN: carryFloat32, Float8E4M3FNUZ: carryFloat32, Float8E5M2: carryFloat32, Float8E5M2FNUZ: carryFloat32,
	Float4E2M1: carryFloat32, Float8E8M0: carryFloat32,
	Uint8: carryInt64, Int8: carryInt64, Uint16: carryInt64, Int16: carryInt64, Int32: carryInt64, Int64: carryInt64,
	Uint32: carryInt64, Uint64: carryUint64, Bool: carryInt64, Uint4: carryInt64, Int4: carryInt64, Uint2: carryInt64, Int2: carryInt64,
}

// chunk is how many elements are carried at once: the buffers stay in L1, and
// elements of less than a byte begin on a byte.
const chunk = 512

type buffers struct {
	f32 [chunk]float32
	f64 [chunk]float64
	i64 [chunk]int64
	u64 [chunk]uint64
}

// Run converts the elements of src into dst, which has as many.
func (c Conversion) Run(dst, src *Tensor) error {
	switch {
	case !src.dtype.Numeric() || !dst.dtype.Numeric():
		return fmt.Errorf("elements of type %v cannot be converted to %v", src.dtype, dst.dtype)
	case src.Len() != dst.Len():
		return fmt.Errorf("%d elements cannot be converted into %d", src.Len(), dst.Len())
	case src.dtype == dst.dtype:
		copy(dst.data, src.data)
		return nil
	}
	var b buffers
	for lo, n := 0, src.Len(); lo < n; lo += chunk {
		hi := min(lo+chunk, n)
		switch k := hi - lo; carriers[src.dtype] {
		case carryFloat32:
			read(b.f32[:k], src, lo)
			write(c, dst, lo, b.f32[:k])
		case carryFloat64:
			read(b.f64[:k], src, lo)
			write(c, dst, lo, b.f64[:k])
		case carryInt64:
			read(b.i64[:k], src, lo)
			write(c, dst, lo, b.i64[:k])
		case carryUint64:
			read(b.u64[:k], src, lo)
			write(c, dst, lo, b.u64[:k])
		}
	}
	return nil
}

// Float32s reads the elements of a numeric tensor as float32. It panics if their
// number is not len(dst): that is a defect of the caller.
func Float32s(dst []float32, src *Tensor) {
	checkCount("Float32s", len(dst), src)
	read(dst, src, 0)
}

// SetFloat32s writes float32s as the elements of a numeric tensor, saturating
// 8-bit floats. It panics if their number is not the tensor's.
func SetFloat32s(dst *Tensor, src []float32) {
	checkCount("SetFloat32s", len(src), dst)
	write(Conversion{Saturate: true}, dst, 0, src)
}

func checkCount(what string, n int, t *Tensor) {
	if n != t.Len() || !t.dtype.Numeric() {
		panic(fmt.Sprintf("tensor.%s: %d numbers for %v", what, n, t))
	}
}

type number interface {
	~float32 | ~float64 | ~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64
}

type carried interface {
	float32 | float64 | int64 | uint64
}

// read carries the elements of src from index lo on. lo is a multiple of chunk.
func read[C carried](dst []C, src *Tensor, lo int) {
	switch src.dtype {
	case Float32:
		widen(dst, Data[float32](src)[lo:])
	case Float64:
		widen(dst, Data[float64](src)[lo:])
	case Int8:
		widen(dst, Data[int8](src)[lo:])
	case Int16:
		widen(dst, Data[int16](src)[lo:])
	case Int32:
		widen(dst, Data[int32](src)[lo:])
	case Int64:
		widen(dst, Data[int64](src)[lo:])
	case Uint8:
		widen(dst, Data[uint8](src)[lo:])
	case Uint16:
		widen(dst, Data[uint16](src)[lo:])
	case Uint32:
		widen(dst, Data[uint32](src)[lo:])
	case Uint64:
		widen(dst, Data[uint64](src)[lo:])
	case Bool:
		for i, b := range src.data[lo:][:len(dst)] {
			dst[i] = C(min(b, 1)) // foreign bytes may hold any non-zero number
		}
	case Int4, Uint4, Int2, Uint2:
		unpack(dst, src, lo)
	case Float16:
		for i, h := range Data[uint16](src)[lo:][:len(dst)] {
			dst[i] = C(fromFloat16(h))
		}
	case BFloat16:
		for i, h := range Data[uint16](src)[lo:][:len(dst)] {
			dst[i] = C(math.Float32frombits(uint32(h) << 16))
		}
	case Float4E2M1:
		values := miniValues[Float4E2M1]
		for i := range dst {
			dst[i] = C(values[src.data[(lo+i)/2]>>(4*(i&1))&15])
		}
	default:
		values := miniValues[src.dtype]
		for i, b := range src.data[lo:][:len(dst)] {
			dst[i] = C(values[b])
		}
	}
}

func widen[C carried, T number](dst []C, src []T) {
	for i, v := range src[:len(dst)] {
		dst[i] = C(v)
	}
}

// write is the inverse of read, rounding and truncating.
func write[C carried](c Conversion, dst *Tensor, lo int, src []C) {
	switch dst.dtype {
	case Float32:
		toFloats(Data[float32](dst)[lo:], src)
	case Float64:
		toFloats(Data[float64](dst)[lo:], src)
	case Int8:
		toInts(Data[int8](dst)[lo:], src)
	case Int16:
		toInts(Data[int16](dst)[lo:], src)
	case Int32:
		toInts(Data[int32](dst)[lo:], src)
	case Int64:
		toInts(Data[int64](dst)[lo:], src)
	case Uint8:
		toInts(Data[uint8](dst)[lo:], src)
	case Uint16:
		toInts(Data[uint16](dst)[lo:], src)
	case Uint32:
		toInts(Data[uint32](dst)[lo:], src)
	case Uint64:
		for i, v := range src {
			Data[uint64](dst)[lo+i] = toUint64(v)
		}
	case Bool:
		for i, v := range src {
			dst.data[lo+i] = 0
			if v != 0 {
				dst.data[lo+i] = 1
			}
		}
	case Int4, Uint4, Int2, Uint2:
		pack(dst, lo, src)
	default:
		writeNarrow(c, dst, lo, src)
	}
}

func writeNarrow[C carried](c Conversion, dst *Tensor, lo int, src []C) {
	switch dst.dtype {
	case Float16:
		out := Data[uint16](dst)[lo:][:len(src)]
		for i, v := range src {
			out[i] = toFloat16(v)
		}
	case BFloat16:
		out := Data[uint16](dst)[lo:][:len(src)]
		for i, v := range src {
			out[i] = toBFloat16(v)
		}
	case Float8E8M0:
		for i, v := range src {
			dst.data[lo+i] = toE8M0(float64(v), c)
		}
	case Float4E2M1:
		for i, v := range src {
			setBits(dst.data, lo+i, 4, miniFloats[Float4E2M1].encode(float64(v), true))
		}
	default:
		m := miniFloats[dst.dtype]
		for i, v := range src {
			dst.data[lo+i] = uint8(m.encode(float64(v), c.Saturate))
		}
	}
}

func toFloats[T float32 | float64, C carried](dst []T, src []C) {
	for i, v := range src {
		dst[i] = T(v)
	}
}

// toInts relies on toInt64 for floats; integers are cut by the conversion itself.
func toInts[T int8 | int16 | int32 | int64 | uint8 | uint16 | uint32, C carried](dst []T, src []C) {
	for i, v := range src {
		dst[i] = T(toInt64(v))
	}
}

// toInt64 truncates. What Go leaves to the processor is defined here: NaN is 0,
// and what is out of range the nearest number.
func toInt64[C carried](v C) int64 {
	if !isFloat[C]() {
		return int64(v)
	}
	switch f := float64(v); {
	case f != f:
		return 0
	case f >= 1<<63:
		return math.MaxInt64
	case f < -1<<63:
		return math.MinInt64
	default:
		return int64(f)
	}
}

func toUint64[C carried](v C) uint64 {
	if !isFloat[C]() {
		return uint64(v)
	}
	switch f := float64(v); {
	case f >= 1<<64:
		return math.MaxUint64
	case f >= 1<<63:
		return uint64(f)
	default:
		return uint64(toInt64(v))
	}
}

// isFloat reports whether C has fractions.
func isFloat[C carried]() bool {
	half := 0.5
	return C(half) != 0
}

// unpack reads integers of 4 or 2 bits, the first in the low bits of a byte.
func unpack[C carried](dst []C, src *Tensor, lo int) {
	bits := src.dtype.Bits()
	perByte, mask := 8/bits, uint8(1)<<bits-1
	sign := uint8(0)
	if src.dtype == Int4 || src.dtype == Int2 {
		sign = 1 << (bits - 1)
	}
	for i := range dst {
		at := lo + i
		u := src.data[at/perByte] >> (bits * (at % perByte)) & mask
		dst[i] = C(int8(u^sign) - int8(sign))
	}
}

// pack is the inverse of unpack.
func pack[C carried](dst *Tensor, lo int, src []C) {
	bits := dst.dtype.Bits()
	for i, v := range src {
		setBits(dst.data, lo+i, bits, uint(toInt64(v)))
	}
}

// setBits writes element i of bits bits each. The bits behind it in its byte are
// cleared, so that elements are written in their order.
func setBits(data []byte, i, bits int, v uint) {
	shift := bits * i % 8
	b := &data[bits*i/8]
	*b = *b&(1<<shift-1) | uint8(v<<shift)&(uint8(1<<bits-1)<<shift)
}
