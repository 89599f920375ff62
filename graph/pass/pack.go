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
func Pack(p *kernel.Pool, packing Packing) graph.Pass {
	packing = packing.orInMemory()
	return graph.Pass{Name: "pack", Run: func(g *graph.Graph, ops *graph.Table) error {
		packed := map[panelOf]*graph.Value{}
		for _, n := range g.Nodes {
			op, err := ops.Of(g, n)
			if err != nil || op.Panels == nil {
				continue // compiling tells what is not known
			}
			for _, panel := range op.Panels(n) {
				w := n.Input(panel.In)
				if w == nil || w.Const == nil || w.Const.Encoding != graph.Dense || w.Const.DType != tensor.Float32 {
					continue
				}
				key := panelOf{w, panel.Transposed}
				if packed[key] == nil {
					if packed[key], err = packPanels(p, key, packing); err != nil {
						return err
					}
				}
				n.Inputs[panel.In] = packed[key]
			}
		}
		return nil
	}}
}

// panelOf is a weight and the way in which it is packed.
type panelOf struct {
	w     *graph.Value
	trans bool
}

// packPanels packs a matrix, or the matrices of which a weight is a list, one by one.
func packPanels(p *kernel.Pool, panel panelOf, packing Packing) (*graph.Value, error) {
	w, name := panel.w, panel.w.Name+".packed"
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
	key := name
	if panel.trans {
		k, n, key = n, k, name+".transposed"
	}
	size := kernel.PackedLen(k, n, p.ISA())
	data, err := packing(key, 4*count*size, func(dst []byte) {
		for i := range count {
			kernel.PackB(floats(dst)[i*size:], t.F32()[i*k*n:], k, n, ld, panel.trans, p.ISA())
		}
	})
	if err != nil {
		return nil, err
	}
	c := &graph.Constant{DType: tensor.Float32, Shape: t.Shape(), Encoding: graph.PanelB, Data: data}
	return &graph.Value{Name: name, Type: w.Type, Const: c}, nil
}

// floats are bytes as float32s.
func floats(b []byte) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/4)
}
