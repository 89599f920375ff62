package op

import (
	"fmt"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// projectionOps are what passes lower the products of a decoder to.
//
// Projection(x [..., K], scale, addend, weight, bias, weight, bias …) multiplies with
// constant weights [K, N] in panels, one beside another, and adds their biases and
// the addend. With a scale [K], rows of x are RMS-normalised first (attribute
// epsilon). With the attribute gate, "silu" or "gelu", there are two weights, and
// the activation of the first product times the second comes out. Scale, addend and
// biases are optional.
func projectionOps() []graph.Op {
	return []graph.Op{
		{ID: private("Projection"), Infer: inferProjection, Kernel: kernelProjection, Encoded: true, InPlace: []graph.Alias{{In: 2, Out: 0}}},
	}
}

const projectionWeights = 3 // the first input that is a weight

var gates = map[string]kernel.Gate{"": kernel.GateNone, "silu": kernel.GateSiLU, "gelu": kernel.GateGELU}

func inferProjection(c *graph.Infer) error {
	n := len(c.Node.Inputs)
	if n <= projectionWeights || (n-projectionWeights)%2 != 0 {
		return fmt.Errorf("%d inputs: weights and biases come in pairs after the first %d", n, projectionWeights)
	}
	if err := c.Floats(0, 1, 2); err != nil {
		return err
	}
	x := c.In(0).Shape
	if len(x) == 0 {
		return fmt.Errorf("the input is a scalar")
	}
	columns := graph.Const(0)
	for i := projectionWeights; i < n; i += 2 {
		if !c.Has(i) || c.Node.Inputs[i].Const == nil || len(c.In(i).Shape) != 2 {
			return fmt.Errorf("input %d must be a constant matrix", i)
		}
		if err := c.Same(x[len(x)-1], c.In(i).Shape[0], "columns of the input and rows of a weight"); err != nil {
			return err
		}
		columns = columns.Add(c.In(i).Shape[1])
	}
	gate, ok := gates[c.Node.Attrs.String("gate", "")]
	if !ok {
		return fmt.Errorf("gate %q is not known", c.Node.Attrs.String("gate", ""))
	}
	if gate != kernel.GateNone {
		if n != projectionWeights+4 {
			return fmt.Errorf("a gate joins two weights, there are %d", (n-projectionWeights)/2)
		}
		columns = c.In(projectionWeights).Shape[1]
	}
	shape := append(append(graph.Shape{}, x[:len(x)-1]...), columns)
	c.Out(0, tensor.Float32, shape)
	return nil
}

func kernelProjection(c *graph.Call) (func() error, error) {
	x := c.In[0]
	k := x.Dim(x.Rank() - 1)
	l := &kernel.Linear{M: x.Len() / max(1, k), K: k, Epsilon: c.Node.Attrs.Float("epsilon", 1e-5), Gate: gates[c.Node.Attrs.String("gate", "")]}
	for i := projectionWeights; i < len(c.In); i += 2 {
		f, ok := c.Node.Inputs[i].Const.Encoding.InPanels()
		if !ok {
			return nil, fmt.Errorf("the weight %s is in encoding %q, not in panels", c.Node.Inputs[i].Name, c.Node.Inputs[i].Const.Encoding)
		}
		w := kernel.Weight{Format: f, N: c.In[i].Dim(1), Data: c.In[i].Bytes()}
		if c.Has(i+1) && c.In[i+1].Len() != w.N {
			return nil, fmt.Errorf("a bias of %d elements for %d columns", c.In[i+1].Len(), w.N)
		}
		l.Weights = append(l.Weights, w)
	}
	if c.Has(2) && !c.In[2].Shape().Equal(c.Out[0].Shape()) {
		return nil, fmt.Errorf("an addend of shape %v for %v", c.In[2].Shape(), c.Out[0].Shape())
	}
	c.Reserve(l.ScratchLen(c.Pool))
	return func() error {
		l.X, l.Norm, l.Add, l.Y = x.F32(), c.F32(1), c.F32(2), c.Out[0].F32()
		for i := range l.Weights {
			l.Weights[i].Bias = c.F32(projectionWeights + 2*i + 1)
		}
		l.Run(c.Pool, c.Scratch())
		return nil
	}, nil
}
