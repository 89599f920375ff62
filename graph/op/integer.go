package op

import (
	"fmt"
	"slices"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// integerOps are products of bytes joined with what follows them.
func integerOps() []graph.Op {
	return []graph.Op{
		// x [..., K] -> bytes [..., K], step [..., 1]: each row in steps of its own
		{ID: private("QuantizeRows"), Infer: inferQuantizeRows, Kernel: kernelQuantizeRows},
		// (a, b, aScale, bScale, aZero, bZero, bias, add) ->
		// act(float((a-aZero)·(b-bZero))·(aScale·bScale) + bias) + add, rounded after each
		// step; b [k,n]; aScale one number or one for each row; attribute activation
		{ID: private("IntegerLinear"), Infer: inferIntegerLinear, Kernel: kernelIntegerLinear, Work: workProduct, Encoded: true, Panels: panelsOfBytes(integerB, []int{integerZeroA}, []int{integerZeroB})},
	}
}

// Inputs of IntegerLinear, the first seven of them those of MatMulIntegerToFloat.
const (
	integerA = iota
	integerB
	integerScaleA
	integerScaleB
	integerZeroA
	integerZeroB
	integerBias
	integerAdd
)

func inferIntegerLinear(c *graph.Infer) error {
	if err := c.Require(4, 8); err != nil {
		return err
	}
	if err := operandsQuantized(c, isByte, [2]int{integerA, integerZeroA}, [2]int{integerB, integerZeroB}); err != nil {
		return err
	}
	if err := c.Floats(integerScaleA, integerScaleB, integerBias, integerAdd); err != nil {
		return err
	}
	if err := c.Rank(integerB, 2); err != nil {
		return err
	}
	if _, err := activation(c.Node); err != nil {
		return err
	}
	return inferScaledProduct(c)
}

// byteProduct multiplies stacks of matrices of bytes, whose zero points are one
// number for a, and one or one for each column for b.
type byteProduct struct {
	kernel.ByteGemm
	call         *graph.Call
	a, w         *tensor.Tensor
	zeroA, zeroB *tensor.Tensor
	as, bs       []int // where the operands of each product begin
	packed       bool
	packing      int // bytes of scratch for b packed
	columns      int // for what belongs to columns
	room         int // and for a product
	workers      []byteProduct
	result       func(g *kernel.ByteGemm, i int) // sets where the i-th result goes
	body         func(lo, hi, worker int)        // of a loop over several products
}

// byteProductOf is the product of inputs a and b, if it is such. A negative number of a
// zero point's input says that it is absent.
func byteProductOf(c *graph.Call, attrs matMulAttrs, a, b, aZero, bZero int) (*byteProduct, bool) {
	p := &byteProduct{call: c, a: c.In[a], w: c.In[b], zeroA: optional(c, aZero), zeroB: optional(c, bZero)}
	s, err := newStack[int32](c, attrs, p.a.Shape(), p.w.Shape())
	if err != nil {
		return nil, false
	}
	zeros := 1
	if p.zeroB != nil {
		zeros = p.zeroB.Len()
	}
	if p.zeroA != nil && p.zeroA.Len() != 1 || zeros != 1 && (p.zeroB.Rank() != 1 || zeros != s.n) {
		return nil, false
	}
	p.M, p.N, p.K, p.as, p.bs = s.m, s.n, s.k, s.a, s.b
	p.SignedA = p.a.DType() == tensor.Int8
	v := c.Node.Inputs[b].Const
	p.packed = v != nil && v.Encoding == graph.PanelBytes
	return p, true
}

// reserve asks for scratch memory, once the result has been chosen: Sums, Y or Bytes
// are then not nil.
func (p *byteProduct) reserve() {
	if !p.packed {
		p.packing = (kernel.PackedByteLen(p.K, p.N, p.call.Pool) + 63) &^ 63
	}
	p.columns = (4*p.N + 63) &^ 63
	p.ZeroB = []int32{} // there may be some
	p.room = (p.ScratchLen(p.call.Pool) + 63) &^ 63
	rooms := 1
	if len(p.as) > 1 {
		p.workers = make([]byteProduct, p.call.Pool.Threads())
		rooms = len(p.workers)
		p.body = p.some
	}
	p.call.Reserve(2*p.columns + rooms*(p.packing+p.room))
}

// begin reads the zero points, and returns what scales of columns are written to.
func (p *byteProduct) begin() []float32 {
	scratch := p.call.Scratch()
	p.ZeroA = 0
	if p.zeroA != nil {
		p.ZeroA = int32(smallByte(p.zeroA, 0))
	}
	zeros := asElements[int32](scratch[:p.columns])[:p.N]
	base, some := int32(0), false
	if p.w.DType() == tensor.Uint8 {
		base = -128
	}
	for j := range zeros {
		zeros[j] = base
		if p.zeroB != nil {
			zeros[j] += int32(smallByte(p.zeroB, j))
		}
		some = some || zeros[j] != 0
	}
	p.ZeroB = nil
	if some {
		p.ZeroB = zeros
	}
	return asElements[float32](scratch[p.columns : 2*p.columns])[:p.N]
}

// smallByte is element i of a tensor of bytes, or its only one.
func smallByte(t *tensor.Tensor, i int) int {
	b := t.Bytes()[min(i, t.Len()-1)]
	if t.DType() == tensor.Int8 {
		return int(int8(b))
	}
	return int(b)
}

// multiply computes the i-th product, whose result has been set, with packed weights
// or, if they are not constant, room to pack them in.
func (p *byteProduct) multiply(i int, room, scratch []byte) {
	p.A = p.a.Bytes()[min(p.as[i], p.a.Len()):]
	if p.packed {
		p.Packed = p.w.Bytes()
	} else {
		p.Packed = room
		p.PackB(p.call.Pool, room, p.w.Bytes()[p.bs[i]:], p.w.DType() == tensor.Int8)
	}
	p.Run(p.call.Pool, scratch)
}

// each computes all products. Of several, each is the work of one thread.
func (p *byteProduct) each() {
	if len(p.as) == 1 {
		scratch := p.call.Scratch()[2*p.columns:]
		p.result(&p.ByteGemm, 0)
		p.multiply(0, scratch[:p.packing], scratch[p.packing:])
		return
	}
	for i := range p.workers {
		p.workers[i] = *p
	}
	p.call.Pool.For(len(p.as), max(1, (1<<17)/max(1, p.M*p.N*p.K)), p.body)
}

func (p *byteProduct) some(lo, hi, worker int) {
	size := p.packing + p.room
	w, scratch := &p.workers[worker], p.call.Scratch()[2*p.columns+worker*size:][:size]
	for i := lo; i < hi; i++ {
		p.result(&w.ByteGemm, i)
		w.multiply(i, scratch[:p.packing], scratch[p.packing:])
	}
}

// columnScales writes the scales of the columns, times a factor, over a divisor.
func columnScales(to []float32, scale *tensor.Tensor, factor, divisor float32) {
	from := scale.F32()
	for j := range to {
		to[j] = factor * from[min(j, len(from)-1)] / divisor
	}
}

func kernelIntegerLinear(c *graph.Call) (func() error, error) {
	p, ok := byteProductOf(c, matMulAttrs{}, integerA, integerB, integerZeroA, integerZeroB)
	if !ok {
		return nil, fmt.Errorf("operands %v and %v with these zero points are no product of bytes with one matrix", c.In[integerA].Shape(), c.In[integerB].Shape())
	}
	act, err := activation(c.Node)
	if err != nil {
		return nil, err
	}
	y, rows, columns := c.Out[0], c.In[integerScaleA].Len(), c.In[integerScaleB].Len()
	if rows != 1 && rows != p.M || columns != 1 && columns != p.N || c.Has(integerBias) && c.In[integerBias].Len() != p.N ||
		c.Has(integerAdd) && !c.In[integerAdd].Shape().Equal(y.Shape()) || !act.fused {
		return nil, fmt.Errorf("%d and %d scales, a bias or an addend do not fit a product of shape %v", rows, columns, y.Shape())
	}
	p.Act = act.act
	p.reserve()
	p.result = func(g *kernel.ByteGemm, _ int) {
		g.ScaleA, g.Bias, g.Add, g.Y = c.F32(integerScaleA), c.F32(integerBias), c.F32(integerAdd), y.F32()
	}
	return func() error {
		if y.Len() == 0 {
			return nil
		}
		p.ScaleB = p.begin()
		columnScales(p.ScaleB, c.In[integerScaleB], 1, 1)
		p.each()
		return nil
	}, nil
}

func inferQuantizeRows(c *graph.Infer) error {
	if err := c.Require(1, 1); err != nil {
		return err
	}
	if err := c.Floats(0); err != nil {
		return err
	}
	x := c.In(0).Shape
	if len(x) == 0 {
		return fmt.Errorf("input 0 (%s) is a scalar", c.Node.Inputs[0].Name)
	}
	c.Out(0, tensor.Uint8, x)
	c.Out(1, tensor.Float32, append(slices.Clone(x[:len(x)-1]), graph.Const(1)))
	return nil
}

func kernelQuantizeRows(c *graph.Call) (func() error, error) {
	x := c.In[0]
	k := x.Dim(x.Rank() - 1)
	v := &kernel.QuantizeRows{M: c.Out[1].Len(), K: k}
	return func() error {
		v.X, v.Y, v.Step = x.F32(), c.Out[0].Bytes(), c.Out[1].F32()
		v.Run(c.Pool)
		return nil
	}, nil
}

// byteSums is the kernel of MatMulInteger on byteProduct.
func (p *byteProduct) byteSums() func() error {
	p.Sums = []int32{}
	p.reserve()
	p.result = func(g *kernel.ByteGemm, i int) {
		g.Sums = tensor.Data[int32](p.call.Out[0])[i*g.M*g.N:][:g.M*g.N]
	}
	return func() error {
		if p.call.Out[0].Len() == 0 {
			return nil
		}
		p.begin()
		p.each()
		return nil
	}
}

// byteSteps is the kernel of QLinearMatMul and QGemm on byteProduct. The three scales become one
// factor, as in onnxruntime.
func (p *byteProduct) byteSteps(aScale, bScale, yScale, yZero int) func() error {
	c := p.call
	p.Bytes, p.ToSigned = []byte{}, c.In[yZero].DType() == tensor.Int8
	p.reserve()
	p.result = func(g *kernel.ByteGemm, i int) { g.Bytes = c.Out[0].Bytes()[i*g.M*g.N:][:g.M*g.N] }
	return func() error {
		if c.Out[0].Len() == 0 {
			return nil
		}
		p.ScaleB, p.To = p.begin(), int32(smallByte(c.In[yZero], 0))
		columnScales(p.ScaleB, c.In[bScale], c.In[aScale].F32()[0], c.In[yScale].F32()[0])
		p.each()
		return nil
	}
}

// steppable reports whether the scales of a QLinearMatMul are those of byteSteps.
func (p *byteProduct) steppable(aScale, bScale, yScale, yZero int) bool {
	c := p.call
	b := c.In[bScale]
	for _, i := range []int{aScale, bScale, yScale} {
		if c.In[i].DType() != tensor.Float32 {
			return false
		}
	}
	return c.In[aScale].Len() == 1 && c.In[yScale].Len() == 1 && c.In[yZero].Len() == 1 && isByte(c.Out[0].DType()) &&
		(b.Len() == 1 || b.Rank() == 1 && b.Len() == p.N)
}

// panelsOfBytes is Op.Panels of a product of bytes: its matrix b is packed if the zero
// points and scales, each one number or also one for each column, are certain to be
// what byteProduct takes. The attribute transB is looked at.
func panelsOfBytes(b int, numbers, columns []int) func(*graph.Node) []graph.Panel {
	return func(n *graph.Node) []graph.Panel {
		w := n.Inputs[b].Type
		if !w.Known() || len(w.Shape) != 2 || !n.Inputs[0].Type.Known() || !isByte(n.Inputs[0].Type.DType) {
			return nil
		}
		trans, width := n.Attrs.Int("transB", 0) != 0, w.Shape[1]
		if trans {
			width = w.Shape[0]
		}
		number := func(v *graph.Value) bool { return v.Type.Shape.Len().Is(1) }
		column := func(v *graph.Value) bool {
			return number(v) || len(v.Type.Shape) == 1 && v.Type.Shape[0].Equal(width)
		}
		plain := func(list []int, fits func(*graph.Value) bool) bool {
			return !slices.ContainsFunc(list, func(i int) bool {
				v := n.Input(i)
				return v != nil && (!v.Type.Known() || !isByte(v.Type.DType) && v.Type.DType != tensor.Float32 || !fits(v))
			})
		}
		if !plain(numbers, number) || !plain(columns, column) {
			return nil
		}
		return []graph.Panel{{In: b, Transposed: trans}}
	}
}
