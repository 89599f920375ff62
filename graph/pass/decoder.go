package pass

import (
	"slices"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// Decoder are the passes that make a language model's standard graph the one that
// serves many sequences: attention over pages, weights packed, and a layer in five
// nodes. packing may be nil.
func Decoder(p *kernel.Pool, pages int, packing Packing) []graph.Pass {
	return []graph.Pass{Views(), Paged(pages), Projections(p, packing), FuseDecoder(), Dead()}
}

// FuseDecoder joins what surrounds the products and attentions of a decoder with
// them, so that a layer passes over its rows five times:
//
//	queries, keys and values, normalised before: one Projection
//	norms of heads, rotary positions, cache, attention: one PagedAttention
//	the projection and the residual: one Projection
//	gate and up, normalised before, and their product: one Projection
//	down and the residual: one Projection
//
// Each step is a pattern of its own; where a model differs, the others hold.
func FuseDecoder() graph.Pass {
	return graph.Pass{Name: "fuse-decoder", Run: func(g *graph.Graph, _ *graph.Table) error {
		for _, step := range []func(*fusion){(*fusion).gates, (*fusion).heads, (*fusion).joins, (*fusion).norms, (*fusion).residuals} {
			f := &fusion{g: g, uses: g.Uses(), gone: map[*graph.Node]bool{}}
			step(f)
			g.Nodes = slices.DeleteFunc(g.Nodes, func(n *graph.Node) bool { return f.gone[n] })
		}
		return nil
	}}
}

type fusion struct {
	g    *graph.Graph
	uses map[*graph.Value][]*graph.Node
	gone map[*graph.Node]bool
}

// alone reports whether only one node reads v.
func (f *fusion) alone(v *graph.Value) bool { return len(f.uses[v]) == 1 && !f.g.Kept(v) }

// def is the node that defines v if it is of the operator and v is read once.
func (f *fusion) def(v *graph.Value, op graph.OpID) *graph.Node {
	if v == nil || v.Def == nil || v.Def.Op != op || !f.alone(v) {
		return nil
	}
	return v.Def
}

// plain is the Projection of one weight, without norm, addend or gate, that alone
// gives v.
func (f *fusion) plain(v *graph.Value) *graph.Node {
	n := f.def(v, projection)
	if n == nil || len(n.Inputs) != 5 || n.Inputs[1] != nil || n.Inputs[2] != nil || n.Attrs.String("gate", "") != "" {
		return nil
	}
	return n
}

// gates: act(x·A) · (x·B).
func (f *fusion) gates() {
	for i, n := range f.g.Nodes {
		if n.Op != (graph.OpID{Name: "Mul"}) {
			continue
		}
		for j := range 2 {
			act, up := n.Inputs[j], f.plain(n.Inputs[1-j])
			if act.Def == nil || up == nil || !f.alone(act) {
				continue
			}
			kind, ok := gateOf(act.Def)
			if !ok {
				continue
			}
			gate := f.plain(act.Def.Inputs[0])
			if gate == nil || gate.Inputs[0] != up.Inputs[0] || !alike(gate.Inputs[3], up.Inputs[3]) {
				continue
			}
			to := &graph.Node{Name: n.Name, Op: projection, Attrs: graph.Attrs{"gate": kind}, Outputs: n.Outputs}
			to.Inputs = append(slices.Clone(gate.Inputs), up.Inputs[3:]...)
			n.Outputs[0].Def = to
			f.g.Nodes[i] = to
			f.gone[gate], f.gone[up], f.gone[act.Def] = true, true, true
			break
		}
	}
}

// gateOf is the kind of gate that an activation makes.
func gateOf(n *graph.Node) (string, bool) {
	switch n.Op {
	case graph.OpID{Name: "Swish"}:
		return "silu", n.Attrs.Float("alpha", 1) == 1
	case graph.OpID{Name: "Gelu"}:
		return "gelu", n.Attrs.String("approximate", "none") == "tanh"
	}
	return "", false
}

// alike: panels of the same width for the same shape.
func alike(a, b *graph.Value) bool {
	return a.Const.Shape.Equal(b.Const.Shape) && a.Const.Encoding == b.Const.Encoding
}

// heads: norms and rotary positions before a PagedAttention. Queries and keys must
// be turned alike; where there are no keys, the queries decide.
func (f *fusion) heads() {
	for _, n := range f.g.Nodes {
		if n.Op != pagedNode || n.Attrs.Int("joined", 0) != 0 {
			continue
		}
		q, k := f.headOf(n, n.Inputs[0]), head{}
		if n.Inputs[1] != nil {
			k = f.headOf(n, n.Inputs[1])
			if q.turn != k.turn || q.scale != nil && k.scale != nil && q.epsilon != k.epsilon {
				continue
			}
		}
		if q.turn == (turn{}) && q.scale == nil && k.scale == nil {
			continue
		}
		n.Inputs[0], n.Inputs[8] = q.from, q.scale
		if n.Inputs[1] != nil {
			n.Inputs[1], n.Inputs[9] = k.from, k.scale
		}
		n.Inputs[10], n.Inputs[11], n.Inputs[12] = q.turn.cos, q.turn.sin, q.turn.positions
		n.Attrs["interleaved"] = q.turn.interleaved
		if q.scale != nil {
			n.Attrs["epsilon"] = q.epsilon
		} else if k.scale != nil {
			n.Attrs["epsilon"] = k.epsilon
		}
		for _, node := range append(q.nodes, k.nodes...) {
			f.gone[node] = true
		}
	}
}

// head is what happens to a head before attention.
type head struct {
	from    *graph.Value
	scale   *graph.Value
	epsilon float32
	turn    turn
	nodes   []*graph.Node
}

type turn struct {
	cos, sin, positions *graph.Value
	interleaved         int64
}

// headOf reads v backwards.
func (f *fusion) headOf(n *graph.Node, v *graph.Value) head {
	h := head{from: v}
	size := n.Attrs.Int("head_size", 0)
	if r := f.def(v, graph.OpID{Name: "RotaryEmbedding"}); r != nil && len(r.Inputs) == 4 && r.Inputs[3] != nil && len(r.Inputs[1].Type.Shape) == 2 {
		h.turn = turn{r.Inputs[1], r.Inputs[2], r.Inputs[3], int64(r.Attrs.Int("interleaved", 0))}
		h.from, h.nodes = r.Inputs[0], append(h.nodes, r)
	}
	join := f.def(h.from, graph.OpID{Name: "Reshape"})
	if join == nil {
		return h
	}
	norm := f.def(join.Inputs[0], graph.OpID{Name: "RMSNormalization"})
	if norm == nil || !normOfRows(norm) || norm.Inputs[1].Const == nil || norm.Inputs[1].Const.Shape.Len() != size {
		return h
	}
	cut := f.def(norm.Inputs[0], graph.OpID{Name: "Reshape"})
	if cut == nil || !cut.Inputs[0].Type.Shape.Equal(join.Outputs[0].Type.Shape) {
		return h
	}
	h.scale, h.epsilon = norm.Inputs[1], norm.Attrs.Float("epsilon", 1e-5)
	h.from, h.nodes = cut.Inputs[0], append(h.nodes, join, norm, cut)
	return h
}

// normOfRows reports whether a norm is over the last dimension, in float32.
func normOfRows(n *graph.Node) bool {
	axis := n.Attrs.Int("axis", -1)
	return (axis == -1 || axis == len(n.Inputs[0].Type.Shape)-1) && n.Inputs[0].Type.DType == tensor.Float32 && n.Inputs[1].Type.DType == tensor.Float32
}

// joins: queries, keys and values of one input in one product.
func (f *fusion) joins() {
	for _, n := range f.g.Nodes {
		if n.Op != pagedNode || n.Inputs[1] == nil || n.Inputs[2] == nil {
			continue
		}
		q, k, v := f.plain(n.Inputs[0]), f.plain(n.Inputs[1]), f.plain(n.Inputs[2])
		if q == nil || k == nil || v == nil || q.Inputs[0] != k.Inputs[0] || q.Inputs[0] != v.Inputs[0] {
			continue
		}
		q.Inputs = append(append(q.Inputs, k.Inputs[3:]...), v.Inputs[3:]...)
		shape := slices.Clone(q.Outputs[0].Type.Shape)
		for _, o := range []*graph.Node{k, v} {
			s := o.Outputs[0].Type.Shape
			shape[len(shape)-1] = shape[len(shape)-1].Add(s[len(s)-1])
			f.gone[o] = true
		}
		q.Outputs[0].Type.Shape = shape
		n.Inputs[1], n.Inputs[2] = nil, nil
		n.Attrs["joined"] = int64(1)
	}
}

// norms: an RMS norm that only products read, each of which then does it itself.
func (f *fusion) norms() {
	for _, n := range f.g.Nodes {
		if n.Op != (graph.OpID{Name: "RMSNormalization"}) || !normOfRows(n) || len(n.Inputs) != 2 || len(n.Inputs[1].Type.Shape) != 1 || f.g.Kept(n.Outputs[0]) {
			continue
		}
		readers := f.uses[n.Outputs[0]]
		if len(readers) == 0 || slices.ContainsFunc(readers, func(u *graph.Node) bool { return u.Op != projection || u.Inputs[1] != nil }) {
			continue
		}
		for _, u := range readers {
			if u.Attrs == nil {
				u.Attrs = graph.Attrs{}
			}
			u.Inputs[0], u.Inputs[1] = n.Inputs[0], n.Inputs[1]
			u.Attrs["epsilon"] = n.Attrs.Float("epsilon", 1e-5)
		}
		f.gone[n] = true
	}
}

// residuals: what alone is added to a product.
func (f *fusion) residuals() {
	for _, n := range f.g.Nodes {
		if n.Op != projection || n.Inputs[2] != nil || f.gone[n] {
			continue
		}
		add := onlyUse(f.g, f.uses, n, "Add")
		if add == nil {
			continue
		}
		rest := other(add, n.Outputs[0])
		if rest == n.Outputs[0] || rest.Const != nil || !rest.Type.Shape.Equal(n.Outputs[0].Type.Shape) || !f.before(rest, n) {
			continue
		}
		n.Inputs[2] = rest
		become(n, add)
		f.gone[add] = true
	}
}

// before reports whether v is defined when n runs.
func (f *fusion) before(v *graph.Value, n *graph.Node) bool {
	return v.Def == nil || slices.Index(f.g.Nodes, v.Def) < slices.Index(f.g.Nodes, n)
}
