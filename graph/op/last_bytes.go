package op

import (
	"fmt"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// What channels-last tensors of bytes have: convolutions of QLinearConv, pooling, and
// the moving of channels.

// Inputs of QLinearConvLast behind those of QLinearConv: 256 bytes that the results are
// exchanged for; what is added to them before, as QLinearAdd does, with its scale and zero
// point; the scale and zero point of the sum.
const (
	byteConvTable = 9
	byteConvOther = 10
	byteConvSum   = 13
)

// inferByteConvLast has the inputs of QLinearConv, x with its channels last, and more.
func inferByteConvLast(c *graph.Infer) error {
	if err := c.Require(8, 15); err != nil {
		return err
	}
	if err := typed(c, isByte, 0); err != nil {
		return err
	}
	if err := c.Floats(1, 4, 6); err != nil {
		return err
	}
	out, err := convLastShape(c, 3)
	if err != nil {
		return err
	}
	d := c.In(7).DType
	if c.Has(byteConvOther) {
		if err := checkOther(c, out); err != nil {
			return err
		}
	}
	if c.Has(byteConvTable) {
		if err := checkTable(c, byteConvTable); err != nil {
			return err
		}
		d = c.In(byteConvTable).DType
	}
	c.Out(0, d, out)
	return nil
}

// checkOther checks what is added to results of that shape.
func checkOther(c *graph.Infer, out graph.Shape) error {
	if !c.Has(byteConvOther+1) || !c.Has(byteConvSum) {
		return fmt.Errorf("input %d or %d is missing", byteConvOther+1, byteConvSum)
	}
	if err := alike(c, 7, byteConvOther, byteConvOther+2, byteConvSum+1); err != nil {
		return err
	}
	if err := c.Floats(byteConvOther+1, byteConvSum); err != nil {
		return err
	}
	if shape := c.In(byteConvOther).Shape; !shape.Equal(out) {
		return fmt.Errorf("input %d (%s) has shape %v, expected %v", byteConvOther, c.Node.Inputs[byteConvOther].Name, shape, out)
	}
	for i := byteConvOther + 1; i <= byteConvSum+1; i++ {
		if c.Has(i) {
			if err := c.Same(c.In(i).Shape.Len(), graph.Const(1), "numbers of a scale or a zero point"); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkTable checks that an input has a byte for each byte.
func checkTable(c *graph.Infer, i int) error {
	if err := typed(c, isByte, i); err != nil {
		return err
	}
	return c.Same(c.In(i).Shape.Len(), graph.Const(256), "elements of a table and bytes")
}

// inferLookup: (x, table [256]) -> bytes of the table's type.
func inferLookup(c *graph.Infer) error {
	if err := c.Require(2, 2); err != nil {
		return err
	}
	if err := typed(c, isByte, 0); err != nil {
		return err
	}
	if err := checkTable(c, 1); err != nil {
		return err
	}
	c.Out(0, c.In(1).DType, c.In(0).Shape)
	return nil
}

func kernelLookup(c *graph.Call) (func() error, error) {
	k := new(kernel.Lookup)
	return func() error {
		k.X, k.Table, k.Y = c.In[0].Bytes(), c.In[1].Bytes(), c.Out[0].Bytes()
		k.Run(c.Pool)
		return nil
	}, nil
}

func kernelByteConvLast(c *graph.Call) (func() error, error) {
	x, w, y := c.In[0], c.In[3], c.Out[0]
	if v := c.Node.Inputs[3].Const; v == nil || v.Encoding != graph.PanelBytes {
		return nil, fmt.Errorf("the weights are not packed")
	}
	d, err := convOf(c.Node.Attrs, planeLast(x), w, planeLast(y))
	if err != nil {
		return nil, err
	}
	k := &kernel.ByteConv{
		N: d.N, H: d.H, W: d.W, C: d.C, OC: d.OC, KH: d.KH, KW: d.KW, StrideH: d.StrideH, StrideW: d.StrideW,
		PadTop: d.PadTop, PadLeft: d.PadLeft, PadBottom: d.PadBottom, PadRight: d.PadRight,
		DilationH: d.DilationH, DilationW: d.DilationW, Groups: d.Groups, SignedX: x.DType() == tensor.Int8,
	}
	if n := c.In[4].Len(); c.In[1].Len() != 1 || n != 1 && n != k.OC || c.In[6].Len() != 1 || c.In[7].Len() != 1 || c.Has(8) && c.In[8].Len() != k.OC {
		return nil, fmt.Errorf("scales, zero points or the bias do not fit %d channels", k.OC)
	}
	k.Bytes, k.ToSigned = []byte{}, c.In[7].DType() == tensor.Int8
	if c.Has(byteConvOther) {
		k.Combine = new(kernel.CombineBytes)
	}
	columns := (4*k.OC + 63) &^ 63
	c.Reserve(columns + k.ScratchLen(c.Pool))
	return func() error {
		scratch := c.Scratch()
		k.ScaleB = asElements[float32](scratch[:columns])[:k.OC]
		columnScales(k.ScaleB, c.In[4], c.F32(1)[0])
		for i := range k.ScaleB {
			k.ScaleB[i] /= c.F32(6)[0]
		}
		k.ZeroX, k.To = int32(smallByte(c.In[2], 0)), int32(smallByte(c.In[7], 0))
		k.X, k.Packed, k.Bytes = x.Bytes(), w.Bytes(), y.Bytes()
		if c.Has(8) {
			k.Start = tensor.Data[int32](c.In[8])
		}
		if k.Combine != nil {
			k.Combine.B = c.In[byteConvOther].Bytes()
			k.Combine.OfA, k.Combine.OfB, k.Combine.OfY = stepsAt(c, 6, k.ToSigned), stepsAt(c, byteConvOther+1, k.ToSigned), stepsAt(c, byteConvSum, k.ToSigned)
		}
		if c.Has(byteConvTable) {
			k.Table = c.In[byteConvTable].Bytes()
		}
		k.Run(c.Pool, scratch[columns:])
		return nil
	}, nil
}

// maxBytesLast is MaxPoolLast on bytes, with the dimensions of k.
func maxBytesLast(c *graph.Call, k *kernel.PoolLast) (func() error, error) {
	if k.Average {
		return nil, fmt.Errorf("averages of bytes are not rounded here")
	}
	m := &kernel.MaxBytesLast{
		N: k.N, H: k.H, W: k.W, C: k.C, OH: k.OH, OW: k.OW, KH: k.KH, KW: k.KW, StrideH: max(1, k.StrideH), StrideW: max(1, k.StrideW),
		PadTop: k.PadTop, PadLeft: k.PadLeft, DilationH: max(1, k.DilationH), DilationW: max(1, k.DilationW), Signed: c.In[0].DType() == tensor.Int8,
	}
	return func() error {
		m.X, m.Y = c.In[0].Bytes(), c.Out[0].Bytes()
		m.Run(c.Pool)
		return nil
	}, nil
}

// transposeBytes turns rows × cols matrices, by squares whose lines stay in L1.
func transposeBytes(c *graph.Call, batch, rows, cols int) func() error {
	square := 64
	if rows == 3 {
		square = 1024
	}
	across := (cols + square - 1) / square
	var x, y []byte
	turn := func(lo, hi, _ int) {
		for u := lo; u < hi; u++ {
			at, c0 := u/across*rows*cols, u%across*square
			if rows == 3 { // colours
				interleave(y[at:][:3*cols], x[at:][:3*cols], c0, min(c0+square, cols))
				continue
			}
			for r := 0; r < rows; r += square {
				for i := r; i < min(r+square, rows); i++ {
					for j, v := range x[at+i*cols+c0 : at+i*cols+min(c0+square, cols)] {
						y[at+(c0+j)*rows+i] = v
					}
				}
			}
		}
	}
	return func() error {
		x, y = c.In[0].Bytes(), c.Out[0].Bytes()
		c.Pool.For(batch*across, max(1, (1<<14)/max(1, rows*square)), turn)
		return nil
	}
}

// interleave writes columns [from,until) of three rows of x as columns of y.
func interleave(y, x []byte, from, until int) {
	n := len(x) / 3
	a, b, c, to := x[from:until], x[n+from:n+until], x[2*n+from:2*n+until], y[3*from:3*until]
	b, c, to = b[:len(a)], c[:len(a)], to[:3*len(a)]
	for i, v := range a {
		p := to[3*i : 3*i+3 : 3*i+3]
		p[0], p[1], p[2] = v, b[i], c[i]
	}
}
