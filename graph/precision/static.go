package precision

import (
	"math"
	"slices"

	"tandem/graph"
	"tandem/tensor"
)

// Convolutions are put between quantisers: what they read and give is rounded to bytes in
// steps that are fixed beforehand, by ranges. Sums and the greatest of a window, of what is
// in steps, are so too; what else reads such a value has it back as floats. A ReLU, or a
// clip, before a quantiser is what the ends of the steps do.

// static is the plan for one graph.
type static struct {
	*rewriter
	g     *graph.Graph
	uses  map[*graph.Value][]*graph.Node
	convs map[*graph.Node]Layer
	steps map[*graph.Value]*steps      // of values that are rounded
	takes map[*graph.Node]*graph.Value // whose activation, which then goes, ends here
	gone  map[*graph.Node]bool
	back  map[*graph.Value]*graph.Value // what a rounded value is as floats
}

// steps are a scale and a zero point, made constants when they are needed.
type steps struct {
	scale         float32
	zero          uint8
	scaleV, zeroV *graph.Value
}

// stepsOf are bytes without sign from the least to the greatest number.
func stepsOf(r Range) *steps {
	s := &steps{scale: (r.Hi - r.Lo) / 255}
	if !(s.scale > 0) || math.IsInf(float64(s.scale), 0) {
		s.scale = 1
	}
	s.zero = uint8(min(max(math.RoundToEven(float64(-r.Lo/s.scale)), 0), 255))
	return s
}

// leastGroup is the number of channels of a group below which a convolution has nothing
// to share: floats are as fast.
const leastGroup = 8

// static puts the convolutions of layers between quantisers.
func (w *rewriter) static(g *graph.Graph, layers map[*graph.Node]Layer) {
	s := &static{
		rewriter: w, g: g, uses: g.Uses(), convs: map[*graph.Node]Layer{}, steps: map[*graph.Value]*steps{},
		takes: map[*graph.Node]*graph.Value{}, gone: map[*graph.Node]bool{}, back: map[*graph.Value]*graph.Value{},
	}
	for _, n := range g.Nodes {
		s.plan(n, layers)
	}
	nodes := g.Nodes
	g.Nodes = nil
	for _, v := range g.Inputs {
		s.round(v)
	}
	for _, n := range nodes {
		if !s.gone[n] {
			s.write(n)
		}
	}
}

// plan decides what is rounded around n.
func (s *static) plan(n *graph.Node, layers map[*graph.Node]Layer) {
	l, ok := layers[n]
	switch {
	case ok && l.Kind == Convolution && s.roundable(l):
		s.convs[n] = l
		s.mark(n.Inputs[0])
		s.markResult(n)
	case n.Op == (graph.OpID{Name: "Add"}) && s.steps[n.Inputs[0]] != nil && s.steps[n.Inputs[1]] != nil && sameShape(n.Inputs[0], n.Inputs[1]):
		s.markResult(n)
	case n.Op == (graph.OpID{Name: "MaxPool"}) && s.steps[n.Inputs[0]] != nil && len(n.Outputs) == 1 && !s.g.Kept(n.Outputs[0]) && s.g.OpVersion(n) >= 12:
		s.steps[n.Outputs[0]] = s.steps[n.Inputs[0]]
	}
}

// roundable reports whether a convolution has constants and a range, and no small groups.
func (s *static) roundable(l Layer) bool {
	_, known := s.opt.Ranges[l.Node.Inputs[0].Name]
	bias := l.Node.Input(2)
	if bias != nil && (bias.Const == nil || bias.Const.DType != tensor.Float32 || bias.Const.Encoding != graph.Dense) {
		return false
	}
	return known && (l.Node.Attrs.Int("group", 1) == 1 || l.Weight.Const.Shape[1] >= leastGroup)
}

// mark rounds v, if there is a range.
func (s *static) mark(v *graph.Value) {
	if r, ok := s.opt.Ranges[v.Name]; ok && s.steps[v] == nil {
		s.steps[v] = stepsOf(r)
	}
}

// markResult rounds what n gives, after the activation that follows alone.
func (s *static) markResult(n *graph.Node) {
	y := n.Outputs[0]
	if u := s.uses[y]; len(u) == 1 && !s.g.Kept(y) && s.clips(u[0], y) && !s.g.Kept(u[0].Outputs[0]) {
		if _, ok := s.opt.Ranges[u[0].Outputs[0].Name]; ok {
			s.takes[n], s.gone[u[0]] = u[0].Outputs[0], true
			y = u[0].Outputs[0]
		}
	}
	if !s.g.Kept(y) {
		s.mark(y)
	}
}

// clips reports whether n does no more than the ends of steps do.
func (s *static) clips(n *graph.Node, y *graph.Value) bool {
	switch n.Op {
	case graph.OpID{Name: "Relu"}:
		return true
	case graph.OpID{Name: "Clip"}:
		lo, hi := float32(math.Inf(-1)), float32(math.Inf(1))
		if n.Attrs["min"] != nil || n.Attrs["max"] != nil || n.Inputs[0] != y {
			return false
		}
		for i, to := range []*float32{&lo, &hi} {
			v := n.Input(i + 1)
			if v == nil {
				continue
			}
			if v.Const == nil || v.Const.DType != tensor.Float32 || len(v.Const.Data) != 4 {
				return false
			}
			*to = floats(v.Const.Data)[0]
		}
		return lo == 0 && hi > 0 // the range that was seen ends there at the latest
	}
	return false
}

// write writes n, reading what is rounded, and rounds what it gives.
func (s *static) write(n *graph.Node) {
	var x *steps // of what a convolution reads
	if _, ok := s.convs[n]; ok {
		x = s.steps[n.Inputs[0]]
	}
	n.Inputs = slices.Clone(n.Inputs)
	for i, v := range n.Inputs {
		if back := s.back[v]; v != nil && back != nil {
			n.Inputs[i] = back
		}
	}
	if l, ok := s.convs[n]; ok {
		s.weights(n, l, x)
	}
	if y := s.takes[n]; y != nil {
		n.Outputs = []*graph.Value{y}
		y.Def = n
	}
	s.g.Nodes = append(s.g.Nodes, n)
	for _, v := range n.Outputs {
		if v != nil {
			s.round(v)
		}
	}
}

// weights gives a convolution its weights and its bias in bytes and whole numbers.
func (s *static) weights(n *graph.Node, l Layer, x *steps) {
	c := s.channels(l)
	if c == nil {
		return
	}
	n.Inputs[1] = s.b.Op("DequantizeLinear", graph.Attrs{"axis": int64(0)}, c[0], c[1])
	if bias := n.Input(2); bias != nil {
		values, scales := tensor.New(tensor.Int32, bias.Const.Shape.Len()), tensor.New(tensor.Float32, bias.Const.Shape.Len())
		for i, b := range floats(bias.Const.Data) {
			scale := x.scale * floats(c[1].Const.Data)[i]
			scales.F32()[i] = scale
			tensor.Data[int32](values)[i] = int32(min(max(math.RoundToEven(float64(b)/float64(scale)), math.MinInt32), math.MaxInt32))
		}
		n.Inputs[2] = s.b.Op("DequantizeLinear", graph.Attrs{"axis": int64(0)}, s.b.Const(bias.Name+".int32", values), s.b.Const(bias.Name+".scale", scales))
	}
}

// round writes v in steps and back, if it is to be rounded.
func (s *static) round(v *graph.Value) {
	st := s.steps[v]
	if st == nil {
		return
	}
	if st.scaleV == nil {
		scale := tensor.New(tensor.Float32)
		scale.F32()[0] = st.scale
		zero := tensor.New(tensor.Uint8)
		zero.Bytes()[0] = st.zero
		st.scaleV, st.zeroV = s.b.Const(v.Name+".scale", scale), s.b.Const(v.Name+".zero", zero)
	}
	q := s.b.Op("QuantizeLinear", nil, v, st.scaleV, st.zeroV)
	s.back[v] = s.b.Op("DequantizeLinear", nil, q, st.scaleV, st.zeroV)
}

// sameShape reports whether two values certainly have one shape.
func sameShape(a, b *graph.Value) bool {
	return a.Type.Known() && b.Type.Known() && a.Type.Shape.Equal(b.Type.Shape)
}
