package op

import (
	"fmt"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// dropoutOps: ONNX's Dropout is the identity when a model is used, unless the file
// itself asks for training. What training puts in its place draws from a
// counter-based generator, so that the gradient drops the same elements without
// keeping a mask.
func dropoutOps() []graph.Op {
	self := []graph.Alias{{In: 0, Out: 0}}
	return []graph.Op{
		{ID: onnx("Dropout"), Since: 1, Infer: inferDropout(1), Kernel: kernelDropout, Identity: dropsNothing, Grad: gradDropout, InPlace: self},
		{ID: onnx("Dropout"), Since: 10, Infer: inferDropout(1), Kernel: kernelDropout, Identity: dropsNothing, Grad: gradDropout, InPlace: self},
		{ID: onnx("Dropout"), Since: 12, Infer: inferDropout(3), Kernel: kernelDropout, Identity: dropsNothing, Grad: gradDropout, InPlace: self, Random: true},
		// (x, step) -> y; attributes ratio, seed, stream
		{ID: private("RandomDropout"), Infer: inferRandomDropout, Kernel: kernelRandomDropout, Grad: gradRandomDropout, InPlace: self, Random: true},
	}
}

// dropsNothing reports whether a node is a Dropout that passes its input on: it has
// no mask, and its training_mode is absent or the constant false.
func dropsNothing(n *graph.Node) bool {
	if n.Op != onnx("Dropout") || n.Output(1) != nil {
		return false
	}
	v := n.Input(2)
	if v == nil {
		return true
	}
	if v.Const == nil {
		return false
	}
	t, err := v.Const.Tensor()
	return err == nil && t.DType() == tensor.Bool && t.Len() == 1 && !tensor.Data[bool](t)[0]
}

// inferDropout: (x[, ratio, training_mode]) -> (y[, mask]). Before opset 10 the mask
// had the type of x. Versions before 7 have an attribute is_test, which is not
// looked at: a file that is run is not being trained.
func inferDropout(inputs int) func(*graph.Infer) error {
	return func(c *graph.Infer) error {
		if err := c.Require(1, inputs); err != nil {
			return err
		}
		for i := 1; i < inputs; i++ {
			if n, ok := oneElement(c, i); !ok {
				return fmt.Errorf("input %d (%s) has %v elements, expected a scalar", i, c.Node.Inputs[i].Name, n)
			}
		}
		if c.Has(2) && c.In(2).DType != tensor.Bool {
			return fmt.Errorf("training_mode is %v, expected bool", c.In(2).DType)
		}
		c.Out(0, c.In(0).DType, c.In(0).Shape)
		mask := tensor.Bool
		if c.Version < 10 {
			mask = c.In(0).DType
		}
		c.Out(1, mask, c.In(0).Shape)
		return nil
	}
}

// oneElement reports whether an input, if it is there, may have one element.
func oneElement(c *graph.Infer, i int) (graph.Dim, bool) {
	if !c.Has(i) {
		return graph.Const(1), true
	}
	n := c.In(i).Shape.Len()
	v, known := n.Value()
	return n, !known || v == 1
}

// kernelDropout copies, and drops where training_mode is true.
func kernelDropout(c *graph.Call) (func() error, error) {
	return func() error {
		training := c.Has(2) && tensor.Data[bool](c.In[2])[0]
		ratio := float32(0.5)
		if c.Has(1) {
			var r [1]float32
			tensor.Float32s(r[:], c.In[1])
			ratio = r[0]
		}
		if training && ratio != 0 {
			return drop(c, ratio)
		}
		if x, y := c.In[0].Bytes(), c.Out[0].Bytes(); len(x) > 0 && &x[0] != &y[0] {
			copy(y, x)
		}
		if len(c.Out) > 1 && c.Out[1] != nil {
			return fillNumbers(c, 1, func(int) float64 { return 1 })
		}
		return nil
	}, nil
}

// drop sets elements to 0 with the probability ratio and scales the others.
func drop(c *graph.Call, ratio float32) error {
	if !(ratio >= 0 && ratio < 1) {
		return fmt.Errorf("ratio %v is not in [0,1)", ratio)
	}
	m := generatorOf(c.Node.Attrs)
	numbers, err := graph.Room[float64](c, c.In[0].Len())
	if err != nil {
		return err
	}
	x := tensor.Of(numbers, c.In[0].Shape()...)
	if err := tensor.Convert(x, c.In[0], false); err != nil {
		return err
	}
	kept, err := graph.Room[float64](c, x.Len())
	if err != nil {
		return err
	}
	for i, v := range tensor.Data[float64](x) {
		if m.uniform() >= float64(ratio) {
			kept[i] = 1
		}
		tensor.Data[float64](x)[i] = kept[i] * v / (1 - float64(ratio))
	}
	if len(c.Out) > 1 && c.Out[1] != nil {
		if err := fillNumbers(c, 1, func(i int) float64 { return kept[i] }); err != nil {
			return err
		}
	}
	return tensor.Convert(c.Out[0], x, false)
}

func gradDropout(g *graph.Gradient) error {
	if !dropsNothing(g.Node) {
		return fmt.Errorf("training replaces dropout itself: training_mode must be the constant false, and there may be no mask")
	}
	return gradIdentity(g)
}

// LowerDropout replaces every Dropout of g by one that drops, drawing from seed
// and from step, an int64 scalar. The n-th Dropout draws from stream n.
func LowerDropout(b *graph.Builder, seed uint64, step *graph.Value) error {
	stream := int64(0)
	for _, n := range b.G.Nodes {
		if n.Op != onnx("Dropout") {
			continue
		}
		if n.Output(1) != nil {
			return fmt.Errorf("node %v: the output of the mask is not supported in training", n)
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
