package pass

import (
	"fmt"
	"unsafe"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// Pack rewrites constant right-hand matrices into the panels that the matrix
// kernel of this processor reads, once instead of in every run. Which inputs those
// are, the operators tell.
func Pack(p *kernel.Pool) graph.Pass {
	return graph.Pass{Name: "pack", Run: func(g *graph.Graph, ops *graph.Table) error {
		packed := map[packing]*graph.Value{}
		for _, n := range g.Nodes {
			op, err := ops.Of(g, n)
			if err != nil || op.Panels == nil {
				continue // compiling tells what is not known
			}
			for _, panel := range op.Panels(n) {
				w := n.Input(panel.In)
				if w == nil || w.Const == nil || w.Const.Encoding != graph.Dense {
					continue
				}
				key := packing{w, panel.Transposed}
				if packed[key] == nil {
					if packed[key], err = packMatrix(w, key.trans, p); err != nil {
						return err
					}
				}
				n.Inputs[panel.In] = packed[key]
			}
		}
		return nil
	}}
}

type packing struct {
	w     *graph.Value
	trans bool
}

// packMatrix packs a matrix of floats or of bytes; others stay as they are.
func packMatrix(w *graph.Value, trans bool, p *kernel.Pool) (*graph.Value, error) {
	switch w.Const.DType {
	case tensor.Float32:
		return packPanels(w, trans, p.ISA())
	case tensor.Int8, tensor.Uint8:
		return packBytes(w, trans, p)
	}
	return w, nil
}

// packPanels packs a matrix, or the matrices of which w is a list, one by one.
func packPanels(w *graph.Value, trans bool, isa kernel.ISA) (*graph.Value, error) {
	t, err := w.Const.Tensor()
	if err != nil {
		return nil, err
	}
	rank := t.Rank()
	if rank != 2 && rank != 3 {
		return nil, fmt.Errorf("weight %s of shape %v is no matrix", w.Name, t.Shape())
	}
	count, ld := 1, t.Dim(rank-1)
	if rank == 3 {
		count = t.Dim(0)
	}
	k, n := t.Dim(rank-2), ld
	if trans {
		k, n = n, k
	}
	size := kernel.PackedLen(k, n, isa)
	data := tensor.AlignedBytes(4 * count * size)
	dst := unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(data))), len(data)/4)
	for i := range count {
		kernel.PackB(dst[i*size:], t.F32()[i*k*n:], k, n, ld, trans, isa)
	}
	c := &graph.Constant{DType: tensor.Float32, Shape: t.Shape(), Encoding: graph.PanelB, Data: data}
	return &graph.Value{Name: w.Name + ".packed", Type: w.Type, Const: c}, nil
}

func packBytes(w *graph.Value, trans bool, p *kernel.Pool) (*graph.Value, error) {
	t, err := w.Const.Tensor()
	if err != nil {
		return nil, err
	}
	k, n := t.Dim(0), t.Dim(1)
	if trans {
		k, n = n, k
	}
	data := tensor.AlignedBytes(kernel.PackedByteLen(k, n, p))
	kernel.PackBytes(p, data, t.Bytes(), t.DType() == tensor.Int8, k, n, trans)
	c := &graph.Constant{DType: t.DType(), Shape: t.Shape(), Encoding: graph.PanelBytes, Data: data}
	return &graph.Value{Name: w.Name + ".packed", Type: w.Type, Const: c}, nil
}
