package pass_test

import (
	"testing"

	"tandem/graph"
	"tandem/graph/pass"
	"tandem/kernel"
	"tandem/tensor"
)

// TestTables: what bytes of one tensor become, through floats and other steps, is a table;
// bytes of two tensors are not, nor is what has a result for each of several elements.
func TestTables(t *testing.T) {
	p := kernel.NewPool(1, kernel.Detect())
	defer p.Close()
	q := qdq{newBuilder(t)}
	x := q.Input("x", tensor.Uint8, graph.Sym("n"), graph.Const(8))
	y := q.Input("y", tensor.Uint8, graph.Sym("n"), graph.Const(8))
	gate := q.quantize("gate", q.node("hard", "HardSigmoid", q.back(x, 0.25, 3)), 0.01, 4)
	a := q.quantize("a", q.node("swish", "Mul", q.back(x, 0.25, 3), q.back(gate, 0.01, 4)), 0.5, 4)
	b := q.quantize("b", q.node("sum", "Add", q.back(a, 0.5, 4), q.back(y, 0.5, 4)), 0.75, 5)
	c := q.quantize("c", q.node("soft", "Softmax", q.back(b, 0.75, 5)), 0.01, 5)
	q.Output(c)
	third := q.back(q.Const("third", tensor.Of([]uint8{9})), 0.5, 2) // a number as a static quantiser writes it
	q.Output(q.quantize("d", q.node("part", "Mul", q.back(x, 0.25, 3), third), 0.5, 4))
	check(t, q.G, pass.Tables(p), `
a = tandem.Lookup(x, a.table)
af = DequantizeLinear(a, s_5, z_5)
yf = DequantizeLinear(y, s_6, z_6)
sum = Add(af, yf)
b = QuantizeLinear(sum, s_7, z_7)
bf = DequantizeLinear(b, s_8, z_8)
soft = Softmax(bf)
c = QuantizeLinear(soft, s_9, z_9)
d = tandem.Lookup(x, d.table)
-> c, d
`)
}
