package pass

import (
	"slices"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// What ChannelsLast does with bytes.

// byteConv reports whether the lowered form of QLinearConv computes n.
func byteConv(n *graph.Node) bool {
	x, w := n.Inputs[0], n.Inputs[3]
	s := steps{w, n.Inputs[4], n.Inputs[5]}
	one := func(i int) bool { return n.Inputs[i].Type.Shape.Len().Is(1) }
	return imageLike(x) && len(w.Type.Shape) == len(x.Type.Shape) && s.known() && centred(s) && w.Const.Encoding == graph.Dense &&
		one(1) && one(2) && one(6) && one(7) && isFloat32(n.Inputs[1]) && isFloat32(n.Inputs[6])
}

// byteConv lowers a QLinearConv.
func (l *lowering) byteConv(n *graph.Node) error {
	w := n.Inputs[3]
	key := packedConv{w, n.Attrs.Int("group", 1), 0}
	if l.packed[key] == nil {
		var err error
		if l.packed[key], err = l.packConv(key); err != nil {
			return err
		}
	}
	in := slices.Clone(n.Inputs)
	in[0], in[3] = l.lastOf(n.Inputs[0]), l.packed[key]
	l.set(n.Outputs[0], l.b.Private("QLinearConvLast", n.Attrs, in...))
	return nil
}

// combine lowers the sum or product of two images of bytes, one of which may have one
// pixel.
func (l *lowering) combine(n *graph.Node) bool {
	a, b := n.Inputs[0], n.Inputs[3]
	if !l.virtual[a] && !l.virtual[b] || !imageLike(a) || !sameShape(a, b) && !onePixelOf(a, b) && !onePixelOf(b, a) {
		return false
	}
	in := slices.Clone(n.Inputs)
	in[0], in[3] = l.lastOf(a), l.lastOf(b)
	l.set(n.Outputs[0], l.b.Node(n.Op, 1, n.Attrs, in...)[0])
	return true
}

// onePixelOf reports whether a has the images and channels of b, and one pixel.
func onePixelOf(a, b *graph.Value) bool {
	s, of := a.Type.Shape, b.Type.Shape
	return imageLike(a) && imageLike(b) && len(s) == len(of) && s[:2].Equal(of[:2]) &&
		!slices.ContainsFunc(s[2:], func(d graph.Dim) bool { return !d.Is(1) })
}

// packByteConv packs the weights t of a QLinearConv with a window of kh × kw.
func (l *lowering) packByteConv(key packedConv, name string, t *tensor.Tensor, kh, kw int) (*graph.Value, error) {
	oc, ic := t.Dim(0), t.Dim(1)
	data, err := l.packing(name, kernel.PackedByteConvLen(oc, ic, kh, kw, key.groups, l.pool), func(dst []byte) {
		kernel.PackByteConv(l.pool, dst, t.Bytes(), oc, ic, kh, kw, key.groups)
	})
	if err != nil {
		return nil, err
	}
	c := &graph.Constant{DType: t.DType(), Shape: t.Shape(), Encoding: graph.PanelBytes, Data: data}
	return &graph.Value{Name: key.w.Name + ".packed", Type: key.w.Type, Const: c}, nil
}
