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

// Conv2D is a convolution of [n,c,h,w] with square windows.
type Conv2D struct {
	Filters    int
	Kernel     int
	Stride     int  // 0 means 1
	Same       bool // pad so that stride 1 keeps the size; else no padding
	NoBias     bool
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
	inputs := []*graph.Value{x, w}
	if !l.NoBias {
		inputs = append(inputs, b.Param(name+".bias", Zeros, fanIn, l.Filters))
	}
	stride := int64(max(l.Stride, 1))
	attrs := graph.Attrs{"kernel_shape": []int64{int64(l.Kernel), int64(l.Kernel)}, "strides": []int64{stride, stride}}
	if l.Same {
		before, after := int64(l.Kernel-1)/2, int64(l.Kernel)/2
		attrs["pads"] = []int64{before, before, after, after}
	}
	return l.Activation.Build(b, b.Op("Conv", attrs, inputs...))
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

// GlobalAveragePool takes the mean of each channel over all positions: [n, c].
type GlobalAveragePool struct{}

func (GlobalAveragePool) Build(b *Builder, x *graph.Value) *graph.Value {
	return b.Op("Flatten", nil, b.Op("GlobalAveragePool", nil, x))
}
