package op_test

import (
	"fmt"

	"tandem/graph"
	"tandem/tensor"
)

// normGradCases: normalisations, pools, losses and curves.
func normGradCases() []gradCase {
	ms := func(name string, a graph.Attrs, shapes ...[]int) gradCase {
		return gradCase{name: fmt.Sprint(name, a, shapes), inputs: shapes, build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
			return b.Node(graph.OpID{Domain: "com.microsoft", Name: name}, 1, a, in...)[0]
		}}
	}
	eps := float32(0.1)
	labels := tensor.Of([]int64{1, 0, 4, 4, 2, 3}, 2, 3)
	loss := func(name, reduction string, more ...*tensor.Tensor) gradCase {
		a := attrs("reduction", reduction)
		if reduction != "none" {
			a["ignore_index"] = int64(4)
		}
		return gradCase{name: fmt.Sprint(name, reduction, len(more)), inputs: [][]int{{2, 5, 3}}, build: given(name, a, append([]*tensor.Tensor{labels}, more...)...)}
	}
	weights := tensor.Of([]float32{1, 2, 0.5, 0.3, 1.5}, 5)
	cases := []gradCase{
		opCase("InstanceNormalization", attrs("epsilon", eps), []int{2, 3, 4, 2}, []int{3}, []int{3}),
		opCase("GroupNormalization", attrs("epsilon", eps, "num_groups", int64(2)), []int{2, 4, 3, 2}, []int{4}, []int{4}),
		olderOpset(18, opCase("GroupNormalization", attrs("epsilon", eps, "num_groups", int64(2)), []int{2, 4, 3}, []int{2}, []int{2})),
		opCase("MeanVarianceNormalization", nil, []int{2, 3, 2, 2}), opCase("LpNormalization", attrs("axis", int64(1)), []int{2, 3, 4}),
		opCase("LRN", attrs("size", int64(3), "alpha", float32(0.5)), []int{1, 5, 2, 2}), opCase("LRN", attrs("size", int64(2), "bias", float32(2)), []int{1, 4, 3}),
		opCase("GlobalMaxPool", nil, []int{2, 3, 2, 2}), opCase("GlobalLpPool", nil, []int{2, 3, 2, 2}),
		opCase("GlobalMaxPool", nil, []int{2, 3}), opCase("GlobalLpPool", nil, []int{2, 3}),
		opCase("LpPool", attrs("kernel_shape", []int64{2, 2}, "pads", []int64{1, 0, 0, 1}), []int{1, 2, 3, 4}), opCase("LpPool", attrs("kernel_shape", []int64{2}, "p", int64(3)), []int{1, 2, 5}),
		olderOpset(8, gradCase{name: "BatchNormalization 7", inputs: [][]int{{2, 3, 2}, {3}, {3}, {3}}, build: batchNormInference}),
		olderOpset(6, gradCase{name: "BatchNormalization 1", inputs: [][]int{{2, 3, 2}, {3}, {3}, {3}}, build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
			v := b.Const("variance", tensor.Of([]float32{0.5, 1, 2}, 3))
			return b.Op("BatchNormalization", attrs("is_test", int64(1)), in[0], in[1], in[2], in[3], v)
		}}),
		{name: "BatchNormalization", inputs: [][]int{{2, 3, 2}, {3}, {3}, {3}}, build: batchNormInference},
		opCase("ConvTranspose", attrs("strides", []int64{2, 2}, "output_shape", []int64{7, 6}), []int{1, 2, 3, 3}, []int{2, 3, 3, 2}, []int{3}),
		opCase("ConvTranspose", attrs("strides", []int64{2, 1}, "auto_pad", "SAME_UPPER"), []int{1, 2, 3, 3}, []int{2, 3, 3, 2}, []int{3}),
		opCase("ConvTranspose", attrs("strides", []int64{2}, "auto_pad", "SAME_LOWER", "dilations", []int64{2}), []int{1, 2, 4}, []int{2, 3, 3}),
		ms("SkipLayerNormalization", attrs("epsilon", eps), []int{2, 3, 9}, []int{2, 3, 9}, []int{9}, []int{9}, []int{9}),
		ms("SkipSimplifiedLayerNormalization", attrs("epsilon", eps), []int{2, 3, 9}, []int{3, 9}, []int{9}, []int{9}),
		ms("BiasGelu", nil, []int{2, 5}, []int{5}), ms("FastGelu", nil, []int{2, 5}), ms("FastGelu", nil, []int{2, 5}, []int{5}),
		ms("FusedGemm", attrs("activation", "Tanh", "transB", int64(1)), []int{2, 3}, []int{4, 3}, []int{4}),
		ms("FusedConv", attrs("activation", "LeakyRelu", "activation_params", []float32{0.2}, "pads", []int64{1, 1, 1, 1}), []int{1, 2, 3, 3}, []int{2, 2, 3, 3}, []int{2}, []int{1, 2, 3, 3}),
		ms("FusedGemm", attrs("activation", "Clip", "activation_alpha", float32(-3), "activation_beta", float32(3)), []int{2, 3}, []int{3, 4}, []int{4}),
		{name: "EmbedLayerNormalization", inputs: [][]int{{5, 8}, {4, 8}, {2, 8}, {8}, {8}}, build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
			ids, segments := b.Const("ids", tensor.Of([]int32{1, 4, 0, 2, 2, 3}, 2, 3)), b.Const("segments", tensor.Of([]int32{0, 1, 1, 0, 0, 1}, 2, 3))
			return b.Node(graph.OpID{Domain: "com.microsoft", Name: "EmbedLayerNormalization"}, 2, attrs("epsilon", eps), ids, segments, in[0], in[1], in[2], in[3], in[4])[0]
		}},
		loss("NegativeLogLikelihoodLoss", "mean"), loss("NegativeLogLikelihoodLoss", "sum", weights), loss("NegativeLogLikelihoodLoss", "none", weights), loss("NegativeLogLikelihoodLoss", "mean", weights),
		loss("SoftmaxCrossEntropyLoss", "mean"), loss("SoftmaxCrossEntropyLoss", "sum", weights), loss("SoftmaxCrossEntropyLoss", "none"), loss("SoftmaxCrossEntropyLoss", "mean", weights),
		attrCase("ThresholdedRelu", 0.1, attrs("alpha", float32(0.05))), attrCase("Shrink", 0.2, attrs("lambd", float32(0.1), "bias", float32(0.05))),
		{name: "Mod of one element", inputs: [][]int{{1}, {}}, away: 0.5, build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
			return b.Op("Mod", attrs("fmod", int64(1)), in[0], b.Op("Mul", nil, in[1], b.Const("part", tensor.Scalar(float32(0.7)))))
		}},
	}
	for _, name := range []string{"Asin", "Acos", "Atanh", "Acosh", "Floor", "Ceil", "Round", "Sign"} {
		scale, shift := float32(0.3), float32(0.05)
		if name == "Acosh" {
			shift = 2
		}
		if name == "Floor" || name == "Ceil" || name == "Round" || name == "Sign" {
			scale, shift = 0.05, 0.2
		}
		cases = append(cases, gradCase{name: name, inputs: [][]int{{3, 4}}, build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
			x := b.Op("Mul", nil, in[0], b.Const("scale", tensor.Scalar(scale)))
			return b.Op(name, nil, b.Op("Add", nil, x, b.Const("shift", tensor.Scalar(shift))))
		}})
	}
	return cases
}

func batchNormInference(b *graph.Builder, in []*graph.Value) *graph.Value {
	v := b.Const("variance", tensor.Of([]float32{0.5, 1, 2}, 3))
	return b.Op("BatchNormalization", nil, in[0], in[1], in[2], in[3], v)
}

// ctcCase: the gradient of the loss by log probabilities.
func ctcCase() gradCase {
	return gradCase{name: "CTCLoss", inputs: [][]int{{6, 2, 4}}, build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
		labels := b.Const("labels", tensor.Of([]int64{1, 1, 3, 2, 3, 1}, 2, 3))
		logs := b.Op("LogSoftmax", nil, in[0])
		return b.Private("CTCLoss", nil, logs, labels, b.Const("steps", int64s(6, 4)), b.Const("letters", int64s(3, 2)))
	}}
}
