package pass_test

import (
	"slices"
	"testing"

	"tandem/graph"
	"tandem/graph/pass"
	"tandem/tensor"
)

func (b builder) transposed(name string, perm []int64, x *graph.Value) *graph.Value {
	v := b.node(name, "Transpose", x)
	v.Def.Attrs = graph.Attrs{"perm": perm}
	if err := graph.InferTypes(b.G, b.Ops); err != nil {
		b.t.Fatal(err)
	}
	return v
}

func (b builder) scalar(name string, v float32) *graph.Value {
	return b.Const(name, tensor.Of([]float32{v}))
}

// TestFuseAttention: as PyTorch's exporters write it, with transpositions around,
// and with the scale split over queries and keys.
func TestFuseAttention(t *testing.T) {
	b := newBuilder(t)
	rowsFirst := []graph.Dim{graph.Sym("batch"), graph.Sym("length"), graph.Const(2), graph.Const(4)}
	q, k, v := b.Input("q", tensor.Float32, rowsFirst...), b.Input("k", tensor.Float32, rowsFirst...), b.Input("v", tensor.Float32, rowsFirst...)
	mask := b.Input("mask", tensor.Float32, graph.Sym("batch"), graph.Const(1), graph.Const(1), graph.Sym("length"))
	heads := []int64{0, 2, 1, 3}
	q4, v4 := b.transposed("q4", heads, q), b.transposed("v4", heads, v)
	s := b.node("s", "MatMul", q4, b.transposed("kT", []int64{0, 2, 3, 1}, k))
	p := b.node("p", "Softmax", b.node("masked", "Add", b.node("scaled", "Div", s, b.scalar("root", 2)), mask))
	p = b.node("safe", "Where", b.node("nan", "IsNaN", p), b.scalar("zero", 0), p)
	b.Output(b.transposed("y", heads, b.node("y4", "MatMul", p, v4)))

	half := b.scalar("half", 0.5)
	k4 := b.transposed("k4", heads, k)
	kT := b.transposed("kT2", []int64{0, 1, 3, 2}, k4)
	s2 := b.node("s2", "MatMul", b.node("qs", "Mul", q4, half), b.node("ks", "Mul", kT, half))
	b.Output(b.node("z", "MatMul", b.node("p2", "Softmax", s2), v4))
	kept := b.node("p3", "Softmax", b.node("s3", "MatMul", q4, kT))
	b.Output(kept) // the weights are an output: must stay
	b.Output(b.node("u", "MatMul", kept, v4))
	check(t, b.G, pass.FuseAttention(), `
q4 = Transpose(q)
v4 = Transpose(v)
y = tandem.Attention(q, k, v, mask)
k4 = Transpose(k)
kT2 = Transpose(k4)
z = tandem.Attention(q, k, v)
s3 = MatMul(q4, kT2)
p3 = Softmax(s3)
u = MatMul(p3, v4)
-> y, z, p3, u
`)
	for i, scale := range map[int]float32{2: 0.5, 5: 0.25} {
		n := b.G.Nodes[i]
		if got := n.Attrs.Float("scale", 0); got != scale {
			t.Errorf("%v has scale %v, want %v", n, got, scale)
		}
		for _, name := range []string{"q", "k", "v"} {
			if o := n.Attrs.Ints(name); !slices.Equal(o, []int{0, 1, 2, 0, 0, 0, 4}) {
				t.Errorf("%v reads %s as %v", n, name, o)
			}
		}
	}
	if b.G.Nodes[2].Attrs.Int("zero", 0) != 1 || b.G.Nodes[5].Attrs.Int("zero", 0) != 0 {
		t.Error("y alone is guarded against rows without any key")
	}
	if o := b.G.Nodes[5].Attrs.Ints("y"); o != nil {
		t.Errorf("z is written in the order %v", o)
	}
}

func TestFuseLinear(t *testing.T) {
	b := newBuilder(t)
	x := b.Input("x", tensor.Float32, graph.Sym("batch"), graph.Sym("length"), graph.Const(4))
	w, bias := b.floats("w", 4, 4), b.floats("bias", 4)
	h := b.node("h", "Tanh", b.node("a", "Add", bias, b.node("m", "MatMul", x, w)))
	r := b.node("r", "Add", x, b.node("a2", "Add", b.node("m2", "MatMul", h, w), bias))
	m3 := b.node("m3", "MatMul", r, w) // read twice: nothing joins it
	e := b.node("e", "Mul", b.node("a3", "Add", m3, bias), m3)
	wide := b.node("wide", "Add", b.node("m4", "MatMul", e, w), b.floats("table", 1, 3, 4)) // no vector
	b.Output(b.node("y", "MatMul", wide, b.Input("stack", tensor.Float32, graph.Sym("batch"), graph.Const(4), graph.Const(4))))
	check(t, b.G, pass.FuseLinear(), `
h = tandem.Linear{Tanh}(x, w, bias)
r = tandem.Linear(h, w, bias, x)
m3 = tandem.Linear(r, w)
a3 = Add(m3, bias)
e = Mul(a3, m3)
m4 = tandem.Linear(e, w)
wide = Add(m4, table)
y = MatMul(wide, stack)
-> y
`)
}
