package graph

import (
	"errors"
	"fmt"
	"slices"

	"tandem/tensor"
)

// Builder adds to a graph. Types are inferred as nodes are added. The first error
// sticks: later calls return placeholders, and Err tells it.
type Builder struct {
	G     *Graph
	Ops   *Table
	names map[string]bool
	opset int // of ai.onnx, for nodes that are added; 0: the graph's
	err   error
}

// Extend starts adding to g.
func Extend(g *Graph, ops *Table) *Builder {
	b := &Builder{G: g, Ops: ops, names: map[string]bool{}}
	take := func(list []*Value) {
		for _, v := range list {
			if v != nil {
				b.names[v.Name] = true
			}
		}
	}
	take(g.Inputs)
	for _, n := range g.Nodes {
		take(n.Inputs)
		take(n.Outputs)
	}
	return b
}

// NewBuilder starts a graph in the given version of ai.onnx; the domains of
// Microsoft's and Tandem's own operators are there too.
func NewBuilder(name string, ops *Table) *Builder {
	return Extend(&Graph{Name: name, Opset: Opsets()}, ops)
}

// Opsets are the versions that graphs made here are written in: 21 is the newest
// that every common runtime of 2025 and 2026 opens.
func Opsets() map[string]int { return map[string]int{"": 21, "com.microsoft": 1, Private: 1} }

// Err is the first error.
func (b *Builder) Err() error { return b.err }

// Fail records an error unless there is one already.
func (b *Builder) Fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

// unique makes a name that no other value has.
func (b *Builder) unique(name string) string {
	if name == "" {
		name = "v"
	}
	free := name
	for i := 1; b.names[free]; i++ {
		free = fmt.Sprintf("%s_%d", name, i)
	}
	b.names[free] = true
	return free
}

// Name makes a name that no other value has.
func (b *Builder) Name(name string) string { return b.unique(name) }

// Input adds a graph input.
func (b *Builder) Input(name string, d tensor.DType, shape ...Dim) *Value {
	v := &Value{Name: b.unique(name), Type: Type{d, shape}}
	b.G.Inputs = append(b.G.Inputs, v)
	return v
}

// Const makes a constant of a tensor, whose elements are borrowed.
func (b *Builder) Const(name string, t *tensor.Tensor) *Value {
	return &Value{Name: b.unique(name), Type: Type{t.DType(), Dims(t.Shape()...)}, Const: ConstantOf(t)}
}

// Scalar adds a float32 constant of no dimensions.
func (b *Builder) Scalar(name string, v float32) *Value { return b.Const(name, tensor.Scalar(v)) }

// Ints adds a constant vector of int64: shapes, axes, pads.
func (b *Builder) Ints(name string, v ...int64) *Value { return b.Const(name, tensor.Of(v, len(v))) }

// Output makes v a graph output.
func (b *Builder) Output(v *Value) { b.G.Outputs = append(b.G.Outputs, v) }

// State adds a value that lasts from run to run, with its value before the first.
// SetNext must follow.
func (b *Builder) State(name string, initial *tensor.Tensor) *Value {
	v := &Value{Name: b.unique(name), Type: Type{initial.DType(), Dims(initial.Shape()...)}}
	b.G.State = append(b.G.State, State{Current: v, Init: ConstantOf(initial)})
	return v
}

// SetNext says what a state value becomes.
func (b *Builder) SetNext(current, next *Value) {
	for i := range b.G.State {
		if b.G.State[i].Current == current {
			b.G.State[i].Next = next
			return
		}
	}
	b.Fail(fmt.Errorf("%s is not a state value", current.Name))
}

// Op adds a node of ai.onnx with one output.
func (b *Builder) Op(name string, attrs Attrs, inputs ...*Value) *Value {
	return b.Node(OpID{"", name}, 1, attrs, inputs...)[0]
}

// Private adds a node of Tandem's own domain with one output.
func (b *Builder) Private(name string, attrs Attrs, inputs ...*Value) *Value {
	return b.Node(OpID{Private, name}, 1, attrs, inputs...)[0]
}

// Node adds a node with a number of outputs.
func (b *Builder) Node(op OpID, outputs int, attrs Attrs, inputs ...*Value) []*Value {
	n := &Node{Op: op, Inputs: slices.Clone(inputs), Attrs: attrs, Outputs: make([]*Value, outputs)}
	for i := range n.Outputs {
		n.Outputs[i] = &Value{Name: b.unique(op.Name), Def: n}
	}
	if op.Domain == "" {
		n.Version = b.opset
	}
	if b.err != nil {
		return slices.Clone(n.Outputs)
	}
	if err := inferNode(b.G, b.Ops, n); err != nil {
		b.Fail(err)
		return slices.Clone(n.Outputs)
	}
	b.G.Nodes = append(b.G.Nodes, n)
	return slices.Clone(n.Outputs)
}

// inOpset makes the nodes of ai.onnx that are added until the returned function is
// called be of the given version, unless the graph's is newer.
func (b *Builder) inOpset(version int) func() {
	before := b.opset
	if b.opset = 0; b.G.Opset[""] < version {
		b.opset = version
	}
	return func() { b.opset = before }
}

// inferNode runs the shape rule of one node. Where the shape depends on data, the
// outputs' types stay unknown.
func inferNode(g *Graph, ops *Table, n *Node) error {
	op, err := ops.Of(g, n)
	if err != nil {
		return fmt.Errorf("node %v: %w", n, err)
	}
	err = infer(n, op, g.OpVersion(n), static{})
	if errors.Is(err, ErrNeedsData) {
		for _, o := range n.Outputs {
			if o != nil {
				o.Type, o.Content = Type{}, nil
			}
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("node %v: %w", n, err)
	}
	return nil
}

// InferTypes runs the shape rule of every node, in order.
func InferTypes(g *Graph, ops *Table) error {
	for _, n := range g.Nodes {
		if err := inferNode(g, ops, n); err != nil {
			return err
		}
	}
	return nil
}

// Variable turns a constant into state that begins with its value. SetNext must follow.
func (b *Builder) Variable(v *Value) {
	b.G.State = append(b.G.State, State{Current: v, Init: v.Const})
	v.Const = nil
}
