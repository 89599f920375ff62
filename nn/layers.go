package nn

import (
	"fmt"

	"tandem/graph"
	"tandem/tensor"
)

// Layer writes nodes that compute its result from x.
type Layer interface {
	Build(b *Builder, x *graph.Value) *graph.Value
}

// Sequential applies layers one after the other.
type Sequential []Layer

func (s Sequential) Build(b *Builder, x *graph.Value) *graph.Value {
	for _, l := range s {
		if b.Err() != nil {
			return x
		}
		x = l.Build(b, x)
	}
	return x
}

// Activation is a function applied to every element of a layer's result.
type Activation string

const (
	Linear  Activation = ""
	ReLU    Activation = "relu"
	Tanh    Activation = "tanh"
	Sigmoid Activation = "sigmoid"
)

func (a Activation) apply(b *Builder, x *graph.Value) *graph.Value {
	switch a {
	case Linear:
		return x
	case ReLU:
		return b.Op("Relu", nil, x)
	case Tanh:
		return b.Op("Tanh", nil, x)
	case Sigmoid:
		return b.Op("Sigmoid", nil, x)
	}
	b.Fail(fmt.Errorf("activation %q is unknown: use relu, tanh or sigmoid", a))
	return x
}

// init is the initialiser that suits the activation.
func (a Activation) init() Init {
	if a == ReLU {
		return HeUniform
	}
	return FanInUniform
}

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

// Conv2D is a convolution of [n,c,h,w] with square windows.
type Conv2D struct {
	Filters    int
	Kernel     int
	Stride     int  // 0 means 1
	Same       bool // pad so that stride 1 keeps the size; else no padding
	Activation Activation
}

func (l Conv2D) Build(b *Builder, x *graph.Value) *graph.Value {
	name := b.scope("conv")
	c, ok := channels(b, name, 4, x)
	if !ok {
		return x
	}
	if l.Filters < 1 || l.Kernel < 1 || l.Stride < 0 {
		b.Fail(fmt.Errorf("%s: filters %d, kernel %d and stride %d must be positive", name, l.Filters, l.Kernel, l.Stride))
		return x
	}
	fanIn := c * l.Kernel * l.Kernel
	w := b.Param(name+".weight", l.Activation.init(), fanIn, l.Filters, c, l.Kernel, l.Kernel)
	bias := b.Param(name+".bias", Zeros, fanIn, l.Filters)
	stride := int64(max(l.Stride, 1))
	attrs := graph.Attrs{"kernel_shape": []int64{int64(l.Kernel), int64(l.Kernel)}, "strides": []int64{stride, stride}}
	if l.Same {
		before, after := int64(l.Kernel-1)/2, int64(l.Kernel)/2
		attrs["pads"] = []int64{before, before, after, after}
	}
	return l.Activation.apply(b, b.Op("Conv", attrs, x, w, bias))
}

// MaxPool2D takes the greatest element of windows of Size that do not overlap.
type MaxPool2D struct {
	Size int
}

func (l MaxPool2D) Build(b *Builder, x *graph.Value) *graph.Value {
	if l.Size < 1 {
		b.Fail(fmt.Errorf("max_pool: size %d must be positive", l.Size))
		return x
	}
	size := []int64{int64(l.Size), int64(l.Size)}
	return b.Op("MaxPool", graph.Attrs{"kernel_shape": size, "strides": size}, x)
}

// Dropout sets elements to 0 with probability Ratio while training (Srivastava et
// al., 2014), and passes its input on otherwise.
type Dropout struct {
	Ratio float32
}

func (l Dropout) Build(b *Builder, x *graph.Value) *graph.Value {
	if !(l.Ratio >= 0 && l.Ratio < 1) {
		b.Fail(fmt.Errorf("dropout: ratio %v is not in [0,1)", l.Ratio))
		return x
	}
	return b.Op("Dropout", nil, x, b.Const("ratio", tensor.Scalar(l.Ratio)))
}

// Flatten makes a matrix of one row per example.
type Flatten struct{}

func (Flatten) Build(b *Builder, x *graph.Value) *graph.Value { return b.Op("Flatten", nil, x) }

// Dense is a linear layer: y = x·Wᵀ + bias, with W [units, inputs].
type Dense struct {
	Units      int
	Activation Activation
}

func (l Dense) Build(b *Builder, x *graph.Value) *graph.Value {
	name := b.scope("dense")
	in, ok := channels(b, name, 2, x)
	if !ok {
		return x
	}
	if l.Units < 1 {
		b.Fail(fmt.Errorf("%s: %d units, at least 1 expected", name, l.Units))
		return x
	}
	w := b.Param(name+".weight", l.Activation.init(), in, l.Units, in)
	bias := b.Param(name+".bias", Zeros, in, l.Units)
	return l.Activation.apply(b, b.Op("Gemm", graph.Attrs{"transB": int64(1)}, x, w, bias))
}
