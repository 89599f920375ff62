package op_test

import (
	"context"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/tensor"
)

// TestSmallShapesStayPrepared counts how often a kernel is prepared: once for each of many
// small shapes, however often they return; anew where what they take is too much to keep.
func TestSmallShapesStayPrepared(t *testing.T) {
	prepared := 0
	count := graph.Op{ID: graph.OpID{Domain: "test", Name: "Counted"}, Since: 1, Infer: func(c *graph.Infer) error {
		c.Out(0, tensor.Float32, c.In(0).Shape)
		return nil
	}, Kernel: func(c *graph.Call) (func() error, error) {
		prepared++
		return func() error { copy(c.Out[0].F32(), c.F32(0)); return nil }, nil
	}}
	g := &graph.Graph{Opset: graph.Opsets()}
	g.Opset["test"] = 1
	b := graph.Extend(g, graph.NewTable(append(op.Lists(), []graph.Op{count})...))
	x := b.Input("x", tensor.Float32, graph.Sym("n"))
	b.Output(b.Op("Neg", nil, outside(b, "Counted", nil, x)))
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	// With a limit, twelve shapes of two MiB and more are too much to keep too.
	for _, tc := range []struct{ unit, shapes, limit, want int }{{1, 100, 0, 100}, {1 << 20, 20, 0, 40}, {1 << 18, 12, 0, 12}, {1 << 18, 12, 64 << 20, 24}} {
		prog, err := graph.Compile(b.G, graph.Options{Ops: b.Ops, Pool: pool(t, 1), MemoryLimitBytes: tc.limit})
		if err != nil {
			t.Fatal(err)
		}
		s, err := prog.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		prepared = 0
		for range 2 {
			for i := range tc.shapes {
				if _, err := s.Run(context.Background(), []*tensor.Tensor{tensor.New(tensor.Float32, tc.unit+i)}, nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		s.Close()
		if prepared != tc.want {
			t.Errorf("%d shapes of %d elements and more, limit %d: prepared %d times, want %d", tc.shapes, tc.unit, tc.limit, prepared, tc.want)
		}
	}
}
