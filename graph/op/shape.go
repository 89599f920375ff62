package op

import (
	"fmt"

	"tandem/graph"
	"tandem/tensor"
)

// shapeOps rename elements without moving them.
func shapeOps() []graph.Op {
	return []graph.Op{
		{ID: onnx("Identity"), Since: 1, Infer: sameAs(0, 1, 1), View: true, Grad: gradIdentity},
		{ID: onnx("Flatten"), Since: 1, Infer: inferFlatten, View: true, Grad: gradLike},
		{ID: onnx("Reshape"), Since: 5, Infer: inferReshape, View: true, Grad: gradLike},
		{ID: private("ReshapeLike"), Infer: inferReshapeLike, View: true},
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
	if in.DType == tensor.Int64 {
		if content, ok := c.Content(0); ok {
			c.SetContent(0, content)
		}
	}
	return nil
}
