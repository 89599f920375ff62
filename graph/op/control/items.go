package control

import (
	"fmt"

	"tandem/graph"
	"tandem/graph/op/move"
	"tandem/tensor"
)

// joined makes one tensor of several: along an axis that they have, or along a new
// one. Their types and their other dimensions must agree.
func joined(list []*tensor.Tensor, axis int, fresh bool) (*tensor.Tensor, error) {
	if len(list) == 0 {
		return nil, fmt.Errorf("there is nothing to join: the sequence is empty")
	}
	rank := list[0].Rank()
	if fresh {
		rank++
	}
	axis, err := graph.Axis(axis, rank)
	if err != nil {
		return nil, err
	}
	parts, length := make([]*tensor.Tensor, len(list)), 0
	for i, x := range list {
		if isList(x) {
			return nil, fmt.Errorf("element %d is a %v, not a tensor", i, x.DType())
		}
		parts[i] = whole(x)
		if fresh && axis > x.Rank() {
			return nil, fmt.Errorf("element %d is %v: it cannot be stacked along dimension %d", i, x, axis)
		}
		if fresh {
			parts[i] = parts[i].Reshaped(inserted(x.Shape(), axis, 1)...)
		}
		if x.DType() != list[0].DType() || !alikeBut(parts[i].Shape(), parts[0].Shape(), axis) {
			return nil, fmt.Errorf("element %d is %v, element 0 is %v: they cannot be joined along dimension %d", i, x, list[0], axis)
		}
		length += parts[i].Dim(axis)
	}
	shape := tensor.Shape(inserted(parts[0].Shape(), axis, length))
	shape = append(shape[:axis+1], shape[axis+2:]...)
	if _, err := shape.CheckedLen(maxJoined); err != nil {
		return nil, err
	}
	out := tensor.New(list[0].DType(), shape...)
	to := whole(out)
	copyAll, err := move.Pieces(to, parts, nil, axis, true)
	if err != nil {
		return nil, err
	}
	copyAll()
	if to != out {
		move.Pack(out, to.Bytes())
	}
	return out, nil
}

// maxJoined bounds the elements of a tensor made of a sequence.
const maxJoined = 1 << 40

// parted cuts a tensor along an axis into pieces of the given lengths, which add up
// to its dimension. Without keep each piece has length 1 and loses the axis.
func parted(x *tensor.Tensor, axis int, lengths []int, keep bool) ([]*tensor.Tensor, error) {
	axis, err := graph.Axis(axis, x.Rank())
	if err != nil {
		return nil, err
	}
	from := whole(x)
	parts := make([]*tensor.Tensor, len(lengths))
	for i, n := range lengths {
		shape := append([]int{}, x.Shape()...)
		shape[axis] = n
		parts[i] = tensor.New(from.DType(), shape...)
	}
	copyAll, err := move.Pieces(from, parts, nil, axis, false)
	if err != nil {
		return nil, err
	}
	copyAll()
	for i, p := range parts {
		if from != x {
			parts[i] = tensor.New(x.DType(), p.Shape()...)
			move.Pack(parts[i], p.Bytes())
		}
		if !keep {
			parts[i] = parts[i].Reshaped(append(append([]int{}, p.Shape()[:axis]...), p.Shape()[axis+1:]...)...)
		}
	}
	return parts, nil
}

// whole is x, or a copy of it with a byte for each element if they are packed.
func whole(x *tensor.Tensor) *tensor.Tensor {
	if !move.Packed(x.DType()) {
		return x
	}
	wide := tensor.New(tensor.Uint8, x.Shape()...)
	move.Unpack(wide.Bytes(), x)
	return wide
}

// inserted is shape with a further dimension at axis.
func inserted(shape tensor.Shape, axis, n int) []int {
	out := append([]int{}, shape[:axis]...)
	return append(append(out, n), shape[axis:]...)
}

// alikeBut reports whether two shapes agree in all dimensions but one.
func alikeBut(a, b tensor.Shape, axis int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if i != axis && a[i] != b[i] {
			return false
		}
	}
	return true
}

func isList(x *tensor.Tensor) bool {
	return x.DType() == tensor.Sequence || x.DType() == tensor.Optional
}

// integerIn is the one element of an integer tensor.
func integerIn(x *tensor.Tensor, what string) (int, error) {
	if x.Len() == 1 {
		switch x.DType() {
		case tensor.Int64:
			return int(x.I64()[0]), nil
		case tensor.Int32:
			return int(tensor.Data[int32](x)[0]), nil
		}
	}
	return 0, fmt.Errorf("%s is %v, expected one int32 or int64", what, x)
}

// boolIn is the one element of a boolean tensor.
func boolIn(x *tensor.Tensor, what string) (bool, error) {
	if x.DType() != tensor.Bool || x.Len() != 1 {
		return false, fmt.Errorf("%s is %v, expected one bool", what, x)
	}
	return x.Bytes()[0] != 0, nil
}
