package op

import (
	"fmt"
	"slices"

	"tandem/graph"
	"tandem/tensor"
)

// lossGradOps: (dloss, labels, weights, scores) -> dscores of NegativeLogLikelihoodLoss,
// whose attributes it has; scores give the shape alone.
func lossGradOps() []graph.Op {
	return []graph.Op{{ID: private("LabelLossGrad"), Infer: inferLabelLossGrad, Kernel: kernelLabelLossGrad}}
}

func gradLabelLoss(g *graph.Gradient) error {
	if g.Needs(2) {
		return fmt.Errorf("the weights of classes have no gradient")
	}
	g.Set(0, g.Private("LabelLossGrad", g.Node.Attrs, g.Out(0), g.In(1), g.In(2), g.In(0)))
	return nil
}

func inferLabelLossGrad(c *graph.Infer) error {
	c.Out(0, tensor.Float32, c.In(3).Shape)
	return c.Floats(0, 3)
}

// kernelLabelLossGrad: minus the label's weight, over all weights for a mean.
func kernelLabelLossGrad(c *graph.Call) (func() error, error) {
	l := linesAlong(c.In[3].Shape(), 1)
	ignored, ignores := c.Node.Attrs["ignore_index"].(int64)
	reduction := c.Node.Attrs.String("reduction", "mean")
	return func() error {
		d, dx := c.F32(0), c.Out[0].F32()
		clear(dx)
		weight := func(label int64) float32 {
			switch {
			case ignores && label == ignored:
				return 0
			case c.Has(2):
				return c.F32(2)[label]
			}
			return 1
		}
		total := 1.0
		if reduction == "mean" {
			total = 0
			for i := range l.outer * l.inner {
				total += float64(weight(labelAt(c.In[1], i)))
			}
		}
		for i := range l.outer * l.inner {
			label, dloss := labelAt(c.In[1], i), d[0]
			if reduction == "none" {
				dloss = d[i]
			}
			if !ignores || label != ignored {
				dx[(i/l.inner*l.n+int(label))*l.inner+i%l.inner] = -float32(float64(weight(label)*dloss) / total)
			}
		}
		return nil
	}, nil
}

// expandCrossEntropy writes the forms that training does not use itself as a log
// softmax and a loss of log probabilities.
func expandCrossEntropy(e *graph.Expansion) ([]*graph.Value, error) {
	n := e.Node
	if plainLoss(n, len(e.In(0).Type.Shape), e.In(1).Type.DType) && n.Output(1) != nil {
		return nil, nil
	}
	logs := e.Op("LogSoftmax", graph.Attrs{"axis": int64(1)}, e.In(0))
	inputs := slices.Clone(n.Inputs)
	inputs[0] = logs
	return []*graph.Value{e.Op("NegativeLogLikelihoodLoss", n.Attrs, inputs...), logs}, nil
}
