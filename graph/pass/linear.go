package pass

import (
	"maps"
	"slices"

	"tandem/graph"
	"tandem/tensor"
)

var linear = graph.OpID{Domain: graph.Private, Name: "Linear"}

// FuseLinear joins a product with one matrix of weights and what follows it: the
// bias, then an activation or a summand of the same shape (a residual connection).
// They are applied while a strip of the result is in the cache.
func FuseLinear() graph.Pass {
	return graph.Pass{Name: "fuse-linear", Run: func(g *graph.Graph, _ *graph.Table) error {
		uses := g.Uses()
		gone := map[*graph.Node]bool{}
		for _, n := range g.Nodes {
			if toLinear(n) {
				continue
			}
			for i, v := range n.Inputs {
				if v == nil || v.Def == nil || !extends(v.Def) || len(uses[v]) != 1 || g.Kept(v) {
					continue
				}
				before := v.Def
				if follows(before, n, i) {
					gone[before] = true
					break
				}
			}
		}
		g.Nodes = slices.DeleteFunc(g.Nodes, func(n *graph.Node) bool { return gone[n] })
		return nil
	}}
}

// toLinear rewrites a product with a matrix on the right, if n is one.
func toLinear(n *graph.Node) bool {
	a := n.Attrs
	if !isLinear(n) {
		return false
	}
	n.Op, n.Attrs = linear, graph.Attrs{}
	if t := a.Int("transB", 0); t != 0 {
		n.Attrs["transB"] = int64(t)
	}
	return true
}

// isLinear reports whether n is what Linear computes.
func isLinear(n *graph.Node) bool {
	a := n.Attrs
	switch n.Op {
	case graph.OpID{Name: "MatMul"}:
	case graph.OpID{Name: "Gemm"}:
		if a.Float("alpha", 1) != 1 || a.Float("beta", 1) != 1 || a.Int("transA", 0) != 0 {
			return false
		}
		if b := n.Input(2); b != nil && !isBias(b, n.Outputs[0]) {
			return false
		}
	default:
		return false
	}
	x, w := n.Inputs[0], n.Inputs[1]
	return isFloat32(x) && isFloat32(w) && len(x.Type.Shape) >= 2 && len(w.Type.Shape) == 2
}

// isFloat32 reports whether v, if it is not left out, is known to be float32.
func isFloat32(v *graph.Value) bool {
	return v != nil && v.Type.Known() && v.Type.DType == tensor.Float32
}

// isBias reports whether v is a vector along the last dimension of y.
func isBias(v, y *graph.Value) bool {
	if !isFloat32(v) || len(v.Type.Shape) == 0 || len(v.Type.Shape) > len(y.Type.Shape) {
		return false
	}
	last := y.Type.Shape[len(y.Type.Shape)-1]
	return v.Type.Shape[len(v.Type.Shape)-1].Equal(last) && v.Type.Shape.Len().Equal(last)
}

// extends reports whether n is a product with one matrix that follows may join to more.
func extends(n *graph.Node) bool {
	return n.Op == linear || n.Op == bfloat16Linear || n.Op == integerLinear || n.Op == projection && len(n.Inputs) == 5 && n.Inputs[1] == nil
}

// follows rewrites n, which reads the product of the node before as its input i,
// into that product joined with what n computes, if that can be.
func follows(before, n *graph.Node, i int) bool {
	bias, add := 2, 3
	switch before.Op {
	case integerLinear:
		bias, add = 6, 7
	case projection:
		bias, add = 4, 2
	}
	inputs := append(slices.Clone(before.Inputs), make([]*graph.Value, max(bias, add)+1)...)[:max(bias, add)+1]
	attrs := maps.Clone(before.Attrs)
	if attrs == nil {
		attrs = graph.Attrs{}
	}
	plain := attrs.String("activation", "") == "" && inputs[add] == nil
	y := before.Outputs[0]
	switch n.Op {
	case graph.OpID{Name: "Add"}:
		other := n.Inputs[1-i]
		switch {
		case other == y || !isFloat32(other):
			return false
		case plain && inputs[bias] == nil && isBias(other, y) && (before.Op != projection || other.Const != nil):
			inputs[bias] = other
		case inputs[add] == nil && other.Const == nil && sameShape(other, y) && sameShape(n.Outputs[0], y):
			inputs[add] = other
		default:
			return false
		}
	case graph.OpID{Name: "Gelu"}, graph.OpID{Domain: "com.microsoft", Name: "Gelu"}, graph.OpID{Domain: "com.microsoft", Name: "FastGelu"}:
		if !plain || n.Input(1) != nil {
			return false
		}
		attrs["activation"] = "Gelu"
		if n.Op.Name == "FastGelu" || n.Attrs.String("approximate", "none") == "tanh" {
			attrs["activation"] = "FastGelu"
		}
	case graph.OpID{Name: "Relu"}, graph.OpID{Name: "Tanh"}, graph.OpID{Name: "Sigmoid"}, graph.OpID{Name: "Swish"}:
		if !plain || n.Attrs.Float("alpha", 1) != 1 {
			return false
		}
		attrs["activation"] = n.Op.Name
	default:
		return false
	}
	if before.Op == projection && attrs["activation"] != nil {
		return false
	}
	for before.Op != projection && len(inputs) > 2 && inputs[len(inputs)-1] == nil {
		inputs = inputs[:len(inputs)-1]
	}
	n.Op, n.Inputs, n.Attrs = before.Op, inputs, attrs
	return true
}

// sameShape reports whether two values certainly have one shape.
func sameShape(a, b *graph.Value) bool {
	return a.Type.Known() && b.Type.Known() && a.Type.Shape.Equal(b.Type.Shape)
}
