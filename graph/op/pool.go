package op

import (
	"fmt"
	"math"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// poolOps reduce windows, or whole planes, of x [n,c,spatial…].
func poolOps() []graph.Op {
	return []graph.Op{
		{ID: onnx("MaxPool"), Since: 1, Infer: inferMaxPool, Kernel: kernelMaxPool, Grad: gradMaxPool},
		{ID: onnx("AveragePool"), Since: 1, Infer: inferPool, Kernel: floating(kernelAveragePool[float32], kernelAveragePool[float64]), Grad: gradAveragePool},
		{ID: onnx("LpPool"), Since: 1, Infer: inferPool, Kernel: floating(kernelLpPool[float32], kernelLpPool[float64]), Expand: expandLpPool},
		{ID: onnx("GlobalAveragePool"), Since: 1, Infer: inferGlobalPool, Kernel: floating(kernelGlobalAverage[float32], kernelGlobalAverage[float64]), Grad: gradGlobalAverage},
		{ID: onnx("GlobalMaxPool"), Since: 1, Infer: inferGlobalPool, Kernel: floating(kernelGlobalMax[float32], kernelGlobalMax[float64]), Expand: expandGlobalMax},
		{ID: onnx("GlobalLpPool"), Since: 1, Infer: inferGlobalPool, Kernel: floating(kernelGlobalLp[float32], kernelGlobalLp[float64]), Expand: expandGlobalLp},
		{ID: onnx("MaxUnpool"), Since: 9, Infer: inferMaxUnpool, Kernel: kernelMaxUnpool, Grad: gradMaxUnpool},
		// (dy, x, y) -> dx
		{ID: private("MaxPoolGrad"), Infer: sameAs(1, 3, 3), Kernel: kernelMaxPoolGrad},
		// (dy, x) -> dx; x gives the shape alone
		{ID: private("AveragePoolGrad"), Infer: sameAs(1, 2, 2), Kernel: kernelAveragePoolGrad},
		{ID: private("GlobalAveragePoolGrad"), Infer: sameAs(1, 2, 2), Kernel: kernelGlobalAverageGrad},
	}
}

// poolShape checks the input and finds the output's shape.
func poolShape(c *graph.Infer) (graph.Shape, error) {
	w, err := readWindow(c.Node.Attrs, c.Node.Attrs.Ints("kernel_shape"))
	if err != nil {
		return nil, err
	}
	for axis := range w.kernel {
		if w.before[axis] >= w.extent(axis) || w.after[axis] >= w.extent(axis) {
			return nil, fmt.Errorf("pads %v reach the size of the window %v", c.Node.Attrs.Ints("pads"), w.kernel)
		}
	}
	x := c.In(0).Shape
	if len(x) < 3 {
		return nil, fmt.Errorf("input %v has no spatial dimensions", x)
	}
	return w.outShape(x, x[1])
}

func inferPool(c *graph.Infer) error {
	if err := c.Require(1, 1); err != nil {
		return err
	}
	if err := floats(c, 0); err != nil {
		return err
	}
	out, err := poolShape(c)
	if err != nil {
		return err
	}
	c.Out(0, c.In(0).DType, out)
	return nil
}

func inferMaxPool(c *graph.Infer) error {
	if err := c.Require(1, 1); err != nil {
		return err
	}
	if err := typed(c, func(d tensor.DType) bool { return realFloat(d) || isByte(d) }, 0); err != nil {
		return err
	}
	out, err := poolShape(c)
	if err != nil {
		return err
	}
	c.Out(0, c.In(0).DType, out)
	c.Out(1, tensor.Int64, out)
	return nil
}

func kernelMaxPool(c *graph.Call) (func() error, error) {
	switch c.In[0].DType() {
	case tensor.Int8:
		return kernelMaxPoolND[int8](c)
	case tensor.Uint8:
		return kernelMaxPoolND[uint8](c)
	}
	return floating(kernelMaxPoolF32, kernelMaxPoolND[float64])(c)
}

// kernelMaxPoolF32: lines and images have a kernel of their own, which gives no
// indices.
func kernelMaxPoolF32(c *graph.Call) (func() error, error) {
	if c.In[0].Rank() > 4 || len(c.Out) > 1 && c.Out[1] != nil {
		return kernelMaxPoolND[float32](c)
	}
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

func maxPoolOf(a graph.Attrs, x, y *tensor.Tensor) (*kernel.MaxPool, error) {
	w, err := readWindow(a, a.Ints("kernel_shape"))
	if err != nil {
		return nil, err
	}
	w = w.flat()
	in, out := plane(x), plane(y)
	k := &kernel.MaxPool{
		N: in[0], C: in[1], H: in[2], W: in[3], KH: w.kernel[0], KW: w.kernel[1],
		StrideH: w.stride[0], StrideW: w.stride[1], DilationH: w.dilation[0], DilationW: w.dilation[1],
	}
	k.PadTop, k.PadBottom = w.pads(0, k.H, out[2])
	k.PadLeft, k.PadRight = w.pads(1, k.W, out[3])
	if oh, ow := k.OutSize(); oh != out[2] || ow != out[3] || oh < 1 || ow < 1 {
		return nil, fmt.Errorf("input %v is smaller than the window %v", x.Shape(), w.kernel)
	}
	return k, nil
}

// eachWindow calls f for every plane and every output of it, planes in parallel.
func eachWindow(c *graph.Call, f func(plane, o int, window []int)) (func(), error) {
	a, x, y := c.Node.Attrs, c.In[0], c.Out[0]
	w, err := readWindow(a, a.Ints("kernel_shape"))
	if err != nil {
		return nil, err
	}
	t := w.taps(x.Shape()[2:], y.Shape()[2:])
	planes, positions := x.Shape()[:2].Len(), y.Shape()[2:].Len()
	grain := max(1, (1<<14)/max(1, positions*tensor.Shape(w.kernel).Len()))
	own := t.clones(c.Pool.Threads())
	body := func(lo, hi, worker int) {
		for o := range positions {
			window := own[worker].at(o)
			for p := lo; p < hi; p++ {
				f(p, o, window)
			}
		}
	}
	return func() { c.Pool.For(planes, grain, body) }, nil
}

// kernelMaxPoolND: the first greatest element of each window; NaN counts as the
// greatest.
func kernelMaxPoolND[T float32 | float64 | int8 | uint8](c *graph.Call) (func() error, error) {
	x, y := c.In[0], c.Out[0]
	var indices *tensor.Tensor
	if len(c.Out) > 1 {
		indices = c.Out[1]
	}
	in, out := x.Shape()[2:].Len(), y.Shape()[2:].Len()
	column := c.Node.Attrs.Int("storage_order", 0) != 0
	run, err := eachWindow(c, func(plane, o int, window []int) {
		from := tensor.Data[T](x)[plane*in:][:in]
		best := greatestAt(from, window)
		if best < 0 {
			tensor.Data[T](y)[plane*out+o] = lowestOf[T]()
			return // its index stays 0
		}
		tensor.Data[T](y)[plane*out+o] = from[best]
		if indices == nil {
			return
		}
		if column {
			best = columnMajor(best, x.Shape()[2:])
		}
		indices.I64()[plane*out+o] = int64(plane*in + best)
	})
	return func() error {
		if indices != nil {
			clear(indices.I64())
		}
		run()
		return nil
	}, err
}

// lowestOf is what every other number wins against.
func lowestOf[T float32 | float64 | int8 | uint8]() T {
	var v T
	switch p := any(&v).(type) {
	case *float32:
		*p = float32(math.Inf(-1))
	case *float64:
		*p = math.Inf(-1)
	case *int8:
		*p = math.MinInt8
	}
	return v
}

// greatestAt is where the first greatest element of a window lies; -1 if a dilated
// window covers padding alone.
func greatestAt[T float32 | float64 | int8 | uint8](x []T, window []int) int {
	best := -1
	for _, at := range window {
		if best < 0 || x[at] > x[best] || x[at] != x[at] && x[best] == x[best] {
			best = at
		}
	}
	return best
}

// columnMajor numbers an element with the first dimension the fastest.
func columnMajor(at int, shape tensor.Shape) int {
	index, scale := 0, shape.Len()
	for axis := len(shape) - 1; axis >= 0; axis-- {
		scale /= shape[axis]
		index += at % shape[axis] * scale
		at /= shape[axis]
	}
	return index
}

func gradMaxPool(g *graph.Gradient) error {
	if g.In(0).Type.DType != tensor.Float32 {
		return fmt.Errorf("only float32 has a gradient, not %v", g.In(0).Type.DType)
	}
	if g.Out(0) != nil {
		g.Set(0, g.Private("MaxPoolGrad", g.Node.Attrs, g.Out(0), g.In(0), g.Node.Outputs[0]))
	}
	return nil
}

func kernelMaxPoolGrad(c *graph.Call) (func() error, error) {
	if c.In[1].Rank() > 4 {
		return kernelMaxPoolGradND(c)
	}
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

// kernelMaxPoolGradND: the first greatest element of each window gets its gradient.
func kernelMaxPoolGradND(c *graph.Call) (func() error, error) {
	dy, x := c.In[0], c.In[1]
	w, err := readWindow(c.Node.Attrs, c.Node.Attrs.Ints("kernel_shape"))
	if err != nil {
		return nil, err
	}
	in, out := x.Shape()[2:].Len(), dy.Shape()[2:].Len()
	t, planes := w.taps(x.Shape()[2:], dy.Shape()[2:]), x.Shape()[:2].Len()
	own := t.clones(c.Pool.Threads())
	body := func(lo, hi, worker int) {
		for p := lo; p < hi; p++ {
			from, to := c.F32(1)[p*in:][:in], c.Out[0].F32()[p*in:][:in]
			for o, d := range c.F32(0)[p*out:][:out] {
				if best := greatestAt(from, own[worker].at(o)); best >= 0 {
					to[best] += d
				}
			}
		}
	}
	return func() error {
		clear(c.Out[0].F32())
		c.Pool.For(planes, max(1, (1<<14)/max(1, in)), body)
		return nil
	}, nil
}
