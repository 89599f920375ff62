package control_test

import (
	"testing"

	"tandem/graph"
	"tandem/graph/op/optest"
	"tandem/tensor"
)

func floats1(v ...float32) *tensor.Tensor { return tensor.Of(v, len(v)) }
func long(v int64) *tensor.Tensor         { return tensor.Scalar(v) }
func sequence(x ...*tensor.Tensor) *tensor.Tensor {
	return tensor.OfTensors(tensor.Sequence, x)
}
func maybe(x ...*tensor.Tensor) *tensor.Tensor { return tensor.OfTensors(tensor.Optional, x) }

func TestSequences(t *testing.T) {
	a, b, c := floats1(1, 2), floats1(3), floats1(4, 5)
	three := tensor.Of([]float32{1, 2, 3, 4, 5, 6}, 2, 3)
	packed := tensor.New(tensor.Uint4, 3)
	copy(packed.Bytes(), []byte{0x21, 0x03})
	in := func(x ...*tensor.Tensor) []*tensor.Tensor { return x }
	optest.Rows(t, "", 1, []optest.Row{
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
		{"SplitToSequence", graph.Attrs{"axis": int64(1)}, in(three, optest.Ints(0, 3)), "[2x0 []; 2x3 [1 2 3 4 5 6]]"},
		{"SplitToSequence", graph.Attrs{"axis": int64(1)}, in(three, optest.Ints(1, 1)), "do not add up"},
		{"SplitToSequence", graph.Attrs{"axis": int64(1)}, in(three, optest.Ints(4, -1)), "do not divide"},
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
