package pass

import (
	"slices"

	"tandem/graph"
	"tandem/tensor"
)

var rmsNorm = graph.OpID{Name: "RMSNormalization"}

// FuseRMSNorm recognises x/√(mean(x²) + epsilon)·gain over the last dimension, as
// exporters before opset 23 write it: the square as a power or a product, the root with a
// reciprocal, a quotient or a power of -½, the gain on either side or none. What it
// replaces is left to Dead.
func FuseRMSNorm() graph.Pass {
	return graph.Pass{Name: "fuse-rms-norm", Run: func(g *graph.Graph, ops *graph.Table) error {
		b, uses := graph.Extend(g, ops), g.Uses()
		for _, n := range slices.Clone(g.Nodes) {
			x, epsilon, ok := rmsQuotient(n)
			if !ok {
				continue
			}
			y := n.Outputs[0]
			var gain *graph.Value
			if next := uses[y]; len(next) == 1 && !g.Kept(y) && next[0].Op == (graph.OpID{Name: "Mul"}) {
				if v := other(next[0], y); v != y && isGain(v, x) {
					n, gain = next[0], v
				}
			}
			if gain == nil {
				columns, ok := x.Type.Shape[len(x.Type.Shape)-1].Value()
				if !ok {
					continue
				}
				gain = b.Const("ones", ones(columns))
			}
			n.Op, n.Inputs, n.Version = rmsNorm, []*graph.Value{x, gain}, 23
			n.Attrs = graph.Attrs{"axis": int64(-1), "epsilon": epsilon}
		}
		return Dead().Run(g, ops)
	}}
}

// isGain reports whether v is a vector along the last dimension of x.
func isGain(v, x *graph.Value) bool { return len(v.Type.Shape) == 1 && isBias(v, x) }

func ones(n int) *tensor.Tensor {
	t := tensor.New(tensor.Float32, n)
	for i := range t.F32() {
		t.F32()[i] = 1
	}
	return t
}

// rmsQuotient is x and epsilon if n computes x/√(mean(x²) + epsilon).
func rmsQuotient(n *graph.Node) (x *graph.Value, epsilon float32, ok bool) {
	match := func(a, root *graph.Value) bool {
		if root == nil || !isFloat32(a) || !sameShape(a, n.Outputs[0]) || len(a.Type.Shape) == 0 {
			return false
		}
		x = a
		return eachWay(root, "Add", func(square, e *graph.Value) bool {
			var isNumber bool
			epsilon, isNumber = number(e)
			return isNumber && len(e.Type.Shape) <= len(a.Type.Shape) && isMeanSquare(square, a)
		})
	}
	switch n.Op {
	case graph.OpID{Name: "Div"}:
		ok = match(n.Inputs[0], rootOf(n.Inputs[1]))
	case graph.OpID{Name: "Mul"}:
		ok = match(n.Inputs[0], inverseRootOf(n.Inputs[1])) || match(n.Inputs[1], inverseRootOf(n.Inputs[0]))
	}
	return x, epsilon, ok
}

// rootOf is v if root is √v.
func rootOf(root *graph.Value) *graph.Value {
	if in := operands(root, "Sqrt"); in != nil {
		return in[0]
	}
	return power(root, 0.5)
}

// inverseRootOf is v if inverse is 1/√v.
func inverseRootOf(inverse *graph.Value) *graph.Value {
	if in := operands(inverse, "Reciprocal"); in != nil {
		return rootOf(in[0])
	}
	if in := operands(inverse, "Div"); in != nil {
		if one, ok := number(in[0]); ok && one == 1 && len(in[0].Type.Shape) <= len(in[1].Type.Shape) {
			return rootOf(in[1])
		}
	}
	return power(inverse, -0.5)
}

// power is v if p is v to the power of e.
func power(p *graph.Value, e float32) *graph.Value {
	in := operands(p, "Pow")
	if in == nil || !isFloat32(in[0]) {
		return nil
	}
	if c, ok := number(in[1]); !ok || c != e || len(in[1].Type.Shape) > len(in[0].Type.Shape) {
		return nil
	}
	return in[0]
}

// isMeanSquare reports whether v is the mean of x² over the last dimension, which stays.
func isMeanSquare(v, x *graph.Value) bool {
	in := operands(v, "ReduceMean")
	if in == nil || v.Def.Attrs.Int("keepdims", 1) != 1 || !overAxes(v.Def, len(x.Type.Shape)-1, len(x.Type.Shape)) {
		return false
	}
	if factors := operands(in[0], "Mul"); factors != nil {
		return factors[0] == x && factors[1] == x
	}
	return power(in[0], 2) == x
}
