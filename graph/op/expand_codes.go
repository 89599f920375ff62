package op

import (
	"fmt"
	"slices"

	"tandem/graph"
	"tandem/tensor"
)

// Expansions of products with, and gathers from, matrices of codes: (code - zero)·scale.
// Codes have no gradient; what they are multiplied with, scales, biases and zero points that
// are floats have one. What the codes mean is not written a second time: the operator
// itself, with scales of 1, gives code - zero.

// codedMatrix is the right-hand matrix [k, n] of a product with codes.
type codedMatrix struct {
	*graph.Expansion
	k                   int
	scales, zeros, bias int // inputs; -1: there is none
	// spread gives each element of the matrix, transposed, [n, k], what its block has.
	spread func(*graph.Value) *graph.Value
}

// expand is for a network that is frozen in codes while what is before it, beside it, or
// its scales are trained.
func (m codedMatrix) expand() ([]*graph.Value, error) {
	in, scale, bias := slices.Clone(m.Node.Inputs), m.In(m.scales), m.In(m.bias)
	if bias != nil {
		in[m.bias] = nil
	}
	product := m.Needs(0) || m.Needs(m.scales) || m.Needs(m.zeros)
	if product {
		in[0] = m.Op("EyeLike", nil, m.Op("ConstantOfShape", nil, m.Ints("square", int64(m.k), int64(m.k))))
	}
	if m.Needs(m.scales) || m.Needs(m.zeros) {
		in[m.scales] = m.filled(scale, 1)
	}
	if m.Needs(m.zeros) {
		in[m.zeros] = m.filled(m.In(m.zeros), 0)
	}
	y := m.Builder.Node(m.Node.Op, 1, m.Node.Attrs, in...)[0] // [k, n], or the result
	transposed := func(x *graph.Value) *graph.Value {
		return m.Op("Transpose", graph.Attrs{"perm": []int64{1, 0}}, m.spread(x))
	}
	if m.Needs(m.zeros) {
		y = m.Op("Sub", nil, y, transposed(m.In(m.zeros)))
	}
	if m.Needs(m.scales) || m.Needs(m.zeros) {
		y = m.Op("Mul", nil, y, transposed(scale))
	}
	if product {
		y = m.Op("MatMul", nil, m.In(0), y)
	}
	if bias != nil {
		y = m.Op("Add", nil, y, bias)
	}
	return []*graph.Value{y}, nil
}

// filled has the shape of x.
func (m codedMatrix) filled(x *graph.Value, v float32) *graph.Value {
	value := graph.Attrs{"value": tensor.Of([]float32{v}, 1)}
	return m.Op("ConstantOfShape", value, m.Op("Shape", nil, x))
}

// expandNBits: element i of a row has the scale of block i/block, or of the one that the
// indices of groups name.
func expandNBits(e *graph.Expansion) ([]*graph.Value, error) {
	f, err := readNBits(e.Node.Attrs)
	if err != nil {
		return nil, err
	}
	m := codedMatrix{Expansion: e, k: f.k, scales: nbitsScales, zeros: nbitsZeros, bias: nbitsBias}
	m.spread = func(x *graph.Value) *graph.Value {
		of := e.In(nbitsGroups)
		if of == nil {
			of = e.Const("block", blocksOf(f.k, f.block))
		} else { // the last block may be filled up
			of = e.Op("Slice", nil, of, e.Ints("from", 0), e.Ints("to", int64(f.k)))
		}
		x = e.Op("Reshape", nil, x, e.Ints("rows", int64(f.n), int64(f.blocks)))
		return e.Op("Gather", graph.Attrs{"axis": int64(1)}, x, of)
	}
	return m.expand()
}

// blocksOf are the blocks of n elements, one after another.
func blocksOf(n, block int) *tensor.Tensor {
	of := tensor.New(tensor.Int64, n)
	for i := range of.I64() {
		of.I64()[i] = int64(i / block)
	}
	return of
}

// expandBnb4: blocks go on from row to row.
func expandBnb4(e *graph.Expansion) ([]*graph.Value, error) {
	f, err := readBnb4(e.Node.Attrs)
	if err != nil {
		return nil, err
	}
	m := codedMatrix{Expansion: e, k: f.k, scales: bnb4Scales, zeros: -1, bias: -1}
	m.spread = func(x *graph.Value) *graph.Value {
		x = e.Op("Reshape", nil, x, e.Ints("column", -1, 1))
		x = e.Op("Reshape", nil, e.Op("Expand", nil, x, e.Ints("block", 1, int64(f.block))), e.Ints("flat", -1))
		x = e.Op("Slice", nil, x, e.Ints("from", 0), e.Ints("to", int64(f.n*f.k)))
		return e.Op("Reshape", nil, x, e.Ints("rows", int64(f.n), int64(f.k)))
	}
	return m.expand()
}

// expandBlockGather picks the scales of the rows that are picked, and spreads them along
// the axis of blocks.
func expandBlockGather(e *graph.Expansion) ([]*graph.Value, error) {
	if !e.Needs(blockScales) {
		return nil, nil
	}
	data, ok := e.In(blockData).Type.Shape.Static()
	shape, ok2 := e.In(blockScales).Type.Shape.Static()
	if !ok || !ok2 {
		return nil, fmt.Errorf("the shapes of data and scales are not known")
	}
	g, err := tableForm(e.Node.Attrs, e.In(blockData).Type.DType, data, shape)
	if err != nil {
		return nil, err
	}
	in, scales := slices.Clone(e.Node.Inputs), e.In(blockScales)
	in[blockScales] = codedMatrix{Expansion: e}.filled(scales, 1)
	codes := e.Builder.Node(e.Node.Op, 1, e.Node.Attrs, in...)[0]

	// An index outside, which gives zeros, takes any scale.
	number := func(n int) *graph.Value { return e.Const("number", tensor.Scalar(int64(n))) }
	size := g.shape[g.axis]
	at := e.Op("Cast", graph.Attrs{"to": int64(tensor.Int64)}, e.In(blockIndices))
	at = e.Op("Where", nil, e.Op("Less", nil, at, number(0)), e.Op("Add", nil, at, number(size)), at)
	at = e.Op("Min", nil, e.Op("Max", nil, at, number(0)), number(size-1))
	switch {
	case shape[g.axis] == 1:
		at = e.Op("Mul", nil, at, number(0))
	case g.axis == g.blockAxis:
		at = e.Op("Div", nil, at, number(g.block))
	}
	scales = e.Op("Gather", graph.Attrs{"axis": int64(g.axis)}, scales, at)
	if g.axis != g.blockAxis {
		along := g.blockAxis
		if along > g.axis {
			along += len(e.In(blockIndices).Type.Shape) - 1
		}
		scales = e.Op("Gather", graph.Attrs{"axis": int64(along)}, scales, e.Const("block", blocksOf(g.shape[g.blockAxis], g.block)))
	}
	return []*graph.Value{e.Op("Mul", nil, codes, scales)}, nil
}

// expandMatMulToFloat: the sums of codes are integers; scales multiply them, those of a
// along the rows.
func expandMatMulToFloat(e *graph.Expansion) ([]*graph.Value, error) {
	sums := e.Op("MatMulInteger", nil, e.In(0), e.In(1), e.In(4), e.In(5))
	y := e.Op("Cast", graph.Attrs{"to": int64(tensor.Float32)}, sums)
	fitted := func(i int) *graph.Value {
		x := e.In(i)
		switch {
		case x.Type.Shape.Len().Is(1):
			return e.Op("Reshape", nil, x, e.Const("scalar", tensor.New(tensor.Int64, 0)))
		case i == 2 && len(x.Type.Shape) == 1:
			return e.Op("Unsqueeze", nil, x, e.Ints("axis", 1))
		}
		return x
	}
	y = e.Op("Mul", nil, e.Op("Mul", nil, y, fitted(2)), fitted(3))
	if e.In(6) != nil {
		y = e.Op("Add", nil, y, fitted(6))
	}
	return []*graph.Value{y}, nil
}

// unpackedCodes are the numbers 0 to 2^bits-1 in bytes, those of the low bits first, along
// the last axis, which becomes as much longer; as floats.
func unpackedCodes(e *graph.Expansion, x *graph.Value, bits int) *graph.Value {
	rank := len(x.Type.Shape)
	byteOf := func(n int) *graph.Value { return e.Const("bits", tensor.Scalar(uint8(n))) }
	var parts []*graph.Value
	for shift := 0; shift < 8; shift += bits {
		part := e.Op("BitShift", graph.Attrs{"direction": "RIGHT"}, x, byteOf(shift))
		part = e.Op("BitwiseAnd", nil, part, byteOf(1<<bits-1))
		parts = append(parts, e.Op("Unsqueeze", nil, part, e.Ints("axis", int64(rank))))
	}
	to := slices.Repeat([]int64{0}, rank)
	to[rank-1] = -1
	codes := e.Op("Reshape", nil, e.Op("Concat", graph.Attrs{"axis": int64(rank)}, parts...), e.Ints("codes", to...))
	return e.Op("Cast", graph.Attrs{"to": int64(tensor.Float32)}, codes)
}
