package graph

import (
	"fmt"
	"unsafe"

	"tandem/fault"
	"tandem/kernel"
	"tandem/tensor"
)

// Pass rewrites a graph in place into an equivalent one.
type Pass struct {
	Name string
	Run  func(*Graph, *Table) error
}

// Options are what Compile needs besides the graph.
type Options struct {
	Ops    *Table
	Pool   *kernel.Pool
	Passes []Pass
	// MemoryLimitBytes bounds arena and state of one session; 0 is no limit.
	MemoryLimitBytes int
}

// Program is a graph made ready to run. It is immutable; any number of sessions
// share it and its constants.
type Program struct {
	g      *Graph
	ops    []*Op // by node
	layout *layout
	opt    Options
}

// Compile copies g, infers its types, applies the passes in order and decides how
// values share memory.
func Compile(g *Graph, opt Options) (*Program, error) {
	g, _ = g.Clone()
	if err := InferTypes(g, opt.Ops); err != nil {
		return nil, fault.Wrap(err, "graph.compile", fault.Invalid, "")
	}
	for _, p := range opt.Passes {
		if err := p.Run(g, opt.Ops); err != nil {
			return nil, fault.Wrap(err, "graph.compile", fault.Internal, "pass %s", p.Name)
		}
	}
	p := &Program{g: g, opt: opt, ops: make([]*Op, len(g.Nodes))}
	for i, n := range g.Nodes {
		op, err := opt.Ops.of(g, n)
		if err != nil {
			return nil, fault.Wrap(err, "graph.compile", fault.Unsupported, "")
		}
		p.ops[i] = op
	}
	l, err := layOut(g, p.ops)
	if err != nil {
		return nil, fault.Wrap(err, "graph.compile", fault.Invalid, "")
	}
	p.layout = l
	return p, nil
}

// Graph is what the program runs, after the passes: not to be changed.
func (p *Program) Graph() *Graph { return p.g }

// ConstantBytes is the memory that the constants take.
func (p *Program) ConstantBytes() int {
	n := 0
	for _, v := range p.g.Constants() {
		n += len(v.Const.Data)
	}
	return n
}

// bind finds the numbers of all symbols from the shapes of the inputs.
func (p *Program) bind(in []*tensor.Tensor) (map[string]int, error) {
	const op = "graph.run"
	if len(in) != len(p.g.Inputs) {
		return nil, fault.New(op, fault.Invalid, "%d inputs given, the model has %d", len(in), len(p.g.Inputs))
	}
	bind := map[string]int{}
	for i, v := range p.g.Inputs {
		if in[i] == nil {
			return nil, fault.New(op, fault.Invalid, "input %q is missing", v.Name)
		}
		if in[i].DType() != v.Type.DType || in[i].Rank() != len(v.Type.Shape) {
			return nil, fault.New(op, fault.Invalid, "input %q is %v, expected %v", v.Name, in[i], v.Type)
		}
		for j, d := range v.Type.Shape {
			if len(d.terms) == 1 && d.terms[0].coef == 1 && len(d.terms[0].atoms) == 1 && d.terms[0].atoms[0].op == 's' {
				name := d.terms[0].atoms[0].key
				if have, ok := bind[name]; ok && have != in[i].Dim(j) {
					return nil, fault.New(op, fault.Invalid, "input %q has %d for dimension %q, another input has %d", v.Name, in[i].Dim(j), name, have)
				}
				bind[name] = in[i].Dim(j)
			}
		}
	}
	for i, v := range p.g.Inputs {
		want, err := v.Type.Shape.Eval(bind)
		if err != nil {
			return nil, fault.Wrap(err, op, fault.Invalid, "input %q", v.Name)
		}
		if !want.Equal(in[i].Shape()) {
			return nil, fault.New(op, fault.Invalid, "input %q has shape %v, expected %v", v.Name, in[i].Shape(), v.Type.Shape)
		}
	}
	return bind, nil
}

// frame is a program with numbers for its shapes and memory of its own: what one
// run at a time uses.
type frame struct {
	arena   memory
	tensors []*tensor.Tensor // by value
	steps   []step
	inputs  []*tensor.Tensor
	outputs []*tensor.Tensor
}

type step struct {
	node *Node
	run  func() error
}

// newFrame prepares every node for the shapes of a binding and lays out the arena.
func (p *Program) newFrame(bind map[string]int, state []memory) (*frame, error) {
	f := &frame{tensors: make([]*tensor.Tensor, len(p.layout.values))}
	sizes := make([]int, len(p.layout.stores))
	for i, v := range p.layout.values {
		shape, err := v.Type.Shape.Eval(bind)
		if err != nil {
			return nil, fault.Wrap(err, "graph.run", fault.Invalid, "shape of %s", v.Name)
		}
		n, err := shape.CheckedLen(1 << 46)
		if err != nil {
			return nil, fault.Wrap(err, "graph.run", fault.TooLarge, "shape of %s", v.Name)
		}
		f.tensors[i] = new(tensor.Tensor)
		f.tensors[i].Set(v.Type.DType, shape, nil)
		s := p.layout.storage[i]
		sizes[s] = max(sizes[s], v.Type.DType.ByteLen(n))
	}
	if err := p.placeConstants(f); err != nil {
		return nil, err
	}
	calls, err := p.prepare(f)
	if err != nil {
		return nil, err
	}
	return f, p.placeArena(f, calls, sizes, state)
}

func (p *Program) placeConstants(f *frame) error {
	for i, v := range p.layout.values {
		s := p.layout.stores[p.layout.storage[i]]
		if s.place != inConstant {
			continue
		}
		c := p.layout.values[s.value].Const
		if c.Encoding == Dense && c.DType == tensor.String {
			*f.tensors[i] = *tensor.OfStrings(c.Strings, f.tensors[i].Shape()...)
			continue
		}
		f.tensors[i].Set(v.Type.DType, f.tensors[i].Shape(), c.Data)
	}
	return nil
}

// prepare asks each operator for its kernel. Views run nothing.
func (p *Program) prepare(f *frame) ([]*Call, error) {
	calls := make([]*Call, len(p.g.Nodes))
	for i, n := range p.g.Nodes {
		if p.ops[i].View {
			continue
		}
		c := &Call{Node: n, Pool: p.opt.Pool, In: p.tensorsOf(f, n.Inputs), Out: p.tensorsOf(f, n.Outputs)}
		run, err := p.ops[i].Kernel(c)
		if err != nil {
			return nil, fault.Wrap(err, "graph.run", fault.Invalid, "node %v", n)
		}
		calls[i] = c
		f.steps = append(f.steps, step{n, run})
	}
	return calls, nil
}

func (p *Program) tensorsOf(f *frame, values []*Value) []*tensor.Tensor {
	list := make([]*tensor.Tensor, len(values))
	for i, v := range values {
		if v != nil {
			list[i] = f.tensors[p.layout.index[v]]
		}
	}
	return list
}

// placeArena gives every value of the arena its offset, and scratch to the calls.
func (p *Program) placeArena(f *frame, calls []*Call, sizes []int, state []memory) error {
	var blocks []*block
	byStore := make([]*block, len(p.layout.stores))
	for s, st := range p.layout.stores {
		if st.place == inArena && sizes[s] > 0 {
			byStore[s] = &block{first: st.first, last: st.last, size: sizes[s]}
			blocks = append(blocks, byStore[s])
		}
	}
	byCall := make([]*block, len(calls))
	for i, c := range calls {
		if c != nil && c.scratchLen > 0 {
			byCall[i] = &block{first: i, last: i, size: c.scratchLen}
			blocks = append(blocks, byCall[i])
		}
	}
	total := pack(blocks)
	if limit := p.opt.MemoryLimitBytes; limit > 0 && total > limit {
		return fault.New("graph.run", fault.TooLarge, "this input needs %d MiB of working memory, the limit is %d MiB", total>>20, limit>>20).
			Try("use a smaller batch or a higher memory limit")
	}
	arena, err := allocate(total)
	if err != nil {
		return err
	}
	f.arena = arena
	for i, t := range f.tensors {
		s := p.layout.storage[i]
		n := t.DType().ByteLen(t.Len())
		switch st := p.layout.stores[s]; {
		case st.place == inState:
			t.Set(t.DType(), t.Shape(), state[st.state][:n:n])
		case byStore[s] != nil:
			off := byStore[s].offset
			t.Set(t.DType(), t.Shape(), arena[off:off+n:off+n])
		}
	}
	for i, b := range byCall {
		if b != nil {
			calls[i].scratch = arena[b.offset : b.offset+b.size : b.offset+b.size]
		}
	}
	for _, v := range p.g.Inputs {
		f.inputs = append(f.inputs, f.tensors[p.layout.index[v]])
	}
	f.outputs = p.tensorsOf(f, p.g.Outputs)
	return nil
}

// setInput points an input's tensor, and every view of it, to the caller's bytes.
func (p *Program) setInput(f *frame, i int, data []byte) {
	store := p.layout.storage[p.layout.index[p.g.Inputs[i]]]
	for j, s := range p.layout.storage {
		if s == store {
			t := f.tensors[j]
			t.Set(t.DType(), t.Shape(), data)
		}
	}
}

func asF32(b []byte) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/4)
}

// Describe is a short line for people: nodes and constants.
func (p *Program) Describe() string {
	return fmt.Sprintf("%d nodes, %d MiB of constants", len(p.g.Nodes), p.ConstantBytes()>>20)
}
