package onnx

import (
	"fmt"
	"maps"

	"tandem/fault"
	"tandem/graph"
)

// functionID names a model-local function.
type functionID struct{ domain, name, overload string }

// function is a FunctionProto: nodes that stand for one node of its name.
type function struct {
	id              functionID
	inputs, outputs []string
	defaults        [][]byte // attributes that a call may leave out
	nodes           [][]byte
	size            int // of its message, in bytes
	opset           map[string]int
	active          bool // being written out: it must not call itself
}

// declareFunction reads a FunctionProto into r.functions.
func (r *reader) declareFunction(msg []byte) error {
	fn := &function{opset: map[string]int{}, size: len(msg)}
	for f, err := range fields(msg) {
		if err != nil {
			return err
		}
		if err := fn.parse(f); err != nil {
			return within(err, "function %.200q", fn.id.name)
		}
	}
	if r.functions[fn.id] != nil {
		return invalid("function %.200q is defined twice", fn.id.name).Try(remedyExport)
	}
	r.functions[fn.id] = fn
	r.nodeLeft += expandFactor * len(fn.nodes)
	return nil
}

func (fn *function) parse(f field) (err error) {
	var s string
	switch f.num {
	case functionName:
		fn.id.name, err = f.text()
	case functionDomain:
		s, err = f.text()
		fn.id.domain = canonicalDomain(s)
	case functionOver:
		fn.id.overload, err = f.text()
	case functionInput:
		s, err = f.text()
		fn.inputs = append(fn.inputs, s)
	case functionOutput:
		s, err = f.text()
		fn.outputs = append(fn.outputs, s)
	case functionAttr:
		fn.defaults, err = appendMessage(fn.defaults, f)
	case functionNode:
		fn.nodes, err = appendMessage(fn.nodes, f)
	case functionOpset:
		var domain string
		var version int
		domain, version, err = opset(f)
		fn.opset[domain] = version
	}
	return err
}

// call writes a function's nodes out in place of the node n that calls it. A
// function sees nothing of the graph but its inputs.
func (r *reader) call(g *graph.Graph, fn *function, n *rawNode, inputs []*graph.Value, attrs graph.Attrs, sc *scope, depth int) error {
	if err := r.enter(fn, n, depth); err != nil {
		return err
	}
	fn.active = true
	defer func() { fn.active = false }()
	inner := &scope{values: map[string]*graph.Value{}, inFunction: true, attrs: graph.Attrs{}, opset: fn.opset}
	for _, msg := range fn.defaults {
		name, v, err := r.attr(msg, &scope{}, depth+1)
		if err != nil {
			return within(err, "function %.200q", fn.id.name)
		}
		inner.attrs[name] = v
	}
	maps.Copy(inner.attrs, attrs)
	for i, name := range fn.inputs {
		inner.values[name] = nil
		if i < len(inputs) {
			inner.values[name] = inputs[i]
		}
	}
	first := len(g.Nodes)
	if err := r.nodes(g, fn.nodes, inner, depth+1); err != nil {
		return within(err, "function %.200q", fn.id.name)
	}
	return leave(g, g.Nodes[first:], fn, n, inner, sc)
}

// leave gives the values made by fn's nodes names of the calling graph: its
// outputs those that n gives them, the others such as tell where they come from.
func leave(g *graph.Graph, made []*graph.Node, fn *function, n *rawNode, inner, sc *scope) error {
	where := n.name
	if where == "" {
		where = fn.id.name
	}
	outputs := map[*graph.Value]bool{} // made here and without a name so far
	for _, node := range made {
		for _, o := range node.Outputs {
			if o != nil {
				o.Name = fmt.Sprintf("%.64s/%s", where, o.Name)
				outputs[o] = true
			}
		}
	}
	for i, name := range n.outputs {
		if name == "" {
			continue
		}
		v := inner.values[fn.outputs[i]]
		if v == nil {
			return invalid("function %.200q does not compute its output %.200q", fn.id.name, fn.outputs[i]).Try(remedyExport)
		}
		if !outputs[v] { // an input, a constant, or an output that has its name already
			id := &graph.Node{Op: graph.OpID{Name: "Identity"}, Inputs: []*graph.Value{v}}
			v = &graph.Value{Def: id}
			id.Outputs = []*graph.Value{v}
			g.Nodes = append(g.Nodes, id)
		}
		delete(outputs, v)
		v.Name = name
		if err := sc.define(name, v); err != nil {
			return err
		}
	}
	return nil
}

// enter checks that fn may be written out here.
func (r *reader) enter(fn *function, n *rawNode, depth int) error {
	switch {
	case fn.active:
		return invalid("function %.200q calls itself", fn.id.name).Try(remedyExport)
	case depth >= maxDepth:
		return unsupported("functions are nested more than %d deep", maxDepth)
	case len(n.inputs) > len(fn.inputs) || len(n.outputs) > len(fn.outputs):
		return invalid("%d inputs and %d outputs for function %.200q, which has %d and %d",
			len(n.inputs), len(n.outputs), fn.id.name, len(fn.inputs), len(fn.outputs)).Try(remedyExport)
	}
	if err := r.spend(fn.size); err != nil {
		return err
	}
	if r.nodeLeft -= len(fn.nodes); r.nodeLeft < 0 {
		return fault.New("onnx.read", fault.TooLarge, "its functions stand for more than %d times the nodes of the file", expandFactor).
			Try("export the model with its functions written out")
	}
	for domain, version := range fn.opset {
		if _, ok := r.opset[domain]; !ok {
			r.opset[domain] = version
		}
	}
	return nil
}
