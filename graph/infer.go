package graph

import (
	"fmt"

	"tandem/tensor"
)

// Infer is what a shape rule sees of a node and where it puts what it finds.
type Infer struct {
	Node *Node
	// Version is the opset version of the node's domain.
	Version int
}

// Has reports whether the optional input i is there.
func (c *Infer) Has(i int) bool { return c.Node.Input(i) != nil }

// In is the type of input i, which must be there.
func (c *Infer) In(i int) Type { return c.Node.Inputs[i].Type }

// Require checks the number of inputs and that the first min are there.
func (c *Infer) Require(min, max int) error {
	if n := len(c.Node.Inputs); n > max {
		return fmt.Errorf("%d inputs, at most %d expected", n, max)
	}
	for i := range min {
		if !c.Has(i) {
			return fmt.Errorf("input %d is missing", i)
		}
	}
	return nil
}

// Rank checks the rank of input i.
func (c *Infer) Rank(i, rank int) error {
	if got := len(c.In(i).Shape); got != rank {
		return fmt.Errorf("input %d (%s) has shape %v, expected %d dimensions", i, c.Node.Inputs[i].Name, c.In(i).Shape, rank)
	}
	return nil
}

// Floats checks that the given inputs, where present, are float32.
func (c *Infer) Floats(inputs ...int) error {
	for _, i := range inputs {
		if c.Has(i) && c.In(i).DType != tensor.Float32 {
			return fmt.Errorf("input %d (%s) is %v; only float32 is supported", i, c.Node.Inputs[i].Name, c.In(i).DType)
		}
	}
	return nil
}

// Same checks that two dimensions do not contradict each other.
func (c *Infer) Same(a, b Dim, what string) error {
	if a.Equal(b) {
		return nil
	}
	_, ok1 := a.Value()
	_, ok2 := b.Value()
	if ok1 && ok2 {
		return fmt.Errorf("%s: %v and %v differ", what, a, b)
	}
	return nil
}

// Out sets the type of output i, if the node has it.
func (c *Infer) Out(i int, d tensor.DType, shape Shape) {
	if v := c.Node.Output(i); v != nil {
		v.Type = Type{d, shape}
	}
}

// Constant is the value of input i, if it is a dense constant.
func (c *Infer) Constant(i int) (*tensor.Tensor, bool) {
	v := c.Node.Input(i)
	if v == nil || v.Const == nil {
		return nil, false
	}
	t, err := v.Const.Tensor()
	return t, err == nil
}

// Content is what is known of the elements of an integer input.
func (c *Infer) Content(i int) ([]Dim, bool) {
	v := c.Node.Input(i)
	switch {
	case v == nil:
		return nil, false
	case v.Content != nil:
		return v.Content, true
	case v.Const == nil || v.Const.DType != tensor.Int64:
		return nil, false
	}
	t, err := v.Const.Tensor()
	if err != nil {
		return nil, false
	}
	return Dims(intsOf(t.I64())...), true
}

// SetContent records the elements of an integer output.
func (c *Infer) SetContent(i int, dims []Dim) {
	if v := c.Node.Output(i); v != nil {
		v.Content = dims
	}
}

func intsOf(v []int64) []int {
	out := make([]int, len(v))
	for i, n := range v {
		out[i] = int(n)
	}
	return out
}

// Broadcast is the shape of an elementwise operation under ONNX's multidirectional
// broadcasting.
func Broadcast(a, b Shape) (Shape, error) {
	out := make(Shape, max(len(a), len(b)))
	for i := range out {
		x, y := Const(1), Const(1)
		if j := i - (len(out) - len(a)); j >= 0 {
			x = a[j]
		}
		if j := i - (len(out) - len(b)); j >= 0 {
			y = b[j]
		}
		switch {
		case x.Is(1):
			out[i] = y
		case y.Is(1), x.Equal(y):
			out[i] = x
		default:
			_, ok1 := x.Value()
			_, ok2 := y.Value()
			if ok1 && ok2 {
				return nil, fmt.Errorf("shapes %v and %v cannot be broadcast", a, b)
			}
			// One of two symbols may be 1: the larger is the result, and the
			// kernel checks when the numbers are known.
			out[i] = x.Max(y)
		}
	}
	return out, nil
}
