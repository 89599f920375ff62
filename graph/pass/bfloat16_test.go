package pass_test

import (
	"testing"

	"tandem/graph"
	"tandem/graph/pass"
	"tandem/kernel"
	"tandem/tensor"
)

// TestFuseBFloat16: products of numbers rounded to bfloat16 become one operator with what
// follows; one whose x is not rounded, or whose weights are not, stays, as does a Gemm with
// a factor.
func TestFuseBFloat16(t *testing.T) {
	p := kernel.NewPool(1, kernel.Detect())
	t.Cleanup(p.Close)
	b := newBuilder(t)
	x := b.Input("x", tensor.Float32, graph.Sym("n"), graph.Const(4))
	cast := func(name string, to tensor.DType, v *graph.Value) *graph.Value {
		y := b.Op("Cast", graph.Attrs{"to": int64(to)}, v)
		y.Name = name
		return y
	}
	h := cast("h", tensor.BFloat16, x)
	r := cast("r", tensor.Float32, h)
	w := cast("wf", tensor.Float32, b.Const("w", tensor.New(tensor.BFloat16, 4, 6)))
	v := cast("vf", tensor.Float32, b.Const("v", tensor.New(tensor.BFloat16, 6, 4)))
	gemm := func(name string, attrs graph.Attrs) *graph.Value {
		y := b.Op("Gemm", attrs, r, v, b.floats("bias", 6))
		y.Name = name
		return y
	}
	b.Output(b.node("relu", "Relu", b.node("a", "Add", b.floats("bias", 6), b.node("y", "MatMul", r, w))))
	b.Output(b.node("sum", "Add", gemm("z", graph.Attrs{"transB": int64(1)}), b.node("exact", "MatMul", x, w)))
	b.Output(b.node("weights", "MatMul", r, b.floats("u", 4, 6)))
	b.Output(gemm("half", graph.Attrs{"transB": int64(1), "alpha": float32(0.5)}))
	check(t, b.G, pass.FuseBFloat16(p, nil), `
h = Cast(x)
r = Cast(h)
wf = Cast(w)
vf = Cast(v)
y = tandem.BFloat16Linear(x, w.packed)
a = Add(bias, y)
relu = Relu(a)
z = tandem.BFloat16Linear(x, v.packed, bias_1)
exact = MatMul(x, wf)
sum = Add(z, exact)
weights = MatMul(r, u)
half = Gemm(r, vf, bias_2)
-> relu, sum, weights, half
`)
	check(t, b.G, pass.FuseLinear(), `
h = Cast(x)
r = Cast(h)
wf = Cast(w)
vf = Cast(v)
relu = tandem.BFloat16Linear{Relu}(x, w.packed, bias)
exact = tandem.Linear(x, wf)
sum = tandem.BFloat16Linear(x, v.packed, bias_1, exact)
weights = tandem.Linear(r, u)
half = Gemm(r, vf, bias_2)
-> relu, sum, weights, half
`)
}

// TestRoundProducts: those of float32 are rounded, with their attributes; others stay.
func TestRoundProducts(t *testing.T) {
	b := newBuilder(t)
	x := b.Input("x", tensor.Float32, graph.Sym("n"), graph.Const(4))
	d := b.Input("d", tensor.Float64, graph.Const(4), graph.Const(4))
	y := b.node("y", "Gemm", x, b.floats("w", 4, 6), b.floats("bias", 6))
	b.Output(b.node("relu", "Relu", y))
	b.Output(b.node("z", "MatMul", x, b.floats("v", 4, 4)))
	b.Output(b.node("double", "MatMul", d, d))
	if err := pass.FuseActivation().Run(b.G, nil); err != nil {
		t.Fatal(err)
	}
	check(t, b.G, pass.RoundProducts(), `
relu = tandem.BFloat16Gemm{Relu}(x, w, bias)
z = tandem.BFloat16MatMul(x, v)
double = MatMul(d, d)
-> relu, z, double
`)
}
