package pass_test

import (
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/pass"
	"tandem/kernel"
	"tandem/tensor"
)

func foldPass(t *testing.T) graph.Pass {
	p := kernel.NewPool(1, kernel.Detect())
	t.Cleanup(p.Close)
	return pass.Fold(p)
}

// TestFold: what depends on constants alone becomes one, and what the batch decides stays.
func TestFold(t *testing.T) {
	b := newBuilder(t)
	x := b.Input("x", tensor.Float32, graph.Sym("n"), graph.Const(2))
	w := b.Const("w", tensor.Of([]float32{1, 2, 3, 4}, 2, 2))
	turned := b.node("turned", "Transpose", w)
	twice := b.node("twice", "Add", turned, turned)
	shape := b.node("shape", "Shape", x)
	width := b.node("width", "Gather", shape, b.Const("one", tensor.Scalar(int64(1))))
	rows := b.node("rows", "Gather", shape, b.Const("zero", tensor.Scalar(int64(0))))
	b.Output(b.node("y", "MatMul", x, twice))
	b.Output(b.node("z", "Add", width, rows))
	check(t, b.G, foldPass(t), `
shape = Shape(x)
rows = Gather(shape, zero)
y = MatMul(x, twice)
z = Add(width, rows)
-> y, z
`)
	got, err := b.G.Nodes[2].Inputs[1].Const.Tensor()
	if err != nil || len(got.F32()) != 4 || got.F32()[1] != 6 {
		t.Errorf("twice is %v (%v)", got, err)
	}
	if c := b.G.Nodes[3].Inputs[0].Const; c == nil || len(c.Data) != 8 || c.Data[0] != 2 {
		t.Errorf("width is %v", c)
	}
}

// TestFoldKnowsItsLimits: nothing large is made of something small, whether by one node
// or by many; random numbers stay random.
func TestFoldKnowsItsLimits(t *testing.T) {
	b := newBuilder(t)
	huge := b.Const("huge", tensor.Of([]int64{1 << 20, 1 << 10}, 2))
	b.Output(b.node("filled", "ConstantOfShape", huge))
	b.Output(b.node("spread", "Expand", b.floats("f", 1), huge))
	b.Output(b.Op("RandomNormal", graph.Attrs{"shape": []int64{2}}))
	b.G.Nodes[2].Outputs[0].Name = "random"
	v := b.floats("v", 1<<10)
	for range 40 {
		v = b.Op("Concat", graph.Attrs{"axis": int64(0)}, v, v)
	}
	b.Output(v)
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	if err := foldPass(t).Run(b.G, op.Default()); err != nil {
		t.Fatal(err)
	}
	bytes := 0
	for _, v := range b.G.Constants() {
		bytes += len(v.Const.Data)
	}
	if bytes > 32<<20 {
		t.Errorf("constants take %d MiB", bytes>>20)
	}
	left := map[string]bool{}
	for _, n := range b.G.Nodes {
		left[n.Op.Name] = true
	}
	for _, name := range []string{"ConstantOfShape", "Expand", "RandomNormal", "Concat"} {
		if !left[name] {
			t.Errorf("%s was folded", name)
		}
	}
	if n := len(b.G.Nodes); n > 40 {
		t.Errorf("%d nodes are left: small results are folded", n)
	}
}

// TestFoldGoesOn: a folded shape tells the size of what is reshaped, which is then a
// number as well. Exporters write the scale of attention so.
func TestFoldGoesOn(t *testing.T) {
	b := newBuilder(t)
	x := b.Input("x", tensor.Float32, graph.Sym("n"))
	cast := func(name string, to int, x *graph.Value) *graph.Value {
		v := b.Op("Cast", graph.Attrs{"to": int64(to)}, x)
		v.Name = name
		return v
	}
	sizes := cast("sizes", 7, b.Const("floats", tensor.Of([]float32{-1, 4}, 2)))
	rows := b.node("rows", "Reshape", x, sizes)
	width := b.node("width", "Gather", b.node("shape", "Shape", rows), b.Const("one", tensor.Scalar(int64(1))))
	b.Output(b.node("y", "Div", rows, b.node("root", "Sqrt", cast("scale", 1, width))))
	check(t, b.G, foldPass(t), `
rows = Reshape(x, sizes)
shape = Shape(rows)
y = Div(rows, root)
-> y
`)
	if got, err := b.G.Nodes[2].Inputs[1].Const.Tensor(); err != nil || got.F32()[0] != 2 {
		t.Errorf("root is %v (%v)", got, err)
	}
}

// TestFoldInsideBodies: a branch that is known takes the place of its node, and what is
// constant outside is so inside.
func TestFoldInsideBodies(t *testing.T) {
	b := newBuilder(t)
	on, x := b.Input("on", tensor.Bool), b.Input("x", tensor.Float32, graph.Const(2))
	k := b.node("k", "Neg", b.Const("c", tensor.Of([]float32{1, 2}, 2)))
	branch := func(op string) *graph.Graph {
		inner := graph.NewBuilder("", b.Ops)
		k2 := inner.Op("Abs", nil, k)
		inner.Output(inner.Op(op, nil, x, k2))
		inner.G.Opset = nil // that of the graph around
		return inner.G
	}
	known := b.Op("If", graph.Attrs{"then_branch": branch("Add"), "else_branch": branch("Sub")}, b.Const("yes", tensor.Scalar(true)))
	known.Name = "known"
	open := b.Op("If", graph.Attrs{"then_branch": branch("Mul"), "else_branch": branch("Div")}, on)
	open.Name = "open"
	b.Output(known)
	b.Output(open)
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	check(t, b.G, foldPass(t), `
Add = Add(x, Abs)
known = Identity(Add)
open = If(on)
-> known, open
`)
	for _, body := range b.G.Nodes[2].Bodies() {
		if n := body.Graph.Nodes; len(n) != 1 || n[0].Inputs[1].Const == nil {
			t.Errorf("%s has the nodes %v", body.Attr, n)
		}
	}
}
