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

// packMatrix packs a matrix of floats, of bfloat16 or of bytes; others stay as they are.
func packMatrix(p *kernel.Pool, panel panelOf, packing Packing) (*graph.Value, error) {
	switch panel.w.Const.DType {
	case tensor.Float32:
		return packPanels(p, panel, packing)
	case tensor.BFloat16:
		return packBFloat16(p, panel, packing)
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

// matricesOf are the matrices [k,n] of a weight: it is one, or a list of them.
func matricesOf(panel panelOf) (t *tensor.Tensor, count, k, n int, err error) {
	if t, err = panel.w.Const.Tensor(); err != nil {
		return nil, 0, 0, 0, err
	}
	rank := t.Rank()
	if rank != 2 && rank != 3 {
		return nil, 0, 0, 0, fmt.Errorf("weight %s of shape %v is no matrix", panel.w.Name, t.Shape())
	}
	count, k, n = 1, t.Dim(rank-2), t.Dim(rank-1)
	if rank == 3 {
		count = t.Dim(0)
	}
	if panel.trans {
		k, n = n, k
	}
	return t, count, k, n, nil
}

// packPanels packs a matrix, or the matrices of which a weight is a list, one by one.
func packPanels(p *kernel.Pool, panel panelOf, packing Packing) (*graph.Value, error) {
	t, count, k, n, err := matricesOf(panel)
	if err != nil {
		return nil, err
	}
	w, size, ld := panel.w, kernel.PackedLen(k, n, p.ISA()), t.Dim(t.Rank()-1)
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

// packBytes is packPanels for bytes.
func packBytes(p *kernel.Pool, panel panelOf, packing Packing) (*graph.Value, error) {
	t, count, k, n, err := matricesOf(panel)
	if err != nil {
		return nil, err
	}
	w, size := panel.w, kernel.PackedByteLen(k, n, p)
	data, err := packing(panel.key(), count*size, func(dst []byte) {
		for i := range count {
			kernel.PackBytes(p, dst[i*size:][:size], t.Bytes()[i*k*n:][:k*n], t.DType() == tensor.Int8, k, n, panel.trans)
		}
	})
	if err != nil {
		return nil, err
	}
	c := &graph.Constant{DType: t.DType(), Shape: t.Shape(), Encoding: graph.PanelBytes, Data: data}
	return &graph.Value{Name: w.Name + ".packed", Type: w.Type, Const: c}, nil
}
