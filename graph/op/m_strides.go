package op

import (
	"fmt"

	"tandem/graph"
	"tandem/tensor"
)

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

// expandStrides broadcast a shape to another one.
func expandStrides(in, out []int) (*strides, error) {
	s := box(out)
	clear(s.from)
	for i, stride := range dense(in) {
		j := i + len(out) - len(in)
		switch in[i] {
		case out[j]:
			s.from[j] = stride
		case 1:
		default:
			return nil, fmt.Errorf("shape %v cannot be expanded to %v", in, out)
		}
	}
	return s, nil
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
func stridedKernel(plan func(c *graph.Call) (*strides, error)) graph.Kernel {
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
