package pass

import (
	"slices"

	"tandem/graph"
	"tandem/tensor"
)

var integerLinear = graph.OpID{Domain: graph.Private, Name: "IntegerLinear"}

// FuseIntegers joins products of bytes with the steps that dynamic quantisers write
// after them: the conversion to floats and the multiplication with the scales.
// What follows (bias, activation, summand) is FuseLinear's to join.
func FuseIntegers() graph.Pass {
	return graph.Pass{Name: "fuse-integers", Run: func(g *graph.Graph, ops *graph.Table) error {
		if err := writeOutDynamic(g, ops); err != nil {
			return err
		}
		uses := g.Uses()
		gone := map[*graph.Node]bool{}
		for _, n := range g.Nodes {
			switch n.Op {
			case graph.OpID{Name: "Mul"}:
				scaleProduct(g, uses, gone, n)
			case graph.OpID{Domain: "com.microsoft", Name: "MatMulIntegerToFloat"}:
				in := append(slices.Clone(n.Inputs), make([]*graph.Value, 3)...)
				if fits(in[0], in[1], in[4], in[5]) && numberOrRows(in[2], in[0]) && numberOrColumns(in[3], in[1]) && (in[6] == nil || numberOrColumns(in[6], in[1])) {
					n.Op = integerLinear
				}
			}
		}
		g.Nodes = slices.DeleteFunc(g.Nodes, func(n *graph.Node) bool { return gone[n] })
		return fuseRows(g, ops)
	}}
}

// writeOutDynamic makes a DynamicQuantizeMatMul two nodes.
func writeOutDynamic(g *graph.Graph, ops *graph.Table) error {
	is := func(n *graph.Node) bool {
		return n.Op == graph.OpID{Domain: "com.microsoft", Name: "DynamicQuantizeMatMul"}
	}
	if !slices.ContainsFunc(g.Nodes, is) {
		return nil
	}
	b, nodes := graph.Extend(g, ops), g.Nodes
	g.Nodes = nil
	for _, n := range nodes {
		in := append(slices.Clone(n.Inputs), make([]*graph.Value, 2)...)
		if is(n) && isFloat32(in[0]) && fits(in[0], in[1], nil, in[3]) && numberOrColumns(in[2], in[1]) && (in[4] == nil || numberOrColumns(in[4], in[1])) {
			q := b.Node(graph.OpID{Name: "DynamicQuantizeLinear"}, 3, nil, in[0])
			n.Op, n.Inputs = integerLinear, []*graph.Value{q[0], in[1], q[1], in[2], q[2], in[3], in[4]}
		}
		g.Nodes = append(g.Nodes, n)
	}
	return b.Err()
}

// scaleProduct rewrites the node n, float(a·b)·(aScale·bScale), if it is such.
func scaleProduct(g *graph.Graph, uses map[*graph.Value][]*graph.Node, gone map[*graph.Node]bool, n *graph.Node) {
	only := func(v *graph.Value, id graph.OpID) *graph.Node {
		if v == nil || v.Def == nil || v.Def.Op != id || len(uses[v]) != 1 || g.Kept(v) {
			return nil
		}
		return v.Def
	}
	for i, v := range n.Inputs {
		cast := only(v, graph.OpID{Name: "Cast"})
		if cast == nil || v.Type.DType != tensor.Float32 {
			continue
		}
		product := only(cast.Inputs[0], graph.OpID{Name: "MatMulInteger"})
		if product == nil {
			continue
		}
		in := append(slices.Clone(product.Inputs), nil, nil)
		rows, columns := scalesOf(n.Inputs[1-i].Def, in[0], in[1])
		if rows == nil || !fits(in[0], in[1], in[2], in[3]) || !sameShape(v, n.Outputs[0]) {
			continue
		}
		n.Op, n.Attrs = integerLinear, graph.Attrs{}
		n.Inputs = []*graph.Value{in[0], in[1], rows, columns, in[2], in[3]}
		gone[cast], gone[product] = true, true
		return
	}
}

// scalesOf are the scales of a's rows and b's columns, or of all of them, of which n is the
// product: by Mul, or by MatMul of a column and a row; nil if n is none.
func scalesOf(n *graph.Node, a, b *graph.Value) (rows, columns *graph.Value) {
	if n == nil || !b.Type.Known() || len(b.Type.Shape) != 2 {
		return nil, nil
	}
	switch n.Op {
	case graph.OpID{Name: "Mul"}:
		for i, v := range n.Inputs {
			if numberOrRows(v, a) && numberOrColumns(n.Inputs[1-i], b) {
				return v, n.Inputs[1-i]
			}
		}
	case graph.OpID{Name: "MatMul"}:
		r, c := n.Inputs[0], n.Inputs[1]
		if numberOrRows(r, a) && len(r.Type.Shape) >= 2 && c.Type.Known() && c.Type.Shape.Equal(graph.Shape{graph.Const(1), b.Type.Shape[1]}) {
			return r, c
		}
	}
	return nil, nil
}

// fits reports whether a and b, with these zero points or nil, are what IntegerLinear
// multiplies.
func fits(a, b, aZero, bZero *graph.Value) bool {
	if !a.Type.Known() || !b.Type.Known() || len(a.Type.Shape) < 2 || len(b.Type.Shape) != 2 {
		return false
	}
	return (aZero == nil || aZero.Type.Known() && aZero.Type.Shape.Len().Is(1)) && (bZero == nil || numberOrColumns(bZero, b))
}

// numberOrColumns reports whether v is one number, or one for each column of b.
func numberOrColumns(v, b *graph.Value) bool {
	return v.Type.Known() && (v.Type.Shape.Len().Is(1) || len(v.Type.Shape) == 1 && v.Type.Shape[0].Equal(b.Type.Shape[1]))
}

// numberOrRows reports whether v is one number, or one for each row of a, with 1 for
// its last dimension.
func numberOrRows(v, a *graph.Value) bool {
	if !isFloat32(v) {
		return false
	}
	s, of := v.Type.Shape, a.Type.Shape
	last := len(of) - 1
	return s.Len().Is(1) || len(s) == len(of) && s[last].Is(1) && s[:last].Equal(of[:last])
}
