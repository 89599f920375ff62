package op

import (
	"fmt"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// optimizerOps update weights and their moments in place.
func optimizerOps() []graph.Op {
	three := []graph.Alias{{In: 0, Out: 0}, {In: 1, Out: 1}, {In: 2, Out: 2}}
	two := three[:2]
	// All take attribute every: how many gradients are accumulated for a step.
	return []graph.Op{
		// (w, m, v, gradient, learning rate, step from 1) -> (w, m, v);
		// attributes beta1, beta2, epsilon, weight_decay, decoupled
		{ID: private("Adam"), Infer: inferOptimizer(3), Kernel: optimizerKernel(adamStep), InPlace: three},
		// (w, m, gradient, learning rate, step from 1) -> (w, m);
		// attributes momentum, weight_decay, nesterov
		{ID: private("SGD"), Infer: inferOptimizer(2), Kernel: optimizerKernel(sgd), InPlace: two},
		// as SGD; attributes beta1, beta2, weight_decay
		{ID: private("Lion"), Infer: inferOptimizer(2), Kernel: optimizerKernel(lion), InPlace: two},
		// as SGD, of a matrix; attributes momentum, weight_decay
		{ID: private("Muon"), Infer: inferOptimizer(2), Kernel: optimizerKernel(muon), InPlace: two},
		// (w, row, column, gradient, learning rate, step) -> (w, row, column);
		// attributes weight_decay, beta2_decay
		{ID: private("Adafactor"), Infer: inferAdafactor, Kernel: optimizerKernel(adafactor), InPlace: three},
		{ID: private("ClipFactor"), Infer: inferClipFactor, Kernel: kernelClipFactor},
		{ID: private("Accumulate"), Infer: inferAccumulate, Kernel: kernelAccumulate, InPlace: []graph.Alias{{In: 0, Out: 0}, {In: 1, Out: 1}}},
		{ID: private("MovingAverage"), Infer: sameAs(0, 3, 3), Kernel: kernelMovingAverage, InPlace: two[:1]},
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
func adamStep(c *graph.Call) func(rate float32, step int) {
	a := c.Node.Attrs
	k := &kernel.Adam{}
	k.Beta1, k.Beta2, k.Eps = a.Float("beta1", 0.9), a.Float("beta2", 0.999), a.Float("epsilon", 1e-8)
	k.WeightDecay, k.Decoupled = a.Float("weight_decay", 0), a.Int("decoupled", 0) != 0
	return func(rate float32, step int) {
		k.W, k.M, k.V, k.G = c.Out[0].F32(), c.Out[1].F32(), c.Out[2].F32(), c.F32(3)
		k.LR, k.Step = rate, step
		k.Run(c.Pool)
	}
}

func sgd(c *graph.Call) func(rate float32, step int) {
	a := c.Node.Attrs
	k := &kernel.SGD{}
	k.Momentum, k.WeightDecay, k.Nesterov = a.Float("momentum", 0), a.Float("weight_decay", 0), a.Int("nesterov", 0) != 0
	return func(rate float32, step int) {
		k.W, k.M, k.G = c.Out[0].F32(), c.Out[1].F32(), c.F32(2)
		k.LR, k.First = rate, step == 1
		k.Run(c.Pool)
	}
}
