package op_test

import (
	"fmt"
	"tandem/graph"
	"tandem/tensor"
)

// moveGradCases are gradients of operators that move elements. Where elements are
// read more than once or not at all, the sums must be right, too.
func moveGradCases() []gradCase {
	ints := func(b *graph.Builder, v ...int64) *graph.Value { return b.Const("ints", tensor.Of(v, len(v))) }
	one := func(name string, shape []int, build func(b *graph.Builder, x *graph.Value) *graph.Value) gradCase {
		return gradCase{name: name, inputs: [][]int{shape}, build: func(b *graph.Builder, in []*graph.Value) *graph.Value { return build(b, in[0]) }}
	}
	return []gradCase{
		one("Squeeze", []int{3, 1, 2}, func(b *graph.Builder, x *graph.Value) *graph.Value {
			return b.Op("Squeeze", nil, x, ints(b, 1))
		}),
		one("Unsqueeze", []int{3, 2}, func(b *graph.Builder, x *graph.Value) *graph.Value {
			return b.Op("Unsqueeze", nil, x, ints(b, 0, -1))
		}),
		one("Transpose", []int{2, 3, 4}, func(b *graph.Builder, x *graph.Value) *graph.Value {
			return b.Op("Transpose", attrs("perm", []int64{1, 2, 0}), x)
		}),
		one("Expand", []int{3, 1}, func(b *graph.Builder, x *graph.Value) *graph.Value {
			return b.Op("Expand", nil, x, ints(b, 2, 1, 4))
		}),
		one("Slice backwards", []int{5, 4}, func(b *graph.Builder, x *graph.Value) *graph.Value {
			return b.Op("Slice", nil, x, ints(b, 1, -1), ints(b, 9, -5), ints(b, 0, 1), ints(b, 2, -2))
		}),
		one("Gather", []int{2, 3, 2}, func(b *graph.Builder, x *graph.Value) *graph.Value {
			return b.Op("Gather", attrs("axis", int64(1)), x, b.Const("at", tensor.Of([]int64{2, 0, -1, 2}, 2, 2)))
		}),
		one("Split into parts of which one is used", []int{2, 5}, func(b *graph.Builder, x *graph.Value) *graph.Value {
			return b.Node(graph.OpID{Name: "Split"}, 3, attrs("axis", int64(1)), x, ints(b, 1, 3, 1))[1]
		}),
		{name: "Concat", inputs: [][]int{{2, 1, 3}, {2, 4, 3}}, build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
			return b.Op("Concat", attrs("axis", int64(-2)), in[0], in[1], in[0])
		}},
	}
}

// movementGradCases: elements that are moved, put somewhere, or summed up.
func movementGradCases() []gradCase {
	some := func(name string, build func(*graph.Builder, []*graph.Value) *graph.Value, shapes ...[]int) gradCase {
		return gradCase{name: name, inputs: shapes, build: build}
	}
	mid := func(name string, a graph.Attrs, index *tensor.Tensor, shapes ...[]int) gradCase { // index between the inputs
		return some(fmt.Sprint(name, a), func(b *graph.Builder, in []*graph.Value) *graph.Value {
			return b.Op(name, a, in[0], b.Const("at", index), in[1])
		}, shapes...)
	}
	cases := []gradCase{
		some("GatherElements", given("GatherElements", attrs("axis", int64(1)), tensor.Of([]int64{2, 0, 2, -1, 1, 0}, 2, 3)), []int{3, 4}),
		some("GatherND", given("GatherND", nil, tensor.Of([]int64{0, 1, 2, 0, 0, 1}, 3, 2)), []int{3, 2, 4}),
		some("GatherND batch", given("GatherND", attrs("batch_dims", int64(1)), tensor.Of([]int64{1, 0, 0}, 3, 1)), []int{3, 2, 4}),
		some("ReverseSequence", given("ReverseSequence", nil, int64s(3, 1)), []int{4, 2, 3}),
		some("Compress", given("Compress", attrs("axis", int64(1)), tensor.Of([]bool{true, false, true}, 3)), []int{2, 4}),
		some("Tile", given("Tile", nil, int64s(2, 1, 3)), []int{2, 3, 2}),
		some("CenterCropPad", given("CenterCropPad", nil, int64s(5, 2)), []int{3, 4}),
		some("Pad reflect", given("Pad", attrs("mode", "reflect"), int64s(1, 2, 2, 1)), []int{3, 4}),
		some("Pad edge", given("Pad", attrs("mode", "edge"), int64s(1, 2, 2, -1)), []int{3, 4}),
		some("Pad wrap", given("Pad", attrs("mode", "wrap"), int64s(1, 2, 2, 1)), []int{3, 4}),
		some("Pad constant", given("Pad", nil, int64s(1, -1, 2, 3)), []int{3, 4}),
		some("Pad axes", given("Pad", nil, int64s(1, 2), nil, int64s(1)), []int{3, 4}),
		some("Pad with a value", func(b *graph.Builder, in []*graph.Value) *graph.Value {
			return b.Op("Pad", nil, in[0], b.Const("pads", int64s(1, 0, 0, 2)), in[1])
		}, []int{3, 4}, []int{}),
		olderOpset(10, some("Pad of opset 2", given("Pad", attrs("pads", []int64{1, 0, 0, 2}, "value", float32(1.5))), []int{3, 4})),
		laterOpset(some("CumProd", given("CumProd", nil, tensor.Scalar(int64(1))), []int{2, 5})),
		laterOpset(some("CumProd exclusive, reverse", given("CumProd", attrs("exclusive", int64(1), "reverse", int64(1)), tensor.Scalar(int64(0))), []int{4, 3})),
		some("TopK", func(b *graph.Builder, in []*graph.Value) *graph.Value {
			return b.Node(graph.OpID{Name: "TopK"}, 2, attrs("axis", int64(0)), in[0], b.Const("k", int64s(2)))[0]
		}, []int{4, 3}),
		olderOpset(9, some("TopK of opset 1", func(b *graph.Builder, in []*graph.Value) *graph.Value {
			return b.Node(graph.OpID{Name: "TopK"}, 2, attrs("k", int64(3)), in[0])[0]
		}, []int{2, 5})),
		some("MaxUnpool", func(b *graph.Builder, in []*graph.Value) *graph.Value {
			return b.Op("MaxUnpool", attrs("kernel_shape", []int64{2, 2}, "strides", []int64{2, 2}), in[0], b.Const("at", tensor.Of([]int64{5, 2, 8, 15}, 1, 1, 2, 2)))
		}, []int{1, 1, 2, 2}),
		mid("ScatterND", nil, tensor.Of([]int64{2, 0}, 2, 1), []int{3, 4}, []int{2, 4}),
		mid("ScatterND", attrs("reduction", "add"), tensor.Of([]int64{1, 2, 1, 2, 0, 0}, 3, 2), []int{3, 4}, []int{3}),
		olderOpset(10, mid("Scatter", attrs("axis", int64(1)), tensor.Of([]int64{3, 0, 1, 2}, 2, 2), []int{3, 4}, []int{2, 2})),
		laterOpset(some("TensorScatter", func(b *graph.Builder, in []*graph.Value) *graph.Value {
			return b.Op("TensorScatter", nil, in[0], in[1], b.Const("at", int64s(1, 0)))
		}, []int{2, 4, 3}, []int{2, 2, 3})),
	}
	for _, reduction := range []string{"none", "add", "max", "min"} {
		c := mid("ScatterElements", attrs("reduction", reduction, "axis", int64(1)), tensor.Of([]int64{3, 0, 1, 2, 2, 3}, 3, 2), []int{3, 4}, []int{3, 2})
		cases = append(cases, c)
	}
	for _, exclusive := range []int64{0, 1} {
		for _, reverse := range []int64{0, 1} {
			cases = append(cases, some(fmt.Sprint("CumSum", exclusive, reverse), given("CumSum", attrs("exclusive", exclusive, "reverse", reverse), tensor.Scalar(int64(-1))), []int{2, 5}))
		}
	}
	for _, e := range []struct {
		equation string
		shapes   [][]int
	}{
		{"ij,jk->ik", [][]int{{2, 3}, {3, 4}}}, {"bij,bkj->bik", [][]int{{2, 3, 4}, {2, 2, 4}}}, {"...ij,...jk", [][]int{{2, 1, 3, 4}, {2, 4, 2}}},
		{"ij->", [][]int{{2, 3}}}, {"ij,j,k->ki", [][]int{{2, 3}, {3}, {2}}}, {"ii->i", [][]int{{3, 3}}}, {"iij,jk->ik", [][]int{{3, 3, 2}, {2, 2}}}, {"bi,bj->ij", [][]int{{1, 2}, {3, 4}}},
	} {
		cases = append(cases, opCase("Einsum", attrs("equation", e.equation), e.shapes...))
	}
	return cases
}
