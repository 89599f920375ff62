package op

import (
	"fmt"
	"slices"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// channelsLastOps are what a pass lowers operators on images and lines to: the same
// operators on x [n,spatial…,c], whose channels come last.
func channelsLastOps() []graph.Op {
	return []graph.Op{
		// (x, weight, bias, summand): weight [oc,c/group,window…], packed or not
		{ID: private("ConvLast"), Infer: inferConvLast, Kernel: kernelConvLast, Work: workConv(1), Encoded: true, InPlace: []graph.Alias{{In: 3, Out: 0}}, Rows: byRow(0, 3)},
		// ConvLast of x, each element rounded to the nearest bfloat16, and weights of bfloat16
		// packed by kernel.PackBFloat16Conv, with products and sums of float32
		{ID: private("BFloat16ConvLast"), Infer: inferConvLast, Kernel: kernelConvLast, Work: workConv(1), Encoded: true, InPlace: []graph.Alias{{In: 3, Out: 0}}, Rows: byRow(0, 3)},
		// QLinearConv with weights packed by kernel.PackByteConv, and afterBytes
		{ID: private("QLinearConvLast"), Infer: inferByteConvLast, Kernel: kernelByteConvLast, Work: workConv(3), Encoded: true, InPlace: []graph.Alias{{In: afterConv.other(), Out: 0}}, Rows: byRow(0, afterConv.other())},
		{ID: private("Lookup"), Infer: inferLookup, Kernel: kernelLookup, InPlace: []graph.Alias{{In: 0, Out: 0}}, Rows: byRow(0)},
		{ID: private("MaxPoolLast"), Infer: inferPoolLast, Kernel: kernelPoolLast(false), Rows: byRow(0)},
		{ID: private("AveragePoolLast"), Infer: inferPoolLast, Kernel: kernelPoolLast(true), Rows: byRow(0)},
		// x [n,spatial…,c] -> [n,1…,c]
		{ID: private("GlobalAveragePoolLast"), Infer: inferMeanLast, Kernel: kernelMeanLast, Rows: byRow(0)},
		// (x, scale [c], bias [c]), one group of all channels
		{ID: private("GroupNormalizationLast"), Infer: inferGroupNormLast, Kernel: kernelGroupNormLast, InPlace: []graph.Alias{{In: 0, Out: 0}}, Rows: byRow(0)},
		// moves dimension 1 behind the others, and back
		{ID: private("ToLast"), Infer: inferToLast, Kernel: kernelToLast, Rows: byRow(0)},
		{ID: private("ToFirst"), Infer: inferToFirst, Kernel: kernelToFirst, Rows: byRow(0)},
	}
}

// toFirst and toLast are a shape with the channels moved.
func toFirst[S ~[]E, E any](s S) S {
	last := len(s) - 1
	return slices.Concat(s[:1], s[last:], s[1:last])
}

func toLast[S ~[]E, E any](s S) S { return slices.Concat(s[:1], s[2:], s[1:2]) }

// imageLast checks that input 0 is a line or an image of float32 or bytes, and returns its
// shape with the channels first.
func imageLast(c *graph.Infer) (graph.Shape, error) {
	if !isByte(c.In(0).DType) {
		if err := c.Floats(0); err != nil {
			return nil, err
		}
	}
	if n := len(c.In(0).Shape); n != 3 && n != 4 {
		return nil, fmt.Errorf("input %v is neither a line nor an image", c.In(0).Shape)
	}
	return toFirst(c.In(0).Shape), nil
}

func inferConvLast(c *graph.Infer) error {
	if err := c.Require(2, 4); err != nil {
		return err
	}
	if err := c.Floats(0); err != nil {
		return err
	}
	out, err := convLastShape(c, 1)
	if err != nil {
		return err
	}
	c.Out(0, c.In(0).DType, out)
	_, err = activation(c.Node)
	return err
}

// convLastShape is the shape of a convolution with the weights of an input.
func convLastShape(c *graph.Infer, weights int) (graph.Shape, error) {
	x, err := imageLast(c)
	if err != nil {
		return nil, err
	}
	weight := c.In(weights).Shape
	if len(weight) != len(x) {
		return nil, fmt.Errorf("weight %v does not fit input %v", weight, c.In(0).Shape)
	}
	k, ok := weight[2:].Static()
	if !ok {
		return nil, graph.ErrNeedsData
	}
	w, err := readWindow(c.Node.Attrs, k)
	if err != nil {
		return nil, err
	}
	out, err := w.outShape(x, weight[0])
	return toLast(out), err
}

// planeLast is a tensor's shape with two spatial dimensions, channels first.
func planeLast(t *tensor.Tensor) *tensor.Tensor {
	p := new(tensor.Tensor)
	p.Set(t.DType(), toFirst(t.Shape()), nil)
	return p
}

func kernelConvLast(c *graph.Call) (func() error, error) {
	d, err := convOf(c.Node.Attrs, planeLast(c.In[0]), c.In[1], planeLast(c.Out[0]))
	if err != nil {
		return nil, err
	}
	act, err := activation(c.Node)
	if err != nil {
		return nil, err
	}
	if !act.fused {
		return nil, fmt.Errorf("activation %q is not one that is fused", c.Node.Attrs.String("activation", ""))
	}
	k := &kernel.ConvLast{
		N: d.N, H: d.H, W: d.W, C: d.C, OC: d.OC, KH: d.KH, KW: d.KW, StrideH: d.StrideH, StrideW: d.StrideW,
		PadTop: d.PadTop, PadLeft: d.PadLeft, PadBottom: d.PadBottom, PadRight: d.PadRight,
		DilationH: d.DilationH, DilationW: d.DilationW, Groups: d.Groups, Act: act.act,
	}
	packed, room := false, 0
	weights := func() []float32 { return c.F32(1) }
	if w := c.Node.Inputs[1].Const; w != nil {
		packed = w.Encoding != graph.Dense
		k.Winograd = map[graph.Encoding]int{graph.PanelWinograd2: 2, graph.PanelWinograd4: 4}[w.Encoding]
		if k.BFloat16 = w.Encoding == graph.PanelBFloat16; k.BFloat16 {
			words := asElements[float32](w.Data)
			weights = func() []float32 { return words }
		}
	}
	if rounds := c.Node.Op.Name == "BFloat16ConvLast"; rounds != k.BFloat16 {
		return nil, fmt.Errorf("the weight %s is packed for another operator", c.Node.Inputs[1].Name)
	}
	if c.Has(3) {
		k.Add = []float32{} // there will be one, for which scratch is needed
	}
	if !packed {
		room = kernel.ConvLastLen(k.OC, k.C/k.Groups, k.KH, k.KW, k.Groups, c.Pool.ISA())
	}
	c.Reserve(4 * (room + k.ScratchLen(c.Pool)))
	return func() error {
		scratch := c.ScratchF32()
		k.X, k.Packed, k.Bias, k.Add, k.Y = c.F32(0), weights(), c.F32(2), c.F32(3), c.Out[0].F32()
		if !packed {
			k.Packed = scratch[:room]
			kernel.PackConvLast(k.Packed, weights(), k.OC, k.C/k.Groups, k.KH, k.KW, k.Groups, c.Pool.ISA())
		}
		k.Run(c.Pool, scratch[room:])
		return nil
	}, nil
}

func inferPoolLast(c *graph.Infer) error {
	if err := c.Require(1, 1); err != nil {
		return err
	}
	out, err := poolLastShape(c)
	if err != nil {
		return err
	}
	c.Out(0, c.In(0).DType, out)
	return nil
}

// poolLastShape is the shape of a window's results over the spatial dimensions.
func poolLastShape(c *graph.Infer) (graph.Shape, error) {
	x, err := imageLast(c)
	if err != nil {
		return nil, err
	}
	w, err := readWindow(c.Node.Attrs, c.Node.Attrs.Ints("kernel_shape"))
	if err != nil {
		return nil, err
	}
	out, err := w.outShape(x, x[1])
	if err != nil {
		return nil, err
	}
	return toLast(out), nil
}

func kernelPoolLast(average bool) graph.Kernel {
	return func(c *graph.Call) (func() error, error) {
		w, err := readWindow(c.Node.Attrs, c.Node.Attrs.Ints("kernel_shape"))
		if err != nil {
			return nil, err
		}
		w = w.flat()
		in, out := plane(planeLast(c.In[0])), plane(planeLast(c.Out[0]))
		k := &kernel.PoolLast{
			N: in[0], C: in[1], H: in[2], W: in[3], OH: out[2], OW: out[3], KH: w.kernel[0], KW: w.kernel[1],
			StrideH: w.stride[0], StrideW: w.stride[1], DilationH: w.dilation[0], DilationW: w.dilation[1],
			Average: average, CountPad: c.Node.Attrs.Int("count_include_pad", 0) != 0,
		}
		k.PadTop, k.PadBottom = w.pads(0, k.H, k.OH)
		k.PadLeft, k.PadRight = w.pads(1, k.W, k.OW)
		if k.OH < 1 || k.OW < 1 {
			return nil, fmt.Errorf("input %v is smaller than the window %v", c.In[0].Shape(), w.kernel)
		}
		if isByte(c.In[0].DType()) {
			return maxBytesLast(c, k)
		}
		c.Reserve(4 * k.C)
		return func() error {
			k.X, k.Y, k.Lowest = c.F32(0), c.Out[0].F32(), c.ScratchF32()
			k.Run(c.Pool)
			return nil
		}, nil
	}
}

func inferMeanLast(c *graph.Infer) error {
	if err := c.Require(1, 1); err != nil {
		return err
	}
	if err := c.Floats(0); err != nil {
		return err
	}
	out, err := meanLastShape(c)
	c.Out(0, c.In(0).DType, out)
	return err
}

// meanLastShape has 1 for the spatial dimensions.
func meanLastShape(c *graph.Infer) (graph.Shape, error) {
	if _, err := imageLast(c); err != nil {
		return nil, err
	}
	out := slices.Clone(c.In(0).Shape)
	for axis := 1; axis < len(out)-1; axis++ {
		out[axis] = graph.Const(1)
	}
	return out, nil
}

func kernelMeanLast(c *graph.Call) (func() error, error) {
	s := c.In[0].Shape()
	last := len(s) - 1
	k := &kernel.MeanLast{N: s[0], Rows: s[1:last].Len(), C: s[last]}
	return func() error {
		k.X, k.Y = c.F32(0), c.Out[0].F32()
		k.Run(c.Pool)
		return nil
	}, nil
}

func inferGroupNormLast(c *graph.Infer) error {
	if err := c.Require(3, 3); err != nil {
		return err
	}
	if err := c.Floats(0, 1, 2); err != nil {
		return err
	}
	x, err := imageLast(c)
	if err != nil {
		return err
	}
	for i := 1; i < 3; i++ {
		if err := c.Rank(i, 1); err != nil {
			return err
		}
		if err := c.Same(c.In(i).Shape[0], x[1], "elements of scale or bias and channels"); err != nil {
			return err
		}
	}
	c.Out(0, c.In(0).DType, c.In(0).Shape)
	return nil
}

func kernelGroupNormLast(c *graph.Call) (func() error, error) {
	s := c.In[0].Shape()
	last := len(s) - 1
	k := &kernel.GroupNorm{Groups: s[0], Parts: s[1:last].Len(), Part: s[last], Last: true, Epsilon: c.Node.Attrs.Float("epsilon", 1e-5)}
	return func() error {
		k.X, k.Scale, k.Bias, k.Y = c.F32(0), c.F32(1), c.F32(2), c.Out[0].F32()
		k.Run(c.Pool)
		return nil
	}, nil
}

func inferToLast(c *graph.Infer) error {
	if err := c.Require(1, 1); err != nil {
		return err
	}
	if !isByte(c.In(0).DType) {
		if err := c.Floats(0); err != nil {
			return err
		}
	}
	if len(c.In(0).Shape) < 3 {
		return fmt.Errorf("input %v has no spatial dimensions", c.In(0).Shape)
	}
	c.Out(0, c.In(0).DType, toLast(c.In(0).Shape))
	return nil
}

func inferToFirst(c *graph.Infer) error {
	if err := c.Require(1, 1); err != nil {
		return err
	}
	x, err := imageLast(c)
	if err != nil {
		return err
	}
	c.Out(0, c.In(0).DType, x)
	return nil
}

func kernelToLast(c *graph.Call) (func() error, error) {
	s := c.In[0].Shape()
	return transposeKernel(c, s[0], s[1], s[2:].Len()), nil
}

func kernelToFirst(c *graph.Call) (func() error, error) {
	s := c.In[0].Shape()
	last := len(s) - 1
	return transposeKernel(c, s[0], s[1:last].Len(), s[last]), nil
}

func transposeKernel(c *graph.Call, batch, rows, cols int) func() error {
	if isByte(c.In[0].DType()) {
		return transposeBytes(c, batch, rows, cols)
	}
	k := &kernel.Transpose{Batch: batch, Rows: rows, Cols: cols}
	return func() error {
		k.X, k.Y = c.F32(0), c.Out[0].F32()
		k.Run(c.Pool)
		return nil
	}
}
