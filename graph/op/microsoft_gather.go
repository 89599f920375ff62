package op

import (
	"fmt"

	"tandem/graph"
	"tandem/graph/op/narrow"
	"tandem/tensor"
)

// blockGatherOps: rows of a table whose numbers have few bits. The kernel reads their
// codes itself; only scales and results are widened.
func blockGatherOps() []graph.Op {
	half := func(d tensor.DType) bool { return d == tensor.Float16 || d == tensor.BFloat16 }
	return []graph.Op{{ID: microsoft("GatherBlockQuantized"), Since: 1, Infer: inferBlockGather, Kernel: narrow.Through(tensor.Float32, kernelBlockGather, half), Expand: expandBlockGather}}
}

// smallFloat are the floats of 8 and 4 bits that tables have.
func smallFloat(d tensor.DType) bool {
	return d.Float() && d.Bits() <= 8 && d != tensor.Float8E8M0
}

// Inputs of GatherBlockQuantized.
const (
	blockData = iota
	blockIndices
	blockScales
	blockZeros
)

// blockGather says how the table lies: data [outer, size, inner] around the axis that is
// picked from, in blocks along another axis, whose elements share a scale.
type blockGather struct {
	bits, block     int
	shape           tensor.Shape // of the data, unpacked
	axis, blockAxis int
	strides         []int // of the scales; 0 where one serves all
	zero            int   // where there are no zero points
	lineOfZeros     int   // elements after which packed zero points begin with a new byte; 0: never
}

// tableForm reads the attributes for data and scales of known shapes.
func tableForm(a graph.Attrs, d tensor.DType, data, scales tensor.Shape) (g blockGather, err error) {
	g = blockGather{bits: d.Bits(), block: a.Int("block_size", 128), shape: append(tensor.Shape{}, data...)}
	if whole := g.block == 0 && smallFloat(d); !whole && (g.block < 16 || g.block&(g.block-1) != 0) {
		return g, fmt.Errorf("block_size is %d, expected a power of two from 16", g.block)
	}
	if g.axis, err = graph.Axis(a.Int("gather_axis", 0), len(data)); err != nil {
		return g, err
	}
	if g.blockAxis, err = graph.Axis(a.Int("quantize_axis", 1), len(data)); err != nil {
		return g, err
	}
	if d == tensor.Uint8 {
		if g.bits = a.Int("bits", 4); g.bits != 2 && g.bits != 4 && g.bits != 8 {
			return g, fmt.Errorf("bits is %d, expected 2, 4 or 8", g.bits)
		}
		if g.axis != 0 || g.bits < 8 && g.axis == g.blockAxis {
			return g, fmt.Errorf("gather_axis %d and quantize_axis %d do not go with packed bytes", g.axis, g.blockAxis)
		}
		g.shape[len(data)-1] *= 8 / g.bits
		g.zero = 1 << (g.bits - 1)
	}
	if len(scales) != len(data) {
		return g, fmt.Errorf("data has %d dimensions, scales %d", len(data), len(scales))
	}
	if g.block == 0 {
		g.block = max(1, g.shape[g.blockAxis])
	}
	g.strides = make([]int, len(scales))
	for i, n := range g.shape {
		if i == g.blockAxis {
			n = (n + g.block - 1) / g.block
		}
		one := smallFloat(d) && i != g.blockAxis && scales[i] == 1
		if scales[i] != n && !one {
			return g, fmt.Errorf("scales have shape %v, which does not fit data of shape %v in blocks of %d", scales, g.shape, g.block)
		}
		if !one {
			g.strides[i] = scales[i+1:].Len()
		}
	}
	if d == tensor.Uint8 {
		g.lineOfZeros = scales[len(scales)-1]
	}
	return g, nil
}

func inferBlockGather(c *graph.Infer) error {
	if err := c.Require(3, 4); err != nil {
		return err
	}
	d := c.In(blockData).DType
	if d != tensor.Uint8 && d != tensor.Int4 && d != tensor.Uint4 && !smallFloat(d) {
		return fmt.Errorf("data are %v: uint8, int4, uint4 and floats of 8 and 4 bits are supported", d)
	}
	if smallFloat(d) && c.Has(blockZeros) {
		return fmt.Errorf("data of %v have no zero points", d)
	}
	if t := c.In(blockIndices).DType; t != tensor.Int32 && t != tensor.Int64 {
		return fmt.Errorf("the indices are %v, expected int32 or int64", t)
	}
	if err := typed(c, expertFloat, blockScales); err != nil {
		return err
	}
	if err := alike(c, blockData, blockZeros); err != nil {
		return err
	}
	data, ok := c.In(blockData).Shape.Static()
	scales, ok2 := c.In(blockScales).Shape.Static()
	if !ok || !ok2 {
		return fmt.Errorf("the shapes of data and scales must be known")
	}
	g, err := tableForm(c.Node.Attrs, d, data, scales)
	if err != nil {
		return err
	}
	if c.Has(blockZeros) {
		want := tensor.Shape(scales).Len()
		if line := g.lineOfZeros; line > 0 {
			want = want / line * ((line*g.bits + 7) / 8)
		}
		if err := c.Same(c.In(blockZeros).Shape.Len(), graph.Const(want), "elements of the zero points"); err != nil {
			return err
		}
	}
	shape := append(graph.Dims(g.shape[:g.axis]...), c.In(blockIndices).Shape...)
	c.Out(0, c.In(blockScales).DType, append(shape, graph.Dims(g.shape[g.axis+1:]...)...))
	return nil
}

// kernelBlockGather: an index outside gives zeros.
func kernelBlockGather(c *graph.Call) (func() error, error) {
	data := c.In[blockData]
	g, err := tableForm(c.Node.Attrs, data.DType(), data.Shape(), c.In[blockScales].Shape())
	if err != nil {
		return nil, err
	}
	outer, size, inner := around(g.shape, g.axis)
	count, values := c.In[blockIndices].Len(), codeValues(data.DType(), g.bits)
	some := func(lo, hi, _ int) {
		codes, scales, y := data.Bytes(), c.In[blockScales].F32(), c.Out[0].F32()
		for i := lo; i < hi; i++ {
			k, to := integerAt(c.In[blockIndices], i%count), y[i*inner:][:inner]
			if k < 0 {
				k += size
			}
			if k < 0 || k >= size {
				clear(to)
				continue
			}
			first := (i/count*size + k) * inner
			for j := range to {
				at := first + j
				scale, zero := g.scaleOf(at), float32(g.zero)
				if c.Has(blockZeros) {
					zero = values[bitsAt(c.In[blockZeros].Bytes(), g.zeroAt(scale), g.bits)]
				}
				to[j] = (values[bitsAt(codes, at, g.bits)] - zero) * scales[scale]
			}
		}
	}
	return func() error {
		c.Pool.For(outer*count, 1+(1<<12)/max(1, inner), some)
		return nil
	}, nil
}

// codeValues are the numbers that the codes of a type, or of so many bits, stand for.
func codeValues(d tensor.DType, bits int) []float32 {
	values := make([]float32, 1<<bits)
	if smallFloat(d) {
		codes := tensor.New(d, len(values))
		for i := range codes.Bytes() {
			codes.Bytes()[i] = byte(i)
			if bits == 4 {
				codes.Bytes()[i] = byte(2*i | (2*i+1)<<4)
			}
		}
		tensor.Float32s(values, codes)
		return values
	}
	for i := range values {
		if values[i] = float32(i); d == tensor.Int4 && i > 7 {
			values[i] -= 16
		}
	}
	return values
}

// scaleOf is the place of the scale of an element.
func (g blockGather) scaleOf(at int) (place int) {
	for i := len(g.shape) - 1; i >= 0; i-- {
		x := at % g.shape[i]
		at /= g.shape[i]
		if i == g.blockAxis {
			x /= g.block
		}
		place += x * g.strides[i]
	}
	return place
}

// zeroAt is the place of a block's zero point among all elements of their bytes.
func (g blockGather) zeroAt(scale int) int {
	if g.lineOfZeros == 0 {
		return scale
	}
	perLine := (g.lineOfZeros*g.bits + 7) / 8 * (8 / g.bits)
	return scale/g.lineOfZeros*perLine + scale%g.lineOfZeros
}

// integerAt is element i of a tensor of int32 or int64.
func integerAt(t *tensor.Tensor, i int) int {
	if t.DType() == tensor.Int32 {
		return int(tensor.Data[int32](t)[i])
	}
	return int(t.I64()[i])
}
