package pass

import (
	"slices"

	"tandem/graph"
	"tandem/kernel/ref"
	"tandem/tensor"
)

// fuseRows lets one operator quantise the rows that products of bytes read, where the
// graph says it in the steps of RowSteps; the numbers are the same.
func fuseRows(g *graph.Graph, ops *graph.Table) error {
	rows := func(n *graph.Node) *graph.Value {
		if n.Op != integerLinear || n.Input(4) != nil {
			return nil
		}
		return rowsOf(n.Inputs[0], n.Inputs[2])
	}
	if !slices.ContainsFunc(g.Nodes, func(n *graph.Node) bool { return rows(n) != nil }) {
		return nil
	}
	b, nodes := graph.Extend(g, ops), g.Nodes
	center := b.Const("center", tensor.Of([]uint8{128}))
	made := map[*graph.Value][]*graph.Value{}
	g.Nodes = nil
	for _, n := range nodes {
		if x := rows(n); x != nil {
			if made[x] == nil {
				made[x] = b.Node(graph.OpID{Domain: graph.Private, Name: "QuantizeRows"}, 2, nil, x)
			}
			n.Inputs = append(slices.Clone(n.Inputs), make([]*graph.Value, max(0, 5-len(n.Inputs)))...)
			n.Inputs[0], n.Inputs[2], n.Inputs[4] = made[x][0], made[x][1], center
		}
		g.Nodes = append(g.Nodes, n)
	}
	return b.Err()
}

// RowSteps adds to b what rounds the rows of x, which is float32, to int8 in steps of
// their own, of which the largest magnitude is 127: bytes [..., K], steps [..., 1]. These
// are operators of ONNX as any version from 13 on has them; fuseRows knows them.
func RowSteps(b *graph.Builder, x *graph.Value) (bytes, step *graph.Value) {
	number := func(name string, v float32) *graph.Value {
		t := tensor.New(tensor.Float32)
		t.F32()[0] = v
		return b.Const(name, t)
	}
	attrs, axes := graph.Attrs{"keepdims": int64(1)}, []*graph.Value(nil)
	if b.G.Opset[""] < 18 {
		attrs["axes"] = []int64{-1}
	} else {
		axes = append(axes, b.Ints("last", -1))
	}
	m := b.Op("ReduceMax", attrs, append([]*graph.Value{b.Op("Abs", nil, x)}, axes...)...)
	m = b.Op("Max", nil, m, number("least", ref.LeastMagnitude))
	q := b.Op("Mul", nil, x, b.Op("Div", nil, number("most", 127), m))
	bytes = b.Op("Cast", graph.Attrs{"to": int64(tensor.Int8)}, b.Op("Round", nil, q))
	return bytes, b.Op("Mul", nil, m, number("inverse", 1.0/127))
}

// rowsOf is the x whose RowSteps are bytes and step, or nil.
func rowsOf(bytes, step *graph.Value) *graph.Value {
	cast := by(bytes, "Cast")
	if cast == nil || tensor.DType(cast.Attrs.Int("to", 0)) != tensor.Int8 {
		return nil
	}
	round := by(cast.Inputs[0], "Round")
	if round == nil {
		return nil
	}
	scaled := by(round.Inputs[0], "Mul")
	if scaled == nil {
		return nil
	}
	x, factor := scaled.Inputs[0], by(scaled.Inputs[1], "Div")
	if factor == nil || !isNumber(factor.Inputs[0], 127) || !isFloat32(x) || len(x.Type.Shape) < 2 {
		return nil
	}
	m := factor.Inputs[1]
	if s := by(step, "Mul"); s == nil || s.Inputs[0] != m || !isNumber(s.Inputs[1], 1.0/127) {
		return nil
	}
	most := by(m, "Max")
	if most == nil || len(most.Inputs) != 2 || !isNumber(most.Inputs[1], ref.LeastMagnitude) {
		return nil
	}
	reduce := by(most.Inputs[0], "ReduceMax")
	if reduce == nil || reduce.Attrs.Int("keepdims", 1) != 1 || !alongLast(reduce, len(x.Type.Shape)) {
		return nil
	}
	if abs := by(reduce.Inputs[0], "Abs"); abs == nil || abs.Inputs[0] != x {
		return nil
	}
	return x
}

// by is the node of ai.onnx of that name that computes v, or nil.
func by(v *graph.Value, name string) *graph.Node {
	if v == nil || v.Def == nil || v.Def.Op != (graph.OpID{Name: name}) {
		return nil
	}
	return v.Def
}

// isNumber reports whether v is this float32.
func isNumber(v *graph.Value, n float32) bool {
	f := floatsOf(v)
	return len(f) == 1 && f[0] == n
}

// alongLast reports whether a reduction of a tensor of this rank is along its last axis.
func alongLast(n *graph.Node, rank int) bool {
	axes := n.Attrs.Ints("axes")
	if v := n.Input(1); v != nil {
		if v.Const == nil || v.Const.DType != tensor.Int64 {
			return false
		}
		t, err := v.Const.Tensor()
		if err != nil {
			return false
		}
		axes = nil
		for _, a := range tensor.Data[int64](t) {
			axes = append(axes, int(a))
		}
	}
	return len(axes) == 1 && (axes[0] == -1 || axes[0] == rank-1)
}
