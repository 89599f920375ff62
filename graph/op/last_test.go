package op_test

import (
	"context"
	"maps"
	"math/rand/v2"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/pass"
	"tandem/tensor"
)

// lastNet is a network with what ChannelsLast lowers, and with what it must leave.
func lastNet(t *testing.T, r *rand.Rand, line bool) *graph.Graph {
	b := graph.NewBuilder("net", op.Default())
	spatial := []graph.Dim{graph.Const(13), graph.Sym("w")}
	if line {
		spatial = spatial[1:]
	}
	rank := len(spatial)
	same := func(n int64) []int64 { return []int64{n, n}[:rank] }
	pads := func(n int64) []int64 { return []int64{n, n, n, n}[:2*rank] }
	weight := func(oc, ic int, k ...int) *graph.Value {
		return b.Const("w", randomInput(r, append([]int{oc, ic}, k[:rank]...), 0))
	}
	vector := func(n int) *graph.Value { return b.Const("v", randomInput(r, []int{n}, 0)) }
	channel := func(n int) *graph.Value { return b.Const("c", randomInput(r, []int{n, 1, 1}[:1+rank], 0)) }
	x := b.Input("x", tensor.Float32, append([]graph.Dim{graph.Sym("n"), graph.Const(3)}, spatial...)...)
	h := b.Op("Relu", nil, b.Op("Conv", attrs("pads", pads(1), "strides", same(2)), x, weight(20, 3, 3, 3), vector(20)))
	norm := b.Op("BatchNormalization", nil, b.Op("Conv", attrs("pads", pads(2), "group", int64(20)), h, weight(20, 1, 5, 5)),
		vector(20), vector(20), vector(20), b.Const("variance", tensor.Of([]float32{1, 2, 1, 2, 3, 1, 2, 1, 2, 3, 1, 2, 1, 2, 3, 1, 2, 1, 2, 3}, 20)))
	h = b.Op("Relu", nil, b.Op("Add", nil, norm, h))
	c := b.Op("Conv", attrs("group", int64(2)), h, weight(40, 10, 1, 1))
	h = b.Op("Mul", nil, c, b.Op("Sigmoid", nil, c))
	gate := b.Op("HardSigmoid", attrs("alpha", float32(1)/6, "beta", float32(0.5)),
		b.Op("Conv", nil, b.Op("GlobalAveragePool", nil, h), weight(40, 40, 1, 1), vector(40)))
	h = b.Op("Mul", nil, gate, h)
	pool := b.Op("MaxPool", attrs("kernel_shape", same(3), "pads", pads(1)), h)
	mean := b.Op("AveragePool", attrs("kernel_shape", same(3), "pads", pads(1), "count_include_pad", int64(1)), h)
	h = b.Op("Concat", attrs("axis", int64(1)), pool, mean, b.Op("Sub", nil, b.Op("Mul", nil, h, channel(40)), b.Const("half", tensor.Scalar(float32(0.5)))))
	h = b.Op("HardSwish", nil, b.Op("Conv", attrs("dilations", same(2), "pads", pads(2)), h, weight(33, 120, 3, 3)))
	one := b.Op("Reshape", nil, h, b.Ints("group", 0, 1, -1))
	one = b.Op("InstanceNormalization", nil, one, b.Const("one", tensor.Of([]float32{1}, 1)), b.Const("zero", tensor.Of([]float32{0}, 1)))
	h = b.Op("Add", nil, b.Op("Mul", nil, b.Op("Reshape", nil, one, b.Op("Shape", nil, h)), channel(33)), channel(33))
	b.Output(b.Op("ReduceMax", nil, h, b.Const("axes", tensor.Of([]int64{1}, 1)))) // wants the channels where they were
	to, back := []int64{0, 2, 3, 1}, []int64{0, 3, 1, 2}
	if line {
		to, back = []int64{0, 2, 1}, []int64{0, 2, 1}
	}
	m := b.Op("MatMul", nil, b.Op("Transpose", attrs("perm", to), h), b.Const("m", randomInput(r, []int{33, 33}, 0)))
	h = b.Op("Add", nil, b.Op("Transpose", attrs("perm", back), m), h)
	b.Output(b.Op("Flatten", nil, b.Op("GlobalAveragePool", nil, h)))
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	return b.G
}

// TestChannelsLastComputesTheSame compares networks of every lowered operator with
// and without the passes for serving.
func TestChannelsLastComputesTheSame(t *testing.T) {
	r := rand.New(rand.NewPCG(71, 3))
	for _, line := range []bool{false, true} {
		g := lastNet(t, r, line)
		for threads := 1; threads <= 2; threads++ {
			p := pool(t, threads)
			plain, fast := session(t, g, p, 0), session(t, g, p, 0, pass.Inference(p)...)
			for _, n := range fast.Program().Graph().Nodes {
				if n.Op.Name == "Conv" || n.Op.Name == "Sigmoid" || n.Op.Name == "BatchNormalization" || n.Op.Name == "InstanceNormalization" || n.Op.Name == "GroupNormalization" || n.Op.Name == "Transpose" {
					t.Errorf("line %v: %v is still there", line, n)
				}
			}
			for _, w := range []int{9, 21} {
				shape := []int{3, 3, 13, w}
				if line {
					shape = []int{3, 3, w}
				}
				x := randomInput(r, shape, 0)
				for i, want := range outputsOf(t, plain, x) {
					got := outputsOf(t, fast, x)[i]
					if !got.Shape().Equal(want.Shape()) {
						t.Fatalf("output %d has shape %v, want %v", i, got.Shape(), want.Shape())
					}
					top := float32(0)
					for _, v := range want.F32() {
						top = max(top, v, -v)
					}
					for j, v := range want.F32() {
						if d := v - got.F32()[j]; d > 1e-5*top || -d > 1e-5*top {
							t.Fatalf("line %v, output %d, element %d is %v, want %v", line, i, j, got.F32()[j], v)
						}
					}
				}
			}
		}
	}
}

// TestWinogradComputesTheSame compares 3×3 convolutions of images of known size with
// and without the passes for serving: alone, with residual and activation, and weights
// that others read too, to which their own form applies.
func TestWinogradComputesTheSame(t *testing.T) {
	r := rand.New(rand.NewPCG(71, 4))
	b := graph.NewBuilder("net", op.Default())
	pads := []int64{1, 1, 1, 1}
	weight := func(oc, ic int) *graph.Value {
		w := randomInput(r, []int{oc, ic, 3, 3}, 0)
		for i := range w.F32() {
			w.F32()[i] *= 0.1 // so that the sums are about as large as the inputs
		}
		return b.Const("w", w)
	}
	x := b.Input("x", tensor.Float32, graph.Sym("n"), graph.Const(32), graph.Const(29), graph.Const(27))
	w := weight(32, 32)
	h := b.Op("Relu", nil, b.Op("Conv", attrs("pads", pads), x, w, b.Const("v", randomInput(r, []int{32}, 0))))
	h = b.Op("Relu", nil, b.Op("Add", nil, b.Op("Conv", attrs("auto_pad", "SAME_UPPER"), h, weight(32, 32)), x))
	h = b.Op("Sigmoid", nil, b.Op("Conv", attrs("pads", pads, "strides", []int64{2, 2}), h, w))
	h = b.Op("HardSwish", nil, b.Op("Conv", nil, h, weight(48, 32)))
	b.Output(b.Op("Conv", attrs("group", int64(3)), h, weight(48, 16)))
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	for threads := 1; threads <= 2; threads++ {
		p := pool(t, threads)
		plain, fast := session(t, b.G, p, 0), session(t, b.G, p, 0, pass.Inference(p)...)
		forms := map[graph.Encoding]int{}
		for _, n := range fast.Program().Graph().Nodes {
			if n.Op.Name == "ConvLast" {
				forms[n.Inputs[1].Const.Encoding]++
			}
		}
		if want := map[graph.Encoding]int{graph.PanelWinograd4: 2, graph.PanelWinograd2: 1, graph.PanelConv: 2}; !maps.Equal(forms, want) {
			t.Errorf("forms of the weights: %v, want %v", forms, want)
		}
		for _, n := range []int{1, 5} {
			x := randomInput(r, []int{n, 32, 29, 27}, 0)
			want, got := outputsOf(t, plain, x)[0], outputsOf(t, fast, x)[0]
			top := float32(0)
			for _, v := range want.F32() {
				top = max(top, v, -v)
			}
			for i, v := range want.F32() {
				if d := v - got.F32()[i]; d > 1e-5*top || -d > 1e-5*top {
					t.Fatalf("%d images, element %d is %v, want %v", n, i, got.F32()[i], v)
				}
			}
		}
	}
}

func outputsOf(t *testing.T, s *graph.Session, x *tensor.Tensor) []*tensor.Tensor {
	t.Helper()
	out, err := s.Run(context.Background(), []*tensor.Tensor{x}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
