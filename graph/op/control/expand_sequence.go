package control

import (
	"fmt"
	"slices"

	"tandem/graph"
	"tandem/tensor"
)

// A list is not differentiated itself. What reads one (SequenceAt, ConcatFromSequence,
// SequenceMap …) is replaced by what it does with the elements, which are found by
// following the list back through the nodes that made it; those are left without readers.

// elementsOf are the values in a list, which nobody else holds.
func elementsOf(e *graph.Expansion, list *graph.Value) ([]*graph.Value, error) {
	if list == nil || list.Def == nil {
		return nil, fmt.Errorf("a sequence that is given from outside has no gradient")
	}
	n := list.Def
	switch n.Op {
	case onnx("SequenceConstruct"):
		if slices.Contains(n.Inputs, nil) {
			return nil, fmt.Errorf("an element of the sequence is missing")
		}
		return slices.Clone(n.Inputs), nil
	case onnx("SequenceEmpty"):
		return nil, nil
	case onnx("Identity"):
		return elementsOf(e, n.Input(0))
	case onnx("SplitToSequence"):
		return partsOf(e, n)
	case onnx("SequenceInsert"), onnx("SequenceErase"):
		return editedList(e, n)
	}
	if e.Lists[list] == nil {
		elements, err := listWritten(e, n, slices.Index(n.Outputs, list))
		if err != nil {
			return nil, err
		}
		e.Lists[list] = elements
	}
	return slices.Clone(e.Lists[list]), nil
}

// listWritten are the elements of a list that n makes, output i, and that depends on
// nothing that is differentiated: what n is written out to stands beside it.
func listWritten(e *graph.Expansion, n *graph.Node, i int) ([]*graph.Value, error) {
	op, err := e.Ops.Of(e.G, n)
	if err != nil {
		return nil, err
	}
	if op.Expand == nil {
		return nil, fmt.Errorf("a sequence that %v gives is known only when it runs: it has no gradient", n.Op)
	}
	at := *e
	at.Node = n
	written, err := op.Expand(&at)
	switch {
	case err != nil:
		return nil, fmt.Errorf("the sequence of node %v: %w", n, err)
	case i >= len(written) || written[i] == nil:
		return nil, fmt.Errorf("the sequence of node %v, its output %d, has no gradient", n, i)
	}
	return elementsOf(e, written[i])
}

// editedList is a list after one element was put in or taken out.
func editedList(e *graph.Expansion, n *graph.Node) ([]*graph.Value, error) {
	list, err := elementsOf(e, n.Input(0))
	if err != nil {
		return nil, err
	}
	if n.Op == onnx("SequenceErase") {
		at, err := placeIn(n.Input(1), len(list), len(list)-1, len(list)-1)
		if err != nil {
			return nil, err
		}
		return slices.Delete(list, at, at+1), nil
	}
	if n.Input(1) == nil {
		return nil, fmt.Errorf("the element to insert is missing")
	}
	at, err := placeIn(n.Input(2), len(list), len(list), len(list))
	if err != nil {
		return nil, err
	}
	return slices.Insert(list, at, n.Input(1)), nil
}

// placeIn is the place that v names in a list of n, up to limit; def stands for an
// absent one.
func placeIn(v *graph.Value, n, limit, def int) (int, error) {
	if v == nil {
		return within(def, n, limit)
	}
	at, ok := graph.Integer(v)
	if !ok {
		return 0, fmt.Errorf("a position in a sequence that is computed has no gradient")
	}
	return within(at, n, limit)
}

// expandSplitToSequence makes the list one of known elements.
func expandSplitToSequence(e *graph.Expansion) ([]*graph.Value, error) {
	parts, err := partsOf(e, e.Node)
	if err != nil {
		return nil, err
	}
	return []*graph.Value{sequenceOf(e, parts)}, nil
}

func sequenceOf(e *graph.Expansion, list []*graph.Value) *graph.Value {
	if len(list) == 0 {
		return e.Op("SequenceEmpty", nil)
	}
	return e.Op("SequenceConstruct", nil, list...)
}

// partsOf writes out a node SplitToSequence whose number of parts is known.
func partsOf(e *graph.Expansion, n *graph.Node) ([]*graph.Value, error) {
	x := n.Input(0)
	if x == nil || !x.Type.Known() {
		return nil, fmt.Errorf("what SplitToSequence splits has a type that is known only when it runs: it has no gradient")
	}
	axis, err := graph.Axis(n.Attrs.Int("axis", 0), len(x.Type.Shape))
	if err != nil {
		return nil, err
	}
	lengths, err := partLengths(n, x.Type.Shape[axis])
	switch {
	case err != nil:
		return nil, err
	case len(lengths) == 0:
		return nil, nil
	case len(lengths) > MaxUnrolled:
		return nil, fmt.Errorf("%d parts are more than the %d that are written out", len(lengths), MaxUnrolled)
	}
	parts := e.Builder.Node(onnx("Split"), len(lengths), graph.Attrs{"axis": int64(axis)}, x, e.Ints("lengths", lengths...))
	if n.Input(1) == nil && n.Attrs.Int("keepdims", 1) == 0 {
		at := e.Ints("axis", int64(axis))
		for i, p := range parts {
			parts[i] = e.Op("Squeeze", nil, p, at)
		}
	}
	return parts, nil
}

// partLengths are the lengths of the parts of a dimension.
func partLengths(n *graph.Node, d graph.Dim) ([]int64, error) {
	lengths := n.Input(1)
	if lengths != nil && len(lengths.Type.Shape) > 0 {
		if lengths.Const == nil {
			return nil, fmt.Errorf("lengths of parts that are computed have no gradient")
		}
		t, err := lengths.Const.Tensor()
		if err != nil {
			return nil, err
		}
		var list []int64
		for _, v := range t.Ints() {
			list = append(list, int64(v))
		}
		return list, nil
	}
	each := 1
	if lengths != nil {
		var ok bool
		if each, ok = graph.Integer(lengths); !ok {
			return nil, fmt.Errorf("a length of parts that is computed has no gradient")
		}
	}
	length, ok := d.Value()
	if !ok || each < 1 {
		return nil, fmt.Errorf("parts of length %d of a dimension %v: their number must be known for a gradient", each, d)
	}
	var list []int64
	for rest := length; rest > 0; rest -= each {
		list = append(list, int64(min(each, rest)))
	}
	return list, nil
}

func expandSequenceAt(e *graph.Expansion) ([]*graph.Value, error) {
	list, err := elementsOf(e, e.In(0))
	if err != nil {
		return nil, err
	}
	if e.In(1) == nil {
		return nil, fmt.Errorf("the position is missing")
	}
	at, err := placeIn(e.In(1), len(list), len(list)-1, 0)
	if err != nil {
		return nil, err
	}
	return []*graph.Value{list[at]}, nil
}

func expandConcatFromSequence(e *graph.Expansion) ([]*graph.Value, error) {
	list, err := elementsOf(e, e.In(0))
	if err != nil {
		return nil, err
	}
	axis, ok := e.Node.Attrs["axis"].(int64)
	switch {
	case !ok:
		return nil, fmt.Errorf("attribute axis is missing")
	case len(list) == 0:
		return nil, fmt.Errorf("there is nothing to join: the sequence is empty")
	case e.Node.Attrs.Int("new_axis", 0) != 0:
		return []*graph.Value{Stacked(e, list, int(axis), false)}, nil
	}
	return []*graph.Value{e.Op("Concat", graph.Attrs{"axis": axis}, list...)}, nil
}

// expandSequenceLength: so that loops over a list have a known number of iterations.
func expandSequenceLength(e *graph.Expansion) ([]*graph.Value, error) {
	list, err := elementsOf(e, e.In(0))
	if err != nil {
		return nil, err
	}
	return []*graph.Value{e.Const("length", tensor.Scalar(int64(len(list))))}, nil
}

// expandSequenceMap puts the body there once for each element. A further input is a
// list, of which each body takes its element, or a tensor that all take.
func expandSequenceMap(e *graph.Expansion) ([]*graph.Value, error) {
	first, err := elementsOf(e, e.In(0))
	if err != nil {
		return nil, err
	}
	if len(first) == 0 {
		return slices.Repeat([]*graph.Value{sequenceOf(e, nil)}, len(e.Node.Outputs)), nil
	}
	body, err := unrollable(e, len(first))
	if err != nil {
		return nil, err
	}
	if len(body.Inputs) != len(e.Node.Inputs) {
		return nil, fmt.Errorf("its body has %d inputs for %d", len(body.Inputs), len(e.Node.Inputs))
	}
	lists := [][]*graph.Value{first}
	for _, v := range e.Node.Inputs[1:] {
		list := slices.Repeat([]*graph.Value{v}, len(first))
		if v == nil || !v.Type.Known() {
			if list, err = elementsOf(e, v); err != nil {
				return nil, err
			}
		}
		if len(list) != len(first) {
			return nil, fmt.Errorf("its sequences have %d and %d elements", len(first), len(list))
		}
		lists = append(lists, list)
	}
	made := make([][]*graph.Value, len(body.Outputs))
	for i := range first {
		in := make([]*graph.Value, len(lists))
		for j, list := range lists {
			in[j] = list[i]
		}
		for j, v := range e.Inline(body, in) {
			made[j] = append(made[j], v)
		}
	}
	results := make([]*graph.Value, len(made))
	for j, list := range made {
		results[j] = sequenceOf(e, list)
	}
	return results, nil
}

// expandOptionalGet: what Optional wrapped, or a tensor as it is.
func expandOptionalGet(e *graph.Expansion) ([]*graph.Value, error) {
	v, ok := wrapped(e.In(0))
	switch {
	case !ok:
		return nil, fmt.Errorf("an optional that is known only when it runs has no gradient")
	case v == nil:
		return nil, fmt.Errorf("the optional is empty")
	}
	return []*graph.Value{v}, nil
}

// wrapped is what an optional holds, nil if it is empty; a tensor holds itself. It reports
// whether that is known.
func wrapped(v *graph.Value) (*graph.Value, bool) {
	for v != nil && v.Def != nil && v.Def.Op == onnx("Identity") {
		v = v.Def.Input(0)
	}
	switch {
	case v == nil || v.Type.Known():
		return v, true
	case v.Def != nil && v.Def.Op == onnx("Optional"):
		return v.Def.Input(0), true
	}
	return nil, false
}
