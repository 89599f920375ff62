package graph

import (
	"errors"
	"fmt"

	"tandem/tensor"
)

// ErrNeedsData is what a shape rule returns, by way of Ints or Elements, when the
// shape depends on elements that are not known yet. The rule is asked again at run
// time, when they are.
var ErrNeedsData = errors.New("the shape depends on data")

// Infer is what a shape rule sees of a node and where it puts what it finds.
type Infer struct {
	Node *Node
	// Version is the opset version of the node's domain.
	Version int

	facts facts
}

// facts are what is known of values. Before a run they are in the graph, with
// symbols for sizes; during a run they are in the frame, in numbers, and elements
// that have been computed are known too.
type facts interface {
	typeOf(v *Value) Type
	contentOf(v *Value) []Dim
	elements(v *Value) *tensor.Tensor // nil: not known
	set(v *Value, t Type)
	setContent(v *Value, c []Dim)
}

// static are the facts that the graph itself holds.
type static struct{}

func (static) typeOf(v *Value) Type         { return v.Type }
func (static) contentOf(v *Value) []Dim     { return v.Content }
func (static) set(v *Value, t Type)         { v.Type = t }
func (static) setContent(v *Value, c []Dim) { v.Content = c }

func (static) elements(v *Value) *tensor.Tensor {
	if v.Const == nil {
		return nil
	}
	t, err := v.Const.Tensor()
	if err != nil {
		return nil
	}
	return t
}

// infer runs the shape rule of a node. ErrNeedsData: nothing is known of its
// outputs yet.
func infer(n *Node, op *Op, version int, f facts) error {
	for _, v := range n.Inputs {
		if v != nil && !f.typeOf(v).Known() {
			return ErrNeedsData
		}
	}
	if op.Late {
		return ErrNeedsData
	}
	if err := op.Infer(&Infer{Node: n, Version: version, facts: f}); err != nil {
		return err
	}
	for i, v := range n.Outputs {
		if v != nil && !f.typeOf(v).Known() {
			return fmt.Errorf("the operator has no output %d", i)
		}
	}
	return nil
}

// Has reports whether the optional input i is there.
func (c *Infer) Has(i int) bool { return c.Node.Input(i) != nil }

// In is the type of input i, which must be there.
func (c *Infer) In(i int) Type { return c.facts.typeOf(c.Node.Inputs[i]) }

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
		c.facts.set(v, Type{d, shape})
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

// Elements are the elements of input i, which must be there; ErrNeedsData if they
// are not known yet.
func (c *Infer) Elements(i int) (*tensor.Tensor, error) {
	if t := c.facts.elements(c.Node.Inputs[i]); t != nil {
		return t, nil
	}
	return nil, ErrNeedsData
}

// Content is what is known of the elements of an integer input, as dimensions.
func (c *Infer) Content(i int) ([]Dim, bool) {
	v := c.Node.Input(i)
	if v == nil {
		return nil, false
	}
	if content := c.facts.contentOf(v); content != nil {
		return content, true
	}
	t := c.facts.elements(v)
	if t == nil || t.Len() > maxContent {
		return nil, false
	}
	if list := t.Ints(); list != nil {
		return Dims(list...), true
	}
	return nil, false
}

// Follow is Content without a look at elements that are only known in this run:
// for rules that pass content on and can do without. (After a look the rule is asked
// again in every run, as other elements might give other shapes.)
func (c *Infer) Follow(i int) ([]Dim, bool) {
	v := c.Node.Input(i)
	if v == nil || v.Const == nil && c.facts.contentOf(v) == nil {
		return nil, false
	}
	return c.Content(i)
}

// maxContent is how many elements a tensor may have whose elements are followed as
// dimensions: more than any shape has.
const maxContent = 64

// Ints are the elements of an integer input in numbers; ErrNeedsData if they are
// not known yet.
func (c *Infer) Ints(i int) ([]int, error) {
	t, err := c.Elements(i)
	if err != nil {
		if content, ok := c.Content(i); ok {
			if n, ok := Shape(content).Static(); ok {
				return n, nil
			}
		}
		return nil, err
	}
	if list := t.Ints(); list != nil {
		return list, nil
	}
	return nil, fmt.Errorf("input %d (%s) is %v, expected integers", i, c.Node.Inputs[i].Name, t.DType())
}

// SetContent records the elements of an integer output.
func (c *Infer) SetContent(i int, dims []Dim) {
	if v := c.Node.Output(i); v != nil {
		c.facts.setContent(v, dims)
	}
}

// Axis resolves an axis of a tensor of that rank, which may count from the end.
func Axis(axis, rank int) (int, error) {
	if axis < -rank || axis >= rank {
		return 0, fmt.Errorf("axis %d is outside [%d, %d)", axis, -rank, rank)
	}
	if axis < 0 {
		axis += rank
	}
	return axis, nil
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
