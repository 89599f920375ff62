package precision

import (
	"slices"
	"unsafe"

	"tandem/graph"
	"tandem/graph/pass"
	"tandem/tensor"
)

// bfloat16 writes a layer whose operands are rounded to bfloat16 and back: the weights are
// a constant of bfloat16, which is cast to float32, and what they are multiplied with is
// cast there and back. So products and sums are of float32, as processors with dot products
// of bfloat16 compute them; MatMul on bfloat16 would round its result once more, and
// onnxruntime 1.32 does not have it on processors. Of a convolution that takes less time by
// Winograd's filtering, which is of float32, only the weights are rounded; one of several
// groups, or of channels that are no pairs, stays as it is.
func (w *rewriter) bfloat16(l Layer) *graph.Value {
	if l.Kind == Convolution && !pass.RoundsConv(l.Node, l.Weight.Const.Shape) {
		return nil
	}
	t, err := l.Weight.Const.Tensor()
	if err != nil {
		w.b.Fail(err)
		return nil
	}
	c := w.constants(weightOf{l.Weight, string(BF16)}, []part{{tensor.BFloat16, t.Shape()}}, func(p [][]byte) {
		to, x := unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(p[0]))), t.Len()), t.F32()
		w.opt.Pool.For(len(x), 1<<14, func(lo, hi, _ int) {
			for i := lo; i < hi; i++ {
				to[i] = tensor.BFloat16Bits(x[i])
			}
		})
	})
	if c == nil {
		return nil
	}
	float := func(v *graph.Value) *graph.Value { return w.b.Op("Cast", graph.Attrs{"to": int64(tensor.Float32)}, v) }
	if l.Kind == Table {
		return float(w.b.Op("Gather", l.Node.Attrs, c[0], l.Node.Inputs[1]))
	}
	in := slices.Clone(l.Node.Inputs)
	in[1] = float(c[0])
	if l.Kind != Convolution || !pass.FilteredConv(l.Node) {
		x := in[0]
		if w.halves[x] == nil {
			w.halves[x] = float(w.b.Op("Cast", graph.Attrs{"to": int64(tensor.BFloat16)}, x))
		}
		in[0] = w.halves[x]
	}
	return w.b.Node(l.Node.Op, 1, l.Node.Attrs, in...)[0]
}
