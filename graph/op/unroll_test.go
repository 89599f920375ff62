package op_test

import (
	"strings"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/op/optest"
	"tandem/tensor"
)

// TestUnrolledEqualsLoop: what Loop, Scan, If and what reads lists are written out
// to computes what their kernels do.
func TestUnrolledEqualsLoop(t *testing.T) {
	p := pool(t, 1)
	for _, c := range append(controlGradCases(), sequenceGradCases()...) {
		t.Run(c.name, func(t *testing.T) {
			var want []*tensor.Tensor
			for _, unroll := range []bool{false, true} {
				b := graph.NewBuilder("case", op.Default())
				var in []*graph.Value
				var x []*tensor.Tensor
				for i, shape := range c.inputs {
					in = append(in, b.Input(string(rune('a'+i)), tensor.Float32, graph.Dims(shape...)...))
					v := tensor.New(tensor.Float32, shape...)
					for j := range v.F32() {
						v.F32()[j] = float32((j*7+i*3)%11)/6 - 0.8
					}
					x = append(x, v)
				}
				c.node(b, in, func(list []*graph.Value) {
					if unroll {
						if err := graph.Expand(b, b.G.Inputs); err != nil {
							t.Fatal(err)
						}
						for _, n := range b.G.Nodes {
							if n.Op.Name == c.covers {
								t.Fatalf("%v is still there", n)
							}
						}
					}
					b.G.Outputs = list
				})
				got := optest.Outputs(t, b.G, graph.Options{Pool: p}, x...)
				if !unroll {
					want = got
					continue
				}
				for i := range want {
					if !got[i].Shape().Equal(want[i].Shape()) || string(got[i].Bytes()) != string(want[i].Bytes()) {
						t.Errorf("output %d is %v %v, the loop gives %v %v", i, got[i].Shape(), got[i].F32(), want[i].Shape(), want[i].F32())
					}
				}
			}
		})
	}
}

// TestRefusedGradients: what cannot be differentiated says why.
func TestRefusedGradients(t *testing.T) {
	for _, c := range []struct {
		want  string
		build func(b *graph.Builder, x *graph.Value) *graph.Value
	}{
		{"a number of iterations that is computed", func(b *graph.Builder, x *graph.Value) *graph.Value {
			g := &graph.Graph{}
			return b.Node(graph.OpID{Name: "Loop"}, 1, attrs("body", g), b.Op("Size", nil, b.Op("NonZero", nil, x)), nil, x)[0]
		}},
		{"a condition that is computed", func(b *graph.Builder, x *graph.Value) *graph.Value {
			v := &graph.Value{Name: "v"}
			n := &graph.Node{Op: graph.OpID{Name: "Tanh"}, Inputs: []*graph.Value{x}, Outputs: []*graph.Value{v}}
			v.Def = n
			g := &graph.Graph{Nodes: []*graph.Node{n}, Outputs: []*graph.Value{v}}
			yes := b.Op("Greater", nil, b.Op("ReduceSum", attrs("keepdims", int64(0)), x), b.Const("zero", tensor.Scalar(float32(0))))
			return b.Node(graph.OpID{Name: "If"}, 1, attrs("then_branch", g, "else_branch", g), yes)[0]
		}},
		{"a position in a sequence that is computed", func(b *graph.Builder, x *graph.Value) *graph.Value {
			at := b.Op("ReduceSum", attrs("keepdims", int64(0)), b.Op("Cast", attrs("to", int64(tensor.Int64)), x))
			return b.Op("SequenceAt", nil, b.Op("SequenceConstruct", nil, x, x), at)
		}},
		{"a sequence that is given from outside", func(b *graph.Builder, x *graph.Value) *graph.Value {
			list := b.Op("SequenceInsert", nil, &graph.Value{Name: "list"}, x)
			return b.Op("ConcatFromSequence", attrs("axis", int64(0)), list)
		}},
		{"the sequence of node SequenceMap (of SequenceMap): a sequence that is given from outside", func(b *graph.Builder, x *graph.Value) *graph.Value {
			list := b.Op("SequenceMap", attrs("body", &graph.Graph{}), &graph.Value{Name: "list"})
			return b.Op("ConcatFromSequence", attrs("axis", int64(0)), b.Op("SequenceInsert", nil, list, x))
		}},
		{"a sequence that Optional gives is known only when it runs", func(b *graph.Builder, x *graph.Value) *graph.Value {
			list := b.Op("SequenceInsert", nil, b.Op("Optional", nil), x)
			return b.Op("ConcatFromSequence", attrs("axis", int64(0)), list)
		}},
		{"a condition that is computed", func(b *graph.Builder, x *graph.Value) *graph.Value {
			v := &graph.Value{Name: "v"}
			v.Def = &graph.Node{Op: graph.OpID{Name: "Tanh"}, Inputs: []*graph.Value{x}, Outputs: []*graph.Value{v}}
			g := &graph.Graph{Nodes: []*graph.Node{v.Def}, Outputs: []*graph.Value{v}}
			return b.Node(graph.OpID{Name: "If"}, 1, attrs("then_branch", g, "else_branch", g), b.Op("OptionalHasElement", nil, &graph.Value{Name: "maybe"}))[0]
		}},
		{"node Compress (of Compress): the type of Compress is known only when it runs", func(b *graph.Builder, x *graph.Value) *graph.Value {
			positive := b.Op("Reshape", nil, b.Op("Greater", nil, x, number(b, 0)), b.Const("flat", int64s(-1)))
			return b.Op("ReduceSum", attrs("keepdims", int64(0)), b.Op("Compress", nil, x, positive))
		}},
		{"node Range (of Range): the type of Range is known only when it runs", func(b *graph.Builder, x *graph.Value) *graph.Value {
			first := b.Op("ReduceSum", attrs("keepdims", int64(0)), x)
			return b.Op("ReduceSum", attrs("keepdims", int64(0)), b.Op("Range", nil, first, number(b, 9), number(b, 1)))
		}},
		{"node QuantizeLinear (of QuantizeLinear) makes uint8 of what is differentiated", func(b *graph.Builder, x *graph.Value) *graph.Value {
			return b.Op("DequantizeLinear", nil, b.Op("QuantizeLinear", nil, x, number(b, 0.1)), number(b, 0.1))
		}},
		{"node QuantizeLinear (of QuantizeLinear) makes uint8 of what is differentiated", func(b *graph.Builder, x *graph.Value) *graph.Value {
			codes := b.Op("Transpose", nil, b.Op("QuantizeLinear", nil, x, number(b, 0.1)))
			return b.Op("Cast", attrs("to", int64(tensor.Float32)), b.Op("Cast", attrs("to", int64(tensor.Int32)), codes))
		}},
		{"node BitCast (of BitCast) makes int32 of what is differentiated", func(b *graph.Builder, x *graph.Value) *graph.Value {
			return b.Op("BitCast", attrs("to", int64(tensor.Float32)), b.Op("BitCast", attrs("to", int64(tensor.Int32)), x))
		}},
		{"node Resize (of Resize): its input 1 (Slice) has no gradient", func(b *graph.Builder, x *graph.Value) *graph.Value {
			box := b.Op("Slice", nil, b.Op("Reshape", nil, x, b.Const("flat", int64s(-1))), b.Const("from", int64s(0)), b.Const("to", int64s(8)))
			a := attrs("mode", "linear", "coordinate_transformation_mode", "tf_crop_and_resize")
			return b.Op("Resize", a, b.Const("image", tensor.New(tensor.Float32, 1, 1, 4, 4)), box, nil, b.Const("sizes", int64s(1, 1, 3, 5)))
		}},
		{"node Bernoulli (of Bernoulli): the operator has no gradient", func(b *graph.Builder, x *graph.Value) *graph.Value {
			return b.Op("Bernoulli", nil, x)
		}},
		{"what SplitToSequence splits has a type that is known only when it runs", func(b *graph.Builder, x *graph.Value) *graph.Value {
			some := b.Op("Compress", attrs("axis", int64(0)), x, b.Op("Greater", nil, b.Op("ReduceSum", attrs("keepdims", int64(0)), x, b.Const("axis", int64s(1))), b.Const("zero", tensor.Scalar(float32(0)))))
			return b.Op("ConcatFromSequence", attrs("axis", int64(0)), b.Op("SplitToSequence", nil, some))
		}},
		{"a cast from float8e4m3fn to float32 has no gradient", func(b *graph.Builder, x *graph.Value) *graph.Value {
			return b.Op("Cast", attrs("to", int64(tensor.Float32)), b.Op("Cast", attrs("to", int64(tensor.Float8E4M3FN)), x))
		}},
		{"has a type that is known only when it runs, too late", func(b *graph.Builder, x *graph.Value) *graph.Value {
			half := b.Op("Cast", attrs("to", int64(tensor.Float16)), x)
			some := b.Op("Reshape", nil, half, b.Op("Shape", nil, b.Op("NonZero", nil, x)))
			return b.Op("ReduceSum", attrs("keepdims", int64(0)), b.Op("Cast", attrs("to", int64(tensor.Float32)), some))
		}},
		{"has no gradient", func(b *graph.Builder, x *graph.Value) *graph.Value {
			return b.Op("Hardmax", nil, x)
		}},
		{"attention over a cache needs", func(b *graph.Builder, x *graph.Value) *graph.Value {
			a := attrs("num_heads", int64(1), "kv_num_heads", int64(1))
			q := b.Op("Unsqueeze", nil, x, b.Const("axes", int64s(0)))
			past, n := b.Const("past", tensor.New(tensor.Float32, 1, 1, 4, 3)), b.Const("n", tensor.Of([]int32{3}, 1))
			total := b.Op("Cast", attrs("to", int64(tensor.Int32)), b.Op("ReduceSum", attrs("keepdims", int64(0)), x))
			return b.Node(graph.OpID{Domain: "com.microsoft", Name: "GroupQueryAttention"}, 3, a, q, q, q, past, past, n, total)[0]
		}},
		{"the boxes of MaxRoiPool", func(b *graph.Builder, x *graph.Value) *graph.Value {
			boxes := b.Op("Pad", nil, x, b.Const("pads", int64s(0, 0, 0, 2)))
			return b.Op("MaxRoiPool", attrs("pooled_shape", []int64{1, 1}), b.Op("Unsqueeze", nil, x, b.Const("axes", int64s(0, 1))), boxes)
		}},
	} {
		b := graph.NewBuilder("case", op.Default())
		b.G.Opset[""] = 26
		x := b.Input("x", tensor.Float32, graph.Dims(3, 3)...)
		y := c.build(b, x)
		if b.Err() != nil {
			t.Errorf("%q: %v", c.want, b.Err())
		}
		if y.Type.Known() && len(y.Type.Shape) > 0 {
			y = b.Op("ReduceSum", attrs("keepdims", int64(0)), y)
		}
		if _, err := graph.Grad(b, y, []*graph.Value{x}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("the error is %v, expected %q", err, c.want)
		}
	}
}

func number(b *graph.Builder, v float32) *graph.Value { return b.Const("number", tensor.Scalar(v)) }

// TestZeroGradients: what moves in jumps alone has no gradient, and is no error; another
// way to the loss has its own.
func TestZeroGradients(t *testing.T) {
	cast := func(b *graph.Builder, d tensor.DType, x *graph.Value) *graph.Value {
		return b.Op("Cast", attrs("to", int64(d)), x)
	}
	for name, jump := range map[string]func(b *graph.Builder, x *graph.Value) *graph.Value{
		"a cast":     func(b *graph.Builder, x *graph.Value) *graph.Value { return cast(b, tensor.Int64, x) },
		"a relation": func(b *graph.Builder, x *graph.Value) *graph.Value { return b.Op("Greater", nil, x, number(b, 0)) },
		"a choice": func(b *graph.Builder, x *graph.Value) *graph.Value {
			return b.Op("Where", nil, b.Op("Not", nil, b.Op("IsNaN", nil, x)), number(b, 2), number(b, 3))
		},
		"sizes": func(b *graph.Builder, x *graph.Value) *graph.Value { return b.Op("Shape", nil, x) },
		"places": func(b *graph.Builder, x *graph.Value) *graph.Value {
			at := b.Op("ArgMax", nil, x)
			return b.Op("OneHot", nil, at, b.Const("depth", tensor.Scalar(int64(3))), b.Const("values", tensor.Of([]float32{0, 1}, 2)))
		},
		"places of the greatest": func(b *graph.Builder, x *graph.Value) *graph.Value {
			return b.Node(graph.OpID{Name: "TopK"}, 2, nil, x, b.Const("k", int64s(2)))[1]
		},
		"a shape": func(b *graph.Builder, x *graph.Value) *graph.Value {
			return b.Private("ReshapeLike", nil, b.Const("nine", tensor.New(tensor.Float32, 9)), b.Op("Hardmax", nil, x))
		},
		"places known late": func(b *graph.Builder, x *graph.Value) *graph.Value { return b.Op("NonZero", nil, x) },
		"drawn numbers":     func(b *graph.Builder, x *graph.Value) *graph.Value { return b.Op("RandomNormalLike", nil, x) },
		"a filled shape": func(b *graph.Builder, x *graph.Value) *graph.Value {
			return b.Op("ConstantOfShape", nil, b.Op("Shape", nil, x))
		},
		"a label": func(b *graph.Builder, x *graph.Value) *graph.Value {
			a := attrs("coefficients", make([]float32, 6), "classlabels_ints", []int64{1, 2})
			return b.Node(graph.OpID{Domain: "ai.onnx.ml", Name: "LinearClassifier"}, 2, a, x)[0]
		},
	} {
		for _, more := range []bool{false, true} {
			b := graph.NewBuilder("case", op.Default())
			b.G.Opset["ai.onnx.ml"] = 3
			x := b.Input("x", tensor.Float32, graph.Dims(3, 3)...)
			y := b.Op("ReduceSum", attrs("keepdims", int64(0)), cast(b, tensor.Float32, jump(b, x)))
			if more {
				y = b.Op("Add", nil, y, b.Op("ReduceSum", attrs("keepdims", int64(0)), x))
			}
			if more && !y.Type.Known() {
				continue // refused, as any way by what is known late
			}
			grads, err := graph.Grad(b, y, []*graph.Value{x})
			if err != nil || b.Err() != nil {
				t.Errorf("%s: %v, %v", name, err, b.Err())
			} else if (grads[0] != nil) != more {
				t.Errorf("%s: the gradient is %v", name, grads[0])
			}
		}
	}
}

// TestGradientsNeedFloats: nothing is differentiated with respect to whole numbers.
func TestGradientsNeedFloats(t *testing.T) {
	b := graph.NewBuilder("case", op.Default())
	x := b.Input("x", tensor.Int64, graph.Dims(3)...)
	y := b.Op("ReduceSum", attrs("keepdims", int64(0)), b.Op("Cast", attrs("to", int64(tensor.Float32)), x))
	if _, err := graph.Grad(b, y, []*graph.Value{x}); err == nil || !strings.Contains(err.Error(), "x is int64[3]: there are gradients with respect to floats") {
		t.Errorf("the error is %v", err)
	}
}
