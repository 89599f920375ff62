package op

import (
	"fmt"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// dropoutOps: ONNX's Dropout is the identity when a model is used. What training
// puts in its place draws from a counter-based generator, so that the gradient
// drops the same elements without keeping a mask.
func dropoutOps() []graph.Op {
	self := []graph.Alias{{In: 0, Out: 0}}
	return []graph.Op{
		{ID: onnx("Dropout"), Since: 7, Infer: inferDropout, View: true, Grad: gradIdentity},
		// (x, step) -> y; attributes ratio, seed, stream
		{ID: private("RandomDropout"), Infer: inferRandomDropout, Kernel: kernelRandomDropout, Grad: gradRandomDropout, InPlace: self, Random: true},
	}
}

func inferDropout(c *graph.Infer) error {
	if err := c.Require(1, 3); err != nil {
		return err
	}
	if c.Node.Output(1) != nil {
		return fmt.Errorf("the output of the mask is not supported")
	}
	if c.Has(2) {
		t, ok := c.Constant(2)
		if !ok || t.DType() != tensor.Bool || t.Len() != 1 || tensor.Data[bool](t)[0] {
			return fmt.Errorf("training_mode must be the constant false: training replaces dropout itself")
		}
	}
	c.Out(0, c.In(0).DType, c.In(0).Shape)
	return nil
}

// LowerDropout replaces every Dropout of g by one that drops, drawing from seed
// and from step, an int64 scalar. The n-th Dropout draws from stream n.
func LowerDropout(b *graph.Builder, seed uint64, step *graph.Value) error {
	stream := int64(0)
	for _, n := range b.G.Nodes {
		if n.Op != onnx("Dropout") {
			continue
		}
		ratio, err := dropoutRatio(b.G, n)
		if err != nil {
			return fmt.Errorf("node %v: %w", n, err)
		}
		n.Op = private("RandomDropout")
		n.Inputs = []*graph.Value{n.Inputs[0], step}
		n.Attrs = graph.Attrs{"ratio": ratio, "seed": int64(seed), "stream": stream}
		stream++
	}
	return graph.InferTypes(b.G, b.Ops)
}

// dropoutRatio: an attribute before opset 12, an input since then.
func dropoutRatio(g *graph.Graph, n *graph.Node) (float32, error) {
	ratio := n.Attrs.Float("ratio", 0.5)
	if g.Opset[""] >= 12 {
		var err error
		if ratio, err = scalarOf(&graph.Infer{Node: n}, 1, 0.5); err != nil {
			return 0, err
		}
	}
	if !(ratio >= 0 && ratio < 1) {
		return 0, fmt.Errorf("ratio %v is not in [0,1)", ratio)
	}
	return ratio, nil
}

func inferRandomDropout(c *graph.Infer) error {
	if err := c.Require(2, 2); err != nil {
		return err
	}
	if s := c.In(1); s.DType != tensor.Int64 || len(s.Shape) != 0 {
		return fmt.Errorf("the step is %v, expected an int64 scalar", s)
	}
	c.Out(0, c.In(0).DType, c.In(0).Shape)
	return c.Floats(0)
}

func kernelRandomDropout(c *graph.Call) (func() error, error) {
	a := c.Node.Attrs
	k := &kernel.Dropout{Ratio: a.Float("ratio", 0.5), Seed: uint64(a.Int("seed", 0)), Stream: uint64(a.Int("stream", 0))}
	return func() error {
		k.X, k.Y, k.Step = c.F32(0), c.Out[0].F32(), uint64(c.In[1].I64()[0])
		k.Run(c.Pool)
		return nil
	}, nil
}

func gradRandomDropout(g *graph.Gradient) error {
	g.Set(0, g.Private("RandomDropout", g.Node.Attrs, g.Out(0), g.In(1)))
	return nil
}
