package op

import (
	"fmt"
	"slices"

	"tandem/graph"
	"tandem/tensor"
)

// reduceOps reduce any set of axes. The order in which elements are visited depends
// on the reduced dimensions alone. Axes became an input in opset 13 for ReduceSum
// and in 18 for the others.
func reduceOps() []graph.Op {
	var list []graph.Op
	for name, fold := range map[string]numeric{
		"ReduceSum":       foldKernels("sum"),
		"ReduceMean":      foldKernels("mean"),
		"ReduceProd":      foldKernels("prod"),
		"ReduceMax":       foldKernels("max"),
		"ReduceMin":       foldKernels("min"),
		"ReduceL1":        foldKernels("l1"),
		"ReduceL2":        foldKernels("l2"),
		"ReduceSumSquare": foldKernels("square"),
		"ReduceLogSum":    foldKernels("log"),
		"ReduceLogSumExp": foldKernels("logexp"),
	} {
		byInput := 18
		if name == "ReduceSum" {
			byInput = 13
		}
		list = append(list,
			graph.Op{ID: onnx(name), Since: 1, Infer: inferReduce(false), Kernel: fold.prepare, Grad: gradReduce(name)},
			graph.Op{ID: onnx(name), Since: byInput, Infer: inferReduce(true), Kernel: fold.prepare, Grad: gradReduce(name)})
	}
	return append(list, spreadOps()...)
}

// inferReduce is the shape rule, with axes as an attribute or as input 1.
func inferReduce(byInput bool) func(*graph.Infer) error {
	return func(c *graph.Infer) error {
		inputs := 1
		if byInput {
			inputs = 2
		}
		if err := c.Require(1, inputs); err != nil {
			return err
		}
		x := c.In(0)
		if err := reducible(c.Node.Op.Name, x.DType); err != nil {
			return err
		}
		axes := c.Node.Attrs.Ints("axes")
		if c.Has(1) && !(len(c.In(1).Shape) == 1 && c.In(1).Shape[0].Is(0)) {
			var err error
			if axes, err = c.Ints(1); err != nil {
				return err
			}
		}
		reduced, err := reducedAxes(axes, len(x.Shape), c.Node.Attrs)
		if err != nil {
			return err
		}
		keep := c.Node.Attrs.Int("keepdims", 1) != 0
		shape := graph.Shape{}
		for i, d := range x.Shape {
			switch {
			case !reduced[i]:
				shape = append(shape, d)
			case keep:
				shape = append(shape, graph.Const(1))
			}
		}
		c.Out(0, x.DType, shape)
		followReduce(c, reduced)
		return nil
	}
}

func reducible(name string, d tensor.DType) error {
	if d == tensor.Bool && (name == "ReduceMax" || name == "ReduceMin") {
		return nil
	}
	if fullFloat(d) || d == tensor.Int8 || d == tensor.Uint8 || d == tensor.Int16 || d == tensor.Uint16 ||
		d == tensor.Int32 || d == tensor.Uint32 || d == tensor.Int64 || d == tensor.Uint64 {
		return nil
	}
	return fmt.Errorf("elements of type %v cannot be reduced", d)
}

// reducedAxes tells for each dimension whether it is reduced. No axes are all of
// them, or none of them with noop_with_empty_axes.
func reducedAxes(axes []int, rank int, a graph.Attrs) ([]bool, error) {
	reduced := make([]bool, rank)
	if len(axes) == 0 {
		for i := range reduced {
			reduced[i] = a.Int("noop_with_empty_axes", 0) == 0
		}
		return reduced, nil
	}
	for _, axis := range axes {
		i, err := graph.Axis(axis, rank)
		if err != nil {
			return nil, err
		}
		if reduced[i] {
			return nil, fmt.Errorf("axis %d is given twice in %v", axis, axes)
		}
		reduced[i] = true
	}
	return reduced, nil
}

// followReduce follows the elements of a shape that is multiplied up or the like.
func followReduce(c *graph.Infer, reduced []bool) {
	elements, ok := c.Follow(0)
	if !ok || len(elements) == 0 || len(reduced) != 1 || !reduced[0] {
		return
	}
	var join func(a, b graph.Dim) graph.Dim
	switch c.Node.Op.Name {
	case "ReduceSum":
		join = graph.Dim.Add
	case "ReduceProd":
		join = graph.Dim.Mul
	case "ReduceMax":
		join = graph.Dim.Max
	case "ReduceMin":
		join = graph.Dim.Min
	default:
		return
	}
	d := elements[0]
	for _, e := range elements[1:] {
		d = join(d, e)
	}
	c.SetContent(0, []graph.Dim{d})
}

// reduction is how a reduction visits its input: output i is taken over the runs
// of `run` elements that begin at kept[i]+r for every r of runs.
type reduction struct {
	kept, runs []int
	run        int
}

func newReduction(s tensor.Shape, reduced []bool) *reduction {
	r := &reduction{run: 1, kept: []int{0}, runs: []int{0}}
	stride, tail := 1, true
	for i, n := range slices.Backward(s) {
		switch {
		case reduced[i] && tail:
			r.run *= n
		case reduced[i]:
			r.runs = repeatOffsets(r.runs, n, stride)
		default:
			tail = tail && n == 1
			r.kept = repeatOffsets(r.kept, n, stride)
		}
		stride *= n
	}
	return r
}

// repeatOffsets repeats offsets n times, stride apart, for one more dimension outside.
func repeatOffsets(offsets []int, n, stride int) []int {
	out := make([]int, 0, n*len(offsets))
	for i := range n {
		for _, o := range offsets {
			out = append(out, i*stride+o)
		}
	}
	return out
}

// count is the number of elements that each output is taken over.
func (r *reduction) count() int { return len(r.runs) * r.run }

// kernelReduce runs a fold for each output. Axes that come as an input are read
// when it runs.
func kernelReduce[T tensor.Element](fold func(x []T, r *reduction) T) graph.Kernel {
	return func(c *graph.Call) (func() error, error) {
		x, y := c.In[0], c.Out[0]
		var r *reduction
		var axes, given []int
		plan := func(now []int) error {
			if r != nil && slices.Equal(now, axes) {
				return nil
			}
			reduced, err := reducedAxes(now, x.Rank(), c.Node.Attrs)
			if err != nil {
				return err
			}
			r, axes = newReduction(x.Shape(), reduced), slices.Clone(now)
			if len(r.kept) != y.Len() {
				return fmt.Errorf("axes %v of shape %v do not give shape %v", now, x.Shape(), y.Shape())
			}
			return nil
		}
		if !c.Has(1) {
			if err := plan(c.Node.Attrs.Ints("axes")); err != nil {
				return nil, err
			}
		}
		return func() error {
			if c.Has(1) {
				given = c.In[1].AppendInts(given[:0])
				if err := plan(given); err != nil {
					return err
				}
			}
			from, to := tensor.Data[T](x), tensor.Data[T](y)
			for i, base := range r.kept {
				to[i] = fold(from[min(base, len(from)):], r)
			}
			return nil
		}, nil
	}
}
