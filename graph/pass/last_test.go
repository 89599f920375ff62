package pass_test

import (
	"testing"

	"tandem/graph"
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
