package op

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"

	"tandem/graph"
	"tandem/graph/op/move"
	"tandem/tensor"
)

// uniqueOps find which elements there are: the sizes of their outputs are known
// when they have looked.
func uniqueOps() []graph.Op {
	return []graph.Op{
		{ID: onnx("NonZero"), Since: 9, Late: true, Kernel: kernelNonZero, Flat: true},
		{ID: onnx("Unique"), Since: 11, Late: true, Kernel: kernelUnique},
	}
}

// made is output 0 of a Late operator; what goes nowhere if the node does not have it.
func made(c *graph.Call, d tensor.DType, shape ...int) (*tensor.Tensor, error) {
	y, err := c.Make(0, d, shape...)
	if y == nil && err == nil {
		y = tensor.New(d, shape...)
	}
	return y, err
}

func kernelNonZero(c *graph.Call) (func() error, error) {
	if len(c.In) != 1 || c.In[0] == nil {
		return nil, fmt.Errorf("one input is expected")
	}
	return func() error {
		x := c.In[0]
		there, err := nonZeroAt(x)
		if err != nil {
			return err
		}
		count := 0
		for i := range x.Len() {
			if there(i) {
				count++
			}
		}
		y, err := made(c, tensor.Int64, x.Rank(), count)
		if err != nil {
			return err
		}
		strides, found := move.Dense(x.Shape()), 0
		for i := range x.Len() {
			if !there(i) {
				continue
			}
			for d, stride := range strides {
				y.I64()[d*count+found] = int64(i / stride % x.Dim(d))
			}
			found++
		}
		return nil
	}, nil
}

// nonZeroAt tells whether an element differs from zero; for floats the sign does
// not matter, and NaN differs.
func nonZeroAt(x *tensor.Tensor) (func(i int) bool, error) {
	d := x.DType()
	switch {
	case d == tensor.String:
		s := x.Strings()
		return func(i int) bool { return s[i] != "" }, nil
	case d == tensor.Float8E4M3FNUZ || d == tensor.Float8E5M2FNUZ || d == tensor.Float8E8M0:
		b := x.Bytes()
		return func(i int) bool { return b[i] != 0 || d == tensor.Float8E8M0 }, nil
	case !d.Numeric() || move.Packed(d):
		return nil, fmt.Errorf("elements of type %v cannot be compared with zero", d)
	}
	sign := uint64(0)
	if d.Float() {
		sign = 1 << (d.Bits() - 1)
	}
	switch d.Bits() {
	case 8:
		return nonZeroBits(x, uint8(sign)), nil
	case 16:
		return nonZeroBits(x, uint16(sign)), nil
	case 32:
		return nonZeroBits(x, uint32(sign)), nil
	}
	return nonZeroBits(x, sign), nil
}

func nonZeroBits[T uint8 | uint16 | uint32 | uint64](x *tensor.Tensor, sign T) func(i int) bool {
	v := move.Cells[T](x)
	return func(i int) bool { return v[i]&^sign != 0 }
}

// kernelUnique sorts the elements, or with an axis the slices, and joins equal
// neighbours.
func kernelUnique(c *graph.Call) (func() error, error) {
	if len(c.In) != 1 || c.In[0] == nil {
		return nil, fmt.Errorf("one input is expected")
	}
	x := c.In[0]
	outer, dim, inner, axis := 1, x.Len(), 1, -1
	if _, given := c.Node.Attrs["axis"]; given {
		var err error
		if axis, err = graph.Axis(c.Node.Attrs.Int("axis", 0), x.Rank()); err != nil {
			return nil, err
		}
		outer, dim, inner = around(x.Shape(), axis)
	}
	m, err := move.Of(x.DType())
	if err != nil {
		return nil, err
	}
	compare, err := comparison(c, x)
	if err != nil {
		return nil, err
	}
	look := lookout{pool: c.Pool}
	bySlice := func(a, b int) int {
		look.step(1)
		for o := range outer {
			for i := range inner {
				if n := compare((o*dim+a)*inner+i, (o*dim+b)*inner+i); n != 0 {
					return n
				}
			}
		}
		return 0
	}
	return func() error {
		if err := c.Allocates(distinctBytes * dim); err != nil {
			return err
		}
		u := distinct(dim, bySlice, c.Node.Attrs.Int("sorted", 1) != 0)
		shape := []int{len(u.first)}
		if axis >= 0 {
			shape = slices.Clone(x.Shape())
			shape[axis] = len(u.first)
		}
		from := make([]int, len(u.first))
		for i, at := range u.first {
			from[i] = at * inner
		}
		y, err := c.Make(0, x.DType(), shape...)
		if err != nil {
			return err
		}
		if y != nil {
			for o := range outer {
				m.Pick(y, o*len(from)*inner, x, o*dim*inner, from, inner)
			}
		}
		for i, list := range [][]int{u.first, u.inverse, u.counts} {
			y, err := c.Make(i+1, tensor.Int64, len(list))
			if err != nil {
				return err
			}
			if y != nil {
				for j, n := range list {
					y.I64()[j] = int64(n)
				}
			}
		}
		return nil
	}, nil
}

// classes are what Unique says of n things.
type classes struct {
	first   []int // the first of each class
	counts  []int // how many are in each
	inverse []int // the class of each thing
}

// distinctBytes is what distinct takes for each thing, at most.
const distinctBytes = 8 * 8

// distinct finds the classes, in the order of compare or of their first members.
func distinct(n int, compare func(a, b int) int, sorted bool) classes {
	order := count(n)
	sort.SliceStable(order, func(i, j int) bool { return compare(order[i], order[j]) < 0 })
	u := classes{inverse: make([]int, n)}
	for i, at := range order {
		if i == 0 || compare(order[i-1], at) != 0 {
			u.first = append(u.first, at)
			u.counts = append(u.counts, 0)
		}
		u.counts[len(u.counts)-1]++
		u.inverse[at] = len(u.first) - 1
	}
	if sorted {
		return u
	}
	byFirst := count(len(u.first))
	slices.SortFunc(byFirst, func(a, b int) int { return u.first[a] - u.first[b] })
	place := make([]int, len(byFirst))
	v := classes{inverse: u.inverse}
	for i, k := range byFirst {
		place[k] = i
		v.first, v.counts = append(v.first, u.first[k]), append(v.counts, u.counts[k])
	}
	for i, k := range v.inverse {
		v.inverse[i] = place[k]
	}
	return v
}

// comparison orders the elements of a tensor by their indices; NaN comes last.
func comparison(c *graph.Call, x *tensor.Tensor) (func(i, j int) int, error) {
	switch d := x.DType(); {
	case d == tensor.String:
		s := x.Strings()
		return func(i, j int) int { return cmp.Compare(s[i], s[j]) }, nil
	case d == tensor.Int64:
		return compareAs[int64](x), nil
	case d == tensor.Uint64:
		return compareAs[uint64](x), nil
	case d.Numeric():
		wide, err := c.New(tensor.Float64, x.Shape()...)
		if err != nil {
			return nil, err
		}
		if err := tensor.Convert(wide, x, false); err != nil {
			return nil, err
		}
		v := tensor.Data[float64](wide)
		return func(i, j int) int { return compareFloats(v[i], v[j]) }, nil
	}
	return nil, fmt.Errorf("elements of type %v have no order", x.DType())
}

func compareAs[T int64 | uint64](x *tensor.Tensor) func(i, j int) int {
	v := tensor.Data[T](x)
	return func(i, j int) int { return cmp.Compare(v[i], v[j]) }
}

func compareFloats(a, b float64) int {
	switch x, y := math.IsNaN(a), math.IsNaN(b); {
	case x && y:
		return 0
	case x:
		return 1
	case y:
		return -1
	}
	return cmp.Compare(a, b)
}
