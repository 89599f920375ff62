package pass_test

import (
	"math"
	"testing"

	"tandem/graph"
	"tandem/graph/pass"
	"tandem/tensor"
)

func TestFuseGelu(t *testing.T) {
	b := newBuilder(t)
	x := b.Input("x", tensor.Float32, graph.Sym("n"), graph.Const(4))
	half, one, root := b.scalar("half", 0.5), b.scalar("one", 1), b.scalar("root", math.Sqrt2)
	inner := func(name string, x, one *graph.Value) *graph.Value {
		return b.node(name, "Add", b.node("erf", "Erf", b.node("d", "Div", x, root)), one)
	}
	y := b.node("y", "Mul", b.node("m", "Mul", x, inner("a", x, one)), half)
	z := b.node("z", "Mul", b.node("h", "Mul", y, half), inner("a2", y, one))
	u := b.node("u", "Mul", z, b.node("h2", "Mul", half, inner("a3", z, one)))
	cube := b.node("mul", "Mul", b.node("cube", "Pow", u, b.scalar("three", 3)), b.scalar("c", 0.044715))
	tanh := b.node("tanh", "Tanh", b.node("in", "Mul", b.node("sum", "Add", u, cube), b.scalar("s", float32(math.Sqrt(2/math.Pi)))))
	u = b.node("w", "Mul", b.node("h3", "Mul", u, half), b.node("a5", "Add", tanh, one))
	b.Output(b.node("v", "Mul", b.node("m3", "Mul", u, inner("a4", u, half)), half)) // no gelu
	check(t, b.G, pass.FuseGelu(), `
y = com.microsoft.Gelu(x)
z = com.microsoft.Gelu(y)
u = com.microsoft.Gelu(z)
w = com.microsoft.FastGelu(u)
d = Div(w, root)
erf = Erf(d)
a4 = Add(erf, half)
m3 = Mul(w, a4)
v = Mul(m3, half)
-> v
`)
}
