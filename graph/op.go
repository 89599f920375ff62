package graph

import (
	"context"
	"fmt"
	"slices"
	"unsafe"

	"tandem/kernel"
	"tandem/tensor"
)

// Kernel prepares a call whose shapes are known and returns what runs it.
type Kernel = func(*Call) (func() error, error)

// Op is everything that Tandem knows of an operator. Its file in graph/op keeps
// the parts together.
type Op struct {
	ID OpID
	// Since is the opset version from which this definition holds, until the
	// next definition of the same operator.
	Since int
	// Infer sets the type of every output that the node has.
	Infer func(*Infer) error
	// Kernel computes the outputs; a View needs none.
	Kernel Kernel
	// Grad adds the nodes that compute the gradient of each input that needs
	// one. Nil: the operator has no gradient.
	Grad func(*Gradient) error
	// Expand, if there is one, gives the node's outputs as values that nodes with
	// gradients compute, which it adds: Grad differentiates those in its place. No
	// values: the node has a gradient as it is.
	Expand func(*Expansion) ([]*Value, error)
	// Flat: outputs do not move when inputs move a little: truth values, places, sizes,
	// and numbers drawn from a fixed distribution. Their derivative is 0, and no gradient
	// passes. (Rounding to codes is not Flat: codes stand for the numbers themselves.)
	Flat bool
	// Like lists inputs of which the type and the shape alone are read: no gradient passes
	// to them.
	Like []int
	// View: output 0 has the elements of input 0 in the same order, so that it
	// shares their memory and no kernel runs.
	View bool
	// Identity, if there is one, tells whether a node passes input 0 on unchanged
	// as output 0, so that a pass may remove it.
	Identity func(*Node) bool
	// InPlace lists which output may take the memory of which input when nothing
	// else reads that input afterwards. The kernel must allow the two to be the same.
	InPlace []Alias
	// Late: the kernel itself finds the outputs' types and allocates them by
	// Call.Make, because they depend on more than shapes (NonZero), or because the
	// outputs are lists. Infer is not called.
	Late bool
	// Encoded: the kernel looks at the encoding of its constants; others take dense
	// ones only.
	Encoded bool
	// Panels lists the inputs of a node that the kernel would rather read as PanelB;
	// passes pack those that are constants. Such a kernel is Encoded.
	Panels func(*Node) []Panel
	// Rows, if there is one, gives the inputs of which a row, what has one index of
	// dimension 0, is read for the same row of the outputs alone; the others are read whole.
	// A run may then compute some rows after others (see rowwise).
	Rows func(n *Node, in []tensor.Shape) []int
	// Random: the result depends on more than the inputs' values; never folded.
	Random bool
	// Work is how many arithmetic operations a node takes, a multiplication and an
	// addition counted as two; the shape of what is absent is nil. Nil: one for each
	// element of the outputs.
	Work func(n *Node, in, out []tensor.Shape) float64
}

// Panel is an input that is the right-hand matrix of a product, or several one after
// another in its first dimension: [k,n], or [n,k] if it is transposed.
type Panel struct {
	In         int
	Transposed bool
}

// PanelSecond is Op.Panels of products whose input 1 is the right-hand matrix, with
// the attribute transB.
func PanelSecond(n *Node) []Panel {
	return []Panel{{In: 1, Transposed: n.Attrs.Int("transB", 0) != 0}}
}

// Alias pairs an input with the output that may take its memory.
type Alias struct{ In, Out int }

// Table is the list of operators that a caller works with: a value, so that a
// program can add its own.
type Table struct {
	ops map[OpID][]*Op // by ascending Since
}

// NewTable makes a table. A later definition with the same operator and version
// replaces an earlier one.
func NewTable(lists ...[]Op) *Table {
	t := &Table{ops: map[OpID][]*Op{}}
	for _, list := range lists {
		for i := range list {
			op := &list[i]
			same := slices.DeleteFunc(t.ops[op.ID], func(o *Op) bool { return o.Since == op.Since })
			same = append(same, op)
			slices.SortFunc(same, func(a, b *Op) int { return a.Since - b.Since })
			t.ops[op.ID] = same
		}
	}
	return t
}

// Lookup finds the definition of id that holds in version of its domain.
func (t *Table) Lookup(id OpID, version int) (*Op, error) {
	defs := t.ops[id]
	for _, op := range slices.Backward(defs) {
		if op.Since <= version {
			return op, nil
		}
	}
	if len(defs) > 0 {
		return nil, fmt.Errorf("operator %v is supported from opset %d, not in %d", id, defs[0].Since, version)
	}
	return nil, fmt.Errorf("operator %v (opset %d) is not supported", id, version)
}

// Of finds the definition of a node's operator in a graph.
func (t *Table) Of(g *Graph, n *Node) (*Op, error) { return t.Lookup(n.Op, g.OpVersion(n)) }

// All lists every definition, sorted by name and version.
func (t *Table) All() []*Op {
	var all []*Op
	for _, defs := range t.ops {
		all = append(all, defs...)
	}
	slices.SortFunc(all, func(a, b *Op) int {
		if a.ID != b.ID {
			return compareStrings(a.ID.String(), b.ID.String())
		}
		return a.Since - b.Since
	})
	return all
}

func compareStrings(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Call is one node about to run, with all shapes known. When Op.Kernel sees it,
// In and Out have types and shapes, and only constants have data; when the
// returned function runs, all have. The tensors and Pool stay the same from run
// to run, so a kernel prepares what it can and allocates nothing when it runs.
type Call struct {
	Node *Node
	In   []*tensor.Tensor // nil where an optional input is absent
	Out  []*tensor.Tensor
	Pool *kernel.Pool

	frame      *frame
	scratchLen int // what is reserved, extraLen included
	extraLen   int
	scratch    []byte
	bodies     map[string]*Session
	captures   map[string][]*Value // what the bodies read from outside, once it was asked for
}

// Context ends when the run is to stop: for kernels that run long by themselves.
func (c *Call) Context() context.Context { return c.frame.ctx }

// MemoryLimitBytes bounds the working memory of the run, for kernels whose results
// grow while they run; 0 is no limit.
func (c *Call) MemoryLimitBytes() int { return c.frame.p.opt.MemoryLimitBytes }

// Make allocates output i of a Late operator; nil if the node does not have it. Its
// memory counts towards the limit of the run.
func (c *Call) Make(i int, d tensor.DType, shape ...int) (*tensor.Tensor, error) {
	if i >= len(c.Out) || c.Out[i] == nil {
		return nil, nil
	}
	x, err := c.New(d, shape...)
	if err != nil {
		return nil, err
	}
	c.Out[i].Become(x)
	return c.Out[i], nil
}

// New allocates a tensor that a kernel keeps beside its outputs, by Allocates.
func (c *Call) New(d tensor.DType, shape ...int) (*tensor.Tensor, error) {
	size, err := sizeOf(d, shape)
	if err == nil {
		err = c.Allocates(size)
	}
	if err != nil {
		return nil, err
	}
	return tensor.New(d, shape...), nil
}

// Allocates counts memory that a kernel is about to allocate itself towards the limit of
// the run: what it keeps while the frame lasts when it is called before the run, else
// until the end of the run. An error of kind TooLarge says that the limit is exceeded.
func (c *Call) Allocates(bytes int) error { return c.frame.count(bytes) }

// Room allocates elements that a kernel keeps beside its outputs, by Allocates.
func Room[T any](c *Call, n int) ([]T, error) {
	var zero T
	if err := c.Allocates(n * int(unsafe.Sizeof(zero))); err != nil {
		return nil, err
	}
	return make([]T, n), nil
}

// RunBody runs the inner graph of an attribute and returns its outputs, which are
// the caller's. What the body reads from outside is passed on.
func (c *Call) RunBody(attr string, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
	body, _ := c.Node.Attrs[attr].(*Graph)
	if body == nil || c.bodies[attr] == nil {
		return nil, fmt.Errorf("there is no inner graph %q", attr)
	}
	if len(in) != len(body.Inputs) {
		return nil, fmt.Errorf("%d inputs for the inner graph %q, which has %d", len(in), attr, len(body.Inputs))
	}
	if c.captures == nil {
		c.captures = map[string][]*Value{}
	}
	list, ok := c.captures[attr]
	if !ok {
		list = body.Captures()
		c.captures[attr] = list
	}
	all := slices.Clone(in)
	for _, v := range list {
		all = append(all, c.frame.tensors[v])
	}
	return c.bodies[attr].Run(c.frame.ctx, all, nil)
}

// Reserve asks for n bytes of scratch memory during each run; it is called while
// preparing, at most once.
func (c *Call) Reserve(n int) { c.scratchLen = c.extraLen + n }

// Scratch is the memory that was reserved. Its content is undefined.
func (c *Call) Scratch() []byte { return c.scratch[min(c.extraLen, len(c.scratch)):] }

// ScratchF32 is the reserved memory as float32s.
func (c *Call) ScratchF32() []float32 { return asF32(c.Scratch()) }

// ReserveExtra is Reserve for a function that wraps a kernel, which itself may
// reserve scratch memory: the two do not see each other's.
func (c *Call) ReserveExtra(n int) {
	n = (n + arenaAlign - 1) &^ (arenaAlign - 1)
	c.scratchLen += n - c.extraLen
	c.extraLen = n
}

// Extra is the memory that ReserveExtra asked for. Its content is undefined.
func (c *Call) Extra() []byte { return c.scratch[:c.extraLen:c.extraLen] }

// Has reports whether the optional input i is there; a negative one is not.
func (c *Call) Has(i int) bool { return i >= 0 && i < len(c.In) && c.In[i] != nil }

// Require is Infer.Require for Late operators, which have no shape rule: there are at least
// min and at most max inputs (-1: any number), and output 0 is there.
func (c *Call) Require(min, max int) error {
	if n := len(c.In); max >= 0 && n > max {
		return fmt.Errorf("%d inputs, at most %d expected", n, max)
	}
	for i := range min {
		if !c.Has(i) {
			return fmt.Errorf("input %d is missing", i)
		}
	}
	if len(c.Out) == 0 || c.Out[0] == nil {
		return fmt.Errorf("it has no output")
	}
	return nil
}

// F32 are the elements of input i; nil if it is absent.
func (c *Call) F32(i int) []float32 {
	if !c.Has(i) {
		return nil
	}
	return c.In[i].F32()
}
