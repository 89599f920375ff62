package pass_test

import (
	"fmt"
	"strings"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/pass"
	"tandem/kernel"
	"tandem/tensor"
)

// text is a graph as lines: "y = Op{attribute}(x, w)", then outputs and state.
func text(g *graph.Graph) string {
	var s strings.Builder
	for _, n := range g.Nodes {
		attr := ""
		if a := n.Attrs.String("activation", ""); a != "" {
			attr = "{" + a + "}"
		}
		fmt.Fprintf(&s, "%s = %v%s(%s)\n", names(n.Outputs), n.Op, attr, names(n.Inputs))
	}
	fmt.Fprintf(&s, "-> %s\n", names(g.Outputs))
	return s.String()
}

func names(list []*graph.Value) string {
	parts := make([]string, len(list))
	for i, v := range list {
		parts[i] = "-"
		if v != nil {
			parts[i] = v.Name
		}
	}
	return strings.Join(parts, ", ")
}

// builder names values for the tests to read.
type builder struct {
	*graph.Builder
	t *testing.T
}

func newBuilder(t *testing.T) builder {
	return builder{graph.NewBuilder("g", op.Default()), t}
}

func (b builder) node(name, op string, inputs ...*graph.Value) *graph.Value {
	b.t.Helper()
	v := b.Op(op, nil, inputs...)
	v.Name = name
	if b.Err() != nil {
		b.t.Fatal(b.Err())
	}
	return v
}

func (b builder) floats(name string, shape ...int) *graph.Value {
	return b.Const(name, tensor.New(tensor.Float32, shape...))
}

func check(t *testing.T, g *graph.Graph, p graph.Pass, want string) {
	t.Helper()
	if err := p.Run(g, op.Default()); err != nil {
		t.Fatal(err)
	}
	if got := text(g); got != strings.TrimLeft(want, "\n") {
		t.Errorf("got\n%swant%s", got, want)
	}
}

func TestDead(t *testing.T) {
	b := newBuilder(t)
	x := b.Input("x", tensor.Float32, graph.Const(4))
	y := b.node("y", "Relu", x)
	b.node("unused2", "Neg", b.node("unused1", "Exp", y))
	b.Output(b.node("z", "Tanh", y))
	check(t, b.G, pass.Dead(), `
y = Relu(x)
z = Tanh(y)
-> z
`)
}

func TestViews(t *testing.T) {
	b := newBuilder(t)
	x := b.Input("x", tensor.Float32, graph.Sym("n"), graph.Const(4))
	d := b.node("d", "Dropout", b.node("i", "Identity", x))
	y := b.node("y", "Relu", b.node("same", "Flatten", d))
	b.Output(b.node("kept", "Identity", y))
	b.Output(b.node("row", "Reshape", y, b.Const("shape", tensor.Of([]int64{-1}, 1))))
	check(t, b.G, pass.Views(), `
y = Relu(x)
kept = Identity(y)
row = Reshape(y, shape)
-> kept, row
`)
}

func TestFuseActivation(t *testing.T) {
	b := newBuilder(t)
	x := b.Input("x", tensor.Float32, graph.Const(1), graph.Const(2), graph.Const(5), graph.Const(5))
	w := b.floats("w", 2, 2, 3, 3)
	a := b.node("a", "Relu", b.node("c1", "Conv", x, w))
	c2 := b.node("c2", "Conv", a, w) // read twice: must stay
	twice := b.node("twice", "Add", b.node("r2", "Relu", c2), c2)
	m := b.node("m", "Gemm", b.node("flat", "Flatten", twice), b.floats("v", 2, 3))
	b.Output(b.node("y", "Relu", m))
	b.Output(m) // an output: must stay
	check(t, b.G, pass.FuseActivation(), `
a = com.microsoft.FusedConv{Relu}(x, w)
c2 = Conv(a, w)
r2 = Relu(c2)
twice = Add(r2, c2)
flat = Flatten(twice)
m = Gemm(flat, v)
y = Relu(m)
-> y, m
`)
}

func TestPack(t *testing.T) {
	p := kernel.NewPool(1, kernel.Detect())
	defer p.Close()
	b := newBuilder(t)
	x := b.Input("x", tensor.Float32, graph.Const(3), graph.Const(3))
	w := b.floats("w", 3, 3)
	y := b.node("y", "Gemm", x, w)
	y = b.node("z", "Gemm", y, w)
	b.Output(b.node("u", "Gemm", y, x)) // not a constant
	b.G.Nodes[2].Attrs = graph.Attrs{"transB": int64(1)}
	check(t, b.G, pass.Pack(p, nil), `
y = Gemm(x, w.packed)
z = Gemm(y, w.packed)
u = Gemm(z, x)
-> u
`)
	first, second := b.G.Nodes[0].Inputs[1], b.G.Nodes[1].Inputs[1]
	if first != second {
		t.Error("the same weight is packed twice")
	}
	if c := first.Const; c.Encoding != graph.PanelB || !c.Shape.Equal(tensor.Shape{3, 3}) || len(c.Data) != 4*kernel.PackedLen(3, 3, p.ISA()) {
		t.Errorf("packed constant: %q %v, %d bytes", c.Encoding, c.Shape, len(c.Data))
	}
}

// TestPackRecurrent: both matrices of each direction, where the layer reads them so.
func TestPackRecurrent(t *testing.T) {
	p := kernel.NewPool(1, kernel.Detect())
	defer p.Close()
	b := newBuilder(t)
	x := b.Input("x", tensor.Float32, graph.Const(5), graph.Const(1), graph.Const(3))
	w, r := b.floats("w", 2, 8, 3), b.floats("r", 2, 8, 2)
	for _, clip := range []float32{0, 1} { // with clip there is no fused form
		a := graph.Attrs{"direction": "bidirectional", "clip": clip}
		b.Output(b.Node(graph.OpID{Name: "LSTM"}, 1, a, x, w, r)[0])
	}
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	if err := pass.Pack(p, nil).Run(b.G, b.Ops); err != nil {
		t.Fatal(err)
	}
	first, second := b.G.Nodes[0].Inputs, b.G.Nodes[1].Inputs
	if second[1] != w || second[2] != r {
		t.Error("weights of a plain layer are packed")
	}
	for i, k := range []int{3, 2} {
		if c := first[1+i].Const; c.Encoding != graph.PanelB || len(c.Data) != 2*4*kernel.PackedLen(k, 8, p.ISA()) {
			t.Errorf("input %d: %q, %d bytes", 1+i, c.Encoding, len(c.Data))
		}
	}
}

func TestUpdateEarly(t *testing.T) {
	b := newBuilder(t)
	x := b.Input("x", tensor.Float32, graph.Const(3))
	w := b.State("w", tensor.New(tensor.Float32, 3))
	v := b.State("v", tensor.New(tensor.Float32, 3))
	g := b.node("g", "Mul", x, w)
	h := b.node("h", "Mul", g, v)
	loss := b.node("loss", "Neg", h)
	b.SetNext(w, b.node("w'", "Add", w, g))
	b.SetNext(v, b.node("v'", "Sub", v, g))
	b.Output(loss)
	check(t, b.G, pass.UpdateEarly(), `
g = Mul(x, w)
w' = Add(w, g)
h = Mul(g, v)
v' = Sub(v, g)
loss = Neg(h)
-> loss
`)
}
