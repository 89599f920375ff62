package move

import (
	"fmt"
	"unsafe"

	"tandem/tensor"
)

// Cell is an element as those see it who move it: by its size alone.
type Cell interface {
	uint8 | uint16 | uint32 | uint64 | [16]byte | string
}

// Mover moves elements of one size between tensors. Offsets and lengths count
// elements.
type Mover struct {
	// Strided copies a box of elements.
	Strided func(dst, src *tensor.Tensor, s *Strides)
	// Pick copies blocks from the offsets base+from[i] to at, at+block, …; a
	// negative from leaves its block as it is.
	Pick func(dst *tensor.Tensor, at int, src *tensor.Tensor, base int, from []int, block int)
	// Put copies the blocks at at, at+block, … to the offsets to[i], in their order.
	Put func(dst *tensor.Tensor, to []int, src *tensor.Tensor, at, block int)
	// Fill sets n elements from at to the i-th element of value; zeros if it is nil.
	Fill func(dst *tensor.Tensor, at, n int, value *tensor.Tensor, i int)
}

// Of is the mover for elements of a type. Types of under a byte must have
// been unpacked into bytes before.
func Of(d tensor.DType) (Mover, error) {
	if d == tensor.String {
		return For[string](), nil
	}
	switch d.Bits() {
	case 8:
		return For[uint8](), nil
	case 16:
		return For[uint16](), nil
	case 32:
		return For[uint32](), nil
	case 64:
		return For[uint64](), nil
	case 128:
		return For[[16]byte](), nil
	}
	return Mover{}, fmt.Errorf("elements of type %v cannot be moved", d)
}

// For is the mover of elements of a size.
func For[T Cell]() Mover {
	return Mover{
		Strided: func(dst, src *tensor.Tensor, s *Strides) { copyStrided(Cells[T](dst), Cells[T](src), s) },
		Pick: func(dst *tensor.Tensor, at int, src *tensor.Tensor, base int, from []int, block int) {
			pickCells(Cells[T](dst)[at:], Cells[T](src), base, from, block)
		},
		Put: func(dst *tensor.Tensor, to []int, src *tensor.Tensor, at, block int) {
			putCells(Cells[T](dst), to, Cells[T](src)[at:], block)
		},
		Fill: func(dst *tensor.Tensor, at, n int, value *tensor.Tensor, i int) {
			var v T
			if value != nil {
				v = Cells[T](value)[i]
			}
			fillCells(Cells[T](dst)[at:][:n], v)
		},
	}
}

// Cells are the elements of a tensor as raw storage.
func Cells[T Cell](t *tensor.Tensor) []T {
	if s, ok := any(t.Strings()).([]T); ok {
		return s
	}
	b := t.Bytes()
	var zero T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(zero)))
}

func fillCells[T Cell](dst []T, v T) {
	for i := range dst {
		dst[i] = v
	}
}

func pickCells[T Cell](dst, src []T, base int, from []int, block int) {
	if block == 1 {
		for i, f := range from {
			if f >= 0 {
				dst[i] = src[base+f]
			}
		}
		return
	}
	for i, f := range from {
		if f >= 0 {
			copy(dst[i*block:][:block], src[base+f:])
		}
	}
}

func putCells[T Cell](dst []T, to []int, src []T, block int) {
	if block == 1 {
		for i, t := range to {
			dst[t] = src[i]
		}
		return
	}
	for i, t := range to {
		copy(dst[t:][:block], src[i*block:])
	}
}
