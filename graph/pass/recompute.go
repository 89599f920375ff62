package pass

import (
	"maps"
	"math"
	"slices"

	"tandem/graph"
)

// Recompute keeps fewer results of the forward pass for the backward pass and computes
// the others again when they are due ("activation checkpointing": Chen et al.,
// "Training Deep Nets with Sublinear Memory Cost", 2016). The forward nodes are cut
// into about √n segments of n nodes. What one segment hands to the next is kept; what
// only its own gradients read is computed again, from what is kept, before the first
// of them. The same operators see the same operands, so that no bit changes.
func Recompute() graph.Pass {
	return graph.Pass{Name: "recompute", Run: func(g *graph.Graph, _ *graph.Table) error {
		r := newRecomputation(g)
		if r == nil {
			return nil
		}
		// The last segment's gradients come at once.
		for _, segment := range slices.Backward(r.segments[:len(r.segments)-1]) {
			r.again(segment)
		}
		return nil
	}}
}

// recomputation is a training graph under the pass: the first nodes of it, up to the
// loss, are the forward pass.
type recomputation struct {
	g        *graph.Graph
	segments [][]*graph.Node
	segment  map[*graph.Node]int // of forward nodes
}

func newRecomputation(g *graph.Graph) *recomputation {
	forward := map[*graph.Node]bool{}
	var visit func(v *graph.Value)
	visit = func(v *graph.Value) {
		if v == nil || v.Def == nil || forward[v.Def] {
			return
		}
		forward[v.Def] = true
		for _, in := range v.Def.Reads() {
			visit(in)
		}
	}
	for _, v := range g.Outputs {
		visit(v)
	}
	r := &recomputation{g: g, segment: map[*graph.Node]int{}}
	size := int(math.Ceil(math.Sqrt(float64(len(forward)))))
	if size < 2 {
		return nil
	}
	for _, n := range g.Nodes {
		if !forward[n] {
			continue
		}
		if at := len(r.segment); at%size == 0 {
			r.segments = append(r.segments, nil)
		}
		last := len(r.segments) - 1
		r.segments[last] = append(r.segments[last], n)
		r.segment[n] = last
	}
	return r
}

// again lets the gradients of a segment read copies of its nodes.
func (r *recomputation) again(segment []*graph.Node) {
	at := r.segment[segment[0]]
	kept := r.handedOn(segment, at)
	first := -1 // the first reader behind the forward pass
	due := map[*graph.Node]bool{}
	var need func(n *graph.Node)
	need = func(n *graph.Node) {
		if due[n] {
			return
		}
		due[n] = true
		for _, in := range n.Inputs {
			if in != nil && in.Def != nil && !kept[in] && r.isIn(in.Def, at) {
				need(in.Def)
			}
		}
	}
	for i, n := range r.g.Nodes {
		if _, forward := r.segment[n]; forward {
			continue
		}
		for _, v := range n.Reads() {
			if v.Def == nil || kept[v] || !r.isIn(v.Def, at) {
				continue
			}
			if first < 0 {
				first = i
			}
			need(v.Def)
		}
	}
	if first < 0 {
		return
	}
	copies, to := copyNodes(segment, due, kept)
	for i, n := range r.g.Nodes {
		if _, forward := r.segment[n]; !forward && i >= first {
			redirect(n, to)
		}
	}
	r.g.Nodes = slices.Insert(r.g.Nodes, first, copies...)
}

func (r *recomputation) isIn(n *graph.Node, segment int) bool {
	s, ok := r.segment[n]
	return ok && s == segment
}

// handedOn are the values of a segment that stay: what later segments read, outputs,
// views of values that stay, and all that a node gives which cannot be done twice: one
// that computes next state, or has inner graphs.
func (r *recomputation) handedOn(segment []*graph.Node, at int) map[*graph.Value]bool {
	kept := map[*graph.Value]bool{}
	for _, n := range segment {
		once := len(n.Bodies()) > 0
		for _, o := range n.Outputs {
			once = once || o != nil && r.g.Kept(o)
		}
		for _, o := range n.Outputs {
			if o != nil && once {
				kept[o] = true
			}
		}
	}
	for _, n := range r.g.Nodes {
		if s, ok := r.segment[n]; !ok || s <= at {
			continue
		}
		for _, v := range n.Reads() {
			if v.Def != nil && r.isIn(v.Def, at) {
				kept[v] = true
			}
		}
	}
	return kept
}

// copyNodes copies the nodes that are due, in their order. What is kept is read where
// it is.
func copyNodes(segment []*graph.Node, due map[*graph.Node]bool, kept map[*graph.Value]bool) ([]*graph.Node, map[*graph.Value]*graph.Value) {
	to := map[*graph.Value]*graph.Value{}
	var copies []*graph.Node
	for _, n := range segment {
		if !due[n] {
			continue
		}
		c := &graph.Node{Name: n.Name, Op: n.Op, Version: n.Version, Attrs: maps.Clone(n.Attrs), Inputs: slices.Clone(n.Inputs), Outputs: make([]*graph.Value, len(n.Outputs))}
		redirect(c, to)
		for i, o := range n.Outputs {
			if o == nil {
				continue
			}
			again := *o
			again.Name, again.Def = o.Name+".again", c
			c.Outputs[i] = &again
			if !kept[o] {
				to[o] = &again
			}
		}
		copies = append(copies, c)
	}
	return copies, to
}

func redirect(n *graph.Node, to map[*graph.Value]*graph.Value) {
	for i, v := range n.Inputs {
		if again := to[v]; again != nil {
			n.Inputs[i] = again
		}
	}
}
