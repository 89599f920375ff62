package op

import (
	"fmt"
	"math"

	"tandem/graph"
	"tandem/tensor"
)

// Expansions of normalisations and pools, for their gradients.

// overSpace reduces x over the dimensions behind the batch and the channels; where there
// are none it stays.
func overSpace(b *graph.Builder, reduce string, x *graph.Value) *graph.Value {
	axes := make([]int64, len(x.Type.Shape)-2)
	if len(axes) == 0 { // no axes would be all
		return b.Op("Identity", nil, x)
	}
	for i := range axes {
		axes[i] = int64(i + 2)
	}
	return b.Op(reduce, nil, x, b.Ints("axes", axes...))
}

// expandBatchNorm writes out the form for inference, which a frozen part of a network
// keeps: an affine function of each channel.
func expandBatchNorm(training func(*graph.Node) bool) func(*graph.Expansion) ([]*graph.Value, error) {
	return func(e *graph.Expansion) ([]*graph.Value, error) {
		rank := len(e.In(0).Type.Shape)
		if training(e.Node) || e.Node.Attrs.Int("spatial", 1) == 0 || rank < 2 {
			return nil, fmt.Errorf("only the form for inference, with channels as dimension 1, has a gradient")
		}
		column := make([]int64, rank-1)
		for i := range column {
			column[i] = 1
		}
		column[0] = -1
		shape := e.Ints("column", column...)
		spread := func(v *graph.Value) *graph.Value { return e.Op("Reshape", nil, v, shape) }
		deviation := e.Op("Sqrt", nil, e.Op("Add", nil, e.In(4), e.Scalar("epsilon", e.Node.Attrs.Float("epsilon", 1e-5))))
		factor := e.Op("Div", nil, e.In(1), deviation)
		centred := e.Op("Sub", nil, e.In(0), spread(e.In(3)))
		return []*graph.Value{e.Op("Add", nil, e.Op("Mul", nil, centred, spread(factor)), spread(e.In(2)))}, nil
	}
}

// expandSkipNorm: inputs (x, skip, scale[, bias of the norm], bias of the sum).
func expandSkipNorm(rms bool) func(*graph.Expansion) ([]*graph.Value, error) {
	return func(e *graph.Expansion) ([]*graph.Value, error) {
		add, norm, epsilon := e.In(4), graph.OpID{Name: "LayerNormalization"}, float32(1e-12)
		in := []*graph.Value{nil, e.In(2), e.In(3)}
		if rms {
			add, norm, epsilon = e.In(3), microsoft("SimplifiedLayerNormalization"), 1e-6
			in = in[:2]
		}
		sum := e.Op("Add", nil, e.In(0), e.In(1))
		if add != nil {
			sum = e.Op("Add", nil, sum, add)
		}
		in[0] = sum
		y := e.Builder.Node(norm, 1, graph.Attrs{"axis": int64(-1), "epsilon": e.Node.Attrs.Float("epsilon", epsilon)}, in...)[0]
		return []*graph.Value{y, nil, nil, sum}, nil
	}
}

func expandEmbedNorm(e *graph.Expansion) ([]*graph.Value, error) {
	rows := func(table, ids int) *graph.Value { return e.Op("Gather", nil, e.In(table), e.In(ids)) }
	sum := rows(embedWordTable, embedIDs)
	if e.In(embedPositions) != nil {
		sum = e.Op("Add", nil, sum, rows(embedPositionTable, embedPositions))
	} else {
		tokens := e.Op("Slice", nil, e.Op("Shape", nil, e.In(embedIDs)), e.Ints("from", 1), e.Ints("to", 2))
		first := e.Op("Slice", nil, e.In(embedPositionTable), e.Ints("from", 0), tokens, e.Ints("axes", 0))
		sum = e.Op("Add", nil, sum, first)
	}
	if e.In(embedSegments) != nil {
		sum = e.Op("Add", nil, sum, rows(embedSegmentTable, embedSegments))
	}
	attrs := graph.Attrs{"axis": int64(-1), "epsilon": e.Node.Attrs.Float("epsilon", 1e-12)}
	return []*graph.Value{e.Op("LayerNormalization", attrs, sum, e.In(embedGamma), e.In(embedBeta)), keptTokens(e), sum}, nil
}

// keptTokens counts the tokens of each example that the mask keeps; 0 without one.
func keptTokens(e *graph.Expansion) *graph.Value {
	kept := e.Op("Sub", nil, e.In(embedIDs), e.In(embedIDs))
	if m := e.In(embedMask); m != nil {
		one := e.Const("one", tensor.Scalar(int32(1)))
		kept = e.Op("Cast", graph.Attrs{"to": int64(tensor.Int32)}, e.Op("Equal", nil, m, one))
	}
	return e.Op("ReduceSum", graph.Attrs{"keepdims": int64(0)}, kept, e.Ints("axis", 1))
}

func expandMVN(e *graph.Expansion) ([]*graph.Value, error) {
	axes, _ := e.Node.Attrs["axes"].([]int64)
	if axes == nil {
		axes = []int64{0, 2, 3}
	}
	over := e.Ints("axes", axes...)
	centred := e.Op("Sub", nil, e.In(0), e.Op("ReduceMean", nil, e.In(0), over))
	variance := e.Op("ReduceMean", nil, e.Op("Mul", nil, centred, centred), over)
	deviation := e.Op("Add", nil, e.Op("Sqrt", nil, variance), e.Scalar("epsilon", 1e-9))
	return []*graph.Value{e.Op("Div", nil, centred, deviation)}, nil
}

// expandLpNorm: a line of zeros is divided by 1.
func expandLpNorm(e *graph.Expansion) ([]*graph.Value, error) {
	reduce := "ReduceL2"
	if e.Node.Attrs.Int("p", 2) == 1 {
		reduce = "ReduceL1"
	}
	norm := e.Op(reduce, nil, e.In(0), e.Ints("axis", int64(e.Node.Attrs.Int("axis", -1))))
	return []*graph.Value{divided(e, e.In(0), norm)}, nil
}

// divided is x by norm, and by 1 where that is 0.
func divided(e *graph.Expansion, x, norm *graph.Value) *graph.Value {
	return e.Op("Div", nil, x, e.Op("Add", nil, norm, isZero(e.Builder, norm)))
}

// expandLRN: the mean of squares over neighbouring channels is a pool along them.
func expandLRN(e *graph.Expansion) ([]*graph.Value, error) {
	a, x := e.Node.Attrs, e.In(0)
	size := int64(a.Int("size", 1))
	square := e.Op("Mul", nil, x, x)
	channels, ok := x.Type.Shape[1].Value()
	if !ok {
		return nil, fmt.Errorf("the number of channels is not known")
	}
	planes := e.Op("Unsqueeze", nil, e.Op("Reshape", nil, square, e.Ints("lines", 0, int64(channels), -1)), e.Ints("axis", 1))
	pool := graph.Attrs{"kernel_shape": []int64{size, 1}, "pads": []int64{(size - 1) / 2, 0, size / 2, 0}, "count_include_pad": int64(1)}
	mean := e.Private("ReshapeLike", nil, e.Op("AveragePool", pool, planes), x)
	base := e.Op("Add", nil, e.Scalar("bias", a.Float("bias", 1)), e.Op("Mul", nil, mean, e.Scalar("alpha", a.Float("alpha", 1e-4))))
	return []*graph.Value{e.Op("Div", nil, x, e.Op("Pow", nil, base, e.Scalar("beta", a.Float("beta", 0.75))))}, nil
}

func expandGlobalMax(e *graph.Expansion) ([]*graph.Value, error) {
	return []*graph.Value{overSpace(e.Builder, "ReduceMax", e.In(0))}, nil
}

// expandGlobalLp: (Σ |x|ᵖ)^(1/p).
func expandGlobalLp(e *graph.Expansion) ([]*graph.Value, error) {
	p, err := lpOf(e.Node.Attrs)
	if err != nil {
		return nil, err
	}
	sum := overSpace(e.Builder, "ReduceSum", powerOf(e, e.In(0), p))
	return []*graph.Value{e.Op("Pow", nil, sum, e.Scalar("root", float32(1/p)))}, nil
}

// expandLpPool: the sum over a window is its mean, padding included, times its size.
func expandLpPool(e *graph.Expansion) ([]*graph.Value, error) {
	p, err := lpOf(e.Node.Attrs)
	if err != nil {
		return nil, err
	}
	if e.Node.Attrs.Int("ceil_mode", 0) != 0 {
		return nil, fmt.Errorf("ceil_mode has no gradient")
	}
	size := float32(1)
	for _, k := range e.Node.Attrs.Ints("kernel_shape") {
		size *= float32(k)
	}
	attrs := graph.Attrs{"count_include_pad": int64(1)}
	for _, name := range []string{"kernel_shape", "strides", "pads", "dilations", "auto_pad"} {
		if v, ok := e.Node.Attrs[name]; ok {
			attrs[name] = v
		}
	}
	sum := e.Op("Mul", nil, e.Op("AveragePool", attrs, powerOf(e, e.In(0), p)), e.Scalar("size", size))
	return []*graph.Value{e.Op("Pow", nil, sum, e.Scalar("root", float32(1/p)))}, nil
}

// powerOf is |x|ᵖ.
func powerOf(e *graph.Expansion, x *graph.Value, p float64) *graph.Value {
	switch p {
	case 1:
		return e.Op("Abs", nil, x)
	case 2:
		return e.Op("Mul", nil, x, x)
	}
	return e.Op("Pow", nil, e.Op("Abs", nil, x), e.Scalar("p", float32(p)))
}

// gradMod: x = quotient·y + result, and the quotient does not move.
func gradMod(g *graph.Gradient) error {
	if g.Needs(0) {
		g.Set(0, sumTo(g, g.Out(0), 0))
	}
	if g.Needs(1) {
		quotient := g.Op("Div", nil, g.Op("Sub", nil, g.Node.Outputs[0], g.In(0)), g.In(1))
		g.Set(1, sumTo(g, g.Op("Mul", nil, g.Out(0), quotient), 1))
	}
	return nil
}

// expandAs writes an operator of another domain as ai.onnx's of that name, which means
// the same.
func expandAs(name string) func(*graph.Expansion) ([]*graph.Value, error) {
	return func(e *graph.Expansion) ([]*graph.Value, error) {
		return e.Builder.Node(onnx(name), 1, e.Node.Attrs, e.Node.Inputs...), nil
	}
}

// expandBiasGelu: (x[, bias]).
func expandBiasGelu(approximate string) func(*graph.Expansion) ([]*graph.Value, error) {
	return func(e *graph.Expansion) ([]*graph.Value, error) {
		x := e.In(0)
		if e.In(1) != nil {
			x = e.Op("Add", nil, x, e.In(1))
		}
		return []*graph.Value{e.Op("Gelu", graph.Attrs{"approximate": approximate}, x)}, nil
	}
}

// expandFused writes an operator that applies an activation as the one without and
// the activation. FusedConv's fourth input is added in between.
func expandFused(name string) func(*graph.Expansion) ([]*graph.Value, error) {
	return func(e *graph.Expansion) ([]*graph.Value, error) {
		attrs := graph.Attrs{}
		for k, v := range e.Node.Attrs {
			if len(k) < len("activation") || k[:len("activation")] != "activation" {
				attrs[k] = v
			}
		}
		y := e.Op(name, attrs, e.Node.Inputs[:min(len(e.Node.Inputs), 3)]...)
		if e.In(3) != nil {
			y = e.Op("Add", nil, y, e.In(3))
		}
		y, err := activated(e, y)
		return []*graph.Value{y}, err
	}
}

// activated applies what the node's attributes say (see activation).
func activated(e *graph.Expansion, y *graph.Value) (*graph.Value, error) {
	a := e.Node.Attrs
	list, _ := a["activation_params"].([]float32)
	param := func(i int, name string, def float32) float32 {
		if i < len(list) {
			return list[i]
		}
		return a.Float(name, def)
	}
	alpha, beta := "activation_alpha", "activation_beta"
	switch name := a.String("activation", ""); name {
	case "":
		return y, nil
	case "Relu", "Tanh", "Sigmoid", "Gelu", "HardSwish", "Swish":
		return e.Op(name, nil, y), nil
	case "FastGelu":
		return e.Op("Gelu", graph.Attrs{"approximate": "tanh"}, y), nil
	case "LeakyRelu":
		return e.Op(name, graph.Attrs{"alpha": param(0, alpha, 0.01)}, y), nil
	case "HardSigmoid":
		return e.Op(name, graph.Attrs{"alpha": param(0, alpha, 0.2), "beta": param(1, beta, 0.5)}, y), nil
	case "Clip":
		return e.Op(name, nil, y, e.Scalar("low", param(0, alpha, -math.MaxFloat32)), e.Scalar("high", param(1, beta, math.MaxFloat32))), nil
	default:
		return nil, fmt.Errorf("activation %q has no gradient", name)
	}
}

// cumulativeGradOps: (dy, x) -> dx of CumProd along the axis of its third input.
func cumulativeGradOps() []graph.Op {
	return []graph.Op{{ID: private("CumProdGrad"), Infer: sameAs(1, 3, 3), Kernel: kernelCumProdGrad}}
}

func gradCumProd(g *graph.Gradient) error {
	g.Set(0, g.Private("CumProdGrad", g.Node.Attrs, g.Out(0), g.In(0), g.In(1)))
	return nil
}

// kernelCumProdGrad multiplies the others anew for each element, so that elements of
// 0 have their gradient too: n² products for a line of n.
func kernelCumProdGrad(c *graph.Call) (func() error, error) {
	exclusive, reverse := c.Node.Attrs.Int("exclusive", 0), c.Node.Attrs.Int("reverse", 0) != 0
	return func() error {
		dy, x, dx := c.F32(0), c.F32(1), c.Out[0].F32()
		axis, err := graph.Axis(c.In[2].Ints()[0], c.In[1].Rank())
		if err != nil {
			return err
		}
		l := linesAlong(c.In[1].Shape(), axis)
		l.each(func(first int) {
			step := l.inner
			if reverse {
				first, step = first+(l.n-1)*step, -step
			}
			before := 1.0
			for i := range l.n {
				others, sum := before, 0.0
				for j := i + exclusive; j < l.n; j++ {
					// The result at j is the product up to j, or up to j-1.
					if last := j - exclusive; last > i {
						others *= float64(x[first+last*step])
					}
					sum += others * float64(dy[first+j*step])
				}
				dx[first+i*step] = float32(sum)
				before *= float64(x[first+i*step])
			}
		})
		return nil
	}, nil
}
