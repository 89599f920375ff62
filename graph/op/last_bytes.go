package op

import (
	"fmt"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// What channels-last tensors of bytes have: convolutions of QLinearConv, pooling, and
// the moving of channels.

// afterBytes is the first of the inputs behind those of an operator whose results are bytes:
// a table, 256 bytes that they are exchanged for; what is added to them before, as
// QLinearAdd does, with its scale and zero point; the scale and zero point of the sum.
type afterBytes int

// Of QLinearConvLast, and of tandem.QLinearMatMul.
const (
	afterConv    afterBytes = 9
	afterProduct afterBytes = 8
)

func (t afterBytes) other() int { return int(t) + 1 }
func (t afterBytes) sum() int   { return int(t) + 4 }

// infer checks the inputs for results of the type of a zero point, and returns the type of
// what becomes of them.
func (t afterBytes) infer(c *graph.Infer, zero int, other graph.Shape) (tensor.DType, error) {
	d := c.In(zero).DType
	if c.Has(t.other()) {
		if err := t.checkOther(c, zero, other); err != nil {
			return d, err
		}
	}
	if c.Has(int(t)) {
		return c.In(int(t)).DType, checkTable(c, int(t))
	}
	return d, nil
}

// checkOther checks what is added.
func (t afterBytes) checkOther(c *graph.Infer, zero int, want graph.Shape) error {
	other, sum := t.other(), t.sum()
	if !c.Has(other+1) || !c.Has(sum) {
		return fmt.Errorf("input %d or %d is missing", other+1, sum)
	}
	if err := alike(c, zero, other, other+2, sum+1); err != nil {
		return err
	}
	if err := c.Floats(other+1, sum); err != nil {
		return err
	}
	if shape := c.In(other).Shape; !shape.Equal(want) {
		return fmt.Errorf("input %d (%s) has shape %v, expected %v", other, c.Node.Inputs[other].Name, shape, want)
	}
	for i := other + 1; i <= sum+1; i++ {
		if c.Has(i) {
			if err := c.Same(c.In(i).Shape.Len(), graph.Const(1), "numbers of a scale or a zero point"); err != nil {
				return err
			}
		}
	}
	return nil
}

// prepare makes room for what read reads.
func (t afterBytes) prepare(c *graph.Call, r *kernel.Rescale) {
	if c.Has(t.other()) {
		r.Combine = new(kernel.CombineBytes)
	}
}

// read reads the inputs; the scale and the zero point of the results before are at input y.
func (t afterBytes) read(c *graph.Call, r *kernel.Rescale, y int) {
	if k := r.Combine; k != nil {
		k.B = c.In[t.other()].Bytes()
		k.OfA, k.OfB, k.OfY = stepsAt(c, y, r.ToSigned), stepsAt(c, t.other()+1, r.ToSigned), stepsAt(c, t.sum(), r.ToSigned)
	}
	if c.Has(int(t)) {
		r.Table = c.In[int(t)].Bytes()
	}
}

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
	d, err := afterConv.infer(c, 7, out)
	if err != nil {
		return err
	}
	c.Out(0, d, out)
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
	afterConv.prepare(c, &k.Rescale)
	columns := (4*k.OC + 63) &^ 63
	c.Reserve(columns + k.ScratchLen(c.Pool))
	return func() error {
		scratch := c.Scratch()
		k.ScaleB = asElements[float32](scratch[:columns])[:k.OC]
		columnScales(k.ScaleB, c.In[4], c.F32(1)[0], c.F32(6)[0])
		k.ZeroX, k.To = int32(smallByte(c.In[2], 0)), int32(smallByte(c.In[7], 0))
		k.X, k.Packed, k.Bytes = x.Bytes(), w.Bytes(), y.Bytes()
		if c.Has(8) {
			k.Start = tensor.Data[int32](c.In[8])
		}
		afterConv.read(c, &k.Rescale, 6)
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
	if rows == 3 {
		k := &kernel.Colours{N: batch, Pixels: cols}
		return func() error {
			k.X, k.Y = c.In[0].Bytes(), c.Out[0].Bytes()
			k.Run(c.Pool)
			return nil
		}
	}
	const square = 64
	across := (cols + square - 1) / square
	var x, y []byte
	turn := func(lo, hi, _ int) {
		for u := lo; u < hi; u++ {
			at, c0 := u/across*rows*cols, u%across*square
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
