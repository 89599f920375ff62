package op

import (
	"tandem/graph"
	"tandem/tensor"
)

// byRow is Op.Rows of operators that read these inputs row by row.
func byRow(inputs ...int) func(*graph.Node, []tensor.Shape) []int {
	return func(*graph.Node, []tensor.Shape) []int { return inputs }
}

// operandsByRow is Op.Rows of element-wise operators: an operand that is laid over the
// rows of the other is read whole.
func operandsByRow(_ *graph.Node, in []tensor.Shape) []int {
	rank, rows := 0, 1
	for _, s := range in {
		rank = max(rank, len(s))
	}
	var list []int
	for i, s := range in {
		if len(s) == rank && rank > 0 && s[0] > 1 {
			list, rows = append(list, i), s[0]
		}
	}
	if rows == 1 {
		return nil
	}
	return list
}

// joinedByRow is Op.Rows of Concat along another dimension than the first.
func joinedByRow(n *graph.Node, in []tensor.Shape) []int {
	if axis, err := graph.Axis(n.Attrs.Int("axis", 0), len(in[0])); err != nil || axis == 0 {
		return nil
	}
	list := make([]int, len(in))
	for i := range in {
		list[i] = i
	}
	return list
}

// layerNormByRow is Op.Rows of a norm over the dimensions from an axis on.
func layerNormByRow(n *graph.Node, in []tensor.Shape) []int {
	if axis, err := graph.Axis(n.Attrs.Int("axis", -1), len(in[0])); err != nil || axis == 0 {
		return nil
	}
	return []int{0}
}
