package graph

import (
	"tandem/fault"
	"tandem/tensor"
)

// Estimate is what one run of a program is expected to take.
type Estimate struct {
	Work         float64 // arithmetic operations, as Op.Work counts them
	StateBytes   int     // what lasts from run to run: parameters and what goes with them
	WorkingBytes int     // of the values between inputs and outputs, sharing memory where lifetimes allow
	// Unknown is how many nodes are not in the numbers above: their shapes depend on
	// data, or they are inside other nodes.
	Unknown int
}

// EstimateRun compiles g for inputs of the given shapes and adds up what its nodes take.
// What kernels allocate for themselves is not in it.
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
	e.WorkingBytes = pack(blocks)
	return e, nil
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
