package pass

import (
	"math"

	"tandem/graph"
)

// FuseGelu recognises x·(1 + erf(x/√2))/2, and the same with the tanh that
// approximates it, in whatever order the factors are multiplied: as exporters before
// opset 20 write them. What it replaces is left to Dead.
func FuseGelu() graph.Pass {
	return graph.Pass{Name: "fuse-gelu", Run: func(g *graph.Graph, ops *graph.Table) error {
		uses := g.Uses()
		only := func(v *graph.Value) *graph.Node {
			if len(uses[v]) != 1 || g.Kept(v) {
				return nil
			}
			return uses[v][0]
		}
		for _, n := range g.Nodes {
			x, to := geluArgument(n)
			if x == nil {
				continue
			}
			add := only(n.Outputs[0])
			if add == nil || add.Op != (graph.OpID{Name: "Add"}) || !hasNumber(add, 1) {
				continue
			}
			if last := geluProduct(only, add, x); last != nil {
				last.Op, last.Inputs, last.Attrs = graph.OpID{Domain: "com.microsoft", Name: to}, []*graph.Value{x}, nil
			}
		}
		return Dead().Run(g, ops)
	}}
}

// geluArgument is x if n is erf(x/√2) or tanh(√(2/π)·(x + 0.044715·x³)), and the
// operator that has it.
func geluArgument(n *graph.Node) (x *graph.Value, to string) {
	erf, tanh := n.Op == graph.OpID{Name: "Erf"}, n.Op == graph.OpID{Name: "Tanh"}
	if !erf && !tanh || n.Inputs[0].Def == nil {
		return nil, ""
	}
	x, s, ok := scaled(n.Inputs[0].Def)
	if erf && ok && near(s, math.Sqrt2/2) {
		return x, "Gelu"
	}
	if !tanh || !ok || !near(s, math.Sqrt(2/math.Pi)) || x.Def == nil || x.Def.Op != (graph.OpID{Name: "Add"}) {
		return nil, ""
	}
	for i, y := range x.Def.Inputs {
		cubic := x.Def.Inputs[1-i]
		if cubic.Def == nil {
			continue
		}
		if z, s, ok := scaled(cubic.Def); ok && near(s, 0.044715) && isCube(z, y) {
			return y, "FastGelu"
		}
	}
	return nil, ""
}

// isCube reports whether v is x³.
func isCube(v, x *graph.Value) bool {
	if v.Def == nil {
		return false
	}
	a := v.Def.Inputs
	switch v.Def.Op {
	case graph.OpID{Name: "Pow"}:
		e, ok := number(a[1])
		return ok && e == 3 && a[0] == x
	case graph.OpID{Name: "Mul"}:
		isSquare := func(v *graph.Value) bool {
			return v.Def != nil && v.Def.Op == graph.OpID{Name: "Mul"} && v.Def.Inputs[0] == x && v.Def.Inputs[1] == x
		}
		return a[0] == x && isSquare(a[1]) || a[1] == x && isSquare(a[0])
	}
	return false
}

// geluProduct follows the products from n on until they have multiplied its result
// with x and a half, and returns the last.
func geluProduct(only func(*graph.Value) *graph.Node, n *graph.Node, x *graph.Value) *graph.Node {
	seen, scale := false, float32(1)
	for range 3 {
		v := n.Outputs[0]
		if n = only(v); n == nil {
			return nil
		}
		if y, s, ok := scaled(n); ok && y == v {
			scale *= s
		} else if n.Op == (graph.OpID{Name: "Mul"}) && !seen && v != x {
			other := n.Inputs[0]
			if other == v {
				other = n.Inputs[1]
			}
			if other != x && other.Def != nil {
				var s float32
				if other, s, ok = scaled(other.Def); !ok {
					return nil
				}
				scale *= s
			}
			if other != x {
				return nil
			}
			seen = true
		} else {
			return nil
		}
		if seen && near(scale, 0.5) {
			return n
		}
	}
	return nil
}

func near(a float32, b float64) bool { return math.Abs(float64(a)-b) < 1e-6 }

// hasNumber reports whether an operand of n is that constant number.
func hasNumber(n *graph.Node, want float64) bool {
	for _, v := range n.Inputs {
		if c, ok := number(v); ok && near(c, want) {
			return true
		}
	}
	return false
}
