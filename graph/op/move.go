package op

import (
	"fmt"
	"unsafe"

	"tandem/graph"
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

// strides describe a box of elements that is copied from one layout to another.
type strides struct {
	shape        []int // of the box
	to, from     []int // elements from one to the next, by dimension; from may be 0 or negative
	toAt, fromAt int   // where the first element lies
	index        []int
}

// box makes strides from a dense tensor of that shape to a dense tensor of the
// same shape; callers change what differs.
func box(shape []int) *strides {
	s := &strides{shape: append([]int{}, shape...), to: dense(shape), from: dense(shape), index: make([]int, len(shape))}
	return s
}

// dense are the strides of a row-major tensor.
func dense(shape []int) []int {
	out, n := make([]int, len(shape)), 1
	for i := len(shape) - 1; i >= 0; i-- {
		out[i] = n
		n *= shape[i]
	}
	return out
}

// compact drops dimensions of 1 and joins neighbours that lie one after the other
// on both sides, so that the innermost run is as long as it can be.
func (s *strides) compact() *strides {
	n := 0
	for i, d := range s.shape {
		switch {
		case d == 1:
			continue
		case n > 0 && s.to[n-1] == s.to[i]*d && s.from[n-1] == s.from[i]*d:
			s.shape[n-1] *= d
			s.to[n-1], s.from[n-1] = s.to[i], s.from[i]
			continue
		}
		s.shape[n], s.to[n], s.from[n] = d, s.to[i], s.from[i]
		n++
	}
	s.shape, s.to, s.from = s.shape[:n], s.to[:n], s.from[:n]
	return s
}

func copyStrided[T cell](dst, src []T, s *strides) {
	for _, d := range s.shape {
		if d <= 0 {
			return
		}
	}
	last := len(s.shape) - 1
	if last < 0 {
		dst[s.toAt] = src[s.fromAt]
		return
	}
	clear(s.index)
	t, f := s.toAt, s.fromAt
	for {
		copyRow(dst, src, t, f, s.shape[last], s.to[last], s.from[last])
		d := last - 1
		for ; d >= 0; d-- {
			s.index[d]++
			t, f = t+s.to[d], f+s.from[d]
			if s.index[d] < s.shape[d] {
				break
			}
			t, f = t-s.to[d]*s.shape[d], f-s.from[d]*s.shape[d]
			s.index[d] = 0
		}
		if d < 0 {
			return
		}
	}
}

func copyRow[T cell](dst, src []T, t, f, n, to, from int) {
	switch {
	case to == 1 && from == 1:
		copy(dst[t:][:n], src[f:])
	case to == 1 && from == 0:
		fillCells(dst[t:][:n], src[f])
	default:
		for range n {
			dst[t] = src[f]
			t, f = t+to, f+from
		}
	}
}

// eachRow goes over the rows of a dense shape: row is the offset of a row's first
// element there, and at its offset under the given strides.
func eachRow(shape, stride []int, row func(row, at int) error) error {
	last := len(shape) - 1
	if last < 0 {
		return row(0, 0)
	}
	if tensor.Shape(shape).Len() == 0 {
		return nil
	}
	var room [16]int // on the stack for every rank that occurs
	index := room[:min(last, len(room))]
	if last > len(room) {
		index = make([]int, last)
	}
	for r, at := 0, 0; ; r += shape[last] {
		if err := row(r, at); err != nil {
			return err
		}
		d := last - 1
		for ; d >= 0; d-- {
			index[d]++
			at += stride[d]
			if index[d] < shape[d] {
				break
			}
			at -= stride[d] * shape[d]
			index[d] = 0
		}
		if d < 0 {
			return nil
		}
	}
}

// stridedKernel is the kernel of an operator that copies input 0 by strides that
// depend on shapes and attributes alone.
func stridedKernel(plan func(c *graph.Call) (*strides, error)) preparer {
	return unpacked(func(c *graph.Call) (func() error, error) {
		m, err := moverOf(c.In[0].DType())
		if err != nil {
			return nil, err
		}
		s, err := plan(c)
		if err != nil {
			return nil, err
		}
		s.compact()
		return func() error {
			m.strided(c.Out[0], c.In[0], s)
			return nil
		}, nil
	})
}

// unpacked lets a kernel that moves elements see those of under a byte as bytes.
func unpacked(kernel preparer) preparer {
	return func(c *graph.Call) (func() error, error) {
		var before, after []func()
		for i, x := range c.In {
			if x != nil && isPacked(x.DType()) {
				wide, err := c.New(tensor.Uint8, x.Shape()...)
				if err != nil {
					return nil, err
				}
				c.In[i] = wide
				before = append(before, func() { unpackBits(wide.Bytes(), x) })
			}
		}
		for i, y := range c.Out {
			if y != nil && isPacked(y.DType()) {
				wide, err := c.New(tensor.Uint8, y.Shape()...)
				if err != nil {
					return nil, err
				}
				c.Out[i] = wide
				after = append(after, func() { packBits(y, wide.Bytes()) })
			}
		}
		run, err := kernel(c)
		if err != nil || len(before)+len(after) == 0 {
			return run, err
		}
		return func() error {
			for _, f := range before {
				f()
			}
			if err := run(); err != nil {
				return err
			}
			for _, f := range after {
				f()
			}
			return nil
		}, nil
	}
}

func isPacked(d tensor.DType) bool { return d.Bits() > 0 && d.Bits() < 8 }

// unpackBits puts the bits of each element into a byte of its own.
func unpackBits(dst []byte, src *tensor.Tensor) {
	bits := src.DType().Bits()
	per, mask, b := 8/bits, byte(1)<<bits-1, src.Bytes()
	for i := range dst {
		dst[i] = b[i/per] >> (i % per * bits) & mask
	}
}

// packBits is the inverse of unpackBits.
func packBits(dst *tensor.Tensor, src []byte) {
	bits := dst.DType().Bits()
	per, mask, b := 8/bits, byte(1)<<bits-1, dst.Bytes()
	clear(b)
	for i, v := range src {
		b[i/per] |= v & mask << (i % per * bits)
	}
}
