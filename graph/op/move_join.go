package op

import (
	"fmt"

	"tandem/graph"
	"tandem/graph/op/move"
	"tandem/tensor"
)

// joinOps put tensors together along an axis and take them apart.
func joinOps() []graph.Op {
	return []graph.Op{
		{ID: onnx("Concat"), Since: 4, Infer: inferConcat, Kernel: kernelConcat, Grad: gradConcat, Rows: joinedByRow},
		{ID: onnx("Split"), Since: 2, Infer: inferSplit, Kernel: kernelSplit, Grad: gradSplit},
		{ID: private("ConcatGrad"), Infer: inferConcatGrad, Kernel: kernelConcatGrad},
		{ID: private("SplitGrad"), Infer: inferSplitGrad, Kernel: kernelSplitGrad},
	}
}

func inferConcat(c *graph.Infer) error {
	if err := c.Require(len(c.Node.Inputs), len(c.Node.Inputs)); err != nil {
		return err
	}
	if len(c.Node.Inputs) == 0 {
		return fmt.Errorf("there are no inputs")
	}
	first := c.In(0)
	var shapes []graph.Shape
	for i := range c.Node.Inputs {
		in := c.In(i)
		if in.DType != first.DType {
			return fmt.Errorf("input %d (%s) is %v, the first is %v", i, c.Node.Inputs[i].Name, in, first)
		}
		shapes = append(shapes, in.Shape)
	}
	shape, err := concatShape(c, shapes)
	if err != nil {
		return err
	}
	c.Out(0, first.DType, shape)
	if len(shape) == 1 {
		concatContent(c)
	}
	return nil
}

// concatShape puts shapes together along the attribute axis.
func concatShape(c *graph.Infer, parts []graph.Shape) (graph.Shape, error) {
	if _, ok := c.Node.Attrs["axis"].(int64); !ok {
		return nil, fmt.Errorf("the attribute axis is missing")
	}
	axis, err := graph.Axis(c.Node.Attrs.Int("axis", 0), len(parts[0]))
	if err != nil {
		return nil, err
	}
	shape := append(graph.Shape{}, parts[0]...)
	for i, part := range parts[1:] {
		if len(part) != len(shape) {
			return nil, fmt.Errorf("shape %v beside %v", part, parts[0])
		}
		for j, d := range part {
			if j == axis {
				shape[j] = shape[j].Add(d)
				continue
			}
			if err := c.Same(shape[j], d, fmt.Sprintf("dimension %d of part 0 and of part %d", j, i+1)); err != nil {
				return nil, err
			}
			if _, ok := d.Value(); ok {
				shape[j] = d
			}
		}
	}
	return shape, nil
}

// concatContent follows the elements of a shape that is put together.
func concatContent(c *graph.Infer) {
	if d := c.In(0).DType; d != tensor.Int64 && d != tensor.Int32 {
		return
	}
	content := []graph.Dim{}
	for i := range c.Node.Inputs {
		part, ok := c.Follow(i)
		if !ok {
			return
		}
		content = append(content, part...)
	}
	c.SetContent(0, content)
}

func kernelConcat(c *graph.Call) (func() error, error) {
	run, err := move.Pieces(c.Out[0], c.In, nil, c.Node.Attrs.Int("axis", 0), true)
	if err != nil {
		return nil, err
	}
	return func() error { run(); return nil }, nil
}

func inferSplit(c *graph.Infer) error {
	if err := c.Require(1, 2); err != nil {
		return err
	}
	in, parts := c.In(0), len(c.Node.Outputs)
	axis, err := graph.Axis(c.Node.Attrs.Int("axis", 0), len(in.Shape))
	if err != nil {
		return err
	}
	if n := c.Node.Attrs.Int("num_outputs", parts); n != parts {
		return fmt.Errorf("num_outputs is %d, the node has %d outputs", n, parts)
	}
	sizes, err := splitSizes(c, in.Shape[axis], parts)
	if err != nil {
		return err
	}
	total := graph.Const(0)
	for i, size := range sizes {
		if c.Node.Outputs[i] == nil {
			return fmt.Errorf("output %d is absent", i)
		}
		if n, ok := size.Value(); ok && n < 0 {
			return fmt.Errorf("part %d has length %d", i, n)
		}
		total = total.Add(size)
		shape := append(graph.Shape{}, in.Shape...)
		shape[axis] = size
		c.Out(i, in.DType, shape)
	}
	return c.Same(total, in.Shape[axis], fmt.Sprintf("the sum of the parts and dimension %d", axis))
}

// splitSizes are the lengths of the parts: given by an input or an attribute, or
// equal. From version 18 the last of equal parts may be shorter.
func splitSizes(c *graph.Infer, d graph.Dim, parts int) ([]graph.Dim, error) {
	sizes, given := []graph.Dim(nil), c.Has(1)
	if given {
		var ok bool
		if sizes, ok = c.Content(1); !ok {
			return nil, graph.ErrNeedsData
		}
	} else if list := c.Node.Attrs.Ints("split"); list != nil {
		sizes, given = graph.Dims(list...), true
	}
	if given {
		if len(sizes) != parts {
			return nil, fmt.Errorf("%d lengths of parts for %d outputs", len(sizes), parts)
		}
		return sizes, nil
	}
	if parts == 0 {
		return nil, fmt.Errorf("there are no outputs")
	}
	size := d.CeilDiv(graph.Const(parts))
	if c.Version < 18 {
		var err error
		if size, err = divide(d, parts, "the dimension to be split"); err != nil {
			return nil, err
		}
	}
	for range parts - 1 {
		sizes = append(sizes, size)
	}
	return append(sizes, d.Sub(size.Mul(graph.Const(parts-1)))), nil
}

func kernelSplit(c *graph.Call) (func() error, error) {
	run, err := move.Pieces(c.In[0], c.Out, nil, c.Node.Attrs.Int("axis", 0), false)
	if err != nil {
		return nil, err
	}
	return func() error { run(); return nil }, nil
}

// ConcatGrad(dy, inputs…) cuts the gradient of a Concat into those of its inputs.
func gradConcat(g *graph.Gradient) error {
	n := len(g.Node.Inputs)
	inputs := append([]*graph.Value{g.Out(0)}, g.Node.Inputs...)
	g.SetNeeded(g.Builder.Node(private("ConcatGrad"), n, graph.Attrs{"axis": g.Node.Attrs["axis"]}, inputs...)...)
	return nil
}

func inferConcatGrad(c *graph.Infer) error {
	for i := 1; i < len(c.Node.Inputs); i++ {
		c.Out(i-1, c.In(i).DType, c.In(i).Shape)
	}
	return nil
}

func kernelConcatGrad(c *graph.Call) (func() error, error) { return kernelSplit(c) }

// SplitGrad(x, dy…, y…) puts the gradients of the parts together. Where one is
// absent it is zero, and y tells the length of the part.
func gradSplit(g *graph.Gradient) error {
	n := len(g.Node.Outputs)
	inputs := make([]*graph.Value, 1+2*n)
	inputs[0] = g.In(0)
	for i := range n {
		if inputs[1+i] = g.Out(i); inputs[1+i] == nil {
			inputs[1+n+i] = g.Node.Outputs[i]
		}
	}
	g.Set(0, g.Private("SplitGrad", graph.Attrs{"axis": int64(g.Node.Attrs.Int("axis", 0))}, inputs...))
	return nil
}

func inferSplitGrad(c *graph.Infer) error {
	c.Out(0, c.In(0).DType, c.In(0).Shape)
	return nil
}

func kernelSplitGrad(c *graph.Call) (func() error, error) {
	n := (len(c.In) - 1) / 2
	run, err := move.Pieces(c.Out[0], c.In[1:1+n], c.In[1+n:], c.Node.Attrs.Int("axis", 0), true)
	if err != nil {
		return nil, err
	}
	return func() error {
		clear(c.Out[0].Bytes())
		run()
		return nil
	}, nil
}
