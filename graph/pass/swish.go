package pass

import (
	"tandem/graph"
)

// FuseSwish recognises x·sigmoid(x), as exporters before opset 24 write it. What it
// replaces is left to Dead.
func FuseSwish() graph.Pass {
	return graph.Pass{Name: "fuse-swish", Run: func(g *graph.Graph, ops *graph.Table) error {
		for _, n := range g.Nodes {
			y := n.Outputs[0]
			var x *graph.Value
			if isFloat32(y) && eachWay(y, "Mul", func(v, gate *graph.Value) bool {
				x = v
				in := operands(gate, "Sigmoid")
				return in != nil && in[0] == v
			}) {
				n.Op, n.Inputs, n.Attrs, n.Version = graph.OpID{Name: "Swish"}, []*graph.Value{x}, nil, 24
			}
		}
		return Dead().Run(g, ops)
	}}
}
