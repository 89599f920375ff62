package op

import (
	"fmt"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// optimizerOps update weights and their moments in place.
func optimizerOps() []graph.Op {
	return []graph.Op{
		// (w, m, v, gradient, learning rate, step from 1) -> (w, m, v);
		// attributes beta1, beta2, epsilon, weight_decay, decoupled
		{ID: private("Adam"), Infer: inferOptimizer(3), Kernel: kernelAdam, InPlace: []graph.Alias{{In: 0, Out: 0}, {In: 1, Out: 1}, {In: 2, Out: 2}}},
		// (w, m, gradient, learning rate, step from 1) -> (w, m);
		// attributes momentum, weight_decay, nesterov
		{ID: private("SGD"), Infer: inferOptimizer(2), Kernel: kernelSGD, InPlace: []graph.Alias{{In: 0, Out: 0}, {In: 1, Out: 1}}},
	}
}

// inferOptimizer checks states values of one shape, a gradient of the same, and
// the two scalars.
func inferOptimizer(states int) func(*graph.Infer) error {
	return func(c *graph.Infer) error {
		if err := c.Require(states+3, states+3); err != nil {
			return err
		}
		w := c.In(0)
		for i := range states + 1 {
			if t := c.In(i); t.DType != tensor.Float32 || !t.Shape.Equal(w.Shape) {
				return fmt.Errorf("input %d is %v, expected %v", i, t, w)
			}
		}
		for i := range states {
			c.Out(i, w.DType, w.Shape)
		}
		return nil
	}
}

// A kernel of an optimizer works on the memory of its outputs, which is that of
// its inputs: a plan that could not arrange this is refused.
func kernelAdam(c *graph.Call) (func() error, error) {
	a := c.Node.Attrs
	k := &kernel.Adam{}
	k.Beta1, k.Beta2, k.Eps = a.Float("beta1", 0.9), a.Float("beta2", 0.999), a.Float("epsilon", 1e-8)
	k.WeightDecay, k.Decoupled = a.Float("weight_decay", 0), a.Int("decoupled", 0) != 0
	return func() error {
		k.W, k.M, k.V, k.G = c.Out[0].F32(), c.Out[1].F32(), c.Out[2].F32(), c.F32(3)
		k.LR, k.Step = c.F32(4)[0], int(c.In[5].I64()[0])
		k.Run(c.Pool)
		return nil
	}, nil
}

func kernelSGD(c *graph.Call) (func() error, error) {
	a := c.Node.Attrs
	k := &kernel.SGD{}
	k.Momentum, k.WeightDecay, k.Nesterov = a.Float("momentum", 0), a.Float("weight_decay", 0), a.Int("nesterov", 0) != 0
	return func() error {
		k.W, k.M, k.G = c.Out[0].F32(), c.Out[1].F32(), c.F32(2)
		k.LR, k.First = c.F32(3)[0], c.In[4].I64()[0] == 1
		k.Run(c.Pool)
		return nil
	}, nil
}

// constant adds a float32 scalar.
func constant(b *graph.Builder, name string, v float32) *graph.Value {
	return b.Const(name, tensor.Scalar(v))
}
