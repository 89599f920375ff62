package op_test

import (
	"fmt"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/tensor"
)

// stateGradCases: what carries a state from token to token, attention with inner graphs,
// and with lengths of examples.
func stateGradCases() []gradCase {
	// both results, one after the other: the state alone does not depend on all inputs.
	both := func(b *graph.Builder, list []*graph.Value) *graph.Value {
		flat := b.Const("flat", int64s(-1))
		return b.Op("Concat", attrs("axis", int64(0)), b.Op("Reshape", nil, list[0], flat), b.Op("Reshape", nil, list[1], flat))
	}
	linear := func(a graph.Attrs, state bool, shapes ...[]int) gradCase {
		a["q_num_heads"], a["kv_num_heads"] = int64(4), int64(2)
		return laterOpset(gradCase{name: fmt.Sprint("LinearAttention", a, state, shapes), inputs: shapes, build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
			small := make([]*graph.Value, 6)
			at := []int{0, 1, 2, 3, 4, 5}
			switch a["update_rule"] {
			case "linear":
				at = at[:len(in)]
			case "delta":
				at = []int{0, 1, 2, 5}
			case "gated":
				at = []int{0, 1, 2, 4}
			}
			for i, v := range in {
				small[at[i]] = b.Op("Mul", nil, v, b.Const("half", tensor.Scalar(float32(0.5))))
			}
			y := b.Node(graph.OpID{Name: "LinearAttention"}, 2, a, small...)
			if state {
				return both(b, y)
			}
			return y[0]
		}})
	}
	conv := func(state bool, a graph.Attrs, shapes ...[]int) gradCase {
		return laterOpset(gradCase{name: fmt.Sprint("CausalConvWithState", state, a, shapes), inputs: shapes, build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
			y := b.Node(graph.OpID{Name: "CausalConvWithState"}, 2, a, in...)
			if state {
				return both(b, y)
			}
			return y[0]
		}})
	}
	mod := func(name string, by float32) *graph.Graph {
		b := graph.NewBuilder("mod", op.Default())
		s := &graph.Value{Name: "s"}
		b.G.Inputs = []*graph.Value{s}
		n := &graph.Node{Op: graph.OpID{Name: name}, Inputs: []*graph.Value{s, b.Const("by", tensor.Scalar(by))}}
		y := &graph.Value{Name: "y", Def: n}
		n.Outputs = []*graph.Value{y}
		b.G.Nodes, b.G.Outputs = []*graph.Node{n}, []*graph.Value{y}
		return b.G
	}
	flex := func(a graph.Attrs, shapes ...[]int) gradCase {
		return gradCase{name: fmt.Sprint("FlexAttention", len(a), shapes), inputs: shapes, build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
			b.G.Opset["ai.onnx.preview"] = 1
			return b.Node(graph.OpID{Domain: "ai.onnx.preview", Name: "FlexAttention"}, 1, a, in...)[0]
		}}
	}
	lengths := func(a graph.Attrs, shapes ...[]int) gradCase {
		return laterOpset(gradCase{name: fmt.Sprint("Attention lengths", a, shapes), inputs: shapes, build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
			return b.Op("Attention", a, in[0], in[1], in[2], nil, nil, nil, b.Const("lengths", int64s(3, 5)))
		}})
	}
	return []gradCase{
		linear(attrs("update_rule", "linear"), false, []int{2, 3, 8}, []int{2, 3, 4}, []int{2, 3, 6}, []int{2, 2, 2, 3}),
		linear(attrs("update_rule", "delta", "scale", float32(0.4)), false, []int{2, 3, 8}, []int{2, 3, 4}, []int{2, 3, 6}, []int{2, 3, 1}),
		linear(attrs("update_rule", "gated"), true, []int{1, 3, 8}, []int{1, 3, 4}, []int{1, 3, 6}, []int{1, 3, 4}),
		linear(attrs(), true, []int{1, 3, 8}, []int{1, 3, 4}, []int{1, 3, 6}, []int{1, 2, 2, 3}, []int{1, 3, 2}, []int{1, 3, 2}),
		conv(false, attrs("activation", "silu"), []int{2, 3, 5}, []int{3, 1, 3}, []int{3}, []int{2, 3, 2}),
		conv(false, attrs(), []int{2, 3, 5}, []int{3, 1, 4}), conv(true, attrs(), []int{2, 3, 2}, []int{3, 1, 4}, []int{3}, []int{2, 3, 3}), conv(false, attrs(), []int{2, 3, 2}, []int{3, 1, 1}),
		flex(attrs(), []int{1, 2, 3, 4}, []int{1, 2, 5, 4}, []int{1, 2, 5, 3}),
		flex(attrs("score_mod", mod("Mul", 0.7), "prob_mod", mod("Add", 0.1), "scale", float32(0.3)), []int{1, 4, 3, 4}, []int{1, 2, 5, 4}, []int{1, 2, 5, 4}),
		lengths(attrs(), []int{2, 2, 3, 4}, []int{2, 2, 5, 4}, []int{2, 2, 5, 4}),
		lengths(attrs("is_causal", int64(1)), []int{2, 2, 3, 4}, []int{2, 2, 5, 4}, []int{2, 2, 5, 4}),
		lengths(attrs("left_window_size", int64(1), "right_window_size", int64(0)), []int{2, 2, 3, 4}, []int{2, 1, 5, 4}, []int{2, 1, 5, 4}),
	}
}
