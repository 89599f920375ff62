package onnx

import (
	"tandem/graph"
	"tandem/tensor"
)

// rawNode is a NodeProto as it lies in the file.
type rawNode struct {
	name, op, domain, overload string
	inputs, outputs            []string
	attrs                      [][]byte
}

// String names the node for people: by its name, or by what it computes.
func (n *rawNode) String() string {
	id := graph.OpID{Domain: n.domain, Name: n.op}.String()
	if n.name != "" {
		return id + " (" + n.name + ")"
	}
	for _, o := range n.outputs {
		if o != "" {
			return id + " (of " + o + ")"
		}
	}
	return id
}

func parseNode(msg []byte) (*rawNode, error) {
	n := &rawNode{}
	for f, err := range fields(msg) {
		if err != nil {
			return n, err
		}
		var s string
		switch f.num {
		case nodeInput:
			s, err = f.text()
			n.inputs = append(n.inputs, s)
		case nodeOutput:
			s, err = f.text()
			n.outputs = append(n.outputs, s)
		case nodeName:
			n.name, err = f.text()
		case nodeOp:
			n.op, err = f.text()
		case nodeDomain:
			s, err = f.text()
			n.domain = canonicalDomain(s)
		case nodeOverload:
			n.overload, err = f.text()
		case nodeAttr:
			n.attrs, err = appendMessage(n.attrs, f)
		}
		if err != nil {
			return n, err
		}
	}
	if n.op == "" {
		return n, invalid("it has no operator").Try(remedyExport)
	}
	return n, nil
}

// attrs reads the attributes of a node in scope sc.
func (r *reader) attrs(n *rawNode, sc *scope, depth int) (graph.Attrs, error) {
	if len(n.attrs) == 0 {
		return nil, nil
	}
	attrs := make(graph.Attrs, len(n.attrs))
	for _, msg := range n.attrs {
		name, v, err := r.attr(msg, sc, depth)
		if err != nil {
			return nil, err
		}
		if _, ok := attrs[name]; ok {
			return nil, invalid("attribute %.200q is given twice", name).Try(remedyExport)
		}
		if v != nil {
			attrs[name] = v
		}
	}
	return attrs, nil
}

// Values of AttributeProto.type.
const (
	kindFloat   = 1
	kindInt     = 2
	kindString  = 3
	kindTensor  = 4
	kindGraph   = 5
	kindFloats  = 6
	kindInts    = 7
	kindStrings = 8
	kindTensors = 9
	kindSparse  = 11
	kindType    = 13
)

// typeProto is an attribute that holds a TypeProto, as it lies in the file: no
// kernel needs it, as lists carry their elements' types with them.
type typeProto []byte

// rawAttr is an AttributeProto as it lies in the file.
type rawAttr struct {
	name, ref string
	kind      int64 // 0: that of the field that is there
	f         float32
	i         int64
	s         string
	t, g      []byte // message of a tensor, a sparse tensor or a type; of a graph
	tensors   [][]byte
	floats    []float32
	ints      []int64
	strings   []string
}

// attr reads one attribute. The value is nil where a function's node refers to an
// attribute that the function was called without.
func (r *reader) attr(msg []byte, sc *scope, depth int) (name string, v any, err error) {
	a, err := parseAttr(msg)
	if err == nil {
		v, err = r.attrValue(a, sc, depth)
	}
	if err != nil {
		return "", nil, within(err, "attribute %.200q", a.name)
	}
	return a.name, v, nil
}

func parseAttr(msg []byte) (*rawAttr, error) {
	a := &rawAttr{}
	var seen int64 // kind of the field that is there
	for len(msg) > 0 {
		f, rest, err := nextField(msg)
		if err != nil {
			return a, err
		}
		switch f.num {
		case attrName:
			a.name, err = f.text()
		case attrRef:
			a.ref, err = f.text()
		case attrType:
			a.kind, err = f.int()
		case attrF:
			a.f, err = f.float()
			seen = kindFloat
		case attrI:
			a.i, err = f.int()
			seen = kindInt
		case attrS:
			a.s, err = f.text()
			seen = kindString
		case attrT:
			a.t, err = f.message()
			seen = kindTensor
		case attrG:
			a.g, err = f.message()
			seen = kindGraph
		case attrFloats:
			a.floats, rest, err = f.floatRun(a.floats, rest)
			seen = kindFloats
		case attrInts:
			a.ints, rest, err = f.intRun(a.ints, rest)
			seen = kindInts
		case attrStrings:
			a.strings, rest, err = f.textRun(a.strings, rest)
			seen = kindStrings
		case attrTensors:
			a.tensors, err = appendMessage(a.tensors, f)
			seen = kindTensors
		case attrSparse:
			a.t, err = f.message()
			seen = kindSparse
		case attrTP:
			a.t, err = f.message()
			seen = kindType
		case attrGraphs, attrTPs, attrSparses: // which no operator of ONNX has
			err = unsupported("lists of graphs, of types and of sparse tensors are not supported as attributes")
		}
		if err != nil {
			return a, err
		}
		msg = rest
	}
	if a.kind == 0 { // files of IR versions 1 and 2 tell no kind
		a.kind = seen
	}
	return a, nil
}

func (r *reader) attrValue(a *rawAttr, sc *scope, depth int) (any, error) {
	if a.ref != "" {
		if !sc.inFunction {
			return nil, invalid("it refers to attribute %.200q of a function, but is in none", a.ref).Try(remedyExport)
		}
		return sc.attrs[a.ref], nil
	}
	switch a.kind {
	case kindFloat:
		return a.f, nil
	case kindInt:
		return a.i, nil
	case kindString:
		return a.s, nil
	case kindTensor:
		_, t, err := r.tensor(a.t)
		return t, err
	case kindGraph:
		if depth >= maxDepth {
			return nil, unsupported("graphs are nested more than %d deep", maxDepth)
		}
		return r.graph(a.g, sc, depth+1)
	case kindTensors:
		list := make([]*tensor.Tensor, len(a.tensors))
		for i, msg := range a.tensors {
			var err error
			if _, list[i], err = r.tensor(msg); err != nil {
				return nil, err
			}
		}
		return list, nil
	case kindSparse:
		_, t, err := r.sparse(a.t)
		return t, err
	case kindType:
		return typeProto(a.t), nil
	case kindFloats:
		return orEmpty(a.floats), nil
	case kindInts:
		return orEmpty(a.ints), nil
	case kindStrings:
		return orEmpty(a.strings), nil
	}
	return nil, unsupported("its type %d is not supported", a.kind)
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// constant is what a Constant node holds. Its attributes say it in one of several ways.
func constant(attrs graph.Attrs) (*tensor.Tensor, error) {
	if len(attrs) != 1 {
		return nil, invalid("it has %d attributes, expected one", len(attrs)).Try(remedyExport)
	}
	for name, v := range attrs {
		switch v := v.(type) {
		case *tensor.Tensor:
			if name == "value" || name == "sparse_value" {
				return v, nil
			}
		case float32:
			if name == "value_float" {
				return tensor.Scalar(v), nil
			}
		case int64:
			if name == "value_int" {
				return tensor.Scalar(v), nil
			}
		case string:
			if name == "value_string" {
				return tensor.OfStrings([]string{v}), nil
			}
		case []float32:
			if name == "value_floats" {
				return tensor.Of(v, len(v)), nil
			}
		case []int64:
			if name == "value_ints" {
				return tensor.Of(v, len(v)), nil
			}
		case []string:
			if name == "value_strings" {
				return tensor.OfStrings(v, len(v)), nil
			}
		}
		return nil, invalid("attribute %.200q is not how a constant is given", name).Try(remedyExport)
	}
	panic("unreachable")
}
