package control_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/op/optest"
	"tandem/tensor"
)

// inner makes a body: build gets its inputs and gives its outputs.
func inner(t *testing.T, inputs int, build func(b *graph.Builder, in []*graph.Value) []*graph.Value) *graph.Graph {
	t.Helper()
	b := graph.Extend(&graph.Graph{Opset: graph.Opsets()}, op.Default())
	var in []*graph.Value
	for range inputs {
		v := &graph.Value{Name: "in"}
		in, b.G.Inputs = append(in, v), append(b.G.Inputs, v)
	}
	for _, v := range build(b, in) {
		b.Output(v)
	}
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	return b.G
}

// sums is a Loop body: the value carried grows by the iteration, and is gathered;
// the loop goes on while it is below limit.
func sums(t *testing.T, limit int64) *graph.Graph {
	return inner(t, 3, func(b *graph.Builder, in []*graph.Value) []*graph.Value {
		next := b.Op("Add", nil, in[2], in[0])
		on := b.Op("Less", nil, next, b.Const("limit", tensor.Scalar(limit)))
		next2 := b.Op("Identity", nil, next)
		next2.Type = graph.Type{DType: tensor.Int64, Shape: graph.Shape{}}
		return []*graph.Value{on, next, next2}
	})
}

func TestIf(t *testing.T) {
	branch := func(v float32) *graph.Graph {
		return inner(t, 0, func(b *graph.Builder, _ []*graph.Value) []*graph.Value {
			return []*graph.Value{b.Const("c", tensor.Scalar(v))}
		})
	}
	a := graph.Attrs{"then_branch": branch(1), "else_branch": branch(2)}
	in := func(x *tensor.Tensor) []*tensor.Tensor { return []*tensor.Tensor{x} }
	optest.Rows(t, "", 1, []optest.Row{
		{"If", a, in(tensor.Scalar(true)), "scalar [1]"},
		{"If", a, in(tensor.Of([]bool{false}, 1)), "scalar [2]"},
		{"If", a, in(long(1)), "the condition is int64[scalar], expected one bool"},
		{"If", graph.Attrs{"then_branch": branch(1)}, in(tensor.Scalar(false)), `no inner graph "else_branch"`},
	})
	optest.Rows(t, "", 2, []optest.Row{{"If", a, in(tensor.Scalar(true)), "gives 1 outputs, the node has 2"}})
}

func TestLoop(t *testing.T) {
	on, off := tensor.Scalar(true), tensor.Scalar(false)
	a := graph.Attrs{"body": sums(t, 20)}
	in := func(x ...*tensor.Tensor) []*tensor.Tensor { return x }
	optest.Rows(t, "", 2, []optest.Row{
		{"Loop", a, in(long(4), on, long(10)), "scalar [16]; 4 [10 11 13 16]"},
		{"Loop", a, in(long(100), nil, long(10)), "scalar [20]; 5 [10 11 13 16 20]"},
		{"Loop", a, in(nil, nil, long(10)), "scalar [20]; 5 [10 11 13 16 20]"},
		{"Loop", a, in(long(0), nil, long(10)), "scalar [10]; 0 []"},
		{"Loop", a, in(nil, off, long(10)), "scalar [10]; 0 []"},
		{"Loop", a, in(nil, nil, nil), "input 2 is missing"},
		{"Loop", a, in(nil, nil, long(10), long(10)), "its body has 3 inputs"},
		{"Loop", a, in(floats1(1), nil, long(10)), "the number of iterations is float32[1]"},
		{"Loop", nil, in(long(4), on, long(10)), "attribute body is missing"},
	})
	optest.Rows(t, "", 3, []optest.Row{{"Loop", a, in(long(4), on, long(10)), "it has 3 outputs, its body gives 2"}})
}

// TestLoopEndsWithItsContext: a condition that stays true is no endless loop.
func TestLoopEndsWithItsContext(t *testing.T) {
	body := inner(t, 2, func(_ *graph.Builder, in []*graph.Value) []*graph.Value { return []*graph.Value{in[1], in[0]} })
	body.Inputs[0].Type = graph.Type{DType: tensor.Int64, Shape: graph.Shape{}}
	b := graph.NewBuilder("", op.Default())
	b.Output(b.Op("Loop", graph.Attrs{"body": body}, nil, nil))
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := optest.Session(t, b.G, graph.Options{}).Run(ctx, nil, nil); err == nil || !strings.Contains(err.Error(), "deadline") {
		t.Errorf("%v", err)
	}
}

// TestLoopStaysWithinMemory: a loop that gathers or carries more and more.
func TestLoopStaysWithinMemory(t *testing.T) {
	big := tensor.New(tensor.Float32, 1<<10)
	gather := inner(t, 3, func(b *graph.Builder, in []*graph.Value) []*graph.Value {
		return []*graph.Value{in[1], in[2], b.Const("big", big)}
	})
	grow := inner(t, 3, func(b *graph.Builder, in []*graph.Value) []*graph.Value {
		return []*graph.Value{in[1], b.Op("ConcatFromSequence", graph.Attrs{"axis": int64(0)}, b.Op("SequenceConstruct", nil, in[2], in[2]))}
	})
	for name, body := range map[string]*graph.Graph{"gathered": gather, "carried": grow} {
		b := graph.NewBuilder("", op.Default())
		b.Output(b.Op("Loop", graph.Attrs{"body": body}, nil, nil, b.Const("start", big)))
		if b.Err() != nil {
			t.Fatal(b.Err())
		}
		if _, err := optest.Session(t, b.G, graph.Options{MemoryLimitBytes: 1 << 20}).Run(t.Context(), nil, nil); err == nil || !strings.Contains(err.Error(), "more than 1 MiB") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// sumScan is a Scan body: the sum so far, which is state, and twice each slice.
func sumScan(t *testing.T) *graph.Graph {
	return inner(t, 2, func(b *graph.Builder, in []*graph.Value) []*graph.Value {
		return []*graph.Value{b.Op("Add", nil, in[0], in[1]), b.Op("Add", nil, in[1], in[1])}
	})
}

func TestScan(t *testing.T) {
	x := tensor.Of([]float32{1, 2, 3, 4, 5, 6}, 3, 2)
	with := func(more ...any) graph.Attrs {
		a := graph.Attrs{"body": sumScan(t), "num_scan_inputs": int64(1)}
		for i := 0; i < len(more); i += 2 {
			a[more[i].(string)] = more[i+1]
		}
		return a
	}
	in := func(x ...*tensor.Tensor) []*tensor.Tensor { return x }
	start := floats1(0, 10)
	optest.Rows(t, "", 2, []optest.Row{
		{"Scan", with(), in(start, x), "2 [9 22]; 3x2 [2 4 6 8 10 12]"},
		{"Scan", with("scan_output_axes", []int64{-1}), in(start, x), "2 [9 22]; 2x3 [2 6 10 4 8 12]"},
		{"Scan", with("scan_output_directions", []int64{1}), in(start, x), "2 [9 22]; 3x2 [10 12 6 8 2 4]"},
		{"Scan", with("scan_input_directions", []int64{1}), in(start, x), "2 [9 22]; 3x2 [10 12 6 8 2 4]"},
		{"Scan", with("scan_input_axes", []int64{1}), in(floats1(0, 0, 0), x), "3 [3 7 11]; 2x3 [2 6 10 4 8 12]"},
		{"Scan", with("scan_input_axes", []int64{2}), in(start, x), "axis 2 is outside"},
		{"Scan", with("scan_input_axes", []int64{0, 1}), in(start, x), "attribute scan_input_axes has 2 numbers, expected 1"},
		{"Scan", with("num_scan_inputs", int64(3)), in(start, x), "it scans 3 of its 2 inputs"},
		{"Scan", with("num_scan_inputs", int64(0)), in(start, x), "it scans 0 of its 2 inputs"},
	})
}

// TestScan8 has a batch of two rows of different lengths.
func TestScan8(t *testing.T) {
	g := &graph.Graph{Opset: map[string]int{"": 8}}
	b := graph.Extend(g, op.Default())
	in := []*graph.Value{b.Input("lens", tensor.Int64, graph.Const(2)), b.Input("state", tensor.Float32, graph.Const(2), graph.Const(1)),
		b.Input("x", tensor.Float32, graph.Const(2), graph.Const(3), graph.Const(1))}
	for _, y := range b.Node(graph.OpID{Name: "Scan"}, 2, graph.Attrs{"body": sumScan(t), "num_scan_inputs": int64(1), "directions": []int64{1}}, in...) {
		b.Output(y)
	}
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	s := optest.Session(t, g, graph.Options{})
	x := tensor.Of([]float32{1, 2, 3, 4, 5, 6}, 2, 3, 1)
	out, err := s.Run(context.Background(), []*tensor.Tensor{optest.Ints(3, 2), tensor.Of([]float32{0, 100}, 2, 1), x}, nil)
	if err != nil || optest.Text(out...) != "2x1 [6 109]; 2x3x1 [6 4 2 10 8 0]" {
		t.Errorf("%v %v", optest.Text(out...), err)
	}
	if _, err := s.Run(context.Background(), []*tensor.Tensor{optest.Ints(3, 4), tensor.Of([]float32{0, 100}, 2, 1), x}, nil); err == nil || !strings.Contains(err.Error(), "length 1 is 4") {
		t.Errorf("%v", err)
	}
}

func TestSequenceMap(t *testing.T) {
	body := inner(t, 2, func(b *graph.Builder, in []*graph.Value) []*graph.Value {
		return []*graph.Value{b.Op("Add", nil, in[0], in[1]), in[0]}
	})
	a := graph.Attrs{"body": body}
	in := func(x ...*tensor.Tensor) []*tensor.Tensor { return x }
	l := sequence(floats1(1), floats1(2, 3))
	optest.Rows(t, "", 2, []optest.Row{
		{"SequenceMap", a, in(l, floats1(10)), "[1 [11]; 2 [12 13]]; [1 [1]; 2 [2 3]]"},
		{"SequenceMap", a, in(l, l), "[1 [2]; 2 [4 6]]; [1 [1]; 2 [2 3]]"},
		{"SequenceMap", a, in(sequence(), l), "[]; []"},
		{"SequenceMap", a, in(l, sequence(floats1(1))), "input 1 has 1 elements, input 0 has 2"},
		{"SequenceMap", a, in(floats1(1), l), "expected a sequence"},
	})
}
