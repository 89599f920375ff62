package op

import (
	"fmt"

	"tandem/graph"
	"tandem/graph/op/move"
	"tandem/kernel"
	"tandem/tensor"
	"tandem/tensor/block"
)

// gatherOps take elements or blocks by index.
func gatherOps() []graph.Op {
	return []graph.Op{
		{ID: onnx("Gather"), Since: 1, Infer: inferGather, Kernel: kernelGather, Grad: gradGather, Encoded: true},
		{ID: onnx("GatherElements"), Since: 11, Infer: inferGatherElements, Kernel: kernelGatherElements, Grad: move.Gradient(0)},
		{ID: onnx("GatherND"), Since: 11, Infer: inferGatherND, Kernel: kernelGatherND, Grad: move.Gradient(0)},
		{ID: onnx("ReverseSequence"), Since: 10, Infer: inferReverseSequence, Kernel: kernelReverseSequence, Grad: move.Gradient(0)},
		{ID: onnx("Compress"), Since: 9, Infer: inferCompress, Kernel: kernelCompress, Grad: move.Gradient(0)},
		{ID: private("GatherGrad"), Infer: inferGatherGrad, Kernel: kernelGatherGrad},
	}
}

// wantIndices checks that an input holds int32 or int64.
func wantIndices(c *graph.Infer, input int) error {
	if d := c.In(input).DType; d != tensor.Int32 && d != tensor.Int64 {
		return fmt.Errorf("input %d (%s) is %v, expected int32 or int64 indices", input, c.Node.Inputs[input].Name, d)
	}
	return nil
}

func inferGather(c *graph.Infer) error {
	if err := c.Require(2, 2); err != nil {
		return err
	}
	if err := wantIndices(c, 1); err != nil {
		return err
	}
	in, at := c.In(0), c.In(1).Shape
	axis, err := graph.Axis(c.Node.Attrs.Int("axis", 0), len(in.Shape))
	if err != nil {
		return err
	}
	shape := append(graph.Shape{}, in.Shape[:axis]...)
	shape = append(append(shape, at...), in.Shape[axis+1:]...)
	c.Out(0, in.DType, shape)
	if len(in.Shape) == 1 && (in.DType == tensor.Int64 || in.DType == tensor.Int32) {
		gatherContent(c)
	}
	return nil
}

func gatherContent(c *graph.Infer) {
	content, ok := c.Follow(0)
	if !ok {
		return
	}
	at, ok := c.Follow(1)
	if !ok {
		return
	}
	picked := make([]graph.Dim, len(at))
	for i, d := range at {
		n, ok := d.Value()
		if n < 0 {
			n += len(content)
		}
		if !ok || n < 0 || n >= len(content) {
			return
		}
		picked[i] = content[n]
	}
	c.SetContent(0, picked)
}

// indexList reads indices into one slice that lasts from run to run.
type indexList struct {
	list []int
}

// read normalises the indices of t into a dimension of length dim and multiplies
// them by scale.
func (l *indexList) read(t *tensor.Tensor, dim, scale int) ([]int, error) {
	l.list = l.list[:0]
	var err error
	if t.DType() == tensor.Int32 {
		l.list, err = appendIndices(l.list, tensor.Data[int32](t), dim, scale)
	} else {
		l.list, err = appendIndices(l.list, t.I64(), dim, scale)
	}
	return l.list, err
}

func appendIndices[T int32 | int64](list []int, v []T, dim, scale int) ([]int, error) {
	for _, x := range v {
		n := int(x)
		if n < 0 {
			n += dim
		}
		if n < 0 || n >= dim {
			return list, fmt.Errorf("index %d is outside a dimension of %d", x, dim)
		}
		list = append(list, n*scale)
	}
	return list, nil
}

// around are the numbers of elements before, along and after an axis.
func around(shape []int, axis int) (outer, dim, inner int) {
	return tensor.Shape(shape[:axis]).Len(), shape[axis], tensor.Shape(shape[axis+1:]).Len()
}

func kernelGather(c *graph.Call) (func() error, error) {
	if k := c.Node.Inputs[0].Const; k != nil && k.Encoding != graph.Dense {
		return kernelGatherRows(c, k)
	}
	m, err := move.Of(c.In[0].DType())
	if err != nil {
		return nil, err
	}
	axis, err := graph.Axis(c.Node.Attrs.Int("axis", 0), c.In[0].Rank())
	if err != nil {
		return nil, err
	}
	outer, dim, inner := around(c.In[0].Shape(), axis)
	var indices indexList
	return func() error {
		list, err := indices.read(c.In[1], dim, inner)
		if err != nil {
			return err
		}
		for o := range outer {
			m.Pick(c.Out[0], o*len(list)*inner, c.In[0], o*dim*inner, list, inner)
		}
		return nil
	}, nil
}

// GatherGrad(dy, indices, x) adds each block of dy where it was taken from, in
// the order of the indices.
func gradGather(g *graph.Gradient) error {
	g.Set(0, g.Private("GatherGrad", g.Node.Attrs, g.Out(0), g.In(1), g.In(0)))
	return nil
}

func inferGatherGrad(c *graph.Infer) error {
	c.Out(0, c.In(2).DType, c.In(2).Shape)
	return nil
}

func kernelGatherGrad(c *graph.Call) (func() error, error) {
	axis, err := graph.Axis(c.Node.Attrs.Int("axis", 0), c.In[2].Rank())
	if err != nil {
		return nil, err
	}
	outer, dim, inner := around(c.In[2].Shape(), axis)
	var indices indexList
	return func() error {
		list, err := indices.read(c.In[1], dim, inner)
		if err != nil {
			return err
		}
		from, to := c.In[0].F32(), c.Out[0].F32()
		clear(to)
		for o := range outer {
			for i, at := range list {
				d := from[(o*len(list)+i)*inner:][:inner]
				for j, sum := range to[o*dim*inner+at:][:inner] {
					to[o*dim*inner+at+j] = sum + d[j]
				}
			}
		}
		return nil
	}, nil
}

func inferGatherElements(c *graph.Infer) error {
	if err := c.Require(2, 2); err != nil {
		return err
	}
	if err := checkAlong(c, 0, 1); err != nil {
		return err
	}
	c.Out(0, c.In(0).DType, c.In(1).Shape)
	return nil
}

// checkAlong checks data and the indices along an axis: their ranks agree, and
// aside from the axis, the indices' dimensions are not larger.
func checkAlong(c *graph.Infer, data, indices int) error {
	if err := wantIndices(c, indices); err != nil {
		return err
	}
	in, at := c.In(data).Shape, c.In(indices).Shape
	axis, err := graph.Axis(c.Node.Attrs.Int("axis", 0), len(in))
	if err != nil {
		return err
	}
	if len(in) != len(at) {
		return fmt.Errorf("data have shape %v, the indices %v", in, at)
	}
	for i := range in {
		n, ok1 := in[i].Value()
		k, ok2 := at[i].Value()
		if i != axis && ok1 && ok2 && k > n {
			return fmt.Errorf("dimension %d of the indices %v is larger than that of the data %v", i, at, in)
		}
	}
	return nil
}

// along finds, for each row of indices, the offsets in the data that they mean.
type along struct {
	shape   []int // of the indices
	strides []int // of the data, 0 along the axis
	dim     int   // of the data along the axis
	step    int   // of the data along the axis
	row     indexList
	view    tensor.Tensor // of a row of indices
	part    [1]int        // its shape
}

func newAlong(data, indices []int, axis int) (*along, error) {
	axis, err := graph.Axis(axis, len(data))
	if err != nil {
		return nil, err
	}
	a := &along{shape: indices, strides: move.Dense(data), dim: data[axis]}
	a.step, a.strides[axis] = a.strides[axis], 0
	return a, nil
}

// each calls f for every row: at is the offset of its first index, and offsets
// are those in the data.
func (a *along) each(indices *tensor.Tensor, f func(at int, offsets []int)) error {
	cols, step := 1, 0
	if n := len(a.shape); n > 0 {
		cols, step = a.shape[n-1], a.strides[n-1]
	}
	size := indices.DType().Bits() / 8
	return move.EachRow(a.shape, a.strides, func(at, base int) error {
		a.part[0] = cols
		a.view.Set(indices.DType(), a.part[:], indices.Bytes()[at*size:(at+cols)*size])
		offsets, err := a.row.read(&a.view, a.dim, a.step)
		if err != nil {
			return err
		}
		for j := range offsets {
			offsets[j] += base + j*step
		}
		f(at, offsets)
		return nil
	})
}

func kernelGatherElements(c *graph.Call) (func() error, error) {
	m, err := move.Of(c.In[0].DType())
	if err != nil {
		return nil, err
	}
	a, err := newAlong(c.In[0].Shape(), c.In[1].Shape(), c.Node.Attrs.Int("axis", 0))
	if err != nil {
		return nil, err
	}
	return func() error {
		return a.each(c.In[1], func(at int, offsets []int) { m.Pick(c.Out[0], at, c.In[0], 0, offsets, 1) })
	}, nil
}

func inferGatherND(c *graph.Infer) error {
	if err := c.Require(2, 2); err != nil {
		return err
	}
	if d := c.In(1).DType; d != tensor.Int64 {
		return fmt.Errorf("input 1 (%s) is %v, expected int64 indices", c.Node.Inputs[1].Name, d)
	}
	in, at, batch := c.In(0), c.In(1).Shape, c.Node.Attrs.Int("batch_dims", 0)
	if batch < 0 || batch >= len(at) || batch >= len(in.Shape) {
		return fmt.Errorf("batch_dims %d does not fit data of shape %v and indices of shape %v", batch, in.Shape, at)
	}
	for i := range batch {
		if err := c.Same(in.Shape[i], at[i], fmt.Sprintf("batch dimension %d of data and indices", i)); err != nil {
			return err
		}
	}
	depth, ok := at[len(at)-1].Value()
	if !ok {
		return graph.ErrNeedsData
	}
	if depth < 1 || batch+depth > len(in.Shape) {
		return fmt.Errorf("indices of shape %v index %d dimensions after %d of %v", at, depth, batch, in.Shape)
	}
	shape := append(graph.Shape{}, at[:len(at)-1]...)
	c.Out(0, in.DType, append(shape, in.Shape[batch+depth:]...))
	return nil
}

// tuples turns index tuples into offsets.
type tuples struct {
	dims, strides []int // of the data, by place in a tuple
	list          []int
}

func newTuples(data []int, batch, depth int) *tuples {
	return &tuples{dims: data[batch : batch+depth], strides: move.Dense(data)[batch : batch+depth]}
}

// read are the offsets of the tuples in v.
func (t *tuples) read(v []int64) ([]int, error) {
	t.list = t.list[:0]
	for depth := len(t.dims); len(v) >= depth; v = v[depth:] {
		at := 0
		for i, x := range v[:depth] {
			n := int(x)
			if n < 0 {
				n += t.dims[i]
			}
			if n < 0 || n >= t.dims[i] {
				return nil, fmt.Errorf("index %d is outside a dimension of %d", x, t.dims[i])
			}
			at += n * t.strides[i]
		}
		t.list = append(t.list, at)
	}
	return t.list, nil
}

func kernelGatherND(c *graph.Call) (func() error, error) {
	m, err := move.Of(c.In[0].DType())
	if err != nil {
		return nil, err
	}
	data, at, batch := c.In[0].Shape(), c.In[1].Shape(), c.Node.Attrs.Int("batch_dims", 0)
	depth := at[len(at)-1]
	t := newTuples(data, batch, depth)
	batches, block, each := data[:batch].Len(), data[batch+depth:].Len(), data[batch:].Len()
	per := at[batch : len(at)-1].Len()
	return func() error {
		indices := c.In[1].I64()
		for b := range batches {
			list, err := t.read(indices[b*per*depth:][:per*depth])
			if err != nil {
				return err
			}
			m.Pick(c.Out[0], b*per*block, c.In[0], b*each, list, block)
		}
		return nil
	}, nil
}

func inferReverseSequence(c *graph.Infer) error {
	if err := c.Require(2, 2); err != nil {
		return err
	}
	batch, time := c.Node.Attrs.Int("batch_axis", 1), c.Node.Attrs.Int("time_axis", 0)
	in := c.In(0)
	if len(in.Shape) < 2 || batch < 0 || batch > 1 || time != 1-batch {
		return fmt.Errorf("batch_axis %d and time_axis %d of shape %v must be 0 and 1, or 1 and 0", batch, time, in.Shape)
	}
	if d := c.In(1); d.DType != tensor.Int64 || len(d.Shape) != 1 {
		return fmt.Errorf("the lengths are %v, expected a vector of int64", d)
	}
	c.Out(0, in.DType, in.Shape)
	return c.Same(in.Shape[batch], c.In(1).Shape[0], "numbers of sequences")
}

func kernelReverseSequence(c *graph.Call) (func() error, error) {
	m, err := move.Of(c.In[0].DType())
	if err != nil {
		return nil, err
	}
	shape := c.In[0].Shape()
	batch := c.Node.Attrs.Int("batch_axis", 1)
	time := shape[1-batch]
	block := shape[2:].Len()
	from, err := graph.Room[int](c, shape[0]*shape[1])
	if err != nil {
		return nil, err
	}
	return func() error {
		for b, n := range c.In[1].I64() {
			if n < 0 || int(n) > time {
				return fmt.Errorf("sequence %d has length %d, the limit is %d", b, n, time)
			}
			for t := range time {
				source := t
				if t < int(n) {
					source = int(n) - 1 - t
				}
				if batch == 0 {
					from[b*time+t] = (b*time + source) * block
				} else {
					from[t*shape[1]+b] = (source*shape[1] + b) * block
				}
			}
		}
		m.Pick(c.Out[0], 0, c.In[0], 0, from, block)
		return nil
	}, nil
}

func inferCompress(c *graph.Infer) error {
	if err := c.Require(2, 2); err != nil {
		return err
	}
	in := c.In(0)
	if d := c.In(1); d.DType != tensor.Bool || len(d.Shape) != 1 {
		return fmt.Errorf("the condition is %v, expected a vector of bool", d)
	}
	condition, err := c.Elements(1)
	if err != nil {
		return err
	}
	count := 0
	for _, keep := range tensor.Data[bool](condition) {
		if keep {
			count++
		}
	}
	if _, given := c.Node.Attrs["axis"]; !given {
		c.Out(0, in.DType, graph.Dims(count))
		return nil
	}
	axis, err := graph.Axis(c.Node.Attrs.Int("axis", 0), len(in.Shape))
	if err != nil {
		return err
	}
	shape := append(graph.Shape{}, in.Shape...)
	shape[axis] = graph.Const(count)
	c.Out(0, in.DType, shape)
	return nil
}

func kernelCompress(c *graph.Call) (func() error, error) {
	m, err := move.Of(c.In[0].DType())
	if err != nil {
		return nil, err
	}
	outer, dim, inner := 1, c.In[0].Len(), 1
	if _, given := c.Node.Attrs["axis"]; given {
		axis, err := graph.Axis(c.Node.Attrs.Int("axis", 0), c.In[0].Rank())
		if err != nil {
			return nil, err
		}
		outer, dim, inner = around(c.In[0].Shape(), axis)
	}
	var list []int
	return func() error {
		list = list[:0]
		for i, keep := range tensor.Data[bool](c.In[1]) {
			if keep && i >= dim {
				return fmt.Errorf("the condition keeps element %d of %d", i, dim)
			}
			if keep {
				list = append(list, i*inner)
			}
		}
		for o := range outer {
			m.Pick(c.Out[0], o*len(list)*inner, c.In[0], o*dim*inner, list, inner)
		}
		return nil
	}, nil
}

// kernelGatherRows looks rows up in a table in blocks, or in panels of them.
func kernelGatherRows(c *graph.Call, k *graph.Constant) (func() error, error) {
	f, ok := k.Encoding.InRows()
	packed := false
	if !ok {
		f, packed = k.Encoding.InRowPanels()
	}
	axis, err := graph.Axis(c.Node.Attrs.Int("axis", 0), c.In[0].Rank())
	if err != nil {
		return nil, err
	}
	if !(ok && f.Codec() || packed && kernel.CanUnpack(f)) || axis != 0 || c.In[0].Rank() != 2 {
		return nil, fmt.Errorf("a table of shape %v in encoding %q cannot be read along axis %d", c.In[0].Shape(), k.Encoding, axis)
	}
	cols := c.In[0].Dim(1)
	size, want := f.Size(cols), f.Size(cols)*c.In[0].Dim(0)
	if packed {
		want = kernel.PackedBytes(f, c.In[0].Dim(0), cols, c.Pool.ISA())
	}
	if len(k.Data) != want {
		return nil, fmt.Errorf("a table of shape %v in encoding %q has %d bytes", c.In[0].Shape(), k.Encoding, len(k.Data))
	}
	var indices indexList
	return func() error {
		list, err := indices.read(c.In[1], c.In[0].Dim(0), 1)
		if err != nil {
			return err
		}
		for i, row := range list {
			y := c.Out[0].F32()[i*cols:][:cols]
			if packed {
				kernel.UnpackRow(f, y, k.Data, row)
			} else {
				block.Decode(f, y, k.Data[row*size:][:size])
			}
		}
		return nil
	}, nil
}
