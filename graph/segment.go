package graph

import (
	"slices"

	"tandem/tensor"
)

// segment is a part of a frame whose types were known before it ran: nodes one after
// another, or one Late node. The next run finds it prepared, and uses it if the rules
// that looked at elements say the same of the elements that are there now. Where one
// does not, this segment and those after it are built again.
type segment struct {
	node, step int // the first of each
	arena      memory
	bytes      int // of the frame before this segment
	asked      []question
	views      []view
	rows       []*rowwise
}

// question is a node whose shape rule has looked at elements, and which they were.
type question struct {
	node   int
	values []*Value
}

// view shares the elements of a tensor that may lie elsewhere in the next run, because
// the caller gives it or a Late node makes it.
type view struct{ of, is *tensor.Tensor }

// begin makes ready what the segment reads from outside.
func (s *segment) begin() {
	for _, v := range s.views {
		v.is.Alias(v.of)
	}
}

// leave gives the memory of the segment to whoever takes it.
func (s *segment) leave(to func(memory)) {
	to(s.arena)
	for _, r := range s.rows {
		for _, inner := range r.inner.segments {
			to(inner.arena)
		}
	}
}

// ask notes that the rule that is running looks at the elements of v.
func (f *frame) ask(v *Value) {
	if !slices.Contains(f.asking, v) {
		f.asking = append(f.asking, v)
	}
}

// holds reports whether the rules say of the elements of this run what they said when the
// segment was built. Rules are asked with the elements that they were answered with then:
// those that a segment computes itself were not there.
func (f *frame) holds(s *segment) bool {
	for _, q := range s.asked {
		n := f.p.g.Nodes[q.node]
		type fact struct {
			Type
			content []Dim
		}
		var before []fact
		for _, o := range n.Outputs {
			before = append(before, fact{f.types[o], f.content[o]})
			delete(f.types, o)
			delete(f.content, o)
		}
		f.answered = q.values
		err := infer(n, f.p.ops[q.node], f.p.g.OpVersion(n), f)
		f.answered = nil
		if err != nil {
			return false
		}
		for i, o := range n.Outputs {
			if o != nil && !(f.types[o].DType == before[i].DType && f.types[o].Shape.Equal(before[i].Shape) && sameDims(f.content[o], before[i].content)) {
				return false
			}
		}
	}
	return true
}

// sameDims compares contents, of which none and an empty one differ.
func sameDims(a, b []Dim) bool {
	return (a == nil) == (b == nil) && slices.EqualFunc(a, b, Dim.Equal)
}

// truncate forgets the segments from the i-th on.
func (f *frame) truncate(i int) {
	if i >= len(f.segments) {
		return
	}
	first := &f.segments[i]
	for _, n := range f.p.g.Nodes[first.node:f.next] {
		for _, o := range n.Outputs {
			delete(f.types, o)
			delete(f.content, o)
			delete(f.tensors, o)
		}
	}
	for _, s := range f.segments[i:] {
		s.leave(f.spares.give)
	}
	f.next, f.bytes, f.outputs = first.node, first.bytes, nil
	clear(f.steps[first.step:])
	f.steps = f.steps[:first.step]
	clear(f.segments[i:])
	f.segments = f.segments[:i]
}

// made gives the outputs of a Late node that has run their types, and reports whether
// what was built for them before is of use: not after lists, of which a kernel may have
// looked at the elements.
func (f *frame) made(n *Node) (same bool) {
	same = true
	for _, o := range n.Outputs {
		if o == nil {
			continue
		}
		x, before := f.tensors[o], f.types[o]
		shape, ok := before.Shape.Static()
		if ok && before.DType == x.DType() && x.Shape().Equal(shape) && (x.DType().Bits() > 0 || x.DType() == tensor.String) {
			continue
		}
		f.give(o, x)
		same = false
	}
	return same
}
