package op

import (
	"fmt"
	"math"

	"tandem/graph"
	"tandem/graph/op/narrow"
	"tandem/kernel"
	"tandem/tensor"
)

type anyFloat interface{ float32 | float64 }

type anyInt interface {
	int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64
}

type anyNumber interface{ anyFloat | anyInt }

// arithmeticOp is a function of two numbers of one type.
type arithmeticOp uint8

const (
	opAdd arithmeticOp = iota
	opSub
	opMul
	opDiv
	opModulo    // the remainder has the divisor's sign
	opRemainder // the remainder has the dividend's sign
	opMax       // NaN if either is
	opMin
	opPRelu // x, or slope·x below 0
	opAnd
	opOr
	opXor
	opShiftLeft
	opShiftRight
)

// arithmeticOf finds the function that an operator's name speaks of.
func arithmeticOf(name string) arithmeticOp {
	switch name {
	case "Sub":
		return opSub
	case "Mul":
		return opMul
	case "Div":
		return opDiv
	case "Max":
		return opMax
	case "Min":
		return opMin
	}
	return opAdd
}

// rows2 computes a row of a function of two operands.
type rows2[T tensor.Element] func(y []T, x [][]T) error

// calculate is the kernel of a function of two numbers.
func calculate(op arithmeticOp) graph.Kernel {
	return narrow.Widened(func(c *graph.Call) (func() error, error) {
		switch c.In[0].DType() {
		case tensor.Float32:
			if op == opPRelu {
				return binary(kernel.OpPReLU)(c)
			}
			if op <= opDiv {
				return binary([]kernel.BinaryOp{kernel.OpAdd, kernel.OpSub, kernel.OpMul, kernel.OpDiv}[op])(c)
			}
			return mapRows[float32](c, 0, floatRows[float32](op))
		case tensor.Float64:
			return mapRows[float64](c, 0, floatRows[float64](op))
		case tensor.Int8:
			return mapRows[int8](c, 0, intRows[int8](op))
		case tensor.Int16:
			return mapRows[int16](c, 0, intRows[int16](op))
		case tensor.Int32:
			return mapRows[int32](c, 0, intRows[int32](op))
		case tensor.Int64:
			return mapRows[int64](c, 0, intRows[int64](op))
		case tensor.Uint8:
			return mapRows[uint8](c, 0, intRows[uint8](op))
		case tensor.Uint16:
			return mapRows[uint16](c, 0, intRows[uint16](op))
		case tensor.Uint32:
			return mapRows[uint32](c, 0, intRows[uint32](op))
		case tensor.Uint64:
			return mapRows[uint64](c, 0, intRows[uint64](op))
		}
		return nil, fmt.Errorf("%v does not calculate with %v", c.Node.Op, c.In[0].DType())
	})
}

// simpleRows are the functions that integers and floats have alike.
func simpleRows[T anyNumber](op arithmeticOp) rows2[T] {
	switch op {
	case opAdd: // y may lie in the memory of either operand, unlike that of foldRows
		return func(y []T, x [][]T) error {
			a, b := x[0][:len(y)], x[1][:len(y)]
			for i := range y {
				y[i] = a[i] + b[i]
			}
			return nil
		}
	case opSub:
		return func(y []T, x [][]T) error {
			a, b := x[0][:len(y)], x[1][:len(y)]
			for i := range y {
				y[i] = a[i] - b[i]
			}
			return nil
		}
	case opMul:
		return func(y []T, x [][]T) error {
			a, b := x[0][:len(y)], x[1][:len(y)]
			for i := range y {
				y[i] = a[i] * b[i]
			}
			return nil
		}
	case opPRelu:
		return func(y []T, x [][]T) error {
			a, b := x[0][:len(y)], x[1][:len(y)]
			for i := range y {
				y[i] = a[i]
				if y[i] < 0 {
					y[i] *= b[i]
				}
			}
			return nil
		}
	}
	return foldRows[T](op)
}

// foldRows are the functions of any number of operands, from left to right. The
// result may lie in the memory of the first only.
func foldRows[T anyNumber](op arithmeticOp) rows2[T] {
	var step func(y, b []T)
	switch op {
	case opMax:
		step = func(y, b []T) {
			for i := range y {
				y[i] = max(y[i], b[i])
			}
		}
	case opMin:
		step = func(y, b []T) {
			for i := range y {
				y[i] = min(y[i], b[i])
			}
		}
	default:
		step = func(y, b []T) {
			for i := range y {
				y[i] += b[i]
			}
		}
	}
	return func(y []T, x [][]T) error {
		copy(y, x[0])
		for _, b := range x[1:] {
			step(y, b[:len(y)])
		}
		return nil
	}
}

func floatRows[T anyFloat](op arithmeticOp) rows2[T] {
	switch op {
	case opDiv:
		return func(y []T, x [][]T) error {
			a, b := x[0][:len(y)], x[1][:len(y)]
			for i := range y {
				y[i] = a[i] / b[i]
			}
			return nil
		}
	case opRemainder:
		return func(y []T, x [][]T) error {
			for i := range y {
				y[i] = T(math.Mod(float64(x[0][i]), float64(x[1][i])))
			}
			return nil
		}
	case opModulo:
		return func(y []T, x [][]T) error {
			for i := range y {
				y[i] = T(floorMod(float64(x[0][i]), float64(x[1][i])))
			}
			return nil
		}
	}
	return simpleRows[T](op)
}

// floorMod has the sign of b (ONNX, Mod with fmod 0, with its special cases).
func floorMod(a, b float64) float64 {
	r := math.Mod(a, b)
	switch {
	case r == 0:
		return math.Copysign(0, b)
	case (r < 0) != (b < 0):
		return r + b
	}
	return r
}

func intRows[T anyInt](op arithmeticOp) rows2[T] {
	var f func(a, b T) T
	switch op {
	case opDiv:
		f = func(a, b T) T { return a / b }
	case opRemainder:
		f = func(a, b T) T { return a % b }
	case opModulo:
		f = func(a, b T) T {
			r := a % b
			if r != 0 && (r < 0) != (b < 0) {
				r += b
			}
			return r
		}
	case opAnd, opOr, opXor, opShiftLeft, opShiftRight:
		return bitRows[T](op)
	default:
		return simpleRows[T](op)
	}
	return func(y []T, x [][]T) error {
		a, b := x[0][:len(y)], x[1][:len(y)]
		for i := range y {
			if b[i] == 0 {
				return fmt.Errorf("an integer (%d) is divided by 0", a[i])
			}
			y[i] = f(a[i], b[i])
		}
		return nil
	}
}

func kernelMod(c *graph.Call) (func() error, error) {
	if c.Node.Attrs.Int("fmod", 0) != 0 {
		return calculate(opRemainder)(c)
	}
	return calculate(opModulo)(c)
}

// kernelPow: the exponent may have another type than the base. It is converted to
// float64 (for integer bases with integer exponents to int64, so that the power is
// exact) once for each run.
func kernelPow(c *graph.Call) (func() error, error) {
	base, exp := c.In[0].DType(), c.In[1].DType()
	if base == exp && base.Float() {
		return narrow.Widened(func(c *graph.Call) (func() error, error) {
			if base == tensor.Float64 {
				return mapRows[float64](c, 0, powFloats[float64])
			}
			return mapRows[float32](c, 0, powFloats[float32])
		})(c)
	}
	whole := !base.Float() && !exp.Float()
	wide := tensor.Float64
	if whole {
		wide = tensor.Int64
	}
	var from [2]*tensor.Tensor
	var to [3]*tensor.Tensor
	copy(from[:], c.In[:2])
	out := c.Out[0]
	total := 0
	for i, x := range []*tensor.Tensor{from[0], from[1], out} {
		to[i] = new(tensor.Tensor)
		to[i].Set(wide, x.Shape(), nil)
		total += 8 * x.Len()
	}
	c.ReserveExtra(total)
	c.In[0], c.In[1], c.Out[0] = to[0], to[1], to[2]
	var run func() error
	var err error
	if whole {
		run, err = mapRows[int64](c, 0, powInts)
	} else {
		run, err = mapRows[float64](c, 0, powFloats[float64])
	}
	if err != nil {
		return nil, err
	}
	return func() error {
		room := c.Extra()
		for _, x := range to {
			n := 8 * x.Len()
			x.Set(wide, x.Shape(), room[:n:n])
			room = room[n:]
		}
		for i := range from {
			if err := tensor.Convert(to[i], from[i], false); err != nil {
				return err
			}
		}
		if err := run(); err != nil {
			return err
		}
		return tensor.Convert(out, to[2], false)
	}, nil
}

func powFloats[T anyFloat](y []T, x [][]T) error {
	a, b := x[0][:len(y)], x[1][:len(y)]
	for i := range y {
		if b[i] == 2 {
			y[i] = a[i] * a[i]
		} else {
			y[i] = T(math.Pow(float64(a[i]), float64(b[i])))
		}
	}
	return nil
}

// powInts squares and multiplies; what overflows wraps around.
func powInts(y []int64, x [][]int64) error {
	for i := range y {
		y[i] = powInt(x[0][i], x[1][i])
	}
	return nil
}

func powInt(base, exp int64) int64 {
	if exp < 0 { // 1/base^-exp, truncated
		switch base {
		case 1:
			return 1
		case -1:
			return 1 - 2*(exp&1)
		}
		return 0
	}
	r := int64(1)
	for ; exp > 0; exp >>= 1 {
		if exp&1 != 0 {
			r *= base
		}
		base *= base
	}
	return r
}
