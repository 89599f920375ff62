package op

import (
	"fmt"
	"math"
	"slices"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// The operators of com.microsoft that calculate with quantized numbers: their
// inputs are a, its scale and zero point, b, its scale and zero point, and the
// scale and the zero point of the result. Zero points may be absent.

func inferQLinear(c *graph.Infer) error {
	if err := c.Require(7, 8); err != nil {
		return err
	}
	for _, i := range []int{0, 1, 3, 4, 6} {
		if !c.Has(i) {
			return fmt.Errorf("input %d is missing", i)
		}
	}
	if err := alike(c, 0, 2, 3, 5, 7); err != nil {
		return err
	}
	d := c.In(0).DType
	if d != tensor.Uint8 && d != tensor.Int8 {
		return fmt.Errorf("input 0 (%s) is %v, expected uint8 or int8", c.Node.Inputs[0].Name, d)
	}
	if err := c.Floats(1, 4, 6); err != nil {
		return err
	}
	for _, i := range []int{1, 2, 4, 5, 6, 7} {
		if !c.Has(i) {
			continue
		}
		if n, ok := c.In(i).Shape.Len().Value(); ok && n != 1 {
			return fmt.Errorf("input %d (%s) has shape %v, expected one number", i, c.Node.Inputs[i].Name, c.In(i).Shape)
		}
	}
	shape, err := graph.Broadcast(c.In(0).Shape, c.In(3).Shape)
	c.Out(0, d, shape)
	return err
}

func kernelQLinear(product bool) graph.Kernel {
	return func(c *graph.Call) (func() error, error) {
		if c.In[0].Shape().Equal(c.In[3].Shape()) {
			return combineBytes(c, &kernel.CombineBytes{Product: product}, 0, 3), nil
		}
		for _, first := range []int{0, 3} {
			if columns, repeat := repeatedRows(c.In[first].Shape(), c.In[3-first].Shape()); columns >= combinedColumns {
				return combineBytes(c, &kernel.CombineBytes{Product: product, Columns: columns, Repeat: repeat}, first, 3-first), nil
			}
		}
		if c.In[0].DType() == tensor.Int8 {
			return qLinear[int8](c, product)
		}
		return qLinear[uint8](c, product)
	}
}

// qScale is a scale with a zero point.
type qScale struct{ scale, zero float32 }

// qLinear is CombineBytes, as it rounds, for any shapes.
func qLinear[T int8 | uint8](c *graph.Call, product bool) (func() error, error) {
	in := c.In
	f := func(a, b float32) float32 { return a + b }
	if product {
		f = func(a, b float32) float32 { return a * b }
	}
	var a, b, y qScale
	lo, hi := numberRange(in[0].DType())
	c.In = []*tensor.Tensor{in[0], in[3]}
	run, err := mapRows[T](c, 0, func(out []T, x [][]T) error {
		for i := range out {
			v := f(float32((float32(x[0][i])-a.zero)*a.scale), float32((float32(x[1][i])-b.zero)*b.scale))
			out[i] = T(min(max(math.RoundToEven(float64(v))+float64(y.zero), lo), hi))
		}
		return nil
	})
	read := func(i int) qScale {
		l := qScale{scale: in[i].F32()[0]}
		if i+1 < len(in) && in[i+1] != nil {
			l.zero = float32(asElements[T](in[i+1].Bytes())[0])
		}
		return l
	}
	return func() error {
		a, b, y = read(1), read(4), read(6)
		if product {
			a.scale, b.scale = float32(a.scale*b.scale)/y.scale, 1
		} else {
			a.scale, b.scale = a.scale/y.scale, b.scale/y.scale
		}
		return run()
	}, err
}

// combinedColumns is the length of rows from which on combining them one by one pays.
const combinedColumns = 8

// repeatedRows tells how a is repeated for each element of b: its rows have so many
// columns, and each meets so many rows of b; no columns if a is no such tensor.
func repeatedRows(a, b tensor.Shape) (columns, repeat int) {
	if len(a) > len(b) || b.Len() == 0 {
		return 0, 0
	}
	a = append(slices.Repeat(tensor.Shape{1}, len(b)-len(a)), a...)
	from, until := 0, len(a)
	for from < until && a[from] == b[from] {
		from++
	}
	for until > from && a[until-1] == b[until-1] {
		until--
	}
	for _, d := range a[from:until] {
		if d != 1 {
			return 0, 0
		}
	}
	return b[until:].Len(), b[from:until].Len()
}

// combineBytes is qLinear for operands of one shape, or for inputs a, whose rows are
// repeated, and b.
func combineBytes(c *graph.Call, k *kernel.CombineBytes, a, b int) func() error {
	signed := c.In[0].DType() == tensor.Int8
	return func() error {
		k.OfA, k.OfB, k.OfY = stepsAt(c, a+1, signed), stepsAt(c, b+1, signed), stepsAt(c, 6, signed)
		k.A, k.B, k.Y = c.In[a].Bytes(), c.In[b].Bytes(), c.Out[0].Bytes()
		k.Run(c.Pool)
		return nil
	}
}

// stepsAt are those of the scale at input i and the zero point behind it, which may be
// absent.
func stepsAt(c *graph.Call, i int, signed bool) kernel.Steps {
	s := kernel.Steps{Scale: c.F32(i)[0], Signed: signed}
	if c.Has(i + 1) {
		s.Zero = int32(smallByte(c.In[i+1], 0))
	}
	return s
}
