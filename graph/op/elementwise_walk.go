package op

import (
	"fmt"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// walk finds, for each row of an output shape, where a broadcast operand's row
// begins.
type walk struct {
	out     tensor.Shape
	strides []int // of the operand in elements, by output dimension; 0 where it repeats
}

func newWalk(out, in tensor.Shape) (*walk, error) {
	w := &walk{out: out, strides: make([]int, len(out))}
	stride := 1
	for i := len(in) - 1; i >= 0; i-- {
		j := i + len(out) - len(in)
		switch {
		case in[i] == out[j]:
			w.strides[j] = stride
		case in[i] != 1:
			return nil, fmt.Errorf("shape %v cannot be broadcast to %v", in, out)
		}
		stride *= in[i]
	}
	return w, nil
}

func (w *walk) last() int {
	if len(w.out) == 0 {
		return 1
	}
	return w.out[len(w.out)-1]
}

func (w *walk) rows() int {
	if len(w.out) == 0 {
		return 1
	}
	return w.out[:len(w.out)-1].Len()
}

// offset is where the operand's elements for an output row begin.
func (w *walk) offset(row int) int {
	off := 0
	for i := len(w.out) - 2; i >= 0; i-- {
		off += row % w.out[i] * w.strides[i]
		row /= w.out[i]
	}
	return off
}

// step is how far the operand's elements for an output row lie apart.
func (w *walk) step() int {
	if len(w.strides) == 0 {
		return 0
	}
	return w.strides[len(w.strides)-1]
}

// sum makes each element of to, which lies like the operand, the sum of the elements of
// from, of the output's shape, in their order.
func (w *walk) sum(to, from []float32) {
	clear(to)
	cols, step := w.last(), w.step()
	for row := range w.rows() {
		at := w.offset(row)
		for i, v := range from[row*cols:][:cols] {
			to[at+i*step] += v
		}
	}
}

// SumTo(x, like) adds x over the dimensions along which like was broadcast. Each
// sum goes over x in its own order.
func inferSumTo(c *graph.Infer) error {
	if err := c.Require(2, 2); err != nil {
		return err
	}
	c.Out(0, c.In(1).DType, c.In(1).Shape)
	return nil
}

func kernelSumTo(c *graph.Call) (func() error, error) {
	x, y := c.In[0], c.Out[0]
	if rows, cols, ok := columnSums(x.Shape(), y.Shape()); ok {
		k := &kernel.SumRows{Rows: rows, Cols: cols}
		return func() error {
			k.X, k.Dst = x.F32(), y.F32()
			k.Run(c.Pool)
			return nil
		}, nil
	}
	w, err := newWalk(x.Shape(), y.Shape())
	if err != nil {
		return nil, err
	}
	return func() error {
		w.sum(y.F32(), x.F32())
		return nil
	}, nil
}

// columnSums recognises the reduction of leading dimensions alone.
func columnSums(x, y tensor.Shape) (rows, cols int, ok bool) {
	trailing := y
	for len(trailing) > 0 && trailing[0] == 1 {
		trailing = trailing[1:]
	}
	if len(trailing) > len(x) || !x[len(x)-len(trailing):].Equal(trailing) {
		return 0, 0, false
	}
	return x[:len(x)-len(trailing)].Len(), trailing.Len(), true
}
