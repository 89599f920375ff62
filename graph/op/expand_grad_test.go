package op_test

import (
	"fmt"

	"tandem/graph"
	"tandem/tensor"
)

// attentionFormCases: forms that are written out before they are differentiated.
func attentionFormCases() []gradCase {
	node := func(name, domain string, a graph.Attrs, shapes [][]int, inputs func(b *graph.Builder, in []*graph.Value) []*graph.Value) gradCase {
		return laterOpset(gradCase{name: fmt.Sprint(domain, name, a, shapes), inputs: shapes, build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
			if inputs != nil {
				in = inputs(b, in)
			}
			return b.Node(graph.OpID{Domain: domain, Name: name}, 1, a, in...)[0]
		}})
	}
	past := func(b *graph.Builder, in []*graph.Value) []*graph.Value {
		return []*graph.Value{in[0], in[1], in[2], nil, in[3], in[4]}
	}
	ms := "com.microsoft"
	mask := func(at int, m *tensor.Tensor) func(b *graph.Builder, in []*graph.Value) []*graph.Value {
		return func(b *graph.Builder, in []*graph.Value) []*graph.Value {
			all := append([]*graph.Value{}, in[:min(at, len(in))]...)
			for len(all) < at {
				all = append(all, nil)
			}
			return append(append(all, b.Const("mask", m)), in[min(at, len(in)):]...)
		}
	}
	tokens := tensor.Of([]int32{1, 1, 1, 0, 1, 1, 0, 0}, 2, 4)
	heads4, kv2 := attrs("q_num_heads", int64(4), "kv_num_heads", int64(2), "is_causal", int64(1)), attrs("is_causal", int64(1), "left_window_size", int64(2))
	rotary := func(b *graph.Builder, in []*graph.Value) (cos, sin *graph.Value) {
		c, s := tensor.New(tensor.Float32, 5, 2), tensor.New(tensor.Float32, 5, 2)
		for i := range c.F32() {
			c.F32()[i], s.F32()[i] = float32(i%3)/3, 1-float32(i%4)/5
		}
		return b.Const("cos", c), b.Const("sin", s)
	}
	gqa := func(b *graph.Builder, in []*graph.Value) []*graph.Value {
		for len(in) < 3 {
			in = append(in, nil)
		}
		last, total := b.Const("last", tensor.Of([]int32{3, 3}, 2)), b.Const("total", tensor.Of([]int32{4}, 1))
		cos, sin := rotary(b, in)
		return append(in[:3:3], nil, nil, last, total, cos, sin)
	}
	return []gradCase{
		node("Attention", "", heads4, [][]int{{2, 3, 16}, {2, 3, 8}, {2, 3, 8}, {2, 2, 2, 4}, {2, 2, 2, 4}}, past),
		node("Attention", "", kv2, [][]int{{1, 2, 3, 4}, {1, 2, 3, 4}, {1, 2, 3, 5}, {1, 2, 2, 4}, {1, 2, 2, 5}}, past),
		node("Attention", "", attrs("softcap", float32(1.5)), [][]int{{1, 2, 3, 4}, {1, 2, 3, 4}, {1, 2, 3, 4}, {3, 3}}, nil),
		node("Attention", "", attrs("softcap", float32(1.5), "is_causal", int64(1)), [][]int{{1, 2, 3, 4}, {1, 2, 3, 4}, {1, 2, 3, 4}}, mask(3, tensor.Of([]bool{false, true, true, true, true, false, false, true, true}, 3, 3))),
		node("MultiHeadAttention", ms, attrs("num_heads", int64(2)), [][]int{{2, 3, 8}, {2, 4, 8}, {2, 4, 6}}, nil),
		node("MultiHeadAttention", ms, attrs("num_heads", int64(2), "scale", float32(0.3)), [][]int{{2, 3, 8}, {2, 4, 8}, {2, 4, 6}, {22}}, mask(4, tokens)),
		node("MultiHeadAttention", ms, attrs("num_heads", int64(2), "unidirectional", int64(1)), [][]int{{2, 3, 2, 3, 4}}, nil),
		node("MultiHeadAttention", ms, attrs("num_heads", int64(2)), [][]int{{2, 3, 8}, {2, 4, 2, 2, 4}}, nil),
		node("MultiHeadAttention", ms, attrs("num_heads", int64(2)), [][]int{{2, 3, 8}, {2, 2, 4, 4}, {2, 2, 4, 4}, {1, 2, 3, 4}}, func(b *graph.Builder, in []*graph.Value) []*graph.Value {
			return []*graph.Value{in[0], in[1], in[2], nil, nil, in[3]}
		}),
		node("MultiHeadAttention", ms, attrs("num_heads", int64(2), "unidirectional", int64(1)), [][]int{{2, 3, 8}, {2, 3, 8}, {2, 3, 8}, {2, 2, 2, 4}, {2, 2, 2, 4}}, func(b *graph.Builder, in []*graph.Value) []*graph.Value {
			return []*graph.Value{in[0], in[1], in[2], nil, nil, nil, in[3], in[4]}
		}),
		node("Attention", ms, attrs("num_heads", int64(2)), [][]int{{2, 4, 6}, {6, 24}, {24}}, mask(3, tokens)),
		node("Attention", ms, attrs("num_heads", int64(2), "unidirectional", int64(1), "qkv_hidden_sizes", []int64{8, 8, 6}), [][]int{{1, 3, 6}, {6, 22}, {22}}, nil),
		node("GroupQueryAttention", ms, attrs("num_heads", int64(4), "kv_num_heads", int64(2), "do_rotary", int64(1)), [][]int{{2, 4, 16}, {2, 4, 8}, {2, 4, 8}}, gqa),
		node("GroupQueryAttention", ms, attrs("num_heads", int64(2), "kv_num_heads", int64(1), "local_window_size", int64(2)), [][]int{{2, 4, 16}}, gqa),
		node("RotaryEmbedding", "", attrs("num_heads", int64(2)), [][]int{{2, 5, 8}}, func(b *graph.Builder, in []*graph.Value) []*graph.Value {
			cos, sin := rotary(b, in)
			return []*graph.Value{in[0], cos, sin, b.Const("at", tensor.Of([]int64{0, 1, 2, 3, 4, 4, 3, 2, 1, 0}, 2, 5))}
		}),
		node("RotaryEmbedding", "", attrs(), [][]int{{2, 3, 5, 4}, {2, 5, 2}, {2, 5, 2}}, nil),
		node("RotaryEmbedding", "", attrs("num_heads", int64(2), "rotary_embedding_dim", int64(4), "interleaved", int64(1)), [][]int{{2, 3, 12}, {5, 2}, {5, 2}}, func(b *graph.Builder, in []*graph.Value) []*graph.Value {
			return append(in[:3:3], b.Const("at", tensor.Of([]int64{0, 1, 4, 4, 3, 2}, 2, 3)))
		}),
		node("RotaryEmbedding", ms, attrs(), [][]int{{2, 3, 8}, {6, 2}, {6, 2}}, func(b *graph.Builder, in []*graph.Value) []*graph.Value {
			return []*graph.Value{in[0], b.Const("at", tensor.Of([]int64{2}, 1)), in[1], in[2]}
		}),
		node("RotaryEmbedding", ms, attrs("interleaved", int64(1)), [][]int{{2, 2, 3, 4}}, func(b *graph.Builder, in []*graph.Value) []*graph.Value {
			cos, sin := rotary(b, in)
			return []*graph.Value{in[0], b.Const("at", tensor.Of([]int64{2}, 1)), cos, sin}
		}),
	}
}

// recurrentFormCases: forms that are unrolled, or transposed.
func recurrentFormCases() []gradCase {
	const seq, batch, in, hidden = 3, 2, 3, 4
	form := func(name string, dirs int, a graph.Attrs, lengths, peepholes bool) gradCase {
		gates := map[string]int{"RNN": 1, "GRU": 3, "LSTM": 4}[name]
		shapes := [][]int{{seq, batch, in}, {dirs, gates * hidden, in}, {dirs, gates * hidden, hidden}, {dirs, 2 * gates * hidden}, {dirs, batch, hidden}}
		if a.Int("layout", 0) != 0 {
			shapes[0], shapes[4] = []int{batch, seq, in}, []int{batch, dirs, hidden}
		}
		if peepholes {
			shapes = append(shapes, []int{dirs, 3 * hidden})
		}
		a["hidden_size"] = int64(hidden)
		return gradCase{name: fmt.Sprint(name, a, lengths, peepholes), inputs: shapes, build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
			half := b.Const("half", tensor.Scalar(float32(0.5)))
			small := make([]*graph.Value, len(in))
			for i, v := range in {
				small[i] = b.Op("Mul", nil, v, half)
			}
			inputs := []*graph.Value{small[0], small[1], small[2], small[3], nil, small[4]}
			if lengths {
				inputs[4] = b.Const("lengths", tensor.Of([]int32{3, 1}, 2))
			}
			outputs := 2
			if name == "LSTM" {
				outputs = 3
			}
			if peepholes {
				inputs = append(inputs, nil, small[5])
			}
			out := b.Node(graph.OpID{Name: name}, outputs, a, inputs...)
			var flat []*graph.Value
			for _, v := range out {
				flat = append(flat, b.Op("Reshape", nil, v, b.Const("flat", int64s(-1))))
			}
			return b.Op("Concat", attrs("axis", int64(0)), flat...)
		}}
	}
	return []gradCase{
		form("GRU", 1, attrs("linear_before_reset", int64(0)), false, false), form("GRU", 2, attrs("direction", "bidirectional"), true, false),
		form("GRU", 1, attrs("linear_before_reset", int64(1), "clip", float32(0.7)), false, false), form("GRU", 1, attrs("layout", int64(1), "linear_before_reset", int64(1)), false, false),
		form("LSTM", 1, attrs("direction", "reverse"), true, true), form("LSTM", 2, attrs("direction", "bidirectional", "input_forget", int64(1)), false, false),
		form("LSTM", 1, attrs("layout", int64(1)), true, false), form("LSTM", 1, attrs("activations", []string{"HardSigmoid", "Softsign", "Tanh"}, "activation_alpha", []float32{0.3}), false, false),
		form("LSTM", 1, attrs("activations", []string{"Affine", "ScaledTanh", "Tanh"}, "activation_alpha", []float32{0.4, 0.8}, "activation_beta", []float32{0.1, 0.7}), false, false),
		form("GRU", 2, attrs("direction", "bidirectional", "activations", []string{"Sigmoid", "ScaledTanh", "Affine", "Tanh"}, "activation_alpha", []float32{0.9, 0.5}, "activation_beta", []float32{0.6, 0.2}), true, false),
		form("RNN", 1, attrs("activations", []string{"ThresholdedRelu"}, "activation_alpha", []float32{0.3}), false, false),
		form("RNN", 1, attrs("activations", []string{"Elu"}, "activation_alpha", []float32{0.5}), true, false), form("RNN", 2, attrs("direction", "bidirectional", "layout", int64(1)), false, false),
	}
}

// controlGradCases: branches and loops that are known before they run.
func controlGradCases() []controlledCase {
	body := func(inputs []*graph.Value, outputs []*graph.Value, nodes ...*graph.Node) *graph.Graph {
		return &graph.Graph{Name: "body", Inputs: inputs, Outputs: outputs, Nodes: nodes}
	}
	value := func(name string, d tensor.DType, shape ...int) *graph.Value {
		return &graph.Value{Name: name, Type: graph.Type{DType: d, Shape: graph.Dims(shape...)}}
	}
	add := func(op string, to *graph.Value, in ...*graph.Value) *graph.Node {
		n := &graph.Node{Op: graph.OpID{Name: op}, Inputs: in, Outputs: []*graph.Value{to}}
		to.Def = n
		return n
	}
	loop := controlCase("Loop", [][]int{{3}, {3}}, func(b *graph.Builder, in []*graph.Value) []*graph.Value {
		i, on, x := value("i", tensor.Int64), value("on", tensor.Bool), value("x", tensor.Float32, 3)
		next, out, still := value("next", tensor.Float32, 3), value("out", tensor.Float32, 3), value("still", tensor.Bool)
		g := body([]*graph.Value{i, on, x}, []*graph.Value{still, next, out}, add("Mul", next, x, in[1]), add("Tanh", out, next), add("Identity", still, on))
		return b.Node(graph.OpID{Name: "Loop"}, 2, attrs("body", g), b.Const("n", tensor.Scalar(int64(3))), nil, in[0])
	})
	scan := controlCase("Scan", [][]int{{3}, {4, 3}}, func(b *graph.Builder, in []*graph.Value) []*graph.Value {
		h, x, next, out := value("h", tensor.Float32, 3), value("x", tensor.Float32, 3), value("next", tensor.Float32, 3), value("out", tensor.Float32, 3)
		sum := value("sum", tensor.Float32, 3)
		g := body([]*graph.Value{h, x}, []*graph.Value{next, out}, add("Add", sum, h, x), add("Tanh", next, sum), add("Mul", out, next, x))
		a := attrs("body", g, "num_scan_inputs", int64(1), "scan_input_directions", []int64{1}, "scan_output_axes", []int64{1}, "scan_output_directions", []int64{1})
		return b.Node(graph.OpID{Name: "Scan"}, 2, a, in[0], in[1])
	})
	branch := controlCase("If", [][]int{{2, 3}}, func(b *graph.Builder, in []*graph.Value) []*graph.Value {
		yes, no := value("yes", tensor.Float32, 2, 3), value("no", tensor.Float32, 2, 3)
		a := attrs("then_branch", body(nil, []*graph.Value{yes}, add("Tanh", yes, in[0])), "else_branch", body(nil, []*graph.Value{no}, add("Exp", no, in[0])))
		return b.Node(graph.OpID{Name: "If"}, 1, a, b.Const("if", tensor.Scalar(true)))
	})
	return []controlledCase{loop, scan, branch}
}

// controlledCase is a gradCase of a node with bodies, whose results have types only
// once it is written out.
type controlledCase struct {
	gradCase
	node func(b *graph.Builder, in []*graph.Value, then func([]*graph.Value))
}

func controlCase(name string, shapes [][]int, results func(b *graph.Builder, in []*graph.Value) []*graph.Value) controlledCase {
	c := controlledCase{gradCase: gradCase{name: name, covers: name, inputs: shapes}}
	c.build = func(b *graph.Builder, in []*graph.Value) *graph.Value { return bothFlat(b, results(b, in)) }
	c.node = func(b *graph.Builder, in []*graph.Value, then func([]*graph.Value)) { then(results(b, in)) }
	return c
}

// bothFlat joins values whose types are not known before their loop is unrolled.
func bothFlat(b *graph.Builder, list []*graph.Value) *graph.Value {
	if err := graph.Expand(b, b.G.Inputs); err != nil {
		b.Fail(err)
		return list[0]
	}
	var flat []*graph.Value
	for _, v := range list {
		flat = append(flat, b.Op("Reshape", nil, v, b.Const("flat", int64s(-1))))
	}
	return b.Op("Concat", attrs("axis", int64(0)), flat...)
}
