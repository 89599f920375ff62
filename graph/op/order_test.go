package op_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"tandem/graph"
	"tandem/tensor"
)

func TestOrder(t *testing.T) {
	nan := float32(math.NaN())
	x := tensor.Of([]float32{2, 7, 7, 9, 1, 9}, 2, 3)
	top := tensor.Of([]int32{5, 1, 4, 4, 2, 3}, 6)
	try(t, []trial{
		{name: "first", id: onnxID("ArgMax"), opset: 13, attrs: attrs("axis", int64(1)), in: these(x), want: these(tensor.Of([]int64{1, 0}, 2, 1))},
		{name: "last", id: onnxID("ArgMax"), opset: 13, attrs: attrs("axis", int64(-1), "select_last_index", int64(1), "keepdims", int64(0)), in: these(x), want: these(ints(2, 2))},
		{name: "least", id: onnxID("ArgMin"), opset: 6, attrs: attrs("keepdims", int64(0)), in: these(x), want: these(ints(0, 1, 0))},
		{name: "not a number", id: onnxID("ArgMax"), opset: 13, attrs: attrs("keepdims", int64(0)), in: these(tensor.Of([]float32{1, nan, 9}, 3)), want: these(tensor.Scalar(int64(1)))},
		{name: "nothing", id: onnxID("ArgMax"), opset: 13, in: these(tensor.New(tensor.Float32, 0, 2)), err: "no elements"},
		{name: "attribute", id: onnxID("TopK"), opset: 9, attrs: attrs("k", int64(2)), in: these(x),
			want: these(tensor.Of([]float32{7, 7, 9, 9}, 2, 2), tensor.Of([]int64{1, 2, 0, 2}, 2, 2))},
		{name: "least, along the first", id: onnxID("TopK"), opset: 11, attrs: attrs("axis", int64(0), "largest", int64(0)), in: these(x, ints(1)),
			want: these(tensor.Of([]float32{2, 1, 7}, 1, 3), tensor.Of([]int64{0, 1, 0}, 1, 3))},
		{name: "equal elements", id: onnxID("TopK"), opset: 24, in: these(top, ints(4)),
			want: these(tensor.Of([]int32{5, 4, 4, 3}, 4), ints(0, 2, 3, 5))},
		{name: "indices alone", id: onnxID("TopK"), opset: 24, in: these(top, ints(0)), want: these(nil, tensor.New(tensor.Int64, 0))},
		{name: "too many", id: onnxID("TopK"), opset: 24, in: these(x, ints(4)), err: "k is 4"},
	})
}

// TestTopKEqualsSorting compares with a sort of each line.
func TestTopKEqualsSorting(t *testing.T) {
	x := randomInput(rand.New(rand.NewPCG(6, 6)), []int{3, 7, 2}, 0)
	got, err := evaluate(t, onnxID("TopK"), 24, attrs("axis", int64(1)), these(x, ints(4)), 2, 2)
	if err != nil {
		t.Fatal(err)
	}
	for a := range 3 {
		for b := range 2 {
			var line []float32
			for i := range 7 {
				line = append(line, x.F32()[(a*7+i)*2+b])
			}
			slices.SortFunc(line, func(u, v float32) int { return int(math.Copysign(1, float64(v-u))) })
			for i := range 4 {
				at := (a*4+i)*2 + b
				v, k := got[0].F32()[at], got[1].I64()[at]
				if v != line[i] || x.F32()[(a*7+int(k))*2+b] != v {
					t.Errorf("line %d %d: element %d is %v at %d, expected %v", a, b, i, v, k, line[i])
				}
			}
		}
	}
}

func TestCumulative(t *testing.T) {
	x, axis := tensor.Of([]float32{1, 2, 3, 4, 5, 6}, 2, 3), tensor.Scalar(int32(1))
	try(t, []trial{
		{name: "plain", id: onnxID("CumSum"), opset: 14, in: these(x, axis), want: these(tensor.Of([]float32{1, 3, 6, 4, 9, 15}, 2, 3))},
		{name: "exclusive, reverse", id: onnxID("CumSum"), opset: 14, attrs: attrs("exclusive", int64(1), "reverse", int64(1)), in: these(x, axis),
			want: these(tensor.Of([]float32{5, 3, 0, 11, 6, 0}, 2, 3))},
		{name: "first axis", id: onnxID("CumProd"), opset: 26, in: these(tensor.Of([]int32{2, 3, 4, 5}, 2, 2), tensor.Scalar(int64(-2))),
			want: these(tensor.Of([]int32{2, 3, 8, 15}, 2, 2))},
		{name: "exclusive", id: onnxID("CumProd"), opset: 26, attrs: attrs("exclusive", int64(1)), in: these(tensor.Of([]float64{2, 3, 4}, 3), ints(0)),
			want: these(tensor.Of([]float64{1, 2, 6}, 3))},
		{name: "axis", id: onnxID("CumSum"), opset: 14, in: these(x, tensor.Scalar(int64(2))), err: "axis 2"},
	})
}

func TestSoftmaxVersions(t *testing.T) {
	e := func(v float64) float64 { return math.Exp(v) }
	x := tensor.Of([]float64{0, 1, 2, 3}, 2, 2)
	all := e(0) + e(1) + e(2) + e(3)
	s := 1 / (1 + e(1))
	third := 1 / (1 + e(2))
	try(t, []trial{
		{name: "rows", id: onnxID("Softmax"), opset: 13, in: these(x), want: these(tensor.Of([]float64{s, 1 - s, s, 1 - s}, 2, 2)), near: 1e-12},
		{name: "columns", id: onnxID("Softmax"), opset: 13, attrs: attrs("axis", int64(0)), in: these(x),
			want: these(tensor.Of([]float64{third, third, 1 - third, 1 - third}, 2, 2)), near: 1e-12},
		{name: "flat", id: onnxID("Softmax"), opset: 11, attrs: attrs("axis", int64(0)), in: these(x),
			want: these(tensor.Of([]float64{1 / all, e(1) / all, e(2) / all, e(3) / all}, 2, 2)), near: 1e-12},
		{name: "logarithm", id: onnxID("LogSoftmax"), opset: 13, attrs: attrs("axis", int64(0)), in: these(x),
			want: these(tensor.Of([]float64{math.Log(third), math.Log(third), math.Log(1 - third), math.Log(1 - third)}, 2, 2)), near: 1e-12},
		{name: "the first of equals", id: onnxID("Hardmax"), opset: 13, in: these(tensor.Of([]float32{1, 3, 3, 2, 0, 1}, 2, 3)),
			want: these(tensor.Of([]float32{0, 1, 0, 1, 0, 0}, 2, 3))},
		{name: "axis", id: onnxID("Softmax"), opset: 13, attrs: attrs("axis", int64(2)), in: these(x), err: "axis 2"},
		{name: "type", id: onnxID("Softmax"), opset: 13, in: these(ints(1)), err: "floating-point"},
	})
}

// softmaxGradCases are the forms along other axes than the last.
func softmaxGradCases() []gradCase {
	old := func(c gradCase) gradCase {
		build := c.build
		c.name += " as a matrix"
		c.build = func(b *graph.Builder, in []*graph.Value) *graph.Value {
			b.G.Opset[""] = 12
			return build(b, in)
		}
		return c
	}
	first := attrs("axis", int64(1))
	return []gradCase{
		opCase("Softmax", first, []int{2, 3, 4}), opCase("LogSoftmax", first, []int{2, 3, 4}),
		old(opCase("Softmax", first, []int{2, 3, 4})), old(opCase("LogSoftmax", first, []int{2, 3, 4})),
	}
}
