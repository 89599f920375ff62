package pass_test

import (
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/pass"
	"tandem/kernel"
	"tandem/tensor"
)

func TestFoldBatchNorm(t *testing.T) {
	b := newBuilder(t)
	x := b.Input("x", tensor.Float32, graph.Const(1), graph.Const(1), graph.Const(5), graph.Const(5))
	one := func(name string, v float32) *graph.Value { return b.Const(name, tensor.Of([]float32{v}, 1)) }
	w := b.Const("w", tensor.Of([]float32{2}, 1, 1, 1, 1))
	c := b.node("c", "Conv", x, w, one("b", 3))
	n := b.Op("BatchNormalization", graph.Attrs{"epsilon": float32(0)}, c, one("scale", 6), one("shift", 5), one("mean", 7), one("variance", 4))
	n.Name = "n"
	b.Output(n)
	b.Output(b.Op("BatchNormalization", nil, x, one("s", 1), one("t", 1), one("m", 1), one("v", 1))) // of no convolution
	b.G.Outputs[1].Name = "other"
	check(t, b.G, pass.FoldBatchNorm(), `
n = Conv(x, w.folded, w.bias)
other = BatchNormalization(x, s, t, m, v)
-> n, other
`)
	values := func(i int) float32 {
		c, err := b.G.Nodes[0].Inputs[i].Const.Tensor()
		if err != nil {
			t.Fatal(err)
		}
		return c.F32()[0]
	}
	// (2x + 3 - 7)·6/√4 + 5 = 6x - 7
	if w, bias := values(1), values(2); w != 6 || bias != -7 {
		t.Errorf("weight %v, bias %v", w, bias)
	}
}

func TestChannelsLast(t *testing.T) {
	p := kernel.NewPool(1, kernel.Detect())
	defer p.Close()
	b := newBuilder(t)
	x := b.Input("x", tensor.Float32, graph.Const(1), graph.Const(2), graph.Const(5), graph.Const(5))
	w := b.floats("w", 2, 2, 1, 1)
	a := b.node("a", "Relu", b.node("c", "Conv", x, w))
	d := b.node("d", "Conv", a, w)
	to := b.Op("Transpose", graph.Attrs{"perm": []int64{0, 2, 3, 1}}, d)
	b.Output(b.node("m", "MatMul", to, b.floats("v", 2, 2)))
	b.Output(b.node("s", "Softmax", b.node("sum", "Add", d, b.floats("f", 2, 1, 1))))
	b.Output(a)
	check(t, b.G, pass.ChannelsLast(p, nil), `
ToLast = tandem.ToLast(x)
ConvLast = tandem.ConvLast(ToLast, w.packed)
Relu = Relu(ConvLast)
ConvLast_1 = tandem.ConvLast(Relu, w.packed)
m = MatMul(ConvLast_1, v)
Add = Add(ConvLast_1, f.last)
sum = tandem.ToFirst(Add)
s = Softmax(sum)
a = tandem.ToFirst(Relu)
-> m, s, a
`)
}

func TestFuseConvLast(t *testing.T) {
	b := newBuilder(t)
	x := b.Input("x", tensor.Float32, graph.Const(1), graph.Const(5), graph.Const(5), graph.Const(2))
	w := b.floats("w", 2, 2, 1, 1)
	conv := func(name string, x *graph.Value) *graph.Value {
		v := b.Private("ConvLast", nil, x, w)
		v.Name = name
		return v
	}
	y := b.node("y", "Relu", b.node("sum", "Add", conv("c1", x), conv("c2", x)))
	c3 := conv("c3", y)
	z := b.node("z", "Mul", b.node("sig", "Sigmoid", c3), c3)
	twice := conv("twice", z)
	b.Output(b.node("u", "Add", b.node("t", "Tanh", twice), twice))
	b.Output(b.node("e", "Exp", conv("c4", x)))
	check(t, b.G, pass.FuseConvLast(), `
c1 = tandem.ConvLast(x, w)
y = tandem.ConvLast{Relu}(x, w, -, c1)
z = tandem.ConvLast{Swish}(y, w)
twice = tandem.ConvLast(z, w)
t = Tanh(twice)
u = Add(t, twice)
c4 = tandem.ConvLast(x, w)
e = Exp(c4)
-> u, e
`)
}

// TestWinogradForm: the size of the image decides how weights of 3×3 are packed.
func TestWinogradForm(t *testing.T) {
	p := kernel.NewPool(1, kernel.Detect())
	defer p.Close()
	b := newBuilder(t)
	x := b.Input("x", tensor.Float32, graph.Sym("n"), graph.Const(32), graph.Const(40), graph.Const(40))
	free := b.Input("free", tensor.Float32, graph.Const(1), graph.Const(32), graph.Sym("h"), graph.Const(40))
	w, odd, pads := b.floats("w", 32, 32, 3, 3), b.floats("odd", 33, 32, 3, 3), []int64{1, 1, 1, 1}
	want := map[string]graph.Encoding{
		"large": graph.PanelWinograd4, "again": graph.PanelWinograd4, "small": graph.PanelWinograd2,
		"strided": graph.PanelConv, "dilated": graph.PanelConv, "unknown": graph.PanelConv, "odd": graph.PanelConv,
	}
	conv := func(name string, x, w *graph.Value, a graph.Attrs) *graph.Value {
		v := b.Op("Conv", a, x, w)
		v.Name = name
		b.Output(v)
		return v
	}
	large := conv("large", x, w, graph.Attrs{"pads": pads})
	conv("again", large, w, graph.Attrs{"auto_pad": "SAME_LOWER", "strides": []int64{1, 1}})
	strided := conv("strided", x, w, graph.Attrs{"pads": pads, "strides": []int64{4, 4}})
	conv("small", strided, w, graph.Attrs{"pads": pads})
	conv("dilated", x, w, graph.Attrs{"dilations": []int64{2, 2}})
	conv("unknown", free, w, graph.Attrs{"pads": pads})
	conv("odd", x, odd, graph.Attrs{"pads": pads})
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	if err := pass.ChannelsLast(p, nil).Run(b.G, op.Default()); err != nil {
		t.Fatal(err)
	}
	packed := map[string]*graph.Value{}
	for _, v := range b.G.Outputs {
		packed[v.Name] = v.Def.Inputs[0].Def.Inputs[1]
		if got := packed[v.Name].Const.Encoding; got != want[v.Name] {
			t.Errorf("%s: weights are %q, want %q", v.Name, got, want[v.Name])
		}
	}
	if packed["large"] != packed["again"] {
		t.Error("the same weights in the same form are packed twice")
	}
}

// TestFuseSumsOfBytes: the later of two convolutions takes the sum in, then a table; one
// that is read elsewhere, that has a table before, or whose steps are not those that are
// added stays alone.
func TestFuseSumsOfBytes(t *testing.T) {
	b := newBuilder(t)
	x := b.Input("x", tensor.Uint8, graph.Const(1), graph.Const(5), graph.Const(5), graph.Const(2))
	s, s2, z := b.Const("s", tensor.Of([]float32{0.5})), b.Const("s2", tensor.Of([]float32{0.25})), b.Const("z", tensor.Of([]uint8{3}))
	w, ws, wz := b.Const("w", tensor.New(tensor.Int8, 2, 2, 1, 1)), b.Const("ws", tensor.Of([]float32{1})), b.Const("wz", tensor.New(tensor.Int8))
	table := b.Const("t", tensor.New(tensor.Uint8, 256))
	conv := func(name string, x *graph.Value) *graph.Value {
		v := b.Private("QLinearConvLast", nil, x, s, z, w, ws, wz, s, z)
		v.Name = name
		return v
	}
	lookup := func(name string, x *graph.Value) *graph.Value {
		v := b.Private("Lookup", nil, x, table)
		v.Name = name
		return v
	}
	add := func(name string, v *graph.Value, of *graph.Value, y *graph.Value) *graph.Value {
		sum := b.Node(graph.OpID{Domain: "com.microsoft", Name: "QLinearAdd"}, 1, nil, v, of, z, y, s, z, s2, z)[0]
		sum.Name = name
		return sum
	}
	c1 := conv("c1", x)
	a := lookup("a", add("sum1", conv("c2", x), s, c1))
	c3 := conv("c3", a)
	d := add("d", c3, s2, a) // c3 counts in other steps than it has
	e := lookup("e", conv("c4", d))
	b.Output(add("f", d, s, e))
	c5 := conv("c5", x)
	b.Output(add("g", c5, s, c5))
	check(t, b.G, pass.FuseConvLast(), `
c1 = tandem.QLinearConvLast(x, s, z, w, ws, wz, s, z)
a = tandem.QLinearConvLast(x, s, z, w, ws, wz, s, z, -, t, c1, s, z, s2, z)
c3 = tandem.QLinearConvLast(a, s, z, w, ws, wz, s, z)
d = com.microsoft.QLinearAdd(c3, s2, z, a, s, z, s2, z)
e = tandem.QLinearConvLast(d, s, z, w, ws, wz, s, z, -, t)
f = com.microsoft.QLinearAdd(d, s, z, e, s, z, s2, z)
c5 = tandem.QLinearConvLast(x, s, z, w, ws, wz, s, z)
g = com.microsoft.QLinearAdd(c5, s, z, c5, s, z, s2, z)
-> f, g
`)
}
