package op

import (
	"fmt"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// rotaryOps turn pairs of a head's elements by an angle that grows with the
// position. The domains differ in the order of the inputs.
func rotaryOps() []graph.Op {
	return []graph.Op{
		// (x, cos, sin, positions)
		{ID: onnx("RotaryEmbedding"), Since: 23, Infer: inferRotary(rotaryInputs{cos: 1, sin: 2, positions: 3}),
			Kernel: floating(kernelRotary[float32](rotaryInputs{1, 2, 3}), kernelRotary[float64](rotaryInputs{1, 2, 3})), Grad: rotaryInputs{1, 2, 3}.grad, Expand: rotaryInputs{1, 2, 3}.expand},
		// (x, positions, cos, sin)
		{ID: microsoft("RotaryEmbedding"), Since: 1, Infer: inferRotary(rotaryInputs{cos: 2, sin: 3, positions: 1}),
			Kernel: floating(kernelRotary[float32](rotaryInputs{2, 3, 1}), kernelRotary[float64](rotaryInputs{2, 3, 1})), Grad: rotaryInputs{2, 3, 1}.grad, Expand: rotaryInputs{2, 3, 1}.expand},
	}
}

// rotaryInputs are the indices of inputs.
type rotaryInputs struct{ cos, sin, positions int }

func inferRotary(in rotaryInputs) func(*graph.Infer) error {
	return func(c *graph.Infer) error {
		if err := c.Require(3, 4); err != nil {
			return err
		}
		if !c.Has(in.cos) || !c.Has(in.sin) {
			return fmt.Errorf("cosines or sines are missing")
		}
		if err := floats(c, 0, in.cos, in.sin); err != nil {
			return err
		}
		x, table := c.In(0).Shape, c.In(in.cos).Shape
		if len(x) != 3 && len(x) != 4 {
			return fmt.Errorf("the input has shape %v, expected 3 or 4 dimensions", x)
		}
		if !c.In(in.sin).Shape.Equal(table) {
			return fmt.Errorf("cosines have shape %v, sines %v", table, c.In(in.sin).Shape)
		}
		rank := 3
		if c.Has(in.positions) {
			rank = 2
			if d := c.In(in.positions).DType; d != tensor.Int64 {
				return fmt.Errorf("positions are %v, expected int64", d)
			}
		}
		if len(table) != rank {
			return fmt.Errorf("cosines have shape %v, expected %d dimensions", table, rank)
		}
		c.Out(0, c.In(0).DType, c.In(0).Shape)
		return nil
	}
}

// rotation turns the first 2·half elements of a head: halves against each other,
// or neighbours.
type rotation struct {
	half        int
	interleaved bool
}

func rotate[T wide](r rotation, y, x, cos, sin []T) {
	copy(y, x)
	for i := range r.half {
		a, b := i, i+r.half
		if r.interleaved {
			a, b = 2*i, 2*i+1
		}
		u, v := x[a], x[b]
		y[a] = cos[i]*u - sin[i]*v
		y[b] = sin[i]*u + cos[i]*v
	}
}

func kernelRotary[T wide](in rotaryInputs) graph.Kernel {
	return func(c *graph.Call) (func() error, error) {
		s, attrs := c.In[0].Shape(), c.Node.Attrs
		r := rotation{half: c.In[in.cos].Shape()[c.In[in.cos].Rank()-1], interleaved: attrs.Int("interleaved", 0) != 0}
		batch, rows, heads_ := s[0], s[1], 0
		dim, head := attrs.Int("rotary_embedding_dim", 0), 0
		if len(s) == 4 {
			heads_, rows, head = s[1], s[2], s[3]
		} else {
			if heads_ = rotaryHeads(c.Node, s[2], r.half); heads_ < 1 || s[2]%heads_ != 0 {
				return nil, fmt.Errorf("%d columns for num_heads %d", s[2], heads_)
			}
			head = s[2] / heads_
		}
		if dim == 0 {
			dim = head
		}
		if dim != 2*r.half || dim > head {
			return nil, fmt.Errorf("the table turns %d elements, %d of a head of %d are to be turned", 2*r.half, dim, head)
		}
		find, err := rotaryRows(c, in, batch, rows)
		if err != nil {
			return nil, err
		}
		if c.In[0].DType() == tensor.Float32 {
			k := &kernel.Rotary{Batch: batch, Rows: rows, Heads: heads_, Size: head, Half: r.half, Interleaved: r.interleaved}
			return vectorRotary(c, in, k, find), nil
		}
		return func() error {
			view := func(t *tensor.Tensor) heads[T] {
				if len(s) == 4 {
					return headsFirst(tensor.Data[T](t), heads_, rows, head)
				}
				return rowsFirst(tensor.Data[T](t), heads_, rows, head)
			}
			x, y := view(c.In[0]), view(c.Out[0])
			cos, sin := tensor.Data[T](c.In[in.cos]), tensor.Data[T](c.In[in.sin])
			for b := range batch {
				for row := range rows {
					at, err := find(b, row)
					if err != nil {
						return err
					}
					for h := range heads_ {
						rotate(r, y.at(b, h, row, head), x.at(b, h, row, head), cos[at*r.half:][:r.half], sin[at*r.half:][:r.half])
					}
				}
			}
			return nil
		}, nil
	}
}

// vectorRotary is for float32.
func vectorRotary(c *graph.Call, in rotaryInputs, k *kernel.Rotary, find func(b, row int) (int, error)) func() error {
	k.XS = kernel.Strides{Batch: k.Rows * k.Heads * k.Size, Head: k.Size, Row: k.Heads * k.Size}
	if c.In[0].Rank() == 4 {
		k.XS.Head, k.XS.Row = k.Rows*k.Size, k.Size
	}
	k.YS = k.XS
	k.Position = func(b, row int) int {
		at, _ := find(b, row)
		return at
	}
	return func() error {
		for b := range k.Batch {
			for row := range k.Rows {
				if _, err := find(b, row); err != nil {
					return err
				}
			}
		}
		k.X, k.Y, k.Cos, k.Sin = c.F32(0), c.Out[0].F32(), c.F32(in.cos), c.F32(in.sin)
		k.Run(c.Pool)
		return nil
	}
}

// rotaryHeads is the number of heads in an input of three dimensions. Microsoft's form finds
// it from the table.
func rotaryHeads(n *graph.Node, width, half int) int {
	heads := n.Attrs.Int("num_heads", 0)
	if heads == 0 && n.Op.Domain != "" && n.Attrs.Int("rotary_embedding_dim", 0) == 0 {
		heads = width / max(1, 2*half)
	}
	return heads
}

// rotaryRows finds the row of the table for a position: by the positions that are
// given, one for each row or (Microsoft) only where each example begins; or the
// table has a row for each.
func rotaryRows(c *graph.Call, in rotaryInputs, batch, rows int) (func(b, row int) (int, error), error) {
	table := c.In[in.cos].Shape()
	if !c.Has(in.positions) {
		if table[0] != batch && table[0] != 1 || table[1] != rows {
			return nil, fmt.Errorf("the table has shape %v for %d examples of %d rows", table, batch, rows)
		}
		return func(b, row int) (int, error) { return b%table[0]*rows + row, nil }, nil
	}
	positions := c.In[in.positions]
	n := positions.Len()
	if n != batch*rows && n != 1 {
		return nil, fmt.Errorf("%d positions for %d examples of %d rows", n, batch, rows)
	}
	offset := n == 1 && (positions.Rank() < 2 || rows != 1)
	return func(b, row int) (int, error) {
		at := 0
		if offset {
			at = int(positions.I64()[0]) + row
		} else {
			at = int(positions.I64()[min(n-1, b*rows+row)])
		}
		if at < 0 || at >= table[0] {
			return 0, fmt.Errorf("position %d, the table has %d", at, table[0])
		}
		return at, nil
	}, nil
}
