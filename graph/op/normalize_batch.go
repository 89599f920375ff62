package op

import (
	"fmt"
	"math"

	"tandem/graph"
	"tandem/tensor"
)

// batchNormOps: statistics per channel (dimension 1). What asks for training
// changed: is_test=0 before opset 7, further outputs before 14, training_mode since.
func batchNormOps() []graph.Op {
	isTest := func(n *graph.Node) bool { return n.Attrs.Int("is_test", 0) == 0 }
	byOutputs := func(n *graph.Node) bool { return n.Output(1) != nil || n.Output(2) != nil }
	byMode := func(n *graph.Node) bool { return n.Attrs.Int("training_mode", 0) != 0 }
	define := func(since int, training func(*graph.Node) bool) graph.Op {
		return graph.Op{ID: onnx("BatchNormalization"), Since: since, Infer: inferBatchNorm(training),
			Kernel: floating(kernelBatchNorm[float32](training), kernelBatchNorm[float64](training)), Expand: expandBatchNorm(training)}
	}
	return []graph.Op{define(1, isTest), define(7, byOutputs), define(14, byMode)}
}

// inferBatchNorm: (x, scale, bias, mean, variance) -> (y, running mean, running
// variance[, mean and variance of the batch]).
func inferBatchNorm(training func(*graph.Node) bool) func(*graph.Infer) error {
	return func(c *graph.Infer) error {
		if err := c.Require(5, 5); err != nil {
			return err
		}
		x := c.In(0)
		if len(x.Shape) < 1 {
			return fmt.Errorf("the input is a scalar")
		}
		channels := channelDim(c.Node, x.Shape)
		for i := range 5 {
			if !fullFloat(c.In(i).DType) {
				return fmt.Errorf("input %d (%s) is %v, expected floats", i, c.Node.Inputs[i].Name, c.In(i).DType)
			}
			if i > 0 {
				if err := c.Same(c.In(i).Shape.Len(), channels, fmt.Sprintf("elements of input %d and channels", i)); err != nil {
					return err
				}
			}
		}
		if !training(c.Node) {
			for i := 1; i < len(c.Node.Outputs); i++ {
				if c.Node.Outputs[i] != nil {
					return fmt.Errorf("output %d is there only when training", i)
				}
			}
		}
		c.Out(0, x.DType, x.Shape)
		for i := 1; i < 5; i++ {
			c.Out(i, c.In(3).DType, c.In(3).Shape)
		}
		return nil
	}
}

// channelDim is the number of channels: with spatial=0 (before opset 9) every
// position of an example is a channel of its own.
func channelDim(n *graph.Node, s graph.Shape) graph.Dim {
	switch {
	case len(s) == 1:
		return graph.Const(1)
	case n.Attrs.Int("spatial", 1) == 0:
		return s[1:].Len()
	}
	return s[1]
}

// channelLines see x as [batch, channels, positions].
func channelLines(n *graph.Node, s tensor.Shape) lines {
	switch {
	case len(s) == 1:
		return lines{s[0], 1, 1}
	case n.Attrs.Int("spatial", 1) == 0:
		return lines{s[0], s[1:].Len(), 1}
	}
	return linesAlong(s, 1)
}

func kernelBatchNorm[T wide](training func(*graph.Node) bool) graph.Kernel {
	return func(c *graph.Call) (func() error, error) {
		l, train := channelLines(c.Node, c.In[0].Shape()), training(c.Node)
		epsilon, momentum := float64(c.Node.Attrs.Float("epsilon", 1e-5)), float64(c.Node.Attrs.Float("momentum", 0.9))
		for i := 1; i < 5; i++ {
			if c.In[i].Len() != l.n {
				return nil, fmt.Errorf("input %d has %d elements for %d channels", i, c.In[i].Len(), l.n)
			}
		}
		return func() error {
			x, y := tensor.Data[T](c.In[0]), tensor.Data[T](c.Out[0])
			scale, bias := tensor.Data[T](c.In[1]), tensor.Data[T](c.In[2])
			runMean, runVar := tensor.Data[T](c.In[3]), tensor.Data[T](c.In[4])
			for ch := range l.n {
				mean, variance := float64(runMean[ch]), float64(runVar[ch])
				if train {
					m, v := channelMoments(x, l, ch)
					put(c, 1, ch, T(mean*momentum+m*(1-momentum)))
					put(c, 2, ch, T(variance*momentum+v*(1-momentum)))
					put(c, 3, ch, T(m))
					put(c, 4, ch, T(v))
					mean, variance = m, v
				}
				factor := float64(scale[ch]) / math.Sqrt(variance+epsilon)
				channelAffine(y, x, l, ch, T(mean), T(factor), bias[ch])
			}
			return nil
		}, nil
	}
}

// put writes element at of output i, if the node has it.
func put[T tensor.Element](c *graph.Call, i, at int, v T) {
	if i < len(c.Out) && c.Out[i] != nil {
		tensor.Data[T](c.Out[i])[at] = v
	}
}

// channelMoments are mean and variance of a channel over batch and positions.
func channelMoments[T wide](x []T, l lines, ch int) (mean, variance float64) {
	count := float64(l.outer * l.inner)
	for n := range l.outer {
		for _, v := range x[(n*l.n+ch)*l.inner:][:l.inner] {
			mean += float64(v)
		}
	}
	mean /= count
	for n := range l.outer {
		for _, v := range x[(n*l.n+ch)*l.inner:][:l.inner] {
			variance += (float64(v) - mean) * (float64(v) - mean)
		}
	}
	return mean, variance / count
}

// channelAffine computes (x-mean)·factor+bias for a channel.
func channelAffine[T wide](y, x []T, l lines, ch int, mean, factor, bias T) {
	for n := range l.outer {
		at := (n*l.n + ch) * l.inner
		to := y[at:][:l.inner]
		for i, v := range x[at:][:l.inner] {
			to[i] = (v-mean)*factor + bias
		}
	}
}
