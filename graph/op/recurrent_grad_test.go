package op_test

import (
	"fmt"

	"tandem/graph"
	"tandem/tensor"
)

// recurrentGradCases: every layer, in both directions, with and without lengths
// and first states, all results read.
func recurrentGradCases() []gradCase {
	var cases []gradCase
	for _, name := range []string{"RNN", "GRU", "LSTM"} {
		for _, direction := range []string{"forward", "reverse", "bidirectional"} {
			for _, lengths := range []bool{false, true} {
				for _, states := range []bool{false, true} {
					cases = append(cases, recurrentGradCase(name, direction, lengths, states))
				}
			}
		}
	}
	return cases
}

func recurrentGradCase(name, direction string, lengths, states bool) gradCase {
	const seq, batch, in, hidden = 4, 3, 3, 9
	gates, dirs := map[string]int{"RNN": 1, "GRU": 3, "LSTM": 4}[name], 1
	if direction == "bidirectional" {
		dirs = 2
	}
	shapes := [][]int{{seq, batch, in}, {dirs, gates * hidden, in}, {dirs, gates * hidden, hidden}, {dirs, 2 * gates * hidden}}
	if states {
		shapes = append(shapes, []int{dirs, batch, hidden})
		if name == "LSTM" {
			shapes = append(shapes, []int{dirs, batch, hidden})
		}
	}
	return gradCase{
		name: fmt.Sprintf("%s %s lengths=%v states=%v", name, direction, lengths, states), inputs: shapes,
		build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
			// Inputs four by four, so that gates are not saturated.
			quarter := b.Const("quarter", tensor.Scalar(float32(0.25)))
			small := make([]*graph.Value, len(in))
			for i, v := range in {
				small[i] = b.Op("Mul", nil, v, quarter)
			}
			inputs := []*graph.Value{small[0], small[1], small[2], small[3], nil}
			if lengths {
				inputs[4] = b.Const("lengths", tensor.Of([]int32{4, 1, 2}, 3))
			}
			inputs = append(inputs, small[4:]...)
			a := attrs("direction", direction, "hidden_size", int64(hidden))
			outputs := 2
			switch name {
			case "GRU":
				a["linear_before_reset"] = int64(1)
			case "LSTM":
				outputs = 3
			}
			out := b.Node(graph.OpID{Name: name}, outputs, a, inputs...)
			flat := b.Const("flat", tensor.Of([]int64{-1}, 1))
			var flatOut []*graph.Value
			for _, o := range out {
				flatOut = append(flatOut, b.Op("Reshape", nil, o, flat))
			}
			return b.Op("Concat", attrs("axis", int64(0)), flatOut...)
		},
	}
}
