package precision_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/op/optest"
	"tandem/graph/pass"
	"tandem/graph/precision"
	"tandem/kernel"
	"tandem/tensor"
)

func random(r *rand.Rand, scale float64, shape ...int) *tensor.Tensor {
	t := tensor.New(tensor.Float32, shape...)
	for i := range t.F32() {
		t.F32()[i] = float32(r.NormFloat64() * scale)
	}
	return t
}

// network has the layers that are rounded: a table, products in the forms of both
// operators with what follows them, and one of whose sizes no block of 32 is a part.
func network(t *testing.T, opset int) *graph.Graph {
	t.Helper()
	r := rand.New(rand.NewPCG(7, 1))
	b := graph.NewBuilder("g", op.Default())
	b.G.Opset[""] = opset
	ids := b.Input("ids", tensor.Int64, graph.Sym("batch"), graph.Const(5))
	x := b.Op("Gather", nil, b.Const("table", random(r, 1, 80, 64)), ids)
	h := b.Op("Relu", nil, b.Op("Add", nil, b.Op("MatMul", nil, x, b.Const("w1", random(r, 0.1, 64, 96))), b.Const("b1", random(r, 1, 96))))
	h = b.Op("Add", nil, b.Op("MatMul", nil, h, b.Const("w2", random(r, 0.1, 96, 64))), x)
	odd := b.Op("MatMul", nil, b.Op("Slice", nil, h, ints(b, 0), ints(b, 50), ints(b, 2)), b.Const("w3", random(r, 0.1, 50, 90)))
	flat := b.Op("Reshape", nil, h, ints(b, -1, 64))
	gemm := b.Op("Gemm", graph.Attrs{"transB": int64(1), "alpha": float32(0.5)}, flat, b.Const("w4", random(r, 0.1, 70, 64)), b.Const("b4", random(r, 1, 70)))
	b.Output(odd)
	b.Output(gemm)
	b.Output(b.Op("Softmax", nil, b.Op("MatMul", nil, h, b.Const("small", random(r, 0.1, 64, 3)))))
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	return b.G
}

func ints(b *graph.Builder, v ...int64) *graph.Value { return b.Const("ints", tensor.Of(v, len(v))) }

func run(t *testing.T, g *graph.Graph, p *kernel.Pool, in []*tensor.Tensor, passes ...graph.Pass) []*tensor.Tensor {
	t.Helper()
	return optest.Outputs(t, g, graph.Options{Pool: p, Passes: passes}, in...)
}

func ids(r *rand.Rand, batch int) *tensor.Tensor {
	t := tensor.New(tensor.Int64, batch, 5)
	for i := range tensor.Data[int64](t) {
		tensor.Data[int64](t)[i] = int64(r.IntN(80))
	}
	return t
}

func rounded(t *testing.T, g *graph.Graph, p *kernel.Pool, f precision.Form, keep func(string) bool) *graph.Graph {
	t.Helper()
	program, err := graph.Compile(g, graph.Options{Ops: op.Default(), Pool: p, Passes: []graph.Pass{
		pass.Fold(p), precision.Pass(f, precision.Options{Pool: p, Keep: keep}), pass.Dead(),
	}})
	if err != nil {
		t.Fatal(err)
	}
	return program.Graph()
}

// distance is ‖a-b‖ over ‖a‖.
func distance(a, b *tensor.Tensor) float64 {
	var d, n float64
	for i, v := range a.F32() {
		d += math.Pow(float64(v-b.F32()[i]), 2)
		n += math.Pow(float64(v), 2)
	}
	return math.Sqrt(d / n)
}

// TestFormsAreNear: each form is near to the floats, by as much as its bits allow and no
// nearer than rounding can be; int8 as it is written has the bits of the kernels that
// passes make of it, on every tier, with any threads, for a row alone and among others.
func TestFormsAreNear(t *testing.T) {
	limits := map[precision.Form]float64{precision.BF16: 0.008, precision.Int8: 0.012, precision.Int8Weights: 0.012, precision.Int4Weights: 0.12}
	for _, opset := range []int{17, 21} {
		g := network(t, opset)
		in := ids(rand.New(rand.NewPCG(8, 1)), 6)
		for isa := kernel.Generic; isa <= kernel.Detect(); isa++ {
			p := kernel.NewPool(2, isa)
			t.Cleanup(p.Close)
			want := run(t, g, p, []*tensor.Tensor{in})
			for _, f := range precision.Forms() {
				q := rounded(t, g, p, f, nil)
				plain, fast := run(t, q, p, []*tensor.Tensor{in}), run(t, q, p, []*tensor.Tensor{in}, pass.Inference(p)...)
				alone := run(t, q, p, []*tensor.Tensor{tensor.Of(tensor.Data[int64](in)[5:10], 1, 5)}, pass.Inference(p)...)
				for i, w := range want {
					if d := distance(w, fast[i]); d > limits[f] || d < 1e-5 && i < 2 {
						t.Errorf("%v %v opset %d: output %d is %.4f away", isa, f, opset, i, d)
					}
					if f == precision.Int8 && !slices.Equal(plain[i].F32(), fast[i].F32()) {
						t.Errorf("%v opset %d: output %d of int8 joined has other bits", isa, opset, i)
					}
					n := alone[i].Len()
					if !slices.Equal(fast[i].F32()[n:2*n], alone[i].F32()) {
						t.Errorf("%v %v: rows of output %d alone have other bits", isa, f, i)
					}
				}
			}
		}
	}
}

// pictures has the convolutions that differ in bfloat16: one that is filtered, ones that are
// not, one of groups, and small ones.
func pictures(t *testing.T) *graph.Graph {
	t.Helper()
	r := rand.New(rand.NewPCG(7, 2))
	b := graph.NewBuilder("g", op.Default())
	conv := func(name string, x *graph.Value, out, in, size, stride, group int) *graph.Value {
		pad := int64(size / 2)
		attrs := graph.Attrs{"pads": []int64{pad, pad, pad, pad}, "strides": []int64{int64(stride), int64(stride)}, "group": int64(group)}
		return b.Op("Conv", attrs, x, b.Const(name, random(r, 0.08, out, in/group, size, size)), b.Const(name+".b", random(r, 0.3, out)))
	}
	x := b.Input("x", tensor.Float32, graph.Sym("batch"), graph.Const(32), graph.Const(20), graph.Const(20))
	h := b.Op("Relu", nil, conv("filtered", x, 32, 32, 3, 1, 1))
	h = b.Op("Relu", nil, b.Op("Add", nil, conv("point", b.Op("Relu", nil, conv("wide", h, 128, 32, 1, 1, 1)), 32, 128, 1, 1, 1), h))
	h = b.Op("Relu", nil, conv("strided", h, 96, 32, 3, 2, 1))
	h = b.Op("Relu", nil, conv("groups", h, 96, 96, 3, 1, 2))
	h = b.Op("Relu", nil, conv("small", h, 7, 96, 1, 1, 1))
	b.Output(conv("odd", h, 80, 7, 3, 1, 1))
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	return b.G
}

// TestConvolutionsOfBFloat16: which convolutions are rounded, and whether with what they
// read; what comes out is near the floats, with the same bits for an image alone.
func TestConvolutionsOfBFloat16(t *testing.T) {
	g := pictures(t)
	in := random(rand.New(rand.NewPCG(8, 2)), 1, 3, 32, 20, 20)
	for isa := kernel.Generic; isa <= kernel.Detect(); isa++ {
		p := kernel.NewPool(2, isa)
		t.Cleanup(p.Close)
		q := rounded(t, g, p, precision.BF16, nil)
		have := ""
		for _, n := range q.Nodes {
			if n.Op.Name != "Conv" {
				continue
			}
			name := n.Inputs[1].Name
			for i, what := range []string{"x", "w"} {
				if from := n.Inputs[i].Def; from != nil && from.Op.Name == "Cast" {
					have += what
					name = from.Inputs[0].Name
				}
			}
			have += "(" + name + ") "
		}
		if want := "w(filtered.bf16) xw(wide.bf16) xw(point.bf16) xw(strided.bf16) (groups) (small) (odd) "; have != want {
			t.Fatalf("%v: rounded are %s, want %s", isa, have, want)
		}
		want, fast := run(t, g, p, []*tensor.Tensor{in})[0], run(t, q, p, []*tensor.Tensor{in}, pass.Inference(p)...)[0]
		if d := distance(want, fast); d > 0.008 || d < 1e-4 {
			t.Errorf("%v: %.4f from the floats", isa, d)
		}
		size, out := in.Len()/3, fast.Len()/3
		alone := run(t, q, p, []*tensor.Tensor{tensor.Of(in.F32()[size:2*size], 1, 32, 20, 20)}, pass.Inference(p)...)[0]
		if !slices.Equal(alone.F32(), fast.F32()[out:2*out]) {
			t.Errorf("%v: an image alone has other bits", isa)
		}
	}
}

// TestKeep: layers are named, small ones are none, and those to keep stay.
func TestKeep(t *testing.T) {
	g := network(t, 21)
	p := kernel.NewPool(1, kernel.Detect())
	t.Cleanup(p.Close)
	count := func(q *graph.Graph, name string) (n int) {
		for _, m := range q.Nodes {
			if m.Op.Name == name {
				n++
			}
		}
		return n
	}
	layers := precision.Layers(g)
	if len(layers) != 5 {
		t.Fatalf("%d layers", len(layers))
	}
	all := rounded(t, g, p, precision.Int8, nil)
	if n := count(all, "MatMulInteger"); n != 4 {
		t.Errorf("%d products of bytes", n)
	}
	if n := count(all, "ReduceMax"); n != 4 {
		t.Errorf("rows are rounded %d times", n)
	}
	kept := rounded(t, g, p, precision.Int8, func(name string) bool { return name == layers[1].Name() || name == layers[0].Name() })
	if n := count(kept, "MatMulInteger"); n != 3 || kept.Nodes[0].Op.Name != "Gather" || kept.Nodes[0].Inputs[0].Name != "table" {
		t.Errorf("%d products of bytes, and then %v", n, kept.Nodes[0])
	}
	if n := count(rounded(t, g, p, precision.Int4Weights, nil), "MatMulNBits"); n != 3 {
		t.Errorf("%d products with blocks", n)
	}
}

// TestParse: names in any case.
func TestParse(t *testing.T) {
	if f, err := precision.Parse("INT8"); f != precision.Int8 || err != nil {
		t.Error(f, err)
	}
	for _, name := range []string{"bf8", "int2", ""} {
		if f, err := precision.Parse(name); err == nil {
			t.Errorf("%q is %q", name, f)
		}
	}
}
