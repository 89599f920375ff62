package op

import (
	"fmt"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// convOps are the convolutions of images: x [n,c,h,w], weight [oc,c/group,kh,kw].
func convOps() []graph.Op {
	return []graph.Op{
		{ID: onnx("Conv"), Since: 1, Infer: inferConv, Kernel: kernelConv, Grad: gradConv},
		{ID: microsoft("FusedConv"), Since: 1, Infer: inferConv, Kernel: kernelConv},
		// (dy, weight, x) -> dx; x gives the shape alone
		{ID: private("ConvGradInput"), Infer: sameAs(2, 3, 3), Kernel: kernelConvGradInput},
		// (x, dy, weight) -> dweight; weight gives the shape alone
		{ID: private("ConvGradWeight"), Infer: sameAs(2, 3, 3), Kernel: kernelConvGradWeight},
		// dy [n,c,h,w] -> [c]
		{ID: private("SumChannels"), Infer: inferSumChannels, Kernel: kernelSumChannels},
	}
}

// window are the attributes that convolution and pooling share, for two spatial
// dimensions.
type window struct {
	kernel, stride, dilation [2]int
	before, after            [2]int // padding
	autoPad                  string
	ceil                     bool
}

func readWindow(a graph.Attrs, kernelShape []int) (window, error) {
	w := window{stride: [2]int{1, 1}, dilation: [2]int{1, 1}, autoPad: a.String("auto_pad", "NOTSET"), ceil: a.Int("ceil_mode", 0) != 0}
	if len(kernelShape) != 2 {
		return w, fmt.Errorf("a window of %d dimensions; only images (2 spatial dimensions) are supported", len(kernelShape))
	}
	w.kernel = [2]int(kernelShape)
	for _, f := range []struct {
		name string
		to   *[2]int
	}{{"strides", &w.stride}, {"dilations", &w.dilation}} {
		v := a.Ints(f.name)
		if v == nil {
			continue
		}
		if len(v) != 2 || v[0] < 1 || v[1] < 1 {
			return w, fmt.Errorf("%s %v: two positive numbers expected", f.name, v)
		}
		*f.to = [2]int(v)
	}
	if w.kernel[0] < 1 || w.kernel[1] < 1 {
		return w, fmt.Errorf("window %v is not positive", w.kernel)
	}
	if p := a.Ints("pads"); p != nil {
		if len(p) != 4 || min(p[0], p[1], p[2], p[3]) < 0 {
			return w, fmt.Errorf("pads %v: four numbers, none negative, expected", p)
		}
		w.before, w.after = [2]int{p[0], p[1]}, [2]int{p[2], p[3]}
	}
	switch w.autoPad {
	case "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER":
		return w, nil
	}
	return w, fmt.Errorf("auto_pad %q is unknown", w.autoPad)
}

// extent is what a window covers along a spatial dimension.
func (w window) extent(axis int) int { return w.dilation[axis]*(w.kernel[axis]-1) + 1 }

// out is the output's size along a spatial dimension (ONNX, Conv and MaxPool).
func (w window) out(axis int, in graph.Dim) graph.Dim {
	stride := graph.Const(w.stride[axis])
	switch w.autoPad {
	case "SAME_UPPER", "SAME_LOWER":
		return in.CeilDiv(stride)
	case "VALID":
		return in.Sub(graph.Const(w.extent(axis))).Div(stride).Add(graph.Const(1))
	}
	room := in.Add(graph.Const(w.before[axis] + w.after[axis] - w.extent(axis)))
	if !w.ceil {
		return room.Div(stride).Add(graph.Const(1))
	}
	// A window that would begin in the padding behind the input is left out.
	last := in.Add(graph.Const(w.before[axis] - 1)).Div(stride)
	return room.CeilDiv(stride).Min(last).Add(graph.Const(1))
}

// pads are the paddings for a known size, auto_pad resolved. With ceil_mode the
// last window may reach beyond: the padding behind grows to hold it.
func (w window) pads(axis, in, out int) (before, after int) {
	total := max((out-1)*w.stride[axis]+w.extent(axis)-in, 0)
	switch w.autoPad {
	case "SAME_UPPER":
		return total / 2, total - total/2
	case "SAME_LOWER":
		return total - total/2, total / 2
	case "VALID":
		return 0, 0
	}
	before, after = w.before[axis], w.after[axis]
	if w.ceil {
		after = max(after, total-before)
	}
	return before, after
}

func (w window) outShape(in graph.Shape, channels graph.Dim) (graph.Shape, error) {
	out := graph.Shape{in[0], channels, w.out(0, in[2]), w.out(1, in[3])}
	for _, d := range out[2:] {
		if n, ok := d.Value(); ok && n < 1 {
			return nil, fmt.Errorf("a window of %dx%d is larger than the input of shape %v", w.extent(0), w.extent(1), in)
		}
	}
	return out, nil
}

func inferConv(c *graph.Infer) error {
	if err := c.Require(2, 4); err != nil {
		return err
	}
	if c.Has(3) {
		return fmt.Errorf("a fused addition (input 3) is not supported")
	}
	if err := c.Floats(0, 1, 2); err != nil {
		return err
	}
	for i := range 2 {
		if err := c.Rank(i, 4); err != nil {
			return err
		}
	}
	if _, err := activation(c.Node); err != nil {
		return err
	}
	x, weight := c.In(0).Shape, c.In(1).Shape
	k, ok := weight[2:].Static()
	if !ok {
		return fmt.Errorf("the window %v must be known", weight[2:])
	}
	w, err := readWindow(c.Node.Attrs, k)
	if err != nil {
		return err
	}
	group := c.Node.Attrs.Int("group", 1)
	if oc, ok := weight[0].Value(); group < 1 || ok && oc%group != 0 {
		return fmt.Errorf("group %d does not divide %v output channels", group, weight[0])
	}
	if err := c.Same(x[1], weight[1].Mul(graph.Const(group)), "input channels and those of the weight"); err != nil {
		return err
	}
	if c.Has(2) {
		if err := c.Rank(2, 1); err != nil {
			return err
		}
		if err := c.Same(c.In(2).Shape[0], weight[0], "lengths of bias and output channels"); err != nil {
			return err
		}
	}
	out, err := w.outShape(x, weight[0])
	if err != nil {
		return err
	}
	c.Out(0, c.In(0).DType, out)
	return nil
}

// convOf fills in the dimensions for x, weight and y.
func convOf(a graph.Attrs, x, weight, y *tensor.Tensor) (*kernel.Conv, error) {
	w, err := readWindow(a, weight.Shape()[2:])
	if err != nil {
		return nil, err
	}
	k := &kernel.Conv{
		N: x.Dim(0), C: x.Dim(1), H: x.Dim(2), W: x.Dim(3), OC: weight.Dim(0), KH: w.kernel[0], KW: w.kernel[1],
		StrideH: w.stride[0], StrideW: w.stride[1], DilationH: w.dilation[0], DilationW: w.dilation[1],
		Groups: a.Int("group", 1),
	}
	k.PadTop, k.PadBottom = w.pads(0, k.H, y.Dim(2))
	k.PadLeft, k.PadRight = w.pads(1, k.W, y.Dim(3))
	if oh, ow := k.OutSize(); oh != y.Dim(2) || ow != y.Dim(3) || oh < 1 || ow < 1 || k.C != weight.Dim(1)*k.Groups {
		return nil, fmt.Errorf("input %v does not fit weight %v", x.Shape(), weight.Shape())
	}
	return k, nil
}

func kernelConv(c *graph.Call) (func() error, error) {
	k, err := convOf(c.Node.Attrs, c.In[0], c.In[1], c.Out[0])
	if err != nil {
		return nil, err
	}
	if k.Act, err = activation(c.Node); err != nil {
		return nil, err
	}
	c.Reserve(4 * k.ForwardScratchLen(c.Pool))
	return func() error {
		k.X, k.Weight, k.Bias, k.Y = c.F32(0), c.F32(1), c.F32(2), c.Out[0].F32()
		k.Forward(c.Pool, c.ScratchF32())
		return nil
	}, nil
}

func gradConv(g *graph.Gradient) error {
	x, weight, dy := g.In(0), g.In(1), g.Out(0)
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
	if err := c.Rank(0, 4); err != nil {
		return err
	}
	c.Out(0, c.In(0).DType, c.In(0).Shape[1:2])
	return nil
}

func kernelSumChannels(c *graph.Call) (func() error, error) {
	x := c.In[0]
	k := &kernel.SumChannels{N: x.Dim(0), C: x.Dim(1), HW: x.Dim(2) * x.Dim(3)}
	return func() error {
		k.Y, k.Dst = x.F32(), c.Out[0].F32()
		k.Run(c.Pool)
		return nil
	}, nil
}
