package pass_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/pass"
	"tandem/kernel"
	"tandem/tensor"
)

func (b builder) op(name, op string, attrs graph.Attrs, inputs ...*graph.Value) *graph.Value {
	b.t.Helper()
	v := b.Op(op, attrs, inputs...)
	v.Name = name
	if b.Err() != nil {
		b.t.Fatal(b.Err())
	}
	return v
}

// cut is elements lo to hi of the last of four dimensions.
func (b builder) cut(name string, x *graph.Value, lo, hi int64) *graph.Value {
	return b.node(name, "Slice", x, b.Ints("lo", lo), b.Ints("hi", hi), b.Ints("axis", 3), b.Ints("step", 1))
}

// rotated is (-x₂, x₁) of a head of 2·half elements.
func (b builder) rotated(name string, x *graph.Value, half int64) *graph.Value {
	return b.op(name, "Concat", graph.Attrs{"axis": int64(-1)}, b.node(name+"n", "Neg", b.cut(name+"h", x, half, 1<<40)), b.cut(name+"l", x, 0, half))
}

// angles are positions times frequencies, twice, and cosines and sines [batch,1,rows,2·half].
func (b builder) angles(half int) (f, cos, sin *graph.Value) {
	f = b.node("f", "Mul", b.Input("positions", tensor.Float32, graph.Sym("batch"), graph.Sym("length"), graph.Const(1)), b.floats("frequencies", half))
	ff := b.op("ff", "Concat", graph.Attrs{"axis": int64(-1)}, f, f)
	one := b.Ints("one", 1)
	cos = b.node("cos4", "Unsqueeze", b.node("cos1", "Mul", b.node("cos", "Cos", ff), b.scalar("factor", 1)), one)
	return f, cos, b.node("sin4", "Unsqueeze", b.node("sin", "Sin", ff), one)
}

// TestFuseRotary: the sum of products with repeated tables, a part of a head, halves one
// by one, constant tables; and tables that do not repeat themselves.
func TestFuseRotary(t *testing.T) {
	b := newBuilder(t)
	x := b.Input("x", tensor.Float32, graph.Sym("batch"), graph.Const(2), graph.Sym("length"), graph.Const(4))
	f, cos, sin := b.angles(2)
	y := b.node("y", "Add", b.node("p", "Mul", x, cos), b.node("q", "Mul", sin, b.rotated("r", x, 2)))
	b.Output(y)

	w := b.Input("w", tensor.Float32, graph.Sym("batch"), graph.Const(2), graph.Sym("length"), graph.Const(6))
	part := b.cut("part", w, 0, 4)
	turned := b.node("turned", "Add", b.node("p2", "Mul", b.rotated("r2", part, 2), sin), b.node("q2", "Mul", cos, part))
	b.Output(b.op("whole", "Concat", graph.Attrs{"axis": int64(3)}, turned, b.cut("rest", w, 4, 6)))

	one := b.Ints("one", 1)
	c, s := b.node("c", "Unsqueeze", b.node("cosf", "Cos", f), one), b.node("s", "Unsqueeze", b.node("sinf", "Sin", f), one)
	low, high := b.cut("low", x, 0, 2), b.cut("high", x, 2, 4)
	first := b.node("first", "Sub", b.node("m1", "Mul", low, c), b.node("m2", "Mul", high, s))
	second := b.node("second", "Add", b.node("m3", "Mul", low, s), b.node("m4", "Mul", high, c))
	b.Output(b.op("z", "Concat", graph.Attrs{"axis": int64(-1)}, first, second))
	b.Output(b.op("no", "Concat", graph.Attrs{"axis": int64(-1)}, second, first))

	whole := b.Input("table", tensor.Float32, graph.Sym("batch"), graph.Const(1), graph.Sym("length"), graph.Const(4))
	b.Output(b.node("other", "Add", b.node("p3", "Mul", x, whole), b.node("q3", "Mul", b.rotated("r3", x, 2), sin)))
	check(t, b.G, pass.FuseRotary(), `
f = Mul(positions, frequencies)
ff = Concat(f, f)
sin = Sin(ff)
sin4 = Unsqueeze(sin, one)
Cos = Cos(f)
Mul = Mul(Cos, factor)
Unsqueeze = Unsqueeze(Mul, one)
Sin = Sin(f)
Unsqueeze_1 = Unsqueeze(Sin, one)
Squeeze = Squeeze(Unsqueeze, head)
Squeeze_1 = Squeeze(Unsqueeze_1, head_1)
y = RotaryEmbedding(x, Squeeze, Squeeze_1)
whole = RotaryEmbedding(w, Squeeze, Squeeze_1)
cosf = Cos(f)
c = Unsqueeze(cosf, one_1)
sinf = Sin(f)
s = Unsqueeze(sinf, one_1)
low = Slice(x, lo_6, hi_6, axis_6, step_6)
high = Slice(x, lo_7, hi_7, axis_7, step_7)
m1 = Mul(low, c)
m2 = Mul(high, s)
first = Sub(m1, m2)
m3 = Mul(low, s)
m4 = Mul(high, c)
second = Add(m3, m4)
Squeeze_2 = Squeeze(c, head_2)
Squeeze_3 = Squeeze(s, head_3)
z = RotaryEmbedding(x, Squeeze_2, Squeeze_3)
no = Concat(second, first)
p3 = Mul(x, table)
r3h = Slice(x, lo_8, hi_8, axis_8, step_8)
r3n = Neg(r3h)
r3l = Slice(x, lo_9, hi_9, axis_9, step_9)
r3 = Concat(r3n, r3l)
q3 = Mul(r3, sin4)
other = Add(p3, q3)
-> y, whole, z, no, other
`)
	if n := b.G.Nodes[12]; n.Attrs.Int("rotary_embedding_dim", 0) != 4 {
		t.Errorf("%v turns %d elements of a head, want 4", n, n.Attrs.Int("rotary_embedding_dim", 0))
	}
}

// TestDecoderLayer: norms, norms of heads before and after the transposition, rotary
// positions by a constant table, shared heads written out: nothing is moved any more, and
// the results are the same.
func TestDecoderLayer(t *testing.T) {
	const rows, size, heads, shared = 5, 6, 4, 2
	r := rand.New(rand.NewPCG(1, 2))
	b := newBuilder(t)
	random := func(name string, shape ...int) *graph.Value {
		x := tensor.New(tensor.Float32, shape...)
		for i := range x.F32() {
			x.F32()[i] = float32(r.NormFloat64())
		}
		return b.Const(name, x)
	}
	norm := func(name string, x *graph.Value, n int) *graph.Value {
		mean := b.node(name+"m", "ReduceMean", b.node(name+"2", "Mul", x, x), b.Ints("last", -1))
		root := b.node(name+"r", "Sqrt", b.node(name+"e", "Add", mean, b.scalar("e", 1e-6)))
		return b.node(name, "Mul", b.node(name+"d", "Div", x, root), random(name+"w", n))
	}
	table := tensor.New(tensor.Float32, 1, 1, rows, size)
	for i := range table.F32() {
		table.F32()[i] = float32(i / size * (i%size%(size/2) + 1) % 7)
	}
	cos, sin := b.node("cos", "Cos", b.Const("table", table)), b.node("sin", "Sin", b.Const("table", table))
	x := b.Input("x", tensor.Float32, graph.Sym("batch"), graph.Const(rows), graph.Const(16))
	h := norm("h", x, 16)
	split := func(name string, n int64) *graph.Value {
		y := b.node(name+"p", "MatMul", h, random(name+"w", 16, int(n)*size))
		return b.node(name+"4", "Reshape", y, b.Ints("shape", 0, 0, n, size))
	}
	perm := []int64{0, 2, 1, 3}
	turn := func(name string, x *graph.Value) *graph.Value {
		return b.node(name+"t", "Add", b.node(name+"c", "Mul", x, cos), b.node(name+"s", "Mul", b.rotated(name+"o", x, size/2), sin))
	}
	repeat := func(name string, x *graph.Value) *graph.Value {
		y := b.node(name+"x", "Expand", b.node(name+"u", "Unsqueeze", x, b.Ints("two", 2)), b.Ints("shape", 1, shared, heads/shared, rows, size))
		return b.node(name+"y", "Reshape", y, b.Ints("shape", 0, heads, rows, size))
	}
	q := turn("q", norm("qn", b.transposed("qt", perm, split("q", heads)), size))
	k := repeat("k", turn("k", b.transposed("kt", perm, norm("kn", split("k", shared), size))))
	v := repeat("v", b.transposed("vt", perm, split("v", shared)))
	scores := b.node("scores", "MatMul", q, b.transposed("kT", []int64{0, 1, 3, 2}, k))
	y := b.node("y", "MatMul", b.node("weights", "Softmax", scores), v)
	b.Output(b.transposed("z", perm, y))

	in := tensor.New(tensor.Float32, 2, rows, 16)
	for i := range in.F32() {
		in.F32()[i] = float32(r.NormFloat64())
	}
	p := kernel.NewPool(1, kernel.Detect())
	defer p.Close()
	want := results(t, b.G, in, 1)[0].F32()
	passes := []graph.Pass{pass.Fold(p), pass.FuseRMSNorm(), pass.FuseRotary(), pass.RowsFirst(), pass.FuseAttention()}
	for i, got := range results(t, b.G, in, 1, passes...)[0].F32() {
		if math.Abs(float64(got-want[i])) > 2e-5 {
			t.Fatalf("element %d is %v, before %v", i, got, want[i])
		}
	}
	for _, one := range passes {
		if err := one.Run(b.G, op.Default()); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range b.G.Nodes {
		switch n.Op.Name {
		case "RMSNormalization", "RotaryEmbedding", "MatMul", "Reshape", "Attention":
		default:
			t.Errorf("%v is left", n)
		}
	}
}
