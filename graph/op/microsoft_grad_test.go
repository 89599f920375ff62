package op_test

import (
	"fmt"

	"tandem/graph"
	"tandem/tensor"
)

// ofMicrosoft is a case of an operator of com.microsoft; given come behind the inputs.
func ofMicrosoft(name string, a graph.Attrs, more []*tensor.Tensor, shapes ...[]int) gradCase {
	return gradCase{name: fmt.Sprint("com.microsoft.", name, a, shapes), inputs: shapes, build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
		for _, t := range more {
			in = append(in[:len(in):len(in)], b.Const("given", t))
		}
		return b.Node(graph.OpID{Domain: "com.microsoft", Name: name}, 1, a, in...)[0]
	}}
}

// writtenGradCases: older and other names of operators, products of vectors and of
// stacks behind their rows, and products with a frozen matrix of codes.
func writtenGradCases() []gradCase {
	grid := tensor.Of([]float32{0.53, -0.31, -0.71, 0.13, 1.27, 0.37, -1.33, -1.41}, 1, 2, 2, 2)
	bytes := func(n int, shape ...int) *tensor.Tensor {
		t := tensor.New(tensor.Uint8, shape...)
		for i := range n {
			t.Bytes()[i] = byte(i*89 + 13)
		}
		return t
	}
	scales := tensor.Of([]float32{0.1, 0.07, 0.2}, 3)
	old := func(name string, a graph.Attrs, shapes ...[]int) gradCase {
		return olderOpset(6, gradCase{name: fmt.Sprint(name, " 6 ", a, shapes), inputs: shapes, away: 0.5, build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
			x := in[0]
			if name == "Pow" {
				x = b.Op("Exp", nil, x)
			}
			return b.Op(name, a, x, in[1])
		}})
	}
	broadcast, middle := attrs("broadcast", int64(1)), attrs("broadcast", int64(1), "axis", int64(1))
	cases := []gradCase{
		ofMicrosoft("Trilu", attrs("upper", int64(0)), nil, []int{2, 3, 4}),
		ofMicrosoft("Trilu", attrs(), []*tensor.Tensor{tensor.Scalar(int64(-1))}, []int{3, 3}),
		ofMicrosoft("GridSample", attrs("mode", "bicubic", "padding_mode", "border"), []*tensor.Tensor{grid}, []int{1, 2, 9, 7}),
		{name: "com.microsoft.GridSample grid", inputs: [][]int{{1, 2, 2, 2}}, build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
			// Small moves around points between the elements of the image.
			at := b.Op("Add", nil, b.Const("point", grid), b.Op("Mul", nil, in[0], b.Const("small", tensor.Scalar(float32(0.01)))))
			image := tensor.New(tensor.Float32, 1, 2, 9, 7)
			for i := range image.F32() {
				image.F32()[i] = float32((i*37)%23)/11 - 1
			}
			return b.Node(graph.OpID{Domain: "com.microsoft", Name: "GridSample"}, 1, attrs("mode", "bilinear"), b.Const("image", image), at)[0]
		}},
		ofMicrosoft("TransposeMatMul", attrs("alpha", float32(0.5), "transB", int64(1)), nil, []int{2, 3, 4}, []int{5, 4}),
		ofMicrosoft("TransposeMatMul", attrs("transA", int64(1)), nil, []int{4}, []int{4, 3}),
		ofMicrosoft("FusedMatMul", attrs("transBatchA", int64(1)), nil, []int{3, 2, 4}, []int{2, 4, 5}),
		ofMicrosoft("FusedMatMul", attrs("transBatchA", int64(1), "transA", int64(1), "transBatchB", int64(1), "transB", int64(1)), nil, []int{4, 3, 2, 3}, []int{5, 3, 2, 4}),
		opCase("MatMul", nil, []int{4}, []int{2, 4, 3}), opCase("MatMul", nil, []int{2, 3, 4}, []int{4}), opCase("MatMul", nil, []int{4}, []int{4}),
		ofMicrosoft("MatMulNBits", attrs("K", int64(16), "N", int64(3), "bits", int64(4), "block_size", int64(16)), []*tensor.Tensor{bytes(24, 3, 1, 8), scales}, []int{2, 2, 16}),
		ofMicrosoft("MatMulBnb4", attrs("K", int64(16), "N", int64(3), "block_size", int64(16), "quant_type", int64(1)), []*tensor.Tensor{bytes(24, 24), scales}, []int{2, 16}),
		{name: "OneHot", inputs: [][]int{{2}}, build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
			return b.Op("OneHot", attrs("axis", int64(0)), b.Const("at", tensor.Of([]int64{2, 0, -1, 7}, 4)), b.Const("depth", tensor.Scalar(int64(3))), in[0])
		}},
		opCase("DepthToSpace", attrs("blocksize", int64(2), "mode", "CRD"), []int{1, 8, 2, 3}),
		old("Add", broadcast, []int{2, 3, 4}, []int{3, 4}), old("Sub", middle, []int{2, 3, 4}, []int{3}), old("Mul", middle, []int{2, 3, 4}, []int{3}),
		old("Div", attrs(), []int{3, 4}, []int{3, 4}), old("Pow", middle, []int{2, 3, 2}, []int{3}), old("PRelu", attrs(), []int{2, 3, 4}, []int{3}),
	}
	dequantized := func(domain string, a graph.Attrs, shape ...int) {
		cases = append(cases, gradCase{name: fmt.Sprint(domain, "DequantizeLinear ", a, shape), inputs: [][]int{shape}, away: 0.1, build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
			b.G.Opset[""] = 21
			zero := tensor.New(tensor.Uint8, shape...)
			for i := range zero.Bytes() {
				zero.Bytes()[i] = byte(100 + 7*i)
			}
			small := b.Op("Mul", nil, in[0], b.Const("small", tensor.Scalar(float32(0.01))))
			return b.Node(graph.OpID{Domain: domain, Name: "DequantizeLinear"}, 1, a, b.Const("codes", bytes(24, 2, 3, 4)), small, b.Const("zero", zero))[0]
		}})
	}
	dequantized("", attrs())
	dequantized("", attrs(), 3)
	dequantized("", attrs("axis", int64(-1)), 4)
	dequantized("", attrs("axis", int64(2), "block_size", int64(3)), 2, 3, 2)
	dequantized("com.microsoft", attrs("axis", int64(0)), 2)
	for _, wanted := range []bool{true, false} {
		a := attrs("K", int64(16), "N", int64(3), "bits", int64(4), "block_size", int64(16))
		shapes := [][]int{{3}, {2, 16}}
		if !wanted {
			shapes = shapes[:1]
		}
		cases = append(cases, gradCase{name: fmt.Sprint("MatMulNBits with a bias, ", wanted), inputs: shapes, build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
			x := b.Const("x", tensor.Of(make([]float32, 32), 2, 16))
			if wanted {
				x = in[1]
			}
			return b.Node(graph.OpID{Domain: "com.microsoft", Name: "MatMulNBits"}, 1, a, x, b.Const("codes", bytes(24, 3, 1, 8)), b.Const("scales", scales), nil, nil, in[0])[0]
		}})
	}
	return cases
}

// expertsGradCases: all activations, and more experts than are chosen.
func expertsGradCases() []gradCase {
	mixture := func(inner, mid int, more graph.Attrs) gradCase {
		return ofMicrosoft("MoE", more, nil, []int{2, 3, 4}, []int{6, 3}, []int{3, inner, 4}, []int{3, inner}, []int{3, 4, mid}, []int{3, 4})
	}
	return []gradCase{
		mixture(5, 5, attrs("activation_type", "relu")),
		mixture(5, 5, attrs("k", int64(2), "activation_type", "gelu")),
		mixture(5, 5, attrs("k", int64(2), "activation_type", "silu", "normalize_routing_weights", int64(1))),
		mixture(5, 5, attrs("k", int64(3), "activation_type", "identity")),
		mixture(6, 3, attrs("k", int64(2), "activation_type", "swiglu", "swiglu_fusion", int64(1), "activation_alpha", float32(1.7), "activation_beta", float32(1), "swiglu_limit", float32(2.5))),
		{name: "MoE without biases", inputs: [][]int{{4, 3}, {4, 3}, {3, 6, 3}, {3, 3, 3}}, build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
			a := attrs("activation_type", "swiglu", "swiglu_fusion", int64(1))
			return b.Node(graph.OpID{Domain: "com.microsoft", Name: "MoE"}, 1, a, in[0], in[1], in[2], nil, in[3])[0]
		}},
	}
}

// groupGradCases: GroupQueryAttention over a cache, of which each example has filled
// another part, and with a sink. The keys and values that are left in the cache count too.
func groupGradCases() []gradCase {
	const rows, size = 2, 4
	tables := func(b *graph.Builder) (cos, sin *graph.Value) {
		c, s := tensor.New(tensor.Float32, 6, 2), tensor.New(tensor.Float32, 6, 2)
		for i := range c.F32() {
			c.F32()[i], s.F32()[i] = float32(i%3)/3, 1-float32(i%4)/5
		}
		return b.Const("cos", c), b.Const("sin", s)
	}
	// The inputs are those of the node at the places listed.
	form := func(a graph.Attrs, last []int32, total int32, cache *tensor.Tensor, places []int, shapes ...[]int) gradCase {
		a["num_heads"], a["kv_num_heads"] = int64(4), int64(2)
		return laterOpset(gradCase{name: fmt.Sprint("GroupQueryAttention", a, last, total, places, shapes), inputs: shapes, build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
			all := make([]*graph.Value, 12)
			for i, at := range places {
				all[at] = in[i]
			}
			all[5], all[6] = b.Const("last", tensor.Of(last, 2)), b.Const("total", tensor.Of([]int32{total}, 1))
			if all[7], all[8] = tables(b); cache != nil {
				all[3], all[4] = b.Const("keys", cache), b.Const("values", cache)
			}
			y := b.Node(graph.OpID{Domain: "com.microsoft", Name: "GroupQueryAttention"}, 3, a, all...)
			for i, v := range y {
				y[i] = b.Op("Reshape", nil, v, b.Const("flat", int64s(-1)))
			}
			return b.Op("Concat", attrs("axis", int64(0)), y...)
		}})
	}
	q, kv, past := []int{2, rows, 4 * size}, []int{2, rows, 2 * size}, []int{2, 2, 4, size}
	packed, filled := []int{2, rows, 8 * size}, tensor.New(tensor.Float32, past...)
	return []gradCase{
		form(attrs("do_rotary", int64(1)), []int32{4, 2}, 5, nil, []int{0, 1, 2, 3, 4}, q, kv, kv, past, past),
		form(attrs("softcap", float32(1.5), "local_window_size", int64(2), "scale", float32(0.3)), []int32{3, 1}, 4, nil, []int{0, 3, 4, 10}, packed, past, past, []int{1, 4, rows, 6}),
		form(attrs("do_rotary", int64(1)), []int32{4, 2}, 5, nil, []int{0, 1, 2, 3, 4, 10, 11}, q, kv, kv, past, past, []int{2, 1, rows, 5}, []int{4}),
		form(attrs("smooth_softmax", int64(1), "do_rotary", int64(1)), []int32{1, 1}, rows, filled, []int{0, 1, 2}, q, kv, kv),
		form(attrs("local_window_size", int64(1)), []int32{1, 1}, rows, nil, []int{0, 11}, packed, []int{4}),
		form(attrs(), []int32{1, 1}, 4, nil, []int{0, 11}, packed, []int{4}),
	}
}
