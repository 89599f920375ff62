package op

import (
	"fmt"

	"tandem/graph"
	"tandem/graph/op/move"
	"tandem/tensor"
)

// reduceGrad is how much each element of x moves a reduction to y, as a value that
// is multiplied with the gradient of y spread over x. Nil: by 1. Elements that are
// equally the greatest share the gradient.
type reduceGrad func(g *graph.Gradient, x, y, spread *graph.Value) *graph.Value

func reduceGrads() map[string]reduceGrad {
	// A norm of 0 has no direction: its gradient is 0.
	ratio := func(g *graph.Gradient, x, y, d *graph.Value) *graph.Value {
		return g.Op("Div", nil, g.Op("Mul", nil, d, x), g.Op("Add", nil, y, isZero(g.Builder, y)))
	}
	extreme := func(g *graph.Gradient, x, y, d *graph.Value) *graph.Value {
		at := g.Op("Cast", graph.Attrs{"to": int64(tensor.Float32)}, g.Op("Equal", nil, x, y))
		count := g.Private("Spread", g.Node.Attrs, g.Private("Collect", g.Node.Attrs, at, g.Node.Outputs[0]), x)
		return g.Op("Div", nil, g.Op("Mul", nil, d, at), count)
	}
	return map[string]reduceGrad{
		"ReduceSum": func(_ *graph.Gradient, _, _, d *graph.Value) *graph.Value { return d },
		"ReduceMax": extreme, "ReduceMin": extreme, "ReduceL2": ratio,
		"ReduceSumSquare": func(g *graph.Gradient, x, _, d *graph.Value) *graph.Value {
			return g.Op("Mul", nil, d, g.Op("Add", nil, x, x))
		},
		"ReduceL1": func(g *graph.Gradient, x, _, d *graph.Value) *graph.Value {
			return g.Op("Mul", nil, d, g.Op("Sign", nil, x))
		},
		"ReduceProd": gradProduct,
		"ReduceLogSum": func(g *graph.Gradient, _, y, d *graph.Value) *graph.Value {
			return g.Op("Div", nil, d, g.Op("Exp", nil, y))
		},
		"ReduceLogSumExp": func(g *graph.Gradient, x, y, d *graph.Value) *graph.Value {
			return g.Op("Mul", nil, d, g.Op("Exp", nil, g.Op("Sub", nil, x, y)))
		},
	}
}

// gradProduct: the product of the others. Where one element is 0 it alone has a
// gradient; where several are, none has.
func gradProduct(g *graph.Gradient, x, _, d *graph.Value) *graph.Value {
	zero := isZero(g.Builder, x)
	full := g.Op("Add", nil, x, zero)
	product := g.Op("ReduceProd", g.Node.Attrs, append([]*graph.Value{full}, g.Node.Inputs[1:]...)...)
	others := g.Op("Sub", nil, g.Private("Spread", g.Node.Attrs, g.Private("Collect", g.Node.Attrs, zero, g.Node.Outputs[0]), x), zero)
	rest := g.Op("Div", nil, g.Private("Spread", g.Node.Attrs, product, x), full)
	return g.Op("Mul", nil, d, g.Op("Mul", nil, rest, isZero(g.Builder, others)))
}

// isZero is 1 where x is 0, and 0 elsewhere.
func isZero(b *graph.Builder, x *graph.Value) *graph.Value {
	return b.Op("Cast", graph.Attrs{"to": int64(tensor.Float32)}, b.Op("Equal", nil, x, b.Scalar("zero", 0)))
}

// gradReduce spreads the gradient over what was reduced.
func gradReduce(name string) func(*graph.Gradient) error {
	return func(g *graph.Gradient) error {
		attrs, err := spreadAttrs(g.Node)
		if err != nil {
			return err
		}
		x, y := g.In(0), g.Node.Outputs[0]
		spread := func(v *graph.Value) *graph.Value { return g.Private("Spread", attrs, v, x) }
		d := spread(g.Out(0))
		if name == "ReduceMean" {
			g.Set(0, g.Op("Div", nil, d, g.Private("Spread", attrs, g.Private("Collect", attrs, g.Private("OnesLike", nil, x), y), x)))
			return nil
		}
		rule := reduceGrads()[name]
		inner := *g
		inner.Node = &graph.Node{Op: g.Node.Op, Inputs: g.Node.Inputs, Outputs: g.Node.Outputs, Attrs: attrs}
		g.Set(0, rule(&inner, x, spread(y), d))
		return nil
	}
}

// spreadAttrs are the reduced axes as a constant attribute; no axes: all.
func spreadAttrs(n *graph.Node) (graph.Attrs, error) {
	axes := n.Attrs.Ints("axes")
	if v := n.Input(1); v != nil {
		if v.Const == nil {
			return nil, fmt.Errorf("the axes are not constant")
		}
		t, err := v.Const.Tensor()
		if err != nil {
			return nil, err
		}
		axes = nil
		for _, a := range t.I64() {
			axes = append(axes, int(a))
		}
	}
	if len(axes) == 0 && n.Attrs.Int("noop_with_empty_axes", 0) != 0 {
		return nil, fmt.Errorf("a reduction over nothing has no gradient")
	}
	list := make([]int64, len(axes))
	for i, a := range axes {
		list[i] = int64(a)
	}
	return graph.Attrs{"axes": list}, nil
}

// spreadOps: Spread(v, x) repeats v, x reduced over the attribute axes, to x's
// shape; Collect(x, y) sums x over the axes to y's shape; OnesLike(x).
func spreadOps() []graph.Op {
	return []graph.Op{
		{ID: private("Spread"), Infer: sameAs(1, 2, 2), Kernel: kernelSpread},
		{ID: private("Collect"), Infer: sameAs(1, 2, 2), Kernel: kernelCollect},
		{ID: private("OnesLike"), Infer: sameAs(0, 1, 1), Kernel: kernelOnesLike, Flat: true},
	}
}

// keptWalk goes over x and, beside it, what has x's shape with 1 where it is reduced.
func keptWalk(c *graph.Call, x tensor.Shape) (*walk, error) {
	kept, axes := append(tensor.Shape{}, x...), c.Node.Attrs.Ints("axes")
	for _, a := range axes {
		axis, err := graph.Axis(a, len(x))
		if err != nil {
			return nil, err
		}
		kept[axis] = 1
	}
	if len(axes) == 0 {
		for i := range kept {
			kept[i] = 1
		}
	}
	return newWalk(x, kept)
}

func kernelSpread(c *graph.Call) (func() error, error) {
	w, err := keptWalk(c, c.In[1].Shape())
	if err != nil {
		return nil, err
	}
	return func() error {
		from, to := c.F32(0), c.Out[0].F32()
		cols, step := w.last(), w.step()
		c.Pool.For(w.rows(), max(1, (1<<14)/max(1, cols)), func(lo, hi, _ int) {
			for row := lo; row < hi; row++ {
				at := w.offset(row)
				y := to[row*cols:][:cols]
				for i := range y {
					y[i] = from[at+i*step]
				}
			}
		})
		return nil
	}, nil
}

func kernelCollect(c *graph.Call) (func() error, error) {
	w, err := keptWalk(c, c.In[0].Shape())
	if err != nil {
		return nil, err
	}
	return func() error {
		w.sum(c.Out[0].F32(), c.F32(0))
		return nil
	}, nil
}

func kernelOnesLike(c *graph.Call) (func() error, error) {
	return func() error {
		y := c.Out[0].F32()
		for i := range y {
			y[i] = 1
		}
		return nil
	}, nil
}

// gradExtreme: the inputs that are the greatest, or least, share the gradient.
func gradExtreme(g *graph.Gradient) error {
	y := g.Node.Outputs[0]
	masks := make([]*graph.Value, len(g.Node.Inputs))
	count := (*graph.Value)(nil)
	for i, x := range g.Node.Inputs {
		masks[i] = g.Op("Cast", graph.Attrs{"to": int64(tensor.Float32)}, g.Op("Equal", nil, x, y))
		if count == nil {
			count = masks[i]
		} else {
			count = g.Op("Add", nil, count, masks[i])
		}
	}
	share := g.Op("Div", nil, g.Out(0), count)
	for i := range masks {
		if g.Needs(i) {
			g.Set(i, sumTo(g, g.Op("Mul", nil, share, masks[i]), i))
		}
	}
	return nil
}

// gradTrilu keeps the same part of the gradient.
func gradTrilu(g *graph.Gradient) error {
	inputs := append([]*graph.Value{g.Out(0)}, g.Node.Inputs[1:]...)
	g.Set(0, g.Op("Trilu", g.Node.Attrs, inputs...))
	return nil
}

// gradDepthToSpace is the way back, which has a name for the default order of channels.
func gradDepthToSpace(g *graph.Gradient) error {
	if g.Node.Attrs.String("mode", "DCR") != "DCR" {
		return move.Gradient(0)(g)
	}
	g.Set(0, g.Op("SpaceToDepth", graph.Attrs{"blocksize": g.Node.Attrs["blocksize"]}, g.Out(0)))
	return nil
}

func gradSpaceToDepth(g *graph.Gradient) error {
	g.Set(0, g.Op("DepthToSpace", graph.Attrs{"blocksize": g.Node.Attrs["blocksize"]}, g.Out(0)))
	return nil
}
