package op

import (
	"fmt"
	"slices"

	"tandem/graph"
	"tandem/tensor"
)

// matmulOps are the products of stacks of matrices, with broadcasting.
func matmulOps() []graph.Op {
	return []graph.Op{
		{ID: onnx("MatMul"), Since: 1, Infer: inferMatMul, Kernel: kernelMatMul, Grad: gradMatMul, Expand: expandMatMul, Work: workProduct},
		// attributes alpha, transA, transB, transBatchA, transBatchB
		{ID: microsoft("FusedMatMul"), Since: 1, Infer: inferMatMul, Kernel: kernelMatMul, Grad: gradFusedMatMul, Expand: expandMatMul, Work: workProduct},
		{ID: microsoft("TransposeMatMul"), Since: 1, Infer: inferMatMul, Kernel: kernelMatMul, Expand: expandMatMul, Work: workProduct}, // its former name
		// FusedMatMul of operands that are rounded to bfloat16
		{ID: private("BFloat16MatMul"), Infer: inferMatMul, Kernel: kernelBFloat16MatMul, Work: workProduct},
		{ID: onnx("MatMulInteger"), Since: 10, Infer: inferMatMulInteger, Kernel: kernelMatMulInteger, Work: workProduct, Encoded: true, Panels: panelsOfBytes(1, []int{2}, []int{3})},
		{ID: onnx("QLinearMatMul"), Since: 10, Infer: inferQLinearMatMul, Kernel: kernelQLinearMatMul, Work: workProduct, Encoded: true, Panels: panelsOfBytes(3, []int{1, 2, 6, 7}, []int{4, 5})},
		// QLinearMatMul and afterBytes
		{ID: private("QLinearMatMul"), Infer: inferJoinedMatMul, Kernel: kernelJoinedMatMul, Work: workProduct, Encoded: true, Panels: panelsOfBytes(3, []int{1, 2, 6, 7}, []int{4, 5})},
		{ID: microsoft("MatMulIntegerToFloat"), Since: 1, Infer: inferMatMulToFloat, Kernel: kernelMatMulToFloat, Expand: expandMatMulToFloat},
		{ID: microsoft("DynamicQuantizeMatMul"), Since: 1, Infer: inferDynamicMatMul, Kernel: kernelDynamicMatMul},
		{ID: onnx("Det"), Since: 11, Infer: inferDet, Kernel: floating(kernelDet[float32], kernelDet[float64]), Grad: gradDet},
		// (matrices, ddet) -> dmatrices
		{ID: private("DetGrad"), Infer: sameAs(0, 2, 2), Kernel: kernelDetGrad},
	}
}

// operand is one side of a product: a stack of matrices. Its type parameter is the
// form of dimensions, symbolic or known.
type operand[D any] struct {
	batch      []D
	rows, cols D
}

// operandOf reads an operand's shape. A vector is a row on the left side and a
// column on the right. With stacked, the rows are the first dimension and the
// stack lies between (FusedMatMul, transBatchA).
func operandOf[D any](shape []D, one D, left, trans, stacked bool) operand[D] {
	rank := len(shape)
	switch {
	case rank == 1 && left:
		return operand[D]{nil, one, shape[0]}
	case rank == 1:
		return operand[D]{nil, shape[0], one}
	}
	o := operand[D]{shape[:rank-2], shape[rank-2], shape[rank-1]}
	if stacked {
		o.batch, o.rows = shape[1:rank-1], shape[0]
	}
	if trans {
		o.rows, o.cols = o.cols, o.rows
	}
	return o
}

// matMulAttrs are FusedMatMul's; MatMul has none of them.
type matMulAttrs struct {
	alpha            float32
	trans, transpose [2]bool // of the matrices; of the stack
}

func readMatMul(n *graph.Node) matMulAttrs {
	a := n.Attrs
	return matMulAttrs{
		alpha:     a.Float("alpha", 1),
		trans:     [2]bool{a.Int("transA", 0) != 0, a.Int("transB", 0) != 0},
		transpose: [2]bool{a.Int("transBatchA", 0) != 0, a.Int("transBatchB", 0) != 0},
	}
}

// matMulShape is the shape of the product of inputs i and j.
func matMulShape(c *graph.Infer, i, j int) (graph.Shape, error) {
	attrs := readMatMul(c.Node)
	a, b := c.In(i).Shape, c.In(j).Shape
	if len(a) == 0 || len(b) == 0 {
		return nil, fmt.Errorf("operands of shapes %v and %v: a scalar has no product", a, b)
	}
	x := operandOf(a, graph.Const(1), true, attrs.trans[0], attrs.transpose[0])
	y := operandOf(b, graph.Const(1), false, attrs.trans[1], attrs.transpose[1])
	if err := c.Same(x.cols, y.rows, fmt.Sprintf("inner dimensions of %v and %v", a, b)); err != nil {
		return nil, err
	}
	out, err := graph.Broadcast(x.batch, y.batch)
	if err != nil {
		return nil, err
	}
	if len(a) > 1 {
		out = append(out, x.rows)
	}
	if len(b) > 1 {
		out = append(out, y.cols)
	}
	return out, nil
}

func inferMatMul(c *graph.Infer) error {
	if err := c.Require(2, 2); err != nil {
		return err
	}
	if err := typed(c, wideNumber, 0, 1); err != nil {
		return err
	}
	shape, err := matMulShape(c, 0, 1)
	if err != nil {
		return err
	}
	c.Out(0, c.In(0).DType, shape)
	return nil
}

func kernelMatMul(c *graph.Call) (func() error, error) {
	switch c.In[0].DType() {
	case tensor.Int32:
		return kernelMatMulOf[int32](c)
	case tensor.Uint32:
		return kernelMatMulOf[uint32](c)
	case tensor.Int64:
		return kernelMatMulOf[int64](c)
	case tensor.Uint64:
		return kernelMatMulOf[uint64](c)
	}
	return floating(kernelMatMulOf[float32], kernelMatMulOf[float64])(c)
}

func kernelMatMulOf[T arith](c *graph.Call) (func() error, error) {
	attrs := readMatMul(c.Node)
	s, err := newStack[T](c, attrs, c.In[0].Shape(), c.In[1].Shape())
	if err != nil {
		return nil, err
	}
	return s.kernel(c, attrs.alpha), nil
}

func kernelBFloat16MatMul(c *graph.Call) (func() error, error) {
	attrs := readMatMul(c.Node)
	s, err := newStack[float32](c, attrs, c.In[0].Shape(), c.In[1].Shape())
	if err != nil {
		return nil, err
	}
	s.gemm.BFloat16 = true
	return s.kernel(c, attrs.alpha), nil
}

// kernel multiplies, and then by a factor.
func (s *stack[T]) kernel(c *graph.Call, alpha float32) func() error {
	c.Reserve(4 * s.scratchLen())
	return func() error {
		y := tensor.Data[T](c.Out[0])
		s.run(tensor.Data[T](c.In[0]), tensor.Data[T](c.In[1]), y, c.ScratchF32())
		scaleAll(y, alpha)
		return nil
	}
}

// stack multiplies two stacks of matrices.
type stack[T arith] struct {
	product[T]
	a, b []int // where the operands of each product begin
}

func newStack[T arith](c *graph.Call, attrs matMulAttrs, a, b tensor.Shape) (*stack[T], error) {
	x := operandOf(a, 1, true, attrs.trans[0], attrs.transpose[0])
	y := operandOf(b, 1, false, attrs.trans[1], attrs.transpose[1])
	if x.cols != y.rows {
		return nil, fmt.Errorf("inner dimensions of %v and %v differ", a, b)
	}
	s := &stack[T]{product: product[T]{m: x.rows, n: y.cols, k: x.cols}}
	s.transA, s.transB = attrs.trans[0] && len(a) > 1, attrs.trans[1] && len(b) > 1
	batch, err := broadcastShape(x.batch, y.batch)
	if err != nil {
		return nil, err
	}
	if tensor.Shape(y.batch).Len() == 1 && len(x.batch) == len(batch) && !s.transA && !attrs.transpose[0] {
		// One matrix on the right: the stack on the left is one tall matrix.
		s.m *= tensor.Shape(batch).Len()
		s.a, s.b = []int{0}, []int{0}
		if tensor.Shape(batch).Len() == 0 {
			s.a, s.b = nil, nil
		}
	} else {
		if s.a, s.lda, err = places(batch, x.batch, a, attrs.transpose[0]); err != nil {
			return nil, err
		}
		if s.b, s.ldb, err = places(batch, y.batch, b, attrs.transpose[1]); err != nil {
			return nil, err
		}
	}
	if attrs.transpose[1] && s.ldb == 0 {
		s.ldb = tensor.Shape(b[1:]).Len()
	}
	s.prepared(c.Pool)
	return s, nil
}

// places finds where the matrices of an operand begin, for each of a batch, and
// their row stride (0: dense).
func places(batch, own []int, shape tensor.Shape, stacked bool) (at []int, ld int, err error) {
	w, err := newWalk(append(slices.Clone(tensor.Shape(batch)), 1), append(slices.Clone(tensor.Shape(own)), 1))
	if err != nil {
		return nil, 0, err
	}
	size := 1
	switch {
	case stacked && len(shape) > 1:
		size, ld = shape[len(shape)-1], shape[1:].Len()
	case len(shape) > 1:
		size = shape[len(shape)-2:].Len()
	}
	at = make([]int, tensor.Shape(batch).Len())
	for i := range at {
		at[i] = w.offset(i) * size
	}
	return at, ld, nil
}

// broadcastShape is graph.Broadcast on known sizes.
func broadcastShape(a, b []int) ([]int, error) {
	s, err := graph.Broadcast(graph.Dims(a...), graph.Dims(b...))
	if err != nil {
		return nil, err
	}
	shape, _ := s.Static()
	return shape, nil
}

func (s *stack[T]) run(a, b, c []T, scratch []float32) {
	size := s.m * s.n
	if size == 0 {
		return
	}
	for i := range s.a {
		s.product.run(a[min(s.a[i], len(a)):], b[min(s.b[i], len(b)):], c[i*size:][:size], scratch)
	}
}

// expandMatMul writes out what the rule below does not have: a vector gets a dimension
// of 1, and a stack that lies behind the rows is put before them.
func expandMatMul(e *graph.Expansion) ([]*graph.Value, error) {
	attrs := readMatMul(e.Node)
	plain := e.Node.Op != microsoft("TransposeMatMul")
	in, squeezed := [2]*graph.Value{e.In(0), e.In(1)}, []int64(nil)
	for i, x := range in {
		switch rank := len(x.Type.Shape); {
		case rank == 1:
			in[i] = e.Op("Unsqueeze", nil, x, e.Ints("axis", int64(i)))
			attrs.trans[i], plain, squeezed = false, false, append(squeezed, int64(i-2))
		case attrs.transpose[i] && rank > 2:
			perm := make([]int64, rank)
			for d := range perm[:rank-2] {
				perm[d] = int64(d + 1)
			}
			perm[rank-1] = int64(rank - 1)
			in[i], plain = e.Op("Transpose", graph.Attrs{"perm": perm}, x), false
		}
	}
	if plain {
		return nil, nil
	}
	form := graph.Attrs{"alpha": attrs.alpha, "transA": flag(attrs.trans[0]), "transB": flag(attrs.trans[1])}
	y := e.Builder.Node(microsoft("FusedMatMul"), 1, form, in[0], in[1])[0]
	if squeezed != nil {
		y = e.Op("Squeeze", nil, y, e.Ints("axes", squeezed...))
	}
	return []*graph.Value{y}, nil
}

// gradMatMul: with y = a·b, da = dy·bᵀ and db = aᵀ·dy, added over the dimensions
// along which an operand was broadcast.
func gradMatMul(g *graph.Gradient) error {
	return matMulGrad(g, [2]bool{}, 1)
}

func gradFusedMatMul(g *graph.Gradient) error {
	attrs := readMatMul(g.Node)
	return matMulGrad(g, attrs.trans, attrs.alpha)
}

func matMulGrad(g *graph.Gradient, trans [2]bool, alpha float32) error {
	a, b, dy := g.In(0), g.In(1), g.Out(0)
	times := func(x, y *graph.Value, tx, ty bool) *graph.Value {
		attrs := graph.Attrs{"alpha": alpha, "transA": flag(tx), "transB": flag(ty)}
		return g.Builder.Node(microsoft("FusedMatMul"), 1, attrs, x, y)[0]
	}
	if g.Needs(0) {
		if trans[0] {
			g.Set(0, sumTo(g, times(b, dy, trans[1], true), 0))
		} else {
			g.Set(0, sumTo(g, times(dy, b, false, !trans[1]), 0))
		}
	}
	if rank := len(a.Type.Shape); g.Needs(1) && rank > 2 && len(b.Type.Shape) == 2 && !trans[0] {
		// One product over all rows of the stack.
		rows := func(v *graph.Value) *graph.Value {
			width := v.Type.Shape[len(v.Type.Shape)-1]
			if n, ok := width.Value(); ok {
				return g.Op("Reshape", nil, v, g.Ints("matrix", -1, int64(n)))
			}
			return nil
		}
		if x, dy := rows(a), rows(dy); x != nil && dy != nil {
			if trans[1] {
				x, dy = dy, x
			}
			g.Set(1, g.Op("Gemm", graph.Attrs{"transA": int64(1), "alpha": alpha}, x, dy))
			return nil
		}
	}
	if g.Needs(1) {
		if trans[1] {
			g.Set(1, sumTo(g, times(dy, a, true, trans[0]), 1))
		} else {
			g.Set(1, sumTo(g, times(a, dy, !trans[0], false), 1))
		}
	}
	return nil
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
