package pass

import (
	"tandem/graph"
)

// FuseHard recognises the hard sigmoid, min(max(x+3, 0), 6)/6, and the hard swish, x
// times it, as exporters write them that have no operator for them, in whatever order
// the factors are multiplied. What it replaces is left to Dead.
func FuseHard() graph.Pass {
	return graph.Pass{Name: "fuse-hard", Run: func(g *graph.Graph, ops *graph.Table) error {
		if g.Opset[""] < 7 {
			return nil
		}
		for _, n := range g.Nodes {
			if x := hardSigmoid(n); x != nil {
				n.Op, n.Inputs, n.Attrs = graph.OpID{Name: "HardSigmoid"}, []*graph.Value{x}, graph.Attrs{"alpha": float32(1.0 / 6), "beta": float32(0.5)}
			}
			if x := hardSwish(n); x != nil && g.Opset[""] >= 14 {
				n.Op, n.Inputs, n.Attrs = graph.OpID{Name: "HardSwish"}, []*graph.Value{x}, nil
			}
		}
		return Dead().Run(g, ops)
	}}
}

// hardSigmoid is x if n computes a sixth of what upToSix gives for it.
func hardSigmoid(n *graph.Node) *graph.Value {
	if v, s, ok := scaled(n); ok && near(s, 1.0/6) {
		return upToSix(v)
	}
	return nil
}

// upToSix is x if v is min(max(x+3, 0), 6).
func upToSix(v *graph.Value) *graph.Value {
	clip := v.Def
	if clip == nil || clip.Op != (graph.OpID{Name: "Clip"}) || !isFloat32(v) || clip.Inputs[0].Def == nil {
		return nil
	}
	add := clip.Inputs[0].Def
	if _, limits, ok := activationOf(clip); !ok || limits == nil || add.Op != (graph.OpID{Name: "Add"}) {
		return nil
	}
	for i, c := range add.Inputs {
		if s, ok := number(c); ok && s == 3 && add.Inputs[1-i].Type.Shape.Equal(v.Type.Shape) {
			return add.Inputs[1-i]
		}
	}
	return nil
}

// hardSwish is x if n computes x·hardsigmoid(x), with the sixth in either factor or
// behind the product.
func hardSwish(n *graph.Node) *graph.Value {
	product := func(n *graph.Node, gate func(*graph.Value) *graph.Value) *graph.Value {
		if n == nil || n.Op != (graph.OpID{Name: "Mul"}) {
			return nil
		}
		for i, x := range n.Inputs {
			if y := gate(n.Inputs[1-i]); y != nil && y == x {
				return x
			}
		}
		return nil
	}
	if v, s, ok := scaled(n); ok && near(s, 1.0/6) {
		return product(v.Def, upToSix)
	}
	return product(n, func(v *graph.Value) *graph.Value {
		if v.Def == nil || v.Def.Op != (graph.OpID{Name: "HardSigmoid"}) || !isFloat32(v) {
			return nil
		}
		if _, _, ok := activationOf(v.Def); !ok {
			return nil
		}
		return v.Def.Inputs[0]
	})
}
