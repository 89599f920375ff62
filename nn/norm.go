package nn

import (
	"fmt"

	"tandem/graph"
)

// LayerNorm normalises the last dimension (Ba et al., 2016).
type LayerNorm struct {
	Epsilon float32 // 0 means 1e-5
}

func (l LayerNorm) Build(b *Builder, x *graph.Value) *graph.Value {
	name := b.scope("layer_norm")
	n, ok := size(b, name, 1, -1, x)
	if !ok {
		return x
	}
	scale, bias := b.Param(name+".scale", Ones, Fan{}, n), b.Param(name+".bias", Zeros, Fan{}, n)
	return b.Op("LayerNormalization", graph.Attrs{"axis": int64(-1), "epsilon": b.epsilon(name, l.Epsilon)}, x, scale, bias)
}

// RMSNorm divides the last dimension by the root of its mean square (Zhang and
// Sennrich, 2019). It needs opset 23.
type RMSNorm struct {
	Epsilon float32 // 0 means 1e-5
}

func (l RMSNorm) Build(b *Builder, x *graph.Value) *graph.Value {
	name := b.scope("rms_norm")
	n, ok := size(b, name, 1, -1, x)
	if !ok {
		return x
	}
	b.needs(23)
	return b.Op("RMSNormalization", graph.Attrs{"axis": int64(-1), "epsilon": b.epsilon(name, l.Epsilon)}, x, b.Param(name+".scale", Ones, Fan{}, n))
}

// BatchNorm normalises each channel (dimension 1) over the batch and all positions
// while training, and by running averages afterwards (Ioffe and Szegedy, 2015).
type BatchNorm struct {
	Epsilon  float32 // 0 means 1e-5
	Momentum float32 // share of the old running average in the new one; 0 means 0.9
}

func (l BatchNorm) Build(b *Builder, x *graph.Value) *graph.Value {
	name := b.scope("batch_norm")
	n, ok := size(b, name, 2, 1, x)
	if !ok {
		return x
	}
	if !(l.Momentum >= 0 && l.Momentum < 1) {
		b.Fail(fmt.Errorf("%s: momentum %v is not in [0,1)", name, l.Momentum))
		return x
	}
	scale, bias := b.Param(name+".scale", Ones, Fan{}, n), b.Param(name+".bias", Zeros, Fan{}, n)
	mean, variance := b.buffer(name+".mean", 0, n), b.buffer(name+".variance", 1, n)
	attrs := graph.Attrs{"epsilon": b.epsilon(name, l.Epsilon), "momentum": orDefault(l.Momentum, 0.9)}
	return b.Op("BatchNormalization", attrs, x, scale, bias, mean, variance)
}

// GroupNorm normalises groups of channels over their positions (Wu and He, 2018).
// Groups equal to the channels is instance normalisation.
type GroupNorm struct {
	Groups  int
	Epsilon float32 // 0 means 1e-5
}

func (l GroupNorm) Build(b *Builder, x *graph.Value) *graph.Value {
	name := b.scope("group_norm")
	n, ok := size(b, name, 3, 1, x)
	if !ok || !positive(b, name+" groups", l.Groups) {
		return x
	}
	scale, bias := b.Param(name+".scale", Ones, Fan{}, n), b.Param(name+".bias", Zeros, Fan{}, n)
	return b.Op("GroupNormalization", graph.Attrs{"num_groups": int64(l.Groups), "epsilon": b.epsilon(name, l.Epsilon)}, x, scale, bias)
}

// epsilon is what keeps a normalisation from dividing by 0.
func (b *Builder) epsilon(layer string, v float32) float32 {
	if !(v >= 0) {
		b.Fail(fmt.Errorf("%s: epsilon %v must not be negative", layer, v))
	}
	return orDefault(v, 1e-5)
}

func orDefault(v, def float32) float32 {
	if v == 0 {
		return def
	}
	return v
}
