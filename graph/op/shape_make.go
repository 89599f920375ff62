package op

import (
	"fmt"
	"math"

	"tandem/graph"
	"tandem/graph/op/move"
	"tandem/graph/op/narrow"
	"tandem/tensor"
)

// makeOps make tensors of few numbers: constants, ranges, diagonals.
func makeOps() []graph.Op {
	return []graph.Op{
		{ID: onnx("ConstantOfShape"), Since: 9, Infer: inferConstantOfShape, Kernel: move.Unpacked(kernelConstantOfShape), Flat: true},
		{ID: onnx("Range"), Since: 11, Infer: inferRange, Kernel: narrow.Widened(kernelRange)},
		{ID: onnx("EyeLike"), Since: 9, Infer: inferEyeLike, Kernel: kernelEyeLike, Flat: true},
		{ID: onnx("OneHot"), Since: 9, Infer: inferOneHot, Kernel: kernelOneHot, Expand: expandOneHot},
		{ID: onnx("Trilu"), Since: 14, Infer: inferTrilu, Kernel: kernelTrilu, Grad: gradTrilu},
		{ID: microsoft("Trilu"), Since: 1, Infer: inferTrilu, Kernel: kernelTrilu, Expand: expandAs("Trilu")},
	}
}

func inferConstantOfShape(c *graph.Infer) error {
	if err := c.Require(1, 1); err != nil {
		return err
	}
	shape, ok := c.Content(0)
	if !ok {
		return graph.ErrNeedsData
	}
	for _, d := range shape {
		if n, ok := d.Value(); ok && n < 0 {
			return fmt.Errorf("shape %v has a negative dimension", graph.Shape(shape))
		}
	}
	value, err := fillValue(c.Node.Attrs)
	if err != nil {
		return err
	}
	c.Out(0, value.DType(), shape)
	n, ok := graph.Shape(shape).Len().Value()
	if v := value.Ints(); v != nil && ok && n >= 0 && n <= 64 { // the product may have overflown
		content := make([]graph.Dim, n)
		for i := range content {
			content[i] = graph.Const(v[0])
		}
		c.SetContent(0, content)
	}
	return nil
}

// fillValue is the attribute value, the float32 0 unless it is given.
func fillValue(a graph.Attrs) (*tensor.Tensor, error) {
	value, _ := a["value"].(*tensor.Tensor)
	if value == nil {
		return tensor.New(tensor.Float32, 1), nil
	}
	if value.Len() != 1 {
		return nil, fmt.Errorf("the value is %v, expected one element", value)
	}
	return value, nil
}

func kernelConstantOfShape(c *graph.Call) (func() error, error) {
	value, err := fillValue(c.Node.Attrs)
	if err != nil {
		return nil, err
	}
	m, err := move.Of(c.Out[0].DType())
	if err != nil {
		return nil, err
	}
	if move.Packed(value.DType()) {
		wide := tensor.New(tensor.Uint8, 1)
		move.Unpack(wide.Bytes(), value)
		value = wide
	}
	return func() error {
		m.Fill(c.Out[0], 0, c.Out[0].Len(), value, 0)
		return nil
	}, nil
}

// inferRange: integers may be dimensions, floats must be known.
func inferRange(c *graph.Infer) error {
	if err := c.Require(3, 3); err != nil {
		return err
	}
	if err := alike(c, 0, 1, 2); err != nil {
		return err
	}
	d := c.In(0).DType
	if d == tensor.Int64 || d == tensor.Int32 {
		return inferIntRange(c, d)
	}
	if !d.Numeric() {
		return fmt.Errorf("a range of %v is not defined", d)
	}
	var limits [3]float64
	for i := range limits {
		t, err := c.Elements(i)
		if err != nil {
			return err
		}
		if limits[i], err = numberIn(t); err != nil {
			return err
		}
	}
	n := math.Ceil((limits[1] - limits[0]) / limits[2])
	if math.IsNaN(n) || n > 1<<40 {
		return fmt.Errorf("a range from %v to %v by %v has no length", limits[0], limits[1], limits[2])
	}
	c.Out(0, d, graph.Dims(int(max(n, 0))))
	return nil
}

func inferIntRange(c *graph.Infer, d tensor.DType) error {
	var limits [3]graph.Dim
	for i := range limits {
		content, ok := c.Content(i)
		if !ok {
			return graph.ErrNeedsData
		}
		if len(content) != 1 {
			return fmt.Errorf("input %d has %d elements, expected one", i, len(content))
		}
		limits[i] = content[0]
	}
	step, ok := limits[2].Value()
	if !ok {
		return graph.ErrNeedsData
	}
	if step == 0 {
		return fmt.Errorf("the step is 0")
	}
	n := limits[1].Sub(limits[0]).CeilDiv(limits[2])
	count, ok := n.Value()
	if ok {
		count = max(count, 0)
		n = graph.Const(count)
	}
	c.Out(0, d, graph.Shape{n})
	if ok && count <= 64 {
		content := make([]graph.Dim, count)
		for i := range content {
			content[i] = limits[0].Add(graph.Const(i * step))
		}
		c.SetContent(0, content)
	}
	return nil
}

// numberIn is the one element of a numeric tensor.
func numberIn(t *tensor.Tensor) (float64, error) {
	if t.Len() != 1 {
		return 0, fmt.Errorf("%v given where one number is expected", t)
	}
	v := tensor.New(tensor.Float64, 1)
	if err := tensor.Convert(v, t.Reshaped(1), false); err != nil {
		return 0, err
	}
	return tensor.Data[float64](v)[0], nil
}

func kernelRange(c *graph.Call) (func() error, error) {
	switch c.Out[0].DType() {
	case tensor.Float32:
		return rangeOf[float32](c), nil
	case tensor.Float64:
		return rangeOf[float64](c), nil
	case tensor.Int16:
		return rangeOf[int16](c), nil
	case tensor.Int32:
		return rangeOf[int32](c), nil
	case tensor.Int64:
		return rangeOf[int64](c), nil
	}
	return nil, fmt.Errorf("a range of %v is not defined", c.Out[0].DType())
}

func rangeOf[T float32 | float64 | int16 | int32 | int64](c *graph.Call) func() error {
	return func() error {
		start, step := tensor.Data[T](c.In[0])[0], tensor.Data[T](c.In[2])[0]
		y := tensor.Data[T](c.Out[0])
		for i := range y {
			y[i] = start + T(i)*step
		}
		return nil
	}
}

// attrDType is the attribute dtype, an element type of ONNX.
func attrDType(a graph.Attrs, def tensor.DType) (tensor.DType, error) {
	n := a.Int("dtype", int(def))
	if n < 0 || n > 255 || !tensor.DType(n).Valid() {
		return 0, fmt.Errorf("dtype %d is no element type", n)
	}
	return tensor.DType(n), nil
}

func inferEyeLike(c *graph.Infer) error {
	if err := c.Require(1, 1); err != nil {
		return err
	}
	if err := c.Rank(0, 2); err != nil {
		return err
	}
	d, err := attrDType(c.Node.Attrs, c.In(0).DType)
	if err != nil {
		return err
	}
	if !d.Numeric() || move.Packed(d) {
		return fmt.Errorf("a matrix of ones in %v is not defined", d)
	}
	c.Out(0, d, c.In(0).Shape)
	return nil
}

func kernelEyeLike(c *graph.Call) (func() error, error) {
	y, k := c.Out[0], c.Node.Attrs.Int("k", 0)
	m, err := move.Of(y.DType())
	if err != nil {
		return nil, err
	}
	one := tensor.New(y.DType(), 1)
	if err := tensor.Convert(one, tensor.Of([]int32{1}, 1), true); err != nil {
		return nil, err
	}
	rows, cols := y.Dim(0), y.Dim(1)
	return func() error {
		m.Fill(y, 0, y.Len(), nil, 0)
		for i := range rows {
			if j := i + k; j >= 0 && j < cols {
				m.Fill(y, i*cols+j, 1, one, 0)
			}
		}
		return nil
	}, nil
}

func inferOneHot(c *graph.Infer) error {
	if err := c.Require(3, 3); err != nil {
		return err
	}
	at, values := c.In(0), c.In(2)
	if n, ok := values.Shape.Len().Value(); ok && n != 2 {
		return fmt.Errorf("the values are %v, expected two", values)
	}
	axis, err := graph.Axis(c.Node.Attrs.Int("axis", -1), len(at.Shape)+1)
	if err != nil {
		return err
	}
	depth, err := depthOf(c)
	if err != nil {
		return err
	}
	if n, ok := depth.Value(); ok && n < 0 {
		return fmt.Errorf("the depth is %d", n)
	}
	shape := append(graph.Shape{}, at.Shape[:axis]...)
	c.Out(0, values.DType, append(append(shape, depth), at.Shape[axis:]...))
	return nil
}

// depthOf is the element of the depth, which may be of any numeric type.
func depthOf(c *graph.Infer) (graph.Dim, error) {
	if content, ok := c.Content(1); ok && len(content) == 1 {
		return content[0], nil
	}
	t, err := c.Elements(1)
	if err != nil {
		return graph.Dim{}, err
	}
	depth, err := numberIn(t)
	if err != nil {
		return graph.Dim{}, err
	}
	if !(math.Abs(depth) < 1<<40) {
		return graph.Dim{}, fmt.Errorf("the depth is %v", depth)
	}
	return graph.Const(int(depth)), nil
}

// expandOneHot: off + (on - off)·1 where the index says, ·0 elsewhere.
func expandOneHot(e *graph.Expansion) ([]*graph.Value, error) {
	if !e.Needs(2) {
		return nil, nil
	}
	unit := e.Const("unit", tensor.Of([]float32{0, 1}, 2))
	chosen := e.Op("OneHot", e.Node.Attrs, e.In(0), e.In(1), unit)
	values := e.Builder.Node(onnx("Split"), 2, graph.Attrs{"axis": int64(0), "num_outputs": int64(2)}, e.In(2))
	moved := e.Op("Mul", nil, chosen, e.Op("Sub", nil, values[1], values[0]))
	return []*graph.Value{e.Op("Add", nil, moved, values[0])}, nil
}

// kernelOneHot: an index outside [-depth, depth) sets nothing.
func kernelOneHot(c *graph.Call) (func() error, error) {
	m, err := move.Of(c.In[2].DType())
	if err != nil {
		return nil, err
	}
	y := c.Out[0]
	axis, err := graph.Axis(c.Node.Attrs.Int("axis", -1), y.Rank())
	if err != nil {
		return nil, err
	}
	outer, depth, inner := around(y.Shape(), axis)
	at, err := c.New(tensor.Int64, c.In[0].Shape()...)
	if err != nil {
		return nil, err
	}
	return func() error {
		if err := tensor.Convert(at, c.In[0], false); err != nil {
			return err
		}
		m.Fill(y, 0, y.Len(), c.In[2], 0)
		list := at.I64()
		for o := range outer {
			for i, k := range list[o*inner:][:inner] {
				if k < 0 {
					k += int64(depth)
				}
				if k >= 0 && k < int64(depth) {
					m.Fill(y, (o*depth+int(k))*inner+i, 1, c.In[2], 1)
				}
			}
		}
		return nil
	}, nil
}

func inferTrilu(c *graph.Infer) error {
	if err := c.Require(1, 2); err != nil {
		return err
	}
	if len(c.In(0).Shape) < 2 {
		return fmt.Errorf("input of shape %v is no matrix", c.In(0).Shape)
	}
	if c.Has(1) {
		if n, ok := c.In(1).Shape.Len().Value(); c.In(1).DType != tensor.Int64 || ok && n != 1 {
			return fmt.Errorf("k is %v, expected one int64", c.In(1))
		}
	}
	c.Out(0, c.In(0).DType, c.In(0).Shape)
	return nil
}

// kernelTrilu copies the part of each row that is on one side of the diagonal k.
func kernelTrilu(c *graph.Call) (func() error, error) {
	x, y := c.In[0], c.Out[0]
	m, err := move.Of(x.DType())
	if err != nil {
		return nil, err
	}
	rank := x.Rank()
	rows, cols := x.Dim(rank-2), x.Dim(rank-1)
	upper := c.Node.Attrs.Int("upper", 1) != 0
	one := move.Box([]int{0})
	return func() error {
		k := 0
		if c.Has(1) {
			k = int(min(max(c.In[1].I64()[0], -1<<40), 1<<40))
		}
		m.Fill(y, 0, y.Len(), nil, 0)
		for row := 0; row*cols < x.Len(); row++ {
			lo, hi := 0, cols
			if diagonal := row%rows + k; upper {
				lo = min(max(diagonal, 0), cols)
			} else {
				hi = min(max(diagonal+1, 0), cols)
			}
			one.Shape[0], one.FromAt, one.ToAt = hi-lo, row*cols+lo, row*cols+lo
			one.To[0], one.From[0] = 1, 1
			m.Strided(y, x, one)
		}
		return nil
	}, nil
}
