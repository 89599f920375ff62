package tune

import (
	"path"
	"slices"
	"strings"

	"tandem/fault"
	"tandem/graph"
	"tandem/tensor"
)

// weightInputs are the inputs of operators that are parameters where they are
// constants. Running averages of normalisations are not.
func weightInputs(n *graph.Node) []int {
	if n.Op.Domain != "" {
		return nil
	}
	switch n.Op.Name {
	case "MatMul":
		return []int{0, 1}
	case "Conv", "ConvTranspose", "Gemm", "LayerNormalization", "GroupNormalization", "InstanceNormalization":
		return []int{1, 2}
	case "BatchNormalization":
		return []int{1, 2}
	case "LSTM", "GRU", "RNN":
		return []int{1, 2, 3}
	case "RMSNormalization", "PRelu":
		return []int{1}
	case "Gather":
		return []int{0}
	case "Add", "Mul":
		return []int{0, 1}
	}
	return nil
}

// isWeight tells whether input i of n is a parameter: an embedding is a matrix, and
// what is added or multiplied is one number a channel. Larger things that are added
// are masks and positions, of which only Start.Also tells which are learned.
func isWeight(n *graph.Node, i int) bool {
	v := n.Input(i)
	if v == nil || v.Const == nil || v.Const.DType != tensor.Float32 || v.Const.Encoding != graph.Dense {
		return false
	}
	long := 0
	for _, d := range v.Const.Shape {
		if d > 1 {
			long++
		}
	}
	switch n.Op.Name {
	case "Add", "Mul":
		return long == 1
	case "Gather":
		return len(v.Const.Shape) == 2 && n.Attrs.Int("axis", 0) == 0
	case "MatMul":
		return len(v.Const.Shape) >= 2
	}
	return true
}

// Params are the constants of a graph that training may change, in the order of their
// first use.
func Params(g *graph.Graph) []*graph.Value {
	seen := map[*graph.Value]bool{}
	var list []*graph.Value
	for _, n := range g.Nodes {
		for _, i := range weightInputs(n) {
			if isWeight(n, i) && !seen[n.Inputs[i]] {
				seen[n.Inputs[i]] = true
				list = append(list, n.Inputs[i])
			}
		}
	}
	return list
}

// nameWeights calls the weight of a product after the bias that is added to it, where
// the exporter has made up a name: layer.bias makes it layer.weight.
func nameWeights(g *graph.Graph) {
	taken := map[string]bool{}
	for _, v := range g.Constants() {
		taken[v.Name] = true
	}
	uses := g.Uses()
	for _, n := range g.Nodes {
		if n.Op != (graph.OpID{Name: "MatMul"}) || !isWeight(n, 1) || strings.ContainsAny(n.Inputs[1].Name, "./") {
			continue
		}
		for _, next := range uses[n.Outputs[0]] {
			if next.Op != (graph.OpID{Name: "Add"}) {
				continue
			}
			for i := range 2 {
				prefix, isBias := strings.CutSuffix(next.Inputs[i].Name, ".bias")
				if name := prefix + ".weight"; isBias && isWeight(next, i) && !taken[name] {
					n.Inputs[1].Name, taken[name] = name, true
				}
			}
		}
	}
}

// listed are the constants of numbers that nodes of g read, but for what normalisations
// keep: what training can change by name.
func listed(g *graph.Graph) []*graph.Value {
	kept := map[*graph.Value]bool{}
	for _, n := range g.Nodes {
		if n.Op == (graph.OpID{Name: "BatchNormalization"}) {
			kept[n.Input(3)], kept[n.Input(4)] = true, true
		}
	}
	return slices.DeleteFunc(g.Constants(), func(v *graph.Value) bool {
		return v.Const.DType != tensor.Float32 || v.Const.Encoding != graph.Dense || kept[v]
	})
}

// Weight is a constant by which patterns of a spec can name it.
type Weight struct {
	Name   string `json:"name"`
	Shape  string `json:"shape"`
	Node   string `json:"node"`   // the operator that reads it first
	Makes  string `json:"makes"`  // that node's first result: another name for both
	Trains bool   `json:"trains"` // by itself, else only where from.also names it
	Pair   bool   `json:"pair"`   // it can have a low-rank pair
}

// Weights are those of the network, in the order of their use.
func (n *Network) Weights() []Weight {
	params := Params(n.Graph)
	var list []Weight
	for _, v := range listed(n.Graph) {
		w := Weight{Name: v.Name, Shape: graph.Shape(graph.Dims(v.Const.Shape...)).String(), Trains: slices.Contains(params, v)}
		for _, node := range n.Graph.Nodes {
			i := slices.Index(node.Inputs, v)
			if i < 0 {
				continue
			}
			w.Node = node.Op.String()
			for _, o := range slices.Backward(node.Outputs) {
				if o != nil {
					w.Makes = o.Name
				}
			}
			_, w.Pair = formOf(node, i)
			break
		}
		list = append(list, w)
	}
	return list
}

// addAlso adds the constants that patterns name to what is kept and trained.
func (t *Tuned) addAlso(patterns []string, all []*graph.Value) error {
	const op = "tune.also"
	for _, p := range patterns {
		fits := false
		for _, v := range all {
			ok, err := Matches(p, v.Name)
			if err != nil {
				return fault.Wrap(err, op, fault.Invalid, "from.also")
			}
			if fits = fits || ok; ok && !slices.Contains(t.Kept, v) {
				t.Kept = append(t.Kept, v)
			}
		}
		if !fits {
			return fault.New(op, fault.Invalid, "pattern %q of from.also names no constant of numbers before the head", p).
				Try("tandem inspect --weights lists what patterns can name")
		}
	}
	return nil
}

// matchesAny tells whether one of some names fits one of the patterns.
func matchesAny(patterns, names []string) (bool, error) {
	for _, p := range patterns {
		for _, name := range names {
			if ok, err := Matches(p, name); ok || err != nil {
				return ok, err
			}
		}
	}
	return false, nil
}

// Matches tells whether a name fits a pattern as path.Match has it, but that * stands
// for slashes too, which are part of many exporters' names.
func Matches(pattern, name string) (bool, error) {
	plain := func(s string) string { return strings.ReplaceAll(s, "/", "|") }
	ok, err := path.Match(plain(pattern), plain(name))
	if err != nil {
		return false, fault.Wrap(err, "tune.match", fault.Invalid, "pattern %q", pattern)
	}
	return ok, nil
}
