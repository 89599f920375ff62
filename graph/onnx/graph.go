package onnx

import (
	"errors"
	"slices"

	"tandem/graph"
	"tandem/tensor"
)

// scope holds the values that nodes can read by name: those of their graph, then
// those of the graphs around it.
type scope struct {
	values map[string]*graph.Value
	outer  *scope

	// Within a function: the attributes it was called with, and its versions of domains.
	inFunction bool
	attrs      graph.Attrs
	opset      map[string]int
}

func newScope(outer *scope) *scope {
	sc := &scope{values: map[string]*graph.Value{}, outer: outer}
	if outer != nil {
		sc.inFunction, sc.attrs, sc.opset = outer.inFunction, outer.attrs, outer.opset
	}
	return sc
}

// find looks a name up from the inside out. The value is nil for an input that a
// function was called without.
func (sc *scope) find(name string) (*graph.Value, bool) {
	for ; sc != nil; sc = sc.outer {
		if v, ok := sc.values[name]; ok {
			return v, true
		}
	}
	return nil, false
}

// define adds a value to the innermost graph. An inner name may hide an outer one.
func (sc *scope) define(name string, v *graph.Value) error {
	if _, ok := sc.values[name]; ok {
		return invalid("value %.200q is defined twice", name).Try(remedyExport)
	}
	sc.values[name] = v
	return nil
}

// rawGraph is a GraphProto as it lies in the file: its fields come in any order.
type rawGraph struct {
	name                                                string
	nodes, initializers, sparse, inputs, outputs, infos [][]byte
}

func parseGraph(msg []byte) (*rawGraph, error) {
	p := &rawGraph{}
	for f, err := range fields(msg) {
		if err != nil {
			return p, err
		}
		switch f.num {
		case graphName:
			p.name, err = f.text()
		case graphNode:
			p.nodes, err = appendMessage(p.nodes, f)
		case graphInitializer:
			p.initializers, err = appendMessage(p.initializers, f)
		case graphInput:
			p.inputs, err = appendMessage(p.inputs, f)
		case graphOutput:
			p.outputs, err = appendMessage(p.outputs, f)
		case graphValueInfo:
			p.infos, err = appendMessage(p.infos, f)
		case graphSparseInitializer:
			p.sparse, err = appendMessage(p.sparse, f)
		}
		if err != nil {
			return p, err
		}
	}
	return p, nil
}

// graph reads a GraphProto. Nodes within may read the values of outer.
func (r *reader) graph(msg []byte, outer *scope, depth int) (*graph.Graph, error) {
	p, err := parseGraph(msg)
	if err != nil {
		return nil, err
	}
	g := &graph.Graph{Name: p.name, Opset: r.opset}
	sc := newScope(outer)
	if !sc.inFunction {
		r.nodeLeft += expandFactor * len(p.nodes)
	}
	if err := r.initializers(p, sc); err != nil {
		return nil, err
	}
	if err := r.inputs(g, p, sc); err != nil {
		return nil, err
	}
	if err := r.nodes(g, p.nodes, sc, depth); err != nil {
		return nil, err
	}
	if err := r.innerTypes(p, sc); err != nil {
		return nil, err
	}
	return g, r.outputs(g, p, sc)
}

func (r *reader) initializers(p *rawGraph, sc *scope) error {
	for _, msg := range p.initializers {
		name, t, err := r.tensor(msg)
		if err == nil {
			err = sc.define(name, constantValue(name, t))
		}
		if err != nil {
			return err
		}
	}
	for _, msg := range p.sparse {
		name, t, err := r.sparse(msg)
		if err == nil {
			err = sc.define(name, constantValue(name, t))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func constantValue(name string, t *tensor.Tensor) *graph.Value {
	return &graph.Value{Name: name, Type: graph.Type{DType: t.DType(), Shape: graph.Dims(t.Shape()...)}, Const: graph.ConstantOf(t)}
}

// inputs reads the graph's inputs. One that is also an initializer is a constant:
// IR version 3 lists all of them so.
func (r *reader) inputs(g *graph.Graph, p *rawGraph, sc *scope) error {
	seen := map[string]bool{}
	for _, msg := range p.inputs {
		in, err := r.info(msg)
		if err != nil {
			return err
		}
		if in.name == "" || seen[in.name] {
			return invalid("input %.200q has no name, or that of another", in.name).Try(remedyExport)
		}
		seen[in.name] = true
		if sc.values[in.name] != nil {
			continue
		}
		// What a graph within a node takes is known from the node.
		if sc.outer == nil {
			switch {
			case in.kind.dtype() != tensor.Undefined:
			case !in.kind.isTensor():
				return unsupported("input %.200q is no tensor, sequence, optional or map", in.name).Try("export the model with tensors as inputs")
			case !in.typ.DType.Valid():
				return unsupported("input %.200q has no element type", in.name).Try(remedyExport)
			case !in.hasShape: // of any rank: what is computed from it is known at run time
				in.typ = graph.Type{}
			}
		}
		v := &graph.Value{Name: in.name, Type: in.typ, Elements: in.list}
		if err := sc.define(in.name, v); err != nil {
			return err
		}
		g.Inputs = append(g.Inputs, v)
	}
	return nil
}

// innerTypes enters what the file tells of inner values: for people who look at
// the graph, and for operators without a shape rule.
func (r *reader) innerTypes(p *rawGraph, sc *scope) error {
	for _, msg := range p.infos {
		in, err := r.info(msg)
		if err != nil {
			return err
		}
		if v := sc.values[in.name]; v != nil && v.Def != nil && in.kind.isTensor() && in.hasShape && in.typ.DType.Valid() {
			v.Type = in.typ
		}
	}
	return nil
}

func (r *reader) outputs(g *graph.Graph, p *rawGraph, sc *scope) error {
	for _, msg := range p.outputs {
		out, err := r.info(msg)
		if err != nil {
			return err
		}
		v, ok := sc.find(out.name)
		if !ok || v == nil {
			return invalid("output %.200q is not computed by any node", out.name).Try(remedyExport)
		}
		// The shape may be unknown: it is what Save writes until types are inferred.
		if v.Def != nil && out.kind.isTensor() && out.typ.DType.Valid() {
			v.Type, v.Declared = out.typ, out.typ
		}
		if v.Def != nil && out.list != nil {
			v.Type, v.Declared, v.Elements = out.typ, out.typ, out.list
		}
		g.Outputs = append(g.Outputs, v)
	}
	return nil
}

// nodes reads nodes in order. Each must come after those whose values it reads.
func (r *reader) nodes(g *graph.Graph, msgs [][]byte, sc *scope, depth int) error {
	for _, msg := range msgs {
		n, err := parseNode(msg)
		if err == nil {
			err = r.node(g, n, sc, depth)
		}
		if err != nil {
			return r.explain(within(err, "node %.300s", n), msgs, sc)
		}
	}
	return nil
}

// node adds one node to g, or what it stands for.
func (r *reader) node(g *graph.Graph, n *rawNode, sc *scope, depth int) error {
	if n.domain == graph.Private {
		return unsupported("domain %q is for what Tandem makes while it runs a model, not for files", graph.Private)
	}
	attrs, err := r.attrs(n, sc, depth)
	if err != nil {
		return err
	}
	if n.op == "Constant" && n.domain == "" {
		return defineConstant(n, attrs, sc)
	}
	inputs := make([]*graph.Value, len(n.inputs))
	for i, name := range n.inputs {
		if name == "" {
			continue
		}
		v, ok := sc.find(name)
		if !ok {
			return &undefined{name, n}
		}
		inputs[i] = v
	}
	if fn := r.functions[functionID{n.domain, n.op, n.overload}]; fn != nil {
		return r.call(g, fn, n, inputs, attrs, sc, depth)
	}
	if _, ok := r.opset[n.domain]; !ok {
		return invalid("the model does not say which version of domain %q it uses", n.domain).Try(remedyExport)
	}
	node := &graph.Node{Name: n.name, Op: graph.OpID{Domain: n.domain, Name: n.op}, Inputs: inputs, Attrs: attrs,
		Outputs: make([]*graph.Value, len(n.outputs))}
	if v := sc.opset[n.domain]; v != r.opset[n.domain] {
		node.Version = v // 0 outside functions
	}
	for i, name := range n.outputs {
		if name == "" {
			continue
		}
		node.Outputs[i] = &graph.Value{Name: name, Def: node}
		if err := sc.define(name, node.Outputs[i]); err != nil {
			return err
		}
	}
	g.Nodes = append(g.Nodes, node)
	return nil
}

func defineConstant(n *rawNode, attrs graph.Attrs, sc *scope) error {
	t, err := constant(attrs)
	if err != nil {
		return err
	}
	if len(n.outputs) != 1 || n.outputs[0] == "" {
		return invalid("it has %d outputs, expected one", len(n.outputs)).Try(remedyExport)
	}
	return sc.define(n.outputs[0], constantValue(n.outputs[0], t))
}

// undefined is the error for a name that nothing has defined so far.
type undefined struct {
	name string
	node *rawNode // that reads it
}

func (u *undefined) Error() string { return "nothing defines its input " + u.name }

// explain tells apart a value that no node defines from one that a later node
// does. What a graph within a node reads may be defined outside.
func (r *reader) explain(err error, msgs [][]byte, sc *scope) error {
	u, ok := errors.AsType[*undefined](err)
	if !ok {
		return err
	}
	for _, msg := range msgs {
		n, perr := parseNode(msg)
		if perr == nil && slices.Contains(n.outputs, u.name) {
			return invalid("node %.300s reads %.200q before node %.300s defines it", u.node, u.name, n).
				Try("sort the nodes so that each comes after those it reads; where that is impossible, the graph has a cycle")
		}
	}
	if sc.outer != nil {
		return err
	}
	return invalid("node %.300s reads %.200q, which nothing defines", u.node, u.name).Try(remedyExport)
}
