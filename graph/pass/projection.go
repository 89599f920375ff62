package pass

import (
	"fmt"
	"slices"
	"unsafe"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
	"tandem/tensor/block"
)

// Packing returns the bytes of a packed weight of that name and size: those that
// were kept from an earlier start, or new ones (zero) that fill has written. Nil packs
// anew at every start.
type Packing func(name string, size int, fill func(dst []byte)) ([]byte, error)

func (p Packing) orInMemory() Packing {
	if p == nil {
		return inMemory
	}
	return p
}

func inMemory(_ string, size int, fill func([]byte)) ([]byte, error) {
	data := tensor.AlignedBytes(size)
	fill(data)
	return data, nil
}

var (
	projection = graph.OpID{Domain: graph.Private, Name: "Projection"}
	pagedNode  = graph.OpID{Domain: graph.Private, Name: "PagedAttention"}
)

// Projections lowers products with constant matrices of float32, dense or in blocks, to
// Projection on packed weights, with the bias that follows.
func Projections(p *kernel.Pool, packing Packing) graph.Pass {
	packing = packing.orInMemory()
	return graph.Pass{Name: "projections", Run: func(g *graph.Graph, _ *graph.Table) error {
		packed := map[*graph.Value]*graph.Value{}
		for _, n := range g.Nodes {
			if n.Op != (graph.OpID{Name: "MatMul"}) || !projectable(n.Inputs[1]) || n.Inputs[0].Type.DType != tensor.Float32 || len(n.Inputs[0].Type.Shape) < 2 {
				continue
			}
			w := n.Inputs[1]
			if packed[w] == nil {
				v, err := packWeight(p, w, packing)
				if err != nil {
					return err
				}
				packed[w] = v
			}
			n.Op, n.Attrs = projection, nil
			n.Inputs = []*graph.Value{n.Inputs[0], nil, nil, packed[w], nil}
		}
		shareTables(g, packed)
		return fuseBias(g)
	}}
}

// shareTables lets tables of which the same bytes are also a packed matrix, as that of
// words often is the one of logits, be read where they are packed: what they came from is
// not touched any more.
func shareTables(g *graph.Graph, packed map[*graph.Value]*graph.Value) {
	bySource := map[*byte]*graph.Value{}
	for w, p := range packed {
		if _, ok := w.Const.Encoding.InColumns(); ok {
			bySource[unsafe.SliceData(w.Const.Data)] = p
		}
	}
	for _, n := range g.Nodes {
		if n.Op != (graph.OpID{Name: "Gather"}) || n.Inputs[0].Const == nil || n.Attrs.Int("axis", 0) != 0 {
			continue
		}
		t := n.Inputs[0]
		f, ok := t.Const.Encoding.InRows()
		p := bySource[unsafe.SliceData(t.Const.Data)]
		if !ok || p == nil || !kernel.CanUnpack(f) || len(t.Const.Shape) != 2 || t.Const.Shape[0] != p.Const.Shape[1] || t.Const.Shape[1] != p.Const.Shape[0] {
			continue
		}
		c := &graph.Constant{DType: tensor.Float32, Shape: t.Const.Shape, Encoding: graph.RowPanels(f), Data: p.Const.Data}
		n.Inputs[0] = &graph.Value{Name: t.Name + ".packed", Type: t.Type, Const: c}
	}
}

// projectable reports whether w is a constant that Projection has a form for.
func projectable(w *graph.Value) bool {
	if w.Const == nil || w.Const.DType != tensor.Float32 || len(w.Const.Shape) != 2 {
		return false
	}
	f, ok := w.Const.Encoding.InColumns()
	return w.Const.Encoding == graph.Dense || ok && kernel.CanPack(f)
}

func packWeight(p *kernel.Pool, w *graph.Value, packing Packing) (*graph.Value, error) {
	in, out := w.Const.Shape[0], w.Const.Shape[1]
	f, columns := w.Const.Encoding.InColumns()
	src := w.Const.Data
	if !columns {
		f = block.F32
	}
	if in%f.Elements() != 0 || columns && len(src) != f.Size(in*out) {
		return nil, fmt.Errorf("weight %s of shape %v in encoding %q has %d bytes", w.Name, w.Const.Shape, w.Const.Encoding, len(src))
	}
	data, err := packing(w.Name, kernel.PackedBytes(f, out, in, p.ISA()), func(dst []byte) {
		if !columns {
			src = transposedBytes(src, in, out)
		}
		kernel.PackRows(p, f, dst, src, out, in)
	})
	if err != nil {
		return nil, err
	}
	c := &graph.Constant{DType: tensor.Float32, Shape: w.Const.Shape, Encoding: graph.Panels(f), Data: data}
	return &graph.Value{Name: w.Name + ".packed", Type: w.Type, Const: c}, nil
}

// transposedBytes are the columns of a dense float32 matrix, one after another.
func transposedBytes(src []byte, rows, cols int) []byte {
	dst := tensor.AlignedBytes(len(src))
	for i := range rows {
		for j := range cols {
			copy(dst[4*(j*rows+i):][:4], src[4*(i*cols+j):])
		}
	}
	return dst
}

// fuseBias gives a Projection the constant row that alone is added to its result.
func fuseBias(g *graph.Graph) error {
	uses := g.Uses()
	gone := map[*graph.Node]bool{}
	for _, n := range g.Nodes {
		if n.Op != projection {
			continue
		}
		add := onlyUse(g, uses, n, "Add")
		if add == nil {
			continue
		}
		bias := other(add, n.Outputs[0])
		w := n.Inputs[3].Const.Shape[1]
		if bias.Const == nil || bias.Const.Encoding != graph.Dense || bias.Const.DType != tensor.Float32 || bias.Const.Shape.Len() != w || len(bias.Const.Shape) != 1 {
			continue
		}
		n.Inputs[4] = bias
		become(n, add)
		gone[add] = true
	}
	g.Nodes = slices.DeleteFunc(g.Nodes, func(n *graph.Node) bool { return gone[n] })
	return nil
}

// onlyUse is the one node that reads n's result, if it is of the named operator.
func onlyUse(g *graph.Graph, uses map[*graph.Value][]*graph.Node, n *graph.Node, op string) *graph.Node {
	y := n.Outputs[0]
	if u := uses[y]; len(u) == 1 && !g.Kept(y) && u[0].Op == (graph.OpID{Name: op}) {
		return u[0]
	}
	return nil
}

// other is the operand of a binary node that is not v.
func other(n *graph.Node, v *graph.Value) *graph.Value {
	if n.Inputs[0] == v {
		return n.Inputs[1]
	}
	return n.Inputs[0]
}

// become lets n compute what the node after it did.
func become(n, after *graph.Node) {
	n.Outputs = []*graph.Value{after.Outputs[0]}
	after.Outputs[0].Def = n
}
