package pass_test

import (
	"testing"

	"tandem/graph"
	"tandem/graph/pass"
	"tandem/tensor"
)

func TestFoldAffine(t *testing.T) {
	b := newBuilder(t)
	x := b.Input("x", tensor.Float32, graph.Const(1), graph.Const(2), graph.Const(5), graph.Const(5))
	w := b.Const("w", tensor.Of([]float32{2, 3, 4, 5}, 2, 2, 1, 1))
	c := b.node("c", "Conv", x, w)
	last := b.Op("Transpose", graph.Attrs{"perm": []int64{0, 2, 3, 1}}, c)
	last.Name = "last"
	m := b.node("m", "Mul", b.Const("f", tensor.Of([]float32{2, 10}, 2)), last)
	b.Output(b.node("y", "Add", m, b.Const("s", tensor.Of([]float32{7, 8}, 1, 1, 1, 2))))
	d := b.node("d", "Conv", x, w)
	b.Output(b.node("z", "Add", d, b.Const("rows", tensor.Of([]float32{7, 8, 9, 1, 2}, 5)))) // varies along a row
	e := b.node("e", "Conv", x, w)
	b.Output(b.node("two", "Mul", e, b.Const("one", tensor.Scalar(float32(3)))))
	b.Output(b.node("readers", "Relu", e)) // of the convolution's own result
	check(t, b.G, pass.FoldBatchNorm(), `
c = Conv(x, w.folded, w.folded.bias)
y = Transpose(c)
d = Conv(x, w)
z = Add(d, rows)
e = Conv(x, w)
two = Mul(e, one)
readers = Relu(e)
-> y, z, two, readers
`)
	for i, want := range [][]float32{1: {4, 6, 40, 50}, 2: {7, 8}} {
		if i == 0 {
			continue
		}
		got, err := b.G.Nodes[0].Inputs[i].Const.Tensor()
		if err != nil {
			t.Fatal(err)
		}
		for j, v := range got.F32() {
			if v != want[j] {
				t.Errorf("input %d is %v, want %v", i, got.F32(), want)
			}
		}
	}
}

func TestFuseHard(t *testing.T) {
	b := newBuilder(t)
	x := b.Input("x", tensor.Float32, graph.Const(4))
	number := func(name string, v float32) *graph.Value { return b.Const(name, tensor.Scalar(v)) }
	zero, three, six, sixth := number("zero", 0), number("three", 3), number("six", 6), number("sixth", 1.0/6)
	gate := func(v *graph.Value, top *graph.Value) *graph.Value {
		return b.Op("Clip", nil, b.Op("Add", nil, v, three), zero, top)
	}
	b.Output(b.node("a", "Mul", gate(x, six), sixth))
	b.Output(b.node("b", "Mul", x, b.Op("Div", nil, gate(x, six), six)))
	b.Output(b.node("c", "Div", b.Op("Mul", nil, gate(x, six), x), six))
	b.Output(b.node("d", "Mul", gate(x, three), sixth)) // ends at another number
	check(t, b.G, pass.FuseHard(), `
a = HardSigmoid(x)
b = HardSwish(x)
c = HardSwish(x)
Add_3 = Add(x, three)
Clip_3 = Clip(Add_3, zero, three)
d = Mul(Clip_3, sixth)
-> a, b, c, d
`)
}

func TestFoldPad(t *testing.T) {
	b := newBuilder(t)
	x := b.Input("x", tensor.Float32, graph.Const(1), graph.Const(5), graph.Const(5), graph.Const(2))
	w := b.floats("w", 2, 2, 3, 3)
	pads := func(name string, v ...int64) *graph.Value { return b.Const(name, tensor.Of(v, len(v))) }
	first := func(v *graph.Value) *graph.Value {
		return b.Op("Transpose", graph.Attrs{"perm": []int64{0, 3, 1, 2}}, v)
	}
	p := b.Op("Pad", nil, x, pads("p", 0, 1, 2, 0, 0, 3, 4, 0))
	one := b.Op("Conv", graph.Attrs{"pads": []int64{1, 0, 0, 0}}, first(p), w)
	one.Name = "one"
	b.Output(one)
	q := b.Op("Pad", nil, x, pads("q", 0, 0, 0, 1, 0, 0, 0, 1)) // more channels
	b.Output(b.node("two", "Conv", first(q), b.floats("v", 2, 4, 1, 1)))
	edge := b.Op("Pad", graph.Attrs{"mode": "edge"}, x, pads("r", 0, 1, 1, 0, 0, 1, 1, 0))
	b.Output(b.node("three", "Conv", first(edge), w))
	before := b.G.Outputs[0].Type.String()
	check(t, b.G, pass.FoldPad(), `
Transpose = Transpose(x)
one = Conv(Transpose, w)
Pad_1 = Pad(x, q)
Transpose_1 = Transpose(Pad_1)
two = Conv(Transpose_1, v)
Pad_2 = Pad(x, r)
Transpose_2 = Transpose(Pad_2)
three = Conv(Transpose_2, w)
-> one, two, three
`)
	if got := b.G.Nodes[1].Attrs.Ints("pads"); len(got) != 4 || got[0] != 2 || got[1] != 2 || got[2] != 3 || got[3] != 4 {
		t.Errorf("pads are %v", got)
	}
	if err := graph.InferTypes(b.G, b.Ops); err != nil || b.G.Outputs[0].Type.String() != before {
		t.Errorf("the result is %v, was %s: %v", b.G.Outputs[0].Type, before, err)
	}
}
