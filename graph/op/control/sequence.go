package control

import (
	"fmt"
	"slices"

	"tandem/graph"
	"tandem/tensor"
)

// sequenceOps work on lists of tensors. A list shares its elements with those it
// was made from: elements never change.
func sequenceOps() []graph.Op {
	has := listOp("OptionalHasElement", 15, 0, 1, optionalHasElement)
	has.Flat = true
	return []graph.Op{
		listOp("SequenceConstruct", 11, 1, -1, sequenceConstruct),
		listOp("SequenceEmpty", 11, 0, 0, func(*graph.Call) (*tensor.Tensor, error) { return tensor.OfTensors(tensor.Sequence, nil), nil }),
		listOp("SequenceInsert", 11, 2, 3, sequenceInsert),
		listOp("SequenceErase", 11, 1, 2, sequenceErase),
		writtenOut(listOp("SequenceAt", 11, 2, 2, sequenceAt), expandSequenceAt),
		writtenOut(listOp("SequenceLength", 11, 1, 1, sequenceLength), expandSequenceLength),
		writtenOut(listOp("SplitToSequence", 11, 1, 2, splitToSequence), expandSplitToSequence),
		writtenOut(listOp("ConcatFromSequence", 11, 1, 1, concatFromSequence), expandConcatFromSequence),
		listOp("Optional", 15, 0, 1, optionalOf),
		writtenOut(listOp("OptionalGetElement", 15, 1, 1, optionalGetElement), expandOptionalGet),
		has,
		{ID: onnx("SequenceMap"), Since: 17, Late: true, Kernel: kernelSequenceMap, Expand: expandSequenceMap},
	}
}

// listOp is an operator with one output whose type is found by computing it. It
// has at least min inputs that are there, and at most max unless that is negative.
func listOp(name string, since, min, max int, compute func(*graph.Call) (*tensor.Tensor, error)) graph.Op {
	return graph.Op{ID: onnx(name), Since: since, Late: true, Kernel: func(c *graph.Call) (func() error, error) {
		if err := c.Require(min, max); err != nil {
			return nil, err
		}
		return func() error {
			out, err := compute(c)
			if err == nil {
				c.Out[0].Become(out)
			}
			return err
		}, nil
	}}
}

// writtenOut gives an operator an expansion.
func writtenOut(o graph.Op, expand func(*graph.Expansion) ([]*graph.Value, error)) graph.Op {
	o.Expand = expand
	return o
}

// items are the elements of input 0, which must be a sequence.
func items(c *graph.Call) ([]*tensor.Tensor, error) {
	if x := c.In[0]; x.DType() != tensor.Sequence {
		return nil, fmt.Errorf("input 0 is %v, expected a sequence", x)
	}
	return c.In[0].Items(), nil
}

// position is the place in a list that input i names; negative places count from the
// end. def stands for an absent input.
func position(c *graph.Call, i, def int) (int, error) {
	if !c.Has(i) {
		return def, nil
	}
	return integerIn(c.In[i], "the position")
}

// within checks a position against a list of n and resolves a negative one.
// Positions up to limit are allowed.
func within(at, n, limit int) (int, error) {
	if at < -n || at > limit {
		return 0, fmt.Errorf("position %d is outside [%d, %d] in a sequence of %d", at, -n, limit, n)
	}
	if at < 0 {
		at += n
	}
	return at, nil
}

func sequenceConstruct(c *graph.Call) (*tensor.Tensor, error) {
	list := make([]*tensor.Tensor, len(c.In))
	for i := range list {
		if !c.Has(i) {
			return nil, fmt.Errorf("input %d is missing", i)
		}
		list[i] = c.In[i]
		if list[i].DType() != list[0].DType() {
			return nil, fmt.Errorf("input %d is %v, input 0 is %v: the elements of a sequence are of one type", i, list[i], list[0])
		}
	}
	return tensor.OfTensors(tensor.Sequence, list), nil
}

func sequenceInsert(c *graph.Call) (*tensor.Tensor, error) {
	list, err := items(c)
	if err != nil {
		return nil, err
	}
	if len(list) > 0 && list[0].DType() != c.In[1].DType() {
		return nil, fmt.Errorf("%v is inserted into a sequence of %v", c.In[1], list[0].DType())
	}
	at, err := position(c, 2, len(list))
	if err != nil {
		return nil, err
	}
	if at, err = within(at, len(list), len(list)); err != nil {
		return nil, err
	}
	return tensor.OfTensors(tensor.Sequence, slices.Insert(slices.Clone(list), at, c.In[1])), nil
}

func sequenceErase(c *graph.Call) (*tensor.Tensor, error) {
	list, err := items(c)
	if err != nil {
		return nil, err
	}
	at, err := position(c, 1, len(list)-1)
	if err != nil {
		return nil, err
	}
	if at, err = within(at, len(list), len(list)-1); err != nil {
		return nil, err
	}
	return tensor.OfTensors(tensor.Sequence, slices.Delete(slices.Clone(list), at, at+1)), nil
}

func sequenceAt(c *graph.Call) (*tensor.Tensor, error) {
	list, err := items(c)
	if err != nil {
		return nil, err
	}
	at, err := integerIn(c.In[1], "the position")
	if err != nil {
		return nil, err
	}
	if at, err = within(at, len(list), len(list)-1); err != nil {
		return nil, err
	}
	return list[at], nil
}

func sequenceLength(c *graph.Call) (*tensor.Tensor, error) {
	list, err := items(c)
	return tensor.Scalar(int64(len(list))), err
}

func concatFromSequence(c *graph.Call) (*tensor.Tensor, error) {
	list, err := items(c)
	if err != nil {
		return nil, err
	}
	if _, ok := c.Node.Attrs["axis"].(int64); !ok {
		return nil, fmt.Errorf("attribute axis is missing")
	}
	return joined(list, c.Node.Attrs.Int("axis", 0), c.Node.Attrs.Int("new_axis", 0) != 0)
}

// splitToSequence: without lengths each piece has length 1, and keepdims says
// whether it keeps the axis. A scalar length leaves a shorter last piece.
func splitToSequence(c *graph.Call) (*tensor.Tensor, error) {
	x := c.In[0]
	if isList(x) {
		return nil, fmt.Errorf("a %v cannot be split", x.DType())
	}
	axis, err := graph.Axis(c.Node.Attrs.Int("axis", 0), x.Rank())
	if err != nil {
		return nil, err
	}
	keep := c.Has(1) || c.Node.Attrs.Int("keepdims", 1) != 0
	lengths, err := pieceLengths(c, x.Dim(axis))
	if err != nil {
		return nil, err
	}
	parts, err := parted(x, axis, lengths, keep)
	if err != nil {
		return nil, err
	}
	return tensor.OfTensors(tensor.Sequence, parts), nil
}

func pieceLengths(c *graph.Call, dim int) ([]int, error) {
	if c.Has(1) && c.In[1].Rank() > 0 {
		lengths := c.In[1].Ints()
		if lengths == nil {
			return nil, fmt.Errorf("the lengths are %v, expected int32 or int64", c.In[1])
		}
		rest := dim
		for _, n := range lengths {
			if n < 0 || n > rest {
				return nil, fmt.Errorf("lengths %v do not divide a dimension of %d", lengths, dim)
			}
			rest -= n
		}
		if rest != 0 {
			return nil, fmt.Errorf("lengths %v do not add up to a dimension of %d", lengths, dim)
		}
		return lengths, nil
	}
	each := 1
	if c.Has(1) {
		var err error
		if each, err = integerIn(c.In[1], "the length"); err != nil {
			return nil, err
		}
	}
	if each < 1 {
		return nil, fmt.Errorf("pieces of length %d are asked for", each)
	}
	var lengths []int
	for rest := dim; rest > 0; rest -= each {
		lengths = append(lengths, min(each, rest))
	}
	return lengths, nil
}
