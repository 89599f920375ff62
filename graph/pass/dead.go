package pass

import (
	"slices"

	"tandem/graph"
)

// Dead removes nodes whose outputs nothing reads.
func Dead() graph.Pass {
	return graph.Pass{Name: "dead", Run: func(g *graph.Graph, _ *graph.Table) error {
		live := map[*graph.Value]bool{}
		for _, v := range g.Outputs {
			live[v] = true
		}
		for _, s := range g.State {
			live[s.Next] = true
		}
		var kept []*graph.Node
		for _, n := range slices.Backward(g.Nodes) {
			if !slices.ContainsFunc(n.Outputs, func(o *graph.Value) bool { return o != nil && live[o] }) {
				continue
			}
			for _, v := range n.Reads() {
				live[v] = true
			}
			kept = append(kept, n)
		}
		slices.Reverse(kept)
		g.Nodes = kept
		return nil
	}}
}

// Views removes nodes that pass their input on unchanged, type and all, such as
// Identity, and Dropout outside training. What remains a graph output keeps its
// node, so that outputs stay distinct from inputs.
func Views() graph.Pass {
	return graph.Pass{Name: "views", Run: func(g *graph.Graph, ops *graph.Table) error {
		for _, n := range g.Nodes {
			op, err := ops.Of(g, n)
			if err != nil {
				return err
			}
			if !op.View && (op.Identity == nil || !op.Identity(n)) {
				continue
			}
			x, y := n.Inputs[0], n.Outputs[0]
			if y.Type.Known() && x.Type.Shape.Equal(y.Type.Shape) && !g.Kept(y) {
				g.Replace(y, x)
			}
		}
		return Dead().Run(g, ops)
	}}
}
