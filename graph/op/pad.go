package op

import (
	"fmt"

	"tandem/graph"
	"tandem/graph/op/move"
	"tandem/tensor"
)

func padOps() []graph.Op {
	return []graph.Op{
		{ID: onnx("Pad"), Since: 2, Infer: inferPad, Kernel: move.Unpacked(kernelPad), Grad: gradPad},
		{ID: onnx("CenterCropPad"), Since: 18, Infer: inferCenterCropPad, Kernel: kernelCenterCropPad, Grad: move.Gradient(0)},
	}
}

func inferPad(c *graph.Infer) error {
	if err := c.Require(1, 4); err != nil {
		return err
	}
	in := c.In(0)
	if err := checkPad(c); err != nil {
		return err
	}
	pads := graph.Dims(c.Node.Attrs.Ints("pads")...)
	if c.Has(1) {
		var ok bool
		if pads, ok = c.Content(1); !ok {
			return graph.ErrNeedsData
		}
	}
	axes, err := padAxes(c, len(in.Shape))
	if err != nil {
		return err
	}
	if len(pads) != 2*len(axes) {
		return fmt.Errorf("%d pads for %d axes", len(pads), len(axes))
	}
	shape := append(graph.Shape{}, in.Shape...)
	for i, a := range axes {
		shape[a] = shape[a].Add(pads[i]).Add(pads[i+len(axes)])
		if n, ok := shape[a].Value(); ok && n < 0 {
			return fmt.Errorf("pads %v leave %d elements of dimension %d", graph.Shape(pads), n, a)
		}
	}
	c.Out(0, in.DType, shape)
	return nil
}

func checkPad(c *graph.Infer) error {
	switch mode := c.Node.Attrs.String("mode", "constant"); mode {
	case "constant", "reflect", "edge", "wrap":
	default:
		return fmt.Errorf("mode %q is not known", mode)
	}
	if !c.Has(2) {
		return nil
	}
	v := c.In(2)
	n, ok := v.Shape.Len().Value()
	if v.DType != c.In(0).DType || ok && n != 1 {
		return fmt.Errorf("the padding value is %v for data of type %v", v, c.In(0).DType)
	}
	return nil
}

// padAxes are the axes that the pads are for: all unless an input says otherwise.
func padAxes(c *graph.Infer, rank int) ([]int, error) {
	if !c.Has(3) {
		return axesIn(count(rank), rank)
	}
	axes, err := c.Ints(3)
	if err != nil {
		return nil, err
	}
	return axesIn(axes, rank)
}

// count is 0, 1, … n-1.
func count(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// padPlan is a Pad with its tables.
type padPlan struct {
	mode string
	tables
}

// tables hold, for each dimension, the index in the input of every index in the
// output. If there are holes, -1 is where another value goes.
type tables struct {
	in, out []int
	from    [][]int
	holes   bool
	block   int    // elements of the last dimensions that stay as they are; 0 is 1
	only    [1]int // offset 0: of a block that is picked alone
}

func kernelPad(c *graph.Call) (func() error, error) {
	m, err := move.Of(c.In[0].DType())
	if err != nil {
		return nil, err
	}
	p := &padPlan{c.Node.Attrs.String("mode", "constant"), tables{in: c.In[0].Shape(), out: c.Out[0].Shape()}}
	value, err := padValue(c)
	if err != nil {
		return nil, err
	}
	pads, axes := c.Node.Attrs.Ints("pads"), count(len(p.in))
	return func() error {
		if c.Has(1) {
			pads = c.In[1].AppendInts(pads[:0])
		}
		if c.Has(3) {
			axes = c.In[3].AppendInts(axes[:0])
		}
		if err := p.fill(pads, axes); err != nil {
			return err
		}
		v := value
		if c.Has(2) {
			v = c.In[2]
		}
		p.run(m, c.Out[0], c.In[0], v)
		return nil
	}, nil
}

// padValue is the attribute of that name in the type of the data; nil is zero.
func padValue(c *graph.Call) (*tensor.Tensor, error) {
	v := c.Node.Attrs.Float("value", 0)
	if v == 0 {
		return nil, nil
	}
	t := tensor.New(c.In[0].DType(), 1)
	return t, tensor.Convert(t, tensor.Scalar(v), true)
}

// fill makes the tables.
func (p *padPlan) fill(pads, axes []int) error {
	before := make([]int, len(p.in))
	for i, a := range axes {
		a, err := graph.Axis(a, len(p.in))
		if err != nil {
			return err
		}
		before[a] = pads[i]
	}
	if p.from == nil {
		p.from = make([][]int, len(p.in))
		for d, n := range p.out {
			p.from[d] = make([]int, n)
		}
	}
	p.holes = false
	for d, table := range p.from {
		for i := range table {
			n, err := p.source(i-before[d], p.in[d])
			if err != nil {
				return fmt.Errorf("dimension %d: %w", d, err)
			}
			table[i] = n
			p.holes = p.holes || n < 0
		}
	}
	p.block = 1
	for last := len(p.in) - 1; last > 0 && p.in[last] == p.out[last] && before[last] == 0; last-- {
		p.block *= p.in[last]
	}
	return nil
}

// source is the index in a dimension of n that an index beside it is taken from.
func (p *padPlan) source(i, n int) (int, error) {
	inside := i >= 0 && i < n
	switch {
	case inside:
		return i, nil
	case p.mode == "constant":
		return -1, nil
	case n == 0:
		return 0, fmt.Errorf("mode %q cannot pad a dimension of 0", p.mode)
	case p.mode == "edge":
		return min(max(i, 0), n-1), nil
	case p.mode == "wrap":
		return ((i % n) + n) % n, nil
	case n == 1:
		return 0, nil
	}
	period := 2 * (n - 1)
	if i = ((i % period) + period) % period; i >= n {
		i = period - i
	}
	return i, nil
}

// run fills dst row by row: blocks of elements that lie together in both.
func (p *tables) run(m move.Mover, dst, src, value *tensor.Tensor) {
	n := dst.Len()
	if n == 0 {
		return
	}
	block, rank := max(p.block, 1), len(p.in)
	for rest := block; rest > 1; rank-- {
		rest /= p.in[rank-1]
	}
	if rank == 0 {
		m.Pick(dst, 0, src, 0, []int{0}, 1)
		return
	}
	if p.holes {
		m.Fill(dst, 0, n, value, 0)
	}
	cols, stride := p.out[rank-1]*block, move.Dense(p.in)
	index := make([]int, rank-1)
	for row := 0; row < n; row += cols {
		base, outside := 0, false
		for d, i := range index {
			s := p.from[d][i]
			outside = outside || s < 0
			base += s * stride[d]
		}
		if !outside {
			p.row(m, dst, row, src, base, p.from[rank-1], block)
		}
		for d := rank - 2; d >= 0; d-- {
			if index[d]++; index[d] < p.out[d] {
				break
			}
			index[d] = 0
		}
	}
}

// row copies the runs of blocks that follow each other in the input, too.
func (p *tables) row(m move.Mover, dst *tensor.Tensor, at int, src *tensor.Tensor, base int, from []int, block int) {
	for i := 0; i < len(from); {
		n := 1
		for i+n < len(from) && from[i] >= 0 && from[i+n] == from[i]+n {
			n++
		}
		if from[i] >= 0 {
			m.Pick(dst, at+i*block, src, base+from[i]*block, p.only[:], n*block)
		}
		i += n
	}
}

func inferCenterCropPad(c *graph.Infer) error {
	if err := c.Require(2, 2); err != nil {
		return err
	}
	in := c.In(0)
	target, ok := c.Content(1)
	if !ok {
		return graph.ErrNeedsData
	}
	axes := c.Node.Attrs.Ints("axes")
	if axes == nil {
		axes = count(len(in.Shape))
	}
	axes, err := axesIn(axes, len(in.Shape))
	if err != nil {
		return err
	}
	if len(target) != len(axes) {
		return fmt.Errorf("%d sizes for %d axes", len(target), len(axes))
	}
	shape := append(graph.Shape{}, in.Shape...)
	for i, a := range axes {
		if n, ok := target[i].Value(); ok && n < 0 {
			return fmt.Errorf("the size of dimension %d is to be %d", a, n)
		}
		shape[a] = target[i]
	}
	c.Out(0, in.DType, shape)
	return nil
}

// kernelCenterCropPad copies the middle of the input to the middle of the output.
func kernelCenterCropPad(c *graph.Call) (func() error, error) {
	m, err := move.Of(c.In[0].DType())
	if err != nil {
		return nil, err
	}
	in, out := c.In[0].Shape(), c.Out[0].Shape()
	shape := make([]int, len(in))
	for i := range shape {
		shape[i] = min(in[i], out[i])
	}
	s := move.Box(shape)
	s.From, s.To = move.Dense(in), move.Dense(out)
	for i := range shape {
		s.FromAt += (in[i] - shape[i]) / 2 * s.From[i]
		s.ToAt += (out[i] - shape[i]) / 2 * s.To[i]
	}
	s.Compact()
	return func() error {
		m.Fill(c.Out[0], 0, c.Out[0].Len(), nil, 0)
		m.Strided(c.Out[0], c.In[0], s)
		return nil
	}, nil
}
