package nn_test

import (
	"math"
	"strings"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/op/optest"
	"tandem/nn"
	"tandem/tensor"
)

// TestLossesAtTheirEdges: where a formula has no derivative the gradient is a number
// nevertheless. What is compared is what PyTorch gives, or the limit.
func TestLossesAtTheirEdges(t *testing.T) {
	sure := tensor.Of([]float32{60, 0, -60, 0, 60, 0}, 2, 3) // p is 1 of the first class, then of the second
	zeros := tensor.Of([]float32{0, 0, 0, 3, 0, 4}, 2, 3)
	type build func(b *graph.Builder, x, target, labels *graph.Value) *graph.Value
	focal := func(gamma float32) build {
		return func(b *graph.Builder, x, _, l *graph.Value) *graph.Value {
			return nn.ClassLoss{Focus: gamma}.Build(b, x, l)
		}
	}
	for name, tc := range map[string]struct {
		build  build
		x      *tensor.Tensor
		labels []int64
		loss   float64
		grad   []float64
	}{
		"focal of 1/2, right":  {focal(0.5), sure, []int64{0, 1}, 0, make([]float64, 6)},
		"focal of 1/2, wrong":  {focal(0.5), sure, []int64{1, 2}, 60, []float64{.5, -.5, 0, 0, .5, -.5}},
		"focal of 2, right":    {focal(2), sure, []int64{0, 1}, 0, make([]float64, 6)},
		"focal of 2, wrong":    {focal(2), sure, []int64{2, 0}, 90, []float64{.5, 0, -.5, -.5, .5, 0}},
		"quantile of no error": {func(b *graph.Builder, x, _, _ *graph.Value) *graph.Value { return nn.Quantile(b, x, x, 0.9) }, zeros, nil, 0, make([]float64, 6)},
		"huber at delta": {func(b *graph.Builder, x, y, _ *graph.Value) *graph.Value { return nn.Huber(b, x, y, 3) }, zeros, nil,
			(4.5 + 3*(4-1.5)) / 6, []float64{0, 0, 0, .5, 0, .5}},
		"contrastive of zeros": {func(b *graph.Builder, x, y, _ *graph.Value) *graph.Value {
			return nn.Contrastive(b, b.Op("Mul", nil, x, y), x, 1)
		}, zeros, nil, math.Ln2, make([]float64, 6)},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.labels == nil {
				tc.labels = []int64{0, 0}
			}
			b := graph.NewBuilder("", op.Default())
			x := b.Input("x", tensor.Float32, graph.Dims(2, 3)...)
			loss := tc.build(b, x, b.Const("target", tensor.New(tensor.Float32, 2, 3)), b.Const("labels", tensor.Of(tc.labels, 2)))
			grads, err := graph.Grad(b, loss, []*graph.Value{x})
			if err != nil || b.Err() != nil {
				t.Fatal(err, b.Err())
			}
			b.G.Outputs = []*graph.Value{loss, grads[0]}
			out := optest.Outputs(t, b.G, graph.Options{}, tc.x)
			if got := float64(out[0].F32()[0]); !(math.Abs(got-tc.loss) <= 1e-5*max(1, tc.loss)) {
				t.Errorf("loss %v, want %v", got, tc.loss)
			}
			for i, want := range tc.grad {
				if got := float64(out[1].F32()[i]); !(math.Abs(got-want) <= 1e-3) {
					t.Errorf("gradient %d is %v, want %v", i, got, want)
				}
			}
		})
	}
}

// TestLossesTakeOneShape: a target of [rows] is not spread over an output of [rows,1].
func TestLossesTakeOneShape(t *testing.T) {
	for name, of := range map[string]func(b *graph.Builder, x, y *graph.Value) *graph.Value{
		"MSE": nn.MSE, "MAE": nn.MAE, "BinaryCrossEntropy": nn.BinaryCrossEntropy,
		"Huber":    func(b *graph.Builder, x, y *graph.Value) *graph.Value { return nn.Huber(b, x, y, 1) },
		"Quantile": func(b *graph.Builder, x, y *graph.Value) *graph.Value { return nn.Quantile(b, x, y, 0.5) },
	} {
		for _, target := range [][]graph.Dim{{graph.Sym("batch")}, {graph.Sym("batch"), graph.Const(3)}} {
			b := graph.NewBuilder("", op.Default())
			of(b, b.Input("x", tensor.Float32, graph.Sym("batch"), graph.Const(1)), b.Input("y", tensor.Float32, target...))
			if err := b.Err(); err == nil || !strings.Contains(err.Error(), "of one shape") {
				t.Errorf("%s of a target %v: %v", name, target, err)
			}
		}
	}
}
