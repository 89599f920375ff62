package op

import (
	"fmt"
	"slices"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// stridedAttentionOps is attention on operands as they lie in the results of the
// products before it: what exporters write between, to split and to transpose, is
// never carried out.
func stridedAttentionOps() []graph.Op {
	return []graph.Op{
		// (q, k, v, mask) -> y = softmax(scale·q·kᵀ + mask)·v, the mask being
		// broadcast to [batch, heads, rows, keys]. A head of keys and values
		// serves as many heads of queries as there are more of these. Attributes: scale; zero:
		// a row that may look at no key gives 0, not NaN; q, k and v, which say
		// where heads lie (headsIn); y, which of the four dimensions of the
		// result is the batch, the head, the row and the element of a head.
		{ID: private("Attention"), Infer: inferStrided, Kernel: kernelStrided, Work: workStrided},
	}
}

// headsIn says where heads of rows lie in a tensor.
type headsIn struct {
	batch, row, head int // dimensions; -1: the batch is 1, or heads lie within the last dimension
	stride, heads    int // elements from one head to the next, and their number, if head is -1
	offset           int // of the first element
	size             int // elements of a head; 0: the last dimension
}

// readHeads reads the attribute of an operand; without it the operand is [batch,
// heads, rows, size].
func readHeads(n *graph.Node, name string, rank int) (headsIn, error) {
	a := n.Attrs.Ints(name)
	if a == nil {
		a = []int{0, 2, 1, 0, 0, 0, 0}
	}
	if len(a) != 7 || slices.Min(a[3:]) < 0 || slices.Min(a[:3]) < -1 || slices.Max(a[:3]) >= rank || a[1] < 0 {
		return headsIn{}, fmt.Errorf("attribute %s is %v for %d dimensions", name, a, rank)
	}
	return headsIn{batch: a[0], row: a[1], head: a[2], stride: a[3], heads: a[4], offset: a[5], size: a[6]}, nil
}

// sizes are those of batch, heads, rows and elements.
func (h headsIn) sizes(shape graph.Shape) [4]graph.Dim {
	s := [4]graph.Dim{graph.Const(1), graph.Const(h.heads), shape[h.row], graph.Const(h.size)}
	if h.batch >= 0 {
		s[0] = shape[h.batch]
	}
	if h.head >= 0 {
		s[1] = shape[h.head]
	}
	if h.size == 0 {
		s[3] = shape[len(shape)-1]
	}
	return s
}

// orderOf is which dimension of the result is batch, head, row and element.
func orderOf(n *graph.Node) ([4]int, error) {
	order := n.Attrs.Ints("y")
	if order == nil {
		return [4]int{0, 1, 2, 3}, nil
	}
	if len(order) != 4 || order[3] != 3 || order[0]+order[1]+order[2] != 3 || order[0]*order[1]*order[2] != 0 || slices.Min(order) < 0 {
		return [4]int{}, fmt.Errorf("attribute y is %v, expected an order of dimensions that ends in 3", order)
	}
	return [4]int(order), nil
}

func inferStrided(c *graph.Infer) error {
	if err := c.Require(3, 4); err != nil {
		return err
	}
	if err := c.Floats(0, 1, 2, 3); err != nil {
		return err
	}
	var d [3][4]graph.Dim // of q, k, v: batch, head, row, element
	for i, name := range []string{"q", "k", "v"} {
		h, err := readHeads(c.Node, name, len(c.In(i).Shape))
		if err != nil {
			return err
		}
		d[i] = h.sizes(c.In(i).Shape)
	}
	if err := sameDims(c, "batch, heads, size or keys", d[0][0], d[1][0], d[0][0], d[2][0], d[1][1], d[2][1], d[0][3], d[1][3], d[1][2], d[2][2]); err != nil {
		return err
	}
	if m, ok := d[0][1].Value(); ok {
		if n, ok := d[1][1].Value(); ok && (n == 0 || m%n != 0) {
			return fmt.Errorf("%d heads of queries cannot share %d heads of keys", m, n)
		}
	}
	if c.Has(3) && len(c.In(3).Shape) > 4 {
		return fmt.Errorf("the mask has shape %v", c.In(3).Shape)
	}
	order, err := orderOf(c.Node)
	if err != nil {
		return err
	}
	shape := make(graph.Shape, 4)
	for i, dim := range []graph.Dim{d[0][0], d[0][1], d[0][2], d[2][3]} {
		shape[order[i]] = dim
	}
	c.Out(0, c.In(0).DType, shape)
	return nil
}

// placed finds sizes by batch, head, row and element, and strides.
func placed(n *graph.Node, name string, shape tensor.Shape) (h headsIn, size [4]int, s kernel.Strides, err error) {
	if h, err = readHeads(n, name, len(shape)); err != nil {
		return h, size, s, err
	}
	dims := h.sizes(graph.Dims(shape...))
	for i := range size {
		size[i], _ = dims[i].Value()
	}
	s = kernel.Strides{Row: shape[h.row+1:].Len(), Head: h.stride}
	if h.batch >= 0 {
		s.Batch = shape[h.batch+1:].Len()
	}
	if h.head >= 0 {
		s.Head = shape[h.head+1:].Len()
	}
	return h, size, s, nil
}

func kernelStrided(c *graph.Call) (func() error, error) {
	a := &kernel.Attention{Scale: c.Node.Attrs.Float("scale", 1), ZeroHidden: c.Node.Attrs.Int("zero", 0) != 0}
	var size [3][4]int
	var at [3]headsIn
	for i, s := range []*kernel.Strides{&a.QS, &a.KS, &a.VS} {
		var err error
		if at[i], size[i], *s, err = placed(c.Node, []string{"q", "k", "v"}[i], c.In[i].Shape()); err != nil {
			return nil, err
		}
	}
	q, k, v := size[0], size[1], size[2]
	if q[0] != k[0] || q[0] != v[0] || k[1] == 0 || q[1]%k[1] != 0 || k[1] != v[1] || q[3] != k[3] || k[2] != v[2] {
		return nil, fmt.Errorf("shapes %v, %v and %v do not fit", c.In[0].Shape(), c.In[1].Shape(), c.In[2].Shape())
	}
	order, err := orderOf(c.Node)
	if err != nil {
		return nil, err
	}
	y := c.Out[0].Shape()
	a.YS = kernel.Strides{Batch: y[order[0]+1:].Len(), Head: y[order[1]+1:].Len(), Row: y[order[2]+1:].Len()}
	a.Batch, a.Heads, a.KVHeads, a.Rows, a.Keys, a.Size, a.ValueSize = q[0], q[1], k[1], q[2], k[2], q[3], v[3]
	var mask *walk
	if c.Has(3) {
		var err error
		if mask, err = newWalk(tensor.Shape{a.Batch, a.Heads, a.Rows, a.Keys}, c.In[3].Shape()); err != nil {
			return nil, err
		}
		a.Bias = func(b, head, row int, bias []float32) {
			x := c.In[3].F32()[b*mask.strides[0]+head*mask.strides[1]+row*mask.strides[2]:]
			if mask.strides[3] == 1 {
				copy(bias, x)
				return
			}
			for i := range bias {
				bias[i] = x[0]
			}
		}
	}
	c.Reserve(4 * a.ScratchLen(c.Pool))
	return func() error {
		from := func(i int) []float32 { return c.F32(i)[min(at[i].offset, c.In[i].Len()):] }
		a.Q, a.K, a.V, a.Y = from(0), from(1), from(2), c.Out[0].F32()
		a.Run(c.Pool, c.ScratchF32())
		return nil
	}, nil
}

func workStrided(n *graph.Node, in, out []tensor.Shape) float64 {
	_, k, _, err := placed(n, "k", in[1])
	if err != nil {
		return 0
	}
	return 4 * float64(out[0].Len()) * float64(k[2])
}
