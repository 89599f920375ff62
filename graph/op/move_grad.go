package op

import (
	"fmt"
	"maps"

	"tandem/graph"
	"tandem/graph/op/move"
	"tandem/tensor"
)

// gradPad: padding with a value is undone by padding with as much less.
func gradPad(g *graph.Gradient) error {
	if g.Node.Attrs.String("mode", "constant") != "constant" || g.Needs(2) || g.In(1) == nil {
		return move.Gradient(0, 2)(g)
	}
	g.Set(0, g.Again(g.Node.Attrs, g.Out(0), g.Op("Neg", nil, g.In(1)), nil, g.In(3)))
	return nil
}

// gradTopK: the indices tell where the values were.
func gradTopK(g *graph.Gradient) error {
	indices := g.Node.Output(1)
	if indices == nil {
		return fmt.Errorf("the gradient needs the output of indices")
	}
	if g.Out(0) == nil {
		return nil
	}
	axis := graph.Attrs{"axis": int64(g.Node.Attrs.Int("axis", -1))}
	from := g.Op("GatherElements", axis, g.Private("Number", nil, g.In(0)), indices)
	g.Set(0, g.Private("Return", nil, g.Out(0), from, g.In(0)))
	return nil
}

// gradMaxUnpool reads the gradient where the indices say.
func gradMaxUnpool(g *graph.Gradient) error {
	if g.In(2) != nil {
		return fmt.Errorf("an output_shape of its own has no gradient")
	}
	flat := g.Op("Reshape", nil, g.Out(0), g.Ints("flat", -1))
	g.Set(0, g.Op("Gather", nil, flat, g.In(1)))
	return nil
}

// scattering is how ScatterElements or ScatterND is undone: gather reads at the
// indices what scatter wrote there.
type scattering struct {
	scatter, gather string
}

// grad is the gradient rule: where an update replaced an element, only the update
// counts; where it was added, both do; of the greatest or least, those that equal it
// share the gradient.
func (s scattering) grad(g *graph.Gradient) error {
	reduction := g.Node.Attrs.String("reduction", "none")
	axis := graph.Attrs{}
	if s.gather == "GatherElements" {
		axis["axis"] = int64(g.Node.Attrs.Int("axis", 0))
	}
	gather := func(x *graph.Value) *graph.Value { return g.Op(s.gather, axis, x, g.In(1)) }
	switch reduction {
	case "none":
		return move.Gradient(0, 2)(g)
	case "add":
		if g.Needs(0) {
			g.Set(0, g.Out(0))
		}
		if g.Needs(2) {
			g.Set(2, gather(g.Out(0)))
		}
		return nil
	case "mul":
		s.gradProduct(g, axis, gather)
		return nil
	case "max", "min":
	default:
		return fmt.Errorf("reduction %q has no gradient", reduction)
	}
	float := graph.Attrs{"to": int64(tensor.Float32)}
	kept := g.Op("Cast", float, g.Op("Equal", nil, g.In(0), g.Node.Outputs[0]))
	put := g.Op("Cast", float, g.Op("Equal", nil, g.In(2), gather(g.Node.Outputs[0])))
	add := maps.Clone(axis)
	add["reduction"] = "add"
	share := g.Op("Div", nil, g.Out(0), g.Op(s.scatter, add, kept, g.In(1), put))
	if g.Needs(0) {
		g.Set(0, g.Op("Mul", nil, share, kept))
	}
	if g.Needs(2) {
		g.Set(2, g.Op("Mul", nil, gather(share), put))
	}
	return nil
}

// gradProduct: an element's gradient is multiplied with its updates; an update's with the
// element and the other updates there, which is the result divided by it. Of a place with
// one update that is zero only that one has a gradient, the product of all others.
func (s scattering) gradProduct(g *graph.Gradient, axis graph.Attrs, gather func(*graph.Value) *graph.Value) {
	with := func(reduction string) graph.Attrs {
		a := maps.Clone(axis)
		a["reduction"] = reduction
		return a
	}
	scatter := func(reduction string, x, updates *graph.Value) *graph.Value {
		return g.Op(s.scatter, with(reduction), x, g.In(1), updates)
	}
	updates, dy := g.In(2), g.Out(0)
	if g.Needs(0) {
		g.Set(0, scatter("mul", dy, updates))
	}
	if !g.Needs(2) {
		return
	}
	zero, one := g.Scalar("zero", 0), g.Scalar("one", 1)
	isZero := g.Op("Equal", nil, updates, zero)
	others := g.Op("Where", nil, isZero, one, updates)
	none := g.Op("Sub", nil, g.In(0), g.In(0))
	zeros := gather(scatter("add", none, g.Op("Cast", graph.Attrs{"to": int64(tensor.Float32)}, isZero)))
	rest := gather(scatter("mul", g.In(0), others)) // the product of what is not zero
	alone := g.Op("Where", nil, g.Op("Equal", nil, zeros, one), rest, zero)
	slope := g.Op("Where", nil, isZero, alone, g.Op("Div", nil, gather(g.Node.Outputs[0]), others))
	g.Set(2, g.Op("Mul", nil, gather(dy), slope))
}

// gradCumSum adds up from the other end.
func gradCumSum(g *graph.Gradient) error {
	attrs := maps.Clone(g.Node.Attrs)
	if attrs == nil {
		attrs = graph.Attrs{}
	}
	attrs["reverse"] = 1 - int64(attrs.Int("reverse", 0))
	g.Set(0, g.Again(attrs, g.Out(0), g.In(1)))
	return nil
}
