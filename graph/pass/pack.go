package pass

import (
	"fmt"
	"unsafe"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// Pack rewrites constant right-hand matrices into the panels that the matrix
// kernel of this processor reads, once instead of in every run, those of inner graphs
// too. Which inputs they are, the operators tell.
func Pack(p *kernel.Pool, packing Packing) graph.Pass {
	return graph.Pass{Name: "pack", Run: func(g *graph.Graph, ops *graph.Table) error {
		k := &packer{pool: p, packing: packing.orInMemory(), ops: ops, packed: map[panelOf]*graph.Value{}}
		return k.graph(g, g.Opset)
	}}
}

// packer is the work of one Pack.
type packer struct {
	pool    *kernel.Pool
	packing Packing
	ops     *graph.Table
	packed  map[panelOf]*graph.Value
}

func (k *packer) graph(g *graph.Graph, opset map[string]int) error {
	if g.Opset != nil {
		opset = g.Opset
	}
	for _, n := range g.Nodes {
		for _, b := range n.Bodies() {
			if err := k.graph(b.Graph, opset); err != nil {
				return err
			}
		}
		op, err := k.ops.Of(&graph.Graph{Opset: opset}, n)
		if err != nil || op.Panels == nil {
			continue // compiling tells what is not known
		}
		for _, panel := range op.Panels(n) {
			w := n.Input(panel.In)
			if w == nil || w.Const == nil || w.Const.Encoding != graph.Dense {
				continue
			}
			key := panelOf{w, panel.Transposed}
			if k.packed[key] == nil {
				if k.packed[key], err = packMatrix(k.pool, key, k.packing); err != nil {
					return err
				}
			}
			n.Inputs[panel.In] = k.packed[key]
		}
	}
	return nil
}

// panelOf is a weight and the way in which it is packed.
type panelOf struct {
	w     *graph.Value
	trans bool
}

// packMatrix packs a matrix of floats or of bytes; others stay as they are.
func packMatrix(p *kernel.Pool, panel panelOf, packing Packing) (*graph.Value, error) {
	switch panel.w.Const.DType {
	case tensor.Float32:
		return packPanels(p, panel, packing)
	case tensor.Int8, tensor.Uint8:
		return packBytes(p, panel, packing)
	}
	return panel.w, nil
}

// key is the name under which the packed weight is kept.
func (p panelOf) key() string {
	if p.trans {
		return p.w.Name + ".packed.transposed"
	}
	return p.w.Name + ".packed"
}

// packPanels packs a matrix, or the matrices of which a weight is a list, one by one.
func packPanels(p *kernel.Pool, panel panelOf, packing Packing) (*graph.Value, error) {
	w := panel.w
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
	if panel.trans {
		k, n = n, k
	}
	size := kernel.PackedLen(k, n, p.ISA())
	data, err := packing(panel.key(), 4*count*size, func(dst []byte) {
		for i := range count {
			kernel.PackB(floats(dst)[i*size:], t.F32()[i*k*n:], k, n, ld, panel.trans, p.ISA())
		}
	})
	if err != nil {
		return nil, err
	}
	c := &graph.Constant{DType: tensor.Float32, Shape: t.Shape(), Encoding: graph.PanelB, Data: data}
	return &graph.Value{Name: w.Name + ".packed", Type: w.Type, Const: c}, nil
}

// floats are bytes as float32s.
func floats(b []byte) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/4)
}

func packBytes(p *kernel.Pool, panel panelOf, packing Packing) (*graph.Value, error) {
	w := panel.w
	t, err := w.Const.Tensor()
	if err != nil {
		return nil, err
	}
	k, n := t.Dim(0), t.Dim(1)
	if panel.trans {
		k, n = n, k
	}
	data, err := packing(panel.key(), kernel.PackedByteLen(k, n, p), func(dst []byte) {
		kernel.PackBytes(p, dst, t.Bytes(), t.DType() == tensor.Int8, k, n, panel.trans)
	})
	if err != nil {
		return nil, err
	}
	c := &graph.Constant{DType: t.DType(), Shape: t.Shape(), Encoding: graph.PanelBytes, Data: data}
	return &graph.Value{Name: w.Name + ".packed", Type: w.Type, Const: c}, nil
}
