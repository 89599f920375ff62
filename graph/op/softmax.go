package op

import (
	"fmt"

	"tandem/graph"
	"tandem/kernel"
)

// softmaxOps normalise the last dimension.
func softmaxOps() []graph.Op {
	self := []graph.Alias{{In: 0, Out: 0}}
	return []graph.Op{
		{ID: onnx("Softmax"), Since: 13, Infer: inferSoftmax, Kernel: kernelSoftmax(false), Grad: gradBy("SoftmaxGrad"), InPlace: self},
		{ID: onnx("LogSoftmax"), Since: 13, Infer: inferSoftmax, Kernel: kernelSoftmax(true), Grad: gradBy("LogSoftmaxGrad"), InPlace: self},
		{ID: private("SoftmaxGrad"), Infer: floatLike(0, 2), Kernel: kernelSoftmaxGrad, InPlace: self},
		{ID: private("LogSoftmaxGrad"), Infer: floatLike(0, 2), Kernel: kernelLogSoftmaxGrad, InPlace: self},
	}
}

func inferSoftmax(c *graph.Infer) error {
	if err := c.Require(1, 1); err != nil {
		return err
	}
	if err := c.Floats(0); err != nil {
		return err
	}
	rank, axis := len(c.In(0).Shape), c.Node.Attrs.Int("axis", -1)
	if rank == 0 || axis != -1 && axis != rank-1 {
		return fmt.Errorf("axis %d of shape %v: only the last is supported", axis, c.In(0).Shape)
	}
	c.Out(0, c.In(0).DType, c.In(0).Shape)
	return nil
}

// matrix is the input's shape as rows of its last dimension.
func matrix(c *graph.Call) (rows, cols int) {
	s := c.In[0].Shape()
	return s[:len(s)-1].Len(), s[len(s)-1]
}

func kernelSoftmax(log bool) func(*graph.Call) (func() error, error) {
	return func(c *graph.Call) (func() error, error) {
		k := &kernel.Softmax{Log: log}
		k.Rows, k.Cols = matrix(c)
		return func() error {
			k.X, k.Y = c.F32(0), c.Out[0].F32()
			k.Run(c.Pool)
			return nil
		}, nil
	}
}

// kernelSoftmaxGrad: dx = y·(dy - Σ dy·y) along each row.
func kernelSoftmaxGrad(c *graph.Call) (func() error, error) {
	rows, cols := matrix(c)
	return func() error {
		dy, y, dx := c.F32(0), c.F32(1), c.Out[0].F32()
		for r := range rows {
			d, p, out := dy[r*cols:][:cols], y[r*cols:][:cols], dx[r*cols:][:cols]
			dot := float32(0)
			for i := range d {
				dot += d[i] * p[i]
			}
			for i := range d {
				out[i] = p[i] * (d[i] - dot)
			}
		}
		return nil
	}, nil
}

// kernelLogSoftmaxGrad: dx = dy - exp(y)·Σ dy along each row.
func kernelLogSoftmaxGrad(c *graph.Call) (func() error, error) {
	rows, cols := matrix(c)
	c.Reserve(4 * cols)
	k := &kernel.Unary{Op: kernel.OpExp}
	return func() error {
		dy, y, dx := c.F32(0), c.F32(1), c.Out[0].F32()
		for r := range rows {
			d, out := dy[r*cols:][:cols], dx[r*cols:][:cols]
			k.X, k.Y = y[r*cols:][:cols], c.ScratchF32()[:cols]
			k.Run(c.Pool)
			sum := float32(0)
			for _, v := range d {
				sum += v
			}
			for i := range d {
				out[i] = d[i] - k.Y[i]*sum
			}
		}
		return nil
	}, nil
}
