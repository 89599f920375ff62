package op

import (
	"fmt"
	"math"

	"tandem/graph"
	"tandem/graph/op/narrow"
	"tandem/tensor"
)

// logicOps compare, combine truth values and bits, and choose.
func logicOps() []graph.Op {
	both := []graph.Alias{{In: 0, Out: 0}, {In: 1, Out: 0}}
	ops := []graph.Op{
		{ID: onnx("Not"), Since: 1, Infer: inferSigned(truths), Kernel: kernelNot, InPlace: both[:1], Flat: true},
		{ID: onnx("GreaterOrEqual"), Since: 12, Infer: inferCompare(numbers), Kernel: compare(opGreaterOrEqual), Flat: true},
		{ID: onnx("LessOrEqual"), Since: 12, Infer: inferCompare(numbers), Kernel: compare(opLessOrEqual), Flat: true},
		{ID: onnx("IsNaN"), Since: 9, Infer: inferTest, Kernel: kernelIsNaN, Flat: true},
		{ID: onnx("IsInf"), Since: 10, Infer: inferTest, Kernel: kernelIsInf, Flat: true},
		{ID: onnx("BitShift"), Since: 11, Infer: inferShift, Kernel: kernelShift, InPlace: both},
		{ID: onnx("BitwiseAnd"), Since: 18, Infer: inferBroadcast(integers), Kernel: bitwise(opAnd), InPlace: both},
		{ID: onnx("BitwiseOr"), Since: 18, Infer: inferBroadcast(integers), Kernel: bitwise(opOr), InPlace: both},
		{ID: onnx("BitwiseXor"), Since: 18, Infer: inferBroadcast(integers), Kernel: bitwise(opXor), InPlace: both},
		{ID: onnx("BitwiseNot"), Since: 18, Infer: inferSigned(integers), Kernel: kernelBitwiseNot, InPlace: both[:1]},
		{ID: onnx("Where"), Since: 9, Infer: inferWhere, Kernel: kernelWhere, Grad: gradWhere},
	}
	for _, k := range []struct {
		name  string
		check func(c *graph.Infer, inputs ...int) error
		op    graph.Kernel
	}{
		{"And", truths, truthTable(opAnd)}, {"Or", truths, truthTable(opOr)}, {"Xor", truths, truthTable(opXor)},
		{"Equal", anyAlike, kernelEqual}, {"Greater", numbers, compare(opGreater)}, {"Less", numbers, compare(opLess)},
	} {
		old := oldBroadcast(k.name, k.check, tensor.Bool, k.op)
		old.Flat = true
		ops = append(ops, old, graph.Op{ID: onnx(k.name), Since: 7, Infer: inferCompare(k.check), Kernel: k.op, Flat: true})
	}
	return ops
}

// truths checks that the given inputs are bool.
func truths(c *graph.Infer, inputs ...int) error {
	for _, i := range inputs {
		if d := c.In(i).DType; d != tensor.Bool {
			return fmt.Errorf("input %d (%s) is %v, expected bool", i, c.Node.Inputs[i].Name, d)
		}
	}
	return nil
}

// integers checks that the given inputs are of one integer type of whole bytes.
func integers(c *graph.Infer, inputs ...int) error {
	if err := numbers(c, inputs...); err != nil {
		return err
	}
	for _, i := range inputs {
		if d := c.In(i).DType; d.Float() {
			return fmt.Errorf("input %d (%s) is %v, expected integers", i, c.Node.Inputs[i].Name, d)
		}
	}
	return nil
}

// anyAlike checks that the inputs are numbers, truth values or strings of one type.
func anyAlike(c *graph.Infer, inputs ...int) error {
	switch c.In(inputs[0]).DType {
	case tensor.Bool, tensor.String:
		return alike(c, inputs...)
	}
	return numbers(c, inputs...)
}

// inferCompare is the rule of two operands with a result of truth values.
func inferCompare(check func(c *graph.Infer, inputs ...int) error) func(*graph.Infer) error {
	rule := inferBroadcast(check)
	return func(c *graph.Infer) error {
		if err := rule(c); err != nil {
			return err
		}
		shape, err := graph.Broadcast(c.In(0).Shape, c.In(1).Shape)
		c.Out(0, tensor.Bool, shape)
		followBoth(c, func(a, b graph.Dim) (graph.Dim, bool) { return compareDims(c.Node.Op.Name, a, b) })
		return err
	}
}

// compareDims is the truth of a relation between dimensions as 0 or 1, where it is
// known: exporters write shapes as Where(Equal(shape, -1), …).
func compareDims(name string, a, b graph.Dim) (graph.Dim, bool) {
	m, ok := a.Value()
	n, ok2 := b.Value()
	if name == "Equal" && (ok2 && n < 0 && a.Natural() || ok && m < 0 && b.Natural()) {
		return graph.Const(0), true
	}
	if !ok || !ok2 {
		return graph.Const(1), name == "Equal" && a.Equal(b)
	}
	switch name {
	case "Equal":
		return graph.Const(btoi(m == n)), true
	case "Greater":
		return graph.Const(btoi(m > n)), true
	case "Less":
		return graph.Const(btoi(m < n)), true
	}
	return graph.Dim{}, false
}

type compareOp uint8

const (
	opEqual compareOp = iota
	opGreater
	opGreaterOrEqual
	opLess
	opLessOrEqual
)

// compare is the kernel of a relation between numbers.
func compare(op compareOp) graph.Kernel {
	return narrow.Widened(func(c *graph.Call) (func() error, error) {
		switch c.In[0].DType() {
		case tensor.Float32:
			return mapRows[float32](c, 0, relation[float32](op))
		case tensor.Float64:
			return mapRows[float64](c, 0, relation[float64](op))
		case tensor.Int8:
			return mapRows[int8](c, 0, relation[int8](op))
		case tensor.Int16:
			return mapRows[int16](c, 0, relation[int16](op))
		case tensor.Int32:
			return mapRows[int32](c, 0, relation[int32](op))
		case tensor.Int64:
			return mapRows[int64](c, 0, relation[int64](op))
		case tensor.Uint8:
			return mapRows[uint8](c, 0, relation[uint8](op))
		case tensor.Uint16:
			return mapRows[uint16](c, 0, relation[uint16](op))
		case tensor.Uint32:
			return mapRows[uint32](c, 0, relation[uint32](op))
		case tensor.Uint64:
			return mapRows[uint64](c, 0, relation[uint64](op))
		}
		return nil, fmt.Errorf("%v does not compare %v", c.Node.Op, c.In[0].DType())
	})
}

func relation[T anyNumber](op compareOp) func(y []bool, x [][]T) error {
	var f func(y []bool, a, b []T)
	switch op {
	case opGreater:
		f = func(y []bool, a, b []T) {
			for i := range y {
				y[i] = a[i] > b[i]
			}
		}
	case opGreaterOrEqual:
		f = func(y []bool, a, b []T) {
			for i := range y {
				y[i] = a[i] >= b[i]
			}
		}
	case opLess:
		f = func(y []bool, a, b []T) {
			for i := range y {
				y[i] = a[i] < b[i]
			}
		}
	case opLessOrEqual:
		f = func(y []bool, a, b []T) {
			for i := range y {
				y[i] = a[i] <= b[i]
			}
		}
	default:
		f = func(y []bool, a, b []T) {
			for i := range y {
				y[i] = a[i] == b[i]
			}
		}
	}
	return func(y []bool, x [][]T) error {
		f(y, x[0][:len(y)], x[1][:len(y)])
		return nil
	}
}

// kernelEqual also compares strings and truth values.
func kernelEqual(c *graph.Call) (func() error, error) {
	switch c.In[0].DType() {
	case tensor.String:
		return equalStrings(c)
	case tensor.Bool:
		return mapRows[uint8](c, 0, func(y []bool, x [][]uint8) error {
			for i := range y {
				y[i] = (x[0][i] != 0) == (x[1][i] != 0)
			}
			return nil
		})
	}
	return compare(opEqual)(c)
}

func equalStrings(c *graph.Call) (func() error, error) {
	at, err := pairs(c.Out[0].Shape(), c.In[0].Shape(), c.In[1].Shape())
	if err != nil {
		return nil, err
	}
	return func() error {
		a, b, y := c.In[0].Strings(), c.In[1].Strings(), tensor.Data[bool](c.Out[0])
		for i := range y {
			j := at(i)
			y[i] = a[j[0]] == b[j[1]]
		}
		return nil
	}, nil
}

// pairs finds, for an element of a broadcast result, which elements of the operands
// it is made of: for types whose elements are worth the division.
func pairs(out tensor.Shape, in ...tensor.Shape) (func(i int) []int, error) {
	n, err := newNest(out, in...)
	if err != nil {
		return nil, err
	}
	at := make([]int, len(in))
	return func(i int) []int {
		for k := range in {
			at[k] = n.offset(k, i/n.row)
			if !n.repeats[k] {
				at[k] += i % n.row
			}
		}
		return at
	}, nil
}

// truthTable combines truth values. A byte of an input that is not 0 is true.
func truthTable(op arithmeticOp) graph.Kernel {
	f := func(a, b bool) bool { return a != b }
	switch op {
	case opAnd:
		f = func(a, b bool) bool { return a && b }
	case opOr:
		f = func(a, b bool) bool { return a || b }
	}
	return func(c *graph.Call) (func() error, error) {
		return mapRows[uint8](c, 0, func(y []bool, x [][]uint8) error {
			for i := range y {
				y[i] = f(x[0][i] != 0, x[1][i] != 0)
			}
			return nil
		})
	}
}

func kernelNot(c *graph.Call) (func() error, error) {
	return mapElements(c, func(y []bool, x []uint8) {
		for i, v := range x {
			y[i] = v == 0
		}
	})
}

// inferTest is the rule of a question to each float, also of 8 bits.
func inferTest(c *graph.Infer) error {
	if err := c.Require(1, 1); err != nil {
		return err
	}
	if d := c.In(0).DType; !d.Float() {
		return fmt.Errorf("input 0 (%s) is %v, expected a floating-point type", c.Node.Inputs[0].Name, d)
	}
	c.Out(0, tensor.Bool, c.In(0).Shape)
	return nil
}

func kernelIsNaN(c *graph.Call) (func() error, error) {
	return asking(func(x float64) bool { return x != x })(c)
}

func kernelIsInf(c *graph.Call) (func() error, error) {
	negative, positive := c.Node.Attrs.Int("detect_negative", 1) != 0, c.Node.Attrs.Int("detect_positive", 1) != 0
	return asking(func(x float64) bool {
		return positive && math.IsInf(x, 1) || negative && math.IsInf(x, -1)
	})(c)
}

// asking asks a question of each element.
func asking(f func(x float64) bool) graph.Kernel {
	return narrow.Widened(func(c *graph.Call) (func() error, error) {
		if c.In[0].DType() == tensor.Float64 {
			return mapElements(c, func(y []bool, x []float64) {
				for i, v := range x {
					y[i] = f(v)
				}
			})
		}
		return mapElements(c, func(y []bool, x []float32) {
			for i, v := range x {
				y[i] = f(float64(v))
			}
		})
	})
}
