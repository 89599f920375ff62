package op_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/op/optest"
	"tandem/kernel"
	"tandem/tensor"
)

// gradCase is a computation whose gradient is compared with finite differences.
type gradCase struct {
	name   string
	inputs [][]int // shapes
	away   float64 // inputs keep this far from 0, where the function has a kink
	step   float64 // of finite differences; 0: 1/512
	build  func(b *graph.Builder, in []*graph.Value) *graph.Value
	covers string // an operator that build itself writes out
}

func attrs(kv ...any) graph.Attrs {
	a := graph.Attrs{}
	for i := 0; i < len(kv); i += 2 {
		a[kv[i].(string)] = kv[i+1]
	}
	return a
}

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

func binaryCase(name string, a, b []int) gradCase {
	return gradCase{
		name: fmt.Sprintf("%s %v %v", name, a, b), inputs: [][]int{a, b}, away: 0.5,
		build: func(b *graph.Builder, in []*graph.Value) *graph.Value { return b.Op(name, nil, in...) },
	}
}

func unaryCase(name string, away float64) gradCase {
	return gradCase{
		name: name, inputs: [][]int{{3, 5}}, away: away,
		build: func(b *graph.Builder, in []*graph.Value) *graph.Value { return b.Op(name, nil, in[0]) },
	}
}

func gemmCase(ta, tb int64, alpha, beta float32, c []int) gradCase {
	a, b := []int{3, 4}, []int{4, 5}
	if ta != 0 {
		a = []int{4, 3}
	}
	if tb != 0 {
		b = []int{5, 4}
	}
	return gradCase{
		name: fmt.Sprintf("Gemm transA=%d transB=%d alpha=%v beta=%v c=%v", ta, tb, alpha, beta, c), inputs: [][]int{a, b, c},
		build: func(g *graph.Builder, in []*graph.Value) *graph.Value {
			return g.Op("Gemm", attrs("transA", ta, "transB", tb, "alpha", alpha, "beta", beta), in...)
		},
	}
}

func convCase(x, w []int, a graph.Attrs) gradCase {
	return gradCase{
		name: fmt.Sprintf("Conv x=%v w=%v %v", x, w, a), inputs: [][]int{x, w, {w[0]}},
		build: func(b *graph.Builder, in []*graph.Value) *graph.Value { return b.Op("Conv", a, in...) },
	}
}

func opCase(name string, a graph.Attrs, inputs ...[]int) gradCase {
	return gradCase{
		name: fmt.Sprint(name, inputs, a), inputs: inputs,
		build: func(b *graph.Builder, in []*graph.Value) *graph.Value { return b.Op(name, a, in...) },
	}
}

func fusedMatMulCase(ta, tb int64, alpha float32, x, y []int) gradCase {
	return gradCase{
		name: fmt.Sprintf("FusedMatMul %v %v transA=%d transB=%d", x, y, ta, tb), inputs: [][]int{x, y},
		build: func(g *graph.Builder, in []*graph.Value) *graph.Value {
			return g.Node(graph.OpID{Domain: "com.microsoft", Name: "FusedMatMul"}, 1, attrs("transA", ta, "transB", tb, "alpha", alpha), in...)[0]
		},
	}
}

func gradCases() []gradCase {
	cases := []gradCase{
		unaryCase("Relu", 0.1), unaryCase("Tanh", 0), unaryCase("Sigmoid", 0), unaryCase("Exp", 0), unaryCase("Neg", 0),
		unaryCase("Identity", 0), unaryCase("Softmax", 0), unaryCase("LogSoftmax", 0), unaryCase("Dropout", 0), unaryCase("Flatten", 0),
		gemmCase(0, 0, 1, 1, []int{5}), gemmCase(1, 0, 1, 1, []int{3, 1}), gemmCase(0, 1, 0.5, 2, []int{3, 5}), gemmCase(1, 1, 1, 1, []int{1}),
		convCase([]int{2, 3, 5, 6}, []int{4, 3, 3, 3}, attrs("pads", []int64{1, 1, 1, 1})),
		convCase([]int{2, 4, 7, 6}, []int{6, 2, 3, 2}, attrs("group", int64(2), "strides", []int64{2, 1}, "pads", []int64{0, 1, 2, 0})),
		convCase([]int{1, 2, 7, 7}, []int{3, 2, 2, 2}, attrs("dilations", []int64{2, 3}, "auto_pad", "SAME_UPPER")),
		{
			name: "MaxPool", inputs: [][]int{{2, 2, 5, 6}},
			build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
				return b.Op("MaxPool", attrs("kernel_shape", []int64{3, 2}, "strides", []int64{2, 2}, "pads", []int64{1, 0, 1, 0}), in[0])
			},
		},
		opCase("Conv", attrs("strides", []int64{2, 1, 1}, "pads", []int64{1, 0, 1, 1, 0, 0}, "group", int64(2)), []int{2, 2, 3, 4, 3}, []int{4, 1, 2, 2, 3}, []int{4}),
		opCase("Conv", attrs("strides", []int64{2}, "pads", []int64{1, 0}), []int{2, 3, 7}, []int{4, 3, 3}, []int{4}),
		opCase("MaxPool", attrs("kernel_shape", []int64{3}, "strides", []int64{2}), []int{2, 2, 9}),
		opCase("MaxPool", attrs("kernel_shape", []int64{2, 2, 1}, "strides", []int64{1, 2, 1}, "pads", []int64{1, 0, 0, 0, 1, 0}), []int{2, 2, 3, 3, 2}),
		opCase("ConvTranspose", attrs("strides", []int64{2, 1}, "pads", []int64{1, 0, 0, 1}, "output_padding", []int64{1, 0}, "group", int64(2)), []int{2, 4, 3, 4}, []int{4, 3, 2, 3}, []int{6}),
		opCase("ConvTranspose", attrs("strides", []int64{2, 1, 1}), []int{1, 2, 3, 2, 2}, []int{2, 3, 3, 2, 1}, []int{3}),
		opCase("AveragePool", attrs("kernel_shape", []int64{3, 2}, "strides", []int64{2, 1}, "pads", []int64{1, 0, 1, 1}), []int{2, 2, 5, 6}),
		opCase("AveragePool", attrs("kernel_shape", []int64{2, 2, 2}, "count_include_pad", int64(1), "pads", []int64{1, 0, 1, 1, 0, 0}, "ceil_mode", int64(1), "strides", []int64{2, 2, 2}), []int{1, 2, 3, 4, 4}),
		opCase("GlobalAveragePool", nil, []int{2, 3, 4, 5}),
		opCase("MatMul", nil, []int{3, 4}, []int{4, 5}), opCase("MatMul", nil, []int{2, 3, 4}, []int{4, 5}),
		opCase("MatMul", nil, []int{2, 1, 3, 4}, []int{3, 4, 2}),
		fusedMatMulCase(1, 0, 0.5, []int{2, 4, 3}, []int{4, 5}), fusedMatMulCase(0, 1, 2, []int{3, 4}, []int{2, 5, 4}), fusedMatMulCase(1, 1, 1, []int{4, 3}, []int{5, 4}),
		{
			name: "Reshape", inputs: [][]int{{4, 6}},
			build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
				return b.Op("Reshape", nil, in[0], b.Const("shape", tensor.Of([]int64{2, -1, 3}, 3)))
			},
		},
		{
			name: "a value read three times", inputs: [][]int{{3, 4}},
			build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
				return b.Op("Add", nil, b.Op("Mul", nil, in[0], in[0]), b.Op("Tanh", nil, in[0]))
			},
		},
		{
			name: "RandomDropout", inputs: [][]int{{40, 7}},
			build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
				step := b.Const("step", tensor.Scalar(int64(3)))
				return b.Private("RandomDropout", attrs("ratio", float32(0.4), "seed", int64(7), "stream", int64(2)), in[0], step)
			},
		},
		{
			name: "SoftmaxCrossEntropyLoss", inputs: [][]int{{4, 5}},
			build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
				labels := b.Const("labels", tensor.Of([]int64{1, 0, 4, 4}, 4))
				return b.Node(graph.OpID{Name: "SoftmaxCrossEntropyLoss"}, 2, nil, in[0], labels)[0]
			},
		},
	}
	cases = append(cases, moveGradCases()...)
	cases = append(cases, mathGradCases()...)
	cases = append(cases, softmaxGradCases()...)
	cases = append(cases, recurrentGradCases()...)
	cases = append(cases, networkGradCases()...)
	cases = append(cases, foldGradCases()...)
	cases = append(cases, movementGradCases()...)
	cases = append(cases, samplingGradCases()...)
	cases = append(cases, normGradCases()...)
	cases = append(cases, attentionFormCases()...)
	cases = append(cases, recurrentFormCases()...)
	cases = append(cases, rareGradCases()...)
	cases = append(cases, stateGradCases()...)
	cases = append(cases, writtenGradCases()...)
	cases = append(cases, groupGradCases()...)
	cases = append(cases, expertsGradCases()...)
	cases = append(cases, codedGradCases()...)
	cases = append(cases, pagedGradCases()...)
	cases = append(cases, mlGradCases()...)
	cases = append(cases, ctcCase())
	for _, c := range append(controlGradCases(), sequenceGradCases()...) {
		cases = append(cases, c.gradCase)
	}
	for _, name := range []string{"Add", "Sub", "Mul", "Div"} {
		cases = append(cases, binaryCase(name, []int{3, 4}, []int{3, 4}), binaryCase(name, []int{2, 3, 4}, []int{4}),
			binaryCase(name, []int{1, 3, 1}, []int{2, 1, 4}), binaryCase(name, []int{3, 4}, []int{}))
	}
	return cases
}

func pool(t testing.TB, threads int) *kernel.Pool {
	p := kernel.NewPool(threads, kernel.Detect())
	t.Cleanup(p.Close)
	return p
}

// randomInput has values in ±2, none nearer to 0 than away, and no two so near
// that a finite difference would change which is the greatest.
func randomInput(rng *rand.Rand, shape []int, away float64) *tensor.Tensor {
	x := tensor.New(tensor.Float32, shape...)
	f := x.F32()
	for i, slot := range rng.Perm(len(f)) {
		v := (float64(slot)+0.5)/float64(len(f))*2*(2-away) - (2 - away)
		f[i] = float32(v + math.Copysign(away, v))
	}
	return x
}

// TestGradientsEqualFiniteDifferences compares, for every operator with a
// gradient, the derivative of Σ r·y (r random) along a random direction.
func TestGradientsEqualFiniteDifferences(t *testing.T) {
	ops := op.Default()
	p := pool(t, 2)
	covered := map[graph.OpID]bool{}
	for _, tc := range gradCases() {
		t.Run(tc.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			b := graph.NewBuilder("case", ops)
			var in []*graph.Value
			var x []*tensor.Tensor
			for i, shape := range tc.inputs {
				in = append(in, b.Input(fmt.Sprint("x", i), tensor.Float32, graph.Dims(shape...)...))
				x = append(x, randomInput(rng, shape, tc.away))
			}
			y := tc.build(b, in)
			covered[graph.OpID{Name: tc.covers}] = true
			nodes := b.G.Nodes
			loss := weigh(b, y, rng)
			plain := lossOf(t, b.G, loss, p, x)
			grads, err := graph.Grad(b, loss, in)
			if err != nil || b.Err() != nil {
				t.Fatal(err, b.Err())
			}
			for _, n := range append(nodes, b.G.Nodes...) {
				covered[n.Op] = true
			}
			b.G.Outputs = append([]*graph.Value{loss}, grads...)
			checkDirection(t, b.G, p, x, tc.step, rng)
			if got := lossOf(t, b.G, loss, p, x); !(math.Abs(got-plain) <= 1e-4*max(1, math.Abs(plain))) {
				t.Errorf("written out for its gradient, the case gives %v, as it is %v", got, plain)
			}
		})
	}
	for _, o := range ops.All() {
		if (o.Grad != nil || o.Expand != nil) && !covered[o.ID] {
			t.Errorf("operator %v has a gradient that no case checks", o.ID)
		}
	}
}

// weigh reduces y to a scalar: Σ r·y as a product of a row and a column.
func weigh(b *graph.Builder, y *graph.Value, rng *rand.Rand) *graph.Value {
	if len(y.Type.Shape) == 0 {
		return y
	}
	n, _ := y.Type.Shape.Len().Value()
	r := randomInput(rng, []int{n, 1}, 0.1)
	row := b.Op("Reshape", nil, y, b.Const("row", tensor.Of([]int64{1, -1}, 2)))
	return b.Op("Reshape", nil, b.Op("Gemm", nil, row, b.Const("r", r)), b.Const("scalar", tensor.New(tensor.Int64, 0)))
}

// lossOf computes the loss as the graph stands.
func lossOf(t *testing.T, g *graph.Graph, loss *graph.Value, p *kernel.Pool, x []*tensor.Tensor) float64 {
	t.Helper()
	outputs := g.Outputs
	g.Outputs = []*graph.Value{loss}
	defer func() { g.Outputs = outputs }()
	return float64(optest.Outputs(t, g, graph.Options{Pool: p}, x...)[0].F32()[0])
}

func checkDirection(t *testing.T, g *graph.Graph, p *kernel.Pool, x []*tensor.Tensor, h float64, rng *rand.Rand) {
	t.Helper()
	s := optest.Session(t, g, graph.Options{Pool: p})
	run := func(in []*tensor.Tensor) []*tensor.Tensor {
		out, err := s.Run(context.Background(), in, nil)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	base := run(x)
	// Far enough that rounding of the loss does not show, and near enough that no
	// element crosses a kink or overtakes another.
	if h == 0 {
		h = 1.0 / 512
	}
	for i := range x {
		direction := make([]float32, x[i].Len())
		want := 0.0
		for j := range direction {
			direction[j] = float32(2*rng.IntN(2) - 1)
			want += float64(direction[j]) * float64(base[i+1].F32()[j])
		}
		at := func(step float32) float64 {
			moved := append([]*tensor.Tensor{}, x...)
			moved[i] = x[i].Clone()
			for j, d := range direction {
				moved[i].F32()[j] += step * d * float32(h)
			}
			return float64(run(moved)[0].F32()[0])
		}
		// Fourth-order central difference.
		got := (8*(at(1)-at(-1)) - (at(2) - at(-2))) / (12 * h)
		if scale := max(1, math.Abs(want)); !(math.Abs(got-want) <= 0.005*scale) {
			t.Errorf("input %d: finite difference %v, gradient %v", i, got, want)
		}
	}
}
