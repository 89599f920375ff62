package op

import (
	"fmt"
	"math"

	"tandem/graph"
	"tandem/graph/op/narrow"
	"tandem/kernel"
	"tandem/tensor"
)

// foldOps are the functions of any number of operands, and Clip.
func foldOps() []graph.Op {
	self := []graph.Alias{{In: 0, Out: 0}}
	return []graph.Op{
		{ID: onnx("Max"), Since: 1, Infer: inferFold(numbers), Kernel: kernelFold(opMax), Grad: gradExtreme},
		{ID: onnx("Min"), Since: 1, Infer: inferFold(numbers), Kernel: kernelFold(opMin), Grad: gradExtreme},
		{ID: onnx("Sum"), Since: 1, Infer: inferFold(floats), Kernel: kernelFold(opAdd), Grad: gradSum},
		{ID: onnx("Mean"), Since: 1, Infer: inferFold(floats), Kernel: kernelMean, Grad: gradMean},
		{ID: onnx("Clip"), Since: 1, Infer: inferClip, Kernel: kernelClip, Grad: gradClip, InPlace: self, Rows: byRow(0)},
	}
}

// inferFold is the rule of one operand and more, which check accepts. Before
// version 8 they were not broadcast.
func inferFold(check func(c *graph.Infer, inputs ...int) error) func(*graph.Infer) error {
	return func(c *graph.Infer) error {
		n := len(c.Node.Inputs)
		if err := c.Require(max(n, 1), n); err != nil {
			return err
		}
		all := make([]int, n)
		for i := range all {
			all[i] = i
		}
		if err := check(c, all...); err != nil {
			return err
		}
		shape := c.In(0).Shape
		for i := 1; i < n; i++ {
			var err error
			if shape, err = graph.Broadcast(shape, c.In(i).Shape); err != nil {
				return err
			}
		}
		c.Out(0, c.In(0).DType, shape)
		switch {
		case n == 2 && c.Node.Op.Name == "Max":
			followBoth(c, func(a, b graph.Dim) (graph.Dim, bool) { return a.Max(b), true })
		case n == 2 && c.Node.Op.Name == "Min":
			followBoth(c, func(a, b graph.Dim) (graph.Dim, bool) { return a.Min(b), true })
		}
		return nil
	}
}

func kernelFold(op arithmeticOp) graph.Kernel {
	return narrow.Widened(func(c *graph.Call) (func() error, error) {
		switch c.In[0].DType() {
		case tensor.Float32:
			return mapRows[float32](c, 0, foldRows[float32](op))
		case tensor.Float64:
			return mapRows[float64](c, 0, foldRows[float64](op))
		case tensor.Int8:
			return mapRows[int8](c, 0, foldRows[int8](op))
		case tensor.Int16:
			return mapRows[int16](c, 0, foldRows[int16](op))
		case tensor.Int32:
			return mapRows[int32](c, 0, foldRows[int32](op))
		case tensor.Int64:
			return mapRows[int64](c, 0, foldRows[int64](op))
		case tensor.Uint8:
			return mapRows[uint8](c, 0, foldRows[uint8](op))
		case tensor.Uint16:
			return mapRows[uint16](c, 0, foldRows[uint16](op))
		case tensor.Uint32:
			return mapRows[uint32](c, 0, foldRows[uint32](op))
		case tensor.Uint64:
			return mapRows[uint64](c, 0, foldRows[uint64](op))
		}
		return nil, fmt.Errorf("%v does not calculate with %v", c.Node.Op, c.In[0].DType())
	})
}

func kernelMean(c *graph.Call) (func() error, error) {
	n := float64(len(c.In))
	return narrow.Widened(func(c *graph.Call) (func() error, error) {
		mean := func(x float64) float64 { return x / n }
		if c.In[0].DType() == tensor.Float64 {
			return mapRows[float64](c, 0, sumThen[float64](mean))
		}
		return mapRows[float32](c, 0, sumThen[float32](mean))
	})(c)
}

func gradSum(g *graph.Gradient) error {
	for i := range g.Node.Inputs {
		if g.Needs(i) {
			g.Set(i, sumTo(g, g.Out(0), i))
		}
	}
	return nil
}

func gradMean(g *graph.Gradient) error {
	n := g.Scalar("n", float32(len(g.Node.Inputs)))
	share := g.Op("Div", nil, g.Out(0), n)
	for i := range g.Node.Inputs {
		if g.Needs(i) {
			g.Set(i, sumTo(g, share, i))
		}
	}
	return nil
}

// inferClip: the limits are attributes before version 11, then inputs.
func inferClip(c *graph.Infer) error {
	if err := c.Require(1, 3); err != nil {
		return err
	}
	if err := numbers(c, 0, 1, 2); err != nil {
		return err
	}
	for i := 1; i < 3; i++ {
		if c.Has(i) {
			if n, ok := c.In(i).Shape.Len().Value(); ok && n != 1 {
				return fmt.Errorf("input %d (%s) has shape %v, expected a scalar", i, c.Node.Inputs[i].Name, c.In(i).Shape)
			}
		}
	}
	c.Out(0, c.In(0).DType, c.In(0).Shape)
	return nil
}

func kernelClip(c *graph.Call) (func() error, error) {
	return narrow.Widened(func(c *graph.Call) (func() error, error) {
		switch c.In[0].DType() {
		case tensor.Float32:
			return clipFloats(c)
		case tensor.Float64:
			return clip[float64](c)
		case tensor.Int8:
			return clip[int8](c)
		case tensor.Int16:
			return clip[int16](c)
		case tensor.Int32:
			return clip[int32](c)
		case tensor.Int64:
			return clip[int64](c)
		case tensor.Uint8:
			return clip[uint8](c)
		case tensor.Uint16:
			return clip[uint16](c)
		case tensor.Uint32:
			return clip[uint32](c)
		case tensor.Uint64:
			return clip[uint64](c)
		}
		return nil, fmt.Errorf("%v does not calculate with %v", c.Node.Op, c.In[0].DType())
	})(c)
}

// clipFloats is clip in float32.
func clipFloats(c *graph.Call) (func() error, error) {
	none := float32(math.NaN())
	limit := func(i int, name string) float32 {
		if c.Has(i) {
			return c.F32(i)[0]
		}
		return c.Node.Attrs.Float(name, none)
	}
	k := &kernel.Clip{}
	return func() error {
		k.X, k.Y, k.Low, k.High = c.F32(0), c.Out[0].F32(), limit(1, "min"), limit(2, "max")
		k.Run(c.Pool)
		return nil
	}, nil
}

// clip: min(max(x, low), high), in this order (ONNX, Clip: where low is above
// high, all elements become high). NaN stays.
func clip[T anyNumber](c *graph.Call) (func() error, error) {
	var low, high *T
	attr := func(name string) *T {
		v, ok := c.Node.Attrs[name].(float32)
		if !ok {
			return nil
		}
		t := T(v)
		return &t
	}
	least, most := attr("min"), attr("max")
	limit := func(i int, def *T) *T {
		if c.Has(i) {
			return &asElements[T](c.In[i].Bytes())[0]
		}
		return def
	}
	run, err := mapElements(c, func(y, x []T) {
		for i, v := range x {
			if low != nil && v < *low {
				v = *low
			}
			if high != nil && v > *high {
				v = *high
			}
			y[i] = v
		}
	})
	return func() error {
		low, high = limit(1, least), limit(2, most)
		return run()
	}, err
}

// gradClip passes what was not clipped.
func gradClip(g *graph.Gradient) error {
	d, zero := g.Out(0), g.Scalar("zero", 0)
	keep := func(relation string, limit *graph.Value) {
		d = g.Op("Where", nil, g.Op(relation, nil, g.In(0), limit), zero, d)
	}
	for i, name := range []string{"min", "max"} {
		relation := []string{"Less", "Greater"}[i]
		if v := g.In(i + 1); v != nil {
			keep(relation, v)
		} else if v, ok := g.Node.Attrs[name].(float32); ok {
			keep(relation, g.Const(name, tensor.Scalar(v)))
		}
	}
	g.Set(0, d)
	return nil
}
