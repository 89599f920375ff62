package pass

import (
	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// packCodes is how the weights of the MatMulNBits n are packed for Linear, and what makes n
// one; or nil.
func packCodes(n *graph.Node, p *kernel.Pool) (pack func(Packing) (*graph.Value, error), into func(*graph.Value)) {
	k, columns, block, bits := n.Attrs.Int("K", 0), n.Attrs.Int("N", 0), n.Attrs.Int("block_size", 0), n.Attrs.Int("bits", 4)
	x, codes, scales, zeros := n.Inputs[0], n.Inputs[1].Const, floatsOf(n.Inputs[2]), []float32(nil)
	if bits != 4 && bits != 8 || !isFloat32(x) || len(x.Type.Shape) < 2 || n.Input(4) != nil ||
		codes == nil || codes.Encoding != graph.Dense || scales == nil || n.Input(5) != nil && !isFloat32(n.Inputs[5]) {
		return nil, nil
	}
	if z := n.Input(3); z != nil {
		if zeros = zerosOf(z, columns, (k+block-1)/block, bits); zeros == nil {
			return nil, nil
		}
	}
	b := kernel.Codes{Bits: bits, Block: block, Zeros: zeros != nil}
	name := n.Inputs[1].Name + "." + n.Inputs[2].Name + ".codes"
	if b.Zeros {
		name = n.Inputs[3].Name + "." + name
	}
	pack = func(packing Packing) (*graph.Value, error) {
		data, err := packing(name, 4*b.Len(k, columns, p.ISA()), func(dst []byte) {
			kernel.PackCodes(p, floats(dst), b, codes.Data, scales, zeros, k, columns)
		})
		if err != nil {
			return nil, err
		}
		c := &graph.Constant{DType: tensor.Float32, Shape: tensor.Shape{k, columns}, Encoding: graph.PanelCodes, Data: data}
		return &graph.Value{Name: name, Type: graph.Type{DType: c.DType, Shape: graph.Dims(k, columns)}, Const: c}, nil
	}
	return pack, func(v *graph.Value) {
		bias := n.Input(5)
		n.Op, n.Attrs, n.Inputs = linear, graph.Attrs{"bits": int64(bits), "block": int64(block)}, []*graph.Value{x, v}
		if b.Zeros {
			n.Attrs["zeros"] = int64(1)
		}
		if bias != nil {
			n.Inputs = append(n.Inputs, bias)
		}
	}
}

// zerosOf are the zero points of a MatMulNBits by columns and blocks, if they are constants.
func zerosOf(v *graph.Value, columns, blocks, bits int) []float32 {
	if f := floatsOf(v); f != nil || v.Const == nil || v.Const.DType != tensor.Uint8 || v.Const.Encoding != graph.Dense {
		return f
	}
	to, row := make([]float32, columns*blocks), (blocks*bits+7)/8
	for i := range to {
		bit := i % blocks * bits
		to[i] = float32(v.Const.Data[i/blocks*row+bit/8] >> (bit % 8) & (1<<bits - 1))
	}
	return to
}
