package op

import (
	"fmt"
	"maps"
	"slices"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// transposeConvOps: the map whose matrix is a convolution's, transposed.
func transposeConvOps() []graph.Op {
	return []graph.Op{
		{ID: onnx("ConvTranspose"), Since: 1, Infer: inferConvTranspose, Kernel: floating(kernelConvTransposeF32, kernelConvTransposeND[float64]), Grad: gradConvTranspose, Work: workConvTranspose},
	}
}

// transposed is a window that spreads each input element over the output.
type transposed struct {
	window
	output, shape []int // output_padding; output_shape or nil
}

func readTransposed(a graph.Attrs, kernelShape []int) (transposed, error) {
	w, err := readWindow(a, kernelShape)
	if err != nil {
		return transposed{}, err
	}
	t := transposed{window: w}
	if t.output, err = perAxis(a, "output_padding", len(kernelShape), 0); err != nil {
		return t, err
	}
	if t.shape = a.Ints("output_shape"); len(t.shape) == len(kernelShape)+2 {
		t.shape = t.shape[2:] // some exporters write the whole shape
	}
	if t.shape != nil && (len(t.shape) != len(kernelShape) || slices.Min(t.shape) < 1) {
		return t, fmt.Errorf("output_shape %v: %d positive numbers expected", t.shape, len(kernelShape))
	}
	return t, nil
}

// reach is the output's size before padding is cut off.
func (t transposed) reach(axis int, in graph.Dim) graph.Dim {
	stride := graph.Const(t.stride[axis])
	return in.Sub(graph.Const(1)).Mul(stride).Add(graph.Const(t.output[axis] + t.extent(axis)))
}

func (t transposed) out(axis int, in graph.Dim) graph.Dim {
	switch {
	case t.shape != nil:
		return graph.Const(t.shape[axis])
	case t.autoPad == "SAME_UPPER" || t.autoPad == "SAME_LOWER":
		return in.Mul(graph.Const(t.stride[axis]))
	}
	return t.reach(axis, in).Sub(graph.Const(t.before[axis] + t.after[axis]))
}

// cut is how much of the reach lies before the output (ONNX, ConvTranspose:
// SAME_UPPER alone cuts the greater half behind).
func (t transposed) cut(axis, in, out int) int {
	if t.shape == nil && (t.autoPad == "NOTSET" || t.autoPad == "VALID") {
		return t.before[axis]
	}
	reach, _ := t.reach(axis, graph.Const(in)).Value()
	total := max(reach-out, 0)
	if t.autoPad == "SAME_UPPER" {
		return total / 2
	}
	return total - total/2
}

func inferConvTranspose(c *graph.Infer) error {
	if err := c.Require(2, 3); err != nil {
		return err
	}
	if err := floats(c, 0, 1, 2); err != nil {
		return err
	}
	x, weight := c.In(0).Shape, c.In(1).Shape
	if len(x) < 3 {
		return fmt.Errorf("input %v has no spatial dimensions", x)
	}
	if err := c.Rank(1, len(x)); err != nil {
		return err
	}
	k, ok := weight[2:].Static()
	if !ok {
		return graph.ErrNeedsData
	}
	if given := c.Node.Attrs.Ints("kernel_shape"); given != nil && !k.Equal(given) {
		return fmt.Errorf("kernel_shape %v differs from the weight's %v", given, k)
	}
	t, err := readTransposed(c.Node.Attrs, k)
	if err != nil {
		return err
	}
	group := c.Node.Attrs.Int("group", 1)
	if ic, ok := x[1].Value(); group < 1 || ok && ic%group != 0 {
		return fmt.Errorf("group %d does not divide %v input channels", group, x[1])
	}
	if err := c.Same(x[1], weight[0], "input channels and those of the weight"); err != nil {
		return err
	}
	channels := weight[1].Mul(graph.Const(group))
	if c.Has(2) {
		if err := c.Rank(2, 1); err != nil {
			return err
		}
		if err := c.Same(c.In(2).Shape[0], channels, "lengths of bias and output channels"); err != nil {
			return err
		}
	}
	out := graph.Shape{x[0], channels}
	for axis := range k {
		d := t.out(axis, x[axis+2])
		if n, ok := d.Value(); ok && n < 1 {
			return fmt.Errorf("the padding leaves nothing of dimension %d of input %v", axis+2, x)
		}
		out = append(out, d)
	}
	c.Out(0, c.In(0).DType, out)
	return nil
}

// kernelConvTransposeF32: on images it is the gradient of a convolution's input.
func kernelConvTransposeF32(c *graph.Call) (func() error, error) {
	x, weight, y := c.In[0], c.In[1], c.Out[0]
	if x.Rank() > 4 || x.Len() == 0 {
		return kernelConvTransposeND[float32](c)
	}
	t, err := readTransposed(c.Node.Attrs, weight.Shape()[2:])
	if err != nil {
		return nil, err
	}
	cut := make([]int, x.Rank()-2)
	for axis := range cut {
		cut[axis] = t.cut(axis, x.Dim(axis+2), y.Dim(axis+2))
	}
	if len(cut) == 1 {
		cut = []int{0, cut[0]}
	}
	w, in, out := t.flat(), plane(x), plane(y)
	k := &kernel.Conv{
		N: out[0], C: out[1], H: out[2], W: out[3], OC: in[1], KH: w.kernel[0], KW: w.kernel[1],
		StrideH: w.stride[0], StrideW: w.stride[1], DilationH: w.dilation[0], DilationW: w.dilation[1],
		Groups: c.Node.Attrs.Int("group", 1), PadTop: cut[0], PadLeft: cut[1],
	}
	k.PadBottom = max((in[2]-1)*w.stride[0]+w.extent(0)-k.H-k.PadTop, 0)
	k.PadRight = max((in[3]-1)*w.stride[1]+w.extent(1)-k.W-k.PadLeft, 0)
	if oh, ow := k.OutSize(); oh != in[2] || ow != in[3] {
		return kernelConvTransposeND[float32](c) // output padding of a stride or more
	}
	c.Reserve(4 * k.GradInputScratchLen(c.Pool))
	return func() error {
		k.Y, k.Weight = c.F32(0), c.F32(1)
		k.GradInput(c.Pool, c.Out[0].F32(), c.ScratchF32())
		if c.Has(2) {
			addChannels(c.Out[0].F32(), c.F32(2), k.H*k.W)
		}
		return nil
	}, nil
}

// kernelConvTransposeND: y = fold(weightᵀ · x) + bias.
func kernelConvTransposeND[T float32 | float64](c *graph.Call) (func() error, error) {
	x, weight, y := c.In[0], c.In[1], c.Out[0]
	t, err := readTransposed(c.Node.Attrs, weight.Shape()[2:])
	if err != nil {
		return nil, err
	}
	in, out := x.Shape()[2:], y.Shape()[2:]
	cut := make([]int, len(in))
	for axis := range cut {
		cut[axis] = t.cut(axis, in[axis], out[axis])
	}
	u, err := t.unfold(c, out, in, cut)
	if err != nil {
		return nil, err
	}
	groups := c.Node.Attrs.Int("group", 1)
	ic, oc := x.Dim(1)/groups, weight.Dim(1)
	depth := oc * u.taps
	p := (&product[T]{m: depth, n: u.positions, k: ic, transA: true}).prepared(c.Pool)
	cols, err := graph.Room[T](c, depth*u.positions)
	if err != nil {
		return nil, err
	}
	c.Reserve(4 * p.scratchLen())
	return func() error {
		from, weight, to := tensor.Data[T](c.In[0]), tensor.Data[T](c.In[1]), tensor.Data[T](c.Out[0])
		clear(to)
		for ng := range x.Dim(0) * groups {
			p.run(weight[ng%groups*ic*depth:][:ic*depth], from[ng*ic*u.positions:][:ic*u.positions], cols, c.ScratchF32())
			foldFrom(u, to[ng*oc*u.plane:][:oc*u.plane], cols, oc, 0, u.positions)
		}
		if c.Has(2) {
			addChannels(to, tensor.Data[T](c.In[2]), u.plane)
		}
		return nil
	}, nil
}

// gradConvTranspose: the transposed map's transpose is the convolution itself.
func gradConvTranspose(g *graph.Gradient) error {
	x, weight, dy := g.In(0), g.In(1), g.Out(0)
	if x.Type.DType != tensor.Float32 {
		return fmt.Errorf("only float32 has a gradient, not %v", x.Type.DType)
	}
	attrs := maps.Clone(g.Node.Attrs)
	if err := explicitPads(g, attrs); err != nil {
		return err
	}
	if g.Needs(0) {
		g.Set(0, g.Op("Conv", attrs, dy, weight))
	}
	if g.Needs(1) {
		g.Set(1, g.Private("ConvGradWeight", attrs, dy, x, weight))
	}
	if g.Needs(2) {
		g.Set(2, g.Private("SumChannels", nil, dy))
	}
	return nil
}

// explicitPads makes the attributes those of the convolution that the operator
// transposes: what is cut off the reach is its padding. The output's padding is of
// less than a stride, so that no window begins there.
func explicitPads(g *graph.Gradient, attrs graph.Attrs) error {
	weight, ok := g.In(1).Type.Shape[2:].Static()
	if !ok {
		return fmt.Errorf("the window is not known")
	}
	t, err := readTransposed(attrs, weight)
	if err != nil {
		return err
	}
	delete(attrs, "output_padding")
	if t.shape == nil && (t.autoPad == "NOTSET" || t.autoPad == "VALID") {
		return nil
	}
	in, ok1 := g.In(0).Type.Shape[2:].Static()
	out, ok2 := g.Out(0).Type.Shape[2:].Static()
	if !ok1 || !ok2 {
		return fmt.Errorf("a gradient with output_shape or auto_pad needs sizes that are known")
	}
	pads := make([]int64, 2*len(in))
	for axis := range in {
		cut := t.cut(axis, in[axis], out[axis])
		after := (in[axis]-1)*t.stride[axis] + t.extent(axis) - cut - out[axis]
		pads[axis], pads[axis+len(in)] = int64(cut), int64(max(after, 0))
	}
	delete(attrs, "output_shape")
	delete(attrs, "auto_pad")
	attrs["pads"] = pads
	return nil
}
