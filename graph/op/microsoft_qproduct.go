package op

import (
	"fmt"

	"tandem/graph"
	"tandem/tensor"
)

// Products of quantized matrices, as onnxruntime's quantiser and optimiser write them:
// the sums are exact, their scale is applied afterwards.

// Inputs of QGemm: a and b with scale and zero point, a whole number to add to the sums,
// the scale and the zero point of the result, which is float without them.
const (
	qgA, qgAScale, qgAZero, qgB, qgBScale, qgBZero, qgC, qgScale, qgZero = 0, 1, 2, 3, 4, 5, 6, 7, 8
)

func qGemmAttrs(n *graph.Node) matMulAttrs {
	return matMulAttrs{alpha: n.Attrs.Float("alpha", 1), trans: [2]bool{n.Attrs.Int("transA", 0) != 0, n.Attrs.Int("transB", 0) != 0}}
}

func inferQGemm(c *graph.Infer) error {
	if err := c.Require(5, 9); err != nil {
		return err
	}
	if err := operandsQuantized(c, isByte, [2]int{qgA, qgAZero}, [2]int{qgB, qgBZero}); err != nil {
		return err
	}
	if err := c.Floats(qgAScale, qgBScale, qgScale); err != nil {
		return err
	}
	if c.Has(qgC) && c.In(qgC).DType != tensor.Int32 {
		return fmt.Errorf("input %d (%s) is %v, expected int32", qgC, c.Node.Inputs[qgC].Name, c.In(qgC).DType)
	}
	for _, i := range []int{qgA, qgB} {
		if err := c.Rank(i, 2); err != nil {
			return err
		}
	}
	a, b, trans := c.In(qgA).Shape, c.In(qgB).Shape, qGemmAttrs(c.Node).trans
	rows, k := a[0], a[1]
	if trans[0] {
		rows, k = k, rows
	}
	bk, cols := b[0], b[1]
	if trans[1] {
		bk, cols = cols, bk
	}
	if err := c.Same(k, bk, "inner dimensions"); err != nil {
		return err
	}
	d := tensor.Float32
	if c.Has(qgScale) != c.Has(qgZero) {
		return fmt.Errorf("the scale and the zero point of the result come together")
	}
	if c.Has(qgZero) {
		if err := typed(c, isByte, qgZero); err != nil {
			return err
		}
		d = c.In(qgZero).DType
	}
	c.Out(0, d, graph.Shape{rows, cols})
	return nil
}

// qGemmPanels packs matrices of which byteSteps computes the product.
func qGemmPanels(n *graph.Node) []graph.Panel {
	attrs := qGemmAttrs(n)
	if attrs.trans[0] || attrs.alpha != 1 || n.Input(qgScale) == nil || n.Input(qgZero) == nil {
		return nil
	}
	panels := panelsOfBytes(qgB, []int{qgAScale, qgAZero, qgScale, qgZero}, []int{qgBScale, qgBZero})(n)
	if add := n.Input(qgC); add != nil && panels != nil {
		width := n.Inputs[qgB].Type.Shape[1]
		if panels[0].Transposed {
			width = n.Inputs[qgB].Type.Shape[0]
		}
		if !add.Type.Known() || len(add.Type.Shape) != 1 || !add.Type.Shape[0].Equal(width) {
			return nil
		}
	}
	return panels
}

// kernelPackedQGemm is the kernel of what qGemmPanels packs.
func kernelPackedQGemm(c *graph.Call) (func() error, error) {
	p, ok := byteProductOf(c, qGemmAttrs(c.Node), qgA, qgB, qgAZero, qgBZero)
	if !ok || !p.steppable(qgAScale, qgBScale, qgScale, qgZero) {
		return nil, fmt.Errorf("operands %v and %v with these scales and zero points are no product of bytes", c.In[qgA].Shape(), c.In[qgB].Shape())
	}
	run := p.byteSteps(qgAScale, qgBScale, qgScale, qgZero)
	return func() error {
		if c.Has(qgC) {
			p.Start = tensor.Data[int32](c.In[qgC])
		}
		return run()
	}, nil
}

func kernelQGemm(c *graph.Call) (func() error, error) {
	if v := c.Node.Inputs[qgB].Const; v != nil && v.Encoding == graph.PanelBytes {
		return kernelPackedQGemm(c)
	}
	y, attrs := c.Out[0], qGemmAttrs(c.Node)
	q, err := newProductOf[int32](c, attrs, qgA, qgB, qgAZero, qgBZero)
	if err != nil {
		return nil, err
	}
	a, b, err := scalesOf(c, qgAScale, qgBScale)
	if err != nil {
		return nil, err
	}
	var add *walk
	if c.Has(qgC) {
		if add, err = newWalk(y.Shape(), c.In[qgC].Shape()); err != nil {
			return nil, err
		}
	}
	s, err := newSums[int32](c)
	if err != nil {
		return nil, err
	}
	return func() error {
		q.run(s.exact)
		if add != nil {
			addWhole(s.exact, tensor.Data[int32](c.In[qgC]), add)
		}
		convert(s.real, s.exact)
		a.multiply(s.real)
		b.multiply(s.real)
		for i := range s.real {
			s.real[i] *= float64(attrs.alpha)
		}
		if !c.Has(qgScale) {
			convert(y.F32(), s.real)
			return nil
		}
		return s.requantize(y, c.In[qgScale], c.In[qgZero])
	}, nil
}

// addWhole adds x, broadcast, to the rows of y.
func addWhole(y, x []int32, w *walk) {
	cols := w.last()
	step := w.strides[len(w.strides)-1]
	for row := range w.rows() {
		from := x[w.offset(row):]
		for i := range cols {
			y[row*cols+i] += from[i*step]
		}
	}
}

// Inputs of QAttention: x and weights of bytes, a bias, their scales, a mask, their zero
// points, the past.
const (
	qaXScale, qaWeightScale, qaMask, qaXZero, qaWeightZero, qaPast = 3, 4, 5, 6, 7, 8
)

func inferQAttention(c *graph.Infer) error {
	if err := c.Require(5, 9); err != nil {
		return err
	}
	if err := operandsQuantized(c, isByte, [2]int{packedX, qaXZero}, [2]int{packedWeights, qaWeightZero}); err != nil {
		return err
	}
	if err := c.Floats(packedBias, qaXScale, qaWeightScale, qaPast); err != nil {
		return err
	}
	return inferPacked(c, tensor.Float32, qaMask, qaPast, -1)
}

// kernelQAttention is Attention behind a product of bytes.
func kernelQAttention(c *graph.Call) (func() error, error) {
	in := c.In
	x := in[packedX].Shape()
	shape := tensor.Shape{x[0], x[1], in[packedWeights].Dim(1)}
	q, err := newQuantizedProduct[int32](c, packedX, packedWeights, qaXZero, qaWeightZero)
	if err != nil {
		return nil, err
	}
	var params [3]*param
	for i, at := range []int{qaXScale, qaWeightScale, packedBias} {
		if params[i], err = newParam(in[at], shape, false); err != nil {
			return nil, err
		}
	}
	sums, err := graph.Room[int32](c, shape.Len())
	if err != nil {
		return nil, err
	}
	c.In = []*tensor.Tensor{in[packedX], in[packedWeights], in[packedBias], inputAt(in, qaMask), inputAt(in, qaPast)}
	return packedAttention(c, func(all []float32) {
		q.run(sums)
		convert(all, sums)
		for _, p := range params[:2] {
			p.each(func(i int, v float32) { all[i] *= v })
		}
		params[2].each(func(i int, v float32) { all[i] += v })
	})
}
