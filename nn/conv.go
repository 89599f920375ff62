package nn

import (
	"fmt"

	"tandem/graph"
)

// channels is the size of dimension 1, which must be known.
func channels(b *Builder, layer string, rank int, x *graph.Value) (int, bool) {
	if len(x.Type.Shape) != rank {
		b.Fail(fmt.Errorf("%s takes %d dimensions, its input has shape %v", layer, rank, x.Type.Shape))
		return 0, false
	}
	n, ok := x.Type.Shape[1].Value()
	if !ok {
		b.Fail(fmt.Errorf("%s needs to know dimension 1 of its input of shape %v", layer, x.Type.Shape))
	}
	return n, ok
}

// Window says how a convolution slides over positions; the windows are square.
type Window struct {
	Filters    int
	Kernel     int
	Stride     int  // 0 means 1
	Dilation   int  // 0 means 1
	Groups     int  // of channels that do not see each other; 0 means 1
	Same       bool // pad so that the result is as large as the input by the stride; else no padding
	NoBias     bool
	Activation Activation
	Init       Init // of the weight; "": what suits the activation
}

// Convolutions of [n,c,w], [n,c,h,w] and [n,c,d,h,w]. With as many Groups as
// channels they are depthwise. ConvTranspose layers are the way back: a stride
// makes the result larger.
type (
	Conv1D          Window
	Conv2D          Window
	Conv3D          Window
	ConvTranspose1D Window
	ConvTranspose2D Window
	ConvTranspose3D Window
)

func (l Conv1D) Build(b *Builder, x *graph.Value) *graph.Value {
	return Window(l).build(b, x, 1, false)
}
func (l Conv2D) Build(b *Builder, x *graph.Value) *graph.Value {
	return Window(l).build(b, x, 2, false)
}
func (l Conv3D) Build(b *Builder, x *graph.Value) *graph.Value {
	return Window(l).build(b, x, 3, false)
}
func (l ConvTranspose1D) Build(b *Builder, x *graph.Value) *graph.Value {
	return Window(l).build(b, x, 1, true)
}
func (l ConvTranspose2D) Build(b *Builder, x *graph.Value) *graph.Value {
	return Window(l).build(b, x, 2, true)
}
func (l ConvTranspose3D) Build(b *Builder, x *graph.Value) *graph.Value {
	return Window(l).build(b, x, 3, true)
}

// repeated is a list of n equal numbers.
func repeated(v, n int) []int64 {
	list := make([]int64, n)
	for i := range list {
		list[i] = int64(v)
	}
	return list
}

func (l Window) build(b *Builder, x *graph.Value, dims int, transposed bool) *graph.Value {
	kind, op := "conv", "Conv"
	if transposed {
		kind, op = "conv_transpose", "ConvTranspose"
	}
	name := b.scope(kind)
	c, ok := channels(b, name, dims+2, x)
	if !ok {
		return x
	}
	groups, stride, dilation := max(l.Groups, 1), max(l.Stride, 1), max(l.Dilation, 1)
	if l.Filters < 1 || l.Kernel < 1 || l.Stride < 0 {
		b.Fail(fmt.Errorf("%s: filters %d, kernel %d and stride %d must be positive", name, l.Filters, l.Kernel, l.Stride))
		return x
	}
	if l.Dilation < 0 || l.Groups < 0 || c%groups != 0 || l.Filters%groups != 0 {
		b.Fail(fmt.Errorf("%s: %d channels and %d filters do not divide into %d groups", name, c, l.Filters, l.Groups))
		return x
	}
	shape := []int{l.Filters, c / groups}
	if transposed {
		shape = []int{c, l.Filters / groups}
	}
	fan := Fan{c / groups, l.Filters / groups, shape[0], shape[1]}
	for range dims {
		shape = append(shape, l.Kernel)
		fan.In, fan.Out, fan.Columns = fan.In*l.Kernel, fan.Out*l.Kernel, fan.Columns*l.Kernel
	}
	inputs := []*graph.Value{x, b.Param(name+".weight", l.Init.or(l.Activation.init()), fan, shape...)}
	if !l.NoBias {
		inputs = append(inputs, b.Param(name+".bias", Zeros, Fan{}, l.Filters))
	}
	attrs := graph.Attrs{"kernel_shape": repeated(l.Kernel, dims), "strides": repeated(stride, dims)}
	if dilation > 1 {
		attrs["dilations"] = repeated(dilation, dims)
	}
	if groups > 1 {
		attrs["group"] = int64(groups)
	}
	if l.Same {
		attrs["pads"] = around(dilation*(l.Kernel-1), dims)
	}
	if l.Same && transposed && stride > 1 {
		attrs["output_padding"] = repeated(stride-1, dims) // stride times as large
	}
	return l.Activation.Build(b, b.Op(op, attrs, inputs...))
}

// around are pads of n positions in all before and behind each dimension.
func around(n, dims int) []int64 { return append(repeated(n/2, dims), repeated(n-n/2, dims)...) }

// Depthwise says how a convolution filters each channel by itself.
type Depthwise struct {
	Kernel     int
	Multiplier int  // results of each channel; 0 means 1
	Stride     int  // 0 means 1
	Dilation   int  // 0 means 1
	Same       bool // as in Window
	NoBias     bool
	Activation Activation
	Init       Init // as in Window
}

// Depthwise convolutions of [n,c,w], [n,c,h,w] and [n,c,d,h,w].
type (
	DepthwiseConv1D Depthwise
	DepthwiseConv2D Depthwise
	DepthwiseConv3D Depthwise
)

func (l DepthwiseConv1D) Build(b *Builder, x *graph.Value) *graph.Value {
	return Depthwise(l).build(b, x, 1)
}
func (l DepthwiseConv2D) Build(b *Builder, x *graph.Value) *graph.Value {
	return Depthwise(l).build(b, x, 2)
}
func (l DepthwiseConv3D) Build(b *Builder, x *graph.Value) *graph.Value {
	return Depthwise(l).build(b, x, 3)
}

func (l Depthwise) build(b *Builder, x *graph.Value, dims int) *graph.Value {
	c, ok := channels(b, "depthwise convolution", dims+2, x)
	if !ok {
		return x
	}
	if l.Multiplier < 0 {
		b.Fail(fmt.Errorf("depthwise convolution: multiplier %d must be positive", l.Multiplier))
		return x
	}
	w := Window{c * max(l.Multiplier, 1), l.Kernel, l.Stride, l.Dilation, c, l.Same, l.NoBias, l.Activation, l.Init}
	return w.build(b, x, dims, false)
}

// Separable convolutions filter each channel by itself, and join channels at each
// position by a convolution of kernel 1 (Chollet, "Xception", 2017). Groups are those of
// the latter.
type (
	SeparableConv1D Window
	SeparableConv2D Window
)

func (l SeparableConv1D) Build(b *Builder, x *graph.Value) *graph.Value {
	return Window(l).separable(b, x, 1)
}
func (l SeparableConv2D) Build(b *Builder, x *graph.Value) *graph.Value {
	return Window(l).separable(b, x, 2)
}

func (l Window) separable(b *Builder, x *graph.Value, dims int) *graph.Value {
	x = Depthwise{Kernel: l.Kernel, Stride: l.Stride, Dilation: l.Dilation, Same: l.Same, NoBias: true, Init: l.Init}.build(b, x, dims)
	if b.Err() != nil {
		return x
	}
	return Window{Filters: l.Filters, Kernel: 1, Groups: l.Groups, NoBias: l.NoBias, Activation: l.Activation, Init: l.Init}.build(b, x, dims, false)
}

// Pool says over which windows a pooling layer goes.
type Pool struct {
	Size   int
	Stride int  // 0 means Size: windows do not overlap
	Same   bool // pad so that the result is as large as the input by the stride; else no padding. Padding is no part of a maximum or a mean
}

// The greatest element, or the mean, of each window of [n,c,w], [n,c,h,w] and
// [n,c,d,h,w].
type (
	MaxPool1D     Pool
	MaxPool2D     Pool
	MaxPool3D     Pool
	AveragePool1D Pool
	AveragePool2D Pool
	AveragePool3D Pool
)

func (l MaxPool1D) Build(b *Builder, x *graph.Value) *graph.Value {
	return Pool(l).build(b, x, "MaxPool", 1)
}
func (l MaxPool2D) Build(b *Builder, x *graph.Value) *graph.Value {
	return Pool(l).build(b, x, "MaxPool", 2)
}
func (l MaxPool3D) Build(b *Builder, x *graph.Value) *graph.Value {
	return Pool(l).build(b, x, "MaxPool", 3)
}
func (l AveragePool1D) Build(b *Builder, x *graph.Value) *graph.Value {
	return Pool(l).build(b, x, "AveragePool", 1)
}
func (l AveragePool2D) Build(b *Builder, x *graph.Value) *graph.Value {
	return Pool(l).build(b, x, "AveragePool", 2)
}
func (l AveragePool3D) Build(b *Builder, x *graph.Value) *graph.Value {
	return Pool(l).build(b, x, "AveragePool", 3)
}

func (l Pool) build(b *Builder, x *graph.Value, op string, dims int) *graph.Value {
	stride := l.Stride
	if stride == 0 {
		stride = l.Size
	}
	if l.Size < 1 || stride < 1 {
		b.Fail(fmt.Errorf("pooling: size %d must be positive", l.Size))
		return x
	}
	attrs := graph.Attrs{"kernel_shape": repeated(l.Size, dims), "strides": repeated(stride, dims)}
	if l.Same {
		attrs["pads"] = around(l.Size-1, dims)
	}
	return b.Op(op, attrs, x)
}

// GlobalAveragePool takes the mean of each channel over all positions: [n, c].
type GlobalAveragePool struct{}

func (GlobalAveragePool) Build(b *Builder, x *graph.Value) *graph.Value {
	return globalPool(b, "GlobalAveragePool", "global_average_pool", x)
}

func globalPool(b *Builder, op, layer string, x *graph.Value) *graph.Value {
	if _, ok := size(b, layer, 3, 1, x); !ok {
		return x
	}
	return b.Op("Flatten", nil, b.Op(op, nil, x))
}

// GlobalMaxPool takes the greatest element of each channel over all positions: [n, c].
type GlobalMaxPool struct{}

func (GlobalMaxPool) Build(b *Builder, x *graph.Value) *graph.Value {
	return globalPool(b, "GlobalMaxPool", "global_max_pool", x)
}
