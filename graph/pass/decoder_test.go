package pass_test

import (
	"strings"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/pass"
	"tandem/kernel"
	"tandem/tensor"
)

// layer writes one layer of a decoder in its standard form.
func layer(t *testing.T) builder {
	b := newBuilder(t)
	b.G.Opset[""] = 24
	x := b.Input("x", tensor.Float32, graph.Const(1), graph.Sym("n"), graph.Const(32))
	positions := b.Input("positions", tensor.Int64, graph.Const(1), graph.Sym("n"))
	past, total := b.Input("past", tensor.Int64, graph.Const(1)), b.Input("total", tensor.Int64, graph.Const(1))
	op := func(name, op string, attrs graph.Attrs, in ...*graph.Value) *graph.Value {
		v := b.Op(op, attrs, in...)
		v.Name = name
		if b.Err() != nil {
			t.Fatal(b.Err())
		}
		return v
	}
	norm := graph.Attrs{"axis": int64(-1), "epsilon": float32(1e-6)}
	h := op("h", "RMSNormalization", norm, x, b.floats("s1", 32))
	turned := func(name string, heads int64) *graph.Value {
		v := op(name, "MatMul", nil, h, b.floats("w"+name, 32, int(heads)*8))
		v = op(name+"c", "Reshape", nil, v, b.Const("cut", tensor.Of([]int64{0, 0, heads, 8}, 4)))
		v = op(name+"n", "RMSNormalization", norm, v, b.floats("s"+name, 8))
		return op(name+"j", "Reshape", nil, v, b.Const("join", tensor.Of([]int64{0, 0, heads * 8}, 3)))
	}
	cos, sin := b.floats("cos", 16, 4), b.floats("sin", 16, 4)
	rotary := func(name string, v *graph.Value, heads int64) *graph.Value {
		return op(name, "RotaryEmbedding", graph.Attrs{"num_heads": heads}, v, cos, sin, positions)
	}
	q, k := rotary("qr", turned("q", 4), 4), rotary("kr", turned("k", 2), 2)
	v := op("v", "MatMul", nil, h, b.floats("wv", 32, 16))
	var cache []*graph.Value
	for i, new := range []*graph.Value{k, v} {
		name := []string{"keys", "values"}[i]
		current := b.State(name, tensor.New(tensor.Float32, 1, 16, 16))
		next := op(name+"'", "TensorScatter", graph.Attrs{"axis": int64(1)}, current, new, past)
		b.SetNext(current, next)
		cache = append(cache, next)
	}
	a := op("a", "Attention", graph.Attrs{"q_num_heads": int64(4), "kv_num_heads": int64(2), "is_causal": int64(1)}, q, cache[0], cache[1], nil, nil, nil, total)
	x = op("x1", "Add", nil, x, op("o", "MatMul", nil, a, b.floats("wo", 32, 32)))
	h = op("h2", "RMSNormalization", norm, x, b.floats("s2", 32))
	g := op("g", "Swish", nil, op("g0", "MatMul", nil, h, b.floats("wg", 32, 48)))
	u := op("u", "Mul", nil, g, op("u0", "MatMul", nil, h, b.floats("wu", 32, 48)))
	b.Output(op("x2", "Add", nil, x, op("d", "MatMul", nil, u, b.floats("wd", 48, 32))))
	return b
}

// TestDecoder: a layer becomes five nodes, and its cache pages.
func TestDecoder(t *testing.T) {
	p := kernel.NewPool(1, kernel.Detect())
	defer p.Close()
	g := layer(t).G
	for _, f := range pass.Decoder(p, 9, nil) {
		if err := f.Run(g, op.Default()); err != nil {
			t.Fatal(err)
		}
	}
	const want = `
q = tandem.Projection(x, s1, -, wq.packed, -, wk.packed, -, wv.packed, -)
a, keys', values' = tandem.PagedAttention(q, -, -, keys, values, lengths, past, blocks, sq, sk, cos, sin, positions)
x1 = tandem.Projection(a, -, x, wo.packed, -)
u = tandem.Projection(x1, s2, -, wg.packed, -, wu.packed, -)
x2 = tandem.Projection(u, -, x1, wd.packed, -)
-> x2
`
	if got := text(g); got != strings.TrimLeft(want, "\n") {
		t.Errorf("got\n%swant%s", got, want)
	}
	if g.Input("total") != nil || g.Input(pass.InputLengths) == nil || g.Input(pass.InputBlocks) == nil {
		t.Error("the inputs are not those of the paged form")
	}
	if c := g.State[0].Init; c.Encoding != graph.Zeros || c.DType != tensor.Float16 || c.Shape[0] != 9 {
		t.Errorf("the cache is %v %v in encoding %q", c.DType, c.Shape, c.Encoding)
	}
}

// TestPagedRefuses what pages cannot hold.
func TestPagedRefuses(t *testing.T) {
	g := layer(t).G
	for _, n := range g.Nodes {
		if n.Op.Name == "Attention" {
			n.Attrs["is_causal"] = int64(0)
		}
	}
	if err := pass.Paged(9).Run(g, op.Default()); err == nil || !strings.Contains(err.Error(), "causal") {
		t.Errorf("attention that is not causal: %v", err)
	}
}
