package graph

import (
	"fmt"
	"maps"
	"slices"

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
	Init          *Constant // dense
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
}

// Type is what is known of a value before it is computed.
type Type struct {
	DType tensor.DType
	Shape Shape
}

func (t Type) String() string { return t.DType.String() + t.Shape.String() }

// Encoding tells how a constant's bytes hold its elements. What a constant means
// depends on its type and shape; only kernels look at the encoding.
type Encoding string

const (
	Dense Encoding = "" // row-major little-endian elements
	// PanelB is the packed right-hand matrix of kernel.PackB for this processor.
	PanelB Encoding = "panel-b"
)

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
}

// Attrs hold int64, float32, string, *tensor.Tensor, *Graph, or slices of the
// first three.
type Attrs map[string]any

func (a Attrs) Int(name string, def int) int {
	if v, ok := a[name].(int64); ok {
		return int(v)
	}
	return def
}

func (a Attrs) Float(name string, def float32) float32 {
	if v, ok := a[name].(float32); ok {
		return v
	}
	return def
}

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
	if i < len(n.Inputs) {
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
		for _, v := range n.Inputs {
			if v != nil {
				uses[v] = append(uses[v], n)
			}
		}
	}
	return uses
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
	}
	swap(g.Outputs)
	for i := range g.State {
		if g.State[i].Next == old {
			g.State[i].Next = new
		}
	}
}

// Clone copies the structure; constants' bytes are shared. The second result
// maps old values to new ones.
func (g *Graph) Clone() (*Graph, map[*Value]*Value) {
	to := map[*Value]*Value{}
	value := func(v *Value) *Value {
		if v == nil {
			return nil
		}
		if c, ok := to[v]; ok {
			return c
		}
		c := *v
		c.Def = nil
		to[v] = &c
		return &c
	}
	values := func(list []*Value) []*Value {
		out := make([]*Value, len(list))
		for i, v := range list {
			out[i] = value(v)
		}
		return out
	}
	c := &Graph{Name: g.Name, Opset: maps.Clone(g.Opset), Meta: maps.Clone(g.Meta), Inputs: values(g.Inputs)}
	for _, n := range g.Nodes {
		m := &Node{Name: n.Name, Op: n.Op, Inputs: values(n.Inputs), Outputs: values(n.Outputs), Attrs: maps.Clone(n.Attrs)}
		for _, o := range m.Outputs {
			if o != nil {
				o.Def = m
			}
		}
		c.Nodes = append(c.Nodes, m)
	}
	c.Outputs = values(g.Outputs)
	for _, s := range g.State {
		c.State = append(c.State, State{value(s.Current), value(s.Next), s.Init})
	}
	return c, to
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
