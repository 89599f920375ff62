package precision

import (
	"strings"

	"tandem/fault"
	"tandem/graph"
	"tandem/tensor"
)

// Form is how a network is rounded.
type Form string

const (
	// Int8 multiplies bytes: weights with a scale for each column, rows of activations in
	// steps of their own. Convolutions take ranges, which Calibrate finds.
	Int8 Form = "int8"
	// BF16 multiplies numbers that are rounded to bfloat16, and adds float32.
	BF16 Form = "bf16"
	// Int8Weights keeps weights in blocks of 32 bytes; activations are floats between
	// layers, and rounded in blocks of 32 within a product.
	Int8Weights Form = "int8-weights"
	// Int4Weights is the same with weights of four bits.
	Int4Weights Form = "int4-weights"
)

// Forms are all of them.
func Forms() []Form { return []Form{BF16, Int8, Int8Weights, Int4Weights} }

// Parse reads the name of a form.
func Parse(name string) (Form, error) {
	const op = "precision.parse"
	var names []string
	for _, f := range Forms() {
		if strings.EqualFold(name, string(f)) {
			return f, nil
		}
		names = append(names, string(f))
	}
	return "", fault.New(op, fault.Invalid, "no precision is called %.40q", name).Try("give one of " + strings.Join(names, ", "))
}

// leastWeights is the number of weights from which on a layer is rounded: smaller ones
// cost nothing as they are.
const leastWeights = 4096

// Layer is a node with constant weights.
type Layer struct {
	Node   *graph.Node
	Weight *graph.Value
	Kind   Kind
}

// Kind is what a layer does with its weights.
type Kind uint8

const (
	Product Kind = iota // MatMul or Gemm: x [..., K] times weights [K, N]
	Table               // Gather of rows
	Convolution
)

// Name tells layers of one graph apart.
func (l Layer) Name() string {
	if l.Node.Name != "" {
		return l.Node.Name
	}
	return l.Node.Outputs[0].Name
}

// Layers are those of a graph, not of graphs within its nodes, whose weights are large
// enough to be rounded. Types must be known.
func Layers(g *graph.Graph) []Layer {
	var list []Layer
	for _, n := range g.Nodes {
		if l, ok := layerOf(n); ok && len(n.Outputs) == 1 && l.Weight.Const.Shape.Len() >= leastWeights {
			list = append(list, l)
		}
	}
	return list
}

func layerOf(n *graph.Node) (Layer, bool) {
	if n.Op.Domain != "" {
		return Layer{}, false
	}
	switch n.Op.Name {
	case "MatMul", "Gemm":
		l := Layer{n, n.Inputs[1], Product}
		x := n.Inputs[0].Type
		ok := isWeight(l.Weight, 2) && x.Known() && x.DType == tensor.Float32 && len(x.Shape) >= 2
		if n.Op.Name == "Gemm" && (n.Attrs.Int("transA", 0) != 0 || n.Input(2) != nil && n.Attrs.Float("beta", 1) != 1) {
			ok = false
		}
		return l, ok
	case "Gather":
		l := Layer{n, n.Inputs[0], Table}
		return l, isWeight(l.Weight, 2) && n.Attrs.Int("axis", 0) == 0
	case "Conv":
		l := Layer{n, n.Inputs[1], Convolution}
		return l, isWeight(l.Weight, 3) || isWeight(l.Weight, 4)
	}
	return Layer{}, false
}

// isWeight reports whether v is a dense constant of float32 of that rank.
func isWeight(v *graph.Value, rank int) bool {
	return v != nil && v.Const != nil && v.Const.DType == tensor.Float32 && v.Const.Encoding == graph.Dense && len(v.Const.Shape) == rank
}
