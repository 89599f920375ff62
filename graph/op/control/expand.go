package control

import (
	"fmt"

	"tandem/graph"
	"tandem/tensor"
)

// MaxUnrolled bounds the nodes that a loop may become.
const MaxUnrolled = 1 << 16

// expandIf puts the branch of a condition that is known in place of the node.
func expandIf(e *graph.Expansion) ([]*graph.Value, error) {
	yes, ok := condition(e.In(0))
	if !ok {
		return nil, fmt.Errorf("a condition that is computed has no gradient")
	}
	name := "else_branch"
	if yes {
		name = "then_branch"
	}
	body, _ := e.Node.Attrs[name].(*graph.Graph)
	if body == nil {
		return nil, fmt.Errorf("attribute %s is missing", name)
	}
	return e.Inline(body, nil), nil
}

// condition is a truth value that is known before it is computed: a constant, or whether
// an optional holds something.
func condition(v *graph.Value) (yes, ok bool) {
	if n, ok := graph.Integer(v); ok {
		return n != 0, true
	}
	if v == nil || v.Def == nil {
		return false, false
	}
	switch v.Def.Op {
	case onnx("Identity"):
		return condition(v.Def.Input(0))
	case onnx("Not"):
		yes, ok = condition(v.Def.Input(0))
		return !yes, ok
	case onnx("OptionalHasElement"):
		held, ok := wrapped(v.Def.Input(0))
		return held != nil, ok
	}
	return false, false
}

// unrollable is the body of a loop of a number of iterations.
func unrollable(e *graph.Expansion, iterations int) (*graph.Graph, error) {
	body, _ := e.Node.Attrs["body"].(*graph.Graph)
	switch {
	case body == nil:
		return nil, fmt.Errorf("attribute body is missing")
	case iterations < 1:
		return nil, fmt.Errorf("a loop of %d iterations has no gradient", iterations)
	case iterations*max(1, len(body.Nodes)) > MaxUnrolled:
		return nil, fmt.Errorf("%d iterations of %d nodes are more than the %d that are unrolled", iterations, len(body.Nodes), MaxUnrolled)
	}
	return body, nil
}

// expandLoop unrolls a loop of a constant number of iterations that always goes on.
func expandLoop(e *graph.Expansion) ([]*graph.Value, error) {
	count, ok := graph.Integer(e.In(0))
	if !ok {
		return nil, fmt.Errorf("a number of iterations that is computed has no gradient")
	}
	if on, ok := graph.Integer(e.In(1)); e.In(1) != nil && (!ok || on == 0) {
		return nil, fmt.Errorf("a condition that is computed has no gradient")
	}
	body, err := unrollable(e, count)
	if err != nil {
		return nil, err
	}
	carried := e.Node.Inputs[min(2, len(e.Node.Inputs)):]
	n := len(carried)
	if len(body.Inputs) != n+2 || len(body.Outputs) < n+1 {
		return nil, fmt.Errorf("its body has %d inputs and %d outputs, for %d values carried", len(body.Inputs), len(body.Outputs), n)
	}
	on := e.Const("on", tensor.Scalar(true))
	gathered := make([][]*graph.Value, len(body.Outputs)-1-n)
	for i := range count {
		in := append([]*graph.Value{e.Const("iteration", tensor.Scalar(int64(i))), on}, carried...)
		out := e.Inline(body, in)
		if err := e.Err(); err != nil {
			return nil, fmt.Errorf("iteration %d: %w", i, err)
		}
		if !alwaysOn(out[0], on) {
			return nil, fmt.Errorf("a condition that the body computes has no gradient")
		}
		carried = out[1 : n+1]
		for j, v := range out[n+1:] {
			gathered[j] = append(gathered[j], v)
		}
	}
	results := append([]*graph.Value{}, carried...)
	for j, list := range gathered {
		if e.Node.Output(n+j) == nil {
			results = append(results, nil)
			continue
		}
		results = append(results, Stacked(e, list, 0, false))
	}
	return results, nil
}

// alwaysOn reports whether a condition is the given one passed on, or true.
func alwaysOn(v, on *graph.Value) bool {
	for v != on && v.Def != nil && v.Def.Op == onnx("Identity") {
		v = v.Def.Inputs[0]
	}
	if v == on {
		return true
	}
	n, ok := graph.Integer(v)
	return ok && n != 0
}

// Stacked joins values along a new axis.
func Stacked(e *graph.Expansion, list []*graph.Value, axis int, backwards bool) *graph.Value {
	at := e.Ints("axis", int64(axis))
	items := make([]*graph.Value, len(list))
	for i, v := range list {
		to := i
		if backwards {
			to = len(list) - 1 - i
		}
		items[to] = e.Op("Unsqueeze", nil, v, at)
	}
	return e.Op("Concat", graph.Attrs{"axis": int64(axis)}, items...)
}

// Slices takes x apart along an axis of known length.
func Slices(e *graph.Expansion, x *graph.Value, axis, length int) []*graph.Value {
	parts := e.Builder.Node(onnx("Split"), length, graph.Attrs{"axis": int64(axis)}, x)
	at := e.Ints("axis", int64(axis))
	for i, p := range parts {
		parts[i] = e.Op("Squeeze", nil, p, at)
	}
	return parts
}

// expandScan unrolls a scan over a known number of slices.
func expandScan(e *graph.Expansion) ([]*graph.Value, error) {
	ins := e.Node.Attrs.Int("num_scan_inputs", 0)
	states := len(e.Node.Inputs) - ins
	if ins < 1 || states < 0 {
		return nil, fmt.Errorf("it scans %d of its %d inputs", ins, len(e.Node.Inputs))
	}
	numbers := func(name string, i int) int {
		if list := e.Node.Attrs.Ints(name); i < len(list) {
			return list[i]
		}
		return 0
	}
	var cut [][]*graph.Value
	length := -1
	for i, x := range e.Node.Inputs[states:] {
		axis, err := graph.Axis(numbers("scan_input_axes", i), len(x.Type.Shape))
		if err != nil {
			return nil, err
		}
		n, ok := x.Type.Shape[axis].Value()
		if !ok || length >= 0 && n != length {
			return nil, fmt.Errorf("a number of slices %v that is not known, or not the same for all, has no gradient", x.Type.Shape[axis])
		}
		length = n
		if _, err := unrollable(e, length); err != nil {
			return nil, err
		}
		cut = append(cut, Slices(e, x, axis, n))
	}
	body, err := unrollable(e, length)
	if err != nil {
		return nil, err
	}
	if len(body.Inputs) != states+ins || len(body.Outputs) < states {
		return nil, fmt.Errorf("its body has %d inputs and %d outputs for %d states", len(body.Inputs), len(body.Outputs), states)
	}
	state := e.Node.Inputs[:states]
	gathered := make([][]*graph.Value, len(body.Outputs)-states)
	for at := range length {
		in := append([]*graph.Value{}, state...)
		for i, list := range cut {
			j := at
			if numbers("scan_input_directions", i) != 0 {
				j = length - 1 - at
			}
			in = append(in, list[j])
		}
		out := e.Inline(body, in)
		if err := e.Err(); err != nil {
			return nil, fmt.Errorf("slice %d: %w", at, err)
		}
		state = out[:states]
		for j, v := range out[states:] {
			gathered[j] = append(gathered[j], v)
		}
	}
	results := append([]*graph.Value{}, state...)
	for j, list := range gathered {
		if e.Node.Output(states+j) == nil {
			results = append(results, nil)
			continue
		}
		axis, err := graph.Axis(numbers("scan_output_axes", j), len(list[0].Type.Shape)+1)
		if err != nil {
			return nil, err
		}
		results = append(results, Stacked(e, list, axis, numbers("scan_output_directions", j) != 0))
	}
	return results, nil
}

// refused is the expansion of an operator that could have a gradient and has none.
func refused(why string) func(*graph.Expansion) ([]*graph.Value, error) {
	return func(*graph.Expansion) ([]*graph.Value, error) { return nil, fmt.Errorf("%s", why) }
}
