package op_test

import (
	"slices"
	"testing"

	"tandem/graph"
	"tandem/graph/op/optest"
	"tandem/tensor"
)

// TestGradientsAtZero: products with no, one and two zeros, and a norm of 0, where
// finite differences of random inputs do not come by.
func TestGradientsAtZero(t *testing.T) {
	x := tensor.Of([]float32{2, 3, 4, 2, 0, 5, 0, 3, 0, 0, 0, 0}, 4, 3)
	for name, want := range map[string][]float32{
		"ReduceProd": {12, 8, 6, 0, 10, 0, 0, 0, 0, 0, 0, 0},
		"ReduceL2":   {0.3713907, 0.557086, 0.7427814, 0.37139067, 0, 0.9284767, 0, 1, 0, 0, 0, 0},
	} {
		b := testBuilder()
		in := b.Input("x", tensor.Float32, graph.Const(4), graph.Const(3))
		y := b.Op(name, nil, in, b.Const("axes", tensor.Of([]int64{1}, 1)))
		grads, err := graph.Grad(b, b.Op("ReduceSum", attrs("keepdims", int64(0)), y), []*graph.Value{in})
		if err != nil {
			t.Fatal(err)
		}
		b.Output(grads[0])
		got := optest.Outputs(t, b.G, graph.Options{Ops: b.Ops}, x)[0].F32()
		if !slices.EqualFunc(got, want, func(a, b float32) bool { return a-b < 1e-6 && b-a < 1e-6 }) {
			t.Errorf("%s: gradient %v, want %v", name, got, want)
		}
	}
}
