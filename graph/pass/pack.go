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
		packed := packings{}
		for _, n := range g.Nodes {
			if at, v, err := packed.bytes(n, p); err != nil {
				return err
			} else if v != nil {
				n.Inputs[at] = v
				continue
			}
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

// packings are the constants packed so far, each once.
type packings map[packing]*graph.Value

// bytes packs the matrix of a product of bytes, if n is one, and tells which input it is.
func (p packings) bytes(n *graph.Node, pool *kernel.Pool) (int, *graph.Value, error) {
	at, ok := byteMatrix(n)
	if !ok {
		return 0, nil, nil
	}
	key := packing{w: n.Inputs[at]}
	if p[key] == nil {
		v, err := packBytes(key.w, pool)
		if err != nil {
			return 0, nil, err
		}
		p[key] = v
	}
	return at, p[key], nil
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
