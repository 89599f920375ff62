package op

import (
	"fmt"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// poolOps reduce windows of images x [n,c,h,w].
func poolOps() []graph.Op {
	return []graph.Op{
		{ID: onnx("MaxPool"), Since: 1, Infer: inferMaxPool, Kernel: kernelMaxPool, Grad: gradMaxPool},
		// (dy, x, y) -> dx
		{ID: private("MaxPoolGrad"), Infer: sameAs(1, 3, 3), Kernel: kernelMaxPoolGrad},
	}
}

func inferMaxPool(c *graph.Infer) error {
	if err := c.Require(1, 1); err != nil {
		return err
	}
	if c.Node.Output(1) != nil {
		return fmt.Errorf("the output of indices is not supported")
	}
	if err := c.Floats(0); err != nil {
		return err
	}
	if err := c.Rank(0, 4); err != nil {
		return err
	}
	w, err := readWindow(c.Node.Attrs, c.Node.Attrs.Ints("kernel_shape"))
	if err != nil {
		return err
	}
	for axis := range 2 {
		if w.before[axis] >= w.extent(axis) || w.after[axis] >= w.extent(axis) {
			return fmt.Errorf("pads %v reach the size of the window %v", c.Node.Attrs.Ints("pads"), w.kernel)
		}
	}
	out, err := w.outShape(c.In(0).Shape, c.In(0).Shape[1])
	if err != nil {
		return err
	}
	c.Out(0, c.In(0).DType, out)
	return nil
}

func maxPoolOf(a graph.Attrs, x, y *tensor.Tensor) (*kernel.MaxPool, error) {
	w, err := readWindow(a, a.Ints("kernel_shape"))
	if err != nil {
		return nil, err
	}
	k := &kernel.MaxPool{
		N: x.Dim(0), C: x.Dim(1), H: x.Dim(2), W: x.Dim(3), KH: w.kernel[0], KW: w.kernel[1],
		StrideH: w.stride[0], StrideW: w.stride[1], DilationH: w.dilation[0], DilationW: w.dilation[1],
	}
	k.PadTop, k.PadBottom = w.pads(0, k.H, y.Dim(2))
	k.PadLeft, k.PadRight = w.pads(1, k.W, y.Dim(3))
	if oh, ow := k.OutSize(); oh != y.Dim(2) || ow != y.Dim(3) || oh < 1 || ow < 1 {
		return nil, fmt.Errorf("input %v is smaller than the window %v", x.Shape(), w.kernel)
	}
	return k, nil
}

func kernelMaxPool(c *graph.Call) (func() error, error) {
	k, err := maxPoolOf(c.Node.Attrs, c.In[0], c.Out[0])
	if err != nil {
		return nil, err
	}
	return func() error {
		k.X, k.Y = c.F32(0), c.Out[0].F32()
		k.Forward(c.Pool)
		return nil
	}, nil
}

func gradMaxPool(g *graph.Gradient) error {
	g.Set(0, g.Private("MaxPoolGrad", g.Node.Attrs, g.Out(0), g.In(0), g.Node.Outputs[0]))
	return nil
}

func kernelMaxPoolGrad(c *graph.Call) (func() error, error) {
	k, err := maxPoolOf(c.Node.Attrs, c.In[1], c.In[0])
	if err != nil {
		return nil, err
	}
	return func() error {
		k.DY, k.X, k.Y, k.DX = c.F32(0), c.F32(1), c.F32(2), c.Out[0].F32()
		k.Grad(c.Pool)
		return nil
	}, nil
}
