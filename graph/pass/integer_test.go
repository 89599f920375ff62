package pass_test

import (
	"testing"

	"tandem/graph"
	"tandem/graph/pass"
	"tandem/tensor"
)

// TestFuseIntegers: a layer of the dynamic quantiser becomes one product; the sums that
// something else reads stay.
func TestFuseIntegers(t *testing.T) {
	b := newBuilder(t)
	x := b.Input("x", tensor.Float32, graph.Sym("n"), graph.Const(4))
	q := b.Node(graph.OpID{Name: "DynamicQuantizeLinear"}, 3, nil, x)
	q[0].Name, q[1].Name, q[2].Name = "q", "s", "z"
	w, zero := b.Const("w", tensor.New(tensor.Int8, 4, 6)), b.Const("wz", tensor.New(tensor.Int8))
	scale := b.node("scale", "Mul", q[1], b.floats("ws"))
	layer := func(name string) *graph.Value {
		sums := b.node(name+"sums", "MatMulInteger", q[0], w, q[2], zero)
		f := b.Op("Cast", graph.Attrs{"to": int64(tensor.Float32)}, sums)
		f.Name = name + "f"
		return b.node(name, "Mul", f, scale)
	}
	y := b.node("a", "Add", b.floats("bias", 6), layer("y"))
	b.Output(b.node("g", "Relu", y))
	kept := layer("k")
	b.Output(kept.Def.Inputs[0].Def.Inputs[0])
	b.Output(kept)
	check(t, b.G, pass.FuseIntegers(), `
q, s, z = DynamicQuantizeLinear(x)
scale = Mul(s, ws)
y = tandem.IntegerLinear(q, w, s, ws, z, wz)
a = Add(bias, y)
g = Relu(a)
ksums = MatMulInteger(q, w, z, wz)
kf = Cast(ksums)
k = Mul(kf, scale)
-> g, ksums, k
`)
	check(t, b.G, pass.FuseLinear(), `
q, s, z = DynamicQuantizeLinear(x)
scale = Mul(s, ws)
g = tandem.IntegerLinear{Relu}(q, w, s, ws, z, wz, bias)
ksums = MatMulInteger(q, w, z, wz)
kf = Cast(ksums)
k = Mul(kf, scale)
-> g, ksums, k
`)
}

// TestFuseMicrosoftIntegers: the two operators that onnxruntime's own rewriting makes.
func TestFuseMicrosoftIntegers(t *testing.T) {
	b := newBuilder(t)
	x := b.Input("x", tensor.Float32, graph.Sym("n"), graph.Const(4))
	a := b.Input("a", tensor.Uint8, graph.Sym("n"), graph.Const(4))
	w, s, bias := b.Const("w", tensor.New(tensor.Uint8, 4, 6)), b.floats("s", 6), b.floats("bias", 6)
	y := b.Node(graph.OpID{Domain: "com.microsoft", Name: "DynamicQuantizeMatMul"}, 1, nil, x, w, s, nil, bias)[0]
	y.Name = "y"
	z := b.Node(graph.OpID{Domain: "com.microsoft", Name: "MatMulIntegerToFloat"}, 1, nil, a, w, b.floats("as"), s)[0]
	z.Name = "z"
	b.Output(y)
	b.Output(z)
	check(t, b.G, pass.FuseIntegers(), `
DynamicQuantizeLinear, DynamicQuantizeLinear_1, DynamicQuantizeLinear_2 = DynamicQuantizeLinear(x)
y = tandem.IntegerLinear(DynamicQuantizeLinear, w, DynamicQuantizeLinear_1, s, DynamicQuantizeLinear_2, -, bias)
z = tandem.IntegerLinear(a, w, as, s)
-> y, z
`)
}
