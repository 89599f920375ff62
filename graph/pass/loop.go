package pass

import (
	"slices"

	"tandem/graph"
)

// LoopInvariants lets the body of a Loop read a value from outside that every iteration
// passes on unchanged, such as the weights of a cell that an exporter wrote as a loop:
// it is not copied in every iteration, and a constant is one for the body, too.
func LoopInvariants() graph.Pass {
	return graph.Pass{Name: "loop-invariants", Run: func(g *graph.Graph, _ *graph.Table) error {
		freeInvariants(g)
		return nil
	}}
}

func freeInvariants(g *graph.Graph) {
	for _, n := range g.Nodes {
		for _, b := range n.Bodies() {
			freeInvariants(b.Graph)
		}
		body, _ := n.Attrs["body"].(*graph.Graph)
		if n.Op != (graph.OpID{Name: "Loop"}) || body == nil || len(body.Inputs) != len(n.Inputs) {
			continue
		}
		for i := len(n.Inputs) - 3; i >= 0; i-- {
			if i < len(n.Outputs) && len(body.Outputs) > i+1 && n.Inputs[2+i] != nil && passedOn(body.Outputs[1+i]) == body.Inputs[2+i] {
				freeInvariant(g, n, body, i)
			}
		}
	}
}

// passedOn is the value of which v is the same.
func passedOn(v *graph.Value) *graph.Value {
	for v != nil && v.Def != nil && v.Def.Op == (graph.OpID{Name: "Identity"}) {
		v = v.Def.Inputs[0]
	}
	return v
}

// freeInvariant takes the i-th carried value out of a loop, unless its last value is an
// output of the graph, which needs a node that computes it.
func freeInvariant(g *graph.Graph, n *graph.Node, body *graph.Graph, i int) {
	outer, last := n.Inputs[2+i], n.Outputs[i]
	if last != nil {
		if g.Kept(last) {
			return
		}
		g.Replace(last, outer)
	}
	inner := body.Inputs[2+i]
	n.Inputs, n.Outputs = slices.Delete(n.Inputs, 2+i, 3+i), slices.Delete(n.Outputs, i, i+1)
	body.Inputs, body.Outputs = slices.Delete(body.Inputs, 2+i, 3+i), slices.Delete(body.Outputs, 1+i, 2+i)
	body.Replace(inner, outer)
}
