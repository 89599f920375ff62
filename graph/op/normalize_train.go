package op

import (
	"fmt"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// LowerBatchNorm replaces every BatchNormalization of g that reads running averages
// by one that normalises by the batch and updates them: they become state.
func LowerBatchNorm(b *graph.Builder) error {
	for _, n := range b.G.Nodes {
		if n.Op != onnx("BatchNormalization") {
			continue
		}
		if n.Output(1) != nil || n.Attrs.Int("training_mode", 0) != 0 || n.Attrs.Int("spatial", 1) == 0 || len(n.Inputs[0].Type.Shape) < 2 {
			return fmt.Errorf("node %v: training replaces the form for inference, with channels as dimension 1, only", n)
		}
		mean, variance := n.Inputs[3], n.Inputs[4]
		if mean.Const == nil || variance.Const == nil {
			return fmt.Errorf("node %v: the running averages must be constants that no other node updates", n)
		}
		b.Variable(mean)
		b.Variable(variance)
		n.Op = private("BatchNorm")
		for len(n.Outputs) < 5 {
			n.Outputs = append(n.Outputs, &graph.Value{Name: b.Name("batch_norm"), Def: n})
		}
		b.SetNext(mean, n.Outputs[1])
		b.SetNext(variance, n.Outputs[2])
	}
	return graph.InferTypes(b.G, b.Ops)
}

// batchNormTrainOps: BatchNorm is (x, scale, bias, mean, variance) -> (y, mean and
// variance that run on, mean and inverse deviation of the batch); BatchNormGrad is
// (dy, x, scale, mean, inverse) -> (dx, dscale, dbias).
func batchNormTrainOps() []graph.Op {
	return []graph.Op{
		{ID: private("BatchNorm"), Infer: inferBatchNormTrain, Kernel: kernelBatchNormTrain, Grad: gradBatchNorm,
			InPlace: []graph.Alias{{In: 3, Out: 1}, {In: 4, Out: 2}}},
		{ID: private("BatchNormGrad"), Infer: inferBatchNormGrad, Kernel: kernelBatchNormGrad, InPlace: []graph.Alias{{In: 0, Out: 0}}},
	}
}

func inferBatchNormTrain(c *graph.Infer) error {
	if err := c.Require(5, 5); err != nil {
		return err
	}
	if err := c.Floats(0, 1, 2, 3, 4); err != nil {
		return err
	}
	c.Out(0, tensor.Float32, c.In(0).Shape)
	for i := 1; i < 5; i++ {
		if err := c.Same(c.In(i).Shape.Len(), c.In(0).Shape[1], fmt.Sprintf("elements of input %d and channels", i)); err != nil {
			return err
		}
		c.Out(i, tensor.Float32, c.In(3).Shape)
	}
	return nil
}

func kernelBatchNormTrain(c *graph.Call) (func() error, error) {
	l := channelLines(c.Node, c.In[0].Shape())
	if l.outer*l.inner < 2 {
		return nil, fmt.Errorf("a batch of %d values a channel cannot be normalised: at least 2 are needed", l.outer*l.inner)
	}
	k := &kernel.BatchNorm{N: l.outer, C: l.n, HW: l.inner, Epsilon: c.Node.Attrs.Float("epsilon", 1e-5), Momentum: c.Node.Attrs.Float("momentum", 0.9)}
	return func() error {
		k.X, k.Scale, k.Bias, k.Y = c.F32(0), c.F32(1), c.F32(2), c.Out[0].F32()
		k.RunMean, k.RunVar, k.Mean, k.Inverse = c.Out[1].F32(), c.Out[2].F32(), c.Out[3].F32(), c.Out[4].F32()
		for i, to := range [][]float32{k.RunMean, k.RunVar} {
			if from := c.F32(3 + i); len(to) > 0 && &to[0] != &from[0] {
				copy(to, from)
			}
		}
		k.Run(c.Pool)
		return nil
	}, nil
}

func gradBatchNorm(g *graph.Gradient) error {
	n := g.Node
	g.SetNeeded(g.Builder.Node(private("BatchNormGrad"), 3, nil, g.Out(0), g.In(0), g.In(1), n.Outputs[3], n.Outputs[4])...)
	return nil
}

func inferBatchNormGrad(c *graph.Infer) error {
	c.Out(0, tensor.Float32, c.In(1).Shape)
	c.Out(1, tensor.Float32, c.In(2).Shape)
	c.Out(2, tensor.Float32, c.In(2).Shape)
	return nil
}

func kernelBatchNormGrad(c *graph.Call) (func() error, error) {
	l := channelLines(c.Node, c.In[1].Shape())
	k := &kernel.BatchNormGrad{N: l.outer, C: l.n, HW: l.inner}
	return func() error {
		k.DY, k.X, k.Scale, k.Mean, k.Inverse = c.F32(0), c.F32(1), c.F32(2), c.F32(3), c.F32(4)
		k.DX, k.DScale, k.DBias = c.Out[0].F32(), c.Out[1].F32(), c.Out[2].F32()
		k.Run(c.Pool)
		return nil
	}, nil
}
