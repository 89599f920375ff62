package op

import (
	"fmt"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// stridedAttentionOps is attention on operands in any order of dimensions, as
// exporters write it around products of matrices: the transpositions between are
// never carried out.
func stridedAttentionOps() []graph.Op {
	return []graph.Op{
		// (q, k, v, mask) -> y = softmax(scale·q·kᵀ + mask)·v, the mask being
		// broadcast to [batch, heads, rows, keys]. Attributes: scale; q, k, v and
		// y, which say which dimension of an operand is the batch, the head, the
		// row and the element of a head, the last always the fourth.
		{ID: private("Attention"), Infer: inferStrided, Kernel: kernelStrided, Work: workStrided},
	}
}

// orderOf is which dimension of an operand is batch, head, row and element.
func orderOf(n *graph.Node, name string) ([4]int, error) {
	order := n.Attrs.Ints(name)
	if order == nil {
		return [4]int{0, 1, 2, 3}, nil
	}
	if len(order) != 4 || order[3] != 3 || order[0]+order[1]+order[2] != 3 || order[0]*order[1]*order[2] != 0 || min(order[0], order[1], order[2]) < 0 {
		return [4]int{}, fmt.Errorf("attribute %s is %v, expected an order of dimensions that ends in 3", name, order)
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
		if err := c.Rank(i, 4); err != nil {
			return err
		}
		order, err := orderOf(c.Node, name)
		if err != nil {
			return err
		}
		for j, axis := range order {
			d[i][j] = c.In(i).Shape[axis]
		}
	}
	if err := sameDims(c, "batch, heads, size or keys", d[0][0], d[1][0], d[0][0], d[2][0], d[0][1], d[1][1], d[0][1], d[2][1], d[0][3], d[1][3], d[1][2], d[2][2]); err != nil {
		return err
	}
	if c.Has(3) && len(c.In(3).Shape) > 4 {
		return fmt.Errorf("the mask has shape %v", c.In(3).Shape)
	}
	order, err := orderOf(c.Node, "y")
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

// ordered finds sizes and strides by batch, head, row and element.
func ordered(n *graph.Node, name string, shape tensor.Shape) (size [4]int, s kernel.Strides, err error) {
	order, err := orderOf(n, name)
	if err != nil {
		return size, s, err
	}
	var step [4]int
	for i, axis := range order {
		size[i], step[i] = shape[axis], shape[axis+1:].Len()
	}
	return size, kernel.Strides{Batch: step[0], Head: step[1], Row: step[2]}, nil
}

func kernelStrided(c *graph.Call) (func() error, error) {
	a := &kernel.Attention{Scale: c.Node.Attrs.Float("scale", 1)}
	var q, k, v [4]int
	for _, o := range []struct {
		name string
		x    *tensor.Tensor
		size *[4]int
		s    *kernel.Strides
	}{{"q", c.In[0], &q, &a.QS}, {"k", c.In[1], &k, &a.KS}, {"v", c.In[2], &v, &a.VS}, {"y", c.Out[0], new([4]int), &a.YS}} {
		var err error
		if *o.size, *o.s, err = ordered(c.Node, o.name, o.x.Shape()); err != nil {
			return nil, err
		}
	}
	if q[0] != k[0] || q[0] != v[0] || q[1] != k[1] || q[1] != v[1] || q[3] != k[3] || k[2] != v[2] {
		return nil, fmt.Errorf("shapes %v, %v and %v do not fit", c.In[0].Shape(), c.In[1].Shape(), c.In[2].Shape())
	}
	a.Batch, a.Heads, a.KVHeads, a.Rows, a.Keys, a.Size, a.ValueSize = q[0], q[1], q[1], q[2], k[2], q[3], v[3]
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
		a.Q, a.K, a.V, a.Y = c.F32(0), c.F32(1), c.F32(2), c.Out[0].F32()
		a.Run(c.Pool, c.ScratchF32())
		return nil
	}, nil
}

func workStrided(n *graph.Node, in, out []tensor.Shape) float64 {
	k, _, err := ordered(n, "k", in[1])
	if err != nil {
		return 0
	}
	return 4 * float64(out[0].Len()) * float64(k[2])
}
