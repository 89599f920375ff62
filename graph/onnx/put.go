package onnx

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"

	"tandem/graph"
	"tandem/tensor"
)

// writer is one Save under way.
type writer struct {
	opt SaveOptions
	g   *graph.Graph

	names   map[*graph.Value]string // of every value that has been met
	used    map[string]bool
	domains map[string]bool // of nodes
	ir      int             // that the element types need

	outside []outside
	end     int64 // of the file of external data
}

// name is the name of v in the file: its own, unless another value has it.
func (w *writer) name(v *graph.Value) string {
	if v == nil {
		return ""
	}
	if name, ok := w.names[v]; ok {
		return name
	}
	w.names[v] = w.free(v.Name)
	return w.names[v]
}

func (w *writer) free(name string) string {
	if name == "" {
		name = "v"
	}
	free := name
	for i := 1; w.used[free]; i++ {
		free = fmt.Sprintf("%s_%d", name, i)
	}
	w.used[free] = true
	return free
}

// model makes the outermost GraphProto. Inputs and outputs keep their names.
// Constants of inner graphs are written here too: they are read from there.
func (w *writer) model() (*message, error) {
	for _, v := range slices.Concat(w.g.Inputs, w.g.Outputs) {
		d := v.Described().DType
		if d.List() && v.Elements == nil {
			return nil, unsupported("%.200q is a %v, and what its elements are is not known", v.Name, d)
		}
		if !d.Valid() && !d.List() {
			return nil, invalid("the type of %.200q is not known", v.Name).Try("infer the types of the graph first")
		}
		w.name(v)
	}
	if _, ok := w.g.Opset[""]; ok {
		w.domains[""] = true // every reader expects it, used or not
	}
	m, err := w.graph(w.g, nil, 0)
	if err != nil {
		return nil, err
	}
	for _, v := range w.constants(w.g, nil, map[*graph.Value]bool{}) {
		t, err := w.constant(v)
		if err != nil {
			return nil, err
		}
		m.sub(graphInitializer, t)
	}
	return m, nil
}

// constants appends the constants of g and of the graphs within, each once.
func (w *writer) constants(g *graph.Graph, list []*graph.Value, seen map[*graph.Value]bool) []*graph.Value {
	add := func(values []*graph.Value) {
		for _, v := range values {
			if v != nil && v.Const != nil && !seen[v] {
				seen[v] = true
				list = append(list, v)
			}
		}
	}
	for _, n := range g.Nodes {
		add(n.Inputs)
		for _, name := range slices.Sorted(maps.Keys(n.Attrs)) {
			if inner, ok := n.Attrs[name].(*graph.Graph); ok {
				list = w.constants(inner, list, seen)
			}
		}
	}
	add(g.Outputs)
	return list
}

// defined are the values that may be read: those of a graph and of those around it.
type defined struct {
	values map[*graph.Value]bool
	outer  *defined
}

func (d *defined) has(v *graph.Value) bool {
	for ; d != nil; d = d.outer {
		if d.values[v] {
			return true
		}
	}
	return v.Const != nil
}

// graph makes a GraphProto without its initializers.
func (w *writer) graph(g *graph.Graph, outer *defined, depth int) (*message, error) {
	if depth > maxDepth {
		return nil, unsupported("graphs are nested more than %d deep", maxDepth)
	}
	var m message
	name := g.Name
	if name == "" {
		name = "graph" // it must have one
	}
	m.text(graphName, name)
	here := &defined{map[*graph.Value]bool{}, outer}
	for _, v := range g.Inputs {
		here.values[v] = true
		m.sub(graphInput, w.info(v, v.Described(), true))
	}
	for _, n := range g.Nodes {
		node, err := w.node(n, here, depth)
		if err != nil {
			return nil, within(err, "node %v", n)
		}
		m.sub(graphNode, node)
	}
	return &m, w.outputs(&m, g, here)
}

// outputs writes the graph's outputs. A copy is made of one that is there twice,
// and of what an inner graph takes from outside: ONNX allows neither.
func (w *writer) outputs(m *message, g *graph.Graph, here *defined) error {
	seen := map[*graph.Value]bool{}
	for _, v := range g.Outputs {
		if !here.has(v) {
			return invalid("output %.200q is not computed by any node", v.Name)
		}
		out := v
		if seen[v] || here.outer != nil && !here.values[v] {
			out = &graph.Value{Name: v.Name, Type: v.Type, Declared: v.Declared, Elements: v.Elements}
			node, err := w.node(&graph.Node{Op: graph.OpID{Name: "Identity"}, Inputs: []*graph.Value{v}, Outputs: []*graph.Value{out}}, here, 0)
			if err != nil {
				return err
			}
			m.sub(graphNode, node)
		}
		seen[v] = true
		m.sub(graphOutput, w.info(out, out.Described(), false))
	}
	return nil
}

// info makes a ValueInfoProto. An output without a shape is one whose shape is
// not known, or a scalar; leaving the shape out is right for both.
func (w *writer) info(v *graph.Value, t graph.Type, input bool) *message {
	var m message
	m.text(infoName, w.name(v))
	if v.Elements != nil {
		m.sub(infoType, w.listType(v.Elements))
	} else if t.DType.Valid() { // or within a node, where it is known from outside
		m.sub(infoType, w.tensorType(t, input))
	}
	return &m
}

// listType makes the TypeProto of a list.
func (w *writer) listType(l *graph.ListType) *message {
	var inner, typ message
	var elem *message
	if l.List != nil {
		elem = w.listType(l.List)
	} else {
		elem = w.tensorType(l.Elem, false)
	}
	kind, at := protowire.Number(typeSequence), protowire.Number(typeListElem)
	switch l.Kind {
	case tensor.Optional:
		kind = typeOptional
	case tensor.Map:
		kind, at = typeMap, typeMapValue
		inner.int(typeMapKey, int64(l.Key))
	}
	inner.sub(at, elem)
	typ.sub(kind, &inner)
	return &typ
}

// tensorType makes the TypeProto of a tensor; of an input with its shape in any case.
func (w *writer) tensorType(t graph.Type, input bool) *message {
	w.ir = max(w.ir, irOf(t.DType))
	var tt, typ message
	tt.int(typeTensorElem, int64(t.DType))
	if t.Shape != nil || input {
		var shape message
		for _, d := range t.Shape {
			var dim message
			if n, ok := d.Value(); ok {
				dim.int(dimValue, int64(n))
			} else {
				dim.text(dimParam, d.String())
			}
			shape.sub(shapeDim, &dim)
		}
		tt.sub(typeTensorShape, &shape)
	}
	typ.sub(typeTensor, &tt)
	return &typ
}

func (w *writer) node(n *graph.Node, here *defined, depth int) (*message, error) {
	if n.Op.Domain == graph.Private {
		return nil, unsupported("the operator is Tandem's own, other programs do not have it").
			Try("write the graph as it was before passes and gradients")
	}
	if have := w.g.Opset[n.Op.Domain]; n.Version > 0 && n.Version != have {
		return nil, unsupported("it comes from a function that uses version %d of domain %q, and the model uses %d", n.Version, n.Op.Domain, have).
			Try("convert the model to one version of each domain")
	}
	w.domains[n.Op.Domain] = true
	var m message
	for _, v := range n.Inputs {
		if v != nil && !here.has(v) {
			return nil, invalid("it reads %.200q, which nothing before it defines", v.Name)
		}
		m.text(nodeInput, w.name(v))
	}
	// Attributes first: graphs within the node cannot read its outputs.
	var attrs message
	for _, name := range slices.Sorted(maps.Keys(n.Attrs)) {
		a, err := w.attr(name, n.Attrs[name], here, depth)
		if err != nil {
			return nil, within(err, "attribute %.200q", name)
		}
		attrs.sub(nodeAttr, a)
	}
	for _, v := range n.Outputs {
		if v != nil {
			if here.values[v] {
				return nil, invalid("it defines %.200q, which is defined already", v.Name)
			}
			here.values[v] = true
		}
		m.text(nodeOutput, w.name(v))
	}
	m.optional(nodeName, n.Name)
	m.text(nodeOp, n.Op.Name)
	m.append(&attrs)
	m.optional(nodeDomain, n.Op.Domain)
	return &m, nil
}

func (w *writer) attr(name string, v any, here *defined, depth int) (*message, error) {
	var m message
	kind := int64(0)
	m.text(attrName, name)
	switch v := v.(type) {
	case float32:
		kind = kindFloat
		m.float(attrF, v)
	case int64:
		kind = kindInt
		m.int(attrI, v)
	case string:
		kind = kindString
		m.text(attrS, v)
	case *tensor.Tensor:
		kind = kindTensor
		t, err := w.tensor("", graph.ConstantOf(v), false)
		if err != nil {
			return nil, err
		}
		m.sub(attrT, t)
	case []*tensor.Tensor:
		kind = kindTensors
		for _, x := range v {
			t, err := w.tensor("", graph.ConstantOf(x), false)
			if err != nil {
				return nil, err
			}
			m.sub(attrTensors, t)
		}
	case typeProto:
		kind = kindType
		m.data(attrTP, v)
	case *graph.Graph:
		kind = kindGraph
		g, err := w.graph(v, here, depth+1)
		if err != nil {
			return nil, err
		}
		m.sub(attrG, g)
	case []float32:
		kind = kindFloats
		for _, f := range v {
			m.float(attrFloats, f)
		}
	case []int64:
		kind = kindInts
		for _, i := range v {
			m.int(attrInts, i)
		}
	case []string:
		kind = kindStrings
		for _, s := range v {
			m.text(attrStrings, s)
		}
	default:
		return nil, invalid("a value of Go type %T is no attribute", v)
	}
	m.int(attrType, kind)
	return &m, nil
}

func (w *writer) constant(v *graph.Value) (*message, error) {
	t, err := w.tensor(w.name(v), v.Const, w.opt.ExternalData != "")
	if err != nil {
		return nil, within(err, "constant %.200q", v.Name)
	}
	return t, nil
}

// tensor makes a TensorProto.
func (w *writer) tensor(name string, c *graph.Constant, external bool) (*message, error) {
	if c.Encoding != graph.Dense {
		return nil, unsupported("it is in encoding %q, which ONNX does not have", c.Encoding).Try("write the graph as it was before packing")
	}
	if !c.DType.Valid() {
		return nil, invalid("its element type is %v", c.DType)
	}
	if err := checkLen(c); err != nil {
		return nil, err
	}
	w.ir = max(w.ir, irOf(c.DType))
	var m message
	for _, d := range c.Shape {
		m.int(tensorDims, int64(d))
	}
	m.int(tensorType, int64(c.DType))
	switch {
	case c.DType == tensor.String:
		for _, s := range c.Strings {
			m.text(tensorStrings, s)
		}
		m.optional(tensorName, name)
	case external && len(c.Data) >= minExternal:
		m.optional(tensorName, name)
		m.entry(tensorExternal, "location", w.opt.ExternalData)
		m.entry(tensorExternal, "offset", strconv.FormatInt(w.place(c.Data), 10))
		m.entry(tensorExternal, "length", strconv.Itoa(len(c.Data)))
		m.int(tensorLocation, locationExternal)
	default:
		m.optional(tensorName, name)
		m.data(tensorRaw, c.Data)
	}
	return &m, nil
}

// checkLen compares the constant's data with its shape.
func checkLen(c *graph.Constant) error {
	n, err := c.Shape.CheckedLen(1 << 48)
	if err != nil {
		return invalid("%v", err)
	}
	if c.DType == tensor.String && len(c.Strings) != n || c.DType != tensor.String && len(c.Data) != c.DType.ByteLen(n) {
		return invalid("%v elements of shape %v do not fit %d bytes and %d strings", c.DType, c.Shape, len(c.Data), len(c.Strings))
	}
	return nil
}
