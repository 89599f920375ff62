package op

import (
	"fmt"
	"slices"

	"tandem/graph"
	"tandem/tensor"
)

// shapeOps rename elements without moving them, or speak of shapes.
func shapeOps() []graph.Op {
	return []graph.Op{
		{ID: onnx("Identity"), Since: 1, Infer: inferIdentity, View: true, Grad: gradIdentity},
		{ID: onnx("Flatten"), Since: 1, Infer: inferFlatten, View: true, Grad: gradLike},
		{ID: onnx("Reshape"), Since: 5, Infer: inferReshape, View: true, Grad: gradLike},
		{ID: onnx("Squeeze"), Since: 1, Infer: inferSqueeze, View: true, Grad: gradLike},
		{ID: onnx("Unsqueeze"), Since: 1, Infer: inferUnsqueeze, View: true, Grad: gradLike},
		{ID: onnx("Shape"), Since: 1, Infer: inferShape, Kernel: kernelShape, Flat: true},
		{ID: onnx("Size"), Since: 1, Infer: inferSize, Kernel: kernelSize, Flat: true},
		{ID: private("ReshapeLike"), Infer: inferReshapeLike, Grad: gradLike, View: true, Like: []int{1}},
	}
}

func inferIdentity(c *graph.Infer) error {
	if err := c.Require(1, 1); err != nil {
		return err
	}
	c.Out(0, c.In(0).DType, c.In(0).Shape)
	passContent(c)
	return nil
}

// passContent says that output 0 has the elements of input 0 in the same order.
func passContent(c *graph.Infer) {
	if d := c.In(0).DType; d != tensor.Int64 && d != tensor.Int32 {
		return
	}
	if content, ok := c.Follow(0); ok {
		c.SetContent(0, content)
	}
}

func gradIdentity(g *graph.Gradient) error {
	g.Set(0, g.Out(0))
	return nil
}

// gradLike gives the gradient the shape of the input.
func gradLike(g *graph.Gradient) error {
	g.Set(0, g.Private("ReshapeLike", nil, g.Out(0), g.In(0)))
	return nil
}

func inferReshapeLike(c *graph.Infer) error {
	if err := c.Require(2, 2); err != nil {
		return err
	}
	c.Out(0, c.In(0).DType, c.In(1).Shape)
	return nil
}

// axesIn normalises axes, each of which may be there once.
func axesIn(axes []int, rank int) ([]int, error) {
	out := make([]int, len(axes))
	for i, a := range axes {
		n, err := graph.Axis(a, rank)
		if err != nil {
			return nil, err
		}
		if slices.Contains(out[:i], n) {
			return nil, fmt.Errorf("axes %v name dimension %d twice", axes, n)
		}
		out[i] = n
	}
	return out, nil
}

// axesOf are the axes that an input gives or, in older versions, the attribute
// "axes"; false if neither is there.
func axesOf(c *graph.Infer, input int) ([]int, bool, error) {
	if c.Has(input) {
		axes, err := c.Ints(input)
		return axes, true, err
	}
	axes := c.Node.Attrs.Ints("axes")
	return axes, axes != nil, nil
}

func inferFlatten(c *graph.Infer) error {
	if err := c.Require(1, 1); err != nil {
		return err
	}
	in := c.In(0)
	axis := c.Node.Attrs.Int("axis", 1)
	if axis < 0 {
		axis += len(in.Shape)
	}
	if axis < 0 || axis > len(in.Shape) {
		return fmt.Errorf("axis %d is outside shape %v", axis, in.Shape)
	}
	c.Out(0, in.DType, graph.Shape{in.Shape[:axis].Len(), in.Shape[axis:].Len()})
	return nil
}

// inferReshape: in the target, 0 copies the input's dimension unless allowzero,
// and one -1 takes what is left.
func inferReshape(c *graph.Infer) error {
	if err := c.Require(2, 2); err != nil {
		return err
	}
	target, ok := c.Content(1)
	if !ok {
		return graph.ErrNeedsData
	}
	in := c.In(0)
	shape, rest := make(graph.Shape, len(target)), -1
	for i, d := range target {
		n, isNumber := d.Value()
		switch {
		case d.Is(0) && c.Node.Attrs.Int("allowzero", 0) == 0:
			if i >= len(in.Shape) {
				return fmt.Errorf("target %v copies dimension %d of %v, which it does not have", graph.Shape(target), i, in.Shape)
			}
			shape[i] = in.Shape[i]
		case d.Is(-1) && rest >= 0:
			return fmt.Errorf("target %v has two dimensions of -1", graph.Shape(target))
		case d.Is(-1):
			rest, shape[i] = i, graph.Const(1)
		case isNumber && n < 0:
			return fmt.Errorf("target %v has the dimension %d", graph.Shape(target), n)
		default:
			shape[i] = d
		}
	}
	if rest >= 0 {
		known := shape.Len()
		if known.Is(0) {
			return fmt.Errorf("target %v leaves dimension %d open beside a dimension of 0", graph.Shape(target), rest)
		}
		shape[rest] = in.Shape.Len().Div(known)
	}
	if err := c.Same(in.Shape.Len(), shape.Len(), "numbers of elements"); err != nil {
		return err
	}
	c.Out(0, in.DType, shape)
	passContent(c)
	return nil
}

func inferSqueeze(c *graph.Infer) error {
	if err := c.Require(1, 2); err != nil {
		return err
	}
	in := c.In(0)
	axes, given, err := axesOf(c, 1)
	if err != nil {
		return err
	}
	if axes, err = axesIn(axes, len(in.Shape)); err != nil {
		return err
	}
	shape := graph.Shape{}
	for i, d := range in.Shape {
		_, isNumber := d.Value()
		switch {
		case !given && !isNumber:
			return graph.ErrNeedsData
		case !given && !d.Is(1), given && !slices.Contains(axes, i):
			shape = append(shape, d)
		case isNumber && !d.Is(1):
			return fmt.Errorf("dimension %d of %v cannot be squeezed: it is not 1", i, in.Shape)
		}
	}
	if err := c.Same(in.Shape.Len(), shape.Len(), "numbers of elements"); err != nil {
		return err
	}
	c.Out(0, in.DType, shape)
	passContent(c)
	return nil
}

func inferUnsqueeze(c *graph.Infer) error {
	if err := c.Require(1, 2); err != nil {
		return err
	}
	in := c.In(0)
	axes, given, err := axesOf(c, 1)
	if err != nil {
		return err
	}
	if !given {
		return fmt.Errorf("there are no axes")
	}
	rank := len(in.Shape) + len(axes)
	if axes, err = axesIn(axes, rank); err != nil {
		return err
	}
	shape, rest := make(graph.Shape, rank), in.Shape
	for i := range shape {
		if slices.Contains(axes, i) {
			shape[i] = graph.Const(1)
		} else {
			shape[i], rest = rest[0], rest[1:]
		}
	}
	c.Out(0, in.DType, shape)
	passContent(c)
	return nil
}

// shapeRange is the part of a shape of that rank that Shape gives.
func shapeRange(a graph.Attrs, rank int) (lo, hi int) {
	bound := func(name string, def int) int {
		n := a.Int(name, def)
		if n < 0 {
			n += rank
		}
		return min(max(n, 0), rank)
	}
	lo, hi = bound("start", 0), bound("end", rank)
	return lo, max(lo, hi)
}

func inferShape(c *graph.Infer) error {
	if err := c.Require(1, 1); err != nil {
		return err
	}
	shape := c.In(0).Shape
	lo, hi := shapeRange(c.Node.Attrs, len(shape))
	c.Out(0, tensor.Int64, graph.Dims(hi-lo))
	c.SetContent(0, slices.Clone(shape[lo:hi]))
	return nil
}

func kernelShape(c *graph.Call) (func() error, error) {
	lo, hi := shapeRange(c.Node.Attrs, c.In[0].Rank())
	return func() error {
		y := c.Out[0].I64()
		for i, d := range c.In[0].Shape()[lo:hi] {
			y[i] = int64(d)
		}
		return nil
	}, nil
}

func inferSize(c *graph.Infer) error {
	if err := c.Require(1, 1); err != nil {
		return err
	}
	c.Out(0, tensor.Int64, graph.Shape{})
	c.SetContent(0, []graph.Dim{c.In(0).Shape.Len()})
	return nil
}

func kernelSize(c *graph.Call) (func() error, error) {
	return func() error {
		c.Out[0].I64()[0] = int64(c.In[0].Len())
		return nil
	}, nil
}
