package op

import (
	"fmt"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// gradLayerNorm is the gradient of a normalisation of rows, with one scale and bias
// for all of them.
func gradLayerNorm(rms bool) func(*graph.Gradient) error {
	return func(g *graph.Gradient) error {
		if g.Out(1) != nil || g.Out(2) != nil {
			return fmt.Errorf("only the first output of a normalisation has a gradient")
		}
		x := g.In(0).Type.Shape
		axis, err := graph.Axis(g.Node.Attrs.Int("axis", -1), len(x))
		if err != nil {
			return err
		}
		for i := 1; i < len(g.Node.Inputs); i++ {
			if v := g.In(i); v != nil && !v.Type.Shape.Len().Equal(x[axis:].Len()) {
				return fmt.Errorf("input %d has shape %v, the gradient is for a scale and bias of shape %v", i, v.Type.Shape, x[axis:])
			}
		}
		attrs := graph.Attrs{"axis": int64(axis), "epsilon": g.Node.Attrs.Float("epsilon", 1e-5), "rms": flag(rms)}
		outputs := 1
		if g.Needs(1) || g.Needs(2) {
			outputs = 3
		}
		g.SetNeeded(g.Builder.Node(private("LayerNormGrad"), outputs, attrs, g.Out(0), g.In(0), g.In(1))...)
		return nil
	}
}

func inferLayerNormGrad(c *graph.Infer) error {
	c.Out(0, tensor.Float32, c.In(1).Shape)
	c.Out(1, tensor.Float32, c.In(2).Shape)
	c.Out(2, tensor.Float32, c.In(2).Shape)
	return nil
}

func kernelLayerNormGrad(c *graph.Call) (func() error, error) {
	shape, axis := c.In[1].Shape(), c.Node.Attrs.Int("axis", 0)
	k := &kernel.LayerNormGrad{
		Rows: shape[:axis].Len(), Cols: shape[axis:].Len(), Epsilon: c.Node.Attrs.Float("epsilon", 1e-5), RMS: c.Node.Attrs.Int("rms", 0) != 0,
	}
	c.Reserve(4 * 4 * k.Rows)
	return func() error {
		k.DY, k.X, k.Scale, k.DX, k.Stats = c.F32(0), c.F32(1), c.F32(2), c.Out[0].F32(), c.ScratchF32()
		if len(c.Out) > 1 {
			k.DScale, k.DBias = c.Out[1].F32(), c.Out[2].F32()
		}
		k.Run(c.Pool)
		return nil
	}, nil
}
