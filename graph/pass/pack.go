package pass

import (
	"unsafe"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// Pack rewrites constant right-hand matrices into the panels that the matrix
// kernel of this processor reads, once instead of in every run.
func Pack(p *kernel.Pool) graph.Pass {
	return graph.Pass{Name: "pack", Run: func(g *graph.Graph, _ *graph.Table) error {
		packed := map[packing]*graph.Value{}
		for _, n := range g.Nodes {
			if n.Op.Name != "Gemm" && n.Op.Name != "FusedGemm" && n.Op != linear {
				continue
			}
			w := n.Inputs[1]
			if w.Const == nil || w.Const.Encoding != graph.Dense || w.Const.DType != tensor.Float32 {
				continue
			}
			key := packing{w, n.Attrs.Int("transB", 0) != 0}
			if packed[key] == nil {
				v, err := packPanels(w, key.trans, p.ISA())
				if err != nil {
					return err
				}
				packed[key] = v
			}
			n.Inputs[1] = packed[key]
		}
		return nil
	}}
}

type packing struct {
	w     *graph.Value
	trans bool
}

func packPanels(w *graph.Value, trans bool, isa kernel.ISA) (*graph.Value, error) {
	t, err := w.Const.Tensor()
	if err != nil {
		return nil, err
	}
	k, n := t.Dim(0), t.Dim(1)
	if trans {
		k, n = n, k
	}
	data := tensor.AlignedBytes(4 * kernel.PackedLen(k, n, isa))
	dst := unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(data))), len(data)/4)
	kernel.PackB(dst, t.F32(), k, n, t.Dim(1), trans, isa)
	c := &graph.Constant{DType: tensor.Float32, Shape: t.Shape(), Encoding: graph.PanelB, Data: data}
	return &graph.Value{Name: w.Name + ".packed", Type: w.Type, Const: c}, nil
}
