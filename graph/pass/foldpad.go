package pass

import (
	"maps"
	"slices"

	"tandem/graph"
	"tandem/tensor"
)

// FoldPad makes zeros that a Pad puts around an image the padding of the convolution that
// alone reads it, through a Transpose to channels first too. What it replaces is left to
// Dead.
func FoldPad() graph.Pass {
	return graph.Pass{Name: "fold-pad", Run: func(g *graph.Graph, ops *graph.Table) error {
		uses := g.Uses()
		only := func(v *graph.Value) *graph.Node {
			if len(uses[v]) != 1 || g.Kept(v) {
				return nil
			}
			return v.Def
		}
		changed := false
		for _, n := range g.Nodes {
			if n.Op != (graph.OpID{Name: "Conv"}) {
				continue
			}
			pad := only(n.Inputs[0])
			move := (*graph.Node)(nil)
			if pad != nil && pad.Op == (graph.OpID{Name: "Transpose"}) && slices.Equal(pad.Attrs.Ints("perm"), []int{0, 3, 1, 2}) {
				move, pad = pad, only(pad.Inputs[0])
			}
			if pad == nil || !padsInto(n, pad, move != nil) {
				continue
			}
			x := pad.Inputs[0]
			if move == nil {
				n.Inputs[0] = x
			} else {
				move.Inputs[0] = x
				s := x.Type.Shape
				move.Outputs[0].Type.Shape = graph.Shape{s[0], s[3], s[1], s[2]}
			}
			changed = true
		}
		if !changed {
			return nil
		}
		return Dead().Run(g, ops)
	}}
}

// padsInto adds what a Pad adds to the padding of a convolution, if it can.
func padsInto(conv, pad *graph.Node, last bool) bool {
	rank := len(pad.Outputs[0].Type.Shape)
	list, ok := zerosAround(pad, rank)
	if auto := conv.Attrs.String("auto_pad", "NOTSET"); !ok || auto != "NOTSET" && auto != "VALID" {
		return false
	}
	first := 2 // of the spatial dimensions
	if last {
		first = 1
	}
	own := conv.Attrs.Ints("pads")
	if own == nil {
		own = make([]int, 2*(rank-2))
	}
	pads := make([]int64, 0, len(own))
	for side := range 2 {
		for axis := range rank {
			amount := list[side*rank+axis]
			switch spatial := axis - first; {
			case amount < 0:
				return false
			case spatial >= 0 && spatial < rank-2:
				pads = append(pads, int64(own[side*(rank-2)+spatial]+amount))
			case amount != 0:
				return false
			}
		}
	}
	conv.Attrs = maps.Clone(conv.Attrs)
	delete(conv.Attrs, "auto_pad")
	conv.Attrs["pads"] = pads
	return true
}

// zerosAround are the amounts of a Pad of float32 with zeros, where they are known.
func zerosAround(pad *graph.Node, rank int) ([]int, bool) {
	if pad.Op != (graph.OpID{Name: "Pad"}) || !isFloat32(pad.Outputs[0]) || pad.Attrs.String("mode", "constant") != "constant" || pad.Input(3) != nil || pad.Attrs.Float("value", 0) != 0 {
		return nil, false
	}
	if v := pad.Input(2); v != nil {
		if zero, ok := number(v); !ok || zero != 0 {
			return nil, false
		}
	}
	list := pad.Attrs.Ints("pads")
	if v := pad.Input(1); v != nil {
		if v.Const == nil {
			return nil, false
		}
		t, err := v.Const.Tensor()
		if err != nil || t.DType() != tensor.Int64 {
			return nil, false
		}
		list = nil
		for _, n := range t.I64() {
			list = append(list, int(n))
		}
	}
	return list, len(list) == 2*rank
}
