package graph

import (
	"fmt"
	"slices"

	"tandem/tensor"
)

// gradientOpset is the version of ai.onnx that rules of gradients and expansions
// are written in: nodes that they add carry it in graphs of an older one.
const gradientOpset = 24

// Expansion is what an operator's Expand sees: the node, and a builder for what
// takes its place.
type Expansion struct {
	*Builder
	Node *Node

	depends map[*Value]bool
}

// In is the node's input i, or nil.
func (e *Expansion) In(i int) *Value { return e.Node.Input(i) }

// Needs reports whether the gradient of input i is wanted.
func (e *Expansion) Needs(i int) bool { return e.In(i) != nil && e.depends[e.In(i)] }

// Expand puts, in place of each node that depends on any of from and whose operator
// has an Expand, nodes that compute the same and have gradients: fused forms are
// written out, loops of a known number of iterations unrolled. Grad does so itself;
// a caller does it before where the types of a loop's results must be known.
func Expand(b *Builder, from []*Value) error {
	defer b.inOpset(gradientOpset)()
	x := expander{b, map[*Value]bool{}}
	for _, v := range from {
		x.depends[v] = true
	}
	nodes := b.G.Nodes
	b.G.Nodes = make([]*Node, 0, len(nodes))
	for i, n := range nodes {
		if err := x.walk(n); err != nil {
			b.G.Nodes = append(b.G.Nodes, nodes[i:]...)
			return err
		}
	}
	return nil
}

// expander appends to its builder's graph what becomes of each node.
type expander struct {
	b       *Builder
	depends map[*Value]bool
}

func (x expander) walk(n *Node) error {
	if !slices.ContainsFunc(n.Outputs, func(v *Value) bool { return v != nil && v.Type.Known() }) {
		if err := inferNode(x.b.G, x.b.Ops, n); err != nil {
			return err
		}
	}
	op, err := x.b.Ops.Of(x.b.G, n)
	if err != nil {
		return err
	}
	if !x.moves(op, n) {
		x.b.G.Nodes = append(x.b.G.Nodes, n)
		return nil
	}
	expand := op.Expand
	if throughFloat32(op, n) {
		expand = inFloat32
	}
	if expand == nil {
		x.b.G.Nodes = append(x.b.G.Nodes, n)
		return nil
	}
	start := len(x.b.G.Nodes)
	results, err := expand(&Expansion{x.b, n, x.depends})
	if err == nil {
		err = x.b.err
	}
	if err != nil {
		return fmt.Errorf("gradient of node %v: %w", n, err)
	}
	if results == nil {
		x.b.G.Nodes = append(x.b.G.Nodes, n)
		return nil
	}
	if err := x.take(n, results, start); err != nil {
		return err
	}
	added := slices.Clone(x.b.G.Nodes[start:])
	x.b.G.Nodes = x.b.G.Nodes[:start]
	for _, m := range added {
		if err := x.walk(m); err != nil {
			return err
		}
	}
	return nil
}

// moves marks the outputs of n that depend on the values, if there are any.
func (x expander) moves(op *Op, n *Node) (any bool) {
	inside := x.insideBodies(n)
	reads := slices.DeleteFunc(n.Reads(), func(v *Value) bool { return !x.depends[v] })
	for _, o := range n.Outputs {
		if o != nil && (inside || slices.ContainsFunc(reads, func(v *Value) bool { return carries(op, n, v, o) })) {
			x.depends[o], any = true, true
		}
	}
	return any
}

// insideBodies reports whether a body of n holds one of the values as a constant.
func (x expander) insideBodies(n *Node) bool {
	for _, b := range n.Bodies() {
		for _, v := range b.Graph.Constants() {
			if x.depends[v] {
				return true
			}
		}
		if slices.ContainsFunc(b.Graph.Nodes, x.insideBodies) {
			return true
		}
	}
	return false
}

// take makes the results the outputs of n, which others already read.
func (x expander) take(n *Node, results []*Value, start int) error {
	added := &Graph{Nodes: x.b.G.Nodes[start:]}
	for i, old := range n.Outputs {
		if old == nil {
			continue
		}
		if i >= len(results) || results[i] == nil {
			return fmt.Errorf("gradient of node %v: its output %d is not supported", n, i)
		}
		result := results[i]
		if result.Def == nil || !slices.Contains(added.Nodes, result.Def) || slices.Contains(results[i+1:], result) || slices.Contains(n.Outputs, result) {
			// What the node passes on as it is, or gives twice.
			result = x.b.Op("Identity", nil, result)
			added.Nodes = x.b.G.Nodes[start:]
		}
		old.Type, old.Content, old.Def = result.Type, result.Content, result.Def
		def := result.Def
		def.Outputs[slices.Index(def.Outputs, result)] = old
		added.Replace(result, old)
	}
	return x.b.err
}

// Inline adds the nodes of an inner graph, with the given values for its inputs, and
// returns its outputs. Constants and what the graph reads from outside stay the
// same values.
func (b *Builder) Inline(body *Graph, inputs []*Value) []*Value {
	g, to := body.Clone()
	for i, v := range body.Inputs {
		g.Replace(to[v], inputs[i])
	}
	for _, v := range append(body.Captures(), body.Constants()...) {
		if to[v] != nil {
			g.Replace(to[v], v)
		}
	}
	for _, n := range g.Nodes {
		if n.Version == 0 && n.Op.Domain == "" {
			if n.Version = b.G.Opset[""]; body.Opset != nil {
				n.Version = body.OpVersion(n)
			}
		}
		for _, v := range n.Outputs {
			if v != nil {
				v.Name, v.Type, v.Content = b.unique(v.Name), Type{}, nil
			}
		}
		if b.err != nil {
			break
		}
		if err := inferNode(b.G, b.Ops, n); err != nil {
			b.Fail(err)
			break
		}
		b.G.Nodes = append(b.G.Nodes, n)
	}
	return g.Outputs
}

// Integer is the one element of a constant or of a value whose content is known.
func Integer(v *Value) (int, bool) {
	if v == nil {
		return 0, false
	}
	if v.Const != nil {
		t, err := v.Const.Tensor()
		if err != nil || t.Len() != 1 {
			return 0, false
		}
		switch t.DType() {
		case tensor.Int64:
			return int(t.I64()[0]), true
		case tensor.Int32:
			return int(tensor.Data[int32](t)[0]), true
		case tensor.Bool:
			if tensor.Data[bool](t)[0] {
				return 1, true
			}
			return 0, true
		}
		return 0, false
	}
	if len(v.Content) != 1 {
		return 0, false
	}
	return v.Content[0].Value()
}
