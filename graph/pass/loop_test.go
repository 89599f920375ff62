package pass_test

import (
	"slices"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/op/optest"
	"tandem/graph/pass"
	"tandem/kernel"
	"tandem/tensor"
)

// loopOfProducts is h·w, n times, with w carried unchanged.
func loopOfProducts(t *testing.T) (builder, *graph.Node) {
	inner := graph.NewBuilder("", op.Default())
	inner.Input("i", tensor.Int64)
	on := inner.Input("on", tensor.Bool)
	h, w := inner.Input("h", tensor.Float32, graph.Const(1), graph.Const(2)), inner.Input("w", tensor.Float32, graph.Const(2), graph.Const(2))
	next := inner.Op("MatMul", nil, h, w)
	for _, v := range []*graph.Value{inner.Op("Identity", nil, on), next, inner.Op("Identity", nil, w), inner.Op("Identity", nil, next)} {
		inner.Output(v)
	}
	b := newBuilder(t)
	x := b.Input("x", tensor.Float32, graph.Const(1), graph.Const(2))
	weight := b.Const("weight", tensor.Of([]float32{0, 1, 1, 1}, 2, 2))
	out := b.Node(graph.OpID{Name: "Loop"}, 3, graph.Attrs{"body": inner.G}, b.Const("n", tensor.Scalar(int64(3))), nil, x, weight)
	for i, name := range []string{"last", "w", "all"} {
		out[i].Name = name
	}
	b.Output(out[0])
	b.Output(b.node("sum", "Add", out[1], out[1]))
	b.Output(out[2])
	if b.Err() != nil || inner.Err() != nil {
		t.Fatal(b.Err(), inner.Err())
	}
	return b, out[0].Def
}

func TestLoopInvariants(t *testing.T) {
	b, loop := loopOfProducts(t)
	before := runGraph(t, b.G, nil)
	check(t, b.G, pass.LoopInvariants(), `
last, all = Loop(n, -, x)
sum = Add(weight, weight)
-> last, sum, all
`)
	if body := text(loop.Attrs["body"].(*graph.Graph)); body != `MatMul = MatMul(h, weight)
Identity = Identity(on)
Identity_1 = Identity(weight)
Identity_2 = Identity(MatMul)
-> Identity, MatMul, Identity_2
` {
		t.Errorf("the body is\n%s", body)
	}
	p := kernel.NewPool(1, kernel.Detect())
	defer p.Close()
	after := runGraph(t, b.G, []graph.Pass{pass.Pack(p, nil)})
	for i := range before {
		if !slices.Equal(before[i].F32(), after[i].F32()) {
			t.Errorf("output %d was %v, is %v", i, before[i].F32(), after[i].F32())
		}
	}
	if got := after[0].F32(); !slices.Equal(got, []float32{5, 8}) { // 1,2 → 2,3 → 3,5 → 5,8
		t.Errorf("the last value is %v", got)
	}
}

// TestLoopInvariantThatIsAnOutput: the graph's own output stays what the loop gives.
func TestLoopInvariantThatIsAnOutput(t *testing.T) {
	b, loop := loopOfProducts(t)
	b.Output(loop.Outputs[1])
	want := text(b.G)
	check(t, b.G, pass.LoopInvariants(), want)
}

func runGraph(t *testing.T, g *graph.Graph, passes []graph.Pass) []*tensor.Tensor {
	t.Helper()
	return runOn(t, g, passes, tensor.Of([]float32{1, 2}, 1, 2))
}

// runOn compiles a graph of one input and runs it.
func runOn(t *testing.T, g *graph.Graph, passes []graph.Pass, x *tensor.Tensor) []*tensor.Tensor {
	t.Helper()
	return optest.Outputs(t, g, graph.Options{Passes: passes}, x)
}
