package pass_test

import (
	"testing"

	"tandem/graph"
	"tandem/graph/pass"
	"tandem/tensor"
)

// TestFuseRMSNorm: as PyTorch's exporters, T5, Llama and Gemma have it, without a gain,
// and what only looks like it.
func TestFuseRMSNorm(t *testing.T) {
	b := newBuilder(t)
	x := b.Input("x", tensor.Float32, graph.Sym("batch"), graph.Sym("length"), graph.Const(4))
	two, one, e, w := b.scalar("two", 2), b.scalar("one", 1), b.scalar("e", 1e-6), b.floats("w", 4)
	last := b.Const("last", tensor.Of([]int64{-1}, 1))
	mean := func(name string, square *graph.Value, axes *graph.Value) *graph.Value {
		return b.node(name+"e", "Add", b.node(name+"m", "ReduceMean", square, axes), e)
	}
	root := func(name string, x *graph.Value) *graph.Value {
		return b.node(name+"r", "Sqrt", mean(name, b.node(name+"2", "Pow", x, two), last))
	}
	y := b.node("y", "Mul", w, b.node("a1", "Mul", x, b.node("a", "Reciprocal", root("a", x))))
	y = b.node("z", "Mul", b.node("b1", "Mul", b.node("b", "Div", one, root("b", y)), y), w)
	y = b.node("u", "Mul", b.node("c1", "Div", y, root("c", y)), w)
	y = b.node("v", "Mul", y, b.node("d", "Pow", mean("d", b.node("d2", "Mul", y, y), last), b.scalar("half", -0.5)))
	b.Output(b.node("kept", "Mul", y, y))
	s := b.node("s", "Div", y, root("e", x))                                                               // of another value
	q := b.node("q", "Div", s, b.node("fr", "Sqrt", mean("f", b.node("f2", "Pow", s, one), last)))         // no square
	p := b.node("p", "Div", q, b.node("gr", "Sqrt", mean("g", b.node("g2", "Mul", q, q), b.Ints("i", 1)))) // over rows
	b.Output(p)
	check(t, b.G, pass.FuseRMSNorm(), `
y = RMSNormalization(x, w)
z = RMSNormalization(y, w)
u = RMSNormalization(z, w)
v = RMSNormalization(u, ones)
kept = Mul(v, v)
e2 = Pow(x, two)
em = ReduceMean(e2, last)
ee = Add(em, e)
er = Sqrt(ee)
s = Div(v, er)
f2 = Pow(s, one)
fm = ReduceMean(f2, last)
fe = Add(fm, e)
fr = Sqrt(fe)
q = Div(s, fr)
g2 = Mul(q, q)
gm = ReduceMean(g2, i)
ge = Add(gm, e)
gr = Sqrt(ge)
p = Div(q, gr)
-> kept, p
`)
	if got := b.G.Nodes[1].Attrs.Float("epsilon", 0); got != 1e-6 {
		t.Errorf("epsilon is %v", got)
	}
}
