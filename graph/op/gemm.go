package op

import (
	"fmt"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// gemmOps are the products of two matrices.
func gemmOps() []graph.Op {
	return []graph.Op{
		{ID: onnx("Gemm"), Since: 6, Infer: inferGemm, Kernel: kernelGemm, Grad: gradGemm, Work: workProduct, Encoded: true, Panels: graph.PanelSecond},
		{ID: microsoft("FusedGemm"), Since: 1, Infer: inferGemm, Kernel: kernelGemm, Expand: expandFused("Gemm"), Work: workProduct, Encoded: true, Panels: graph.PanelSecond},
		// FusedGemm of operands that are rounded to bfloat16
		{ID: private("BFloat16Gemm"), Infer: inferGemm, Kernel: kernelBFloat16Gemm, Work: workProduct},
	}
}

// inferGemm: y = alpha·op(a)·op(b) + beta·c with a [m,k], b [k,n], and c
// broadcast to [m,n].
func inferGemm(c *graph.Infer) error {
	if err := c.Require(2, 3); err != nil {
		return err
	}
	if err := typed(c, wideNumber, 0, 1, 2); err != nil {
		return err
	}
	for i := range 2 {
		if err := c.Rank(i, 2); err != nil {
			return err
		}
	}
	if _, err := activation(c.Node); err != nil {
		return err
	}
	a, b := c.In(0).Shape, c.In(1).Shape
	m, k := a[0], a[1]
	if c.Node.Attrs.Int("transA", 0) != 0 {
		m, k = k, m
	}
	kb, n := b[0], b[1]
	if c.Node.Attrs.Int("transB", 0) != 0 {
		kb, n = n, kb
	}
	if err := c.Same(k, kb, fmt.Sprintf("inner dimensions of %v and %v", a, b)); err != nil {
		return err
	}
	y := graph.Shape{m, n}
	if c.Has(2) {
		if s, err := graph.Broadcast(y, c.In(2).Shape); err != nil || len(s) != 2 {
			return fmt.Errorf("input 2 of shape %v cannot be broadcast to %v", c.In(2).Shape, y)
		}
	}
	c.Out(0, c.In(0).DType, y)
	return nil
}

func kernelGemm(c *graph.Call) (func() error, error) {
	switch c.In[0].DType() {
	case tensor.Int32:
		return kernelGemmOf[int32](c)
	case tensor.Uint32:
		return kernelGemmOf[uint32](c)
	case tensor.Int64:
		return kernelGemmOf[int64](c)
	case tensor.Uint64:
		return kernelGemmOf[uint64](c)
	}
	return floating(kernelGemmF32, kernelGemmOf[float64])(c)
}

func kernelGemmF32(c *graph.Call) (func() error, error) { return gemmKernel(c, false) }

func kernelBFloat16Gemm(c *graph.Call) (func() error, error) { return gemmKernel(c, true) }

func gemmKernel(c *graph.Call, bfloat16 bool) (func() error, error) {
	attrs := c.Node.Attrs
	act, err := activation(c.Node)
	if err != nil {
		return nil, err
	}
	a, y := c.In[0], c.Out[0]
	k := &kernel.Gemm{
		M: y.Dim(0), N: y.Dim(1), K: a.Dim(1),
		TransA: attrs.Int("transA", 0) != 0, TransB: attrs.Int("transB", 0) != 0, BFloat16: bfloat16,
	}
	if k.TransA {
		k.K = a.Dim(0)
	}
	kb := c.In[1].Dim(0)
	if k.TransB {
		kb = c.In[1].Dim(1)
	}
	if kb != k.K {
		return nil, fmt.Errorf("inner dimensions of %v and %v differ", a.Shape(), c.In[1].Shape())
	}
	alpha, beta := attrs.Float("alpha", 1), attrs.Float("beta", 1)
	packed := c.Node.Inputs[1].Const != nil && c.Node.Inputs[1].Const.Encoding == graph.PanelB
	setB := func() {
		k.A, k.C = a.F32(), y.F32()
		if packed {
			k.Packed = c.In[1].F32()
		} else {
			k.B = c.In[1].F32()
		}
	}
	if axis, ok := biasAxis(c, alpha, beta); ok && act.fused {
		k.Act, k.BiasAxis = act.act, axis
		c.Reserve(4 * k.ScratchLen(c.Pool))
		return func() error {
			setB()
			k.Bias = c.F32(2)
			k.Run(c.Pool, c.ScratchF32())
			return nil
		}, nil
	}
	return generalGemm(c, k, setB, alpha, beta, act)
}

// biasAxis reports whether input 2 is a bias that the matrix kernel adds itself.
func biasAxis(c *graph.Call, alpha, beta float32) (kernel.BiasAxis, bool) {
	if alpha != 1 {
		return 0, false
	}
	if !c.Has(2) {
		return kernel.BiasNone, true
	}
	if beta != 1 {
		return 0, false
	}
	bias, n := c.In[2].Shape(), c.Out[0].Dim(1)
	if bias.Len() == n && bias[len(bias)-1] == n {
		return kernel.BiasColumn, true
	}
	return 0, false
}

// generalGemm scales the product and adds any broadcast of input 2 afterwards.
func generalGemm(c *graph.Call, k *kernel.Gemm, setB func(), alpha, beta float32, act activationFunc) (func() error, error) {
	c.Reserve(4 * k.ScratchLen(c.Pool))
	var w *walk
	if c.Has(2) {
		var err error
		if w, err = newWalk(c.Out[0].Shape(), c.In[2].Shape()); err != nil {
			return nil, err
		}
	}
	return func() error {
		setB()
		k.Run(c.Pool, c.ScratchF32())
		for row := range k.M {
			y := k.C[row*k.N:][:k.N]
			for i := range y {
				y[i] *= alpha
				if w != nil {
					y[i] += beta * c.F32(2)[w.offset(row)+i*w.strides[1]]
				}
				if act.apply != nil {
					y[i] = float32(act.apply(float64(y[i])))
				}
			}
		}
		return nil
	}, nil
}

// kernelGemmOf computes in any element type. Scalars apply in float64, as ONNX's
// reference does for integers.
func kernelGemmOf[T arith](c *graph.Call) (func() error, error) {
	attrs := c.Node.Attrs
	act, err := activation(c.Node)
	if err != nil {
		return nil, err
	}
	p := &product[T]{m: c.Out[0].Dim(0), n: c.Out[0].Dim(1), k: c.In[0].Dim(1)}
	p.transA, p.transB = attrs.Int("transA", 0) != 0, attrs.Int("transB", 0) != 0
	if p.transA {
		p.k = c.In[0].Dim(0)
	}
	p.prepared(c.Pool)
	var w *walk
	if c.Has(2) {
		if w, err = newWalk(c.Out[0].Shape(), c.In[2].Shape()); err != nil {
			return nil, err
		}
	}
	alpha, beta := attrs.Float("alpha", 1), attrs.Float("beta", 1)
	return func() error {
		y := tensor.Data[T](c.Out[0])
		p.run(tensor.Data[T](c.In[0]), tensor.Data[T](c.In[1]), y, nil)
		scaleAll(y, alpha)
		if w != nil {
			addBroadcast(y, tensor.Data[T](c.In[2]), w, beta)
		}
		if act.apply != nil {
			for i, v := range y {
				y[i] = T(act.apply(float64(v)))
			}
		}
		return nil
	}, nil
}

func scaleAll[T arith](y []T, s float32) {
	if s == 1 {
		return
	}
	for i, v := range y {
		y[i] = T(float64(v) * float64(s))
	}
}

// addBroadcast adds beta·x to the matrix y.
func addBroadcast[T arith](y, x []T, w *walk, beta float32) {
	cols := w.last()
	for row := range w.rows() {
		off := w.offset(row)
		for i := range cols {
			v := x[off+i*w.strides[1]]
			if beta != 1 {
				v = T(float64(v) * float64(beta))
			}
			y[row*cols+i] += v
		}
	}
}

// gradGemm: with y = alpha·a·b, da = alpha·dy·bᵀ and db = alpha·aᵀ·dy; where an
// operand is transposed, so is its gradient.
func gradGemm(g *graph.Gradient) error {
	ta, tb := g.Node.Attrs.Int("transA", 0), g.Node.Attrs.Int("transB", 0)
	alpha, dy := g.Node.Attrs.Float("alpha", 1), g.Out(0)
	product := func(x, y *graph.Value, tx, ty int) *graph.Value {
		return g.Op("Gemm", graph.Attrs{"transA": int64(tx), "transB": int64(ty), "alpha": alpha}, x, y)
	}
	if g.Needs(0) {
		if ta == 0 {
			g.Set(0, product(dy, g.In(1), 0, 1-tb))
		} else {
			g.Set(0, product(g.In(1), dy, tb, 1))
		}
	}
	if g.Needs(1) {
		if tb == 0 {
			g.Set(1, product(g.In(0), dy, 1-ta, 0))
		} else {
			g.Set(1, product(dy, g.In(0), 1, ta))
		}
	}
	if g.Needs(2) {
		d := sumTo(g, dy, 2)
		if beta := g.Node.Attrs.Float("beta", 1); beta != 1 {
			d = g.Op("Mul", nil, d, g.Scalar("beta", beta))
		}
		g.Set(2, d)
	}
	return nil
}
