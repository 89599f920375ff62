package pass

import (
	"slices"

	"tandem/graph"
	"tandem/tensor"
)

var stridedAttention = graph.OpID{Domain: graph.Private, Name: "Attention"}

// FuseAttention recognises softmax(scale·q·kᵀ + mask)·v as exporters write it, with
// the scale on the scores or on either side, and makes it one node. How exporters
// split, transpose and repeat before it becomes strides, a transposition after it an
// order of dimensions. What it replaces is left to Dead.
func FuseAttention() graph.Pass {
	return graph.Pass{Name: "fuse-attention", Run: func(g *graph.Graph, ops *graph.Table) error {
		uses := g.Uses()
		for _, n := range g.Nodes {
			a := attentionMatch{g: g, uses: uses, scale: 1, y: inOrder}
			if a.match(n) {
				a.rewrite(n)
			}
		}
		return Dead().Run(g, ops)
	}}
}

// order is which dimension is batch, head, row and element.
type order [4]int

var inOrder = order{0, 1, 2, 3}

type attentionMatch struct {
	g    *graph.Graph
	uses map[*graph.Value][]*graph.Node

	query, key, value, mask *graph.Value
	scale                   float32
	heads                   [3][]int64 // of q, k, v
	y                       order
	zero                    bool // rows without any key give 0
}

// match looks at a product of weights and values.
func (a *attentionMatch) match(n *graph.Node) bool {
	if !isProduct(n) {
		return false
	}
	weights := n.Inputs[0]
	if p, ok := a.guarded(weights); ok {
		weights, a.zero = p, true
	}
	softmax := weights.Def
	if !a.zero {
		softmax = a.inner(weights)
	}
	if softmax == nil || softmax.Op.Name != "Softmax" || softmax.Op.Domain != "" || !lastAxis(softmax, a.g.OpVersion(softmax)) {
		return false
	}
	product := a.scores(softmax.Inputs[0])
	if product == nil || !isProduct(product) {
		return false
	}
	a.query, a.key, a.value = product.Inputs[0], product.Inputs[1], n.Inputs[1]
	var heads [3]graph.Dim
	for i, o := range []struct {
		v **graph.Value
		operand
	}{{&a.query, operand{inOrder, true, false}}, {&a.key, operand{order{0, 1, 3, 2}, true, true}}, {&a.value, operand{inOrder, false, true}}} {
		var ok bool
		if a.heads[i], heads[i], ok = a.operand(o.v, o.operand); !ok {
			return false
		}
	}
	return heads[1].Equal(heads[2])
}

// operand is how queries, keys or values are read.
type operand struct {
	roles  order // the dimensions that are batch, head, row and element
	scales bool  // a factor before counts for the scores
	shared bool  // a head may serve several of the queries: where it is repeated, it is read once
}

// guarded is p if v is Where(IsNaN(p), 0, p), by which exporters give rows without
// any key zeros. (Rows whose scores are not numbers stay so in the fused form.)
func (a *attentionMatch) guarded(v *graph.Value) (p *graph.Value, ok bool) {
	where := a.inner(v)
	if where == nil || where.Op != (graph.OpID{Name: "Where"}) {
		return nil, false
	}
	p = where.Inputs[2]
	test := where.Inputs[0].Def
	zero, ok := number(where.Inputs[1])
	if !ok || zero != 0 || test == nil || test.Op != (graph.OpID{Name: "IsNaN"}) || test.Inputs[0] != p {
		return nil, false
	}
	return p, p.Def != nil && len(a.uses[p]) == 2 && !a.g.Kept(p) && len(a.uses[test.Outputs[0]]) == 1 && !a.g.Kept(test.Outputs[0])
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

// operand goes back from *v over nodes that rearrange, and over scales if those
// count, as far as the heads of rows can be told from there, and says how many they are.
func (a *attentionMatch) operand(v **graph.Value, o operand) (heads []int64, count graph.Dim, ok bool) {
	type link struct {
		value *graph.Value
		node  *graph.Node // that computes the value before; nil: it only scales
		scale float32     // of all that was passed
	}
	chain := []link{{*v, nil, 1}}
	for x, scale := *v, float32(1); x.Def != nil && len(chain) < 16; {
		n := x.Def
		if y, s, ok := scaled(n); ok {
			if !o.scales {
				break
			}
			x, scale = y, scale*s
			chain = append(chain, link{x, nil, scale})
			continue
		}
		x = n.Inputs[0]
		if !isFloat32(x) {
			break
		}
		chain = append(chain, link{x, n, scale})
	}
	for i, from := range slices.Backward(chain) {
		lies, ok := dense(from.value.Type.Shape), true
		for j := i; j > 0 && ok; j-- {
			if chain[j].node != nil {
				lies, ok = lies.through(chain[j].node, chain[j-1].value)
			}
		}
		if !ok {
			continue
		}
		if heads, count, ok = headsIn(lies, from.value.Type.Shape, o); ok {
			*v = from.value
			a.scale *= from.scale
			return heads, count, true
		}
	}
	return nil, count, false
}

// headsIn is the attribute of the fused operator for a view of four dimensions, if
// batch and row are whole dimensions of what is viewed and the rest is in numbers.
func headsIn(v view, shape graph.Shape, o operand) (heads []int64, number graph.Dim, ok bool) {
	if len(v.dims) != 4 {
		return nil, number, false
	}
	if o.shared {
		v = v.once(o.roles[1])
	}
	var runs [4]run
	for i, d := range o.roles {
		if runs[i], ok = v.single(d); !ok {
			return nil, number, false
		}
	}
	number = runs[1].size
	dimension := func(r run) int64 {
		for i, d := range shape {
			if !d.Is(1) && r.size.Equal(d) && r.stride.Equal(shape[i+1:].Len()) {
				return int64(i)
			}
		}
		return -1
	}
	batch, head, row := dimension(runs[0]), dimension(runs[1]), dimension(runs[2])
	size, ok1 := runs[3].size.Value()
	stride, ok2 := runs[1].stride.Value()
	count, ok3 := runs[1].size.Value()
	offset, ok4 := v.offset.Value()
	switch {
	case batch < 0 && !runs[0].size.Is(1), row < 0, !ok1, !ok4, !runs[3].stride.Is(1):
		return nil, number, false
	case head >= 0:
		return []int64{batch, row, head, 0, 0, int64(offset), int64(size)}, number, true
	}
	return []int64{batch, row, -1, int64(stride), int64(count), int64(offset), int64(size)}, number, ok2 && ok3
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
	n.Op = stridedAttention
	n.Inputs = []*graph.Value{a.query, a.key, a.value}
	if a.mask != nil {
		n.Inputs = append(n.Inputs, a.mask)
	}
	n.Attrs = graph.Attrs{"scale": a.scale, "q": a.heads[0], "k": a.heads[1], "v": a.heads[2]}
	if a.zero {
		n.Attrs["zero"] = int64(1)
	}
	if o := a.y; o != inOrder {
		n.Attrs["y"] = []int64{int64(o[0]), int64(o[1]), int64(o[2]), int64(o[3])}
	}
}
