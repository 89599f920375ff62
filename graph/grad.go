package graph

import (
	"fmt"

	"tandem/tensor"
)

// Gradient is what an operator's gradient rule sees: the node, the gradients of
// the loss with respect to its outputs, and a builder for new nodes.
type Gradient struct {
	*Builder
	Node *Node

	outs []*Value // by output; nil where the loss does not depend on it
	need func(*Value) bool
	add  func(*Value, *Value)
}

// Out is the gradient with respect to output i, or nil.
func (g *Gradient) Out(i int) *Value {
	if i >= len(g.outs) {
		return nil
	}
	return g.outs[i]
}

// In is the node's input i, or nil.
func (g *Gradient) In(i int) *Value { return g.Node.Input(i) }

// Needs reports whether the gradient of input i is wanted.
func (g *Gradient) Needs(i int) bool { return g.Node.Input(i) != nil && g.need(g.Node.Input(i)) }

// Keep turns the node into one of operator id, which computes the same and, as
// further outputs, what the gradient reads; the outputs listed are made if absent.
func (g *Gradient) Keep(id OpID, outputs ...int) error {
	n := g.Node
	n.Op = id
	for _, i := range outputs {
		for len(n.Outputs) <= i {
			n.Outputs = append(n.Outputs, nil)
		}
		if n.Outputs[i] == nil {
			n.Outputs[i] = &Value{Name: g.unique(id.Name), Def: n}
		}
	}
	return inferNode(g.G, g.Ops, n)
}

// Again adds a node of the same operator and version on other inputs, with one output.
func (g *Gradient) Again(attrs Attrs, inputs ...*Value) *Value {
	before := g.opset
	g.opset = g.G.OpVersion(g.Node)
	v := g.Builder.Node(g.Node.Op, 1, attrs, inputs...)[0]
	g.opset = before
	return v
}

// Set gives the gradient of input i.
func (g *Gradient) Set(i int, d *Value) { g.add(g.Node.Inputs[i], d) }

// Grad adds the nodes that compute the gradient of loss, a scalar, with respect
// to each value of wrt. This is reverse accumulation: nodes are visited from the
// last to the first, and the gradients of a value that is read several times are
// added in the order in which they are found. A value that the loss does not
// depend on has gradient nil. Gradients are computed in float32 and have the types of
// their values: nodes of other types that depend on wrt compute in float32 from then on.
func Grad(b *Builder, loss *Value, wrt []*Value) ([]*Value, error) {
	if len(loss.Type.Shape) != 0 {
		return nil, fmt.Errorf("the gradient of %s needs a scalar, it has shape %v", loss.Name, loss.Type.Shape)
	}
	if err := Expand(b, wrt); err != nil {
		return nil, err
	}
	defer b.inOpset(gradientOpset)()
	forward := b.G.Nodes
	depends := reachable(forward, wrt)
	grads := map[*Value]*Value{loss: b.Const("one", tensor.Scalar(float32(1)))}
	add := func(v, d *Value) {
		if have := grads[v]; have != nil {
			d = b.Op("Add", nil, have, d)
		}
		grads[v] = d
	}
	for i := len(forward) - 1; i >= 0; i-- {
		n := forward[i]
		outs := make([]*Value, len(n.Outputs))
		any := false
		for j, o := range n.Outputs {
			if o != nil && depends[o] {
				outs[j] = grads[o]
				any = any || outs[j] != nil
			}
		}
		if !any {
			continue
		}
		op, err := b.Ops.Of(b.G, n)
		if err != nil {
			return nil, err
		}
		if op.Grad == nil {
			return nil, fmt.Errorf("node %v: the operator has no gradient", n)
		}
		g := &Gradient{Builder: b, Node: n, outs: outs, need: func(v *Value) bool { return depends[v] }, add: add}
		if err := op.Grad(g); err != nil {
			return nil, fmt.Errorf("gradient of node %v: %w", n, err)
		}
		if b.err != nil {
			return nil, fmt.Errorf("gradient of node %v: %w", n, b.err)
		}
	}
	result := make([]*Value, len(wrt))
	for i, v := range wrt {
		result[i] = grads[v]
		if d := v.Type.DType; result[i] != nil && d != tensor.Float32 {
			result[i] = b.Op("Cast", Attrs{"to": int64(d)}, result[i])
		}
	}
	return result, b.err
}

// reachable is the set of floating-point values that depend on any of from, those included.
func reachable(nodes []*Node, from []*Value) map[*Value]bool {
	set := map[*Value]bool{}
	for _, v := range from {
		set[v] = true
	}
	for _, n := range nodes {
		for _, in := range n.Inputs {
			if in == nil || !set[in] {
				continue
			}
			for _, o := range n.Outputs {
				if o != nil && o.Type.Known() && o.Type.DType.Float() {
					set[o] = true
				}
			}
			break
		}
	}
	return set
}
