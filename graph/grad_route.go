package graph

import (
	"slices"

	"tandem/fault"
)

// carries reports whether the derivative of output to with respect to input from of node n
// may be other than 0. It is 0 for Flat operators, for an input whose shape alone is read,
// and where an operator with a gradient makes a whole number, a truth value or a text of a
// float: a cast, the places that TopK finds. What is no float, or of a type that is not
// known yet, may be codes that stand for floats, and is followed wherever it goes.
func carries(op *Op, n *Node, from, to *Value) bool {
	float := func(v *Value) bool { return v.Type.Known() && v.Type.DType.Float() }
	switch {
	case op.Flat || shapeAlone(op, n, from):
		return false
	case float(to) || !to.Type.Known() || !float(from):
		return true
	}
	return op.Grad == nil && op.Expand == nil
}

// shapeAlone reports whether n reads an input for its type and shape, and for nothing else.
func shapeAlone(op *Op, n *Node, v *Value) bool {
	if !slices.ContainsFunc(op.Like, func(i int) bool { return n.Input(i) == v }) {
		return false
	}
	for i, in := range n.Inputs {
		if in == v && !slices.Contains(op.Like, i) {
			return false
		}
	}
	return true
}

// route is the way of a derivative back from the loss.
type route struct {
	steps []passage       // from the last to the first
	on    map[*Value]bool // the values between, both ends included
}

type passage struct {
	node *Node
	op   *Op
}

// routeBack finds what lies between the values from and to: what depends on the former in
// a way that is carried, and what the latter depends on so.
func routeBack(b *Builder, from []*Value, to *Value) (route, error) {
	r := route{on: map[*Value]bool{}}
	depends := map[*Value]bool{}
	for _, v := range from {
		depends[v] = true
	}
	var after []passage
	for _, n := range b.G.Nodes {
		reads := slices.DeleteFunc(n.Reads(), func(v *Value) bool { return !depends[v] })
		if len(reads) == 0 {
			continue
		}
		op, err := b.Ops.Of(b.G, n)
		if err != nil {
			return r, err
		}
		for _, o := range n.Outputs {
			if o != nil && slices.ContainsFunc(reads, func(v *Value) bool { return carries(op, n, v, o) }) {
				depends[o] = true
			}
		}
		after = append(after, passage{n, op})
	}
	r.on[to] = depends[to]
	for _, s := range slices.Backward(after) {
		passed := false
		for _, v := range s.node.Reads() {
			if depends[v] && slices.ContainsFunc(s.node.Outputs, func(o *Value) bool { return o != nil && r.on[o] && carries(s.op, s.node, v, o) }) {
				r.on[v], passed = true, true
			}
		}
		if passed {
			r.steps = append(r.steps, s)
		}
	}
	return r, r.passable()
}

// passable refuses a way on which the derivative would be lost; of several places it names
// the first.
func (r route) passable() error {
	for _, s := range slices.Backward(r.steps) {
		for _, o := range s.node.Outputs {
			switch {
			case o == nil || !r.on[o]:
			case !o.Type.Known():
				return fault.New("graph.grad", fault.Unsupported, "node %v: the type of %s is known only when it runs, too late for a gradient", s.node, o.Name).
					Try("make the shapes of what it reads constant, or compute it outside of what is differentiated")
			case !o.Type.DType.Float():
				return fault.New("graph.grad", fault.Unsupported, "node %v makes %v of what is differentiated, through which no gradient passes", s.node, o.Type.DType).
					Try("differentiate the network in floats and quantise what was trained, or hold what the node reads fixed")
			}
		}
		if s.op.Grad == nil {
			return fault.New("graph.grad", fault.Unsupported, "node %v: the operator has no gradient", s.node).
				Try("hold what it reads fixed, or write it as operators that have a gradient")
		}
	}
	return nil
}
