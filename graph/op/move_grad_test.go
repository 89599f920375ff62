package op_test

import (
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
