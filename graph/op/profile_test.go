package op_test

import (
	"context"
	"testing"
	"time"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/tensor"
)

// twoProducts is x [n, 8] times [8, 16] twice, with Relu between, in a body if asked for.
func twoProducts(t *testing.T) *graph.Graph {
	b := graph.NewBuilder("", op.Default())
	x := b.Input("x", tensor.Float32, graph.Sym("n"), graph.Const(8))
	h := b.Op("Relu", nil, b.Op("MatMul", nil, x, b.Const("w", tensor.New(tensor.Float32, 8, 16))))
	b.Output(b.Op("MatMul", nil, h, b.Const("v", tensor.New(tensor.Float32, 16, 16))))
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	return b.G
}

func TestProfile(t *testing.T) {
	p := graph.NewProfile()
	prog, err := graph.Compile(twoProducts(t), graph.Options{Ops: op.Default(), Pool: pool(t, 1), Profile: p})
	if err != nil {
		t.Fatal(err)
	}
	s, err := prog.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 3 {
		if _, err := s.Run(context.Background(), []*tensor.Tensor{tensor.New(tensor.Float32, 4, 8)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]float64{
		"MatMul 4x8, 8x16 → 4x16":   2 * 4 * 8 * 16,
		"MatMul 4x16, 16x16 → 4x16": 2 * 4 * 16 * 16,
		"Relu 4x16 → 4x16":          4 * 16,
	}
	rows := p.Rows()
	for _, r := range rows {
		if name := r.Op.String() + " " + r.Shapes; r.Calls != 3 || r.Work != 3*want[name] || r.Time <= 0 {
			t.Errorf("%s: %d calls, %v operations, %v; want 3 calls of %v", name, r.Calls, r.Work, r.Time, want[name])
		}
	}
	if len(rows) != len(want) {
		t.Errorf("rows %v", rows)
	}
	if p.Reset(); len(p.Rows()) != 0 {
		t.Error("Reset leaves rows")
	}
}

// TestProfileOfBodies: the time of inner nodes is theirs, not that of the loop too.
func TestProfileOfBodies(t *testing.T) {
	body := graph.NewBuilder("", op.Default())
	body.Input("i", tensor.Int64)
	on := body.Input("on", tensor.Bool)
	v := body.Input("v", tensor.Float32, graph.Const(256), graph.Const(256))
	body.Output(body.Op("Identity", nil, on))
	body.Output(body.Op("MatMul", nil, v, v))
	b := graph.NewBuilder("", op.Default())
	x := b.Input("x", tensor.Float32, graph.Const(256), graph.Const(256))
	b.Output(b.Op("Loop", graph.Attrs{"body": body.G}, b.Const("n", tensor.Scalar(int64(5))), nil, x))
	p := graph.NewProfile()
	prog, err := graph.Compile(b.G, graph.Options{Ops: op.Default(), Pool: pool(t, 1), Profile: p})
	if err != nil {
		t.Fatal(err)
	}
	s, err := prog.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	begin := time.Now()
	if _, err := s.Run(context.Background(), []*tensor.Tensor{tensor.New(tensor.Float32, 256, 256)}, nil); err != nil {
		t.Fatal(err)
	}
	took, sum := time.Since(begin), time.Duration(0)
	for _, r := range p.Rows() {
		sum += r.Time
		if r.Op.Name == "MatMul" && r.Calls != 5 || r.Op.Name == "Loop" && r.Calls != 1 {
			t.Errorf("%v: %d calls", r.Op, r.Calls)
		}
	}
	if sum > took {
		t.Errorf("the rows add up to %v, the run took %v", sum, took)
	}
}

// TestEstimate: what a run takes without running it.
func TestEstimate(t *testing.T) {
	opt := graph.Options{Ops: op.Default(), Pool: pool(t, 1)}
	e, err := graph.EstimateRun(twoProducts(t), opt, []tensor.Shape{{4, 8}})
	if err != nil {
		t.Fatal(err)
	}
	// The first product and Relu share 4·16 floats, the second has its own.
	if want := (graph.Estimate{Work: 2*4*8*16 + 4*16 + 2*4*16*16, WorkingBytes: 2 * 4 * 4 * 16}); e != want {
		t.Errorf("%+v, want %+v", e, want)
	}
	b := graph.NewBuilder("", op.Default())
	b.Output(b.Op("NonZero", nil, b.Input("x", tensor.Float32, graph.Sym("n"))))
	if e, err := graph.EstimateRun(b.G, opt, []tensor.Shape{{4}}); err != nil || e.Unknown != 1 {
		t.Errorf("%+v (%v), want one node that is unknown", e, err)
	}
	if _, err := graph.EstimateRun(b.G, opt, nil); err == nil {
		t.Error("no shapes are taken")
	}
}
