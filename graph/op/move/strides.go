package move

import (
	"fmt"

	"tandem/graph"
	"tandem/tensor"
)

// Strides describe a box of elements that is copied from one layout to another.
type Strides struct {
	Shape        []int // of the box
	To, From     []int // elements from one to the next, by dimension; From may be 0 or negative
	ToAt, FromAt int   // where the first element lies
	index        []int
}

// Box makes strides from a dense tensor of that shape to a dense tensor of the
// same shape; callers change what differs.
func Box(shape []int) *Strides {
	s := &Strides{Shape: append([]int{}, shape...), To: Dense(shape), From: Dense(shape), index: make([]int, len(shape))}
	return s
}

// Dense are the strides of a row-major tensor.
func Dense(shape []int) []int {
	out, n := make([]int, len(shape)), 1
	for i := len(shape) - 1; i >= 0; i-- {
		out[i] = n
		n *= shape[i]
	}
	return out
}

// Broadcast makes strides that repeat a dense tensor of shape in over one of shape out,
// by the rules of ONNX.
func Broadcast(in, out []int) (*Strides, error) {
	s := Box(out)
	clear(s.From)
	for i, stride := range Dense(in) {
		j := i + len(out) - len(in)
		switch in[i] {
		case out[j]:
			s.From[j] = stride
		case 1:
		default:
			return nil, fmt.Errorf("shape %v cannot be expanded to %v", in, out)
		}
	}
	return s, nil
}

// Compact drops dimensions of 1 and joins neighbours that lie one after the other
// on both sides, so that the innermost run is as long as it can be.
func (s *Strides) Compact() *Strides {
	n := 0
	for i, d := range s.Shape {
		switch {
		case d == 1:
			continue
		case n > 0 && s.To[n-1] == s.To[i]*d && s.From[n-1] == s.From[i]*d:
			s.Shape[n-1] *= d
			s.To[n-1], s.From[n-1] = s.To[i], s.From[i]
			continue
		}
		s.Shape[n], s.To[n], s.From[n] = d, s.To[i], s.From[i]
		n++
	}
	s.Shape, s.To, s.From = s.Shape[:n], s.To[:n], s.From[:n]
	return s
}

func copyStrided[T Cell](dst, src []T, s *Strides) {
	for _, d := range s.Shape {
		if d <= 0 {
			return
		}
	}
	last := len(s.Shape) - 1
	if last < 0 {
		dst[s.ToAt] = src[s.FromAt]
		return
	}
	clear(s.index)
	t, f := s.ToAt, s.FromAt
	for {
		copyRow(dst, src, t, f, s.Shape[last], s.To[last], s.From[last])
		d := last - 1
		for ; d >= 0; d-- {
			s.index[d]++
			t, f = t+s.To[d], f+s.From[d]
			if s.index[d] < s.Shape[d] {
				break
			}
			t, f = t-s.To[d]*s.Shape[d], f-s.From[d]*s.Shape[d]
			s.index[d] = 0
		}
		if d < 0 {
			return
		}
	}
}

func copyRow[T Cell](dst, src []T, t, f, n, to, from int) {
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

// EachRow goes over the rows of a dense shape: row is the offset of a row's first
// element there, and at its offset under the given strides.
func EachRow(shape, stride []int, row func(row, at int) error) error {
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

// Kernel is the kernel of an operator that copies input 0 by strides that
// depend on shapes and attributes alone.
func Kernel(plan func(c *graph.Call) (*Strides, error)) graph.Kernel {
	return Unpacked(func(c *graph.Call) (func() error, error) {
		m, err := Of(c.In[0].DType())
		if err != nil {
			return nil, err
		}
		s, err := plan(c)
		if err != nil {
			return nil, err
		}
		s.Compact()
		return func() error {
			m.Strided(c.Out[0], c.In[0], s)
			return nil
		}, nil
	})
}
