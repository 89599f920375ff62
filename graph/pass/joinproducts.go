package pass

import (
	"slices"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// JoinProducts makes one product of those that give attention its queries, keys and values,
// where two or all of them multiply the same rows: their matrices are packed side by side,
// and attention finds its heads in the wider rows. Each element keeps its bits.
func JoinProducts(p *kernel.Pool, packing Packing) graph.Pass {
	packing = packing.orInMemory()
	return graph.Pass{Name: "join-products", Run: func(g *graph.Graph, _ *graph.Table) error {
		j := &productJoiner{g: g, uses: g.Uses(), place: map[*graph.Node]int{}, pool: p, packing: packing}
		for i, n := range g.Nodes {
			j.place[n] = i
		}
		gone := map[*graph.Node]bool{}
		for _, n := range g.Nodes {
			if n.Op != stridedAttention {
				continue
			}
			for _, list := range j.groups(n) {
				if err := j.join(n, list); err != nil {
					return err
				}
				for _, o := range list[1:] {
					gone[o.product] = true
				}
			}
		}
		g.Nodes = slices.DeleteFunc(g.Nodes, func(n *graph.Node) bool { return gone[n] })
		return nil
	}}
}

type productJoiner struct {
	g       *graph.Graph
	uses    map[*graph.Value][]*graph.Node
	place   map[*graph.Node]int // in the order of the graph
	pool    *kernel.Pool
	packing Packing
}

// attentionOperand is an input of attention that is a product, and where its heads lie in
// that, as the attribute of its name says.
type attentionOperand struct {
	input   int
	name    string
	product *graph.Node
	heads   []int
}

// width is the number of columns of its product.
func (o attentionOperand) width() int {
	w := o.product.Inputs[1].Const.Shape
	if o.product.Attrs.Int("transB", 0) != 0 {
		return w[0]
	}
	return w[1]
}

// groups are the operands of n that multiply the same rows by numbers of one type, in the
// order of the graph.
func (j *productJoiner) groups(n *graph.Node) [][]attentionOperand {
	var groups [][]attentionOperand
	for i, name := range []string{"q", "k", "v"} {
		o := attentionOperand{i, name, n.Inputs[i].Def, n.Attrs.Ints(name)}
		if !j.joins(n.Inputs[i], o) {
			continue
		}
		at := slices.IndexFunc(groups, func(list []attentionOperand) bool {
			p := list[0].product
			return p.Inputs[0] == o.product.Inputs[0] && p.Op == o.product.Op
		})
		if at < 0 {
			at, groups = len(groups), append(groups, nil)
		}
		groups[at] = append(groups[at], o)
	}
	groups = slices.DeleteFunc(groups, func(list []attentionOperand) bool { return len(list) < 2 })
	for _, list := range groups {
		slices.SortFunc(list, func(a, b attentionOperand) int { return j.place[a.product] - j.place[b.product] })
	}
	return groups
}

// joins reports whether v is a product with a constant matrix, of whole panels, that
// nothing but attention reads, by heads within its rows.
func (j *productJoiner) joins(v *graph.Value, o attentionOperand) bool {
	n := o.product
	if n == nil || n.Op != linear && n.Op != bfloat16Linear || len(j.uses[v]) != 1 || j.g.Kept(v) || n.Input(3) != nil || n.Attrs.String("activation", "") != "" {
		return false
	}
	if w := n.Inputs[1].Const; w == nil || w.Encoding != graph.Dense || w.DType != tensor.Float32 && n.Op == linear {
		return false
	}
	if b := n.Input(2); b != nil && (b.Const == nil || b.Const.Encoding != graph.Dense) {
		return false
	}
	width, last, h := o.width(), len(v.Type.Shape)-1, o.heads
	if len(h) != 7 || h[2] >= 0 || h[0] == last || h[1] == last {
		return false
	}
	stride, heads, offset, size := h[3], h[4], h[5], h[6]
	return size > 0 && heads > 0 && offset+(heads-1)*stride+size <= width && kernel.PackedLen(1, width, j.pool.ISA()) == width
}

// join lets the first product of a list compute them all, and n read its result.
func (j *productJoiner) join(n *graph.Node, list []attentionOperand) error {
	first := list[0].product
	w, total, err := j.matrix(list)
	if err != nil {
		return err
	}
	bias, err := joinedBias(list, total)
	if err != nil {
		return err
	}
	shape := slices.Clone(first.Outputs[0].Type.Shape)
	shape[len(shape)-1] = graph.Const(total)
	y := &graph.Value{Name: first.Outputs[0].Name + ".joined", Type: graph.Type{DType: tensor.Float32, Shape: shape}, Def: first}
	offset := 0
	for _, o := range list {
		heads := make([]int64, len(o.heads))
		for i, h := range o.heads {
			heads[i] = int64(h)
		}
		heads[5] += int64(offset)
		n.Inputs[o.input], n.Attrs[o.name] = y, heads
		offset += o.width()
	}
	first.Inputs, first.Outputs, first.Attrs = []*graph.Value{first.Inputs[0], w}, []*graph.Value{y}, graph.Attrs{}
	if bias != nil {
		first.Inputs = append(first.Inputs, bias)
	}
	return nil
}

// matrix packs the matrices of a list side by side, [k, total].
func (j *productJoiner) matrix(list []attentionOperand) (w *graph.Value, total int, err error) {
	name, k := "", 0
	type part struct {
		t     *tensor.Tensor
		n     int
		trans bool
	}
	parts := make([]part, len(list))
	for i, o := range list {
		panel := panelOf{o.product.Inputs[1], o.product.Attrs.Int("transB", 0) != 0}
		p := part{trans: panel.trans}
		if p.t, _, k, p.n, err = matricesOf(panel); err != nil {
			return nil, 0, err
		}
		if parts[i], total = p, total+p.n; i > 0 {
			name += "+"
		}
		name += panel.key()
	}
	c := &graph.Constant{DType: tensor.Float32, Shape: tensor.Shape{k, total}, Encoding: graph.PanelB}
	size := func(n int) int { return 4 * kernel.PackedLen(k, n, j.pool.ISA()) }
	if parts[0].t.DType() == tensor.BFloat16 {
		c.DType, c.Encoding = tensor.BFloat16, graph.PanelBFloat16
		size = func(n int) int { return kernel.PackedBFloat16Len(k, n, j.pool) }
	}
	c.Data, err = j.packing(name, size(total), func(dst []byte) {
		for _, p := range parts {
			to := dst[:size(p.n)]
			if dst = dst[len(to):]; c.DType == tensor.BFloat16 {
				kernel.PackBFloat16(j.pool, to, p.t.Bytes(), k, p.n, p.trans)
			} else {
				kernel.PackB(floats(to), p.t.F32(), k, p.n, p.t.Dim(1), p.trans, j.pool.ISA())
			}
		}
	})
	if err != nil {
		return nil, 0, err
	}
	return &graph.Value{Name: name, Type: graph.Type{DType: c.DType, Shape: graph.Dims(c.Shape...)}, Const: c}, total, nil
}

// joinedBias is the biases of a list one after another, zeros where there is none; nil where
// there is none at all.
func joinedBias(list []attentionOperand, total int) (*graph.Value, error) {
	joined, name, at := tensor.New(tensor.Float32, total), "", 0
	for _, o := range list {
		if b := o.product.Input(2); b != nil {
			t, err := b.Const.Tensor()
			if err != nil {
				return nil, err
			}
			copy(joined.F32()[at:], t.F32())
			name += "+" + b.Name
		}
		at += o.width()
	}
	if name == "" {
		return nil, nil
	}
	c := graph.ConstantOf(joined)
	return &graph.Value{Name: name[1:], Type: graph.Type{DType: tensor.Float32, Shape: graph.Dims(total)}, Const: c}, nil
}
