package op

import (
	"fmt"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// elementwiseOps are the functions of two operands with broadcasting
// (ONNX, "Broadcasting in ONNX", multidirectional).
func elementwiseOps() []graph.Op {
	both := []graph.Alias{{In: 0, Out: 0}, {In: 1, Out: 0}}
	return []graph.Op{
		{ID: onnx("Add"), Since: 7, Infer: inferBroadcast, Kernel: binary(kernel.OpAdd), Grad: gradAdd, InPlace: both},
		{ID: onnx("Sub"), Since: 7, Infer: inferBroadcast, Kernel: binary(kernel.OpSub), Grad: gradSub, InPlace: both},
		{ID: onnx("Mul"), Since: 7, Infer: inferBroadcast, Kernel: binary(kernel.OpMul), Grad: gradMul, InPlace: both},
		{ID: onnx("Div"), Since: 7, Infer: inferBroadcast, Kernel: binary(kernel.OpDiv), Grad: gradDiv, InPlace: both},
		{ID: onnx("Neg"), Since: 6, Infer: floatLike(0, 1), Kernel: kernelNeg, Grad: gradNeg, InPlace: both[:1]},
		{ID: private("SumTo"), Infer: inferSumTo, Kernel: kernelSumTo, Grad: nil},
	}
}

func inferBroadcast(c *graph.Infer) error {
	if err := c.Require(2, 2); err != nil {
		return err
	}
	if err := c.Floats(0, 1); err != nil {
		return err
	}
	shape, err := graph.Broadcast(c.In(0).Shape, c.In(1).Shape)
	if err != nil {
		return err
	}
	c.Out(0, c.In(0).DType, shape)
	return nil
}

func binary(op kernel.BinaryOp) func(*graph.Call) (func() error, error) {
	return func(c *graph.Call) (func() error, error) {
		a, b, y := c.In[0], c.In[1], c.Out[0]
		if a.Shape().Equal(b.Shape()) {
			k := &kernel.Binary{Op: op}
			return func() error {
				k.A, k.B, k.Y = a.F32(), b.F32(), y.F32()
				k.Run(c.Pool)
				return nil
			}, nil
		}
		ai, err := newWalk(y.Shape(), a.Shape())
		if err != nil {
			return nil, err
		}
		bi, err := newWalk(y.Shape(), b.Shape())
		if err != nil {
			return nil, err
		}
		return broadcastRows(op, c, ai, bi), nil
	}
}

// broadcastRows computes the last dimension row by row, so that the kernel sees
// operands of one length; an operand that does not vary along it is spread first.
func broadcastRows(op kernel.BinaryOp, c *graph.Call, ai, bi *walk) func() error {
	cols := ai.last()
	c.Reserve(2 * cols * 4)
	k := &kernel.Binary{Op: op}
	return func() error {
		a, b, y := c.In[0].F32(), c.In[1].F32(), c.Out[0].F32()
		room := c.ScratchF32()
		for row := range ai.rows() {
			k.A = ai.row(row, a, room[:cols])
			k.B = bi.row(row, b, room[cols:2*cols])
			k.Y = y[row*cols:][:cols]
			k.Run(c.Pool)
		}
		return nil
	}
}

// walk finds, for each row of an output shape, where a broadcast operand's row
// begins.
type walk struct {
	out     tensor.Shape
	strides []int // of the operand in elements, by output dimension; 0 where it repeats
}

func newWalk(out, in tensor.Shape) (*walk, error) {
	w := &walk{out: out, strides: make([]int, len(out))}
	stride := 1
	for i := len(in) - 1; i >= 0; i-- {
		j := i + len(out) - len(in)
		switch {
		case in[i] == out[j]:
			w.strides[j] = stride
		case in[i] != 1:
			return nil, fmt.Errorf("shape %v cannot be broadcast to %v", in, out)
		}
		stride *= in[i]
	}
	return w, nil
}

func (w *walk) last() int {
	if len(w.out) == 0 {
		return 1
	}
	return w.out[len(w.out)-1]
}

func (w *walk) rows() int {
	if len(w.out) == 0 {
		return 1
	}
	return w.out[:len(w.out)-1].Len()
}

// offset is where the operand's elements for an output row begin.
func (w *walk) offset(row int) int {
	off := 0
	for i := len(w.out) - 2; i >= 0; i-- {
		off += row % w.out[i] * w.strides[i]
		row /= w.out[i]
	}
	return off
}

// row is the operand along an output row: its own elements, or one of them
// repeated into room.
func (w *walk) row(row int, x, room []float32) []float32 {
	off, n := w.offset(row), w.last()
	if n == 0 {
		return room[:0]
	}
	if len(w.out) > 0 && (w.strides[len(w.out)-1] == 1 || n == 1) {
		return x[off:][:n]
	}
	for i := range room {
		room[i] = x[off]
	}
	return room
}

// sumTo reduces a gradient to the shape of the operand it belongs to.
func sumTo(g *graph.Gradient, d *graph.Value, input int) *graph.Value {
	x := g.In(input)
	if x.Type.Shape.Equal(d.Type.Shape) {
		return d
	}
	return g.Private("SumTo", nil, d, x)
}

func gradAdd(g *graph.Gradient) error {
	for i := range 2 {
		if g.Needs(i) {
			g.Set(i, sumTo(g, g.Out(0), i))
		}
	}
	return nil
}

func gradSub(g *graph.Gradient) error {
	if g.Needs(0) {
		g.Set(0, sumTo(g, g.Out(0), 0))
	}
	if g.Needs(1) {
		g.Set(1, sumTo(g, g.Op("Neg", nil, g.Out(0)), 1))
	}
	return nil
}

func gradMul(g *graph.Gradient) error {
	for i := range 2 {
		if g.Needs(i) {
			g.Set(i, sumTo(g, g.Op("Mul", nil, g.Out(0), g.In(1-i)), i))
		}
	}
	return nil
}

// gradDiv: d(a/b) = da/b - db·(a/b)/b.
func gradDiv(g *graph.Gradient) error {
	quotient := g.Op("Div", nil, g.Out(0), g.In(1))
	if g.Needs(0) {
		g.Set(0, sumTo(g, quotient, 0))
	}
	if g.Needs(1) {
		scaled := g.Op("Mul", nil, quotient, g.Node.Outputs[0])
		g.Set(1, sumTo(g, g.Op("Neg", nil, scaled), 1))
	}
	return nil
}

func kernelNeg(c *graph.Call) (func() error, error) {
	k := &kernel.Scale{S: -1}
	return func() error {
		k.X, k.Y = c.In[0].F32(), c.Out[0].F32()
		k.Run(c.Pool)
		return nil
	}, nil
}

func gradNeg(g *graph.Gradient) error {
	g.Set(0, g.Op("Neg", nil, g.Out(0)))
	return nil
}

// SumTo(x, like) adds x over the dimensions along which like was broadcast. Each
// sum goes over x in its own order.
func inferSumTo(c *graph.Infer) error {
	if err := c.Require(2, 2); err != nil {
		return err
	}
	c.Out(0, c.In(1).DType, c.In(1).Shape)
	return nil
}

func kernelSumTo(c *graph.Call) (func() error, error) {
	x, y := c.In[0], c.Out[0]
	if rows, cols, ok := columnSums(x.Shape(), y.Shape()); ok {
		k := &kernel.SumRows{Rows: rows, Cols: cols}
		return func() error {
			k.X, k.Dst = x.F32(), y.F32()
			k.Run(c.Pool)
			return nil
		}, nil
	}
	w, err := newWalk(x.Shape(), y.Shape())
	if err != nil {
		return nil, err
	}
	cols, step := w.last(), 0
	if len(w.out) > 0 {
		step = w.strides[len(w.out)-1]
	}
	return func() error {
		from, to := x.F32(), y.F32()
		clear(to)
		for row := range w.rows() {
			off := w.offset(row)
			for i, v := range from[row*cols:][:cols] {
				to[off+i*step] += v
			}
		}
		return nil
	}, nil
}

// columnSums recognises the reduction of leading dimensions alone.
func columnSums(x, y tensor.Shape) (rows, cols int, ok bool) {
	trailing := y
	for len(trailing) > 0 && trailing[0] == 1 {
		trailing = trailing[1:]
	}
	if len(trailing) > len(x) || !x[len(x)-len(trailing):].Equal(trailing) {
		return 0, 0, false
	}
	return x[:len(x)-len(trailing)].Len(), trailing.Len(), true
}
