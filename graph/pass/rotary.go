package pass

import (
	"maps"
	"slices"

	"tandem/graph"
	"tandem/tensor"
)

var rotaryEmbedding = graph.OpID{Name: "RotaryEmbedding"}

// FuseRotary recognises how exporters before opset 23 turn the halves of a head against
// each other by angles that grow with the position,
//
//	x·cos + (-x₂, x₁)·sin, where x = (x₁, x₂), or
//	(x₁·cos - x₂·sin, x₂·cos + x₁·sin)
//
// and makes it RotaryEmbedding. In the first form cosines and sines repeat themselves:
// what makes them from angles is made of one half. Where only a part of a head is turned
// and the rest joined to it, all of that is one node. What it replaces is left to Dead.
func FuseRotary() graph.Pass {
	return graph.Pass{Name: "fuse-rotary", Run: func(g *graph.Graph, ops *graph.Table) error {
		nodes := g.Nodes
		f := &rotaryFusion{g: g, b: graph.Extend(g, ops), uses: g.Uses(), halves: map[*graph.Value]*graph.Value{}, tables: map[*graph.Value]*graph.Value{}}
		g.Nodes = nil
		for _, n := range nodes {
			f.fuse(n)
			g.Nodes = append(g.Nodes, n)
		}
		if f.b.Err() != nil {
			return f.b.Err()
		}
		return Dead().Run(g, ops)
	}}
}

type rotaryFusion struct {
	g      *graph.Graph
	b      *graph.Builder
	uses   map[*graph.Value][]*graph.Node
	halves map[*graph.Value]*graph.Value // of what repeats itself
	tables map[*graph.Value]*graph.Value // [batch,rows,half] of [batch,1,rows,half]
}

// fuse rewrites n if it gives a turned head; what its tables need comes before it.
func (f *rotaryFusion) fuse(n *graph.Node) {
	x, cos, sin := f.turned(n)
	if x == nil {
		return
	}
	attrs := graph.Attrs{"interleaved": int64(0)}
	// A part of a head, and the rest behind it.
	if part, ok := sliceOf(x); ok && part.lo == 0 && n.Op != (graph.OpID{Name: "Concat"}) {
		y := n.Outputs[0]
		if next := f.uses[y]; len(next) == 1 && !f.g.Kept(y) && next[0].Op == (graph.OpID{Name: "Concat"}) && len(next[0].Inputs) == 2 && next[0].Inputs[0] == y && joinsLast(next[0]) {
			if rest, ok := sliceOf(next[0].Inputs[1]); ok && rest.from == part.from && rest.lo == part.hi && rest.hi == part.size {
				attrs["rotary_embedding_dim"] = int64(part.hi)
				n, x = next[0], part.from
			}
		}
	}
	cos, sin = f.table(cos), f.table(sin)
	if f.b.Err() != nil {
		return
	}
	n.Op, n.Inputs, n.Attrs, n.Version = rotaryEmbedding, []*graph.Value{x, cos, sin}, attrs, 23
}

// turned is the head that n gives turned, and the tables [batch,1,rows,half] by which.
func (f *rotaryFusion) turned(n *graph.Node) (x, cos, sin *graph.Value) {
	y := n.Outputs[0]
	if !isFloat32(y) || len(y.Type.Shape) != 4 {
		return nil, nil, nil
	}
	switch n.Op {
	case graph.OpID{Name: "Add"}:
		x, cos, sin = f.sumOfTurns(y)
	case graph.OpID{Name: "Concat"}:
		x, cos, sin = joinedTurns(n)
	}
	if x == nil || !sameShape(x, y) || !isTable(cos, x) || !isTable(sin, x) {
		return nil, nil, nil
	}
	return x, cos, sin
}

// sumOfTurns matches x·cos + (-x₂, x₁)·sin.
func (f *rotaryFusion) sumOfTurns(y *graph.Value) (x, cos, sin *graph.Value) {
	found := eachWay(y, "Add", func(plain, crossed *graph.Value) bool {
		return eachWay(crossed, "Mul", func(rotated, s *graph.Value) bool {
			if x = rotatedHalf(rotated); x == nil {
				return false
			}
			return eachWay(plain, "Mul", func(v, c *graph.Value) bool {
				if v != x {
					return false
				}
				cos, sin = f.half(c), f.half(s)
				return cos != nil && sin != nil
			})
		})
	})
	if !found {
		return nil, nil, nil
	}
	return x, cos, sin
}

// rotatedHalf is x if v is (-x₂, x₁).
func rotatedHalf(v *graph.Value) *graph.Value {
	in := operands(v, "Concat")
	if len(in) != 2 || !joinsLast(v.Def) {
		return nil
	}
	negated := operands(in[0], "Neg")
	if negated == nil {
		return nil
	}
	return wholeOf(in[1], negated[0])
}

// joinedTurns matches (x₁·cos - x₂·sin, x₂·cos + x₁·sin).
func joinedTurns(n *graph.Node) (x, cos, sin *graph.Value) {
	if len(n.Inputs) != 2 || !joinsLast(n) {
		return nil, nil, nil
	}
	difference := operands(n.Inputs[0], "Sub")
	if difference == nil {
		return nil, nil, nil
	}
	found := eachWay(difference[0], "Mul", func(low, c *graph.Value) bool {
		return eachWay(difference[1], "Mul", func(high, s *graph.Value) bool {
			x, cos, sin = wholeOf(low, high), c, s
			return x != nil && eachWay(n.Inputs[1], "Add", func(p, q *graph.Value) bool {
				return isProductOf(p, high, cos) && isProductOf(q, low, sin)
			})
		})
	})
	if !found {
		return nil, nil, nil
	}
	return x, cos, sin
}

func isProductOf(v, a, b *graph.Value) bool {
	return eachWay(v, "Mul", func(x, y *graph.Value) bool { return x == a && y == b })
}

// joinsLast reports whether a Concat joins along the last dimension.
func joinsLast(n *graph.Node) bool {
	axis := n.Attrs.Int("axis", 0)
	return n.Outputs[0].Type.Known() && (axis == -1 || axis == len(n.Outputs[0].Type.Shape)-1)
}

// wholeOf is x if low and high are its halves along the last dimension.
func wholeOf(low, high *graph.Value) *graph.Value {
	a, ok1 := sliceOf(low)
	b, ok2 := sliceOf(high)
	if !ok1 || !ok2 || a.from != b.from || a.lo != 0 || 2*a.hi != a.size || b.lo != a.hi || b.hi != a.size {
		return nil
	}
	return a.from
}

// slice is elements lo to hi of the last dimension, of size elements, of a value.
type slice struct {
	from         *graph.Value
	lo, hi, size int
}

// sliceOf is what v is cut from by Slice or Split.
func sliceOf(v *graph.Value) (s slice, ok bool) {
	if v.Def == nil || v.Def.Op.Domain != "" || v.Def.Input(0) == nil {
		return s, false
	}
	n := v.Def
	s.from = n.Inputs[0]
	if !s.from.Type.Known() || !v.Type.Known() || len(s.from.Type.Shape) == 0 {
		return s, false
	}
	last := len(s.from.Type.Shape) - 1
	if s.size, ok = s.from.Type.Shape[last].Value(); !ok {
		return s, false
	}
	width, ok := v.Type.Shape[last].Value()
	if !ok {
		return s, false
	}
	switch n.Op.Name {
	case "Slice":
		cut, ok := sliceAt(n)
		if !ok || cut.axis != last {
			return s, false
		}
		s.lo = cut.start
	case "Split":
		if axis := n.Attrs.Int("axis", 0); axis != -1 && axis != last {
			return s, false
		}
		for _, o := range n.Outputs {
			if o == v {
				break
			}
			before, ok := o.Type.Shape[last].Value()
			if !ok {
				return s, false
			}
			s.lo += before
		}
	default:
		return s, false
	}
	s.hi = s.lo + width
	return s, true
}

// isTable reports whether v is [batch,1,rows,half] for a head x [batch,heads,rows,size],
// the batch being 1 or that of x.
func isTable(v, x *graph.Value) bool {
	if !isFloat32(v) || len(v.Type.Shape) != 4 {
		return false
	}
	t, s := v.Type.Shape, x.Type.Shape
	return (t[0].Is(1) || t[0].Equal(s[0])) && t[1].Is(1) && t[2].Equal(s[2]) && t[3].Mul(graph.Const(2)).Equal(s[3])
}

// table is a table of positions as RotaryEmbedding reads it.
func (f *rotaryFusion) table(v *graph.Value) *graph.Value {
	if t, ok := f.tables[v]; ok {
		return t
	}
	if c := v.Const; c != nil {
		squeezed := *c
		squeezed.Shape = slices.Delete(slices.Clone(c.Shape), 1, 2)
		f.tables[v] = &graph.Value{Name: f.b.Name(v.Name), Type: graph.Type{DType: c.DType, Shape: graph.Dims(squeezed.Shape...)}, Const: &squeezed}
		return f.tables[v]
	}
	in := []*graph.Value{v}
	attrs := graph.Attrs{}
	if f.g.Opset[""] < 13 {
		attrs["axes"] = []int64{1}
	} else {
		in = append(in, f.b.Ints("head", 1))
	}
	f.tables[v] = f.b.Op("Squeeze", attrs, in...)
	return f.tables[v]
}

// half is the first half, along the last dimension, of a value whose second half is the
// same, made without the whole; nil where that is not known.
func (f *rotaryFusion) half(v *graph.Value) *graph.Value {
	if h, ok := f.halves[v]; ok {
		return h
	}
	h := f.findHalf(v)
	f.halves[v] = h
	return h
}

func (f *rotaryFusion) findHalf(v *graph.Value) *graph.Value {
	if !isFloat32(v) || len(v.Type.Shape) == 0 {
		return nil
	}
	if v.Const != nil {
		return f.halfConstant(v)
	}
	n := v.Def
	if n == nil || n.Op.Domain != "" {
		return nil
	}
	if x, _, ok := scaled(n); ok {
		return f.again(n, x)
	}
	switch n.Op.Name {
	case "Concat":
		if len(n.Inputs) == 2 && n.Inputs[0] == n.Inputs[1] && joinsLast(n) {
			return n.Inputs[0]
		}
	case "Cos", "Sin":
		return f.again(n, n.Inputs[0])
	case "Unsqueeze", "Gather", "Slice":
		if keepsLast(n) {
			return f.again(n, n.Inputs[0])
		}
	}
	return nil
}

// again does what n does to its input x to the half of that.
func (f *rotaryFusion) again(n *graph.Node, x *graph.Value) *graph.Value {
	h := f.half(x)
	if h == nil {
		return nil
	}
	in := slices.Clone(n.Inputs)
	in[slices.Index(in, x)] = h
	return f.b.Node(n.Op, 1, n.Attrs, in...)[0]
}

// keepsLast reports whether a node that puts elements elsewhere leaves the last dimension
// as it is.
func keepsLast(n *graph.Node) bool {
	rank, out := len(n.Inputs[0].Type.Shape), n.Outputs[0].Type.Shape
	if !n.Inputs[0].Type.Known() || rank == 0 || len(out) == 0 || !n.Inputs[0].Type.Shape[rank-1].Equal(out[len(out)-1]) {
		return false
	}
	switch n.Op.Name {
	case "Unsqueeze":
		axes := n.Attrs.Ints("axes")
		if len(n.Inputs) > 1 {
			axes = numbers(n.Inputs[1])
		}
		return len(axes) > 0 && !slices.Contains(axes, -1) && !slices.Contains(axes, len(out)-1)
	case "Gather":
		axis := n.Attrs.Int("axis", 0)
		return axis >= 0 && axis < rank-1
	case "Slice":
		cut, ok := sliceAt(n)
		return ok && cut.axis != rank-1
	}
	return false
}

// halfConstant is the first half of a constant whose second half has the same bits.
func (f *rotaryFusion) halfConstant(v *graph.Value) *graph.Value {
	if v.Const.Encoding != graph.Dense {
		return nil
	}
	t, err := v.Const.Tensor()
	if err != nil || t.Rank() == 0 {
		return nil
	}
	shape, size := slices.Clone(t.Shape()), t.Dim(t.Rank()-1)
	if size%2 != 0 || size == 0 {
		return nil
	}
	var list []float32
	for x := range slices.Chunk(t.F32(), size) {
		if !slices.Equal(x[:size/2], x[size/2:]) {
			return nil
		}
		list = append(list, x[:size/2]...)
	}
	shape[len(shape)-1] = size / 2
	return f.b.Const(v.Name, tensor.Of(list, shape...))
}

// RowsFirst computes norms and rotations of heads where the product before has left them,
// [batch,rows,heads,size], instead of behind the transposition to [batch,heads,rows,size],
// which attention then need not carry out.
func RowsFirst() graph.Pass {
	return graph.Pass{Name: "rows-first", Run: func(g *graph.Graph, ops *graph.Table) error {
		b, uses := graph.Extend(g, ops), g.Uses()
		nodes := g.Nodes
		g.Nodes = nil
		for _, n := range nodes {
			if z, perm := transposed(g, uses, n); z != nil {
				n = beforeTranspose(b, n, z, perm)
			}
			g.Nodes = append(g.Nodes, n)
		}
		if b.Err() != nil {
			return b.Err()
		}
		return Dead().Run(g, ops)
	}}
}

// transposed is what is transposed before n, a norm or rotation that alone reads it.
func transposed(g *graph.Graph, uses map[*graph.Value][]*graph.Node, n *graph.Node) (z *graph.Value, perm []int) {
	norm, rotary := n.Op == rmsNorm, n.Op == rotaryEmbedding
	if !norm && !rotary || !isFloat32(n.Outputs[0]) {
		return nil, nil
	}
	x := n.Inputs[0]
	in := operands(x, "Transpose")
	if in == nil || !isFloat32(in[0]) || len(in[0].Type.Shape) != 4 || len(uses[x]) > 1 || g.Kept(x) {
		return nil, nil
	}
	perm = x.Def.Attrs.Ints("perm")
	if norm && (len(perm) != 4 || perm[3] != 3 || !normOfRows(n) || !isGain(n.Inputs[1], x)) || rotary && !slices.Equal(perm, []int{0, 2, 1, 3}) {
		return nil, nil
	}
	return in[0], perm
}

// beforeTranspose adds what n computes to z, and is the transposition of that.
func beforeTranspose(b *graph.Builder, n *graph.Node, z *graph.Value, perm []int) *graph.Node {
	made := &graph.Node{Name: n.Name, Op: n.Op, Attrs: maps.Clone(n.Attrs), Version: n.Version, Inputs: slices.Clone(n.Inputs)}
	y := &graph.Value{Name: b.Name("rows"), Def: made, Type: z.Type}
	made.Inputs[0], made.Outputs = z, []*graph.Value{y}
	s := z.Type.Shape
	heads, ok1 := s[2].Value()
	size, ok2 := s[3].Value()
	if n.Op == rotaryEmbedding {
		if !ok1 || !ok2 || heads*size == 0 {
			return n
		}
		// With three dimensions, the operator takes heads to lie within rows.
		made.Inputs[0] = b.Op("Reshape", nil, z, b.Ints("rows", 0, 0, int64(heads*size)))
		made.Attrs["num_heads"] = int64(heads)
		y.Type = made.Inputs[0].Type
		b.G.Nodes = append(b.G.Nodes, made)
		y = b.Op("Reshape", nil, y, b.Ints("heads", 0, 0, int64(heads), int64(size)))
	} else {
		b.G.Nodes = append(b.G.Nodes, made)
	}
	to := make([]int64, len(perm))
	for i, p := range perm {
		to[i] = int64(p)
	}
	n.Op, n.Attrs, n.Version, n.Inputs = graph.OpID{Name: "Transpose"}, graph.Attrs{"perm": to}, 0, []*graph.Value{y}
	return n
}
