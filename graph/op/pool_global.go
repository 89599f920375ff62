package op

import (
	"fmt"
	"math"
	"slices"

	"tandem/graph"
	"tandem/tensor"
)

// inferGlobalPool: [n,c,spatial…] -> [n,c,1…].
func inferGlobalPool(c *graph.Infer) error {
	if err := c.Require(1, 1); err != nil {
		return err
	}
	if err := floats(c, 0); err != nil {
		return err
	}
	out, err := globalShape(c)
	if err == nil {
		c.Out(0, c.In(0).DType, out)
	}
	return err
}

func globalShape(c *graph.Infer) (graph.Shape, error) {
	x := c.In(0).Shape
	if len(x) < 2 {
		return nil, fmt.Errorf("input %v has no channels", x)
	}
	out := slices.Clone(x)
	for axis := range out[2:] {
		out[axis+2] = graph.Const(1)
	}
	return out, nil
}

// perPlane reduces each plane to one number.
func perPlane[T float32 | float64](c *graph.Call, reduce func([]T) T) func() error {
	in := c.In[0].Shape()[2:].Len()
	body := func(lo, hi, _ int) {
		x, y := tensor.Data[T](c.In[0]), tensor.Data[T](c.Out[0])
		for p := lo; p < hi; p++ {
			y[p] = reduce(x[p*in:][:in])
		}
	}
	return func() error {
		c.Pool.For(c.Out[0].Len(), max(1, (1<<14)/max(1, in)), body)
		return nil
	}
}

func kernelGlobalAverage[T float32 | float64](c *graph.Call) (func() error, error) {
	return perPlane(c, func(x []T) T {
		sum := 0.0
		for _, v := range x {
			sum += float64(v)
		}
		return T(sum / float64(len(x)))
	}), nil
}

func kernelGlobalMax[T float32 | float64](c *graph.Call) (func() error, error) {
	return perPlane(c, func(x []T) T {
		best := T(math.Inf(-1))
		for _, v := range x {
			best = max(best, v)
		}
		return best
	}), nil
}

func kernelGlobalLp[T float32 | float64](c *graph.Call) (func() error, error) {
	p, err := lpOf(c.Node.Attrs)
	if err != nil {
		return nil, err
	}
	return perPlane(c, func(x []T) T {
		sum := 0.0
		for _, v := range x {
			sum += math.Pow(math.Abs(float64(v)), p)
		}
		return T(math.Pow(sum, 1/p))
	}), nil
}

func gradGlobalAverage(g *graph.Gradient) error {
	if g.In(0).Type.DType != tensor.Float32 {
		return fmt.Errorf("only float32 has a gradient, not %v", g.In(0).Type.DType)
	}
	g.Set(0, g.Private("GlobalAveragePoolGrad", nil, g.Out(0), g.In(0)))
	return nil
}

func kernelGlobalAverageGrad(c *graph.Call) (func() error, error) {
	in := c.In[1].Shape()[2:].Len()
	return func() error {
		dy, dx := c.F32(0), c.Out[0].F32()
		for p, v := range dy {
			for i := range dx[p*in:][:in] {
				dx[p*in+i] = v / float32(in)
			}
		}
		return nil
	}, nil
}

// inferMaxUnpool: (x, indices, output_shape) -> y.
func inferMaxUnpool(c *graph.Infer) error {
	if err := c.Require(2, 3); err != nil {
		return err
	}
	if err := floats(c, 0); err != nil {
		return err
	}
	x := c.In(0).Shape
	if i := c.In(1); i.DType != tensor.Int64 || len(i.Shape) != len(x) {
		return fmt.Errorf("the indices are %v, expected int64 of shape %v", i, x)
	}
	for axis, d := range c.In(1).Shape {
		if err := c.Same(d, x[axis], "dimensions of input and indices"); err != nil {
			return err
		}
	}
	out, err := unpooled(c.Node.Attrs, x)
	if err != nil {
		return err
	}
	if c.Has(2) {
		given, ok := c.Content(2)
		if !ok {
			return graph.ErrNeedsData
		}
		if len(given) != len(x) {
			return fmt.Errorf("output_shape %v does not have the rank of input %v", graph.Shape(given), x)
		}
		for axis, d := range given {
			n, ok1 := d.Value()
			least, ok2 := out[axis].Value()
			if ok1 && ok2 && n < least {
				return fmt.Errorf("output_shape %v is smaller than %v, which the window gives", graph.Shape(given), out)
			}
		}
		out = given
	}
	c.Out(0, c.In(0).DType, out)
	return nil
}

// unpooled is the shape that a pool with these attributes reduces to x.
func unpooled(a graph.Attrs, x graph.Shape) (graph.Shape, error) {
	w, err := readWindow(a, a.Ints("kernel_shape"))
	if err != nil {
		return nil, err
	}
	if len(x) != len(w.kernel)+2 {
		return nil, fmt.Errorf("input %v does not fit a window of %d dimensions", x, len(w.kernel))
	}
	out := slices.Clone(x)
	for axis := range w.kernel {
		d := x[axis+2].Sub(graph.Const(1)).Mul(graph.Const(w.stride[axis]))
		out[axis+2] = d.Add(graph.Const(w.kernel[axis] - w.before[axis] - w.after[axis]))
		if n, ok := out[axis+2].Value(); ok && n < 1 {
			return nil, fmt.Errorf("the padding leaves nothing of dimension %d of input %v", axis+2, x)
		}
	}
	return out, nil
}

// kernelMaxUnpool puts each element where its index says. Indices are those of the
// pooled tensor; a larger output_shape has it in its corner.
func kernelMaxUnpool(c *graph.Call) (func() error, error) {
	return floating(kernelMaxUnpoolOf[float32], kernelMaxUnpoolOf[float64])(c)
}

func kernelMaxUnpoolOf[T float32 | float64](c *graph.Call) (func() error, error) {
	x, y := c.In[0], c.Out[0]
	symbolic, err := unpooled(c.Node.Attrs, graph.Dims(x.Shape()...))
	if err != nil {
		return nil, err
	}
	inner, _ := symbolic.Static()
	strides, stride := make([]int, y.Rank()), 1
	for axis := y.Rank() - 1; axis >= 0; axis-- {
		strides[axis] = stride
		stride *= y.Dim(axis)
	}
	limit := int64(inner.Len())
	return func() error {
		from, to := tensor.Data[T](x), tensor.Data[T](y)
		clear(to)
		for i, at := range c.In[1].I64() {
			if at < 0 || at >= limit {
				return fmt.Errorf("index %d is not one of the %d elements of shape %v", at, limit, inner)
			}
			off, rest := 0, int(at)
			for axis := len(inner) - 1; axis >= 0; axis-- {
				off += rest % inner[axis] * strides[axis]
				rest /= inner[axis]
			}
			to[off] = from[i]
		}
		return nil
	}, nil
}
