package op_test

import (
	"strings"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
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
				got := runGraph(t, b.G, p, x)
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
		{"SequenceMap gives is known only when it runs", func(b *graph.Builder, x *graph.Value) *graph.Value {
			list := b.Op("SequenceMap", attrs("body", &graph.Graph{}), b.Op("SequenceEmpty", nil))
			return b.Op("ConcatFromSequence", attrs("axis", int64(0)), b.Op("SequenceInsert", nil, list, x))
		}},
		{"what SplitToSequence splits has a type that is known only when it runs", func(b *graph.Builder, x *graph.Value) *graph.Value {
			some := b.Op("Compress", attrs("axis", int64(0)), x, b.Op("Greater", nil, b.Op("ReduceSum", attrs("keepdims", int64(0)), x, b.Const("axis", int64s(1))), b.Const("zero", tensor.Scalar(float32(0)))))
			return b.Op("ConcatFromSequence", attrs("axis", int64(0)), b.Op("SplitToSequence", nil, some))
		}},
		{"has no gradient", func(b *graph.Builder, x *graph.Value) *graph.Value {
			return b.Op("Hardmax", nil, x)
		}},
		{"a part of the codes", func(b *graph.Builder, x *graph.Value) *graph.Value {
			a := attrs("K", int64(16), "N", int64(9), "block_size", int64(16))
			ones, codes := b.Const("ones", tensor.New(tensor.Float32, 2, 16)), b.Const("codes", tensor.New(tensor.Uint8, 9, 1, 8))
			return b.Node(graph.OpID{Domain: "com.microsoft", Name: "MatMulNBits"}, 1, a, ones, codes, x)[0]
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
		x := b.Input("x", tensor.Float32, graph.Dims(3, 3)...)
		y := c.build(b, x)
		if y.Type.Known() && len(y.Type.Shape) > 0 {
			y = b.Op("ReduceSum", attrs("keepdims", int64(0)), y)
		}
		if _, err := graph.Grad(b, y, []*graph.Value{x}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("the error is %v, expected %q", err, c.want)
		}
	}
}
