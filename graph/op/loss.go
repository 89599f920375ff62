package op

import (
	"fmt"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// lossOps compare scores [n,classes,...] with labels [n,...].
func lossOps() []graph.Op {
	return []graph.Op{
		{ID: onnx("SoftmaxCrossEntropyLoss"), Since: 12, Infer: inferLoss(true), Kernel: kernelCrossEntropy, Grad: gradCrossEntropy, Expand: expandCrossEntropy},
		{ID: onnx("NegativeLogLikelihoodLoss"), Since: 12, Infer: inferLoss(false),
			Kernel: floating(kernelLabelLoss[float32](false), kernelLabelLoss[float64](false)), Grad: gradLabelLoss},
		// (log probabilities, labels, dloss) -> dscores
		{ID: private("CrossEntropyGrad"), Infer: sameAs(0, 3, 3), Kernel: kernelCrossEntropyGrad, InPlace: []graph.Alias{{In: 0, Out: 0}}},
		// (scores, labels) -> how many rows have their greatest score at the label
		{ID: private("CountCorrect"), Infer: inferCountCorrect, Kernel: kernelCountCorrect},
	}
}

// plainLoss: the mean over the rows of a matrix, which is what training uses.
func plainLoss(n *graph.Node, rank int, labels tensor.DType) bool {
	_, ignores := n.Attrs["ignore_index"]
	return rank == 2 && labels == tensor.Int64 && n.Input(2) == nil && !ignores && n.Attrs.String("reduction", "mean") == "mean"
}

// kernelCrossEntropy: the mean over rows of -log softmax(scores)[label]. The mean
// is taken over rows in their order, in float64.
func kernelCrossEntropy(c *graph.Call) (func() error, error) {
	if c.In[0].DType() != tensor.Float32 || !plainLoss(c.Node, c.In[0].Rank(), c.In[1].DType()) {
		return floating(kernelLabelLoss[float32](true), kernelLabelLoss[float64](true))(c)
	}
	rows, cols := matrix(c)
	k := &kernel.Softmax{Rows: rows, Cols: cols, Log: true}
	keep := len(c.Out) > 1 && c.Out[1] != nil
	if !keep {
		c.Reserve(4 * rows * cols)
	}
	return func() error {
		labels := c.In[1].I64()
		if err := checkLabels(labels, cols); err != nil {
			return err
		}
		k.X, k.Y = c.F32(0), c.ScratchF32()
		if keep {
			k.Y = c.Out[1].F32()
		}
		k.Run(c.Pool)
		sum := 0.0
		for r, label := range labels {
			sum -= float64(k.Y[r*cols+int(label)])
		}
		c.Out[0].F32()[0] = float32(sum / float64(rows))
		return nil
	}, nil
}

func checkLabels(labels []int64, classes int) error {
	for r, label := range labels {
		if label < 0 || int(label) >= classes {
			return fmt.Errorf("label %d of row %d is not one of the %d classes", label, r, classes)
		}
	}
	return nil
}

func gradCrossEntropy(g *graph.Gradient) error {
	if g.Out(0) == nil {
		return fmt.Errorf("only the loss has a gradient, not the log probabilities")
	}
	if len(g.Node.Outputs) < 2 || g.Node.Outputs[1] == nil {
		return fmt.Errorf("the gradient needs the output of log probabilities")
	}
	if !plainLoss(g.Node, len(g.In(0).Type.Shape), g.In(1).Type.DType) {
		return fmt.Errorf("the gradient is for the mean over a matrix of scores, without weights and ignore_index")
	}
	g.Set(0, g.Private("CrossEntropyGrad", nil, g.Node.Outputs[1], g.In(1), g.Out(0)))
	return nil
}

// kernelCrossEntropyGrad: dscores = (softmax - onehot(label))·dloss/n.
func kernelCrossEntropyGrad(c *graph.Call) (func() error, error) {
	rows, cols := matrix(c)
	k := &kernel.Unary{Op: kernel.OpExp}
	scale := &kernel.Scale{}
	return func() error {
		dx := c.Out[0].F32()
		k.X, k.Y = c.F32(0), dx
		k.Run(c.Pool)
		for r, label := range c.In[1].I64() {
			dx[r*cols+int(label)]--
		}
		scale.X, scale.Y, scale.S = dx, dx, c.F32(2)[0]/float32(rows)
		scale.Run(c.Pool)
		return nil
	}, nil
}

func inferCountCorrect(c *graph.Infer) error {
	if err := c.Require(2, 2); err != nil {
		return err
	}
	if err := c.Rank(0, 2); err != nil {
		return err
	}
	c.Out(0, tensor.Int64, graph.Shape{})
	return nil
}

func kernelCountCorrect(c *graph.Call) (func() error, error) {
	_, cols := matrix(c)
	return func() error {
		n := int64(0)
		for r, label := range c.In[1].I64() {
			if firstGreatest(c.F32(0)[r*cols:][:cols], int(label)) {
				n++
			}
		}
		c.Out[0].I64()[0] = n
		return nil
	}, nil
}

// firstGreatest reports whether no element is greater than the i-th, and none before it
// as great. It ends at the first that is.
func firstGreatest(row []float32, i int) bool {
	best := row[i]
	for j, v := range row {
		if v > best || v == best && j < i {
			return false
		}
	}
	return true
}
