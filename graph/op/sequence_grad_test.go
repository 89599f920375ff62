package op_test

import (
	"tandem/graph"
	"tandem/tensor"
)

// sequenceGradCases: lists whose elements are known before they run.
func sequenceGradCases() []controlledCase {
	at := func(b *graph.Builder, i int64) *graph.Value { return b.Const("at", tensor.Scalar(i)) }
	edited := controlCase("SequenceAt", [][]int{{2, 3}, {2, 3}, {2, 3}}, func(b *graph.Builder, in []*graph.Value) []*graph.Value {
		list := b.Op("SequenceConstruct", nil, in[0], in[1])
		list = b.Op("SequenceInsert", nil, list, b.Op("Tanh", nil, in[2]), at(b, -1)) // a, tanh c, b
		list = b.Op("SequenceInsert", nil, list, b.Op("Exp", nil, in[0]))             // …, exp a
		fewer := b.Op("SequenceErase", nil, b.Op("SequenceErase", nil, list), at(b, -3))
		return []*graph.Value{b.Op("SequenceAt", nil, list, at(b, 1)), b.Op("SequenceAt", nil, list, at(b, -1)), b.Op("SequenceAt", nil, fewer, at(b, 1))}
	})
	joined := controlCase("ConcatFromSequence", [][]int{{2, 3}, {2, 3}}, func(b *graph.Builder, in []*graph.Value) []*graph.Value {
		list := b.Op("SequenceConstruct", nil, in[0], b.Op("Mul", nil, in[0], in[1]), in[1])
		along := b.Op("ConcatFromSequence", attrs("axis", int64(-1)), list)
		fixed := b.Op("SplitToSequence", attrs("axis", int64(1)), b.Const("fixed", tensor.Of([]float32{1, 2, 3, 4}, 1, 4)), at(b, 3))
		grown := b.Op("ConcatFromSequence", attrs("axis", int64(1)), b.Op("SequenceInsert", nil, fixed, b.Op("Slice", nil, in[0], b.Const("0", int64s(0)), b.Const("1", int64s(1)))))
		return []*graph.Value{grown, along, b.Op("ConcatFromSequence", attrs("axis", int64(-1), "new_axis", int64(1)), list)}
	})
	split := controlCase("SplitToSequence", [][]int{{2, 5}}, func(b *graph.Builder, in []*graph.Value) []*graph.Value {
		cut := func(a graph.Attrs, lengths ...*graph.Value) *graph.Value {
			list := b.Op("SplitToSequence", a, append([]*graph.Value{b.Op("Tanh", nil, in[0])}, lengths...)...)
			return b.Op("SequenceAt", nil, b.Op("SequenceInsert", nil, list, in[0], at(b, 0)), at(b, 2))
		}
		return []*graph.Value{cut(attrs("axis", int64(1))), cut(attrs("axis", int64(-1), "keepdims", int64(0))), cut(attrs("axis", int64(1)), at(b, 3)),
			cut(attrs("axis", int64(1)), b.Const("lengths", int64s(2, 1, 2)))}
	})
	mapped := controlCase("SequenceMap", [][]int{{3, 2}, {2}, {3, 2}}, func(b *graph.Builder, in []*graph.Value) []*graph.Value {
		x, w, z := &graph.Value{Name: "x"}, &graph.Value{Name: "w"}, &graph.Value{Name: "z"}
		y, s := &graph.Value{Name: "y"}, &graph.Value{Name: "s"}
		y.Def = &graph.Node{Op: graph.OpID{Name: "Mul"}, Inputs: []*graph.Value{x, w}, Outputs: []*graph.Value{y}}
		s.Def = &graph.Node{Op: graph.OpID{Name: "Mul"}, Inputs: []*graph.Value{y, z}, Outputs: []*graph.Value{s}}
		body := &graph.Graph{Name: "body", Inputs: []*graph.Value{x, w, z}, Outputs: []*graph.Value{y, s}, Nodes: []*graph.Node{y.Def, s.Def}}
		list := func(v *graph.Value) *graph.Value { return b.Op("SplitToSequence", nil, v) }
		out := b.Node(graph.OpID{Name: "SequenceMap"}, 2, attrs("body", body), list(in[0]), in[1], list(in[2]))
		return []*graph.Value{b.Op("SequenceAt", nil, out[0], at(b, 1)), b.Op("ConcatFromSequence", attrs("axis", int64(0)), out[1])}
	})
	// A loop over the elements of a list, which gathers its results in another.
	loop := controlCase("SequenceLength", [][]int{{3, 2}, {1, 2}}, func(b *graph.Builder, in []*graph.Value) []*graph.Value {
		list := b.Op("SplitToSequence", nil, in[0])
		i, on, sum, all := &graph.Value{Name: "i"}, &graph.Value{Name: "on"}, &graph.Value{Name: "sum"}, &graph.Value{Name: "all"}
		body := &graph.Graph{Name: "body", Inputs: []*graph.Value{i, on, sum, all}}
		add := func(op string, in ...*graph.Value) *graph.Value {
			v := &graph.Value{Name: op}
			v.Def = &graph.Node{Op: graph.OpID{Name: op}, Inputs: in, Outputs: []*graph.Value{v}}
			body.Nodes = append(body.Nodes, v.Def)
			return v
		}
		element := add("SequenceAt", list, i)
		next := add("Tanh", add("Add", sum, element))
		body.Outputs = []*graph.Value{add("Identity", on), next, add("SequenceInsert", all, next)}
		out := b.Node(graph.OpID{Name: "Loop"}, 2, attrs("body", body), b.Op("SequenceLength", nil, list), nil, in[1], b.Op("SequenceEmpty", nil))
		return []*graph.Value{out[0], b.Op("ConcatFromSequence", attrs("axis", int64(1)), out[1])}
	})
	maybe := controlCase("OptionalGetElement", [][]int{{2, 3}, {2, 3}}, func(b *graph.Builder, in []*graph.Value) []*graph.Value {
		wrapped := b.Op("Optional", nil, b.Op("Tanh", nil, in[0]))
		list := b.Op("OptionalGetElement", nil, b.Op("Optional", nil, b.Op("SequenceConstruct", nil, in[1])))
		return []*graph.Value{b.Op("OptionalGetElement", nil, wrapped), b.Op("OptionalGetElement", nil, in[0]), b.Op("SequenceAt", nil, list, at(b, 0))}
	})
	// Lists of constants, which nothing but their readers makes part of what is trained.
	constant := controlCase("ConcatFromSequence", [][]int{{1, 2}}, func(b *graph.Builder, in []*graph.Value) []*graph.Value {
		x, y := &graph.Value{Name: "x"}, &graph.Value{Name: "y"}
		y.Def = &graph.Node{Op: graph.OpID{Name: "Tanh"}, Inputs: []*graph.Value{x}, Outputs: []*graph.Value{y}}
		body := &graph.Graph{Name: "body", Inputs: []*graph.Value{x}, Outputs: []*graph.Value{y}, Nodes: []*graph.Node{y.Def}}
		rows := b.Op("SplitToSequence", nil, b.Const("rows", tensor.Of([]float32{0.1, -0.7, 0.3, 0.9}, 2, 2)))
		made := b.Op("SequenceMap", attrs("body", body), rows)
		list, again := b.Op("SequenceInsert", nil, made, in[0], at(b, 1)), b.Op("SequenceInsert", nil, made, b.Op("Neg", nil, in[0]))
		held := b.Op("SequenceInsert", nil, b.Op("OptionalGetElement", nil, b.Op("Optional", nil, rows)), b.Op("Exp", nil, in[0]))
		none := b.Op("SequenceInsert", nil, b.Op("SequenceMap", attrs("body", body), b.Op("SequenceEmpty", nil)), in[0])
		join := attrs("axis", int64(0))
		return []*graph.Value{b.Op("ConcatFromSequence", join, list), b.Op("ConcatFromSequence", join, held), b.Op("ConcatFromSequence", join, none), b.Op("ConcatFromSequence", join, again)}
	})
	asked := controlCase("If", [][]int{{2, 3}}, func(b *graph.Builder, in []*graph.Value) []*graph.Value {
		branches := func(maybe *graph.Value) graph.Attrs {
			held, yes, no := &graph.Value{Name: "held"}, &graph.Value{Name: "yes"}, &graph.Value{Name: "no"}
			held.Def = &graph.Node{Op: graph.OpID{Name: "OptionalGetElement"}, Inputs: []*graph.Value{maybe}, Outputs: []*graph.Value{held}}
			yes.Def = &graph.Node{Op: graph.OpID{Name: "Tanh"}, Inputs: []*graph.Value{held}, Outputs: []*graph.Value{yes}}
			no.Def = &graph.Node{Op: graph.OpID{Name: "Exp"}, Inputs: []*graph.Value{in[0]}, Outputs: []*graph.Value{no}}
			return attrs("then_branch", &graph.Graph{Nodes: []*graph.Node{held.Def, yes.Def}, Outputs: []*graph.Value{yes}},
				"else_branch", &graph.Graph{Nodes: []*graph.Node{no.Def}, Outputs: []*graph.Value{no}})
		}
		full, empty := b.Op("Optional", nil, b.Op("Neg", nil, in[0])), b.Op("Optional", nil)
		when := func(maybe, yes *graph.Value) *graph.Value {
			return b.Node(graph.OpID{Name: "If"}, 1, branches(maybe), yes)[0]
		}
		return []*graph.Value{when(full, b.Op("OptionalHasElement", nil, full)), when(empty, b.Op("OptionalHasElement", nil, empty)),
			when(full, b.Op("Not", nil, b.Op("OptionalHasElement", nil)))}
	})
	return []controlledCase{edited, joined, split, mapped, loop, maybe, constant, asked}
}
