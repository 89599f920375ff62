package op

import (
	"fmt"

	"tandem/graph"
	"tandem/tensor"
)

// castOps change the type of elements.
func castOps() []graph.Op {
	return []graph.Op{
		{ID: onnx("Cast"), Since: 6, Infer: inferCast, Kernel: kernelCast, Grad: gradCast, Identity: castsNothing},
		{ID: onnx("CastLike"), Since: 15, Infer: inferCastLike, Kernel: kernelCast, Grad: gradCast, Like: []int{1}},
		{ID: onnx("BitCast"), Since: 26, Infer: inferBitCast, Kernel: kernelBitCast},
	}
}

// castsNothing: the type is the one that the input has.
func castsNothing(n *graph.Node) bool {
	return n.Inputs[0].Type.Known() && int(n.Inputs[0].Type.DType) == n.Attrs.Int("to", 0)
}

// target is the type that the attribute "to" names.
func target(c *graph.Infer) (tensor.DType, error) {
	to := c.Node.Attrs.Int("to", 0)
	if to < 0 || to > 255 || !tensor.DType(to).Valid() {
		return 0, fmt.Errorf("the attribute \"to\" is %d, which is no element type", to)
	}
	return tensor.DType(to), nil
}

func inferCast(c *graph.Infer) error {
	if err := c.Require(1, 1); err != nil {
		return err
	}
	to, err := target(c)
	if err != nil {
		return err
	}
	return castTo(c, to)
}

func inferCastLike(c *graph.Infer) error {
	if err := c.Require(2, 2); err != nil {
		return err
	}
	return castTo(c, c.In(1).DType)
}

func castTo(c *graph.Infer, to tensor.DType) error {
	in := c.In(0)
	for _, d := range []tensor.DType{in.DType, to} {
		if d != tensor.String && !d.Numeric() {
			return fmt.Errorf("%v cannot be cast to %v", in.DType, to)
		}
	}
	if _, err := roundMode(c.Node.Attrs); err != nil {
		return err
	}
	c.Out(0, to, in.Shape)
	whole := func(d tensor.DType) bool { return d == tensor.Int64 || d == tensor.Int32 }
	if whole(in.DType) && whole(to) {
		if content, ok := c.Follow(0); ok {
			c.SetContent(0, content)
		}
	}
	return nil
}

func roundMode(a graph.Attrs) (tensor.Rounding, error) {
	switch m := a.String("round_mode", "up"); m {
	case "up":
		return tensor.RoundUp, nil
	case "down":
		return tensor.RoundDown, nil
	case "nearest":
		return tensor.RoundNearest, nil
	default:
		return 0, fmt.Errorf("round_mode is %q, expected up, down or nearest", m)
	}
}

func kernelCast(c *graph.Call) (func() error, error) {
	round, err := roundMode(c.Node.Attrs)
	if err != nil {
		return nil, err
	}
	x, y := c.In[0], c.Out[0]
	convert := tensor.Conversion{Saturate: c.Node.Attrs.Int("saturate", 1) != 0, Round: round}
	switch {
	case x.DType() == tensor.String && y.DType() == tensor.String:
		return func() error { copy(y.Strings(), x.Strings()); return nil }, nil
	case x.DType() == tensor.String:
		return func() error { return parseNumbers(y, x.Strings(), convert) }, nil
	case y.DType() == tensor.String:
		return func() error { return formatNumbers(y.Strings(), x) }, nil
	}
	return func() error { return convert.Run(y, x) }, nil
}

// gradCast: gradients are float32, whatever the types are, and rounding is passed over.
func gradCast(g *graph.Gradient) error {
	for _, d := range []tensor.DType{g.In(0).Type.DType, g.Node.Outputs[0].Type.DType} {
		if !d.Float() || d.Bits() < 16 {
			return fmt.Errorf("a cast from %v to %v has no gradient", g.In(0).Type.DType, g.Node.Outputs[0].Type.DType)
		}
	}
	g.Set(0, g.Out(0))
	return nil
}

func inferBitCast(c *graph.Infer) error {
	if err := c.Require(1, 1); err != nil {
		return err
	}
	to, err := target(c)
	if err != nil {
		return err
	}
	if from := c.In(0).DType; from.Bits() == 0 || from.Bits() != to.Bits() {
		return fmt.Errorf("%v elements cannot be read as %v: they have %d and %d bits", from, to, from.Bits(), to.Bits())
	}
	c.Out(0, to, c.In(0).Shape)
	return nil
}

func kernelBitCast(c *graph.Call) (func() error, error) {
	return func() error { copy(c.Out[0].Bytes(), c.In[0].Bytes()); return nil }, nil
}
