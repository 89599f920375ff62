package pass_test

import (
	"testing"

	"tandem/graph"
	"tandem/graph/pass"
	"tandem/kernel"
	"tandem/tensor"
)

// TestFuseRows: what rounds rows in steps of their own becomes one operator, for all
// products that read them; other steps stay.
func TestFuseRows(t *testing.T) {
	for _, opset := range []int{17, 21} {
		for _, other := range []bool{false, true} {
			b := newBuilder(t)
			b.G.Opset[""] = opset
			x := b.Input("x", tensor.Float32, graph.Sym("n"), graph.Const(4))
			q, step := pass.RowSteps(b.Builder, x)
			if other { // a step that is not that of the bytes
				step = b.node("twice", "Add", step, step)
			}
			w, scales := b.Const("w", tensor.New(tensor.Int8, 4, 6)), b.floats("scales", 1, 6)
			for _, name := range []string{"y", "z"} {
				sums := b.Op("Cast", graph.Attrs{"to": int64(tensor.Float32)}, b.Op("MatMulInteger", nil, q, w))
				b.Output(b.node(name, "Mul", sums, b.Op("MatMul", nil, step, scales)))
			}
			if err := pass.FuseIntegers().Run(b.G, b.Ops); err != nil {
				t.Fatal(err)
			}
			if other {
				for _, n := range b.G.Nodes {
					if n.Op.Name == "QuantizeRows" {
						t.Errorf("%v was made of other steps", n)
					}
				}
				continue
			}
			check(t, b.G, pass.Dead(), `
QuantizeRows, QuantizeRows_1 = tandem.QuantizeRows(x)
y = tandem.IntegerLinear(QuantizeRows, w, QuantizeRows_1, scales, center, -)
z = tandem.IntegerLinear(QuantizeRows, w, QuantizeRows_1, scales, center, -)
-> y, z
`)
		}
	}
}

// TestFewBits: products with blocks that allow bytes become projections, with bias and
// summand; others of four or eight bits become Linear; the rest stays.
func TestFewBits(t *testing.T) {
	b := newBuilder(t)
	x := b.Input("x", tensor.Float32, graph.Sym("n"), graph.Const(64))
	product := func(name string, accuracy, bits, block int) *graph.Value {
		scales := tensor.New(tensor.Float32, 16, 64/block)
		for i := range scales.F32() {
			scales.F32()[i] = 0.5
		}
		attrs := graph.Attrs{"K": int64(64), "N": int64(16), "bits": int64(bits), "block_size": int64(block), "accuracy_level": int64(accuracy)}
		y := b.Node(graph.OpID{Domain: "com.microsoft", Name: "MatMulNBits"}, 1, attrs, x,
			b.Const(name+"w", tensor.New(tensor.Uint8, 16, 64/block, block*bits/8)), b.Const(name+"s", scales))[0]
		y.Name = name
		return y
	}
	one := b.node("one", "Add", product("a", 4, 4, 32), b.floats("bias", 16))
	b.Output(b.node("two", "Add", product("b", 4, 8, 64), one))
	b.Output(product("c", 0, 4, 32))
	b.Output(b.node("d", "Relu", product("r", 4, 4, 16)))
	b.Output(product("e", 0, 8, 32))
	b.Output(product("f", 0, 2, 32))
	p := kernel.NewPool(1, kernel.Detect())
	t.Cleanup(p.Close)
	if err := pass.FewBits(p, nil).Run(b.G, b.Ops); err != nil {
		t.Fatal(err)
	}
	check(t, b.G, pass.FuseLinear(), `
one = tandem.Projection(x, -, -, aw.panels, bias)
two = tandem.Projection(x, -, one, bw.panels, -)
c = tandem.Linear(x, cw.cs.codes)
d = tandem.Linear{Relu}(x, rw.rs.codes)
e = tandem.Linear(x, ew.es.codes)
f = com.microsoft.MatMulNBits(x, fw, fs)
-> two, c, d, e, f
`)
}
