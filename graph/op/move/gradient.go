package move

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"tandem/graph"
	"tandem/tensor"
)

// Ops serve the gradients of operators that only move elements: the operator
// itself, run over the numbers of its inputs' elements, tells where each element of
// the result comes from. So no such operator needs the inverse of its own movement.
func Ops() []graph.Op {
	return []graph.Op{
		// (x, before…) -> int32 of the shape of x: 1, 2, 3, … after as many numbers
		// as the inputs before have elements
		{ID: graph.OpID{Domain: graph.Private, Name: "Number"}, Infer: inferNumber, Kernel: kernelNumber},
		// (dy, from, x, before…) -> dx: each element of dy added where the number in
		// from says, in their order; x gives the shape alone
		{ID: graph.OpID{Domain: graph.Private, Name: "Return"}, Infer: inferReturn, Kernel: kernelReturn},
	}
}

// Gradient is the gradient rule of a movement with the given inputs of data.
func Gradient(inputs ...int) func(*graph.Gradient) error {
	return func(g *graph.Gradient) error {
		attrs, in, before := maps.Clone(g.Node.Attrs), slices.Clone(g.Node.Inputs), []*graph.Value(nil)
		for _, name := range []string{"value", "extrapolation_value"} { // what is put in from nowhere
			delete(attrs, name)
		}
		for _, i := range inputs {
			if x := g.In(i); x != nil {
				in[i] = g.Private("Number", nil, append([]*graph.Value{x}, before...)...)
				before = append(before, x)
			}
		}
		from := g.Again(attrs, in...)
		for k, i := range inputs {
			if g.Needs(i) {
				g.Set(i, g.Private("Return", nil, append([]*graph.Value{g.Out(0), from, g.In(i)}, before[:k]...)...))
			}
		}
		return nil
	}
}

func inferNumber(c *graph.Infer) error {
	c.Out(0, tensor.Int32, c.In(0).Shape)
	return nil
}

func kernelNumber(c *graph.Call) (func() error, error) {
	first := 1
	for _, x := range c.In[1:] {
		first += x.Len()
	}
	if first+c.In[0].Len() > math.MaxInt32 {
		return nil, fmt.Errorf("the gradient numbers at most %d elements", math.MaxInt32)
	}
	return func() error {
		y := tensor.Data[int32](c.Out[0])
		for i := range y {
			y[i] = int32(first + i)
		}
		return nil
	}, nil
}

func inferReturn(c *graph.Infer) error {
	c.Out(0, tensor.Float32, c.In(2).Shape)
	return nil
}

func kernelReturn(c *graph.Call) (func() error, error) {
	first := 1
	for _, x := range c.In[3:] {
		first += x.Len()
	}
	return func() error {
		dx, from := c.Out[0].F32(), tensor.Data[int32](c.In[1])
		clear(dx)
		for i, d := range c.F32(0) {
			if at := int(from[i]) - first; at >= 0 && at < len(dx) {
				dx[at] += d
			}
		}
		return nil
	}, nil
}
