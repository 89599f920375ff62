package op_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/op/optest"
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
	for isa := kernel.Generic; isa <= kernel.Detect(); isa++ {
		p := kernel.NewPool(2, isa)
		t.Cleanup(p.Close)
		joined := pass.Inference(p)
		parts := slices.DeleteFunc(slices.Clone(joined), func(p graph.Pass) bool { return p.Name == "fuse-bfloat16" })
		wantNodes(t, b.G, p, joined, "BFloat16Linear", "Reshape", "BFloat16Linear")
		have, want := runWith(t, b.G, p, joined, in), runWith(t, b.G, p, parts, in)
		for i, v := range want {
			near := math.Abs(float64(v-have[i])) < 1e-2
			if v != have[i] && !(near && strings.Contains(p.Tier(), "BF16")) {
				t.Fatalf("%v: element %d is %v, want %v", p.Tier(), i, have[i], v)
			}
		}
	}
}

// TestProductsThatRoundTheirResults have the bits of those that do not.
func TestProductsThatRoundTheirResults(t *testing.T) {
	r := rand.New(rand.NewPCG(16, 22))
	p := kernel.NewPool(2, kernel.Detect())
	t.Cleanup(p.Close)
	if !kernel.KeepsBFloat16(p) {
		t.Skip("SKIPPED: this processor multiplies no rounded rows")
	}
	b := graph.NewBuilder("g", op.Default())
	cast := func(to tensor.DType, v *graph.Value) *graph.Value {
		return b.Op("Cast", graph.Attrs{"to": int64(to)}, v)
	}
	y := b.Input("x", tensor.Float32, graph.Sym("batch"), graph.Const(3), graph.Const(40))
	for _, n := range []int{90, 34, 50} {
		k, _ := y.Type.Shape[len(y.Type.Shape)-1].Value()
		w := tensor.New(tensor.BFloat16, k, n)
		for i := range tensor.Data[uint16](w) {
			tensor.Data[uint16](w)[i] = tensor.BFloat16Bits(r.Float32() - 0.5)
		}
		y = b.Op("MatMul", nil, cast(tensor.Float32, cast(tensor.BFloat16, y)), cast(tensor.Float32, b.Const(fmt.Sprint("w", n), w)))
		if n == 90 {
			y = b.Op("Gelu", nil, y)
			y = b.Op("Reshape", nil, y, b.Const("shape", tensor.Of([]int64{-1, int64(n)}, 2)))
		}
	}
	b.Output(y)
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	passes := pass.Inference(p)
	program, err := graph.Compile(b.G, graph.Options{Ops: op.Default(), Pool: p, Passes: passes})
	if err != nil {
		t.Fatal(err)
	}
	rounding := 0
	for _, n := range program.Graph().Nodes {
		rounding += n.Attrs.Int("rounded", 0)
	}
	if rounding != 2 {
		t.Fatalf("%d products round their results, want 2", rounding)
	}
	parts := slices.DeleteFunc(slices.Clone(passes), func(p graph.Pass) bool { return p.Name == "keep-bfloat16" })
	in := []*tensor.Tensor{randomFloats(r, 1, 5, 3, 40)}
	have, want := runWith(t, b.G, p, passes, in), runWith(t, b.G, p, parts, in)
	if !slices.Equal(have, want) {
		t.Fatalf("%v, want %v", have, want)
	}
}

// TestJoinedProductsOfBFloat16: queries, keys and values of one product have the bits that
// three give.
func TestJoinedProductsOfBFloat16(t *testing.T) {
	r := rand.New(rand.NewPCG(16, 23))
	const k, width = 37, 32
	b := graph.NewBuilder("g", op.Default())
	cast := func(to tensor.DType, v *graph.Value) *graph.Value {
		return b.Op("Cast", graph.Attrs{"to": int64(to)}, v)
	}
	x := b.Input("x", tensor.Float32, graph.Sym("batch"), graph.Sym("length"), graph.Const(k))
	rounded := cast(tensor.Float32, cast(tensor.BFloat16, x))
	heads := func(name string, perm ...int64) *graph.Value {
		w := tensor.New(tensor.BFloat16, k, width)
		for i := range tensor.Data[uint16](w) {
			tensor.Data[uint16](w)[i] = tensor.BFloat16Bits(r.Float32() - 0.5)
		}
		y := b.Op("MatMul", nil, rounded, cast(tensor.Float32, b.Const(name, w)))
		if name != "k" {
			y = b.Op("Add", nil, y, b.Const(name+".bias", randomFloats(r, 1, width)))
		}
		y = b.Op("Reshape", nil, y, b.Const(name+".shape", tensor.Of([]int64{0, 0, 2, width / 2}, 4)))
		return b.Op("Transpose", graph.Attrs{"perm": perm}, y)
	}
	scores := b.Op("MatMul", nil, heads("q", 0, 2, 1, 3), heads("k", 0, 2, 3, 1))
	b.Output(b.Op("MatMul", nil, b.Op("Softmax", nil, scores), heads("v", 0, 2, 1, 3)))
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	in := []*tensor.Tensor{randomFloats(r, 1, 3, 9, k)}
	for isa := kernel.Generic; isa <= kernel.Detect(); isa++ {
		p := kernel.NewPool(2, isa)
		t.Cleanup(p.Close)
		joined := pass.Inference(p)
		parts := slices.DeleteFunc(slices.Clone(joined), func(p graph.Pass) bool { return p.Name == "join-products" })
		wantNodes(t, b.G, p, joined, "BFloat16Linear", "Attention")
		if have, want := runWith(t, b.G, p, joined, in), runWith(t, b.G, p, parts, in); !slices.Equal(have, want) {
			t.Fatalf("%v: %v, want %v", p.Tier(), have, want)
		}
	}
}

// TestBFloat16ConvEqualsConv: joined to convolutions of bfloat16, or computed as the floats
// that they are, on whole numbers, whose sums are exact in any order.
func TestBFloat16ConvEqualsConv(t *testing.T) {
	r := rand.New(rand.NewPCG(16, 22))
	whole := func(shape ...int) *tensor.Tensor {
		x := tensor.New(tensor.Float32, shape...)
		for i := range x.F32() {
			x.F32()[i] = float32(r.IntN(7) - 3)
		}
		return x
	}
	for _, size := range [][]int{{9}, {9, 10}} {
		b := graph.NewBuilder("g", op.Default())
		x := b.Input("x", tensor.Float32, append(graph.Shape{graph.Sym("batch"), graph.Const(12)}, graph.Dims(size...)...)...)
		cast := func(to tensor.DType, v *graph.Value) *graph.Value {
			return b.Op("Cast", graph.Attrs{"to": int64(to)}, v)
		}
		conv := func(name string, v *graph.Value, out, in, k, stride int) *graph.Value {
			var pads, strides []int64
			shape := []int{out, in}
			for range size {
				shape, strides, pads = append(shape, k), append(strides, int64(stride)), append(pads, int64(k/2), int64(k/2))
			}
			w := tensor.New(tensor.BFloat16, shape...)
			for i, v := range whole(shape...).F32() {
				tensor.Data[uint16](w)[i] = tensor.BFloat16Bits(v)
			}
			rounded := cast(tensor.Float32, cast(tensor.BFloat16, v))
			attrs := graph.Attrs{"pads": pads, "strides": strides}
			return b.Op("Conv", attrs, rounded, cast(tensor.Float32, b.Const(name, w)), b.Const(name+".b", whole(out)))
		}
		h := b.Op("Relu", nil, conv("one", x, 40, 12, 3, 1))
		y := b.Op("Relu", nil, b.Op("Add", nil, conv("two", h, 40, 40, 1, 1), h))
		b.Output(conv("three", y, 6, 40, 3, 2))
		if b.Err() != nil {
			t.Fatal(b.Err())
		}
		in := []*tensor.Tensor{whole(append([]int{3, 12}, size...)...)}
		for isa := kernel.Generic; isa <= kernel.Detect(); isa++ {
			p := kernel.NewPool(2, isa)
			t.Cleanup(p.Close)
			joined := pass.Inference(p)
			parts := slices.DeleteFunc(slices.Clone(joined), func(p graph.Pass) bool { return p.Name == "fuse-bfloat16" })
			wantNodes(t, b.G, p, joined, "ToLast", "BFloat16ConvLast", "BFloat16ConvLast", "BFloat16ConvLast", "ToFirst")
			if have, want := runWith(t, b.G, p, joined, in), runWith(t, b.G, p, parts, in); !slices.Equal(have, want) {
				t.Fatalf("%v: joined convolutions have other results", p.Tier())
			}
		}
	}
}

// TestRoundedProductsEqualProducts: rounding within a product or before it, for stacks of
// matrices, in each form of transposition, with factors and what is added.
func TestRoundedProductsEqualProducts(t *testing.T) {
	r := rand.New(rand.NewPCG(16, 21))
	in := []*tensor.Tensor{randomFloats(r, 1, 3, 7, 20), randomFloats(r, 1, 3, 20, 9)}
	build := func(transA, transB, rounded bool) *graph.Graph {
		b := graph.NewBuilder("g", op.Default())
		operand := func(v *graph.Value, perm []int64, trans bool) *graph.Value {
			if trans {
				v = b.Op("Transpose", graph.Attrs{"perm": perm}, v)
			}
			if rounded {
				v = b.Op("Cast", graph.Attrs{"to": int64(tensor.Float32)}, b.Op("Cast", graph.Attrs{"to": int64(tensor.BFloat16)}, v))
			}
			return v
		}
		flag := map[bool]int64{true: 1}
		attrs := graph.Attrs{"transA": flag[transA], "transB": flag[transB], "alpha": float32(0.5), "beta": float32(2)}
		x, y := b.Input("x", tensor.Float32, graph.Dims(3, 7, 20)...), b.Input("y", tensor.Float32, graph.Dims(3, 20, 9)...)
		stacked := b.Node(graph.OpID{Domain: "com.microsoft", Name: "FusedMatMul"}, 1, attrs,
			operand(x, []int64{0, 2, 1}, transA), operand(y, []int64{0, 2, 1}, transB))[0]
		first := func(v *graph.Value) *graph.Value {
			return b.Op("Squeeze", nil, b.Op("Slice", nil, v, b.Const("from", tensor.Of([]int64{0}, 1)), b.Const("to", tensor.Of([]int64{1}, 1))), b.Const("axes", tensor.Of([]int64{0}, 1)))
		}
		b.Output(b.Op("Add", nil, stacked, b.Op("Gemm", attrs, operand(first(x), []int64{1, 0}, transA), operand(first(y), []int64{1, 0}, transB), b.Const("c", tensor.Of([]float32{3}, 1)))))
		if b.Err() != nil {
			t.Fatal(b.Err())
		}
		return b.G
	}
	for isa := kernel.Generic; isa <= kernel.Detect(); isa++ {
		p := kernel.NewPool(2, isa)
		t.Cleanup(p.Close)
		for form := range 4 {
			transA, transB := form&1 != 0, form&2 != 0
			have, want := runWith(t, build(transA, transB, false), p, []graph.Pass{pass.RoundProducts()}, in), runWith(t, build(transA, transB, true), p, nil, in)
			for i, v := range want {
				near := math.Abs(float64(v-have[i])) < 1e-4
				if v != have[i] && !(near && strings.Contains(p.Tier(), "BF16")) {
					t.Fatalf("%v %v %v: element %d is %v, want %v", p.Tier(), transA, transB, i, have[i], v)
				}
			}
		}
	}
}

// wantNodes compiles a graph and holds the operators of the program against those wanted.
func wantNodes(t *testing.T, g *graph.Graph, p *kernel.Pool, passes []graph.Pass, want ...string) {
	t.Helper()
	program, err := graph.Compile(g, graph.Options{Ops: op.Default(), Pool: p, Passes: passes})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, n := range program.Graph().Nodes {
		names = append(names, n.Op.Name)
	}
	if !slices.Equal(names, want) {
		t.Fatalf("%s: the program is %v, want %v", p.Tier(), names, want)
	}
}

func runWith(t *testing.T, g *graph.Graph, p *kernel.Pool, passes []graph.Pass, in []*tensor.Tensor) []float32 {
	t.Helper()
	return optest.Outputs(t, g, graph.Options{Pool: p, Passes: passes}, in...)[0].F32()
}
