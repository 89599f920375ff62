package op

import (
	"fmt"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// convOps are the convolutions: x [n,c,spatial…], weight [oc,c/group,window…].
func convOps() []graph.Op {
	return []graph.Op{
		{ID: onnx("Conv"), Since: 1, Infer: inferConv, Kernel: kernelConv, Grad: gradConv, Work: workConv(1)},
		{ID: microsoft("FusedConv"), Since: 1, Infer: inferConv, Kernel: kernelConv, Expand: expandFused("Conv"), Work: workConv(1)},
		// (dy, weight, x) -> dx; x gives the shape alone
		{ID: private("ConvGradInput"), Infer: sameAs(2, 3, 3), Kernel: kernelConvGradInput},
		// (x, dy, weight) -> dweight; weight gives the shape alone
		{ID: private("ConvGradWeight"), Infer: sameAs(2, 3, 3), Kernel: kernelConvGradWeight},
		// dy [n,c,spatial…] -> [c]
		{ID: private("SumChannels"), Infer: inferSumChannels, Kernel: kernelSumChannels},
	}
}

// inferConv: (x, weight, bias, summand); the last only in FusedConv.
func inferConv(c *graph.Infer) error {
	if err := c.Require(2, 4); err != nil {
		return err
	}
	if c.Has(3) && c.Node.Op.Domain == "" {
		return fmt.Errorf("4 inputs, at most 3 expected")
	}
	if err := floats(c, 0, 1, 2, 3); err != nil {
		return err
	}
	if _, err := activation(c.Node); err != nil {
		return err
	}
	out, err := convShape(c, 0, 1, 2)
	if err != nil {
		return err
	}
	if c.Has(3) {
		if s := c.In(3).Shape; len(s) != len(out) {
			return fmt.Errorf("the summand has shape %v, the result %v", s, out)
		}
		for i, d := range c.In(3).Shape {
			if err := c.Same(d, out[i], "dimensions of summand and result"); err != nil {
				return err
			}
		}
	}
	c.Out(0, c.In(0).DType, out)
	return nil
}

// convShape is the shape of the convolution of inputs x and weight, with an
// optional bias.
func convShape(c *graph.Infer, xi, wi, bi int) (graph.Shape, error) {
	x, weight := c.In(xi).Shape, c.In(wi).Shape
	if len(x) < 3 {
		return nil, fmt.Errorf("input %v has no spatial dimensions", x)
	}
	if err := c.Rank(wi, len(x)); err != nil {
		return nil, err
	}
	k, ok := weight[2:].Static()
	if !ok {
		return nil, graph.ErrNeedsData
	}
	if given := c.Node.Attrs.Ints("kernel_shape"); given != nil && !k.Equal(given) {
		return nil, fmt.Errorf("kernel_shape %v differs from the weight's %v", given, k)
	}
	w, err := readWindow(c.Node.Attrs, k)
	if err != nil {
		return nil, err
	}
	group := c.Node.Attrs.Int("group", 1)
	if oc, ok := weight[0].Value(); group < 1 || ok && oc%group != 0 {
		return nil, fmt.Errorf("group %d does not divide %v output channels", group, weight[0])
	}
	if err := c.Same(x[1], weight[1].Mul(graph.Const(group)), "input channels and those of the weight"); err != nil {
		return nil, err
	}
	if bi >= 0 && c.Has(bi) {
		if err := c.Rank(bi, 1); err != nil {
			return nil, err
		}
		if err := c.Same(c.In(bi).Shape[0], weight[0], "lengths of bias and output channels"); err != nil {
			return nil, err
		}
	}
	return w.outShape(x, weight[0])
}

// plane is a tensor's shape with two spatial dimensions: a line is a plane of
// height 1.
func plane(t *tensor.Tensor) [4]int {
	if t.Rank() == 3 {
		return [4]int{t.Dim(0), t.Dim(1), 1, t.Dim(2)}
	}
	return [4]int(t.Shape())
}

// flat are the window's numbers for two spatial dimensions.
func (w window) flat() window {
	if len(w.kernel) == 2 {
		return w
	}
	return window{
		kernel: []int{1, w.kernel[0]}, stride: []int{1, w.stride[0]}, dilation: []int{1, w.dilation[0]},
		before: []int{0, w.before[0]}, after: []int{0, w.after[0]}, autoPad: w.autoPad, ceil: w.ceil,
	}
}

// convOf fills in the dimensions for x, weight and y of one or two spatial dimensions.
func convOf(a graph.Attrs, x, weight, y *tensor.Tensor) (*kernel.Conv, error) {
	w, err := readWindow(a, weight.Shape()[2:])
	if err != nil {
		return nil, err
	}
	w = w.flat()
	in, out := plane(x), plane(y)
	k := &kernel.Conv{
		N: in[0], C: in[1], H: in[2], W: in[3], OC: weight.Dim(0), KH: w.kernel[0], KW: w.kernel[1],
		StrideH: w.stride[0], StrideW: w.stride[1], DilationH: w.dilation[0], DilationW: w.dilation[1],
		Groups: a.Int("group", 1),
	}
	k.PadTop, k.PadBottom = w.pads(0, k.H, out[2])
	k.PadLeft, k.PadRight = w.pads(1, k.W, out[3])
	if oh, ow := k.OutSize(); oh != out[2] || ow != out[3] || oh < 1 || ow < 1 || k.C != weight.Dim(1)*k.Groups {
		return nil, fmt.Errorf("input %v does not fit weight %v", x.Shape(), weight.Shape())
	}
	return k, nil
}

// kernelConv: lines and images of float32 have kernels of their own.
func kernelConv(c *graph.Call) (func() error, error) {
	return floating(kernelConvF32, kernelConvND[float64])(c)
}

func kernelConvF32(c *graph.Call) (func() error, error) {
	if c.In[0].Rank() > 4 {
		return kernelConvND[float32](c)
	}
	k, err := convOf(c.Node.Attrs, c.In[0], c.In[1], c.Out[0])
	if err != nil {
		return nil, err
	}
	act, err := activation(c.Node)
	if err != nil {
		return nil, err
	}
	if !c.Has(3) && act.fused {
		k.Act, act.apply = act.act, nil
	}
	c.Reserve(4 * k.ForwardScratchLen(c.Pool))
	return func() error {
		k.X, k.Weight, k.Bias, k.Y = c.F32(0), c.F32(1), c.F32(2), c.Out[0].F32()
		k.Forward(c.Pool, c.ScratchF32())
		finishConv(k.Y, c.F32(3), act)
		return nil
	}, nil
}

// finishConv adds FusedConv's summand and applies its activation.
func finishConv[T float32 | float64](y, summand []T, act activationFunc) {
	for i, v := range summand {
		y[i] += v
	}
	if act.apply != nil {
		for i, v := range y {
			y[i] = T(act.apply(float64(v)))
		}
	}
}

func gradConv(g *graph.Gradient) error {
	x, weight, dy := g.In(0), g.In(1), g.Out(0)
	if g.In(0).Type.DType != tensor.Float32 {
		return fmt.Errorf("only float32 has a gradient, not %v", g.In(0).Type.DType)
	}
	if g.Needs(0) {
		g.Set(0, g.Private("ConvGradInput", g.Node.Attrs, dy, weight, x))
	}
	if g.Needs(1) {
		g.Set(1, g.Private("ConvGradWeight", g.Node.Attrs, x, dy, weight))
	}
	if g.Needs(2) {
		g.Set(2, g.Private("SumChannels", nil, dy))
	}
	return nil
}

func kernelConvGradInput(c *graph.Call) (func() error, error) {
	if c.In[0].Rank() > 4 {
		return kernelConvGradInputND(c)
	}
	k, err := convOf(c.Node.Attrs, c.In[2], c.In[1], c.In[0])
	if err != nil {
		return nil, err
	}
	c.Reserve(4 * k.GradInputScratchLen(c.Pool))
	return func() error {
		k.Y, k.Weight = c.F32(0), c.F32(1)
		k.GradInput(c.Pool, c.Out[0].F32(), c.ScratchF32())
		return nil
	}, nil
}

func kernelConvGradWeight(c *graph.Call) (func() error, error) {
	if c.In[0].Rank() > 4 {
		return kernelConvGradWeightND(c)
	}
	k, err := convOf(c.Node.Attrs, c.In[0], c.In[2], c.In[1])
	if err != nil {
		return nil, err
	}
	c.Reserve(4 * k.GradWeightScratchLen(c.Pool))
	return func() error {
		k.X, k.Y = c.F32(0), c.F32(1)
		k.GradWeight(c.Pool, c.Out[0].F32(), c.ScratchF32())
		return nil
	}, nil
}

func inferSumChannels(c *graph.Infer) error {
	if err := c.Require(1, 1); err != nil {
		return err
	}
	if len(c.In(0).Shape) < 2 {
		return fmt.Errorf("shape %v has no channels", c.In(0).Shape)
	}
	c.Out(0, c.In(0).DType, c.In(0).Shape[1:2])
	return nil
}

func kernelSumChannels(c *graph.Call) (func() error, error) {
	x := c.In[0]
	k := &kernel.SumChannels{N: x.Dim(0), C: x.Dim(1), HW: x.Shape()[2:].Len()}
	return func() error {
		k.Y, k.Dst = x.F32(), c.Out[0].F32()
		k.Run(c.Pool)
		return nil
	}, nil
}
