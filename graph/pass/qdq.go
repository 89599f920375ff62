package pass

import (
	"math"
	"slices"

	"tandem/graph"
	"tandem/tensor"
)

// Integers rewrites what static quantisers write, operators between DequantizeLinear
// and QuantizeLinear, into operators on bytes: convolutions, products, sums, and what
// only moves or picks elements. What is between them otherwise stays in floats.
//
// The three roundings of the float form, of which the last decides, become one factor
// for exact sums; results differ only where a value lies on the edge of two steps.
func Integers() graph.Pass {
	return graph.Pass{Name: "integers", Run: func(g *graph.Graph, ops *graph.Table) error {
		if g.Opset[""] < 10 || !slices.ContainsFunc(g.Nodes, func(n *graph.Node) bool { return n.Op.Name == "DequantizeLinear" }) {
			return nil
		}
		f := &integers{b: graph.Extend(g, ops), g: g, uses: g.Uses()}
		nodes := g.Nodes
		g.Nodes = nil
		for _, n := range nodes {
			if n.Op == (graph.OpID{Name: "QuantizeLinear"}) && f.rewrite(n) || n.Op == (graph.OpID{Name: "Gather"}) && f.gather(n) {
				continue
			}
			g.Nodes = append(g.Nodes, n)
		}
		return f.b.Err()
	}}
}

// integers is the work of one Integers.
type integers struct {
	b    *graph.Builder
	g    *graph.Graph
	uses map[*graph.Value][]*graph.Node
}

// steps are bytes and the scale and zero point of what they stand for.
type steps struct{ bytes, scale, zero *graph.Value }

// one reports whether there is one scale for all.
func (s steps) one() bool { return s.scale.Type.Shape.Len().Is(1) && len(s.scale.Type.Shape) < 2 }

// rewrite lets an operator on bytes compute what q quantises, if there is one. The node
// between stays; if nothing else reads it, it is dead.
func (f *integers) rewrite(q *graph.Node) bool {
	y := steps{q.Outputs[0], q.Inputs[1], q.Input(2)}
	n := q.Inputs[0].Def
	if n == nil || n.Op.Domain != "" || y.zero == nil || !y.known() || !y.one() || len(f.uses[q.Inputs[0]]) != 1 || f.g.Kept(q.Inputs[0]) {
		return false
	}
	var made *graph.Value
	switch n.Op.Name {
	case "Conv":
		made = f.conv(n, y)
	case "MatMul":
		made = f.product(n, y)
	case "Gemm":
		made = f.gemm(n, y)
	case "Add", "Mul":
		made = f.combine(n, y)
	case "Softmax":
		made = f.softmax(n, y)
	case "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "MaxPool", "Slice":
		made = f.move(n, y)
	}
	if made == nil || f.b.Err() != nil {
		return false
	}
	made.Def.Outputs[0] = y.bytes
	y.bytes.Def = made.Def
	return true
}

// known reports whether these are bytes with scales in float32.
func (s steps) known() bool {
	return isBytes(s.bytes) && isFloat32(s.scale) && (s.zero == nil || isBytes(s.zero))
}

func isBytes(v *graph.Value) bool {
	return v.Type.Known() && (v.Type.DType == tensor.Uint8 || v.Type.DType == tensor.Int8)
}

// stepsOf are the bytes of which v is made, with a zero point.
func (f *integers) stepsOf(v *graph.Value) (steps, bool) {
	if v == nil || v.Def == nil || v.Def.Op != (graph.OpID{Name: "DequantizeLinear"}) || v.Def.Attrs.Int("block_size", 0) != 0 {
		return steps{}, false
	}
	s := steps{v.Def.Inputs[0], v.Def.Inputs[1], v.Def.Input(2)}
	if !s.known() {
		return steps{}, false
	}
	if s.zero == nil {
		shape, ok := s.scale.Type.Shape.Static()
		if !ok {
			return steps{}, false
		}
		s.zero = f.b.Const("zero", tensor.New(s.bytes.Type.DType, shape...))
	}
	return s, true
}

// alongAxis reports whether there is one scale, or one for each index of the axis.
func alongAxis(v *graph.Value, s steps, axis int) bool {
	if s.one() {
		return true
	}
	rank := len(s.bytes.Type.Shape)
	at := v.Def.Attrs.Int("axis", 1)
	if at < 0 {
		at += rank
	}
	return len(s.scale.Type.Shape) == 1 && at == axis
}

// conv: weights are constant and centred, in no more groups than pays or in one for each
// channel.
func (f *integers) conv(n *graph.Node, y steps) *graph.Value {
	x, ok := f.stepsOf(n.Inputs[0])
	w, ok2 := f.stepsOf(n.Inputs[1])
	if !ok || !ok2 || !x.one() || !alongAxis(n.Inputs[1], w, 0) || !centred(w) {
		return nil
	}
	shape, groups := w.bytes.Const.Shape, n.Attrs.Int("group", 1)
	if rank := len(shape); rank != 3 && rank != 4 || groups > 1 && shape[1] < 8 && (shape[1] > 1 || shape[0] != groups) {
		return nil
	}
	in := []*graph.Value{x.bytes, x.scale, x.zero, w.bytes, w.scale, w.zero, y.scale, y.zero}
	if n.Input(2) != nil {
		bias := f.bias(n.Inputs[2], x.scale, w.scale, shape[0])
		if bias == nil {
			return nil
		}
		in = append(in, bias)
	}
	return f.b.Op("QLinearConv", n.Attrs, in...)
}

// centred reports whether s are signed constants whose zero points are 0.
func centred(s steps) bool {
	if s.bytes.Const == nil || s.bytes.Type.DType != tensor.Int8 || s.zero.Const == nil {
		return false
	}
	z, err := s.zero.Const.Tensor()
	return err == nil && !slices.ContainsFunc(z.Bytes(), func(b byte) bool { return b != 0 })
}

// bias is the bias in steps of both scales: as the file has it, if these are its own.
func (f *integers) bias(v, x, w *graph.Value, channels int) *graph.Value {
	if v.Def == nil || v.Def.Op != (graph.OpID{Name: "DequantizeLinear"}) {
		return nil
	}
	b, scale := v.Def.Inputs[0], v.Def.Inputs[1]
	if b.Type.DType != tensor.Int32 || !b.Type.Shape.Len().Is(channels) || !allZero(v.Def.Input(2)) {
		return nil
	}
	have, xs, ws := floatsOf(scale), floatsOf(x), floatsOf(w)
	if have == nil || xs == nil || ws == nil {
		return nil
	}
	for i := range channels {
		want := float64(xs[0]) * float64(ws[min(i, len(ws)-1)])
		if math.Abs(float64(have[min(i, len(have)-1)])-want) > 1e-5*want {
			return nil
		}
	}
	return b
}

// allZero reports whether v is absent or a constant of zeros.
func allZero(v *graph.Value) bool {
	if v == nil {
		return true
	}
	return v.Const != nil && !slices.ContainsFunc(v.Const.Data, func(b byte) bool { return b != 0 })
}

// floatsOf are the elements of a constant of float32, or nil.
func floatsOf(v *graph.Value) []float32 {
	if v.Const == nil || v.Const.DType != tensor.Float32 {
		return nil
	}
	t, err := v.Const.Tensor()
	if err != nil {
		return nil
	}
	return t.F32()
}

func (f *integers) product(n *graph.Node, y steps) *graph.Value {
	a, ok := f.stepsOf(n.Inputs[0])
	b, ok2 := f.stepsOf(n.Inputs[1])
	if !ok || !ok2 || !a.one() || !alongAxis(n.Inputs[1], b, 1) || !b.one() && len(b.bytes.Type.Shape) != 2 {
		return nil
	}
	return f.b.Op("QLinearMatMul", nil, a.bytes, a.scale, a.zero, b.bytes, b.scale, b.zero, y.scale, y.zero)
}

// gemm: the product of a matrix with constant columns, and a bias in steps of both.
func (f *integers) gemm(n *graph.Node, y steps) *graph.Value {
	transB := n.Attrs.Int("transB", 0)
	a, ok := f.stepsOf(n.Inputs[0])
	b, ok2 := f.stepsOf(n.Inputs[1])
	if !ok || !ok2 || !a.one() || !alongAxis(n.Inputs[1], b, 1-transB) || b.bytes.Const == nil || len(b.bytes.Const.Shape) != 2 ||
		n.Attrs.Int("transA", 0) != 0 || n.Attrs.Float("alpha", 1) != 1 || n.Attrs.Float("beta", 1) != 1 {
		return nil
	}
	in := []*graph.Value{a.bytes, a.scale, a.zero, b.bytes, b.scale, b.zero, nil, y.scale, y.zero}
	if n.Input(2) != nil {
		if in[6] = f.bias(n.Inputs[2], a.scale, b.scale, b.bytes.Const.Shape[1-transB]); in[6] == nil {
			return nil
		}
	}
	return f.b.Node(graph.OpID{Domain: "com.microsoft", Name: "QGemm"}, 1, graph.Attrs{"transB": int64(transB)}, in...)[0]
}

func (f *integers) combine(n *graph.Node, y steps) *graph.Value {
	a, ok := f.stepsOf(n.Inputs[0])
	b, ok2 := f.stepsOf(n.Inputs[1])
	d := y.bytes.Type.DType
	if !ok || !ok2 || !a.one() || !b.one() || a.bytes.Type.DType != d || b.bytes.Type.DType != d ||
		!sameShape(a.bytes, b.bytes) && !repeats(a.bytes, b.bytes) && !repeats(b.bytes, a.bytes) {
		return nil
	}
	id := graph.OpID{Domain: "com.microsoft", Name: "QLinear" + n.Op.Name}
	return f.b.Node(id, 1, nil, a.bytes, a.scale, a.zero, b.bytes, b.scale, b.zero, y.scale, y.zero)[0]
}

// softmax is of rows; the bytes are those of the three operators.
func (f *integers) softmax(n *graph.Node, y steps) *graph.Value {
	x, ok := f.stepsOf(n.Inputs[0])
	if axis := n.Attrs.Int("axis", -1); !ok || !x.one() || f.g.Opset[""] < 13 || axis != -1 && axis != len(x.bytes.Type.Shape)-1 {
		return nil
	}
	return f.b.Private("SoftmaxBytes", nil, x.bytes, x.scale, x.zero, y.scale, y.zero)
}

// gather lets bytes be gathered, of a constant, instead of all the numbers that they stand
// for.
func (f *integers) gather(n *graph.Node) bool {
	x, ok := f.stepsOf(n.Inputs[0])
	if !ok || !x.one() || x.bytes.Const == nil {
		return false
	}
	y := n.Outputs[0]
	picked := f.b.Op("Gather", n.Attrs, x.bytes, n.Inputs[1])
	made := f.b.Op("DequantizeLinear", nil, picked, x.scale, x.zero)
	if f.b.Err() != nil {
		return false
	}
	made.Def.Outputs[0], y.Def = y, made.Def
	return true
}

// repeats reports whether a has rows, each of which belongs to several of b: the same last
// dimension, and others that are those of b, then 1, then those of b.
func repeats(a, b *graph.Value) bool {
	if !a.Type.Known() || !b.Type.Known() || len(a.Type.Shape) > len(b.Type.Shape) {
		return false
	}
	of := b.Type.Shape
	s := append(slices.Repeat(graph.Dims(1), len(of)-len(a.Type.Shape)), a.Type.Shape...)
	from, until := 0, len(s)
	for from < until && s[from].Equal(of[from]) {
		from++
	}
	for until > from && s[until-1].Equal(of[until-1]) {
		until--
	}
	return until < len(s) && !s[len(s)-1].Is(1) && !slices.ContainsFunc(s[from:until], func(d graph.Dim) bool { return !d.Is(1) })
}

// move: the steps before and after are the same ones.
func (f *integers) move(n *graph.Node, y steps) *graph.Value {
	x, ok := f.stepsOf(n.Inputs[0])
	if !ok || !x.one() || x.bytes.Type.DType != y.bytes.Type.DType || !sameNumber(x.scale, y.scale) || !sameNumber(x.zero, y.zero) {
		return nil
	}
	if n.Op.Name == "MaxPool" && f.g.Opset[""] < 12 || len(n.Outputs) > 1 && n.Outputs[1] != nil {
		return nil
	}
	return f.b.Node(n.Op, 1, n.Attrs, append([]*graph.Value{x.bytes}, n.Inputs[1:]...)...)[0]
}

// sameNumber reports whether two constants have the same bytes.
func sameNumber(a, b *graph.Value) bool {
	return a == b || a.Const != nil && b.Const != nil && a.Type.DType == b.Type.DType && slices.Equal(a.Const.Data, b.Const.Data)
}
