package op_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/tensor"
)

// applyNode runs one node on inputs, of which nil ones are absent.
func applyNode(t *testing.T, id graph.OpID, outputs int, a graph.Attrs, in ...*tensor.Tensor) ([]*tensor.Tensor, error) {
	t.Helper()
	g := &graph.Graph{Opset: graph.Opsets()}
	g.Opset["ai.onnx.ml"] = 5
	b := graph.Extend(g, op.Default())
	var values []*graph.Value
	var given []*tensor.Tensor
	for i, x := range in {
		if x == nil {
			values = append(values, nil)
			continue
		}
		v := b.Input(fmt.Sprint("x", i), x.DType(), graph.Dims(x.Shape()...)...)
		if x.DType().List() {
			v.Type = graph.Type{DType: x.DType()}
		}
		values, given = append(values, v), append(given, x)
	}
	for _, y := range b.Node(id, outputs, a, values...) {
		b.Output(y)
	}
	if b.Err() != nil {
		return nil, b.Err()
	}
	prog, err := graph.Compile(g, graph.Options{Ops: op.Default(), Pool: pool(t, 1)})
	if err != nil {
		return nil, err
	}
	s, err := prog.NewSession()
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return s.Run(context.Background(), given, nil)
}

// shown writes values as text: type, shape and elements.
func shown(list ...*tensor.Tensor) string {
	var parts []string
	for _, x := range list {
		switch x.DType() {
		case tensor.Sequence:
			parts = append(parts, "["+shown(x.Items()...)+"]")
		case tensor.Optional:
			parts = append(parts, "?("+shown(x.Items()...)+")")
		case tensor.Float32:
			parts = append(parts, fmt.Sprint(x.Shape(), x.F32()))
		case tensor.Int64:
			parts = append(parts, fmt.Sprint(x.Shape(), x.I64()))
		case tensor.String:
			parts = append(parts, fmt.Sprintf("%v%q", x.Shape(), x.Strings()))
		default:
			parts = append(parts, fmt.Sprint(x.DType(), x.Shape(), x.Bytes()))
		}
	}
	return strings.Join(parts, "; ")
}

func floats1(v ...float32) *tensor.Tensor { return tensor.Of(v, len(v)) }
func longs1(v ...int64) *tensor.Tensor    { return tensor.Of(v, len(v)) }
func long(v int64) *tensor.Tensor         { return tensor.Scalar(v) }
func sequence(x ...*tensor.Tensor) *tensor.Tensor {
	return tensor.OfTensors(tensor.Sequence, x)
}
func maybe(x ...*tensor.Tensor) *tensor.Tensor { return tensor.OfTensors(tensor.Optional, x) }

// wanted is a row of a table of nodes and what they give: values as shown writes
// them, or an error that contains the text.
type wanted struct {
	op    string
	attrs graph.Attrs
	in    []*tensor.Tensor
	want  string
}

func checkAll(t *testing.T, domain string, outputs int, rows []wanted) {
	t.Helper()
	for _, r := range rows {
		out, err := applyNode(t, graph.OpID{Domain: domain, Name: r.op}, outputs, r.attrs, r.in...)
		if err != nil {
			if !strings.Contains(err.Error(), r.want) {
				t.Errorf("%s %v of %s: %v, want %s", r.op, r.attrs, shown(present(r.in)...), err, r.want)
			}
			continue
		}
		if got := shown(out...); got != r.want {
			t.Errorf("%s %v of %s: %s, want %s", r.op, r.attrs, shown(present(r.in)...), got, r.want)
		}
	}
}

func present(in []*tensor.Tensor) []*tensor.Tensor {
	return slices.DeleteFunc(slices.Clone(in), func(x *tensor.Tensor) bool { return x == nil })
}

func TestSequences(t *testing.T) {
	a, b, c := floats1(1, 2), floats1(3), floats1(4, 5)
	three := tensor.Of([]float32{1, 2, 3, 4, 5, 6}, 2, 3)
	packed := tensor.New(tensor.Uint4, 3)
	copy(packed.Bytes(), []byte{0x21, 0x03})
	in := func(x ...*tensor.Tensor) []*tensor.Tensor { return x }
	checkAll(t, "", 1, []wanted{
		{"SequenceConstruct", nil, in(a, b), "[2 [1 2]; 1 [3]]"},
		{"SequenceConstruct", nil, in(a, long(1)), "the elements of a sequence are of one type"},
		{"SequenceEmpty", nil, nil, "[]"},
		{"SequenceLength", nil, in(sequence(a, b)), "scalar [2]"},
		{"SequenceLength", nil, in(a), "expected a sequence"},
		{"SequenceInsert", nil, in(sequence(a, b), c), "[2 [1 2]; 1 [3]; 2 [4 5]]"},
		{"SequenceInsert", nil, in(sequence(a, b), c, long(0)), "[2 [4 5]; 2 [1 2]; 1 [3]]"},
		{"SequenceInsert", nil, in(sequence(a, b), c, long(-1)), "[2 [1 2]; 2 [4 5]; 1 [3]]"},
		{"SequenceInsert", nil, in(sequence(a, b), c, long(3)), "position 3 is outside [-2, 2] in a sequence of 2"},
		{"SequenceInsert", nil, in(sequence(a), long(3)), "is inserted into a sequence of float32"},
		{"SequenceErase", nil, in(sequence(a, b)), "[2 [1 2]]"},
		{"SequenceErase", nil, in(sequence(a, b), long(-2)), "[1 [3]]"},
		{"SequenceErase", nil, in(sequence()), "outside"},
		{"SequenceAt", nil, in(sequence(a, b), tensor.Scalar(int32(-1))), "1 [3]"},
		{"SequenceAt", nil, in(sequence(a, b), long(2)), "position 2 is outside [-2, 1]"},
		{"SplitToSequence", nil, in(a), "[1 [1]; 1 [2]]"},
		{"SplitToSequence", graph.Attrs{"keepdims": int64(0), "axis": int64(-1)}, in(three), "[2 [1 4]; 2 [2 5]; 2 [3 6]]"},
		{"SplitToSequence", graph.Attrs{"axis": int64(1)}, in(three, long(2)), "[2x2 [1 2 4 5]; 2x1 [3 6]]"},
		{"SplitToSequence", graph.Attrs{"axis": int64(1)}, in(three, longs1(0, 3)), "[2x0 []; 2x3 [1 2 3 4 5 6]]"},
		{"SplitToSequence", graph.Attrs{"axis": int64(1)}, in(three, longs1(1, 1)), "do not add up"},
		{"SplitToSequence", graph.Attrs{"axis": int64(1)}, in(three, longs1(4, -1)), "do not divide"},
		{"SplitToSequence", nil, in(three, long(0)), "pieces of length 0"},
		{"SplitToSequence", nil, in(packed, long(2)), "[uint4 2 [33]; uint4 1 [3]]"},
		{"ConcatFromSequence", graph.Attrs{"axis": int64(0)}, in(sequence(a, b)), "3 [1 2 3]"},
		{"ConcatFromSequence", graph.Attrs{"axis": int64(-1), "new_axis": int64(1)}, in(sequence(a, c)), "2x2 [1 4 2 5]"},
		{"ConcatFromSequence", graph.Attrs{"axis": int64(0), "new_axis": int64(1)}, in(sequence(a, b)), "cannot be joined"},
		{"ConcatFromSequence", graph.Attrs{"axis": int64(0)}, in(sequence(packed, packed)), "uint4 6 [33 19 50]"},
		{"ConcatFromSequence", graph.Attrs{"axis": int64(0)}, in(sequence()), "the sequence is empty"},
		{"ConcatFromSequence", nil, in(sequence(a)), "attribute axis is missing"},
		{"Optional", nil, in(a), "?(2 [1 2])"},
		{"Optional", nil, nil, "?()"},
		{"OptionalHasElement", nil, in(maybe(a)), "bool scalar [1]"},
		{"OptionalHasElement", nil, in(maybe()), "bool scalar [0]"},
		{"OptionalHasElement", nil, nil, "bool scalar [0]"},
		{"OptionalHasElement", nil, in(a), "bool scalar [1]"},
		{"OptionalGetElement", nil, in(maybe(sequence(a, b))), "[2 [1 2]; 1 [3]]"},
		{"OptionalGetElement", nil, in(a), "2 [1 2]"},
		{"OptionalGetElement", nil, in(maybe()), "the optional is empty"},
	})
}
