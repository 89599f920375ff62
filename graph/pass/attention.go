package pass

import (
	"tandem/graph"
	"tandem/tensor"
)

// FuseAttention recognises softmax(scale·q·kᵀ + mask)·v as exporters write it, with
// the scale on the scores or on either side, and makes it one node. Transpositions
// around it become an order of dimensions. What it replaces is left to Dead.
func FuseAttention() graph.Pass {
	return graph.Pass{Name: "fuse-attention", Run: func(g *graph.Graph, ops *graph.Table) error {
		uses := g.Uses()
		for _, n := range g.Nodes {
			a := attentionMatch{g: g, uses: uses, scale: 1, q: inOrder, k: inOrder, v: inOrder, y: inOrder}
			if a.match(n) {
				a.rewrite(n)
			}
		}
		return Dead().Run(g, ops)
	}}
}

// order is which dimension of an operand is batch, head, row and element.
type order [4]int

var inOrder = order{0, 1, 2, 3}

type attentionMatch struct {
	g    *graph.Graph
	uses map[*graph.Value][]*graph.Node

	query, key, value, mask *graph.Value
	scale                   float32
	q, k, v, y              order
}

// match looks at a product of weights and values.
func (a *attentionMatch) match(n *graph.Node) bool {
	if !isProduct(n) {
		return false
	}
	softmax := a.inner(n.Inputs[0])
	if softmax == nil || softmax.Op.Name != "Softmax" || softmax.Op.Domain != "" || !lastAxis(softmax, a.g.OpVersion(softmax)) {
		return false
	}
	product := a.scores(softmax.Inputs[0])
	if product == nil || !isProduct(product) {
		return false
	}
	a.query, a.key, a.value = product.Inputs[0], product.Inputs[1], n.Inputs[1]
	keys := order{0, 1, 3, 2} // before a transposition: batch, head, element, row
	if !a.operand(&a.query, &a.q, true) || !a.operand(&a.key, &keys, true) || !a.operand(&a.value, &a.v, false) {
		return false
	}
	a.k = keys
	return keys[3] == 3
}

// isProduct reports whether n multiplies stacks [batch, head, …] of float32 matrices.
func isProduct(n *graph.Node) bool {
	if n.Op != (graph.OpID{Name: "MatMul"}) {
		return false
	}
	for _, v := range n.Inputs {
		if !isFloat32(v) || len(v.Type.Shape) != 4 {
			return false
		}
	}
	x, y := n.Inputs[0].Type.Shape, n.Inputs[1].Type.Shape
	return x[0].Equal(y[0]) && x[1].Equal(y[1])
}

// inner is the node that computes v, if nothing else needs v.
func (a *attentionMatch) inner(v *graph.Value) *graph.Node {
	if v.Def == nil || len(a.uses[v]) != 1 || a.g.Kept(v) {
		return nil
	}
	return v.Def
}

func lastAxis(n *graph.Node, opset int) bool {
	def := -1
	if opset < 13 {
		def = 1
	}
	axis := n.Attrs.Int("axis", def)
	return axis == -1 || axis == len(n.Inputs[0].Type.Shape)-1
}

// scores goes back from the operand of the softmax, over a mask and a scale, to the
// product of queries and keys.
func (a *attentionMatch) scores(v *graph.Value) *graph.Node {
	n := a.inner(v)
	if n != nil && n.Op == (graph.OpID{Name: "Add"}) {
		i := 0
		if !a.isScores(n.Inputs[0]) {
			i = 1
		}
		scores, mask := n.Inputs[i], n.Inputs[1-i]
		if !isFloat32(mask) || len(mask.Type.Shape) > 4 || !sameShape(scores, n.Outputs[0]) {
			return nil
		}
		a.mask = mask
		n = a.inner(scores)
	}
	for n != nil {
		x, s, ok := scaled(n)
		if !ok {
			return n
		}
		a.scale *= s
		n = a.inner(x)
	}
	return nil
}

// isScores reports whether v comes from a product, over scales.
func (a *attentionMatch) isScores(v *graph.Value) bool {
	for n := a.inner(v); n != nil; {
		if isProduct(n) {
			return true
		}
		x, _, ok := scaled(n)
		if !ok {
			return false
		}
		n = a.inner(x)
	}
	return false
}

// operand goes back from *v over transpositions that leave the last dimension
// last, and over scales if those count, and keeps count of both.
func (a *attentionMatch) operand(v **graph.Value, o *order, scales bool) bool {
	best, bestOrder, bestScale := *v, *o, a.scale
	scale := a.scale
	x, at := *v, *o
	for {
		if at[3] == 3 {
			best, bestOrder, bestScale = x, at, scale
		}
		if x.Def == nil {
			break
		}
		if y, s, ok := scaled(x.Def); ok && scales {
			x, scale = y, scale*s
			continue
		}
		perm := x.Def.Attrs.Ints("perm")
		if x.Def.Op != (graph.OpID{Name: "Transpose"}) || len(perm) != 4 {
			break
		}
		for i := range at {
			at[i] = perm[at[i]]
		}
		x = x.Def.Inputs[0]
	}
	*v, *o, a.scale = best, bestOrder, bestScale
	return bestOrder[3] == 3
}

// scaled splits a product or quotient with a constant number.
func scaled(n *graph.Node) (x *graph.Value, s float32, ok bool) {
	mul, div := n.Op == graph.OpID{Name: "Mul"}, n.Op == graph.OpID{Name: "Div"}
	if !mul && !div {
		return nil, 0, false
	}
	if c, ok := number(n.Inputs[1]); ok && len(n.Inputs[1].Type.Shape) <= len(n.Inputs[0].Type.Shape) {
		if div {
			c = 1 / c
		}
		return n.Inputs[0], c, true
	}
	if c, ok := number(n.Inputs[0]); ok && mul && len(n.Inputs[0].Type.Shape) <= len(n.Inputs[1].Type.Shape) {
		return n.Inputs[1], c, true
	}
	return nil, 0, false
}

// number is the one element of a constant of float32.
func number(v *graph.Value) (float32, bool) {
	if v.Const == nil || v.Const.DType != tensor.Float32 || v.Const.Shape.Len() != 1 {
		return 0, false
	}
	t, err := v.Const.Tensor()
	if err != nil {
		return 0, false
	}
	return t.F32()[0], true
}

// rewrite makes n, or the transposition that alone reads it, the attention.
func (a *attentionMatch) rewrite(n *graph.Node) {
	y := n.Outputs[0]
	if len(a.uses[y]) == 1 && !a.g.Kept(y) && a.uses[y][0].Op == (graph.OpID{Name: "Transpose"}) {
		next := a.uses[y][0]
		if perm := next.Attrs.Ints("perm"); len(perm) == 4 && perm[3] == 3 {
			for i, p := range perm {
				a.y[p] = i
			}
			n = next
		}
	}
	n.Op = graph.OpID{Domain: graph.Private, Name: "Attention"}
	n.Inputs = []*graph.Value{a.query, a.key, a.value}
	if a.mask != nil {
		n.Inputs = append(n.Inputs, a.mask)
	}
	n.Attrs = graph.Attrs{"scale": a.scale}
	for name, o := range map[string]order{"q": a.q, "k": a.k, "v": a.v, "y": a.y} {
		if o != inOrder {
			n.Attrs[name] = []int64{int64(o[0]), int64(o[1]), int64(o[2]), int64(o[3])}
		}
	}
}
