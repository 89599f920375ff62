package tune

import (
	"fmt"
	"math"
	"slices"

	"tandem/fault"
	"tandem/graph"
	"tandem/graph/pass"
	"tandem/kernel"
	"tandem/nn"
	"tandem/tensor"
)

// pair is what LoRA adds beside a product with a weight W [in, out], or [out, in] where
// transposed: sum = product + scale·(x·A)·B with A [in, rank] and B [rank, out]. Names
// find the values in copies of the graph.
type pair struct {
	weight, a, b, product, sum string
	scale                      float32
	transposed                 bool
}

// Suffixes of the names of pairs.
const (
	suffixA = ".lora_a"
	suffixB = ".lora_b"
)

// addPairs puts a pair beside every product that s names, and leaves nothing else of
// the kept part to train. B is 0 in the beginning: so is what the pairs add.
func (t *Tuned) addPairs(s LoRA) error {
	const op = "tune.lora"
	uses := t.G.Uses()
	t.Kept = nil
	for _, n := range slices.Clone(t.G.Nodes) {
		ok, err := wanted(n, s.Patterns)
		if err != nil {
			return fault.Wrap(err, op, fault.Invalid, "from.lora.patterns")
		}
		if !ok {
			continue
		}
		if w := n.Inputs[1]; len(uses[w]) > 1 {
			return fault.New(op, fault.Unsupported, "weight %s is used %d times: a pair beside each could not be merged", w.Name, len(uses[w]))
		}
		if err := t.addPair(n, s); err != nil {
			return fault.Wrap(err, op, fault.Invalid, "a pair cannot be put beside %v", n)
		}
	}
	if len(t.pairs) == 0 {
		return fault.New(op, fault.Invalid, "from.lora.patterns name no product with a weight").
			Try("tandem inspect shows the nodes and weights of a model")
	}
	return nil
}

// wanted tells whether n multiplies with a weight that a pattern names, by the weight's
// name or its own.
func wanted(n *graph.Node, patterns []string) (bool, error) {
	product := n.Op == graph.OpID{Name: "MatMul"} || n.Op == graph.OpID{Name: "Gemm"} && n.Attrs.Int("transA", 0) == 0
	if !product || !isWeight(n, 1) || len(n.Inputs[1].Const.Shape) != 2 {
		return false, nil
	}
	if len(patterns) == 0 {
		return true, nil
	}
	for _, p := range patterns {
		for _, name := range []string{n.Inputs[1].Name, n.Name, n.Outputs[0].Name} {
			if ok, err := Matches(p, name); ok || err != nil {
				return ok, err
			}
		}
	}
	return false, nil
}

func (t *Tuned) addPair(n *graph.Node, s LoRA) error {
	w, product := n.Inputs[1], n.Outputs[0]
	p := pair{weight: w.Name, product: product.Name, transposed: n.Op.Name == "Gemm" && n.Attrs.Int("transB", 0) == 1}
	in, out := w.Const.Shape[0], w.Const.Shape[1]
	if p.transposed {
		in, out = out, in
	}
	p.scale = 1
	if s.Alpha > 0 {
		p.scale = s.Alpha / float32(s.Rank)
	}
	if s.Rank > min(in, out) {
		return fmt.Errorf("rank %d is more than a weight %d by %d has", s.Rank, in, out)
	}
	// A is drawn as PyTorch draws a linear layer's weight: within 1/√in.
	down := t.Param(w.Name+suffixA, func(dst []float32, fanIn int, seed, stream uint64) {
		kernel.Uniform(dst, seed, stream)
		bound := float32(1 / math.Sqrt(float64(fanIn)))
		for i, u := range dst {
			dst[i] = (2*u - 1) * bound
		}
	}, in, in, s.Rank)
	up := t.Param(w.Name+suffixB, nn.Zeros, s.Rank, s.Rank, out)
	p.a, p.b = down.Name, up.Name
	// The new nodes go behind the product, whose readers then read the sum.
	at := slices.Index(t.G.Nodes, n)
	before := len(t.G.Nodes)
	low := t.Op("MatMul", nil, t.Op("MatMul", nil, n.Inputs[0], down), up)
	sum := t.Op("Add", nil, product, t.Op("Mul", nil, low, t.Const("lora_scale", tensor.Scalar(p.scale))))
	if t.Err() != nil {
		return t.Err()
	}
	added := slices.Clone(t.G.Nodes[before:])
	t.G.Nodes = t.G.Nodes[:before]
	t.G.Replace(product, sum)
	sum.Def.Inputs[0] = product
	t.G.Nodes = slices.Insert(t.G.Nodes, at+1, added...)
	p.sum = sum.Name
	t.pairs = append(t.pairs, p)
	return nil
}

// moved is the value that readers of v read now: the sum, if LoRA added to it.
func (t *Tuned) moved(v *graph.Value) *graph.Value {
	for _, p := range t.pairs {
		if p.product != v.Name {
			continue
		}
		for _, n := range t.G.Nodes {
			if n.Outputs[0].Name == p.sum {
				return n.Outputs[0]
			}
		}
	}
	return v
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
		g.Replace(byName[p.sum], byName[p.product])
	}
	return fault.From(pass.Dead().Run(g, ops), "tune.merge")
}

// merge is W + scale·A·B, or its transpose, in float64.
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
	in, rank, out := m[1].Dim(0), m[1].Dim(1), m[2].Dim(1)
	a, b, dst := m[1].F32(), m[2].F32(), w.F32()
	row := make([]float64, out)
	for i := range in {
		clear(row)
		for r := range rank {
			for j, v := range b[r*out : (r+1)*out] {
				row[j] += float64(a[i*rank+r]) * float64(v)
			}
		}
		for j, v := range row {
			at := i*out + j
			if p.transposed {
				at = j*in + i
			}
			dst[at] = float32(float64(dst[at]) + float64(p.scale)*v)
		}
	}
	byName[p.weight].Const = graph.ConstantOf(w)
	return nil
}
