package tensor

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"unsafe"
)

// Shape lists dimensions, the slowest first. A scalar has none.
type Shape []int

// Len is the number of elements.
func (s Shape) Len() int {
	n := 1
	for _, d := range s {
		n *= d
	}
	return n
}

// CheckedLen is Len with an error for negative dimensions and for products
// beyond limit: for shapes that come from outside.
func (s Shape) CheckedLen(limit int) (int, error) {
	n := 1
	for _, d := range s {
		if d < 0 {
			return 0, fmt.Errorf("shape %v has a negative dimension", s)
		}
		if d != 0 && n > limit/d {
			return 0, fmt.Errorf("shape %v has more than %d elements", s, limit)
		}
		n *= d
	}
	return n, nil
}

// Equal reports whether the dimensions are the same.
func (s Shape) Equal(t Shape) bool { return slices.Equal(s, t) }

// String is "2x3", or "scalar".
func (s Shape) String() string {
	if len(s) == 0 {
		return "scalar"
	}
	parts := make([]string, len(s))
	for i, d := range s {
		parts[i] = fmt.Sprint(d)
	}
	return strings.Join(parts, "x")
}

// Element is a Go type that stores elements as they lie in a Tensor.
type Element interface {
	~float32 | ~float64 | ~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~bool
}

// Tensor is a dense row-major block of elements. The zero value is an absent
// tensor. Copying the struct shares the elements.
type Tensor struct {
	dtype   DType
	shape   Shape
	data    []byte    // little-endian; nil for strings and lists
	strings []string  // for String only
	items   []*Tensor // for lists only
}

// alignment of the first element, in bytes: a cache line and an AVX-512 register.
const alignment = 64

// AlignedBytes allocates n zero bytes that begin on a 64-byte boundary.
func AlignedBytes(n int) []byte {
	raw := make([]byte, n+alignment)
	off := -int(uintptr(unsafe.Pointer(unsafe.SliceData(raw)))) & (alignment - 1)
	return raw[off : off+n : off+n]
}

// New allocates a tensor of zeros (of empty strings).
func New(d DType, shape ...int) *Tensor {
	s := slices.Clone(Shape(shape))
	if d == String {
		return &Tensor{dtype: d, shape: s, strings: make([]string, s.Len())}
	}
	return &Tensor{dtype: d, shape: s, data: AlignedBytes(d.ByteLen(s.Len()))}
}

// Of borrows elements as a tensor of the given shape. It panics if their number
// does not fit the shape: that is a defect of the caller.
func Of[T Element](elements []T, shape ...int) *Tensor {
	s := slices.Clone(Shape(shape))
	if s.Len() != len(elements) {
		panic(fmt.Sprintf("tensor.Of: %d elements for shape %v", len(elements), s))
	}
	return &Tensor{dtype: dtypeOf[T](), shape: s, data: bytesOf(elements)}
}

// Scalar makes a tensor without dimensions.
func Scalar[T Element](v T) *Tensor { return Of([]T{v}) }

// OfStrings borrows strings as a tensor.
func OfStrings(elements []string, shape ...int) *Tensor {
	s := slices.Clone(Shape(shape))
	if s.Len() != len(elements) {
		panic(fmt.Sprintf("tensor.OfStrings: %d elements for shape %v", len(elements), s))
	}
	return &Tensor{dtype: String, shape: s, strings: elements}
}

// OfTensors borrows tensors as the elements of a list: of a Map, its keys and values.
func OfTensors(d DType, items []*Tensor) *Tensor {
	if !d.List() || d == Optional && len(items) > 1 || d == Map && (len(items) != 2 || items[0].Len() != items[1].Len()) {
		panic(fmt.Sprintf("tensor.OfTensors: %d items for %v", len(items), d))
	}
	return &Tensor{dtype: d, shape: Shape{len(items)}, items: items}
}

// readsUnaligned: an element may begin at any byte. Weights within an ONNX file do, and
// are then mapped and not copied.
const readsUnaligned = runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64"

// FromBytes borrows raw little-endian bytes as a tensor. The bytes are foreign:
// their number is checked. Data that is not aligned to its element is copied, but on
// processors that read such elements as fast.
func FromBytes(d DType, data []byte, shape ...int) (*Tensor, error) {
	if !d.Valid() || d.Bits() == 0 {
		return nil, fmt.Errorf("a tensor of type %v cannot be made from bytes", d)
	}
	s := slices.Clone(Shape(shape))
	n, err := s.CheckedLen(math.MaxInt / 16)
	if err != nil {
		return nil, err
	}
	if want := d.ByteLen(n); want != len(data) {
		return nil, fmt.Errorf("%v tensor of shape %v takes %d bytes, not %d", d, s, want, len(data))
	}
	if size := uintptr(d.Bits() / 8); !readsUnaligned && size > 1 && len(data) > 0 && uintptr(unsafe.Pointer(unsafe.SliceData(data)))%size != 0 {
		aligned := AlignedBytes(len(data))
		copy(aligned, data)
		data = aligned
	}
	return &Tensor{dtype: d, shape: s, data: data}, nil
}

// DType is the type of the elements.
func (t *Tensor) DType() DType { return t.dtype }

// Shape is the tensor's own slice: not to be written to.
func (t *Tensor) Shape() Shape { return t.shape }

// Dim is dimension i, from 0 to Rank-1.
func (t *Tensor) Dim(i int) int { return t.shape[i] }

// Rank is the number of dimensions.
func (t *Tensor) Rank() int { return len(t.shape) }

// Len is the number of elements.
func (t *Tensor) Len() int { return t.shape.Len() }

// Bytes are the raw little-endian elements, shared; nil for strings.
func (t *Tensor) Bytes() []byte { return t.data }

// Strings are the elements of a String tensor, shared.
func (t *Tensor) Strings() []string { return t.strings }

// Items are the elements of a list, shared.
func (t *Tensor) Items() []*Tensor { return t.items }

// Data are the elements, shared. It panics if T is not how the tensor's type is
// stored; Float16 and BFloat16 are stored as uint16, types of under a byte as uint8.
func Data[T Element](t *Tensor) []T {
	var zero T
	if !stores[T](t.dtype) {
		panic(fmt.Sprintf("tensor.Data: a %v tensor is not stored as %T", t.dtype, zero))
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(t.data))), len(t.data)/int(unsafe.Sizeof(zero)))
}

// F32 is Data[float32].
func (t *Tensor) F32() []float32 { return Data[float32](t) }

// I64 is Data[int64].
func (t *Tensor) I64() []int64 { return Data[int64](t) }

// Ints are the elements of an int64 or int32 tensor, copied; nil if it is of another type.
func (t *Tensor) Ints() []int {
	if t.dtype != Int64 && t.dtype != Int32 {
		return nil
	}
	return t.AppendInts(make([]int, 0, t.Len()))
}

// AppendInts appends the elements of an int64 or int32 tensor.
func (t *Tensor) AppendInts(dst []int) []int {
	switch t.dtype {
	case Int64:
		for _, v := range t.I64() {
			dst = append(dst, int(v))
		}
	case Int32:
		for _, v := range Data[int32](t) {
			dst = append(dst, int(v))
		}
	}
	return dst
}

// Reshaped shares the elements under another shape of the same length.
func (t *Tensor) Reshaped(shape ...int) *Tensor {
	s := slices.Clone(Shape(shape))
	if s.Len() != t.Len() {
		panic(fmt.Sprintf("tensor.Reshaped: %v to %v", t.shape, s))
	}
	return &Tensor{dtype: t.dtype, shape: s, data: t.data, strings: t.strings}
}

// Rows shares the elements of rows lo to hi of the first dimension. The type must
// take whole bytes.
func (t *Tensor) Rows(lo, hi int) *Tensor {
	s := slices.Clone(t.shape)
	row := Shape(s[1:]).Len()
	s[0] = hi - lo
	if t.dtype == String {
		return &Tensor{dtype: t.dtype, shape: s, strings: t.strings[lo*row : hi*row]}
	}
	size := row * t.dtype.Bits() / 8
	return &Tensor{dtype: t.dtype, shape: s, data: t.data[lo*size : hi*size : hi*size]}
}

// Clone copies the elements.
func (t *Tensor) Clone() *Tensor {
	if t.dtype.List() {
		items := make([]*Tensor, len(t.items))
		for i, x := range t.items {
			items[i] = x.Clone()
		}
		return OfTensors(t.dtype, items)
	}
	c := New(t.dtype, t.shape...)
	copy(c.data, t.data)
	copy(c.strings, t.strings)
	return c
}

// CopyFrom overwrites the elements of t with those of x, whose type and shape must be
// the same. Lists cannot be overwritten.
func (t *Tensor) CopyFrom(x *Tensor) error {
	if t.dtype != x.dtype || !t.shape.Equal(x.shape) || t.dtype.Bits() == 0 && t.dtype != String {
		return fmt.Errorf("%v cannot take the elements of %v", t, x)
	}
	copy(t.data, x.data)
	copy(t.strings, x.strings)
	return nil
}

// Become makes t describe the same elements as x, for executors.
func (t *Tensor) Become(x *Tensor) { *t = *x }

// Alias makes t hold the elements of x under t's own shape, for executors.
func (t *Tensor) Alias(x *Tensor) {
	t.dtype, t.data, t.strings, t.items = x.dtype, x.data, x.strings, x.items
}

// Set makes t describe data of a type and shape without allocating: for views
// that an executor rebinds. The shape is borrowed.
func (t *Tensor) Set(d DType, shape Shape, data []byte) {
	*t = Tensor{dtype: d, shape: shape, data: data}
}

// String describes type and shape, not the elements.
func (t *Tensor) String() string { return fmt.Sprintf("%v[%v]", t.dtype, t.shape) }

func bytesOf[T Element](elements []T) []byte {
	var zero T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(elements))), len(elements)*int(unsafe.Sizeof(zero)))
}

func dtypeOf[T Element]() DType {
	var zero T
	switch any(zero).(type) {
	case float32:
		return Float32
	case float64:
		return Float64
	case int8:
		return Int8
	case int16:
		return Int16
	case int32:
		return Int32
	case int64:
		return Int64
	case uint8:
		return Uint8
	case uint16:
		return Uint16
	case uint32:
		return Uint32
	case uint64:
		return Uint64
	case bool:
		return Bool
	}
	panic(fmt.Sprintf("tensor: %T has no element type of its own", zero))
}

func stores[T Element](d DType) bool {
	var zero T
	switch any(zero).(type) {
	case float32:
		return d == Float32
	case float64:
		return d == Float64
	case int8:
		return d == Int8
	case int16:
		return d == Int16
	case int32:
		return d == Int32
	case int64:
		return d == Int64
	case uint8:
		return d.Bits() > 0 && d.Bits() <= 8 && d != Int8
	case uint16:
		return d == Uint16 || d == Float16 || d == BFloat16
	case uint32:
		return d == Uint32
	case uint64:
		return d == Uint64
	case bool:
		return d == Bool
	}
	return false
}
