package op_test

import (
	"fmt"

	"tandem/graph"
	"tandem/tensor"
)

// given is a build function of an operator on the inputs and further constants.
func given(name string, a graph.Attrs, more ...*tensor.Tensor) func(b *graph.Builder, in []*graph.Value) *graph.Value {
	return func(b *graph.Builder, in []*graph.Value) *graph.Value {
		all := append([]*graph.Value{}, in...)
		for _, t := range more {
			if t == nil {
				all = append(all, nil)
				continue
			}
			all = append(all, b.Const("given", t))
		}
		return b.Op(name, a, all...)
	}
}

func int64s(v ...int64) *tensor.Tensor { return tensor.Of(v, len(v)) }

// olderOpset builds in another version of ai.onnx.
func olderOpset(version int, c gradCase) gradCase {
	build := c.build
	c.build = func(b *graph.Builder, in []*graph.Value) *graph.Value {
		b.G.Opset[""] = version
		return build(b, in)
	}
	return c
}

// movementGradCases: elements that are moved, put somewhere, or summed up.
func movementGradCases() []gradCase {
	some := func(name string, build func(*graph.Builder, []*graph.Value) *graph.Value, shapes ...[]int) gradCase {
		return gradCase{name: name, inputs: shapes, build: build}
	}
	mid := func(name string, a graph.Attrs, index *tensor.Tensor, shapes ...[]int) gradCase { // index between the inputs
		return some(fmt.Sprint(name, a), func(b *graph.Builder, in []*graph.Value) *graph.Value {
			return b.Op(name, a, in[0], b.Const("at", index), in[1])
		}, shapes...)
	}
	cases := []gradCase{
		some("GatherElements", given("GatherElements", attrs("axis", int64(1)), tensor.Of([]int64{2, 0, 2, -1, 1, 0}, 2, 3)), []int{3, 4}),
		some("GatherND", given("GatherND", nil, tensor.Of([]int64{0, 1, 2, 0, 0, 1}, 3, 2)), []int{3, 2, 4}),
		some("GatherND batch", given("GatherND", attrs("batch_dims", int64(1)), tensor.Of([]int64{1, 0, 0}, 3, 1)), []int{3, 2, 4}),
		some("ReverseSequence", given("ReverseSequence", nil, int64s(3, 1)), []int{4, 2, 3}),
		some("Compress", given("Compress", attrs("axis", int64(1)), tensor.Of([]bool{true, false, true}, 3)), []int{2, 4}),
		some("Tile", given("Tile", nil, int64s(2, 1, 3)), []int{2, 3, 2}),
		some("CenterCropPad", given("CenterCropPad", nil, int64s(5, 2)), []int{3, 4}),
		some("Pad reflect", given("Pad", attrs("mode", "reflect"), int64s(1, 2, 2, 1)), []int{3, 4}),
		some("Pad edge", given("Pad", attrs("mode", "edge"), int64s(1, 2, 2, -1)), []int{3, 4}),
		some("Pad wrap", given("Pad", attrs("mode", "wrap"), int64s(1, 2, 2, 1)), []int{3, 4}),
		some("Pad constant", given("Pad", nil, int64s(1, -1, 2, 3)), []int{3, 4}),
		some("Pad axes", given("Pad", nil, int64s(1, 2), nil, int64s(1)), []int{3, 4}),
		some("Pad with a value", func(b *graph.Builder, in []*graph.Value) *graph.Value {
			return b.Op("Pad", nil, in[0], b.Const("pads", int64s(1, 0, 0, 2)), in[1])
		}, []int{3, 4}, []int{}),
		olderOpset(10, some("Pad of opset 2", given("Pad", attrs("pads", []int64{1, 0, 0, 2}, "value", float32(1.5))), []int{3, 4})),
		laterOpset(some("CumProd", given("CumProd", nil, tensor.Scalar(int64(1))), []int{2, 5})),
		laterOpset(some("CumProd exclusive, reverse", given("CumProd", attrs("exclusive", int64(1), "reverse", int64(1)), tensor.Scalar(int64(0))), []int{4, 3})),
		some("TopK", func(b *graph.Builder, in []*graph.Value) *graph.Value {
			return b.Node(graph.OpID{Name: "TopK"}, 2, attrs("axis", int64(0)), in[0], b.Const("k", int64s(2)))[0]
		}, []int{4, 3}),
		olderOpset(9, some("TopK of opset 1", func(b *graph.Builder, in []*graph.Value) *graph.Value {
			return b.Node(graph.OpID{Name: "TopK"}, 2, attrs("k", int64(3)), in[0])[0]
		}, []int{2, 5})),
		some("MaxUnpool", func(b *graph.Builder, in []*graph.Value) *graph.Value {
			return b.Op("MaxUnpool", attrs("kernel_shape", []int64{2, 2}, "strides", []int64{2, 2}), in[0], b.Const("at", tensor.Of([]int64{5, 2, 8, 15}, 1, 1, 2, 2)))
		}, []int{1, 1, 2, 2}),
		mid("ScatterND", nil, tensor.Of([]int64{2, 0}, 2, 1), []int{3, 4}, []int{2, 4}),
		mid("ScatterND", attrs("reduction", "add"), tensor.Of([]int64{1, 2, 1, 2, 0, 0}, 3, 2), []int{3, 4}, []int{3}),
		olderOpset(10, mid("Scatter", attrs("axis", int64(1)), tensor.Of([]int64{3, 0, 1, 2}, 2, 2), []int{3, 4}, []int{2, 2})),
		laterOpset(some("TensorScatter", func(b *graph.Builder, in []*graph.Value) *graph.Value {
			return b.Op("TensorScatter", nil, in[0], in[1], b.Const("at", int64s(1, 0)))
		}, []int{2, 4, 3}, []int{2, 2, 3})),
	}
	for _, reduction := range []string{"none", "add", "max", "min"} {
		c := mid("ScatterElements", attrs("reduction", reduction, "axis", int64(1)), tensor.Of([]int64{3, 0, 1, 2, 2, 3}, 3, 2), []int{3, 4}, []int{3, 2})
		cases = append(cases, c)
	}
	for _, exclusive := range []int64{0, 1} {
		for _, reverse := range []int64{0, 1} {
			cases = append(cases, some(fmt.Sprint("CumSum", exclusive, reverse), given("CumSum", attrs("exclusive", exclusive, "reverse", reverse), tensor.Scalar(int64(-1))), []int{2, 5}))
		}
	}
	for _, e := range []struct {
		equation string
		shapes   [][]int
	}{
		{"ij,jk->ik", [][]int{{2, 3}, {3, 4}}}, {"bij,bkj->bik", [][]int{{2, 3, 4}, {2, 2, 4}}}, {"...ij,...jk", [][]int{{2, 1, 3, 4}, {2, 4, 2}}},
		{"ij->", [][]int{{2, 3}}}, {"ij,j,k->ki", [][]int{{2, 3}, {3}, {2}}}, {"ii->i", [][]int{{3, 3}}}, {"iij,jk->ik", [][]int{{3, 3, 2}, {2, 2}}}, {"bi,bj->ij", [][]int{{1, 2}, {3, 4}}},
	} {
		cases = append(cases, opCase("Einsum", attrs("equation", e.equation), e.shapes...))
	}
	return cases
}

// samplingGradCases: images that are resized or read at coordinates.
func samplingGradCases() []gradCase {
	var cases []gradCase
	sizes := []*tensor.Tensor{nil, nil, int64s(1, 2, 5, 3)}
	scales := []*tensor.Tensor{nil, tensor.Of([]float32{1, 1, 1.6, 0.7}, 4)}
	for _, a := range []graph.Attrs{
		attrs("mode", "nearest"), attrs("mode", "linear"), attrs("mode", "cubic"), attrs("mode", "linear", "antialias", int64(1)),
		attrs("mode", "cubic", "exclude_outside", int64(1), "coordinate_transformation_mode", "align_corners"),
	} {
		cases = append(cases, gradCase{name: fmt.Sprint("Resize sizes ", a), inputs: [][]int{{1, 2, 3, 6}}, build: given("Resize", a, sizes...)},
			gradCase{name: fmt.Sprint("Resize scales ", a), inputs: [][]int{{1, 2, 3, 6}}, build: given("Resize", a, scales...)})
	}
	crop := attrs("mode", "linear", "coordinate_transformation_mode", "tf_crop_and_resize", "extrapolation_value", float32(2))
	cases = append(cases,
		gradCase{name: "Resize crop", inputs: [][]int{{1, 1, 4, 4}}, build: given("Resize", crop, tensor.Of([]float32{0, 0, 0.1, -0.4, 1, 1, 0.9, 0.8}, 8), nil, int64s(1, 1, 3, 5))},
		olderOpset(9, gradCase{name: "Upsample", inputs: [][]int{{1, 2, 2, 3}}, build: given("Upsample", attrs("mode", "linear"), tensor.Of([]float32{1, 1, 2, 1.5}, 4))}),
		olderOpset(9, gradCase{name: "Upsample nearest", inputs: [][]int{{1, 2, 2, 3}}, build: given("Upsample", nil, tensor.Of([]float32{1, 1, 2, 2}, 4))}),
		olderOpset(10, gradCase{name: "Resize of opset 10", inputs: [][]int{{1, 2, 2, 3}}, build: given("Resize", attrs("mode", "linear"), tensor.Of([]float32{1, 1, 2, 2}, 4))}),
		gradCase{name: "AffineGrid", inputs: [][]int{{2, 2, 3}}, build: given("AffineGrid", attrs("align_corners", int64(1)), int64s(2, 1, 3, 4))},
		gradCase{name: "AffineGrid 3D", inputs: [][]int{{1, 3, 4}}, build: given("AffineGrid", nil, int64s(1, 1, 2, 3, 2))},
		gradCase{name: "Col2Im", inputs: [][]int{{1, 8, 9}}, build: given("Col2Im", nil, int64s(4, 4), int64s(2, 2))},
	)
	for _, mode := range []string{"linear", "cubic", "nearest"} {
		for _, padding := range []string{"zeros", "border", "reflection"} {
			for _, align := range []int64{0, 1} {
				a := attrs("mode", mode, "padding_mode", padding, "align_corners", align)
				// A grid of 9 cells a side: the points keep away from the kinks between them.
				cases = append(cases, gradCase{name: fmt.Sprint("GridSample ", a), inputs: [][]int{{1, 2, 9, 7}},
					build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
						grid := tensor.Of([]float32{0.53, -0.31, -0.71, 0.13, 1.27, 0.37, -1.33, -1.41}, 1, 2, 2, 2)
						return b.Op("GridSample", a, in[0], b.Const("grid", grid))
					}}, gradCase{name: fmt.Sprint("GridSample grid ", a), inputs: [][]int{{1, 2, 2, 2}},
					build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
						// Small moves around points between the elements of the image.
						point := b.Const("point", tensor.Of([]float32{0.53, -0.31, -0.71, 0.13, 1.27, 0.37, -1.33, -1.43}, 1, 2, 2, 2))
						grid := b.Op("Add", nil, point, b.Op("Mul", nil, in[0], b.Const("small", tensor.Scalar(float32(0.01)))))
						image := tensor.New(tensor.Float32, 1, 2, 9, 7)
						for i := range image.F32() {
							image.F32()[i] = float32((i*37)%23)/11 - 1
						}
						return b.Op("GridSample", a, b.Const("image", image), grid)
					}})
			}
		}
	}
	return cases
}

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
