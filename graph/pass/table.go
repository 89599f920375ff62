package pass

import (
	"slices"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

var lookup = graph.OpID{Domain: graph.Private, Name: "Lookup"}

// Tables replaces what computes bytes from bytes of one tensor alone, element by
// element with constants, by a table of 256 bytes: activations between
// DequantizeLinear and QuantizeLinear, and products of such with the tensor itself. The
// operators write the table, so that results are theirs. What it replaces is left to Dead.
func Tables(p *kernel.Pool) graph.Pass {
	return graph.Pass{Name: "tables", Run: func(g *graph.Graph, ops *graph.Table) error {
		t := &tables{b: graph.Extend(g, ops), pool: p, opset: g.Opset, sources: map[*graph.Value]*graph.Value{}}
		nodes := g.Nodes
		g.Nodes = nil
		changed := false
		for _, n := range nodes {
			if t.rewrite(n) {
				changed = true
				continue
			}
			g.Nodes = append(g.Nodes, n)
		}
		if err := t.b.Err(); err != nil || !changed {
			return err
		}
		return Dead().Run(g, ops)
	}}
}

// tables is the work of one Tables.
type tables struct {
	b       *graph.Builder
	pool    *kernel.Pool
	opset   map[string]int
	sources map[*graph.Value]*graph.Value
}

// rewrite puts a table in the place of n, if it quantises a function of bytes.
func (t *tables) rewrite(n *graph.Node) bool {
	if n.Op != (graph.OpID{Name: "QuantizeLinear"}) && n.Op.Domain != "com.microsoft" || len(n.Outputs) != 1 || !isBytes(n.Outputs[0]) {
		return false
	}
	y := n.Outputs[0]
	x := t.source(y)
	if x == nil || x == y || !sameShape(x, y) {
		return false
	}
	table, err := t.compute(x, y)
	if err != nil {
		return false // what is wrong with it is said when it runs, if it does
	}
	made := t.b.Private("Lookup", nil, x, t.b.Const(y.Name+".table", table))
	if t.b.Err() != nil {
		return false
	}
	made.Def.Outputs[0] = y
	y.Def = made.Def
	return true
}

// source is the one tensor of bytes of whose elements those of v are functions; v
// itself, if it is bytes that are computed otherwise; nil if there is none.
func (t *tables) source(v *graph.Value) *graph.Value {
	if x, ok := t.sources[v]; ok {
		return x
	}
	t.sources[v] = t.sourceOf(v)
	return t.sources[v]
}

func (t *tables) sourceOf(v *graph.Value) *graph.Value {
	var self *graph.Value
	if isBytes(v) {
		self = v
	}
	if v.Def == nil || !elementwise(v.Def) {
		return self
	}
	var x *graph.Value
	for _, in := range v.Def.Inputs {
		if in == nil || constantNumber(in) {
			continue
		}
		s := t.source(in)
		if s == nil || x != nil && s != x || !sameShape(in, v) {
			return self
		}
		x = s
	}
	if x == nil {
		return self
	}
	return x
}

// constantNumber reports whether v is one constant number, or is computed from such.
func constantNumber(v *graph.Value) bool {
	if !v.Type.Known() || !v.Type.Shape.Len().Is(1) || len(v.Type.Shape) > 1 {
		return false
	}
	return v.Const != nil || v.Def != nil && elementwise(v.Def) && !slices.ContainsFunc(v.Def.Inputs, func(in *graph.Value) bool { return in != nil && !constantNumber(in) })
}

// elementwise reports whether n has a result for each element of its operands.
func elementwise(n *graph.Node) bool {
	if len(n.Outputs) != 1 {
		return false
	}
	switch n.Op.Domain {
	case "":
		return slices.Contains(unaryNames(), n.Op.Name) || slices.Contains([]string{"Add", "Sub", "Mul", "Div", "Max", "Min"}, n.Op.Name)
	case "com.microsoft":
		return slices.Contains([]string{"QLinearAdd", "QLinearMul", "QLinearSigmoid", "QLinearLeakyRelu"}, n.Op.Name)
	}
	return false
}

// compute is y where x is each byte in turn.
func (t *tables) compute(x, y *graph.Value) (*tensor.Tensor, error) {
	all := tensor.New(x.Type.DType, 256)
	for i := range all.Bytes() {
		all.Bytes()[i] = byte(i)
	}
	g := &graph.Graph{Opset: t.opset}
	of := map[*graph.Value]*graph.Value{x: {Name: "x", Const: graph.ConstantOf(all), Type: graph.Type{DType: x.Type.DType, Shape: graph.Dims(256)}}}
	g.Outputs = []*graph.Value{t.copied(g, of, y)}
	out, err := resultsOf(g, graph.Options{Ops: t.b.Ops, Pool: t.pool})
	if err != nil {
		return nil, err
	}
	table := tensor.New(y.Type.DType, 256)
	copy(table.Bytes(), out[0].Bytes())
	return table, nil
}

// copied is v in g, with the nodes that compute it.
func (t *tables) copied(g *graph.Graph, of map[*graph.Value]*graph.Value, v *graph.Value) *graph.Value {
	if v == nil || v.Const != nil {
		return v
	}
	if of[v] == nil {
		n := &graph.Node{Op: v.Def.Op, Version: v.Def.Version, Attrs: v.Def.Attrs}
		for _, in := range v.Def.Inputs {
			n.Inputs = append(n.Inputs, t.copied(g, of, in))
		}
		of[v] = &graph.Value{Name: v.Name, Def: n}
		n.Outputs = []*graph.Value{of[v]}
		g.Nodes = append(g.Nodes, n)
	}
	return of[v]
}
