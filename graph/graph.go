package graph

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"tandem/tensor"
)

// Graph is a computation: nodes in an order in which every input is defined
// before it is used.
type Graph struct {
	Name    string
	Opset   map[string]int // version by domain; "" is ai.onnx
	Inputs  []*Value
	Outputs []*Value
	Nodes   []*Node
	State   []State
	Meta    map[string]string
}

// State is a value that lasts from run to run: Next is computed in the memory of
// Current. A plan that cannot do so is refused.
type State struct {
	Current, Next *Value
	Init          *Constant // dense or zeros
}

// Value is an edge: a graph input, a constant, or the output of one node.
type Value struct {
	Name  string
	Type  Type
	Const *Constant // nil for all but constants
	Def   *Node     // nil for inputs, constants and current state
	// Content, if known, are the elements of an integer vector or scalar as
	// dimensions: how a shape computed by nodes is seen by shape rules.
	Content []Dim
	// Declared is what a file says of an output whose type depends on data, and Elements
	// of the elements of a list: for people and for Save, as no shape rule trusts it.
	Declared Type
	Elements *ListType
}

// Described is the value's type, or else what is declared of it.
func (v *Value) Described() Type {
	if v.Type.Known() {
		return v.Type
	}
	return v.Declared
}

// ListType is the type of a sequence, an optional or a map, as files declare it.
type ListType struct {
	Kind tensor.DType // Sequence, Optional or Map
	Key  tensor.DType // of a map's keys
	Elem Type         // of elements that are tensors, or of a map's values
	List *ListType    // of elements that are lists
}

// Type is what is known of a value before it is computed. The zero Type says that
// nothing is: the value's shape depends on data.
type Type struct {
	DType tensor.DType
	Shape Shape
}

// Known reports whether anything is known.
func (t Type) Known() bool { return t.DType != tensor.Undefined }

// String is such as "float32[batch, 3]".
func (t Type) String() string { return t.DType.String() + t.Shape.String() }

// String is such as "sequence(map(int64, float32))".
func (l *ListType) String() string {
	elem := l.Elem.String()
	switch {
	case l.List != nil:
		elem = l.List.String()
	case l.Elem.Shape == nil:
		elem = l.Elem.DType.String()
	}
	if l.Kind == tensor.Map {
		elem = l.Key.String() + ", " + elem
	}
	return l.Kind.String() + "(" + elem + ")"
}

// Constant is a known tensor in some encoding.
type Constant struct {
	DType    tensor.DType
	Shape    tensor.Shape
	Encoding Encoding
	Data     []byte   // aligned to 64 bytes unless it lies in a mapped file
	Strings  []string // for tensor.String
}

// ConstantOf borrows a tensor's elements.
func ConstantOf(t *tensor.Tensor) *Constant {
	return &Constant{DType: t.DType(), Shape: t.Shape(), Data: t.Bytes(), Strings: t.Strings()}
}

// byteLen is the size of the elements, dense.
func (c *Constant) byteLen() int { return c.DType.ByteLen(c.Shape.Len()) }

// Tensor shares the elements of a dense constant.
func (c *Constant) Tensor() (*tensor.Tensor, error) {
	if c.DType == tensor.String {
		return tensor.OfStrings(c.Strings, c.Shape...), nil
	}
	if c.Encoding != Dense {
		return nil, fmt.Errorf("a constant in encoding %q has no dense elements", c.Encoding)
	}
	return tensor.FromBytes(c.DType, c.Data, c.Shape...)
}

// OpID names an operator. Domain "" is ai.onnx; Private holds what Tandem lowers to.
type OpID struct {
	Domain, Name string
}

// Private is the domain of operators that never leave a program: gradients,
// optimizer steps, packed forms.
const Private = "tandem"

// String is such as "Conv" or "com.microsoft.Gelu".
func (id OpID) String() string {
	if id.Domain == "" {
		return id.Name
	}
	return id.Domain + "." + id.Name
}

// Node applies an operator. A nil input or output is an absent optional one.
type Node struct {
	Name    string
	Op      OpID
	Inputs  []*Value
	Outputs []*Value
	Attrs   Attrs
	// Version is that of the operator's domain where it is not the graph's: in what a
	// function of a file was written out to, which has versions of its own. 0: the graph's.
	Version int
}

// OpVersion is that of the node's operator in g.
func (g *Graph) OpVersion(n *Node) int {
	if n.Version > 0 {
		return n.Version
	}
	return g.Opset[n.Op.Domain]
}

// Attrs hold int64, float32, string, *tensor.Tensor, *Graph, or slices of the
// first four. An importer may keep other values that no kernel reads.
type Attrs map[string]any

// Int is the attribute of that name; def if there is none, or it is of another type.
func (a Attrs) Int(name string, def int) int {
	if v, ok := a[name].(int64); ok {
		return int(v)
	}
	return def
}

// Float is the attribute of that name, or def as for Int.
func (a Attrs) Float(name string, def float32) float32 {
	if v, ok := a[name].(float32); ok {
		return v
	}
	return def
}

// String is the attribute of that name, or def as for Int.
func (a Attrs) String(name, def string) string {
	if v, ok := a[name].(string); ok {
		return v
	}
	return def
}

// Ints is nil if there is no such attribute.
func (a Attrs) Ints(name string) []int {
	v, _ := a[name].([]int64)
	if v == nil {
		return nil
	}
	out := make([]int, len(v))
	for i, n := range v {
		out[i] = int(n)
	}
	return out
}

// Input is the i-th input, or nil.
func (n *Node) Input(i int) *Value {
	if i >= 0 && i < len(n.Inputs) {
		return n.Inputs[i]
	}
	return nil
}

// Output is the i-th output, or nil.
func (n *Node) Output(i int) *Value {
	if i < len(n.Outputs) {
		return n.Outputs[i]
	}
	return nil
}

// String names the node for errors: by its own name, or else by that of its first output.
func (n *Node) String() string {
	if n.Name != "" {
		return fmt.Sprintf("%v (%s)", n.Op, n.Name)
	}
	for _, o := range n.Outputs {
		if o != nil {
			return fmt.Sprintf("%v (of %s)", n.Op, o.Name)
		}
	}
	return n.Op.String()
}

// Constants lists the constants that nodes and outputs use, each once, in the
// order of first use.
func (g *Graph) Constants() []*Value {
	seen := map[*Value]bool{}
	var list []*Value
	add := func(v *Value) {
		if v != nil && v.Const != nil && !seen[v] {
			seen[v] = true
			list = append(list, v)
		}
	}
	for _, n := range g.Nodes {
		for _, v := range n.Inputs {
			add(v)
		}
	}
	for _, v := range g.Outputs {
		add(v)
	}
	return list
}

// Uses maps each value to the nodes that read it.
func (g *Graph) Uses() map[*Value][]*Node {
	uses := map[*Value][]*Node{}
	for _, n := range g.Nodes {
		for _, v := range n.Reads() {
			uses[v] = append(uses[v], n)
		}
	}
	return uses
}

// Bodies are the node's inner graphs by attribute, in the order of their names.
func (n *Node) Bodies() []Body {
	var list []Body
	for name, value := range n.Attrs {
		if g, ok := value.(*Graph); ok {
			list = append(list, Body{name, g})
		}
	}
	slices.SortFunc(list, func(a, b Body) int { return strings.Compare(a.Attr, b.Attr) })
	return list
}

// Body is an inner graph of a node: a branch or the body of a loop. Its nodes may
// read values of the graphs around it.
type Body struct {
	Attr  string
	Graph *Graph
}

// Reads are the values that the node needs: its inputs that are there, and what
// its bodies read from outside, constants excepted.
func (n *Node) Reads() []*Value {
	list := make([]*Value, 0, len(n.Inputs))
	for _, v := range n.Inputs {
		if v != nil {
			list = append(list, v)
		}
	}
	for _, b := range n.Bodies() {
		list = append(list, b.Graph.Captures()...)
	}
	return list
}

// Captures are the values that g reads and neither defines nor holds as constants,
// each once, in the order of first use.
func (g *Graph) Captures() []*Value {
	own := map[*Value]bool{}
	for _, v := range g.Inputs {
		own[v] = true
	}
	var list []*Value
	read := func(v *Value) {
		if v != nil && v.Const == nil && !own[v] {
			own[v] = true
			list = append(list, v)
		}
	}
	for _, n := range g.Nodes {
		for _, v := range n.Reads() {
			read(v)
		}
		for _, v := range n.Outputs {
			own[v] = true
		}
	}
	for _, v := range g.Outputs {
		read(v)
	}
	return list
}

// Kept reports whether v must exist after the run: an output or next state.
func (g *Graph) Kept(v *Value) bool {
	return slices.Contains(g.Outputs, v) || slices.ContainsFunc(g.State, func(s State) bool { return s.Next == v })
}

// Replace makes every reader of old, the graph's outputs and state included,
// read new.
func (g *Graph) Replace(old, new *Value) {
	swap := func(list []*Value) {
		for i, v := range list {
			if v == old {
				list[i] = new
			}
		}
	}
	for _, n := range g.Nodes {
		swap(n.Inputs)
		for _, b := range n.Bodies() {
			b.Graph.Replace(old, new)
		}
	}
	swap(g.Outputs)
	for i := range g.State {
		if g.State[i].Next == old {
			g.State[i].Next = new
		}
	}
}

// Clone copies the structure, inner graphs included; constants' bytes are shared.
// The second result maps old values to new ones.
func (g *Graph) Clone() (*Graph, map[*Value]*Value) {
	c := cloner{}
	return c.graph(g), c
}

// cloner maps values to their copies. A value from outside the graph that is
// cloned first, if there is one, stays itself.
type cloner map[*Value]*Value

func (c cloner) value(v *Value) *Value {
	if v == nil {
		return nil
	}
	if to, ok := c[v]; ok {
		return to
	}
	to := *v
	to.Def = nil
	c[v] = &to
	return &to
}

func (c cloner) values(list []*Value) []*Value {
	out := make([]*Value, len(list))
	for i, v := range list {
		out[i] = c.value(v)
	}
	return out
}

func (c cloner) graph(g *Graph) *Graph {
	to := &Graph{Name: g.Name, Opset: maps.Clone(g.Opset), Meta: maps.Clone(g.Meta), Inputs: c.values(g.Inputs)}
	for _, n := range g.Nodes {
		m := &Node{Name: n.Name, Op: n.Op, Version: n.Version, Inputs: c.values(n.Inputs), Attrs: maps.Clone(n.Attrs)}
		for _, b := range n.Bodies() {
			m.Attrs[b.Attr] = c.graph(b.Graph)
		}
		m.Outputs = c.values(n.Outputs)
		for _, o := range m.Outputs {
			if o != nil {
				o.Def = m
			}
		}
		to.Nodes = append(to.Nodes, m)
	}
	to.Outputs = c.values(g.Outputs)
	for _, s := range g.State {
		to.State = append(to.State, State{c.value(s.Current), c.value(s.Next), s.Init})
	}
	return to
}

// Input is the graph input of that name, or nil.
func (g *Graph) Input(name string) *Value { return named(g.Inputs, name) }

// Output is the graph output of that name, or nil.
func (g *Graph) Output(name string) *Value { return named(g.Outputs, name) }

func named(list []*Value, name string) *Value {
	for _, v := range list {
		if v.Name == name {
			return v
		}
	}
	return nil
}
