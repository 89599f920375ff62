package tune

import (
	"path"
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
// are masks and positions, which stay as they are.
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
