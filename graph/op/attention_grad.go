package op

import (
	"fmt"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// gradAttention is for attention within one sequence: without past keys, a cap, and
// the output of scores.
func gradAttention(g *graph.Gradient) error {
	n := g.Node
	switch {
	case n.Input(4) != nil || n.Input(5) != nil || n.Input(6) != nil:
		return fmt.Errorf("attention over past keys has no gradient")
	case n.Attrs.Float("softcap", 0) != 0:
		return fmt.Errorf("softcap has no gradient")
	case g.Out(1) != nil || g.Out(2) != nil || g.Out(3) != nil:
		return fmt.Errorf("only the first output of attention has a gradient")
	case n.Input(3) != nil && g.Needs(3):
		return fmt.Errorf("the mask of attention has no gradient")
	}
	g.SetNeeded(g.Builder.Node(private("AttentionGrad"), 3, n.Attrs, g.In(0), g.In(1), g.In(2), g.In(3), g.Out(0))...)
	return nil
}

func inferAttentionGrad(c *graph.Infer) error {
	for i := range 3 {
		c.Out(i, tensor.Float32, c.In(i).Shape)
	}
	return nil
}

func kernelAttentionGrad(c *graph.Call) (func() error, error) {
	a := attentionOf[float32](&graph.Call{Node: c.Node, In: c.In[:3]})
	sizes := attentionSizes{batch: a.batch, heads: a.heads, kvHeads: a.kvHeads, rows: a.rows, size: a.size, valueSize: a.valueSize, scale: a.scale}
	sizes.readWindows(c.Node)
	k := sizes.grad(a.keys, operandOrNil(c, 3))
	packed := c.In[0].Rank() == 3
	for _, o := range []struct {
		to                *kernel.Strides
		heads, rows, size int
	}{{&k.QS, a.heads, a.rows, a.size}, {&k.KS, a.kvHeads, a.keys, a.size}, {&k.VS, a.kvHeads, a.keys, a.valueSize}, {&k.YS, a.heads, a.rows, a.valueSize}} {
		*o.to = kernel.Strides{Batch: o.heads * o.rows * o.size, Head: o.rows * o.size, Row: o.size}
		if packed {
			o.to.Head, o.to.Row = o.size, o.heads*o.size
		}
	}
	c.Reserve(4 * k.ScratchLen(c.Pool))
	return func() error {
		k.Q, k.K, k.V, k.DY = c.F32(0), c.F32(1), c.F32(2), c.F32(4)
		k.DQ, k.DK, k.DV = c.Out[0].F32(), c.Out[1].F32(), c.Out[2].F32()
		k.Run(c.Pool, c.ScratchF32())
		return nil
	}, nil
}
