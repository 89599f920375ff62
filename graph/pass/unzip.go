package pass

import (
	"slices"

	"tandem/graph"
)

// Unzip gives the scores themselves where an output is a list of maps from classes to
// them (ZipMap of ai.onnx.ml, which exporters of scikit-learn put last): for a network
// protocol, which has tensors only. The columns are in the order of the classes.
func Unzip() graph.Pass {
	return graph.Pass{Name: "unzip", Run: func(g *graph.Graph, _ *graph.Table) error {
		uses := g.Uses()
		for _, n := range g.Nodes {
			if n.Op != (graph.OpID{Domain: "ai.onnx.ml", Name: "ZipMap"}) || len(n.Outputs) != 1 {
				continue
			}
			y := n.Outputs[0]
			if !slices.Contains(g.Outputs, y) || len(uses[y]) > 0 {
				continue
			}
			n.Op, n.Attrs = graph.OpID{Name: "Identity"}, nil
			y.Type, y.Declared, y.Elements = graph.Type{}, graph.Type{}, nil
		}
		return nil
	}}
}
