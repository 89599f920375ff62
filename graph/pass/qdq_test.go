package pass_test

import (
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/pass"
	"tandem/tensor"
)

// qdq builds what a static quantiser writes.
type qdq struct{ builder }

func (q qdq) scale(v float32) *graph.Value { return q.Const("s", tensor.Of([]float32{v})) }

func (q qdq) quantize(name string, x *graph.Value, s float32, zero uint8) *graph.Value {
	return q.node(name, "QuantizeLinear", x, q.scale(s), q.Const("z", tensor.Of([]uint8{zero})))
}

func (q qdq) back(x *graph.Value, s float32, zero uint8) *graph.Value {
	return q.node(x.Name+"f", "DequantizeLinear", x, q.scale(s), q.Const("z", tensor.Of([]uint8{zero})))
}

// weights are centred, with a scale for each channel.
func (q qdq) weights(name string, shape ...int) *graph.Value {
	s := tensor.New(tensor.Float32, shape[0])
	for i := range s.F32() {
		s.F32()[i] = 0.5
	}
	w := q.Op("DequantizeLinear", graph.Attrs{"axis": int64(0)}, q.Const(name, tensor.New(tensor.Int8, shape...)), q.Const(name+"s", s), q.Const(name+"z", tensor.New(tensor.Int8, shape[0])))
	w.Name = name + "f"
	return w
}

// TestIntegers: convolutions, products, sums and what moves elements become operators on
// bytes; a bias in other steps, other steps before and after, and what is read twice stay.
func TestIntegers(t *testing.T) {
	q := qdq{newBuilder(t)}
	x := q.Input("x", tensor.Float32, graph.Sym("n"), graph.Const(8), graph.Const(4), graph.Const(4))
	a := q.quantize("a", x, 0.25, 3)
	bias := q.node("biasf", "DequantizeLinear", q.Const("bias", tensor.New(tensor.Int32, 8)), q.scale(0.125))
	other := q.node("otherf", "DequantizeLinear", q.Const("other", tensor.New(tensor.Int32, 8)), q.scale(0.5))
	c := q.quantize("c", q.node("conv", "Conv", q.back(a, 0.25, 3), q.weights("w", 8, 8, 1, 1), bias), 0.5, 4)
	d := q.quantize("d", q.node("conv2", "Conv", q.back(a, 0.25, 3), q.weights("v", 8, 8, 1, 1), other), 0.5, 4)
	s := q.quantize("s", q.node("sum", "Add", q.back(c, 0.5, 4), q.back(d, 0.5, 4)), 0.75, 5)
	f := q.quantize("f", q.node("flat", "Flatten", q.back(s, 0.75, 5)), 0.75, 5)
	g := q.quantize("g", q.node("again", "Flatten", q.back(f, 0.75, 5)), 0.7, 5)
	q.Output(g)
	check(t, q.G, pass.Integers(), `
a = QuantizeLinear(x, s, z)
biasf = DequantizeLinear(bias, s_1)
otherf = DequantizeLinear(other, s_2)
af = DequantizeLinear(a, s_3, z_1)
wf = DequantizeLinear(w, ws, wz)
conv = Conv(af, wf, biasf)
c = QLinearConv(a, s_3, z_1, w, ws, wz, s_4, z_2, bias)
af = DequantizeLinear(a, s_5, z_3)
vf = DequantizeLinear(v, vs, vz)
conv2 = Conv(af, vf, otherf)
d = QuantizeLinear(conv2, s_6, z_4)
cf = DequantizeLinear(c, s_7, z_5)
df = DequantizeLinear(d, s_8, z_6)
sum = Add(cf, df)
s = com.microsoft.QLinearAdd(c, s_7, z_5, d, s_8, z_6, s_9, z_7)
sf = DequantizeLinear(s, s_10, z_8)
flat = Flatten(sf)
f = Flatten(s)
ff = DequantizeLinear(f, s_12, z_10)
again = Flatten(ff)
g = QuantizeLinear(again, s_13, z_11)
-> g
`)
}

// TestIntegersRepeat: rows that belong to several are added as bytes, a column is not.
func TestIntegersRepeat(t *testing.T) {
	q := qdq{newBuilder(t)}
	x := q.Input("x", tensor.Uint8, graph.Sym("n"), graph.Const(4), graph.Const(3), graph.Const(16))
	m := q.Input("m", tensor.Uint8, graph.Sym("n"), graph.Const(1), graph.Const(3), graph.Const(16))
	bias, column := q.Const("bias", tensor.New(tensor.Uint8, 16)), q.Const("column", tensor.New(tensor.Uint8, 3, 1))
	a := q.quantize("a", q.node("sum", "Add", q.back(bias, 0.5, 4), q.back(x, 0.5, 4)), 0.75, 5)
	b := q.quantize("b", q.node("masked", "Add", q.back(a, 0.75, 5), q.back(m, 0.5, 4)), 0.75, 5)
	q.Output(q.quantize("c", q.node("more", "Add", q.back(b, 0.75, 5), q.back(column, 0.5, 4)), 0.75, 5))
	if err := pass.Integers().Run(q.G, op.Default()); err != nil {
		t.Fatal(err)
	}
	check(t, q.G, pass.Dead(), `
a = com.microsoft.QLinearAdd(bias, s, z, x, s_1, z_1, s_2, z_2)
b = com.microsoft.QLinearAdd(a, s_3, z_3, m, s_4, z_4, s_5, z_5)
bf = DequantizeLinear(b, s_6, z_6)
columnf = DequantizeLinear(column, s_7, z_7)
more = Add(bf, columnf)
c = QuantizeLinear(more, s_8, z_8)
-> c
`)
}

// TestByteRows: the softmax of rows and what is gathered from constants stay bytes.
func TestByteRows(t *testing.T) {
	q := qdq{newBuilder(t)}
	x := q.Input("x", tensor.Uint8, graph.Sym("n"), graph.Const(16))
	i := q.Input("i", tensor.Int64, graph.Sym("n"))
	q.Output(q.quantize("soft", q.node("a", "Softmax", q.back(x, 0.5, 4)), 0.01, 5))
	column := q.Op("Softmax", graph.Attrs{"axis": int64(0)}, q.back(x, 0.5, 4))
	column.Name = "b"
	q.Output(q.quantize("columns", column, 0.01, 5))
	q.Output(q.node("rows", "Gather", q.back(q.Const("w", tensor.New(tensor.Uint8, 9, 4)), 0.5, 4), i))
	if err := pass.Integers().Run(q.G, op.Default()); err != nil {
		t.Fatal(err)
	}
	check(t, q.G, pass.Dead(), `
soft = tandem.SoftmaxBytes(x, s, z, s_1, z_1)
xf = DequantizeLinear(x, s_2, z_2)
b = Softmax(xf)
columns = QuantizeLinear(b, s_3, z_3)
Gather = Gather(w, i)
rows = DequantizeLinear(Gather, s_4, z_4)
-> soft, columns, rows
`)
}

// TestFuseByteProducts: a product takes in a row of constants, and then a table; a row that
// is not constant stays, as does what is added in other steps.
func TestFuseByteProducts(t *testing.T) {
	q := qdq{newBuilder(t)}
	s, s2, z := q.scale(0.5), q.scale(0.25), q.Const("z", tensor.Of([]uint8{3}))
	x := q.Input("x", tensor.Uint8, graph.Sym("n"), graph.Const(8))
	w, row, free := q.Const("w", tensor.New(tensor.Uint8, 8, 8)), q.Const("row", tensor.New(tensor.Uint8, 8)), q.Input("free", tensor.Uint8, graph.Const(8))
	table := q.Const("t", tensor.New(tensor.Uint8, 256))
	product := func(x *graph.Value) *graph.Value { return q.Op("QLinearMatMul", nil, x, s, z, w, s, z, s, z) }
	add := func(name string, in ...*graph.Value) *graph.Value {
		v := q.Node(graph.OpID{Domain: "com.microsoft", Name: "QLinearAdd"}, 1, nil, append(in, s2, z)...)[0]
		v.Name = name
		return v
	}
	lookup := func(name string, x *graph.Value) *graph.Value {
		v := q.Private("Lookup", nil, x, table)
		v.Name = name
		return v
	}
	a := lookup("a", add("sum", row, s2, z, product(x), s, z))
	b := lookup("b", product(a))
	c := add("c", product(b), s2, z, row, s, z)
	q.Output(add("d", product(c), s, z, free, s, z))
	check(t, q.G, pass.FuseByteProducts(), `
a = tandem.QLinearMatMul(x, s, z, w, s, z, s, z, t, row, s_1, z, s_1, z)
b = tandem.QLinearMatMul(a, s, z, w, s, z, s, z, t)
QLinearMatMul_2 = QLinearMatMul(b, s, z, w, s, z, s, z)
c = com.microsoft.QLinearAdd(QLinearMatMul_2, s_1, z, row, s, z, s_1, z)
QLinearMatMul_3 = QLinearMatMul(c, s, z, w, s, z, s, z)
d = com.microsoft.QLinearAdd(QLinearMatMul_3, s, z, free, s, z, s_1, z)
-> d
`)
}
