package pass

import (
	"maps"
	"slices"

	"tandem/graph"
)

// fused is the operator that computes op followed by an activation.
func fused(op graph.OpID) (graph.OpID, bool) {
	switch op {
	case graph.OpID{Name: "Conv"}:
		return graph.OpID{Domain: "com.microsoft", Name: "FusedConv"}, true
	case graph.OpID{Name: "Gemm"}:
		return graph.OpID{Domain: "com.microsoft", Name: "FusedGemm"}, true
	}
	return op, false
}

// FuseActivation joins Conv or Gemm with the Relu that alone reads its result:
// the product is clipped while it is in registers instead of in another walk
// over memory. Gradients of Relu read its output, which the fused node has.
func FuseActivation() graph.Pass {
	return graph.Pass{Name: "fuse-activation", Run: func(g *graph.Graph, _ *graph.Table) error {
		uses := g.Uses()
		gone := map[*graph.Node]bool{}
		for _, n := range g.Nodes {
			to, ok := fused(n.Op)
			if !ok {
				continue
			}
			y := n.Outputs[0]
			if len(uses[y]) != 1 || g.Kept(y) || uses[y][0].Op != (graph.OpID{Name: "Relu"}) {
				continue
			}
			relu := uses[y][0]
			n.Op = to
			n.Attrs = maps.Clone(n.Attrs)
			if n.Attrs == nil {
				n.Attrs = graph.Attrs{}
			}
			n.Attrs["activation"] = "Relu"
			n.Outputs = []*graph.Value{relu.Outputs[0]}
			relu.Outputs[0].Def = n
			gone[relu] = true
		}
		g.Nodes = slices.DeleteFunc(g.Nodes, func(n *graph.Node) bool { return gone[n] })
		return nil
	}}
}
