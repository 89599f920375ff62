package pass

import (
	"slices"

	"tandem/graph"
)

var joinedMatMul = graph.OpID{Domain: graph.Private, Name: "QLinearMatMul"}

// productTable is the input of joinedMatMul that is a table; a row that is added follows: it,
// its scale and zero point, and those of the sum.
const productTable = 8

// FuseByteProducts joins a QLinearMatMul with what alone reads its bytes: a row of constant
// bytes that QLinearAdd adds, and then a table. The bytes are those of the operators one by
// one.
func FuseByteProducts() graph.Pass {
	return graph.Pass{Name: "fuse-byte-products", Run: func(g *graph.Graph, _ *graph.Table) error {
		uses, gone := g.Uses(), map[*graph.Node]bool{}
		open := func(v *graph.Value) *graph.Node {
			if v.Def == nil || len(uses[v]) != 1 || g.Kept(v) || v.Def.Input(productTable) != nil || v.Def.Op != joinedMatMul && !byteProduct(v.Def) {
				return nil
			}
			return v.Def
		}
		for _, n := range g.Nodes {
			var product *graph.Node
			var in []*graph.Value
			switch n.Op {
			case graph.OpID{Domain: "com.microsoft", Name: "QLinearAdd"}:
				product, in = addedRow(n, open)
			case lookup:
				if product = open(n.Inputs[0]); product != nil {
					in = extended(product, productTable)
					in[productTable] = n.Inputs[1]
				}
			}
			if product != nil {
				n.Op, n.Attrs, n.Inputs = joinedMatMul, nil, in
				gone[product] = true
			}
		}
		g.Nodes = slices.DeleteFunc(g.Nodes, func(n *graph.Node) bool { return gone[n] })
		return nil
	}}
}

// addedRow is the product whose bytes the node n, a QLinearAdd, adds to a row of constants,
// in the steps in which they are written, and the inputs of both as one.
func addedRow(n *graph.Node, open func(*graph.Value) *graph.Node) (*graph.Node, []*graph.Value) {
	for j := 0; j <= 3; j += 3 {
		v, row := n.Inputs[j], n.Inputs[3-j]
		product := open(v)
		if product == nil || len(product.Inputs) > productTable || row.Const == nil || row.Const.Encoding != graph.Dense || len(row.Const.Shape) != 1 ||
			!v.Type.Shape[len(v.Type.Shape)-1].Is(row.Const.Shape[0]) || n.Inputs[j+2] == nil || !sameNumber(n.Inputs[j+1], product.Inputs[6]) || !sameNumber(n.Inputs[j+2], product.Inputs[7]) {
			continue
		}
		return product, append(extended(product, productTable), row, n.Inputs[4-j], n.Inputs[5-j], n.Inputs[6], n.Input(7))
	}
	return nil, nil
}

// byteProduct reports whether joinedMatMul computes n: a QLinearMatMul of bytes with one
// scale and zero point, or of a matrix one for each column.
func byteProduct(n *graph.Node) bool {
	if n.Op != (graph.OpID{Name: "QLinearMatMul"}) || slices.Contains(n.Inputs, nil) {
		return false
	}
	a, b := n.Inputs[0], n.Inputs[3]
	one := func(i int) bool { return n.Inputs[i].Type.Known() && n.Inputs[i].Type.Shape.Len().Is(1) }
	columns := func(i int) bool { return one(i) || len(b.Type.Shape) == 2 && numberOrColumns(n.Inputs[i], b) }
	return isBytes(a) && isBytes(b) && isBytes(n.Outputs[0]) && len(a.Type.Shape) >= 2 && len(b.Type.Shape) >= 2 &&
		isFloat32(n.Inputs[1]) && isFloat32(n.Inputs[4]) && isFloat32(n.Inputs[6]) &&
		one(1) && one(2) && one(6) && one(7) && columns(4) && columns(5)
}
