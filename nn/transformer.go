package nn

import (
	"fmt"

	"tandem/graph"
	"tandem/tensor"
)

// Positions adds a learned vector for each step to x [batch, steps, width]: steps must
// be known.
type Positions struct{}

func (Positions) Build(b *Builder, x *graph.Value) *graph.Value {
	name := b.scope("positions")
	width, ok := size(b, name, 3, -1, x)
	steps, known := size(b, name, 3, 1, x)
	if !ok || !known {
		return x
	}
	index := tensor.New(tensor.Int64, steps)
	for i := range index.I64() {
		index.I64()[i] = int64(i)
	}
	table := b.Param(name+".weight", Normal(0.02), Fan{width, width, steps, width}, steps, width)
	return b.Op("Add", nil, x, b.Op("Gather", nil, table, b.Const("steps", index)))
}

// Transformer is a stack of blocks of attention and two dense layers on x [batch, steps,
// width], each normalised before and added to what it takes, with a normalisation at the
// end (Radford et al., 2019).
type Transformer struct {
	Blocks  int
	Heads   int
	Hidden  int     // units of the first dense layer; 0 means 4·width
	Causal  bool    // a step sees those before it only
	Dropout float32 // of what each half of a block adds
}

func (l Transformer) Build(b *Builder, x *graph.Value) *graph.Value {
	width, ok := size(b, "transformer", 3, -1, x)
	if !ok || !positive(b, "transformer blocks and heads", l.Blocks, l.Heads) {
		return x
	}
	hidden := l.Hidden
	if hidden == 0 {
		hidden = 4 * width
	}
	if hidden < 0 || !(l.Dropout >= 0 && l.Dropout < 1) {
		b.Fail(fmt.Errorf("transformer: hidden %d must be positive, and dropout %v in [0,1)", l.Hidden, l.Dropout))
		return x
	}
	var layers Sequential
	for range l.Blocks {
		layers = append(layers,
			l.half(Attention{Heads: l.Heads, Causal: l.Causal}),
			l.half(Dense{Units: hidden, Activation: GELU}, Dense{Units: width}))
	}
	return append(layers, LayerNorm{}).Build(b, x)
}

// half adds what layers make of the normalised input to the input.
func (l Transformer) half(layers ...Layer) Layer {
	all := append(Sequential{LayerNorm{}}, layers...)
	if l.Dropout > 0 {
		all = append(all, Dropout{l.Dropout})
	}
	return Residual{Layers: all}
}
