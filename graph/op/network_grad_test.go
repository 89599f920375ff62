package op_test

import (
	"fmt"

	"tandem/graph"
	"tandem/tensor"
)

// networkGradCases: attention and normalisation.
func networkGradCases() []gradCase {
	norm := func(name, domain string, inputs ...[]int) gradCase {
		return laterOpset(gradCase{name: fmt.Sprint(domain, name, inputs), inputs: inputs, build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
			return b.Node(graph.OpID{Domain: domain, Name: name}, 1, attrs("axis", int64(-1), "epsilon", float32(0.1)), in...)[0]
		}})
	}
	return []gradCase{
		{name: "BatchNorm", inputs: [][]int{{3, 2, 3, 2}, {2}, {2}}, build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
			zero := b.Const("zero", tensor.New(tensor.Float32, 2))
			return b.Node(graph.OpID{Domain: graph.Private, Name: "BatchNorm"}, 5, attrs("epsilon", float32(0.1)), in[0], in[1], in[2], zero, zero)[0]
		}},
		norm("LayerNormalization", "", []int{3, 20}, []int{20}, []int{20}), norm("LayerNormalization", "", []int{2, 2, 7}, []int{7}),
		laterOpset(opCase("LayerNormalization", attrs("axis", int64(1), "epsilon", float32(0.1)), []int{2, 3, 5}, []int{3, 5}, []int{3, 5})),
		norm("RMSNormalization", "", []int{3, 20}, []int{20}),
		norm("SimplifiedLayerNormalization", "", []int{3, 9}, []int{9}), norm("SimplifiedLayerNormalization", "com.microsoft", []int{3, 9}, []int{9}),
		attentionCase("packed, causal", attrs("q_num_heads", int64(2), "kv_num_heads", int64(2), "is_causal", int64(1)), nil, []int{2, 5, 6}, []int{2, 5, 6}, []int{2, 5, 8}),
		attentionCase("shared heads of keys", attrs("q_num_heads", int64(4), "kv_num_heads", int64(2), "scale", float32(0.3)), nil, []int{2, 3, 8}, []int{2, 6, 4}, []int{2, 6, 4}),
		attentionCase("mask", nil, tensor.Of([]bool{true, false, true, true, true, false, false, true, true}, 3, 3), []int{1, 2, 3, 4}, []int{1, 2, 3, 4}, []int{1, 2, 3, 5}),
	}
}

func attentionCase(name string, a graph.Attrs, mask *tensor.Tensor, inputs ...[]int) gradCase {
	return laterOpset(gradCase{name: "Attention " + name, inputs: inputs, build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
		if mask != nil {
			in = append(in[:3:3], b.Const("mask", mask))
		}
		return b.Op("Attention", a, in...)
	}})
}

// foldGradCases: reductions, extremes and moves.
func foldGradCases() []gradCase {
	var cases []gradCase
	for _, name := range []string{"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp", "ReduceProd"} {
		for _, keep := range []int64{0, 1} {
			c := gradCase{name: fmt.Sprint(name, keep), inputs: [][]int{{2, 3, 4}}, away: 0.4}
			c.build = func(b *graph.Builder, in []*graph.Value) *graph.Value {
				inputs := []*graph.Value{in[0], b.Const("axes", tensor.Of([]int64{0, -1}, 2))}
				return b.Op(name, attrs("keepdims", keep), inputs...)
			}
			cases = append(cases, laterOpset(c))
		}
	}
	all := opCase("ReduceSum", attrs("keepdims", int64(0)), []int{3, 4})
	logSum := laterOpset(gradCase{name: "ReduceLogSum", inputs: [][]int{{3, 4}}, build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
		return b.Op("ReduceLogSum", nil, b.Op("Exp", nil, in[0]), b.Const("axes", tensor.Of([]int64{1}, 1)))
	}})
	return append(cases, all, logSum, binaryCase("Max", []int{3, 4}, []int{4}), binaryCase("Min", []int{3, 1}, []int{3, 4}),
		opCase("Trilu", attrs("upper", int64(0)), []int{2, 3, 4}),
		opCase("DepthToSpace", attrs("blocksize", int64(2)), []int{1, 8, 2, 3}), opCase("SpaceToDepth", attrs("blocksize", int64(2)), []int{1, 2, 4, 6}))
}
