package nn

import (
	"fmt"

	"tandem/graph"
)

// ResNet is a residual network for pictures [n,c,h,w] up to the mean of each channel
// over all positions (He et al., "Deep Residual Learning", 2016): 18 and 34 of pairs of
// 3×3 convolutions, 50, 101 and 152 of bottlenecks whose 3×3 convolution has the stride.
type ResNet struct {
	Depth int  // 18, 34, 50, 101 or 152
	Width int  // channels of the first stage, of which each next one has twice as many; 0 means 64
	Large bool // begin with a 7×7 convolution and pooling, for pictures of about 224 pixels; else with a 3×3 one
}

// stages are the blocks of each stage.
func (l ResNet) stages() []int {
	return map[int][]int{18: {2, 2, 2, 2}, 34: {3, 4, 6, 3}, 50: {3, 4, 6, 3}, 101: {3, 4, 23, 3}, 152: {3, 8, 36, 3}}[l.Depth]
}

func (l ResNet) Build(b *Builder, x *graph.Value) *graph.Value {
	stages := l.stages()
	if stages == nil || l.Width < 0 {
		b.Fail(fmt.Errorf("resnet: depth %d and width %d: use depth 18, 34, 50, 101 or 152, and a positive width", l.Depth, l.Width))
		return x
	}
	width := l.Width
	if width == 0 {
		width = 64
	}
	layers, channels := l.stem(width), width
	for stage, blocks := range stages {
		for block := range blocks {
			stride := 1
			if stage > 0 && block == 0 {
				stride = 2
			}
			r, out := l.block(width<<stage, channels, stride)
			layers, channels = append(layers, r), out
		}
	}
	return append(layers, GlobalAveragePool{}).Build(b, x)
}

// normalised is a convolution without a bias, which the normalisation after it has.
func normalised(filters, kernel, stride int) Sequential {
	return Sequential{Conv2D{Filters: filters, Kernel: kernel, Stride: stride, Same: kernel > 1, NoBias: true}, BatchNorm{}}
}

func (l ResNet) stem(width int) Sequential {
	if !l.Large {
		return append(normalised(width, 3, 1), ReLU)
	}
	return append(normalised(width, 7, 2), ReLU, MaxPool2D{Size: 3, Stride: 2, Same: true})
}

// block makes out channels of in; all of its own have width.
func (l ResNet) block(width, in, stride int) (r Residual, out int) {
	out = width
	inner := append(append(normalised(width, 3, stride), ReLU), normalised(width, 3, 1)...)
	if l.Depth >= 50 {
		out = 4 * width
		inner = append(append(normalised(width, 1, 1), ReLU), append(append(normalised(width, 3, stride), ReLU), normalised(out, 1, 1)...)...)
	}
	r = Residual{Layers: inner, Activation: ReLU}
	if stride != 1 || in != out {
		r.Skip = normalised(out, 1, stride)
	}
	return r, out
}
