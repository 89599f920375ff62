package pass

import (
	"maps"
	"slices"

	"tandem/graph"
	"tandem/tensor"
)

// FuseConvLast joins a lowered convolution with what alone reads its result: the
// addition of another value of its shape, from which its sums then start, and after
// it an activation, or of bytes a table, which is applied while the result is in cache.
func FuseConvLast() graph.Pass {
	return graph.Pass{Name: "fuse-conv-last", Run: func(g *graph.Graph, _ *graph.Table) error {
		f := &convFusion{g: g, uses: g.Uses(), at: map[*graph.Node]int{}, gone: map[*graph.Node]bool{}}
		for i, n := range g.Nodes {
			f.at[n] = i
		}
		for i, n := range g.Nodes {
			switch {
			case n.Op == lookup:
				f.table(i, n)
			case n.Op == graph.OpID{Domain: "com.microsoft", Name: "QLinearAdd"}:
				f.sumOfBytes(i, n)
			case f.gone[n] || n.Op.Domain != "":
			case n.Op.Name == "Add":
				f.sum(i, n)
			case n.Op.Name == "Mul":
				f.gate(i, n)
			default:
				f.activation(i, n)
			}
		}
		g.Nodes = slices.DeleteFunc(g.Nodes, func(n *graph.Node) bool { return n == nil || f.gone[n] })
		return nil
	}}
}

// convFusion is the work of one FuseConvLast. A convolution moves to the place of
// what it takes in, where all operands are there.
type convFusion struct {
	g    *graph.Graph
	uses map[*graph.Value][]*graph.Node
	at   map[*graph.Node]int
	gone map[*graph.Node]bool
}

// open is the convolution that computes v, if it has no activation yet and only
// readers nodes read it.
func (f *convFusion) open(v *graph.Value, readers int) *graph.Node {
	if v == nil || v.Def == nil || v.Def.Op != (graph.OpID{Domain: graph.Private, Name: "ConvLast"}) && v.Def.Op != bfloat16ConvLast || v.Def.Attrs.String("activation", "") != "" ||
		len(f.uses[v]) != readers || f.g.Kept(v) {
		return nil
	}
	return v.Def
}

// move puts conv, which now computes the result of n, into its place i.
func (f *convFusion) move(conv, n *graph.Node, i int) {
	f.g.Nodes[f.at[conv]] = nil
	f.g.Nodes[i] = conv
	f.at[conv] = i
	conv.Outputs = n.Outputs
	conv.Outputs[0].Def = conv
}

func (f *convFusion) sum(i int, n *graph.Node) {
	best, other := (*graph.Node)(nil), (*graph.Value)(nil)
	for j, v := range n.Inputs {
		conv, w := f.open(v, 1), n.Inputs[1-j]
		if conv == nil || conv.Input(3) != nil || w.Const != nil || !w.Type.Shape.Equal(v.Type.Shape) || best != nil && f.at[conv] < f.at[best] {
			continue
		}
		best, other = conv, w
	}
	if best == nil {
		return
	}
	best.Inputs = append(slices.Clone(best.Inputs[:min(3, len(best.Inputs))]), make([]*graph.Value, 4-len(best.Inputs))...)
	best.Inputs[3] = other
	f.move(best, n, i)
}

// gate takes in x·sigmoid(x).
func (f *convFusion) gate(i int, n *graph.Node) {
	for j, v := range n.Inputs {
		conv, s := f.open(v, 2), n.Inputs[1-j]
		if conv == nil || s.Def == nil || s.Def.Op != (graph.OpID{Name: "Sigmoid"}) || s.Def.Inputs[0] != v || len(f.uses[s]) != 1 || f.g.Kept(s) {
			continue
		}
		f.gone[s.Def] = true
		f.g.Nodes[f.at[s.Def]] = nil
		activate(conv, "Swish", nil)
		f.move(conv, n, i)
		return
	}
}

func (f *convFusion) activation(i int, n *graph.Node) {
	conv := f.open(n.Input(0), 1)
	if conv == nil {
		return
	}
	name, params, ok := activationOf(n)
	if !ok {
		return
	}
	activate(conv, name, params)
	f.move(conv, n, i)
}

// openBytes is the convolution of bytes that computes v, if neither a sum nor a table
// follows yet and only one node reads it.
func (f *convFusion) openBytes(v *graph.Value) *graph.Node {
	if v.Def == nil || v.Def.Op != (graph.OpID{Domain: graph.Private, Name: "QLinearConvLast"}) || v.Def.Input(byteConvTable) != nil || len(f.uses[v]) != 1 || f.g.Kept(v) {
		return nil
	}
	return v.Def
}

// byteConvTable is the input of QLinearConvLast that is a table; what is added follows: it,
// its scale and zero point, and those of the sum.
const byteConvTable = 9

// extended are the inputs of an operator on bytes up to its table, nil where there are none.
func extended(n *graph.Node, table int) []*graph.Value {
	in := slices.Clone(n.Inputs)
	return append(in, make([]*graph.Value, table+1-min(len(in), table+1))...)
}

// table takes in a table of bytes.
func (f *convFusion) table(i int, n *graph.Node) {
	conv := f.openBytes(n.Inputs[0])
	if conv == nil {
		return
	}
	conv.Inputs = extended(conv, byteConvTable)
	conv.Inputs[byteConvTable] = n.Inputs[1]
	f.move(conv, n, i)
}

// sumOfBytes takes in another value of the shape of the result, if the steps in which the
// result is added are those in which it is written.
func (f *convFusion) sumOfBytes(i int, n *graph.Node) {
	best, from := (*graph.Node)(nil), 0
	for j := 0; j <= 3; j += 3 {
		v, w := n.Inputs[j], n.Inputs[3-j]
		conv := f.openBytes(v)
		if conv == nil || len(conv.Inputs) > byteConvTable+1 || w.Const != nil || !sameShape(v, w) || best != nil && f.at[conv] < f.at[best] ||
			n.Inputs[j+2] == nil || !sameNumber(n.Inputs[j+1], conv.Inputs[6]) || !sameNumber(n.Inputs[j+2], conv.Inputs[7]) {
			continue
		}
		best, from = conv, 3-j
	}
	if best == nil {
		return
	}
	best.Inputs = append(extended(best, byteConvTable), n.Inputs[from], n.Inputs[from+1], n.Inputs[from+2], n.Inputs[6], n.Input(7))
	f.move(best, n, i)
}

func activate(conv *graph.Node, name string, params []float32) {
	conv.Attrs = maps.Clone(conv.Attrs)
	if conv.Attrs == nil {
		conv.Attrs = graph.Attrs{}
	}
	conv.Attrs["activation"] = name
	if params != nil {
		conv.Attrs["activation_params"] = params
	}
}

// activationOf is the attribute of a fused operator that does what n does, if the
// kernels know it.
func activationOf(n *graph.Node) (name string, params []float32, ok bool) {
	switch name = n.Op.Name; name {
	case "Relu", "Sigmoid", "Tanh", "HardSwish":
		return name, nil, true
	case "Gelu":
		return name, nil, n.Attrs.String("approximate", "none") == "none"
	case "Swish":
		return name, nil, n.Attrs.Float("alpha", 1) == 1
	case "HardSigmoid":
		alpha, beta := n.Attrs.Float("alpha", 0.2), n.Attrs.Float("beta", 0.5)
		return name, []float32{alpha, beta}, alpha == float32(1.0/6) && beta == 0.5
	case "Clip":
		lo, hi := n.Attrs.Float("min", -1), n.Attrs.Float("max", -1)
		if len(n.Inputs) == 3 {
			lo, hi = scalar(n.Inputs[1]), scalar(n.Inputs[2])
		}
		return name, []float32{lo, hi}, lo == 0 && hi == 6
	}
	return "", nil, false
}

// scalar is the value of a constant of one element, or -1.
func scalar(v *graph.Value) float32 {
	if v == nil || v.Const == nil || v.Const.DType != tensor.Float32 {
		return -1
	}
	t, err := v.Const.Tensor()
	if err != nil || t.Len() != 1 {
		return -1
	}
	return t.F32()[0]
}
