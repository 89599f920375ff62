package precision_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/pass"
	"tandem/graph/precision"
	"tandem/kernel"
	"tandem/tensor"
)

// residual is a network of convolutions: with ReLU, pooling, a residual sum, a clip, one for
// each channel alone, and a product at the end.
func residual(t *testing.T) *graph.Graph {
	t.Helper()
	r := rand.New(rand.NewPCG(9, 1))
	b := graph.NewBuilder("g", op.Default())
	conv := func(name string, x *graph.Value, out, in, size int, group int64) *graph.Value {
		pad := int64(size / 2)
		attrs := graph.Attrs{"pads": []int64{pad, pad, pad, pad}, "kernel_shape": []int64{int64(size), int64(size)}, "group": group}
		return b.Op("Conv", attrs, x, b.Const(name+".w", random(r, 0.15, out, in, size, size)), b.Const(name+".b", random(r, 0.3, out)))
	}
	x := b.Input("x", tensor.Float32, graph.Sym("batch"), graph.Const(16), graph.Const(12), graph.Const(12))
	first := b.Op("MaxPool", graph.Attrs{"kernel_shape": []int64{2, 2}, "strides": []int64{2, 2}}, b.Op("Relu", nil, conv("one", x, 32, 16, 3, 1)))
	h := b.Op("Relu", nil, conv("two", first, 32, 32, 3, 1))
	h = b.Op("Relu", nil, b.Op("Add", nil, conv("three", h, 32, 32, 3, 1), first))
	h = b.Op("Clip", nil, conv("four", h, 160, 32, 1, 1), number(b, 0), number(b, 6))
	h = b.Op("HardSwish", nil, conv("five", h, 160, 1, 5, 160))
	h = conv("six", h, 48, 160, 1, 1)
	h = b.Op("Flatten", nil, b.Op("GlobalAveragePool", nil, h))
	b.Output(b.Op("Gemm", nil, h, b.Const("seven.w", random(r, 0.2, 48, 100)), b.Const("seven.b", random(r, 0.1, 100))))
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	return b.G
}

func number(b *graph.Builder, v float32) *graph.Value {
	t := tensor.New(tensor.Float32)
	t.F32()[0] = v
	return b.Const("number", t)
}

// TestStatic: convolutions between quantisers run on bytes, what is before them and after
// is swallowed or moves with them, and the outputs are near; a row has the same bits alone.
func TestStatic(t *testing.T) {
	g := residual(t)
	ops := op.Default()
	r := rand.New(rand.NewPCG(9, 2))
	for isa := kernel.Generic; isa <= kernel.Detect(); isa++ {
		p := kernel.NewPool(2, isa)
		t.Cleanup(p.Close)
		var inputs [][]*tensor.Tensor
		for range 3 {
			inputs = append(inputs, []*tensor.Tensor{random(r, 1, 4, 16, 12, 12)})
		}
		for _, percent := range []float64{100, 99.9} {
			ranges, err := precision.Calibrate(context.Background(), g, ops, p, inputs, percent)
			if err != nil {
				t.Fatal(err)
			}
			q, err := precision.Round(g, ops, precision.Int8, precision.Options{Pool: p, Ranges: ranges})
			if err != nil {
				t.Fatal(err)
			}
			want := run(t, g, p, inputs[0])
			have := run(t, q, p, inputs[0], pass.Inference(p)...)
			if d := distance(want[0], have[0]); d > 0.05 || d < 1e-4 {
				t.Errorf("%v, ranges of %v %%: %.4f away", isa, percent, d)
			}
			if d := distance(run(t, q, p, inputs[0])[0], have[0]); d > 0.02 {
				t.Errorf("%v: operators one by one are %.4f away from those joined", isa, d)
			}
			one := tensor.New(tensor.Float32, 1, 16, 12, 12)
			copy(one.F32(), inputs[0][0].F32()[one.Len():])
			if alone := run(t, q, p, []*tensor.Tensor{one}, pass.Inference(p)...)[0]; !slices.Equal(alone.F32(), have[0].F32()[100:200]) {
				t.Errorf("%v: a row alone has other bits", isa)
			}
		}
	}
}

// TestStaticBytes: what of the network is computed on bytes.
func TestStaticBytes(t *testing.T) {
	g := residual(t)
	p := kernel.NewPool(1, kernel.Detect())
	t.Cleanup(p.Close)
	ops := op.Default()
	ranges, err := precision.Calibrate(context.Background(), g, ops, p, [][]*tensor.Tensor{{random(rand.New(rand.NewPCG(9, 3)), 1, 4, 16, 12, 12)}}, 100)
	if err != nil {
		t.Fatal(err)
	}
	q, err := precision.Round(g, ops, precision.Int8, precision.Options{Pool: p, Ranges: ranges})
	if err != nil {
		t.Fatal(err)
	}
	if err := pass.Integers().Run(q, ops); err != nil {
		t.Fatal(err)
	}
	if err := pass.Dead().Run(q, ops); err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, n := range q.Nodes {
		count[n.Op.Name]++
	}
	for name, want := range map[string]int{"QLinearConv": 5, "QLinearAdd": 1, "Conv": 1, "Relu": 0, "Clip": 0, "MaxPool": 1, "Add": 1, "MatMulInteger": 1} {
		if count[name] != want {
			t.Errorf("%d of %s, expected %d: %v", count[name], name, want, count)
		}
	}
	for _, n := range q.Nodes {
		if n.Op.Name == "MaxPool" && n.Inputs[0].Type.DType != tensor.Uint8 {
			t.Errorf("the greatest is found in %v", n.Inputs[0].Type)
		}
	}
}

// TestCompare: the measures of outputs that are known.
func TestCompare(t *testing.T) {
	one := func(v ...float32) []*tensor.Tensor { return []*tensor.Tensor{tensor.Of(v, 2, len(v)/2)} }
	for _, tc := range []struct {
		a, b          []*tensor.Tensor
		error, cosine float64
	}{
		{one(1, 2, 3, 4), one(1, 2, 3, 4), 0, 1},
		{one(1, 0, 0, 1), one(0, 1, 0, 1), 1.4142135623730951, 0},
		{one(4, 0, 0, 4), one(4, 0, 0, 2), 0.5, 1},
		{one(0, 0, 1, 1), one(0, 0, 1, 1), 0, 1},
	} {
		d := precision.Compare([][]*tensor.Tensor{tc.a}, [][]*tensor.Tensor{tc.b})
		if d.Error != tc.error || d.Cosine != tc.cosine {
			t.Errorf("%v and %v: %+v, expected %v and %v", tc.a[0].F32(), tc.b[0].F32(), d, tc.error, tc.cosine)
		}
	}
	whole := func(v ...int64) [][]*tensor.Tensor { return [][]*tensor.Tensor{{tensor.Of(v, len(v))}} }
	if d := precision.Compare(whole(1, 2, 3, 4), whole(1, 2, 3, 5)); d.Error != 0.25 {
		t.Errorf("%+v of whole numbers", d)
	}
}

// TestNear: the layer that costs most stays in floats, and no more of them than it takes.
func TestNear(t *testing.T) {
	r := rand.New(rand.NewPCG(10, 1))
	b := graph.NewBuilder("g", op.Default())
	h := b.Input("x", tensor.Float32, graph.Sym("batch"), graph.Const(128))
	for i := range 4 {
		w := random(r, 0.1, 128, 128)
		if i == 0 { // one weight of each block takes all the steps, for inputs that are 0
			for j := 0; j < w.Len(); j += 128 * 32 {
				for c := range 128 {
					w.F32()[j+c] *= 100
				}
			}
		}
		h = b.Op("Tanh", nil, b.Op("MatMul", nil, h, b.Const("w", w)))
	}
	b.Output(h)
	p := kernel.NewPool(2, kernel.Detect())
	t.Cleanup(p.Close)
	x := random(r, 1, 16, 128)
	for i := 0; i < x.Len(); i += 32 {
		x.F32()[i] = 0
	}
	s := precision.Search{Graph: b.G, Ops: op.Default(), Form: precision.Int4Weights, Inputs: [][]*tensor.Tensor{{x}}, Options: precision.Options{Pool: p}}
	all, err := s.Near(context.Background(), -1)
	if err != nil {
		t.Fatal(err)
	}
	r2, err := s.Near(context.Background(), 0.6*all.Error)
	if err != nil {
		t.Fatal(err)
	}
	if want := precision.Layers(b.G)[0].Name(); !slices.Equal(r2.Kept, []string{want}) || r2.Error > 0.6*all.Error || r2.Layers != 3 || all.Layers != 4 {
		t.Errorf("error %v with %v kept, %v with none; the sensitive layer is %s", r2.Error, r2.Kept, all.Error, want)
	}
	if far, err := s.Near(context.Background(), 1e-9); err != nil || far.Error < 1e-9 {
		t.Errorf("%+v, %v", far, err)
	}
}
