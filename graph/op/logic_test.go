package op_test

import (
	"slices"
	"testing"

	"tandem/graph"
	"tandem/tensor"
)

func TestTruthTables(t *testing.T) {
	// Foreign bytes: everything but 0 is true.
	a, _ := tensor.FromBytes(tensor.Bool, []byte{0, 0, 7, 1}, 4)
	b, _ := tensor.FromBytes(tensor.Bool, []byte{0, 2, 0, 255}, 4)
	for name, want := range map[string][]byte{"And": {0, 0, 0, 1}, "Or": {0, 1, 1, 1}, "Xor": {0, 1, 1, 0}, "Equal": {1, 0, 0, 1}} {
		y, err := apply(t, 21, graph.OpID{Name: name}, nil, a, b)
		if err != nil || !slices.Equal(y.Bytes(), want) {
			t.Errorf("%s: %v %v", name, y.Bytes(), err)
		}
	}
	y, err := apply(t, 21, graph.OpID{Name: "Not"}, nil, a)
	if err != nil || !slices.Equal(y.Bytes(), []byte{1, 1, 0, 0}) {
		t.Errorf("Not: %v %v", y, err)
	}
}

func TestBits(t *testing.T) {
	a, b := []float64{12, 5, 1, 7}, []float64{10, 3, 1, 8}
	for _, tc := range []struct {
		name string
		a    graph.Attrs
		want []float64
	}{
		{"BitwiseAnd", nil, []float64{8, 1, 1, 0}}, {"BitwiseOr", nil, []float64{14, 7, 1, 15}}, {"BitwiseXor", nil, []float64{6, 6, 0, 15}},
		{"BitShift", attrs("direction", "RIGHT"), []float64{0, 0, 0, 0}},
	} {
		for _, d := range []tensor.DType{tensor.Int8, tensor.Uint8, tensor.Int16, tensor.Uint32, tensor.Int64} {
			y, err := apply(t, 28, graph.OpID{Name: tc.name}, tc.a, of(t, d, a, 4), of(t, d, b, 4))
			if err != nil || !sameNumbers(numbersOf(y), tc.want, 0) {
				t.Errorf("%s of %v: %v", tc.name, d, err)
			}
		}
	}
	y, err := apply(t, 28, graph.OpID{Name: "BitShift"}, attrs("direction", "LEFT"), of(t, tensor.Uint8, []float64{1, 129, 3}, 3), of(t, tensor.Uint8, []float64{3, 1, 200}, 3))
	if err != nil || !sameNumbers(numbersOf(y), []float64{8, 2, 0}, 0) {
		t.Errorf("BitShift LEFT: %v", err)
	}
	y, err = apply(t, 28, graph.OpID{Name: "BitwiseNot"}, nil, of(t, tensor.Int16, []float64{0, -1, 5}, 3))
	if err != nil || !sameNumbers(numbersOf(y), []float64{-1, 0, -6}, 0) {
		t.Errorf("BitwiseNot: %v", err)
	}
}

func TestWhereMovesElementsOfAnyType(t *testing.T) {
	cond := tensor.Of([]bool{true, false}, 2, 1)
	for _, d := range append(numericTypes, tensor.Bool, tensor.Float8E4M3FN) {
		x, y := of(t, d, []float64{1, 1, 0}, 3), of(t, d, []float64{0, 1, 1}, 1, 3)
		z, err := apply(t, 16, graph.OpID{Name: "Where"}, nil, cond, x, y)
		if err != nil || !sameNumbers(numbersOf(z), []float64{1, 1, 0, 0, 1, 1}, 0) {
			t.Errorf("%v: %v %v", d, z, err)
		}
	}
	z, err := apply(t, 16, graph.OpID{Name: "Where"}, nil, cond, tensor.OfStrings([]string{"a"}, 1), tensor.OfStrings([]string{"b", "c"}, 2))
	if err != nil || !slices.Equal(z.Strings(), []string{"a", "a", "b", "c"}) {
		t.Errorf("strings: %v %v", z, err)
	}
	if _, err := apply(t, 16, graph.OpID{Name: "Where"}, nil, cond, of(t, tensor.Int8, []float64{1}, 1), of(t, tensor.Int16, []float64{1}, 1)); err == nil {
		t.Error("two types accepted")
	}
}

func TestEqualStrings(t *testing.T) {
	y, err := apply(t, 19, graph.OpID{Name: "Equal"}, nil, tensor.OfStrings([]string{"a", "b", "c", "a"}, 2, 2), tensor.OfStrings([]string{"a", "b"}, 2))
	if err != nil || !slices.Equal(tensor.Data[bool](y), []bool{true, true, false, false}) {
		t.Errorf("%v %v", y, err)
	}
}

// Shapes computed by nodes stay dimensions, so that a Reshape behind them is known
// before the run.
func TestShapesAreFollowedThroughArithmetic(t *testing.T) {
	b := testBuilder()
	x := b.Input("x", tensor.Float32, graph.Sym("n"), graph.Const(6))
	shape := b.Op("Cast", attrs("to", int64(tensor.Int32)), b.Op("Shape", nil, x))
	shape = b.Op("Cast", attrs("to", int64(tensor.Int64)), shape)
	shape = b.Op("Mul", nil, shape, b.Const("two", tensor.Of([]int64{2, 1}, 2)))
	shape = b.Op("Div", nil, shape, b.Const("halve", tensor.Of([]int64{1, 2}, 2)))
	shape = b.Op("Max", nil, b.Op("Sub", nil, b.Op("Add", nil, shape, b.Const("one", tensor.Scalar(int64(1)))), b.Const("one", tensor.Scalar(int64(1)))), b.Const("least", tensor.Of([]int64{0, 3}, 2)))
	y := b.Op("Reshape", nil, x, b.Op("Min", nil, shape, b.Const("most", tensor.Of([]int64{1 << 40, 3}, 2))))
	if b.Err() != nil || !y.Type.Known() || len(y.Type.Shape) != 2 || !y.Type.Shape[1].Is(3) {
		t.Fatalf("%v %v", y.Type, b.Err())
	}
}

// Exporters give Expand its shape as Where(Equal(shape, -1), ones, shape). During a
// run these are numbers that rules see without a look at memory, so that the frame
// is kept: what is known of a shape before the run is its numbers.
func TestChoicesBetweenShapesAreFollowed(t *testing.T) {
	b := testBuilder()
	x := b.Input("x", tensor.Float32, graph.Const(2), graph.Const(6))
	shape := b.Op("Sub", nil, b.Op("Shape", nil, x), b.Const("three", tensor.Of([]int64{3, 0}, 2))) // -1, 6
	ones := b.Const("ones", tensor.Of([]int64{2}, 1))
	is := b.Op("Equal", nil, shape, b.Const("minus", tensor.Scalar(int64(-1))))
	y := b.Op("Reshape", nil, x, b.Op("Where", nil, is, ones, shape))
	if b.Err() != nil || !y.Type.Shape.Equal(graph.Dims(2, 6)) {
		t.Fatalf("%v %v", y.Type, b.Err())
	}
}
