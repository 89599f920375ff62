package pass_test

import (
	"testing"

	"tandem/graph"
	"tandem/graph/pass"
	"tandem/tensor"
)

// TestFuseSwish: in either order, joined with the product before; and gates of others.
func TestFuseSwish(t *testing.T) {
	b := newBuilder(t)
	x := b.Input("x", tensor.Float32, graph.Sym("batch"), graph.Const(4))
	h := b.node("h", "MatMul", x, b.floats("w", 4, 4))
	y := b.node("y", "Mul", h, b.node("s", "Sigmoid", h))
	z := b.node("z", "Mul", b.node("s2", "Sigmoid", y), y)
	b.Output(b.node("u", "Mul", z, b.node("s3", "Sigmoid", x)))
	check(t, b.G, pass.FuseSwish(), `
h = MatMul(x, w)
y = Swish(h)
z = Swish(y)
s3 = Sigmoid(x)
u = Mul(z, s3)
-> u
`)
	check(t, b.G, pass.FuseLinear(), `
y = tandem.Linear{Swish}(x, w)
z = Swish(y)
s3 = Sigmoid(x)
u = Mul(z, s3)
-> u
`)
}
