package pass

import (
	"fmt"
	"slices"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// The inputs of a paged decoder that its standard form does not have, int64.
const (
	// InputLengths [sequences+1] is where the rows of each sequence begin and end.
	InputLengths = "lengths"
	// InputBlocks [sequences, blocks] are the pages of each sequence, in order.
	InputBlocks = "blocks"
)

// Paged turns a decoder whose cache is a rectangle into one whose cache is pages
// that any number of sequences share.
//
// In the standard form, of one example, TensorScatter puts keys and values into
// state [1, context, heads·size], and a causal Attention reads them up to a length.
// In the paged form the rows of all sequences of a step lie one after another in
// that one example: every operator that works row by row stays as it is, and the
// attention finds its rows by InputLengths and its cache by InputBlocks. The input
// that says how much is in the cache then has one element for each sequence; the
// one that says how much is there in all is gone.
func Paged(pages int) graph.Pass {
	return graph.Pass{Name: "paged", Run: func(g *graph.Graph, _ *graph.Table) error {
		p := &paging{g: g, pages: pages, gone: map[*graph.Node]bool{}}
		for i, n := range g.Nodes {
			if n.Op != (graph.OpID{Name: "Attention"}) || len(n.Inputs) < 7 || n.Inputs[6] == nil {
				continue
			}
			to, err := p.lower(n)
			if err != nil {
				return fmt.Errorf("node %v: %w", n, err)
			}
			g.Nodes[i] = to
		}
		g.Nodes = slices.DeleteFunc(g.Nodes, func(n *graph.Node) bool { return p.gone[n] })
		g.Inputs = slices.DeleteFunc(g.Inputs, func(v *graph.Value) bool { return v == p.total })
		return nil
	}}
}

type paging struct {
	g       *graph.Graph
	pages   int
	gone    map[*graph.Node]bool // TensorScatter nodes
	past    *graph.Value
	total   *graph.Value
	lengths *graph.Value
	blocks  *graph.Value
}

// lower makes the paged form of an Attention node.
func (p *paging) lower(n *graph.Node) (*graph.Node, error) {
	if err := pageable(n); err != nil {
		return nil, err
	}
	heads, kv := n.Attrs.Int("q_num_heads", 0), n.Attrs.Int("kv_num_heads", 0)
	q := n.Inputs[0].Type.Shape
	width, ok := q[len(q)-1].Value()
	if !ok || heads == 0 || width%heads != 0 {
		return nil, fmt.Errorf("queries of shape %v for %d heads", q, heads)
	}
	size := width / heads
	to := &graph.Node{Name: n.Name, Op: graph.OpID{Domain: graph.Private, Name: "PagedAttention"}, Attrs: graph.Attrs{
		"q_num_heads": int64(heads), "kv_num_heads": int64(kv), "head_size": int64(size),
	}}
	for _, name := range []string{"scale", "softcap", "left_window_size"} {
		if v, ok := n.Attrs[name]; ok {
			to.Attrs[name] = v
		}
	}
	to.Inputs = []*graph.Value{n.Inputs[0], nil, nil, n.Inputs[1], n.Inputs[2], nil, nil, nil, nil, nil, nil, nil, nil}
	to.Outputs = []*graph.Value{n.Outputs[0]}
	sizes := []int{kernel.KeyPageBytes(kv, size), kernel.ValuePageBytes(kv, size)}
	for i := range 2 {
		next := n.Inputs[1+i]
		if next.Def != nil && next.Def.Op == (graph.OpID{Domain: graph.Private, Name: "PagedAttention"}) {
			continue // a layer that reads the cache of another
		}
		if err := p.takeState(to, i, next, sizes[i]/2); err != nil {
			return nil, err
		}
	}
	if p.total == nil {
		p.total = n.Inputs[6]
	}
	if p.total != n.Inputs[6] || p.past == nil {
		return nil, fmt.Errorf("the lengths of the cache are not those of the other layers")
	}
	to.Inputs[5], to.Inputs[6], to.Inputs[7] = p.lengths, p.past, p.blocks
	for _, o := range to.Outputs {
		o.Def = to
	}
	return to, nil
}

// pageable refuses what the paged kernel does not compute.
func pageable(n *graph.Node) error {
	for _, i := range []int{3, 4, 5} {
		if n.Input(i) != nil {
			return fmt.Errorf("attention with a mask or past keys as inputs has no paged form")
		}
	}
	for _, o := range n.Outputs[1:] {
		if o != nil {
			return fmt.Errorf("attention that gives out its keys or scores has no paged form")
		}
	}
	if n.Attrs.Int("is_causal", 0) == 0 || n.Attrs.Int("right_window_size", -1) > 0 || len(n.Inputs[0].Type.Shape) != 3 {
		return fmt.Errorf("only causal attention on 3 dimensions has a paged form")
	}
	return nil
}

// takeState makes pages of the state that next is the next value of, and gives the
// node what TensorScatter put there.
func (p *paging) takeState(to *graph.Node, i int, next *graph.Value, elements int) error {
	scatter := next.Def
	if scatter == nil || scatter.Op != (graph.OpID{Name: "TensorScatter"}) || len(scatter.Inputs) < 3 || scatter.Inputs[2] == nil {
		return fmt.Errorf("%s is not written by TensorScatter", next.Name)
	}
	at := slices.IndexFunc(p.g.State, func(s graph.State) bool { return s.Current == scatter.Inputs[0] && s.Next == next })
	if at < 0 {
		return fmt.Errorf("%s is not state", next.Name)
	}
	if p.past == nil {
		p.addInputs(scatter.Inputs[2])
	}
	if scatter.Inputs[2] != p.past {
		return fmt.Errorf("the positions at which %s is written are not those of the other layers", next.Name)
	}
	s := &p.g.State[at]
	shape := tensor.Shape{p.pages, elements}
	t := graph.Type{DType: tensor.Float16, Shape: graph.Dims(shape...)}
	s.Init = &graph.Constant{DType: tensor.Float16, Shape: shape, Encoding: graph.Zeros}
	s.Current.Type, next.Type = t, t
	to.Inputs[1+i], to.Inputs[3+i] = scatter.Inputs[1], s.Current
	to.Outputs = append(to.Outputs, next)
	p.gone[scatter] = true
	return nil
}

func (p *paging) addInputs(past *graph.Value) {
	sequences := graph.Sym("sequences")
	p.past = past
	past.Type.Shape = graph.Shape{sequences}
	p.lengths = &graph.Value{Name: InputLengths, Type: graph.Type{DType: tensor.Int64, Shape: graph.Shape{sequences.Add(graph.Const(1))}}}
	p.blocks = &graph.Value{Name: InputBlocks, Type: graph.Type{DType: tensor.Int64, Shape: graph.Shape{sequences, graph.Sym("blocks")}}}
	p.g.Inputs = append(p.g.Inputs, p.lengths, p.blocks)
}
