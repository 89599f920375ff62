package pass_test

import (
	"slices"
	"testing"

	"tandem/graph"
	"tandem/graph/pass"
	"tandem/kernel"
	"tandem/tensor"
)

// encoderHeads are rows of two heads as PyTorch writes them: reshaped and transposed.
func (b builder) encoderHeads(name string, rows *graph.Value, width int) *graph.Value {
	shape := b.Const(name+".shape", tensor.Of([]int64{0, 0, 2, int64(width / 2)}, 4))
	return b.transposed(name+"4", []int64{0, 2, 1, 3}, b.node(name+"h", "Reshape", rows, shape))
}

// product is x·w, with a bias if that is asked for.
func (b builder) product(name string, x *graph.Value, w *graph.Value, biased bool) *graph.Value {
	v := b.node(name, "MatMul", x, w)
	if biased {
		v = b.node(name+"b", "Add", v, b.floats(name+".bias", w.Const.Shape[1]))
	}
	return v
}

func (b builder) attend(name string, q, k, v *graph.Value) *graph.Value {
	width, _ := q.Type.Shape[2].Value()
	kT := b.transposed(name+"kT", []int64{0, 1, 3, 2}, b.encoderHeads(name+"k", k, width))
	p := b.node(name+"p", "Softmax", b.node(name+"s", "MatMul", b.encoderHeads(name+"q", q, width), kT))
	return b.node(name, "MatMul", p, b.encoderHeads(name+"v", v, width))
}

// TestJoinProducts: self-attention has one product, attention to another sequence two;
// where others read a part, or columns are no whole panels, it stays.
func TestJoinProducts(t *testing.T) {
	pool := kernel.NewPool(1, kernel.Detect())
	defer pool.Close()
	b := newBuilder(t)
	x := b.Input("x", tensor.Float32, graph.Sym("batch"), graph.Sym("length"), graph.Const(4))
	z := b.Input("z", tensor.Float32, graph.Sym("batch"), graph.Sym("other"), graph.Const(4))
	weight := func(name string) *graph.Value { return b.floats(name, 4, 32) }
	q, k, v := b.product("q", x, weight("wq"), true), b.product("k", x, weight("wk"), false), b.product("v", x, weight("wv"), true)
	b.Output(b.attend("self", q, k, v))
	b.Output(b.attend("cross", b.product("q2", x, weight("wq2"), true), b.product("k2", z, weight("wk2"), false), b.product("v2", z, weight("wv2"), false)))
	kept := b.product("v3", x, weight("wv3"), false)
	b.Output(kept)
	b.Output(b.attend("read", b.product("q3", z, weight("wq3"), false), b.product("k3", x, weight("wk3"), false), kept))
	narrow := func(name string) *graph.Value { return b.product(name, x, b.floats("w"+name, 4, 6), false) }
	b.Output(b.attend("narrow", narrow("q4"), narrow("k4"), narrow("v4")))
	for _, p := range []graph.Pass{pass.FuseAttention(), pass.FuseLinear(), pass.Dead()} {
		if err := p.Run(b.G, b.Ops); err != nil {
			t.Fatal(err)
		}
	}
	check(t, b.G, pass.JoinProducts(pool, nil), `
qb.joined = tandem.Linear(x, wq.packed+wk.packed+wv.packed, q.bias+v.bias)
self = tandem.Attention(qb.joined, qb.joined, qb.joined)
q2b = tandem.Linear(x, wq2, q2.bias)
k2.joined = tandem.Linear(z, wk2.packed+wv2.packed)
cross = tandem.Attention(q2b, k2.joined, k2.joined)
v3 = tandem.Linear(x, wv3)
q3 = tandem.Linear(z, wq3)
k3 = tandem.Linear(x, wk3)
read = tandem.Attention(q3, k3, v3)
q4 = tandem.Linear(x, wq4)
k4 = tandem.Linear(x, wk4)
v4 = tandem.Linear(x, wv4)
narrow = tandem.Attention(q4, k4, v4)
-> self, cross, v3, read, narrow
`)
	self := b.G.Nodes[1]
	for i, name := range []string{"q", "k", "v"} {
		if h := self.Attrs.Ints(name); !slices.Equal(h, []int{0, 1, -1, 16, 2, 32 * i, 16}) {
			t.Errorf("heads of %s lie as %v", name, h)
		}
	}
	if s := b.G.Nodes[0].Outputs[0].Type.Shape; len(s) != 3 || !s[2].Is(96) {
		t.Errorf("the joined product has shape %v", s)
	}
}
