package op

import (
	"fmt"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// jointAttentionOps are attention within one sequence whose queries, keys and values lie
// beside each other in the rows of one tensor, as one product computes them, and its
// gradient, which lies the same way: nothing is taken apart and put together.
//
//	JointAttention      (x [batch, rows, width], mask) -> y
//	JointAttentionGrad  (x, mask, dy) -> dx
//
// Attributes are those of Attention on three dimensions; parts are the widths of
// queries, keys and values, which add up to width.
func jointAttentionOps() []graph.Op {
	return []graph.Op{
		{ID: private("JointAttention"), Infer: inferJoint, Kernel: kernelJoint, Work: workJoint},
		{ID: private("JointAttentionGrad"), Infer: inferJointGrad, Kernel: kernelJointGrad},
	}
}

// joint is how the operands of attention lie in x.
type joint struct {
	attentionSizes
	widths [3]int // of a row's queries, keys and values
}

// attentionSizes are those of attention without a past.
type attentionSizes struct {
	batch, heads, kvHeads, rows, size, valueSize int
	scale                                        float32
	causal                                       bool
	left, right                                  int // windows; -1: no bound
}

func jointOf(n *graph.Node, x tensor.Shape) (joint, error) {
	var j joint
	widths, a := n.Attrs.Ints("parts"), n.Attrs
	if len(widths) != 3 || len(x) != 3 || widths[0]+widths[1]+widths[2] != x[2] {
		return j, fmt.Errorf("parts %v of rows of shape %v", widths, x)
	}
	j.widths = [3]int(widths)
	j.batch, j.rows, j.heads, j.kvHeads = x[0], x[1], a.Int("q_num_heads", 1), a.Int("kv_num_heads", 1)
	j.size, j.valueSize = widths[0]/j.heads, widths[2]/j.kvHeads
	j.scale = float32(scaleOf(n, j.size))
	j.readWindows(n)
	return j, nil
}

func (s *attentionSizes) readWindows(n *graph.Node) {
	s.left, s.right = n.Attrs.Int("left_window_size", -1), n.Attrs.Int("right_window_size", -1)
	if s.causal = n.Attrs.Int("is_causal", 0) != 0; s.causal {
		s.right = 0
	}
}

// strides of queries, keys, values and results, in x and in y.
func (j joint) strides() (q, k, v, y kernel.Strides) {
	width := j.widths[0] + j.widths[1] + j.widths[2]
	part := func(size int) kernel.Strides { return kernel.Strides{Batch: j.rows * width, Head: size, Row: width} }
	row := j.heads * j.valueSize
	return part(j.size), part(j.size), part(j.valueSize), kernel.Strides{Batch: j.rows * row, Head: j.valueSize, Row: row}
}

// parts are where queries, keys and values begin.
func (j joint) parts(x []float32) (q, k, v []float32) {
	at := func(i int) []float32 { return x[min(i, len(x)):] }
	return x, at(j.widths[0]), at(j.widths[0] + j.widths[1])
}

// bias is what a mask and windows hide; nil if a causal mask is all.
func (s attentionSizes) bias(mask *tensor.Tensor) func(b, head, row int, bias []float32) {
	if mask == nil && s.left < 0 && (s.causal || s.right < 0) {
		return nil
	}
	var add *addMask[float32]
	if mask != nil {
		add = newAddMask[float32](mask)
	}
	return func(b, head, row int, bias []float32) {
		if clear(bias); add != nil {
			add.fill(b, head, row, bias)
		}
		hideOutside(bias, row, s.left, s.right)
	}
}

func inferJoint(c *graph.Infer) error {
	x, widths := c.In(0).Shape, c.Node.Attrs.Ints("parts")
	heads, kv := c.Node.Attrs.Int("q_num_heads", 1), c.Node.Attrs.Int("kv_num_heads", 1)
	if len(x) != 3 || len(widths) != 3 || heads < 1 || kv < 1 {
		return fmt.Errorf("parts %v of rows of shape %v in %d and %d heads", widths, x, heads, kv)
	}
	c.Out(0, c.In(0).DType, graph.Shape{x[0], x[1], graph.Const(widths[2] / kv * heads)})
	return nil
}

func kernelJoint(c *graph.Call) (func() error, error) {
	j, err := jointOf(c.Node, c.In[0].Shape())
	if err != nil {
		return nil, err
	}
	k := &kernel.Attention{
		Batch: j.batch, Heads: j.heads, KVHeads: j.kvHeads, Rows: j.rows, Keys: j.rows, Size: j.size, ValueSize: j.valueSize,
		Scale: j.scale, Causal: j.causal, ZeroHidden: true, Bias: j.bias(operandOrNil(c, 1)),
	}
	k.QS, k.KS, k.VS, k.YS = j.strides()
	c.Reserve(4 * k.ScratchLen(c.Pool))
	return func() error {
		k.Q, k.K, k.V = j.parts(c.F32(0))
		k.Y = c.Out[0].F32()
		k.Run(c.Pool, c.ScratchF32())
		return nil
	}, nil
}

// operandOrNil is input i, or nil where it is absent.
func operandOrNil(c *graph.Call, i int) *tensor.Tensor {
	if !c.Has(i) {
		return nil
	}
	return c.In[i]
}

func workJoint(n *graph.Node, in, out []tensor.Shape) float64 {
	return 4 * float64(out[0].Len()) * float64(in[0][1])
}

func inferJointGrad(c *graph.Infer) error {
	c.Out(0, tensor.Float32, c.In(0).Shape)
	return nil
}

func kernelJointGrad(c *graph.Call) (func() error, error) {
	j, err := jointOf(c.Node, c.In[0].Shape())
	if err != nil {
		return nil, err
	}
	k := j.grad(j.rows, operandOrNil(c, 1))
	k.QS, k.KS, k.VS, k.YS = j.strides()
	c.Reserve(4 * k.ScratchLen(c.Pool))
	return func() error {
		k.Q, k.K, k.V = j.parts(c.F32(0))
		k.DQ, k.DK, k.DV = j.parts(c.Out[0].F32())
		k.DY = c.F32(2)
		k.Run(c.Pool, c.ScratchF32())
		return nil
	}, nil
}

// grad is the gradient kernel, without operands and strides.
func (s attentionSizes) grad(keys int, mask *tensor.Tensor) *kernel.AttentionGrad {
	return &kernel.AttentionGrad{
		Batch: s.batch, Heads: s.heads, KVHeads: s.kvHeads, Rows: s.rows, Keys: keys, Size: s.size, ValueSize: s.valueSize,
		Scale: s.scale, Causal: s.causal, Bias: s.bias(mask),
	}
}
