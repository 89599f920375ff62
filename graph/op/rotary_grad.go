package op

import (
	"fmt"
	"slices"

	"tandem/graph"
)

// grad turns back: a rotation's transpose is the rotation by the opposite angle.
func (in rotaryInputs) grad(g *graph.Gradient) error {
	if g.Needs(in.cos) || g.Needs(in.sin) {
		return fmt.Errorf("the tables of cosines and sines have no gradient")
	}
	inputs := slices.Clone(g.Node.Inputs)
	inputs[0], inputs[in.sin] = g.Out(0), g.Op("Neg", nil, g.In(in.sin))
	g.Set(0, g.Again(g.Node.Attrs, inputs...))
	return nil
}
