package pass

import (
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/tensor"
)

// TestBodiesKeepWhatTheyRead: a value that only an inner graph reads is not dead,
// and a view whose type is not known yet is not taken for one that changes nothing.
func TestBodiesKeepWhatTheyRead(t *testing.T) {
	b := graph.NewBuilder("", op.Default())
	on := b.Input("on", tensor.Bool)
	x := b.Input("x", tensor.Float32, graph.Const(2))
	neg := b.Op("Neg", nil, x)
	branch := func() *graph.Graph {
		inner := graph.NewBuilder("", op.Default())
		inner.Output(inner.Op("Abs", nil, neg))
		return inner.G
	}
	chosen := b.Op("If", graph.Attrs{"then_branch": branch(), "else_branch": branch()}, on)
	shaped := b.Op("Reshape", nil, chosen, b.Const("shape", tensor.Of([]int64{2, 1}, 2)))
	b.Output(b.Op("Neg", nil, shaped))
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	for _, p := range []graph.Pass{Views(), Dead()} {
		if err := p.Run(b.G, op.Default()); err != nil {
			t.Fatal(err)
		}
	}
	if len(b.G.Nodes) != 4 {
		t.Errorf("nodes %v, expected Neg, If, Reshape, Neg", b.G.Nodes)
	}
}
