package pass_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"tandem/graph"
	"tandem/graph/pass"
	"tandem/tensor"
)

// randomly fills a tensor.
func randomly(r *rand.Rand, shape ...int) *tensor.Tensor {
	t := tensor.New(tensor.Float32, shape...)
	for i := range t.F32() {
		t.F32()[i] = float32(r.NormFloat64())
	}
	return t
}

// equalAfter runs a graph without passes and with them: the results are close.
func equalAfter(t *testing.T, g *graph.Graph, x *tensor.Tensor, passes ...graph.Pass) {
	t.Helper()
	before, after := runOn(t, g, nil, x), runOn(t, g, passes, x)
	for i := range before {
		for j, v := range before[i].F32() {
			if math.Abs(float64(v-after[i].F32()[j])) > 1e-5 {
				t.Fatalf("element %d of output %d was %v, is %v", j, i, v, after[i].F32()[j])
			}
		}
	}
}

// TestSplitStacks: attention by products of [batch·heads, …] becomes one of stacks.
func TestSplitStacks(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	b := newBuilder(t)
	batch := graph.Sym("batch")
	x := b.Input("x", tensor.Float32, batch, graph.Const(6), graph.Const(8))
	reshape := func(v *graph.Value, shape ...int64) *graph.Value {
		return b.Op("Reshape", nil, v, b.Const("s", tensor.Of(shape, len(shape))))
	}
	turn := func(v *graph.Value, perm ...int64) *graph.Value {
		return b.Op("Transpose", graph.Attrs{"perm": perm}, v)
	}
	heads := func() *graph.Value {
		return reshape(b.Op("MatMul", nil, x, b.Const("w", randomly(r, 8, 8))), -1, 6, 2, 4)
	}
	q := reshape(turn(heads(), 0, 2, 1, 3), -1, 6, 4)
	k := turn(reshape(turn(heads(), 0, 2, 1, 3), -1, 6, 4), 0, 2, 1)
	v := reshape(turn(heads(), 0, 2, 1, 3), -1, 6, 4)
	scores := reshape(b.Op("MatMul", nil, q, k), -1, 2, 6, 6)
	weights := reshape(b.Op("Softmax", nil, scores), -1, 6, 6)
	y := reshape(b.Op("MatMul", nil, weights, v), -1, 2, 6, 4)
	b.Output(reshape(turn(y, 0, 2, 1, 3), -1, 6, 8))
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	equalAfter(t, b.G, randomly(r, 3, 6, 8), pass.Evaluation()...)
	for _, p := range []graph.Pass{pass.SplitStacks(), pass.FuseAttention()} {
		if err := p.Run(b.G, b.Ops); err != nil {
			t.Fatal(err)
		}
	}
	if got := text(b.G); !strings.Contains(got, "tandem.Attention(") || strings.Contains(got, "Softmax") {
		t.Errorf("there is no attention:\n%s", got)
	}
}

func TestFuseLayerNorm(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, broken := range []bool{false, true} {
		b := newBuilder(t)
		x := b.Input("x", tensor.Float32, graph.Sym("batch"), graph.Const(5), graph.Const(7))
		mean := b.Op("GlobalAveragePool", nil, x)
		d := b.Op("Sub", nil, x, mean)
		variance := b.Op("GlobalAveragePool", nil, b.Op("Mul", nil, d, d))
		inverse := b.Op("Reciprocal", nil, b.Op("Sqrt", nil, b.Op("Add", nil, variance, b.Const("e", tensor.Scalar(float32(1e-3))))))
		s := b.Op("Mul", nil, inverse, b.Const("gamma", randomly(r, 1, 1, 7)))
		shifted := mean
		if broken { // not the mean
			shifted = variance
		}
		shift := b.Op("Add", nil, b.Op("Mul", nil, b.Op("Neg", nil, shifted), s), b.Const("beta", randomly(r, 1, 1, 7)))
		b.Output(b.Op("Add", nil, b.Op("Mul", nil, x, s), shift))
		if b.Err() != nil {
			t.Fatal(b.Err())
		}
		equalAfter(t, b.G, randomly(r, 2, 5, 7), pass.FuseLayerNorm())
		if err := pass.FuseLayerNorm().Run(b.G, b.Ops); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(text(b.G), "LayerNormalization(x, gamma, beta)"); got == broken {
			t.Errorf("broken: %v; the graph is\n%s", broken, text(b.G))
		}
	}
}
