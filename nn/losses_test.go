package nn_test

import (
	"math"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/op/optest"
	"tandem/nn"
	"tandem/tensor"
)

// TestLosses compares losses and their gradients with PyTorch 2.15 (torch.nn.functional
// and autograd) on the same numbers.
func TestLosses(t *testing.T) {
	output := tensor.Of([]float32{0.5, -1, 2, 0.1, 0.7, -0.3}, 2, 3)
	values := []float32{0.2, 0.4, -0.5, 0.9, 0.3, 0.1}
	type build func(b *graph.Builder, x, target, labels *graph.Value) *graph.Value
	for name, tc := range map[string]struct {
		build build
		loss  float64
		grad  []float64
	}{
		"MSE": {func(b *graph.Builder, x, y, _ *graph.Value) *graph.Value { return nn.MSE(b, x, y) },
			1.543333, []float64{0.1, -0.466667, 0.833333, -0.266667, 0.133333, -0.133333}},
		"MAE": {func(b *graph.Builder, x, y, _ *graph.Value) *graph.Value { return nn.MAE(b, x, y) },
			0.966667, []float64{0.166667, -0.166667, 0.166667, -0.166667, 0.166667, -0.166667}},
		"Huber": {func(b *graph.Builder, x, y, _ *graph.Value) *graph.Value { return nn.Huber(b, x, y, 0.5) },
			0.363333, []float64{0.05, -0.083333, 0.083333, -0.083333, 0.066667, -0.066667}},
		"Quantile": {func(b *graph.Builder, x, y, _ *graph.Value) *graph.Value { return nn.Quantile(b, x, y, 0.8) },
			0.453333, []float64{0.033333, -0.133333, 0.033333, -0.133333, 0.033333, -0.133333}},
		"BinaryCrossEntropy": {func(b *graph.Builder, x, y, _ *graph.Value) *graph.Value {
			return nn.BinaryCrossEntropy(b, x, b.Op("Abs", nil, y))
		}, 0.807701, []float64{0.07041, -0.021843, 0.063466, -0.062503, 0.061365, 0.05426}},
		"ClassLoss": {func(b *graph.Builder, x, _, l *graph.Value) *graph.Value { return nn.ClassLoss{}.Build(b, x, l) },
			0.745956, []float64{0.087645, 0.019556, -0.107201, -0.356834, 0.260866, 0.095967}},
		"ClassLoss smoothed, weighted": {func(b *graph.Builder, x, _, l *graph.Value) *graph.Value {
			return nn.ClassLoss{Smoothing: 0.1, Weights: []float32{0.5, 2, 1.5}}.Build(b, x, l)
		}, 0.646231, []float64{0.121674, -0.004325, -0.117349, -0.14982, 0.118839, 0.030981}},
		"ClassLoss focal": {func(b *graph.Builder, x, _, l *graph.Value) *graph.Value {
			return nn.ClassLoss{Focus: 2}.Build(b, x, l)
		},
			0.324025, []float64{0.011154, 0.002489, -0.013642, -0.364124, 0.266196, 0.097928}},
		"Triplet": {func(b *graph.Builder, x, y, _ *graph.Value) *graph.Value {
			other := b.Op("Gather", nil, y, b.Const("flip", tensor.Of([]int64{1, 0}, 2)))
			return nn.Triplet(b, x, y, other, 3)
		}, 3.574968, []float64{0.137658, 0.035201, 0.027319, -0.274619, -0.196767, -0.471386}},
		"Contrastive": {func(b *graph.Builder, x, y, _ *graph.Value) *graph.Value { return nn.Contrastive(b, x, y, 0.5) },
			1.728853, []float64{0.163914, 0.06052, -0.010719, -0.678499, -0.170124, -0.623122}},
		"Distillation": {func(b *graph.Builder, x, y, _ *graph.Value) *graph.Value { return nn.Distillation(b, x, y, 2) },
			0.673058, []float64{-0.077289, -0.261717, 0.339006, -0.099144, 0.118764, -0.01962}},
	} {
		t.Run(name, func(t *testing.T) {
			b := graph.NewBuilder("", op.Default())
			x := b.Input("x", tensor.Float32, graph.Dims(2, 3)...)
			loss := tc.build(b, x, b.Const("target", tensor.Of(values, 2, 3)), b.Const("labels", tensor.Of([]int64{2, 0}, 2)))
			grads, err := graph.Grad(b, loss, []*graph.Value{x})
			if err != nil || b.Err() != nil {
				t.Fatal(err, b.Err())
			}
			b.G.Outputs = []*graph.Value{loss, grads[0]}
			out := optest.Outputs(t, b.G, graph.Options{}, output)
			if got := float64(out[0].F32()[0]); math.Abs(got-tc.loss) > 2e-6 {
				t.Errorf("loss %v, want %v", got, tc.loss)
			}
			for i, want := range tc.grad {
				if got := float64(out[1].F32()[i]); math.Abs(got-want) > 2e-6 {
					t.Errorf("gradient %d is %v, want %v", i, got, want)
				}
			}
		})
	}
}
