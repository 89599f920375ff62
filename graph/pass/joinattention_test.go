package pass_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/op/optest"
	"tandem/graph/pass"
	"tandem/kernel"
	"tandem/tensor"
)

// attentionOfParts is attention of what x [2, 53, 24] is split into, and the gradient of
// its sum of squares with respect to x.
func attentionOfParts(t *testing.T, heads, kv int64, attrs graph.Attrs, masked bool) *graph.Graph {
	b := graph.NewBuilder("g", op.Default())
	b.G.Opset[""] = 23
	x := b.Input("x", tensor.Float32, graph.Const(2), graph.Const(53), graph.Const(24))
	width := 24 / (heads + 2*kv)
	parts := b.Node(graph.OpID{Name: "Split"}, 3, graph.Attrs{"axis": int64(-1)}, x,
		b.Const("parts", tensor.Of([]int64{heads * width, kv * width, kv * width}, 3)))
	if attrs == nil {
		attrs = graph.Attrs{}
	}
	attrs["q_num_heads"], attrs["kv_num_heads"] = heads, kv
	inputs := slices.Clone(parts)
	if masked {
		mask := make([]bool, 53*53)
		for i := range mask {
			mask[i] = i%3 > 0 || i%53 == 0
		}
		inputs = append(inputs, b.Const("mask", tensor.Of(mask, 53, 53)))
	}
	y := b.Op("Attention", attrs, inputs...)
	loss := b.Op("ReduceSum", graph.Attrs{"keepdims": int64(0)}, b.Op("Mul", nil, y, y))
	grads, err := graph.Grad(b, loss, []*graph.Value{x})
	if err != nil {
		t.Fatal(err)
	}
	b.Output(y)
	b.Output(grads[0])
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	return b.G
}

// results of a graph with one input, after some passes, on so many threads.
func results(t *testing.T, g *graph.Graph, x *tensor.Tensor, threads int, passes ...graph.Pass) []*tensor.Tensor {
	p := kernel.NewPool(threads, kernel.Detect())
	defer p.Close()
	return optest.Outputs(t, g, graph.Options{Pool: p, Passes: passes}, x)
}

// TestJoinAttention: the same bits forward and back, with nothing split or put together.
func TestJoinAttention(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	x := tensor.New(tensor.Float32, 2, 53, 24)
	for i := range x.F32() {
		x.F32()[i] = float32(r.NormFloat64())
	}
	for name, build := range map[string]func() *graph.Graph{
		"plain":        func() *graph.Graph { return attentionOfParts(t, 2, 2, nil, false) },
		"causal":       func() *graph.Graph { return attentionOfParts(t, 2, 2, graph.Attrs{"is_causal": int64(1)}, false) },
		"shared heads": func() *graph.Graph { return attentionOfParts(t, 4, 1, graph.Attrs{"scale": float32(0.4)}, false) },
		"mask":         func() *graph.Graph { return attentionOfParts(t, 4, 2, graph.Attrs{"is_causal": int64(1)}, true) },
	} {
		want := results(t, build(), x, 1)
		for _, threads := range []int{1, 2} {
			got := results(t, build(), x, threads, pass.JoinAttention())
			for i := range want {
				if !slices.Equal(got[i].F32(), want[i].F32()) {
					t.Errorf("%s, %d threads: output %d has other bits", name, threads, i)
				}
			}
		}
		g := build()
		if err := pass.JoinAttention().Run(g, op.Default()); err != nil {
			t.Fatal(err)
		}
		after := text(g)
		if strings.Contains(after, "= Split(") || strings.Contains(after, "tandem.SplitGrad") || !strings.Contains(after, "tandem.JointAttention(") || !strings.Contains(after, "tandem.JointAttentionGrad(") {
			t.Errorf("%s:\n%s", name, after)
		}
	}
}

// TestJoinAttentionLeaves: parts that something else reads stay.
func TestJoinAttentionLeaves(t *testing.T) {
	g := attentionOfParts(t, 2, 2, nil, false)
	for _, n := range g.Nodes {
		if n.Op.Name == "Split" {
			g.Outputs = append(g.Outputs, n.Outputs[1])
		}
	}
	if err := pass.Dead().Run(g, op.Default()); err != nil {
		t.Fatal(err)
	}
	before := text(g)
	if err := pass.JoinAttention().Run(g, op.Default()); err != nil {
		t.Fatal(err)
	}
	if after := text(g); after != before {
		t.Errorf("after:\n%s\nbefore:\n%s", after, before)
	}
}
