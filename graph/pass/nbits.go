package pass

import (
	"slices"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
	"tandem/tensor/block"
)

// blockRows is the number of weights in the blocks of Q8_0 and Q4_0.
const blockRows = 32

// accuracyBytes is the accuracy_level of MatMulNBits that allows activations to be rounded
// to bytes.
const accuracyBytes = 4

// FewBits lowers MatMulNBits with constant weights. Where it allows products of bytes,
// blocks become those of Q4_0, or of Q8_0 if they have zero points, for Projection, which
// rounds activations in blocks of 32; the scales are rounded to float16. Other codes of four
// or eight bits stay what they are, for Linear, which multiplies the floats that they mean. Elsewhere
// the operator stays, and makes floats of a column at a time.
func FewBits(p *kernel.Pool, packing Packing) graph.Pass {
	packing = packing.orInMemory()
	return graph.Pass{Name: "few-bits", Run: func(g *graph.Graph, ops *graph.Table) error {
		type weight struct {
			codes, scales, zeros *graph.Value
			blocks               bool
		}
		packed := map[weight]*graph.Value{}
		for _, n := range g.Nodes {
			if n.Op != (graph.OpID{Domain: "com.microsoft", Name: "MatMulNBits"}) {
				continue
			}
			pack, into := packBlocks(n, p)
			key := weight{n.Input(1), n.Input(2), n.Input(3), pack != nil}
			if pack == nil {
				pack, into = packCodes(n, p)
			}
			if pack == nil {
				continue
			}
			if packed[key] == nil {
				v, err := pack(packing)
				if err != nil {
					return err
				}
				packed[key] = v
			}
			into(packed[key])
		}
		return nil
	}}
}

// packBlocks is how the weights of n are packed for Projection, and what makes n one; or nil.
func packBlocks(n *graph.Node, p *kernel.Pool) (pack func(Packing) (*graph.Value, error), into func(*graph.Value)) {
	w, ok := bitsOf(n)
	if !ok {
		return nil, nil
	}
	return func(packing Packing) (*graph.Value, error) { return w.pack(p, packing) }, func(v *graph.Value) {
		n.Op, n.Attrs = projection, nil
		n.Inputs = []*graph.Value{n.Inputs[0], nil, nil, v, n.Input(5)}
	}
}

// bits are the weights of a MatMulNBits.
type bits struct {
	name         string
	k, n         int
	bits, block  int
	codes, zeros []byte
	scales       []float32
	format       block.Format
}

// bitsOf reads the weights of n, if they are constants that blocks can say.
func bitsOf(n *graph.Node) (bits, bool) {
	a := n.Attrs
	w := bits{name: n.Inputs[1].Name, k: a.Int("K", 0), n: a.Int("N", 0), bits: a.Int("bits", 4), block: a.Int("block_size", 0)}
	x := n.Inputs[0]
	if a.Int("accuracy_level", 0) != accuracyBytes || !isFloat32(x) || len(x.Type.Shape) < 2 || w.bits != 4 && w.bits != 8 || w.block%blockRows != 0 || w.k%w.block != 0 ||
		n.Input(4) != nil || n.Input(5) != nil && (n.Inputs[5].Const == nil || !isFloat32(n.Inputs[5])) {
		return w, false
	}
	codes, zeros := n.Inputs[1].Const, n.Input(3)
	if w.scales = floatsOf(n.Inputs[2]); w.scales == nil || codes == nil || codes.Encoding != graph.Dense {
		return w, false
	}
	w.codes, w.format = codes.Data, block.Q8_0
	if zeros != nil {
		if zeros.Const == nil || zeros.Const.DType != tensor.Uint8 || w.bits == 8 {
			return w, false // a byte less a zero point is no byte
		}
		w.zeros = zeros.Const.Data
	} else if w.bits == 4 {
		w.format = block.Q4_0
	}
	const least, most = 6e-5, 65504 // of float16 without loss of bits
	small := func(s float32) bool { return s != 0 && (max(s, -s) < least || max(s, -s) > most) }
	return w, !slices.ContainsFunc(w.scales, small)
}

// pack packs the weights as the columns of a matrix [K, N].
func (w bits) pack(p *kernel.Pool, packing Packing) (*graph.Value, error) {
	data, err := packing(w.name+".panels", kernel.PackedBytes(w.format, w.n, w.k, p.ISA()), func(dst []byte) {
		kernel.PackRows(p, w.format, dst, w.blocks(p), w.n, w.k)
	})
	if err != nil {
		return nil, err
	}
	c := &graph.Constant{DType: tensor.Float32, Shape: tensor.Shape{w.k, w.n}, Encoding: graph.Panels(w.format), Data: data}
	return &graph.Value{Name: w.name + ".panels", Type: graph.Type{DType: c.DType, Shape: graph.Dims(w.k, w.n)}, Const: c}, nil
}

// blocks are the columns in blocks, one after another.
func (w bits) blocks(p *kernel.Pool) []byte {
	per, size, column := w.k/w.block, w.format.Bytes(), w.k/blockRows
	dst := tensor.AlignedBytes(w.n * column * size)
	p.For(w.n, max(1, (1<<14)/w.k), func(lo, hi, _ int) {
		for j := lo; j < hi; j++ {
			codes, zeros := w.codes[j*w.k*w.bits/8:], []byte(nil)
			if w.zeros != nil {
				zeros = w.zeros[j*((per*w.bits+7)/8):]
			}
			for b := range column {
				at := b * blockRows / w.block
				to := dst[(j*column+b)*size:][:size]
				half := tensor.Float16Bits(w.scales[j*per+at])
				to[0], to[1] = byte(half), byte(half>>8)
				w.put(to[2:], codes[b*blockRows*w.bits/8:], zeros, at)
			}
		}
	})
	return dst
}

// put writes the codes of a block: signed bytes, or nibbles of which the low ones are the
// first half of the block.
func (w bits) put(to, codes, zeros []byte, at int) {
	if w.bits == 8 {
		for i := range blockRows {
			to[i] = codes[i] ^ 128
		}
		return
	}
	nibble := func(b []byte, i int) byte { return b[i/2] >> (i % 2 * 4) & 15 }
	if zeros == nil {
		for i := range blockRows / 2 {
			to[i] = nibble(codes, i) | nibble(codes, i+blockRows/2)<<4
		}
		return
	}
	for i := range blockRows {
		to[i] = nibble(codes, i) - nibble(zeros, at)
	}
}
