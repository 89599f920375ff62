package op_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"tandem/graph"
	"tandem/graph/op/optest"
	"tandem/tensor"
)

// trial is one node on given inputs, whose results are known; or err is part of
// what it must be refused with.
type trial struct {
	name  string
	id    graph.OpID
	opset int
	attrs graph.Attrs
	in    []*tensor.Tensor // nil: absent
	want  []*tensor.Tensor // nil: an output that is not asked for
	near  float64
	err   string
}

// evaluate runs one node. Inputs from fixed on are constants.
func evaluate(t testing.TB, id graph.OpID, opset int, a graph.Attrs, in []*tensor.Tensor, outputs, fixed int) ([]*tensor.Tensor, error) {
	t.Helper()
	b := testBuilder()
	b.G.Opset[""] = opset
	b.G.Opset["ai.onnx.preview.training"], b.G.Opset["ai.onnx.preview"] = 1, 1
	var values []*graph.Value
	var given []*tensor.Tensor
	for i, x := range in {
		switch {
		case x == nil:
			values = append(values, nil)
		case i >= fixed:
			values = append(values, b.Const(fmt.Sprint("c", i), x))
		default:
			values = append(values, b.Input(fmt.Sprint("x", i), x.DType(), graph.Dims(x.Shape()...)...))
			given = append(given, x)
		}
	}
	for _, v := range b.Node(id, outputs, a, values...) {
		b.Output(v)
	}
	if b.Err() != nil {
		return nil, b.Err()
	}
	return optest.Try(t, b.G, graph.Options{Ops: b.Ops, Pool: pool(t, 2)}, given...)
}

// try runs every trial, once with all inputs given at run time and once with all
// but the first known before.
func try(t *testing.T, trials []trial) {
	for _, tc := range trials {
		for _, fixed := range []int{len(tc.in), 1} {
			t.Run(fmt.Sprint(tc.id.Name, " ", tc.name, " fixed from ", fixed), func(t *testing.T) {
				got, err := evaluate(t, tc.id, tc.opset, tc.attrs, tc.in, max(1, len(tc.want)), fixed)
				switch {
				case tc.err != "":
					if err == nil || !strings.Contains(err.Error(), tc.err) {
						t.Errorf("error %v, expected one with %q", err, tc.err)
					}
					return
				case err != nil:
					t.Fatal(err)
				}
				for i, want := range tc.want {
					if want == nil {
						continue
					}
					if got[i].DType() != want.DType() || !got[i].Shape().Equal(want.Shape()) {
						t.Errorf("output %d is %v, expected %v", i, got[i], want)
					} else if g, w := numbersOf(got[i]), numbersOf(want); !sameNumbers(g, w, tc.near) {
						t.Errorf("output %d is %v, expected %v", i, g, w)
					}
				}
			})
		}
	}
}

func these(x ...*tensor.Tensor) []*tensor.Tensor { return x }
func f32(v []float32, shape ...int) *tensor.Tensor {
	return tensor.Of(v, shape...)
}
func ints(v ...int64) *tensor.Tensor { return tensor.Of(v, len(v)) }
func onnxID(name string) graph.OpID  { return graph.OpID{Name: name} }
func msID(name string) graph.OpID    { return graph.OpID{Domain: "com.microsoft", Name: name} }

func TestReductions(t *testing.T) {
	inf := float32(math.Inf(1))
	x := f32([]float32{1, -2, 3, 4, 5, -6}, 2, 3)
	one := func(name string, opset int, a graph.Attrs, in []*tensor.Tensor, want *tensor.Tensor) trial {
		return trial{name: fmt.Sprint(opset, a), id: onnxID(name), opset: opset, attrs: a, in: in, want: these(want), near: 1e-6}
	}
	keep0 := attrs("keepdims", int64(0))
	try(t, []trial{
		one("ReduceSum", 6, attrs("axes", []int64{1}), these(x), f32([]float32{2, 3}, 2, 1)),
		one("ReduceSum", 13, keep0, these(x, ints(-2)), f32([]float32{5, 3, -3}, 3)),
		one("ReduceSum", 13, attrs("noop_with_empty_axes", int64(1)), these(x), x),
		one("ReduceSum", 13, keep0, these(x, tensor.New(tensor.Int64, 0)), tensor.Scalar(float32(5))),
		one("ReduceMean", 18, keep0, these(x, ints(0, 1)), tensor.Scalar(float32(5.0/6))),
		one("ReduceMean", 18, keep0, these(tensor.Of([]int32{7, -4, -4}, 3)), tensor.Scalar(int32(0))),
		one("ReduceL1", 18, keep0, these(x, ints(1)), f32([]float32{6, 15}, 2)),
		one("ReduceL1", 18, keep0, these(tensor.Of([]uint32{2, 3}, 2)), tensor.Scalar(uint32(5))),
		one("ReduceL2", 18, keep0, these(f32([]float32{3, 4}, 2)), tensor.Scalar(float32(5))),
		one("ReduceSumSquare", 18, attrs("noop_with_empty_axes", int64(1)), these(x), f32([]float32{1, 4, 9, 16, 25, 36}, 2, 3)),
		one("ReduceLogSum", 11, keep0, these(f32([]float32{1, 2}, 2)), tensor.Scalar(float32(math.Log(3)))),
		one("ReduceLogSumExp", 18, keep0, these(f32([]float32{1000, 1000}, 2)), tensor.Scalar(float32(1000+math.Ln2))),
		one("ReduceMax", 20, keep0, these(tensor.Of([]bool{false, true, false, false}, 2, 2), ints(1)), tensor.Of([]bool{true, false}, 2)),
		one("ReduceMin", 18, keep0, these(tensor.Of([]uint8{9, 200}, 2)), tensor.Scalar(uint8(9))),
		one("ReduceMax", 18, keep0, these(tensor.New(tensor.Float32, 2, 0), ints(1)), f32([]float32{-inf, -inf}, 2)),
		one("ReduceMin", 18, keep0, these(tensor.New(tensor.Int8, 0, 2), ints(0)), tensor.Of([]int8{127, 127}, 2)),
		one("ReduceProd", 18, keep0, these(tensor.New(tensor.Float64, 0, 2), ints(0)), tensor.Of([]float64{1, 1}, 2)),
		one("ReduceLogSumExp", 18, keep0, these(tensor.New(tensor.Float32, 2, 0), ints(1)), f32([]float32{-inf, -inf}, 2)),
		{name: "axis out of range", id: onnxID("ReduceSum"), opset: 13, in: these(x, ints(2)), err: "axis 2"},
		{name: "axis twice", id: onnxID("ReduceMax"), opset: 18, in: these(x, ints(1, -1)), err: "twice"},
		{name: "strings", id: onnxID("ReduceSum"), opset: 13, in: these(tensor.New(tensor.String, 2)), err: "cannot be reduced"},
	})
}

// TestReductionEqualsDefinition compares sums over every set of axes with additions
// element by element.
func TestReductionEqualsDefinition(t *testing.T) {
	shape := []int{2, 3, 1, 4}
	x := randomInput(rand.New(rand.NewPCG(5, 5)), shape, 0)
	for set := range 16 {
		var axes []int64
		out := tensor.Shape{}
		for i, n := range shape {
			if set>>i&1 != 0 {
				axes, n = append(axes, int64(i)), 1
			}
			out = append(out, n)
		}
		if len(axes) == 0 {
			continue
		}
		want := make([]float64, out.Len())
		for i, v := range x.F32() {
			want[indexIn(i, shape, out)] += float64(v)
		}
		got, err := evaluate(t, onnxID("ReduceSum"), 13, nil, these(x, ints(axes...)), 1, 1)
		if err != nil {
			t.Fatal(err)
		}
		if !got[0].Shape().Equal(out) || !sameNumbers(numbersOf(got[0]), want, 1e-6) {
			t.Errorf("axes %v: %v, expected %v", axes, numbersOf(got[0]), want)
		}
	}
}

// The product of a shape stays a dimension.
func TestReducedShapeIsFollowed(t *testing.T) {
	b := testBuilder()
	x := b.Input("x", tensor.Float32, graph.Sym("batch"), graph.Const(3))
	n := b.Op("ReduceProd", nil, b.Op("Shape", nil, x), b.Const("axes", ints(0)))
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	if len(n.Content) != 1 || n.Content[0].String() != "3*batch" {
		t.Errorf("content %v", n.Content)
	}
}
