package op

import (
	"fmt"

	"tandem/graph"
	"tandem/tensor"
)

func inferShift(c *graph.Infer) error {
	if d := c.Node.Attrs.String("direction", ""); d != "LEFT" && d != "RIGHT" {
		return fmt.Errorf("direction is %q, expected LEFT or RIGHT", d)
	}
	return inferBroadcast(integers)(c)
}

func kernelShift(c *graph.Call) (func() error, error) {
	if c.Node.Attrs.String("direction", "") == "LEFT" {
		return calculate(opShiftLeft)(c)
	}
	return calculate(opShiftRight)(c)
}

// bitRows are the functions of two integers that see their bits. A shift by the
// width and more gives what repeated shifts give.
func bitRows[T anyInt](op arithmeticOp) rows2[T] {
	var f func(a, b T) T
	switch op {
	case opAnd:
		f = func(a, b T) T { return a & b }
	case opOr:
		f = func(a, b T) T { return a | b }
	case opXor:
		f = func(a, b T) T { return a ^ b }
	case opShiftLeft:
		f = func(a, b T) T { return a << uint64(b) }
	default:
		f = func(a, b T) T { return a >> uint64(b) }
	}
	return func(y []T, x [][]T) error {
		a, b := x[0][:len(y)], x[1][:len(y)]
		for i := range y {
			y[i] = f(a[i], b[i])
		}
		return nil
	}
}

// bitwise is the kernel of a function of bits: the sign does not matter.
func bitwise(op arithmeticOp) graph.Kernel {
	return func(c *graph.Call) (func() error, error) {
		switch c.In[0].DType().Bits() {
		case 8:
			return mapRows[uint8](c, 0, bitRows[uint8](op))
		case 16:
			return mapRows[uint16](c, 0, bitRows[uint16](op))
		case 32:
			return mapRows[uint32](c, 0, bitRows[uint32](op))
		}
		return mapRows[uint64](c, 0, bitRows[uint64](op))
	}
}

func kernelBitwiseNot(c *graph.Call) (func() error, error) {
	return func() error {
		from, to := c.In[0].Bytes(), c.Out[0].Bytes()
		for i, b := range from {
			to[i] = ^b
		}
		return nil
	}, nil
}

// inferWhere: (condition, x, y), x and y of any one type.
func inferWhere(c *graph.Infer) error {
	if err := c.Require(3, 3); err != nil {
		return err
	}
	if err := truths(c, 0); err != nil {
		return err
	}
	if err := alike(c, 1, 2); err != nil {
		return err
	}
	if d := c.In(1).DType; d != tensor.String && d.Bits() < 8 {
		return fmt.Errorf("input 1 (%s) is %v, expected elements of whole bytes", c.Node.Inputs[1].Name, d)
	}
	shape, err := graph.Broadcast(c.In(1).Shape, c.In(2).Shape)
	if err != nil {
		return err
	}
	if shape, err = graph.Broadcast(c.In(0).Shape, shape); err != nil {
		return err
	}
	c.Out(0, c.In(1).DType, shape)
	if d := c.In(1).DType; d == tensor.Int64 || d == tensor.Int32 {
		follow(c, 3, func(x []graph.Dim) (graph.Dim, bool) {
			n, ok := x[0].Value()
			if n != 0 {
				return x[1], ok
			}
			return x[2], ok
		})
	}
	return nil
}

// kernelWhere moves elements by their size alone.
func kernelWhere(c *graph.Call) (func() error, error) {
	if c.In[1].DType() == tensor.String {
		return whereStrings(c)
	}
	switch c.In[1].DType().Bits() {
	case 8:
		return where[uint8](c)
	case 16:
		return where[uint16](c)
	case 32:
		return where[uint32](c)
	case 64:
		return where[uint64](c)
	}
	return nil, fmt.Errorf("elements of type %v cannot be chosen", c.In[1].DType())
}

func where[T tensor.Element](c *graph.Call) (func() error, error) {
	n, err := newNest(c.Out[0].Shape(), c.In[0].Shape(), c.In[1].Shape(), c.In[2].Shape())
	if err != nil {
		return nil, err
	}
	var cond []byte
	var y, a, b []T
	body := func(lo, hi, _ int) {
		for row := lo; row < hi; row++ {
			chooseRow(n, row, y[row*n.row:][:n.row], cond, a, b)
		}
	}
	return func() error {
		cond, y = c.In[0].Bytes(), asElements[T](c.Out[0].Bytes())
		a, b = asElements[T](c.In[1].Bytes()), asElements[T](c.In[2].Bytes())
		c.Pool.For(n.rows(), max(1, elementGrain/max(1, n.row)), body)
		return nil
	}, nil
}

func chooseRow[T any](n *nest, row int, y []T, cond []byte, a, b []T) {
	ci, ai, bi := n.offset(0, row), n.offset(1, row), n.offset(2, row)
	step := func(k int) int {
		if n.repeats[k] {
			return 0
		}
		return 1
	}
	cs, as, bs := step(0), step(1), step(2)
	for i := range y {
		if cond[ci] != 0 {
			y[i] = a[ai]
		} else {
			y[i] = b[bi]
		}
		ci, ai, bi = ci+cs, ai+as, bi+bs
	}
}

func whereStrings(c *graph.Call) (func() error, error) {
	n, err := newNest(c.Out[0].Shape(), c.In[0].Shape(), c.In[1].Shape(), c.In[2].Shape())
	if err != nil {
		return nil, err
	}
	return func() error {
		cond, y := c.In[0].Bytes(), c.Out[0].Strings()
		for row := range n.rows() {
			chooseRow(n, row, y[row*n.row:][:n.row], cond, c.In[1].Strings(), c.In[2].Strings())
		}
		return nil
	}, nil
}

func gradWhere(g *graph.Gradient) error {
	zero := g.Scalar("zero", 0)
	if g.Needs(1) {
		g.Set(1, sumTo(g, g.Op("Where", nil, g.In(0), g.Out(0), zero), 1))
	}
	if g.Needs(2) {
		g.Set(2, sumTo(g, g.Op("Where", nil, g.In(0), zero, g.Out(0)), 2))
	}
	return nil
}
