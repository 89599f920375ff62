package op_test

import (
	"slices"
	"testing"

	"tandem/graph"
	"tandem/graph/op/optest"
	"tandem/tensor"
)

// TestSlopesAtZero are those that PyTorch gives at 0, where there is none or two.
func TestSlopesAtZero(t *testing.T) {
	for _, c := range []struct {
		op    string
		attrs graph.Attrs
		more  []float32 // further inputs
		want  []float32 // of x and of them
	}{
		{"Relu", nil, nil, []float32{0}},
		{"LeakyRelu", attrs("alpha", float32(0.25)), nil, []float32{0.25}},
		{"Elu", attrs("alpha", float32(2)), nil, []float32{2}},
		{"Selu", nil, nil, []float32{1.7580993}},
		{"PRelu", nil, []float32{0.25}, []float32{0.25, 0}},
		{"HardSwish", nil, nil, []float32{0.5}},
		{"Abs", nil, nil, []float32{0}},
		{"Pow", nil, []float32{0}, []float32{0, 0}},
		{"Pow", nil, []float32{1}, []float32{1, 0}},
		{"Pow", nil, []float32{2}, []float32{0, 0}},
		{"Max", nil, []float32{0}, []float32{0.5, 0.5}},
	} {
		for _, constant := range []bool{false, true} { // what is no input
			b := testBuilder()
			b.G.Opset[""] = 21
			in := []*graph.Value{b.Input("x", tensor.Float32, graph.Const(1))}
			feed := []*tensor.Tensor{tensor.New(tensor.Float32, 1)}
			wrt := in
			for _, v := range c.more {
				if constant {
					in = append(in, b.Const("c", tensor.Of([]float32{v}, 1)))
					continue
				}
				in = append(in, b.Input("y", tensor.Float32, graph.Const(1)))
				feed, wrt = append(feed, tensor.Of([]float32{v}, 1)), in
			}
			grads, err := graph.Grad(b, b.Op("ReduceSum", attrs("keepdims", int64(0)), b.Op(c.op, c.attrs, in...)), wrt)
			if err != nil {
				t.Fatal(err)
			}
			b.G.Outputs = grads
			for i, g := range optest.Outputs(t, b.G, graph.Options{Ops: b.Ops}, feed...) {
				if got := g.F32()[0]; got != c.want[i] {
					t.Errorf("%s %v: the slope by input %d is %v, want %v", c.op, c.more, i, got, c.want[i])
				}
			}
		}
	}
}

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
