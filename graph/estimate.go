package graph

import (
	"tandem/fault"
	"tandem/tensor"
)

// Estimate is what one run of a program is expected to take.
type Estimate struct {
	Work       float64 // arithmetic operations, as Op.Work counts them
	StateBytes int     // what lasts from run to run: parameters and what goes with them
	// WorkingBytes are of the values between inputs and outputs, which share memory where
	// lifetimes allow, and of what kernels work in and keep for themselves.
	WorkingBytes int
	// Unknown is how many nodes are not in the numbers above: their shapes depend on
	// data, or they are inside other nodes.
	Unknown int
}

// EstimateRun compiles g for inputs of the given shapes and adds up what its nodes take.
// Kernels are prepared for this, and nothing is run; what they allocate without saying so
// (Call.Allocates) is not in it: rows for each thread, and tables of the length of a
// dimension.
func EstimateRun(g *Graph, opt Options, shapes []tensor.Shape) (Estimate, error) {
	if len(shapes) != len(g.Inputs) {
		return Estimate{}, fault.New("graph.estimate", fault.Invalid, "%d shapes given, the model has %d inputs", len(shapes), len(g.Inputs))
	}
	g, _ = g.Clone()
	for i, v := range g.Inputs {
		if v.Type.Known() && !v.Type.DType.List() {
			v.Type.Shape = Dims(shapes[i]...)
		}
	}
	p, err := Compile(g, opt)
	if err != nil {
		return Estimate{}, err
	}
	var e Estimate
	prepared := p.prepareAlone()
	scratch := map[int]int{} // by step
	for _, s := range p.g.State {
		e.StateBytes += s.Init.byteLen()
	}
	for i, n := range p.g.Nodes {
		e.Unknown += innerNodes(n)
		in, ok1 := staticShapes(n.Inputs)
		out, ok2 := staticShapes(n.Outputs)
		if !ok1 || !ok2 {
			e.Unknown++
			continue
		}
		e.Work += p.ops[i].WorkOf(n, in, out)
		if p.ops[i].View || p.ops[i].Late || len(n.Bodies()) > 0 {
			continue
		}
		c := prepared.describeCall(n, in, out)
		if _, err := p.ops[i].Kernel(c); err != nil {
			return e, fault.Wrap(err, "graph.estimate", kindOf(err), "node %v", n)
		}
		scratch[i] = c.scratchLen
	}
	l, err := p.layOut(0, len(p.g.Nodes), static{}.typeOf)
	if err != nil {
		return e, fault.Wrap(err, "graph.estimate", fault.Internal, "")
	}
	blocks := make([]*block, len(l.stores))
	for s, st := range l.stores {
		blocks[s] = &block{first: st.first, last: st.last}
	}
	for _, v := range l.order {
		shape, ok := v.Type.Shape.Static()
		if s := l.of[v]; ok && v.Type.Known() && l.stores[s].place == inArena {
			n, err := sizeOf(v.Type.DType, shape)
			if err != nil {
				return e, fault.Wrap(err, "graph.estimate", fault.Invalid, "shape of %s", v.Name)
			}
			blocks[s].size = max(blocks[s].size, n)
		}
	}
	for i, size := range scratch {
		blocks = append(blocks, &block{first: i, last: i, size: size})
	}
	e.WorkingBytes = pack(blocks) + prepared.bytes
	return e, nil
}

// prepareAlone is a frame without memory, in which single nodes can be prepared.
func (p *Program) prepareAlone() *frame {
	f := &frame{p: p, pool: p.opt.Pool.Branch(), building: true, types: map[*Value]Type{}, content: map[*Value][]Dim{}, tensors: map[*Value]*tensor.Tensor{}}
	for _, s := range p.g.State {
		x := new(tensor.Tensor)
		x.Set(s.Init.DType, s.Init.Shape, nil)
		f.give(s.Current, x)
	}
	f.giveConstants()
	return f
}

// describeCall is a call of a node whose shapes are given, with the data of constants alone.
func (f *frame) describeCall(n *Node, in, out []tensor.Shape) *Call {
	describe := func(values []*Value, shapes []tensor.Shape) {
		for i, v := range values {
			if v != nil && f.tensors[v] == nil {
				x := new(tensor.Tensor)
				x.Set(v.Type.DType, shapes[i], nil)
				f.give(v, x)
			}
		}
	}
	describe(n.Inputs, in)
	describe(n.Outputs, out)
	c := f.call(n)
	for i, v := range n.Outputs {
		if v != nil {
			c.Out[i] = f.tensors[v]
		}
	}
	return c
}

func innerNodes(n *Node) int {
	count := 0
	for _, b := range n.Bodies() {
		count += len(b.Graph.Nodes)
		for _, inner := range b.Graph.Nodes {
			count += innerNodes(inner)
		}
	}
	return count
}

// staticShapes are the shapes of values in numbers; nil for what is absent.
func staticShapes(values []*Value) ([]tensor.Shape, bool) {
	list := make([]tensor.Shape, len(values))
	for i, v := range values {
		if v == nil {
			continue
		}
		shape, ok := v.Type.Shape.Static()
		if !ok || !v.Type.Known() {
			return nil, false
		}
		list[i] = shape
	}
	return list, true
}
