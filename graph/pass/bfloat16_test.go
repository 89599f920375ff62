package pass_test

import (
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/pass"
	"tandem/kernel"
	"tandem/tensor"
)

// TestFuseBFloat16: products of numbers rounded to bfloat16 become one operator with what
// follows; one whose x is not rounded, or whose weights are not, stays, as does a Gemm with
// a factor.
func TestFuseBFloat16(t *testing.T) {
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
	check(t, b.G, pass.FuseBFloat16(nil, nil), `
h = Cast(x)
r = Cast(h)
wf = Cast(w)
vf = Cast(v)
y = tandem.BFloat16Linear(x, w)
a = Add(bias, y)
relu = Relu(a)
z = tandem.BFloat16Linear(x, v, bias_1)
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
relu = tandem.BFloat16Linear{Relu}(x, w, bias)
exact = tandem.Linear(x, wf)
sum = tandem.BFloat16Linear(x, v, bias_1, exact)
weights = tandem.Linear(r, u)
half = Gemm(r, vf, bias_2)
-> relu, sum, weights, half
`)
}

// TestFuseBFloat16Conv: convolutions of numbers rounded to bfloat16 have their channels last,
// and between them and what takes images of that kind nothing moves; one of groups or of
// other numbers stays.
func TestFuseBFloat16Conv(t *testing.T) {
	p := kernel.NewPool(1, kernel.Detect())
	t.Cleanup(p.Close)
	b := newBuilder(t)
	x := b.Input("x", tensor.Float32, graph.Sym("n"), graph.Const(4), graph.Const(6), graph.Const(6))
	cast := func(name string, to tensor.DType, v *graph.Value) *graph.Value {
		y := b.Op("Cast", graph.Attrs{"to": int64(to)}, v)
		y.Name = name
		return y
	}
	rounded := func(name string, v *graph.Value) *graph.Value {
		return cast(name, tensor.Float32, cast(name+"h", tensor.BFloat16, v))
	}
	weight := func(name string, shape ...int) *graph.Value {
		return cast(name+"f", tensor.Float32, b.Const(name, tensor.New(tensor.BFloat16, shape...)))
	}
	conv := func(name string, attrs graph.Attrs, in ...*graph.Value) *graph.Value {
		y := b.Op("Conv", attrs, in...)
		y.Name = name
		return y
	}
	pads := graph.Attrs{"pads": []int64{1, 1, 1, 1}}
	r := rounded("r", x)
	c := b.node("c", "Relu", conv("cc", pads, r, weight("w", 4, 4, 3, 3), b.floats("bias", 4)))
	d := b.node("d", "Add", conv("dd", nil, rounded("s", c), weight("v", 4, 4, 1, 1)), c)
	b.Output(b.node("mean", "GlobalAveragePool", d))
	b.Output(conv("groups", graph.Attrs{"group": int64(2)}, r, weight("u", 4, 2, 1, 1)))
	b.Output(conv("exact", nil, x, weight("z", 2, 4, 1, 1)))
	check(t, b.G, pass.FuseBFloat16(p, nil), `
rh = Cast(x)
r = Cast(rh)
wf = Cast(w)
ToLast = tandem.ToLast(x)
BFloat16ConvLast = tandem.BFloat16ConvLast(ToLast, w.packed, bias)
cc = tandem.ToFirst(BFloat16ConvLast)
c = Relu(cc)
sh = Cast(c)
s = Cast(sh)
vf = Cast(v)
ToLast_1 = tandem.ToLast(c)
BFloat16ConvLast_1 = tandem.BFloat16ConvLast(ToLast_1, v.packed)
dd = tandem.ToFirst(BFloat16ConvLast_1)
d = Add(dd, c)
mean = GlobalAveragePool(d)
uf = Cast(u)
groups = Conv(r, uf)
zf = Cast(z)
exact = Conv(x, zf)
-> mean, groups, exact
`)
	for _, after := range []graph.Pass{pass.Dead(), pass.ChannelsLast(p, nil)} {
		if err := after.Run(b.G, op.Default()); err != nil {
			t.Fatal(err)
		}
	}
	check(t, b.G, pass.FuseConvLast(), `
rh = Cast(x)
r = Cast(rh)
ToLast_2 = tandem.ToLast(x)
Relu = tandem.BFloat16ConvLast{Relu}(ToLast_2, w.packed, bias)
Add = tandem.BFloat16ConvLast(Relu, v.packed, -, Relu)
GlobalAveragePoolLast = tandem.GlobalAveragePoolLast(Add)
uf = Cast(u)
groups = Conv(r, uf)
zf = Cast(z)
exact = Conv(x, zf)
mean = tandem.ToFirst(GlobalAveragePoolLast)
-> mean, groups, exact
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

// TestKeepBFloat16: a product rounds its result where nothing but products of bfloat16 read
// that, reshaped or not; a result that is kept, that something else reads, that is added to
// or whose rows have an odd length stays as it is.
func TestKeepBFloat16(t *testing.T) {
	p := kernel.NewPool(1, kernel.Detect())
	t.Cleanup(p.Close)
	if !kernel.KeepsBFloat16(p) {
		t.Skip("SKIPPED: this processor multiplies no rounded rows")
	}
	b := newBuilder(t)
	x := b.Input("x", tensor.Float32, graph.Sym("n"), graph.Const(4))
	product := func(name string, x *graph.Value, k, n int, rest ...*graph.Value) *graph.Value {
		in := append([]*graph.Value{x, b.Const(name+".w", tensor.New(tensor.BFloat16, k, n))}, rest...)
		v := b.Node(graph.OpID{Domain: graph.Private, Name: "BFloat16Linear"}, 1, graph.Attrs{}, in...)[0]
		v.Name = name
		return v
	}
	up := product("up", x, 4, 6)
	flat := b.node("flat", "Reshape", up, b.Const("shape", tensor.Of([]int64{-1, 6}, 2)))
	b.Output(product("down", flat, 6, 4))
	b.Output(product("down2", up, 6, 4))
	added := product("added", x, 4, 6, nil, product("summand", x, 4, 6))
	b.Output(product("last", added, 6, 4))
	b.Output(product("odd2", product("odd", x, 4, 3), 3, 4))
	read := product("read", x, 4, 6)
	b.Output(product("read2", read, 6, 4))
	b.Output(b.node("relu", "Relu", read))
	kept := product("kept", x, 4, 6)
	b.Output(kept)
	b.Output(product("kept2", kept, 6, 4))
	if err := pass.KeepBFloat16(p).Run(b.G, b.Ops); err != nil {
		t.Fatal(err)
	}
	for _, n := range b.G.Nodes {
		y, want := n.Outputs[0], tensor.Float32
		if y.Name == "up" || y.Name == "flat" {
			want = tensor.BFloat16
		}
		if rounded := n.Attrs.Int("rounded", 0) != 0; y.Type.DType != want || rounded != (y.Name == "up") {
			t.Errorf("%s is %v, rounded %v", y.Name, y.Type.DType, rounded)
		}
	}
}
