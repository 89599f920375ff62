package pass

import (
	"maps"
	"slices"

	"tandem/graph"
)

// JoinAttention leaves queries, keys and values where one product computes them: a Split
// before Attention, and what puts the parts' gradients together after its gradient, are
// not carried out. It does so for attention within one sequence where nothing else reads
// the parts.
func JoinAttention() graph.Pass {
	return graph.Pass{Name: "join-attention", Run: func(g *graph.Graph, ops *graph.Table) error {
		uses := g.Uses()
		for _, n := range g.Nodes {
			if j, ok := matchJoint(g, uses, n); ok {
				j.rewrite()
			}
		}
		return Dead().Run(g, ops)
	}}
}

// jointMatch is attention that can read what its operands are split from.
type jointMatch struct {
	split, attention *graph.Node
	gradient, whole  *graph.Node // of attention, and what joins its results; or nil
	parts            []int64
}

func matchJoint(g *graph.Graph, uses map[*graph.Value][]*graph.Node, n *graph.Node) (jointMatch, bool) {
	j := jointMatch{attention: n}
	if n.Op != (graph.OpID{Name: "Attention"}) || len(n.Inputs) > 4 || len(n.Inputs) < 3 || n.Attrs.Float("softcap", 0) != 0 ||
		slices.ContainsFunc(n.Outputs[1:], func(v *graph.Value) bool { return v != nil && (len(uses[v]) > 0 || g.Kept(v)) }) {
		return j, false
	}
	j.split = n.Inputs[0].Def
	if j.split == nil || j.split.Op != (graph.OpID{Name: "Split"}) || !slices.Equal(j.split.Outputs, n.Inputs[:3]) {
		return j, false
	}
	if axis := j.split.Attrs.Int("axis", 0); axis != -1 && axis != 2 {
		return j, false
	}
	for _, v := range j.split.Outputs {
		if !isFloat32(v) || len(v.Type.Shape) != 3 || g.Kept(v) {
			return j, false
		}
		width, ok := v.Type.Shape[2].Value()
		if !ok {
			return j, false
		}
		j.parts = append(j.parts, int64(width))
		for _, reader := range uses[v] {
			if reader == n {
				continue
			}
			if reader.Op != (graph.OpID{Domain: "tandem", Name: "AttentionGrad"}) || !slices.Equal(reader.Inputs[:3], n.Inputs[:3]) ||
				j.gradient != nil && j.gradient != reader {
				return j, false
			}
			j.gradient = reader
		}
	}
	return j, j.gradient == nil || j.matchWhole(g, uses)
}

// matchWhole finds the node that joins all results of the gradient and nothing else.
func (j *jointMatch) matchWhole(g *graph.Graph, uses map[*graph.Value][]*graph.Node) bool {
	for _, v := range j.gradient.Outputs {
		if len(uses[v]) != 1 || g.Kept(v) {
			return false
		}
		j.whole = uses[v][0]
	}
	return j.whole.Op == (graph.OpID{Domain: "tandem", Name: "SplitGrad"}) && j.whole.Inputs[0] == j.split.Inputs[0] &&
		slices.Equal(j.whole.Inputs[1:4], j.gradient.Outputs)
}

func (j *jointMatch) rewrite() {
	attrs := maps.Clone(j.attention.Attrs)
	attrs["parts"] = j.parts
	become := func(n *graph.Node, name string, inputs ...*graph.Value) {
		n.Op, n.Attrs, n.Inputs = graph.OpID{Domain: "tandem", Name: name}, attrs, inputs
	}
	x := j.split.Inputs[0]
	if j.gradient != nil {
		// In the place of the node that joined, whose result it gives.
		become(j.whole, "JointAttentionGrad", x, j.gradient.Input(3), j.gradient.Inputs[4])
	}
	become(j.attention, "JointAttention", x, j.attention.Input(3))
	j.attention.Outputs = j.attention.Outputs[:1]
}
