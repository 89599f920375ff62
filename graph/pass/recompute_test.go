package pass_test

import (
	"context"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/pass"
	"tandem/kernel"
	"tandem/tensor"
)

// TestRecompute: what a gradient reads of the first segment is computed again, from
// what the segment hands on and the input; the last segment stays.
func TestRecompute(t *testing.T) {
	b := newBuilder(t)
	x := b.Input("x", tensor.Float32, graph.Dims(2, 3)...)
	a := b.node("a", "Tanh", x)
	c := b.node("c", "Sigmoid", a)
	d := b.node("d", "Tanh", c)
	loss := b.node("loss", "ReduceSum", d)
	// The backward pass, as Grad would write it, with the names that it reads.
	dd := b.Private("TanhGrad", nil, d, d)
	dc := b.Private("SigmoidGrad", nil, dd, c)
	da := b.Private("TanhGrad", nil, dc, a)
	for name, v := range map[string]*graph.Value{"dd": dd, "dc": dc, "da": da} {
		v.Name = name
	}
	b.G.Outputs = []*graph.Value{loss}
	if err := pass.Recompute().Run(b.G, op.Default()); err != nil {
		t.Fatal(err)
	}
	want := `a = Tanh(x)
c = Sigmoid(a)
d = Tanh(c)
loss = ReduceSum(d)
dd = tandem.TanhGrad(d, d)
dc = tandem.SigmoidGrad(dd, c)
a.again = Tanh(x)
da = tandem.TanhGrad(dc, a.again)
-> loss
`
	if got := text(b.G); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// TestRecomputeSavesMemory: a chain of layers whose gradient reads every result takes
// less working memory, and gives the same bits.
func TestRecomputeSavesMemory(t *testing.T) {
	pool := kernel.NewPool(1, kernel.Detect())
	defer pool.Close()
	const layers, rows, width = 36, 64, 64
	var outputs [2]*tensor.Tensor
	var bytes [2]int
	for i, passes := range [][]graph.Pass{nil, {pass.Recompute()}} {
		b := graph.NewBuilder("chain", op.Default())
		x := b.Input("x", tensor.Float32, graph.Dims(rows, width)...)
		y := x
		for range layers {
			y = b.Op("Sin", nil, b.Op("Tanh", nil, y))
		}
		loss := b.Op("ReduceSum", graph.Attrs{"keepdims": int64(0)}, y)
		grads, err := graph.Grad(b, loss, []*graph.Value{x})
		if err != nil || b.Err() != nil {
			t.Fatal(err, b.Err())
		}
		// The gradient is read by a node behind the loss, as an update is.
		b.G.Outputs = []*graph.Value{loss}
		opt := graph.Options{Ops: op.Default(), Pool: pool, Passes: append(passes, graph.Pass{Name: "keep", Run: func(g *graph.Graph, _ *graph.Table) error {
			g.Outputs = append(g.Outputs, g.Nodes[len(g.Nodes)-1].Outputs[0])
			return nil
		}})}
		if grads[0].Def != b.G.Nodes[len(b.G.Nodes)-1] {
			t.Fatal("the last node is not the gradient's")
		}
		e, err := graph.EstimateRun(b.G, opt, []tensor.Shape{{rows, width}})
		if err != nil {
			t.Fatal(err)
		}
		bytes[i] = e.WorkingBytes
		prog, err := graph.Compile(b.G, opt)
		if err != nil {
			t.Fatal(err)
		}
		s, err := prog.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		in := tensor.New(tensor.Float32, rows, width)
		for j := range in.F32() {
			in.F32()[j] = float32(j%97)/50 - 1
		}
		out, err := s.Run(context.Background(), []*tensor.Tensor{in}, nil)
		s.Close()
		if err != nil {
			t.Fatal(err)
		}
		outputs[i] = out[1]
	}
	if string(outputs[0].Bytes()) != string(outputs[1].Bytes()) {
		t.Error("the gradient has other bits")
	}
	if 3*bytes[1] > bytes[0] {
		t.Errorf("%d bytes of working memory, %d without: expected less than a third", bytes[1], bytes[0])
	}
	t.Logf("%d KiB with, %d KiB without", bytes[1]>>10, bytes[0]>>10)
}
