package pass

import (
	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// packNibbles is how the weights of the MatMulNBits n are packed for Linear, and what makes n
// one; or nil.
func packNibbles(n *graph.Node, p *kernel.Pool) (pack func(Packing) (*graph.Value, error), into func(*graph.Value)) {
	k, columns, block := n.Attrs.Int("K", 0), n.Attrs.Int("N", 0), n.Attrs.Int("block_size", 0)
	x, codes, scales, zeros := n.Inputs[0], n.Inputs[1].Const, floatsOf(n.Inputs[2]), []float32(nil)
	if n.Attrs.Int("bits", 4) != 4 || !isFloat32(x) || len(x.Type.Shape) < 2 || n.Input(4) != nil ||
		codes == nil || codes.Encoding != graph.Dense || scales == nil || n.Input(5) != nil && !isFloat32(n.Inputs[5]) {
		return nil, nil
	}
	if z := n.Input(3); z != nil {
		if zeros = zerosOf(z, columns, (k+block-1)/block); zeros == nil {
			return nil, nil
		}
	}
	b := kernel.Nibbles{Block: block, Zeros: zeros != nil}
	name := n.Inputs[1].Name + "." + n.Inputs[2].Name + ".nibbles"
	if b.Zeros {
		name = n.Inputs[3].Name + "." + name
	}
	pack = func(packing Packing) (*graph.Value, error) {
		data, err := packing(name, 4*b.Len(k, columns, p.ISA()), func(dst []byte) {
			kernel.PackNibbles(p, floats(dst), b, codes.Data, scales, zeros, k, columns)
		})
		if err != nil {
			return nil, err
		}
		c := &graph.Constant{DType: tensor.Float32, Shape: tensor.Shape{k, columns}, Encoding: graph.PanelNibbles, Data: data}
		return &graph.Value{Name: name, Type: graph.Type{DType: c.DType, Shape: graph.Dims(k, columns)}, Const: c}, nil
	}
	return pack, func(v *graph.Value) {
		bias := n.Input(5)
		n.Op, n.Attrs, n.Inputs = linear, graph.Attrs{"block": int64(block)}, []*graph.Value{x, v}
		if b.Zeros {
			n.Attrs["zeros"] = int64(1)
		}
		if bias != nil {
			n.Inputs = append(n.Inputs, bias)
		}
	}
}

// zerosOf are the zero points of a MatMulNBits by columns and blocks, if they are constants.
func zerosOf(v *graph.Value, columns, blocks int) []float32 {
	if f := floatsOf(v); f != nil || v.Const == nil || v.Const.DType != tensor.Uint8 || v.Const.Encoding != graph.Dense {
		return f
	}
	to, row := make([]float32, columns*blocks), (blocks+1)/2
	for i := range to {
		j := i % blocks
		to[i] = float32(v.Const.Data[i/blocks*row+j/2] >> (j % 2 * 4) & 15)
	}
	return to
}
