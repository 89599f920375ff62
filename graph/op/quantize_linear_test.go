package op_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/pass"
	"tandem/kernel"
	"tandem/tensor"
)

// TestQuantisedOperatorsOnBytes: depthwise QLinearConv, gates by QLinearMul and QLinearAdd,
// a sum of two images, which a convolution takes in, and QGemm with its matrix packed have
// the bytes of the operators one by one, on every tier. Scales are powers of two, whose
// products no order of rounding changes.
func TestQuantisedOperatorsOnBytes(t *testing.T) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(19, seed))
		d := []tensor.DType{tensor.Uint8, tensor.Int8}[seed%2]
		g := gatedNet(t, r, d, int64(seed/2%2))
		x := randomOf(r, d, 3, 24, 7, 9)
		for isa := kernel.Generic; isa <= kernel.Detect(); isa++ {
			p := kernel.NewPool(1+int(isa), isa)
			want := bytesOf(t, session(t, g, p, 0), x)
			got := bytesOf(t, session(t, g, p, 0, pass.Inference(p)...), x)
			for i := range want {
				if !slices.Equal(got[i], want[i]) {
					t.Errorf("%v %v output %d: %v, want %v", isa, d, i, got[i], want[i])
				}
				if slices.Max(want[i]) == slices.Min(want[i]) {
					t.Errorf("output %d is %v everywhere", i, want[i][0])
				}
			}
			p.Close()
			sums := 0
			for _, n := range prog(t, g, isa).Nodes {
				switch n.Op.Name {
				case "QLinearConvLast":
					if n.Input(10) != nil {
						sums++
					}
				case "QLinearConv":
					t.Errorf("%v: %s is left", isa, n.Op.Name)
				case "QGemm":
					if c := n.Inputs[3].Const; c == nil || c.Encoding != graph.PanelBytes {
						t.Errorf("%v: the matrix of QGemm is not packed", isa)
					}
				case "QLinearMul", "QLinearAdd":
					if shape := n.Outputs[0].Type.Shape; !shape[3].Is(24) {
						t.Errorf("%v: %s has shape %v", isa, n.Op.Name, shape)
					}
				}
			}
			if sums != 1 {
				t.Errorf("%v: %d convolutions add, want 1", isa, sums)
			}
		}
	}
}

// gatedNet is a depthwise convolution whose channels are gated, and a product, of bytes.
func gatedNet(t *testing.T, r *rand.Rand, d tensor.DType, transB int64) *graph.Graph {
	b := graph.NewBuilder("g", op.Default())
	zero := b.Const("z", randomOf(r, d, 1))
	scale := func(v float32) *graph.Value { return b.Const("s", tensor.Of([]float32{v}, 1)) }
	scales := func(n int) *graph.Value {
		s := tensor.New(tensor.Float32, n)
		for i := range s.F32() {
			s.F32()[i] = 1 / float32(int(1)<<(5+r.IntN(4)))
		}
		return b.Const("ws", s)
	}
	whole := func(n int) *graph.Value {
		v := tensor.New(tensor.Int32, n)
		for i := range tensor.Data[int32](v) {
			tensor.Data[int32](v)[i] = int32(r.IntN(20000) - 10000)
		}
		return b.Const("b", v)
	}
	x := b.Input("x", d, graph.Sym("n"), graph.Const(24), graph.Const(7), graph.Const(9))
	h := b.Op("QLinearConv", graph.Attrs{"pads": []int64{1, 1, 1, 1}, "group": int64(24)}, x, scale(0.5), zero,
		b.Const("w", randomOf(r, tensor.Int8, 24, 1, 3, 3)), scales(24), b.Const("wz", tensor.New(tensor.Int8, 24)), scale(4), zero, whole(24))
	gate := b.Op("MaxPool", graph.Attrs{"kernel_shape": []int64{7, 9}}, h)
	combine := func(name string, p, q *graph.Value, of float32) *graph.Value {
		y := b.Node(graph.OpID{Domain: "com.microsoft", Name: name}, 1, nil, p, scale(of/2), zero, q, scale(of), zero, scale(16*of), zero)[0]
		b.Output(y)
		return y
	}
	y := combine("QLinearMul", gate, h, 0.5)
	combine("QLinearAdd", h, gate, 0.5)
	inner := b.Op("QLinearConv", nil, h, scale(4), zero, b.Const("v", randomOf(r, tensor.Int8, 24, 24, 1, 1)), scales(24), b.Const("vz", tensor.New(tensor.Int8, 24)), scale(32), zero, whole(24))
	combine("QLinearAdd", h, inner, 32)
	matrix := []int{24 * 63, 37}
	if transB != 0 {
		slices.Reverse(matrix)
	}
	b.Output(b.Node(graph.OpID{Domain: "com.microsoft", Name: "QGemm"}, 1, graph.Attrs{"transB": transB}, b.Op("Flatten", nil, y), scale(0.125), zero,
		b.Const("m", randomOf(r, d, matrix...)), scales(37), b.Const("mz", randomOf(r, d, 37)), whole(37), scale(8), zero)[0])
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	return b.G
}

// bytesOf runs s on x.
func bytesOf(t *testing.T, s *graph.Session, x *tensor.Tensor) [][]byte { return allBytes(t, s, x) }
