package pass_test

import (
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/pass"
	"tandem/kernel"
	"tandem/tensor"
)

// TestOutputsLeftOut: a node may lack its first output, as a GRU of which only the last
// state is used, and no pass may trip over it.
func TestOutputsLeftOut(t *testing.T) {
	b := newBuilder(t)
	x := b.Input("x", tensor.Float32, graph.Sym("length"), graph.Const(1), graph.Const(4))
	states := b.Node(graph.OpID{Name: "GRU"}, 2, graph.Attrs{"hidden_size": int64(3)}, x, b.floats("w", 1, 9, 4), b.floats("r", 1, 9, 3))
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	states[1].Def.Outputs[0] = nil
	b.Output(states[1])
	pool := kernel.NewPool(1, kernel.Detect())
	defer pool.Close()
	if _, err := graph.Compile(b.G, graph.Options{Ops: op.Default(), Pool: pool, Passes: pass.Serving(pool, nil)}); err != nil {
		t.Fatal(err)
	}
}
