package tune

import (
	"fmt"
	"maps"
	"slices"

	"tandem/fault"
	"tandem/graph"
	"tandem/graph/pass"
	"tandem/nn"
	"tandem/tensor"
)

// pair is two factors A and B whose product, scaled, is learned beside a weight W. Where
// the result of an operator is linear in W, the same operator makes rank outputs with A,
// of which a product with B makes what is added to its result: W + scale·B·A is never
// there. Recurrent operators use their weights inside: they read that sum instead of W.
type pair struct {
	weight, a, b string // names: they find the values in copies of the graph
	sum, plain   string // what readers take, and what they take again once it is merged
	scale        float32
	form         form
}

// form says how a weight is seen as matrices. In the order of memory W is [outer, out,
// inner] and A [outer, rank, inner]; B has a matrix [out, rank], or [rank, out] where
// turned, for each of so many equal parts of outer. axis is that of W's shape which has
// the outputs.
type form struct {
	outer, out, inner, parts, axis int
	turned                         bool
}

// inputs is how many numbers an output is the sum of.
func (f form) inputs() int { return f.outer / f.parts * f.inner }

// Suffixes of the names of pairs.
const (
	suffixA = ".lora_a"
	suffixB = ".lora_b"
)

// addPairs puts a pair beside every weight that s names, and leaves nothing else of the
// kept part to train. One factor of each is 0 in the beginning: so is what pairs add.
func (t *Tuned) addPairs(s LoRA) error {
	const op = "tune.lora"
	uses := t.G.Uses()
	t.Kept = nil
	for _, n := range slices.Clone(t.G.Nodes) {
		wanted, err := s.wanted(n)
		if err != nil {
			return fault.Wrap(err, op, fault.Invalid, "from.lora.patterns")
		}
		for _, i := range wanted {
			if w := n.Inputs[i]; len(uses[w]) > 1 {
				return fault.New(op, fault.Unsupported, "weight %s is used %d times: a pair beside each could not be merged", w.Name, len(uses[w]))
			}
			if err := t.addPair(n, i, s); err != nil {
				return fault.Wrap(err, op, fault.Invalid, "a pair cannot be put beside weight %s of %v", n.Inputs[i].Name, n).
					Try("lower from.lora.rank, or name other weights by from.lora.patterns")
			}
		}
	}
	if len(t.pairs) == 0 {
		return fault.New(op, fault.Invalid, "from.lora.patterns name no weight that can have a pair").
			Try("tandem inspect --weights lists what patterns can name; pairs go beside those of products, convolutions, recurrent layers and embeddings")
	}
	return nil
}

// formOf is how input i of n is seen as matrices; false if it can have no pair.
func formOf(n *graph.Node, i int) (form, bool) {
	first, last := 1, 1
	switch n.Op.Name {
	case "Gather":
		first, last = 0, 0
	case "LSTM", "GRU", "RNN":
		last = 2
	}
	if i < first || i > last || n.Op.Domain != "" || !isWeight(n, i) {
		return form{}, false
	}
	s := n.Inputs[i].Const.Shape
	switch n.Op.Name {
	case "MatMul", "Gemm", "Gather":
		if n.Attrs.Int("transB", 0) == 1 {
			return form{outer: 1, out: s[0], inner: s[1], parts: 1, axis: 0, turned: true}, true
		}
		return form{outer: s[0], out: s[1], inner: 1, parts: 1, axis: 1, turned: true}, len(s) == 2
	case "Conv":
		groups := n.Attrs.Int("group", 1)
		return form{outer: groups, out: s[0] / groups, inner: s[1:].Len(), parts: groups, axis: 0}, true
	case "ConvTranspose":
		return form{outer: s[0], out: s[1], inner: s[2:].Len(), parts: n.Attrs.Int("group", 1), axis: 1}, true
	case "LSTM", "GRU", "RNN":
		return form{outer: s[0], out: s[1], inner: s[2], parts: s[0], axis: 1}, true
	}
	return form{}, false
}

// wanted are the inputs of n whose weights are to have a pair: those that a pattern names
// by the weight's name or the node's, or all but tables of embeddings.
func (s LoRA) wanted(n *graph.Node) (list []int, err error) {
	for i := range n.Inputs {
		if _, ok := formOf(n, i); !ok {
			continue
		}
		names := []string{n.Inputs[i].Name, n.Name}
		for _, o := range n.Outputs {
			if o != nil {
				names = append(names, o.Name)
			}
		}
		ok, err := matchesAny(s.Patterns, names)
		if err != nil {
			return nil, err
		}
		if ok || len(s.Patterns) == 0 && n.Op.Name != "Gather" {
			list = append(list, i)
		}
	}
	return list, nil
}

func (t *Tuned) addPair(n *graph.Node, i int, s LoRA) error {
	f, _ := formOf(n, i)
	w := n.Inputs[i]
	if most := min(f.inputs(), f.out); s.Rank > most {
		return fmt.Errorf("rank %d is more than the %d that the weight of shape %v has", s.Rank, most, w.Const.Shape)
	}
	p := pair{weight: w.Name, scale: 1, form: f}
	if s.Alpha > 0 {
		p.scale = s.Alpha / float32(s.Rank)
	}
	// What an embedding does not see in training stays as it was if A is 0: B is drawn.
	initA, initB := nn.TorchUniform, nn.Zeros
	if n.Op.Name == "Gather" {
		initA, initB = initB, initA
	}
	a := t.Param(w.Name+suffixA, initA, nn.Fan{In: f.inputs()}, f.shapeA(w.Const.Shape, s.Rank)...)
	b := t.Param(w.Name+suffixB, initB, nn.Fan{In: s.Rank}, f.shapeB(n, w.Const.Shape, s.Rank)...)
	p.a, p.b = a.Name, b.Name
	t.wire(&p, n, i, a, b)
	t.pairs = append(t.pairs, p)
	return t.Err()
}

// shapeA is the weight's with the rank in place of its outputs.
func (f form) shapeA(weight []int, rank int) []int {
	shape := slices.Clone(weight)
	shape[f.axis] = shape[f.axis] / f.out * rank
	return shape
}

// shapeB is that of the weight of what makes the outputs of rank: a product, a convolution
// of one position, or a stack of products in a recurrent layer's weight.
func (f form) shapeB(n *graph.Node, weight []int, rank int) []int {
	switch n.Op.Name {
	case "Conv", "ConvTranspose":
		return slices.Concat([]int{f.parts * f.out, rank}, ones[int](len(weight)-2))
	case "LSTM", "GRU", "RNN":
		return []int{f.parts, f.out, rank}
	}
	return []int{rank, f.out}
}

func ones[T int | int64](n int) []T {
	list := make([]T, n)
	for i := range list {
		list[i] = 1
	}
	return list
}

// wire adds the nodes of a pair beside input i of n: before it, where n reads the sum of
// weights, else behind it, whose readers then read the sum of results.
func (t *Tuned) wire(p *pair, n *graph.Node, i int, a, b *graph.Value) {
	at, before := slices.Index(t.G.Nodes, n), len(t.G.Nodes)
	plain, low := n.Outputs[0], (*graph.Value)(nil)
	switch n.Op.Name {
	case "LSTM", "GRU", "RNN":
		plain, low = n.Inputs[i], t.Op("MatMul", nil, b, a)
	default:
		inputs := slices.Clone(n.Inputs[:2]) // the bias is not added twice
		inputs[i] = a
		low = t.up(n, t.Op(n.Op.Name, maps.Clone(n.Attrs), inputs...), b)
	}
	sum := t.Op("Add", nil, plain, t.Op("Mul", nil, low, t.Const("lora_scale", tensor.Scalar(p.scale))))
	if t.Err() != nil {
		return
	}
	p.sum, p.plain = sum.Name, plain.Name
	added := slices.Clone(t.G.Nodes[before:])
	t.G.Nodes = t.G.Nodes[:before]
	if plain == n.Inputs[i] {
		n.Inputs[i] = sum
	} else {
		t.G.Replace(plain, sum)
		sum.Def.Inputs[0] = plain
		at++
	}
	t.G.Nodes = slices.Insert(t.G.Nodes, at, added...)
}

// up makes the outputs of n of the rank ones in low.
func (t *Tuned) up(n *graph.Node, low, b *graph.Value) *graph.Value {
	if n.Op.Name != "Conv" && n.Op.Name != "ConvTranspose" {
		return t.Op("MatMul", nil, low, b)
	}
	attrs := graph.Attrs{"kernel_shape": ones[int64](len(b.Const.Shape) - 2), "group": int64(n.Attrs.Int("group", 1))}
	return t.Op("Conv", attrs, low, b)
}

// Merge adds the pairs of a trained copy of the graph to the weights beside them and
// takes them out: the same network in the form that it had. Without pairs it does
// nothing.
func (t *Tuned) Merge(g *graph.Graph, ops *graph.Table) error {
	if len(t.pairs) == 0 {
		return nil
	}
	byName := map[string]*graph.Value{}
	for _, n := range g.Nodes {
		for _, v := range append(slices.Clone(n.Inputs), n.Outputs...) {
			if v != nil {
				byName[v.Name] = v
			}
		}
	}
	for _, p := range t.pairs {
		if err := p.merge(byName); err != nil {
			return fault.Wrap(err, "tune.merge", fault.Internal, "weight %s", p.weight)
		}
		g.Replace(byName[p.sum], byName[p.plain])
	}
	return fault.From(pass.Dead().Run(g, ops), "tune.merge")
}

// merge is W + scale·B·A, each sum in float64.
func (p pair) merge(byName map[string]*graph.Value) error {
	var m [3]*tensor.Tensor
	for i, name := range []string{p.weight, p.a, p.b} {
		v := byName[name]
		if v == nil || v.Const == nil {
			return fmt.Errorf("%s is no constant of the graph", name)
		}
		var err error
		if m[i], err = v.Const.Tensor(); err != nil {
			return err
		}
	}
	w := m[0].Clone()
	p.form.add(w.F32(), m[1].F32(), m[2].F32(), float64(p.scale))
	byName[p.weight].Const = graph.ConstantOf(w)
	return nil
}

// add adds scale·B·A to w.
func (f form) add(w, a, b []float32, scale float64) {
	rank := len(a) / (f.outer * f.inner)
	row := make([]float64, f.inner)
	for d := range f.outer {
		first := d / (f.outer / f.parts) * f.out * rank // of the part's matrix in b
		for o := range f.out {
			clear(row)
			for r := range rank {
				up := b[first+o*rank+r]
				if f.turned {
					up = b[first+r*f.out+o]
				}
				for j, v := range a[(d*rank+r)*f.inner:][:f.inner] {
					row[j] += float64(up) * float64(v)
				}
			}
			for j, v := range row {
				at := (d*f.out+o)*f.inner + j
				w[at] = float32(float64(w[at]) + scale*v)
			}
		}
	}
}
