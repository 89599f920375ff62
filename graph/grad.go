package graph

import (
	"fmt"

	"tandem/fault"
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

// SetNeeded gives the gradients of the first inputs, of which those count that are needed.
func (g *Gradient) SetNeeded(d ...*Value) {
	for i, v := range d {
		if g.Needs(i) {
			g.Set(i, v)
		}
	}
}

// Grad adds the nodes that compute the gradient of loss, a scalar, with respect to each
// value of wrt. This is reverse accumulation: nodes are visited from the last to the
// first, and the gradients of a value that is read several times are added in the order
// in which they are found.
//
// A value whose derivative is 0 by definition has gradient nil: one that the loss does not
// depend on, or depends on only by way of truth values, places, sizes and drawn numbers
// (Op.Flat), of shapes (Op.Like) or of floats that were cast to integers. Whatever else the
// reverse pass cannot follow is an error that names the node: an operator without a
// gradient, an input that its rule leaves out, codes of quantisation, bits, and values whose
// types are known only when they run, for those may be anything.
//
// Gradients are computed in float32, those of float64 too, and have the types of their
// values: nodes of other types that depend on wrt compute in float32 from then on.
func Grad(b *Builder, loss *Value, wrt []*Value) ([]*Value, error) {
	for _, v := range wrt {
		if !floating(v) {
			return nil, fault.New("graph.grad", fault.Invalid, "%s is %v: there are gradients with respect to floats of at least 16 bits", v.Name, v.Type)
		}
	}
	if err := Expand(b, wrt); err != nil {
		return nil, err
	}
	if len(loss.Type.Shape) != 0 {
		return nil, fmt.Errorf("the gradient of %s needs a scalar, it has shape %v", loss.Name, loss.Type.Shape)
	}
	defer b.inOpset(gradientOpset)()
	way, err := routeBack(b, wrt, loss)
	if err != nil {
		return nil, err
	}
	back := backward{route: way, b: b, grads: map[*Value]*Value{loss: b.Scalar("one", 1)}}
	for _, s := range way.steps {
		if err := back.through(s.node, s.op); err != nil {
			return nil, err
		}
	}
	result := make([]*Value, len(wrt))
	for i, v := range wrt {
		result[i] = back.grads[v]
		if d := v.Type.DType; result[i] != nil && d != tensor.Float32 {
			result[i] = b.Op("Cast", Attrs{"to": int64(d)}, result[i])
		}
	}
	return result, b.err
}

// backward is the reverse pass under way.
type backward struct {
	route
	b     *Builder
	grads map[*Value]*Value // of the loss, by each value, as far as they are found
}

// through gives a node's inputs what its outputs have.
func (w backward) through(n *Node, op *Op) error {
	outs := make([]*Value, len(n.Outputs))
	any := false
	for i, o := range n.Outputs {
		if w.on[o] {
			outs[i] = w.grads[o]
			any = any || outs[i] != nil
		}
	}
	if !any {
		return nil
	}
	given := map[*Value]bool{}
	err := op.Grad(&Gradient{Builder: w.b, Node: n, outs: outs, need: func(v *Value) bool { return w.on[v] }, add: func(v, d *Value) {
		given[v] = true
		if have := w.grads[v]; have != nil {
			d = w.b.Op("Add", nil, have, d)
		}
		w.grads[v] = d
	}})
	if err == nil {
		err = w.b.err
	}
	if err != nil {
		return fmt.Errorf("gradient of node %v: %w", n, err)
	}
	for i, v := range n.Inputs {
		if v != nil && w.on[v] && !given[v] && !shapeAlone(op, n, v) {
			return fault.New("graph.grad", fault.Unsupported, "node %v: its input %d (%s) has no gradient", n, i, v.Name).
				Try("hold what it reads fixed, or write it as operators that have a gradient")
		}
	}
	return nil
}
