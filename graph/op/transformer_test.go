package op_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/pass"
	"tandem/tensor"
)

const encoderWidth = 32

// encoder is two layers of a transformer as exporters write them, on rows
// [batch, length, 32]; a last element below -1.5 hides a row from the others.
func encoder(t testing.TB) *graph.Graph {
	t.Helper()
	rng := rand.New(rand.NewPCG(7, 7))
	b := graph.NewBuilder("encoder", op.Default())
	x := b.Input("x", tensor.Float32, graph.Sym("batch"), graph.Sym("length"), graph.Const(encoderWidth))
	weight := func(shape ...int) *graph.Value {
		w := randomInput(rng, shape, 0)
		for i := range w.F32() {
			w.F32()[i] *= 0.2
		}
		return b.Const("w", w)
	}
	linear := func(x *graph.Value, k, n int) *graph.Value {
		return b.Op("Add", nil, b.Op("MatMul", nil, x, weight(k, n)), weight(n))
	}
	ints := func(v ...int64) *graph.Value { return b.Const("ints", tensor.Of(v, len(v))) }
	number := func(v float32) *graph.Value { return b.Const("number", tensor.Scalar(v)) }
	last := b.Op("Slice", nil, x, ints(encoderWidth-1), ints(encoderWidth), ints(2))
	seen := b.Op("GreaterOrEqual", nil, last, number(-1.5))
	mask := b.Op("Where", nil, b.Op("Transpose", attrs("perm", []int64{0, 3, 2, 1}), b.Op("Unsqueeze", nil, seen, ints(2))), number(0), number(-math.MaxFloat32))
	for range 2 {
		heads := func(perm ...int64) *graph.Value {
			return b.Op("Transpose", attrs("perm", perm), b.Op("Reshape", nil, linear(x, encoderWidth, encoderWidth), ints(0, 0, 4, 8)))
		}
		scores := b.Op("Div", nil, b.Op("MatMul", nil, heads(0, 2, 1, 3), heads(0, 2, 3, 1)), number(float32(math.Sqrt(8))))
		weights := b.Op("Softmax", attrs("axis", int64(-1)), b.Op("Add", nil, scores, mask))
		y := b.Op("Transpose", attrs("perm", []int64{0, 2, 1, 3}), b.Op("MatMul", nil, weights, heads(0, 2, 1, 3)))
		y = b.Op("Reshape", nil, y, ints(0, 0, encoderWidth))
		norm := func(x *graph.Value) *graph.Value {
			return b.Op("LayerNormalization", nil, x, weight(encoderWidth), weight(encoderWidth))
		}
		x = norm(b.Op("Add", nil, linear(y, encoderWidth, encoderWidth), x))
		h := b.Op("Gelu", nil, linear(x, encoderWidth, 40))
		x = norm(b.Op("Add", nil, linear(h, 40, encoderWidth), x))
	}
	b.Output(x)
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	return b.G
}

// TestEncoder: the passes find what they are made for and keep the numbers, and rows
// do not depend on their batch, nor on threads.
func TestEncoder(t *testing.T) {
	g := encoder(t)
	p := pool(t, 2)
	x := randomInput(rand.New(rand.NewPCG(8, 8)), []int{5, 19, encoderWidth}, 0)
	for i := range 19 {
		x.F32()[(2*19+i)*encoderWidth-1] = float32(-2 + i%2*3)
	}
	fused := session(t, g, p, 0, pass.Inference(p)...)
	want := run(t, fused, x)
	for i, v := range run(t, session(t, g, p, 0), x) {
		if math.Abs(float64(v-want[i])) > 1e-5 {
			t.Fatalf("element %d is %v with passes, %v without", i, want[i], v)
		}
	}
	ops := map[string]int{}
	for _, n := range fused.Program().Graph().Nodes {
		ops[n.Op.String()]++
	}
	if ops["tandem.Attention"] != 2 || ops["tandem.Linear"] != 8 || ops["MatMul"]+ops["Gelu"]+ops["Softmax"] != 0 {
		t.Errorf("operators after the passes: %v", ops)
	}
	apart := slices.DeleteFunc(pass.Inference(p), func(p graph.Pass) bool { return p.Name == "join-products" })
	if got := run(t, session(t, g, p, 0, apart...), x); !slices.Equal(got, want) {
		t.Error("queries, keys and values of one product differ from those of three")
	}
	for _, threads := range []int{1, 2, 3} {
		p := pool(t, threads)
		s := session(t, g, p, 0, pass.Inference(p)...)
		for lo := range 5 {
			if got := run(t, s, x.Rows(lo, lo+1)); !slices.Equal(got, want[lo*19*encoderWidth:][:len(got)]) {
				t.Errorf("%d threads: row %d alone differs from what it is in a batch", threads, lo)
			}
		}
	}
}
