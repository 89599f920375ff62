package op

import (
	"fmt"
	"unsafe"

	"tandem/tensor"
)

// cell is an element as those see it who move it: by its size alone.
type cell interface {
	uint8 | uint16 | uint32 | uint64 | [16]byte | string
}

// mover moves elements of one size between tensors. Offsets and lengths count
// elements.
type mover struct {
	// strided copies a box of elements.
	strided func(dst, src *tensor.Tensor, s *strides)
	// pick copies blocks from the offsets base+from[i] to at, at+block, …; a
	// negative from leaves its block as it is.
	pick func(dst *tensor.Tensor, at int, src *tensor.Tensor, base int, from []int, block int)
	// put copies the blocks at at, at+block, … to the offsets to[i], in their order.
	put func(dst *tensor.Tensor, to []int, src *tensor.Tensor, at, block int)
	// fill sets n elements from at to the i-th element of value; zeros if it is nil.
	fill func(dst *tensor.Tensor, at, n int, value *tensor.Tensor, i int)
}

// moverOf is the mover for elements of a type. Types of under a byte must have
// been unpacked into bytes before.
func moverOf(d tensor.DType) (mover, error) {
	if d == tensor.String {
		return moverFor[string](), nil
	}
	switch d.Bits() {
	case 8:
		return moverFor[uint8](), nil
	case 16:
		return moverFor[uint16](), nil
	case 32:
		return moverFor[uint32](), nil
	case 64:
		return moverFor[uint64](), nil
	case 128:
		return moverFor[[16]byte](), nil
	}
	return mover{}, fmt.Errorf("elements of type %v cannot be moved", d)
}

func moverFor[T cell]() mover {
	return mover{
		strided: func(dst, src *tensor.Tensor, s *strides) { copyStrided(cells[T](dst), cells[T](src), s) },
		pick: func(dst *tensor.Tensor, at int, src *tensor.Tensor, base int, from []int, block int) {
			pickCells(cells[T](dst)[at:], cells[T](src), base, from, block)
		},
		put: func(dst *tensor.Tensor, to []int, src *tensor.Tensor, at, block int) {
			putCells(cells[T](dst), to, cells[T](src)[at:], block)
		},
		fill: func(dst *tensor.Tensor, at, n int, value *tensor.Tensor, i int) {
			var v T
			if value != nil {
				v = cells[T](value)[i]
			}
			fillCells(cells[T](dst)[at:][:n], v)
		},
	}
}

// cells are the elements of a tensor as raw storage.
func cells[T cell](t *tensor.Tensor) []T {
	if s, ok := any(t.Strings()).([]T); ok {
		return s
	}
	b := t.Bytes()
	var zero T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(zero)))
}

func fillCells[T cell](dst []T, v T) {
	for i := range dst {
		dst[i] = v
	}
}

func pickCells[T cell](dst, src []T, base int, from []int, block int) {
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

func putCells[T cell](dst []T, to []int, src []T, block int) {
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
