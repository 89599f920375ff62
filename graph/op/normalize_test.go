package op_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"tandem/graph"
	"tandem/tensor"
)

func TestNormalizations(t *testing.T) {
	one, zero := tensor.Of([]float32{1, 1}, 2), tensor.Of([]float32{0, 0}, 2)
	x := tensor.Of([]float32{1, 3, 10, 20}, 1, 2, 2) // channels of mean 2 and 15, variance 1 and 25
	unit := tensor.Of([]float32{-1, 1, -1, 1}, 1, 2, 2)
	all := math.Sqrt((7.5*7.5 + 5.5*5.5 + 1.5*1.5 + 11.5*11.5) / 4)
	group := tensor.Of([]float32{float32(-7.5 / all), float32(-5.5 / all), float32(1.5 / all), float32(11.5 / all)}, 1, 2, 2)
	eps := func(kv ...any) graph.Attrs { return attrs(append(kv, "epsilon", float32(0))...) }
	mean, variance := tensor.Of([]float32{2, 15}, 2), tensor.Of([]float32{1, 25}, 2)
	nought := tensor.Of([]float32{0, 0}, 2)
	try(t, []trial{
		{name: "given", id: onnxID("BatchNormalization"), opset: 15, attrs: eps(), in: these(x, one, zero, mean, variance), want: these(unit), near: 1e-6},
		{name: "spatial 0", id: onnxID("BatchNormalization"), opset: 7, attrs: eps("spatial", int64(0)),
			in:   these(tensor.Of([]float32{1, 3}, 1, 1, 2), one, zero, tensor.Of([]float32{1, 1}, 1, 2), tensor.Of([]float32{1, 4}, 1, 2)),
			want: these(tensor.Of([]float32{0, 1}, 1, 1, 2)), near: 1e-6},
		{name: "training", id: onnxID("BatchNormalization"), opset: 15, attrs: eps("training_mode", int64(1), "momentum", float32(0.5)), in: these(x, one, zero, nought, nought),
			want: these(unit, tensor.Of([]float32{1, 7.5}, 2), tensor.Of([]float32{0.5, 12.5}, 2)), near: 1e-6},
		{name: "training by outputs", id: onnxID("BatchNormalization"), opset: 9, attrs: eps("momentum", float32(0.5)), in: these(x, one, zero, nought, nought),
			want: these(unit, tensor.Of([]float32{1, 7.5}, 2), nil, mean, variance), near: 1e-6},
		{name: "outputs without training", id: onnxID("BatchNormalization"), opset: 15, in: these(x, one, zero, mean, variance), want: these(nil, mean), err: "only when training"},
		{name: "instance", id: onnxID("InstanceNormalization"), opset: 6, attrs: eps(), in: these(x, one, zero), want: these(unit), near: 1e-6},
		{name: "a group", id: onnxID("GroupNormalization"), opset: 21, attrs: eps("num_groups", int64(1)), in: these(x, one, zero), want: these(group), near: 1e-6},
		{name: "scale by group", id: onnxID("GroupNormalization"), opset: 18, attrs: eps("num_groups", int64(1)),
			in: these(x, tensor.Of([]float32{1}, 1), tensor.Of([]float32{0}, 1)), want: these(group), near: 1e-6},
		{name: "groups", id: onnxID("GroupNormalization"), opset: 21, attrs: eps("num_groups", int64(3)), in: these(x, one, zero), err: "num_groups is 3"},
		{name: "layer", id: onnxID("LayerNormalization"), opset: 17, attrs: eps(), in: these(x, tensor.Of([]float32{1, 2}, 2), one),
			want: these(tensor.Of([]float32{0, 3, 0, 3}, 1, 2, 2), tensor.Of([]float32{2, 15}, 1, 2, 1), tensor.Of([]float32{1, 0.2}, 1, 2, 1)), near: 1e-6},
		{name: "scale of a scalar", id: onnxID("LayerNormalization"), opset: 17, attrs: eps("axis", int64(1)), in: these(x, tensor.Scalar(float32(1))), want: these(group), near: 1e-6},
		{name: "scale by row", id: onnxID("LayerNormalization"), opset: 17, attrs: eps(), in: these(x, tensor.Of([]float32{1, 2}, 2, 1)),
			want: these(tensor.Of([]float32{-1, 1, -2, 2}, 1, 2, 2)), near: 1e-6},
		{name: "scale", id: onnxID("LayerNormalization"), opset: 17, in: these(x, tensor.Of([]float32{1, 2, 3}, 3)), err: "cannot be broadcast"},
		{name: "root mean square", id: onnxID("RMSNormalization"), opset: 23, attrs: eps(), in: these(tensor.Of([]float32{1, 7}, 1, 2), one),
			want: these(tensor.Of([]float32{0.2, 1.4}, 1, 2)), near: 1e-6},
		{name: "of zeros", id: onnxID("LpNormalization"), opset: 22, in: these(tensor.Of([]float64{3, 4, 0, 0}, 2, 2)), want: these(tensor.Of([]float64{0.6, 0.8, 0, 0}, 2, 2)), near: 1e-12},
		{name: "first", id: onnxID("LpNormalization"), opset: 1, attrs: attrs("p", int64(1), "axis", int64(0)), in: these(tensor.Of([]float32{-3, 1}, 2)), want: these(tensor.Of([]float32{-0.75, 0.25}, 2)), near: 1e-6},
		{name: "neighbours", id: onnxID("LRN"), opset: 13, attrs: attrs("size", int64(2), "alpha", float32(2), "beta", float32(1)), in: these(tensor.Of([]float32{1, 2, 3}, 1, 3, 1)),
			want: these(tensor.Of([]float32{1.0 / 6, 2.0 / 14, 3.0 / 10}, 1, 3, 1)), near: 1e-6},
		{name: "size", id: onnxID("LRN"), opset: 13, in: these(x), err: "size is 0"},
		{name: "channels", id: onnxID("MeanVarianceNormalization"), opset: 13, attrs: attrs("axes", []int64{0, 2}), in: these(x), want: these(unit), near: 1e-6},
	})
}

// TestNormalizationOfNarrowTypes: float16 and bfloat16 give what float32 gives,
// rounded.
func TestNormalizationOfNarrowTypes(t *testing.T) {
	x := randomInput(rand.New(rand.NewPCG(7, 7)), []int{4, 8}, 0)
	scale := randomInput(rand.New(rand.NewPCG(8, 8)), []int{8}, 0.1)
	for d, tolerance := range map[tensor.DType]float64{tensor.Float16: 2e-3, tensor.BFloat16: 2e-2, tensor.Float64: 1e-6} {
		in := these(of(t, d, numbersOf(x), 4, 8), of(t, d, numbersOf(scale), 8))
		got, err := evaluate(t, onnxID("LayerNormalization"), 17, nil, in, 1, 2)
		if err != nil {
			t.Fatal(err)
		}
		wide := these(of(t, tensor.Float32, numbersOf(in[0]), 4, 8), of(t, tensor.Float32, numbersOf(in[1]), 8))
		want, err := evaluate(t, onnxID("LayerNormalization"), 17, nil, wide, 1, 2)
		if err != nil {
			t.Fatal(err)
		}
		if !sameNumbers(numbersOf(got[0]), numbersOf(want[0]), tolerance) {
			t.Errorf("%v: %v, expected %v", d, numbersOf(got[0]), numbersOf(want[0]))
		}
	}
}

func TestLosses(t *testing.T) {
	logs := tensor.Of([]float32{-1, -2, -3, -4, -5, -6}, 2, 3)
	labels, weights := ints(1, 0), tensor.Of([]float32{1, 3, 1}, 3)
	ignore := attrs("ignore_index", int64(1))
	none, sum := attrs("reduction", "none"), attrs("reduction", "sum")
	scalar := func(v float32) *tensor.Tensor { return tensor.Scalar(v) }
	third := tensor.New(tensor.Float64, 2, 3)
	try(t, []trial{
		{name: "mean", id: onnxID("NegativeLogLikelihoodLoss"), opset: 13, in: these(logs, labels), want: these(scalar(3))},
		{name: "sum", id: onnxID("NegativeLogLikelihoodLoss"), opset: 12, attrs: sum, in: these(logs, labels, weights), want: these(scalar(10))},
		{name: "weighted mean", id: onnxID("NegativeLogLikelihoodLoss"), opset: 13, in: these(logs, labels, weights), want: these(scalar(2.5))},
		{name: "none", id: onnxID("NegativeLogLikelihoodLoss"), opset: 13, attrs: none, in: these(logs, tensor.Of([]int32{1, 0}, 2)), want: these(tensor.Of([]float32{2, 4}, 2))},
		{name: "ignored", id: onnxID("NegativeLogLikelihoodLoss"), opset: 13, attrs: ignore, in: these(logs, labels), want: these(scalar(4))},
		{name: "positions", id: onnxID("NegativeLogLikelihoodLoss"), opset: 13, attrs: none, in: these(tensor.Of([]float32{-1, -2, -3, -4}, 1, 2, 2), tensor.Of([]int64{1, 0}, 1, 2)),
			want: these(tensor.Of([]float32{3, 2}, 1, 2))},
		{name: "label", id: onnxID("NegativeLogLikelihoodLoss"), opset: 13, in: these(logs, ints(3, 0)), err: "label 3"},
		{name: "equal scores", id: onnxID("SoftmaxCrossEntropyLoss"), opset: 13, in: these(third, labels),
			want: these(tensor.Scalar(math.Log(3)), of(t, tensor.Float64, []float64{-math.Log(3), -math.Log(3), -math.Log(3), -math.Log(3), -math.Log(3), -math.Log(3)}, 2, 3)), near: 1e-12},
		{name: "ignored", id: onnxID("SoftmaxCrossEntropyLoss"), opset: 13, attrs: attrs("ignore_index", int64(-5), "reduction", "sum"), in: these(third, ints(-5, 2)),
			want: these(tensor.Scalar(math.Log(3))), near: 1e-12},
		{name: "reduction", id: onnxID("SoftmaxCrossEntropyLoss"), opset: 13, attrs: attrs("reduction", "max"), in: these(logs, labels), err: "reduction"},
	})
}
