package op_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/pass"
	"tandem/kernel"
	"tandem/tensor"
)

// TestBFloat16LinearEqualsLinear: joined to products of bfloat16, or multiplied as the
// floats that they are: one set of bits, but where the processor adds products in pairs.
func TestBFloat16LinearEqualsLinear(t *testing.T) {
	r := rand.New(rand.NewPCG(16, 20))
	const k, n = 70, 90
	halves := func(shape ...int) *tensor.Tensor {
		w := tensor.New(tensor.BFloat16, shape...)
		for i := range tensor.Data[uint16](w) {
			tensor.Data[uint16](w)[i] = tensor.BFloat16Bits(r.Float32() - 0.5)
		}
		return w
	}
	b := graph.NewBuilder("g", op.Default())
	x := b.Input("x", tensor.Float32, graph.Sym("batch"), graph.Const(3), graph.Const(k))
	cast := func(to tensor.DType, v *graph.Value) *graph.Value {
		return b.Op("Cast", graph.Attrs{"to": int64(to)}, v)
	}
	rounded := func(v *graph.Value) *graph.Value { return cast(tensor.Float32, cast(tensor.BFloat16, v)) }
	y := b.Op("MatMul", nil, rounded(x), cast(tensor.Float32, b.Const("w", halves(k, n))))
	y = b.Op("Tanh", nil, b.Op("Add", nil, y, b.Const("bias", randomFloats(r, 1, n))))
	flat := b.Op("Reshape", nil, y, b.Const("shape", tensor.Of([]int64{-1, n}, 2)))
	b.Output(b.Op("Gemm", graph.Attrs{"transB": int64(1)}, rounded(flat), cast(tensor.Float32, b.Const("v", halves(k, n))), b.Const("c", randomFloats(r, 1, k))))
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	in := []*tensor.Tensor{randomFloats(r, 1, 5, 3, k)}
	var names []string
	for isa := kernel.Generic; isa <= kernel.Detect(); isa++ {
		p := kernel.NewPool(2, isa)
		t.Cleanup(p.Close)
		joined := pass.Inference(p)
		parts := slices.DeleteFunc(slices.Clone(joined), func(p graph.Pass) bool { return p.Name == "fuse-bfloat16" })
		program, err := graph.Compile(b.G, graph.Options{Ops: op.Default(), Pool: p, Passes: joined})
		if err != nil {
			t.Fatal(err)
		}
		names = nil
		for _, n := range program.Graph().Nodes {
			names = append(names, n.Op.Name)
		}
		if want := []string{"BFloat16Linear", "Reshape", "BFloat16Linear"}; !slices.Equal(names, want) {
			t.Fatalf("%v: the program is %v, want %v", isa, names, want)
		}
		have, want := runWith(t, b.G, p, joined, in), runWith(t, b.G, p, parts, in)
		for i, v := range want {
			near := math.Abs(float64(v-have[i])) < 1e-2
			if v != have[i] && !(near && strings.Contains(p.Tier(), "BF16")) {
				t.Fatalf("%v: element %d is %v, want %v", p.Tier(), i, have[i], v)
			}
		}
	}
}

func runWith(t *testing.T, g *graph.Graph, p *kernel.Pool, passes []graph.Pass, in []*tensor.Tensor) []float32 {
	t.Helper()
	program, err := graph.Compile(g, graph.Options{Ops: op.Default(), Pool: p, Passes: passes})
	if err != nil {
		t.Fatal(err)
	}
	s, err := program.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	out, err := s.Run(t.Context(), in, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out[0].F32()
}
