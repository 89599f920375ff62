package op_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"tandem/graph"
	"tandem/tensor"
)

// placed is a case of a node whose inputs stand at the places listed, and given ones at
// others; its result is output of as many.
func placed(id graph.OpID, a graph.Attrs, outputs, output int, places []int, more map[int]*tensor.Tensor, shapes ...[]int) gradCase {
	return gradCase{name: fmt.Sprint(id, a, places, shapes, slices.Sorted(maps.Keys(more))), inputs: shapes, build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
		if b.G.Opset[id.Domain] == 0 {
			b.G.Opset[id.Domain] = 3
		}
		all := make([]*graph.Value, max(slices.Max(places), slices.Max(append(slices.Collect(maps.Keys(more)), 0)))+1)
		for i, at := range places {
			all[at] = in[i]
		}
		for at, t := range more {
			all[at] = b.Const("given", t)
		}
		return b.Node(id, outputs, a, all...)[output]
	}}
}

// times makes inputs of a case so small that rounding does not show in finite differences.
func (c gradCase) times(factor float32, inputs ...int) gradCase {
	build := c.build
	c.build = func(b *graph.Builder, in []*graph.Value) *graph.Value {
		in = slices.Clone(in)
		for _, i := range inputs {
			in[i] = scaledBy(b, in[i], factor)
		}
		return build(b, in)
	}
	return c
}

func scaledBy(b *graph.Builder, x *graph.Value, factor float32) *graph.Value {
	return b.Op("Mul", nil, x, b.Op("CastLike", nil, b.Const("factor", tensor.Scalar(factor)), x))
}

// codesOf fills a tensor with bits.
func codesOf(d tensor.DType, shape ...int) *tensor.Tensor {
	t := tensor.New(d, shape...)
	for i := range t.Bytes() {
		t.Bytes()[i] = byte(i*89 + 13)
	}
	return t
}

// codedGradCases: with respect to scales, zero points that are floats, biases and what is
// multiplied; of products with codes, and of rows that are gathered from them.
func codedGradCases() []gradCase {
	ms := func(name string) graph.OpID { return graph.OpID{Domain: "com.microsoft", Name: name} }
	type given = map[int]*tensor.Tensor
	nbits := func(places []int, more given, shapes ...[]int) gradCase { // 24 elements of a row in two blocks
		a := attrs("K", int64(24), "N", int64(3), "bits", int64(4), "block_size", int64(16))
		more[1] = codesOf(tensor.Uint8, 3, 2, 8)
		return placed(ms("MatMulNBits"), a, 1, 0, places, more, shapes...)
	}
	groups := make([]int32, 24)
	for i := range groups {
		groups[i] = int32(i % 3 % 2)
	}
	x, scales, bias := []int{2, 24}, []int{6}, []int{3}
	bnb4 := attrs("K", int64(24), "N", int64(3), "block_size", int64(16), "quant_type", int64(1)) // blocks go over rows
	gather := func(a graph.Attrs, data, zeros *tensor.Tensor, at *tensor.Tensor, shape ...int) gradCase {
		more := given{0: data, 1: at}
		if zeros != nil {
			more[3] = zeros
		}
		return placed(ms("GatherBlockQuantized"), a, 1, 0, []int{2}, more, shape)
	}
	a8, b8 := codesOf(tensor.Uint8, 2, 3), codesOf(tensor.Int8, 3, 4)
	experts := func(more graph.Attrs, zeros given, codes [2][]int, shapes ...[]int) gradCase {
		zeros[2], zeros[5] = codesOf(tensor.Uint8, codes[0]...), codesOf(tensor.Uint8, codes[1]...)
		return placed(ms("QMoE"), more, 1, 0, []int{0, 1, 3, 4, 6, 7}, zeros, shapes...)
	}
	return []gradCase{
		nbits([]int{0, 2, 5}, given{}, x, scales, bias),
		nbits([]int{0, 2}, given{3: codesOf(tensor.Uint8, 3, 1)}, x, scales),
		nbits([]int{0, 2, 3}, given{}, x, scales, scales),
		nbits([]int{0, 2, 3, 5}, given{4: tensor.Of(groups, 24)}, x, scales, scales, bias),
		nbits([]int{2}, given{0: tensor.New(tensor.Float32, 2, 24)}, scales),
		placed(ms("MatMulBnb4"), bnb4, 1, 0, []int{0, 2}, given{1: codesOf(tensor.Uint8, 36)}, []int{2, 2, 24}, []int{5}),
		gather(attrs("block_size", int64(16)), codesOf(tensor.Uint8, 5, 16), codesOf(tensor.Uint8, 5, 1), tensor.Of([]int64{3, -1, 7, 0}, 2, 2), 5, 2),
		gather(attrs("block_size", int64(16), "gather_axis", int64(1)), codesOf(tensor.Int4, 4, 32), nil, tensor.Of([]int32{31, -32, 5}, 3), 4, 2),
		gather(attrs("block_size", int64(16), "gather_axis", int64(1), "quantize_axis", int64(0)), codesOf(tensor.Uint4, 32, 3), nil, tensor.Of([]int64{2, 0}, 1, 2), 2, 3),
		gather(attrs("block_size", int64(16), "quantize_axis", int64(2)), codesOf(tensor.Int4, 3, 2, 32), nil, tensor.Scalar(int64(1)), 3, 2, 2),
		gather(attrs("block_size", int64(0)), smallOnes(4, 16), nil, tensor.Of([]int64{2, 0, 2}, 3), 1, 1),
		placed(ms("MatMulIntegerToFloat"), nil, 1, 0, []int{2, 3, 6}, given{0: a8, 1: b8, 4: codesOf(tensor.Uint8, 2), 5: codesOf(tensor.Int8, 4)}, []int{2}, []int{4}, []int{4}).times(0.02, 0, 1),
		placed(ms("MatMulIntegerToFloat"), nil, 1, 0, []int{2, 3}, given{0: a8, 1: b8}, []int{}, []int{1}),
		experts(attrs("k", int64(2), "activation_type", "silu"), given{}, [2][]int{{3, 6, 4}, {3, 8, 3}},
			[]int{2, 2, 8}, []int{4, 3}, []int{3, 6}, []int{3, 6}, []int{3, 8}, []int{3, 8}).times(0.1, 2, 4),
		experts(attrs("activation_type", "gelu", "fc1_expert_weight_bits", int64(8), "fc2_expert_weight_bits", int64(2), "normalize_routing_weights", int64(1), "k", int64(2)),
			given{11: codesOf(tensor.Uint8, 3, 4), 12: codesOf(tensor.Uint8, 3, 2)}, [2][]int{{3, 4, 8}, {3, 8, 1}},
			[]int{3, 8}, []int{3, 3}, []int{3, 4}, []int{3, 4}, []int{3, 8}, []int{3, 8}).times(0.01, 2),
		experts(attrs("activation_type", "swiglu", "swiglu_fusion", int64(1), "block_size", int64(2)),
			given{11: codesOf(tensor.Uint8, 3, 8, 1), 12: codesOf(tensor.Uint8, 3, 4, 1)}, [2][]int{{3, 8, 2}, {3, 4, 2}},
			[]int{3, 4}, []int{3, 3}, []int{3, 8, 2}, []int{3, 8}, []int{3, 4, 2}, []int{3, 4}).times(0.1, 2, 4),
	}
}

// smallOnes are floats of 8 bits around 1.
func smallOnes(shape ...int) *tensor.Tensor {
	t := tensor.New(tensor.Float8E4M3FN, shape...)
	for i := range t.Bytes() {
		t.Bytes()[i] = byte(0x30 + i%16 + i%2*0x80)
	}
	return t
}

// pagedGradCases: attention over pages, in caches of half the size, with respect to all
// floats, and of all results: what is stored, too.
func pagedGradCases() []gradCase {
	var cases []gradCase
	all := pagedCases()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		p := all[name]
		p.heads, p.kv, p.block, p.lengths = p.heads/2, p.kv/2, 2, []int{2, 1, 0, 3}
		for i := range p.past {
			p.past[i] = (p.past[i] + 1) / 2
		}
		p.attrs["num_heads"], p.attrs["kv_num_heads"] = int64(p.heads), int64(p.kv)
		given := p.inputs(rand.New(rand.NewPCG(5, uint64(len(name)))))
		c := gradCase{name: "PagedAttention " + name, step: 1.0 / 32} // smooth, and a sum of many
		var places []int
		for _, i := range []int{0, 1, 2, 3, 4, 8, 9, 11, 12, 13} {
			if given[i] != nil {
				places, c.inputs = append(places, i), append(c.inputs, given[i].Shape())
			}
		}
		c.build = func(b *graph.Builder, in []*graph.Value) *graph.Value {
			all := make([]*graph.Value, len(given))
			for i, t := range given {
				if t != nil {
					all[i] = b.Const("given", t)
				}
			}
			for i, at := range places {
				all[at] = in[i]
			}
			y := b.Node(graph.OpID{Domain: "com.microsoft", Name: "PagedAttention"}, 3, p.attrs, all...)
			for i, v := range y {
				y[i] = b.Op("Reshape", nil, v, b.Const("flat", int64s(-1)))
			}
			return b.Op("Concat", attrs("axis", int64(0)), y...)
		}
		cases = append(cases, c)
	}
	return cases
}

// mlGradCases: the classical models that are smooth.
func mlGradCases() []gradCase {
	some := func(name string, a graph.Attrs, shapes ...[]int) gradCase {
		places := []int{0, 1}[:len(shapes)]
		return placed(graph.OpID{Domain: "ai.onnx.ml", Name: name}, a, 1, 0, places, nil, shapes...)
	}
	weights := []float32{0.3, -0.2, 0.5, 0.1, 0.4, -0.6, 0.2, 0.7, -0.1, 0.6, 0.25, -0.35}
	linear := func(post string, n int, shape ...int) gradCase {
		return some("LinearRegressor", attrs("targets", int64(n), "coefficients", weights[:n*shape[len(shape)-1]], "intercepts", weights[:n], "post_transform", post), shape)
	}
	scores := func(a graph.Attrs, shape ...int) gradCase {
		return placed(graph.OpID{Domain: "ai.onnx.ml", Name: "LinearClassifier"}, a, 2, 1, []int{0}, nil, shape)
	}
	machine := func(kernel string, supports int, shape ...int) gradCase {
		a := attrs("kernel_type", kernel, "kernel_params", []float32{0.3, 1.1, 2}, "n_supports", int64(supports), "rho", []float32{0.4})
		if a["coefficients"] = weights[:4]; supports > 0 {
			a["coefficients"], a["support_vectors"] = weights[:supports], weights[:supports*4]
		}
		return some("SVMRegressor", a, shape)
	}
	return []gradCase{
		some("Scaler", attrs("offset", []float32{0.3}, "scale", []float32{2, 0.5, 1, 3}), []int{3, 4}),
		some("Scaler", attrs("offset", weights[:4], "scale", []float32{2}), []int{4}),
		some("Normalizer", attrs("norm", "MAX"), []int{3, 4}), some("Normalizer", attrs("norm", "L1"), []int{3, 4}), some("Normalizer", attrs("norm", "L2"), []int{4}),
		linear("NONE", 3, 2, 4), linear("NONE", 2, 4), linear("LOGISTIC", 1, 2, 4), linear("SOFTMAX", 3, 2, 4), linear("SOFTMAX_ZERO", 3, 2, 4),
		some("LinearRegressor", attrs("targets", int64(3), "coefficients", slices.Concat(weights[:8], make([]float32, 4)), "post_transform", "SOFTMAX_ZERO"), []int{2, 4}),
		some("LinearRegressor", attrs("targets", int64(2), "coefficients", make([]float32, 8), "post_transform", "SOFTMAX_ZERO"), []int{2, 4}),
		some("LinearRegressor", attrs("coefficients", []float32{0.05, -0.08, 0.1, 0.02}, "intercepts", []float32{0.45}, "post_transform", "PROBIT"), []int{3, 4}),
		scores(attrs("classlabels_ints", []int64{4, 5, 6}, "coefficients", weights, "intercepts", weights[:3], "post_transform", "SOFTMAX"), 2, 4),
		scores(attrs("classlabels_strings", []string{"a", "b"}, "coefficients", weights[:4], "intercepts", weights[:1], "post_transform", "LOGISTIC"), 2, 4),
		scores(attrs("classlabels_ints", []int64{4, 5}, "coefficients", weights[:4], "intercepts", weights[:1]), 2, 4),
		scores(attrs("classlabels_ints", []int64{4, 5}, "coefficients", []float32{0.05, -0.08, 0.1, 0.02}, "intercepts", []float32{0.45}, "post_transform", "PROBIT"), 2, 4),
		machine("LINEAR", 3, 2, 4), machine("POLY", 3, 2, 4), machine("RBF", 3, 2, 4), machine("SIGMOID", 3, 2, 4), machine("SIGMOID", 0, 2, 4), machine("RBF", 0, 4),
		placed(graph.OpID{Domain: "ai.onnx.ml", Name: "ArrayFeatureExtractor"}, nil, 1, 0, []int{0}, map[int]*tensor.Tensor{1: int64s(2, 0, 2)}, []int{2, 4}),
		some("FeatureVectorizer", attrs("inputdimensions", []int64{2, 3}), []int{2, 4}, []int{2, 2}), some("FeatureVectorizer", nil, []int{4}, []int{1, 2}),
		{name: "Imputer", inputs: [][]int{{3, 2}}, away: 0.1, build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
			b.G.Opset["ai.onnx.ml"] = 3
			x := b.Op("Mul", nil, in[0], b.Const("some", tensor.Of([]float32{1, 0, 1, 1, 0, 1}, 3, 2)))
			return b.Node(graph.OpID{Domain: "ai.onnx.ml", Name: "Imputer"}, 1, attrs("imputed_value_floats", []float32{0.5, -2}), x)[0]
		}},
	}
}
