package op_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/pass"
	"tandem/kernel"
	"tandem/tensor"
)

// randomOf are bytes of a type.
func randomOf(r *rand.Rand, d tensor.DType, shape ...int) *tensor.Tensor {
	t := tensor.New(d, shape...)
	for i := range t.Bytes() {
		t.Bytes()[i] = byte(r.Uint32())
	}
	return t
}

func randomFloats(r *rand.Rand, scale float32, shape ...int) *tensor.Tensor {
	t := tensor.New(tensor.Float32, shape...)
	for i := range t.F32() {
		t.F32()[i] = (r.Float32()*2 - 1) * scale
	}
	return t
}

// dynamicLayer is a layer as onnxruntime's dynamic quantiser writes it, with its scale
// and zero point one number or one for each column, and what networks have after it.
func dynamicLayer(b *graph.Builder, r *rand.Rand, x *graph.Value, d tensor.DType, k, n int, perColumn bool, after string) *graph.Value {
	q := b.Node(graph.OpID{Name: "DynamicQuantizeLinear"}, 3, nil, x)
	shape := []int{}
	if perColumn {
		shape = []int{n}
	}
	scale := tensor.New(tensor.Float32, shape...)
	for i := range scale.F32() {
		scale.F32()[i] = 0.001 + r.Float32()/100
	}
	zero := randomOf(r, d, shape...)
	s := b.Op("Mul", nil, q[1], b.Const("scale", scale))
	p := b.Op("MatMulInteger", nil, q[0], b.Const("w", randomOf(r, d, k, n)), q[2], b.Const("zero", zero))
	y := b.Op("Mul", nil, b.Op("Cast", graph.Attrs{"to": int64(tensor.Float32)}, p), s)
	y = b.Op("Add", nil, b.Const("bias", randomFloats(r, 1, n)), y)
	if after == "Sum" {
		return b.Op("Add", nil, y, x)
	}
	if after != "" {
		y = b.Op(after, nil, y)
	}
	return y
}

// TestFusedIntegersEqualTheirParts: the operators one by one and joined, on every tier,
// with one thread and three, for a row alone and among others: one set of bits.
func TestFusedIntegersEqualTheirParts(t *testing.T) {
	for isa := kernel.Generic; isa <= kernel.Detect(); isa++ {
		for _, d := range []tensor.DType{tensor.Int8, tensor.Uint8} {
			for _, after := range []string{"", "Relu", "Gelu", "Tanh", "Sum"} {
				r := rand.New(rand.NewPCG(3, uint64(len(after))))
				b := graph.NewBuilder("g", op.Default())
				x := b.Input("x", tensor.Float32, graph.Sym("batch"), graph.Const(7), graph.Const(33))
				y := dynamicLayer(b, r, x, d, 33, 33, false, after)
				b.Output(dynamicLayer(b, r, y, d, 33, 50, true, ""))
				if b.Err() != nil {
					t.Fatal(b.Err())
				}
				var want []float32
				in := randomFloats(r, 3, 4, 7, 33)
				for _, threads := range []int{1, 3} {
					p := kernel.NewPool(threads, isa)
					plain := run(t, session(t, b.G, p, 0), in)
					s := session(t, b.G, p, 0, pass.Inference(p)...)
					fused := run(t, s, in)
					if want == nil {
						want = plain
					}
					if !slices.Equal(plain, want) || !slices.Equal(fused, want) {
						t.Fatalf("%v %v %s: with %d threads\n%v\njoined\n%v\nwant\n%v", isa, d, after, threads, plain, fused, want)
					}
					p.Close()
				}
			}
		}
	}
}

// TestQuantizedMatMulOnConstants: packed weights give what weights that come as input
// do, for every pair of types.
func TestQuantizedMatMulOnConstants(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 8))
	one := func(d tensor.DType) *tensor.Tensor { return randomOf(r, d) }
	for _, a := range []tensor.DType{tensor.Int8, tensor.Uint8} {
		for _, w := range []tensor.DType{tensor.Int8, tensor.Uint8} {
			b := graph.NewBuilder("g", op.Default())
			x := b.Input("x", a, graph.Sym("batch"), graph.Const(3), graph.Const(19))
			in, weights := b.Input("w", w, graph.Const(19), graph.Const(37)), randomOf(r, w, 19, 37)
			zeroA, zeroB := b.Const("za", one(a)), b.Const("zb", randomOf(r, w, 37))
			sa, sb, sy := b.Const("sa", tensor.Of([]float32{0.02})), b.Const("sb", tensor.Of(randomFloats(r, 1, 37).F32(), 37)), b.Const("sy", tensor.Of([]float32{3.5}))
			for _, v := range []*graph.Value{in, b.Const("c", weights)} {
				b.Output(b.Op("MatMulInteger", nil, x, v, zeroA, zeroB))
				b.Output(b.Op("QLinearMatMul", nil, x, sa, zeroA, v, sb, zeroB, sy, b.Const("zy", tensor.Of([]int8{3}))))
			}
			if b.Err() != nil {
				t.Fatal(b.Err())
			}
			p := pool(t, 2)
			s := session(t, b.G, p, 0, pass.Inference(p)...)
			out, err := s.Run(context.Background(), []*tensor.Tensor{randomOf(r, a, 2, 3, 19), weights}, nil)
			if err != nil {
				t.Fatal(err)
			}
			for i := range 2 {
				if !slices.Equal(out[i].Bytes(), out[2+i].Bytes()) {
					t.Errorf("%v %v output %d: %v, packed %v", a, w, i, out[i], out[2+i])
				}
			}
		}
	}
}

// staticNet is a small network as onnxruntime's static quantiser writes it: convolutions
// of one kind and another, a hard swish, a residual sum, pooling, products.
func staticNet(t *testing.T, r *rand.Rand) *graph.Graph {
	b := graph.NewBuilder("g", op.Default())
	scalar := func(v float32) *graph.Value { return b.Const("s", tensor.Of([]float32{v})) }
	zero := b.Const("z", tensor.Of([]uint8{97}))
	through := func(x *graph.Value, s float32) *graph.Value {
		return b.Op("DequantizeLinear", nil, b.Op("QuantizeLinear", nil, x, scalar(s), zero), scalar(s), zero)
	}
	weights := func(axis int, shape ...int) (*graph.Value, *tensor.Tensor) {
		s := randomFloats(r, 0.02, shape[axis])
		for i, v := range s.F32() {
			s.F32()[i] = max(v, -v) + 0.001
		}
		return b.Op("DequantizeLinear", graph.Attrs{"axis": int64(axis)}, b.Const("w", randomOf(r, tensor.Int8, shape...)), b.Const("ws", s), b.Const("wz", tensor.New(tensor.Int8, shape[axis]))), s
	}
	conv := func(x *graph.Value, xs float32, a graph.Attrs, shape ...int) *graph.Value {
		w, s := weights(0, shape...)
		bs, bias := tensor.New(tensor.Float32, shape[0]), tensor.New(tensor.Int32, shape[0])
		for i, v := range s.F32() {
			bs.F32()[i] = v * xs
			tensor.Data[int32](bias)[i] = int32(r.IntN(2000) - 1000)
		}
		return b.Op("Conv", a, x, w, b.Op("DequantizeLinear", graph.Attrs{"axis": int64(0)}, b.Const("b", bias), b.Const("bs", bs)))
	}
	x := b.Input("x", tensor.Float32, graph.Sym("n"), graph.Const(3), graph.Const(9), graph.Const(9))
	h := through(conv(through(x, 0.02), 0.02, graph.Attrs{"pads": []int64{1, 1, 1, 1}}, 16, 3, 3, 3), 0.1)
	k := through(conv(h, 0.1, graph.Attrs{"pads": []int64{1, 1, 1, 1}, "group": int64(2)}, 16, 8, 3, 3), 0.4)
	d := through(conv(h, 0.1, graph.Attrs{"pads": []int64{1, 1, 1, 1}, "group": int64(16)}, 16, 1, 3, 3), 0.2) // depthwise
	gate := through(b.Op("HardSigmoid", nil, d), 0.01)
	s := through(b.Op("Add", nil, k, through(b.Op("Mul", nil, d, gate), 0.2)), 0.5)
	p := through(b.Op("MaxPool", graph.Attrs{"kernel_shape": []int64{2, 2}, "strides": []int64{2, 2}}, s), 0.5)
	q := through(conv(p, 0.5, graph.Attrs{"strides": []int64{2, 2}}, 24, 16, 1, 1), 1)
	w, _ := weights(1, 96, 10)
	flat := through(b.Op("Flatten", nil, q), 1)
	h2 := through(b.Op("MatMul", nil, flat, w), 4)
	w2, ws2 := weights(0, 10, 10)
	bias, bs := tensor.New(tensor.Int32, 10), tensor.New(tensor.Float32, 10)
	for i := range bs.F32() {
		bs.F32()[i] = ws2.F32()[i] * 4
		tensor.Data[int32](bias)[i] = int32(r.IntN(200) - 100)
	}
	b.Output(through(b.Op("Gemm", graph.Attrs{"transB": int64(1)}, h2, w2, b.Op("DequantizeLinear", graph.Attrs{"axis": int64(0)}, b.Const("b", bias), b.Const("bs", bs))), 16))
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	return b.G
}

// TestStaticNetworks: on bytes and in floats a network differs by few steps of its
// result, on every tier, and an image has the bits that it has alone.
func TestStaticNetworks(t *testing.T) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(9, seed))
		g, x := staticNet(t, r), randomFloats(r, 2, 3, 3, 9, 9)
		for isa := kernel.Generic; isa <= kernel.Detect(); isa++ {
			p := kernel.NewPool(1+int(isa), isa)
			s := session(t, g, p, 0, pass.Inference(p)...)
			got, want := run(t, s, x), run(t, session(t, g, p, 0), x)
			off := 0
			for i := range got {
				if d := (got[i] - want[i]) / 16; d < -2.5 || d > 2.5 {
					t.Fatalf("%v: element %d is %v, in floats %v", isa, i, got[i], want[i])
				} else if d != 0 {
					off++
				}
			}
			if off > len(got)/4 {
				t.Errorf("%v: %d of %d elements are off", isa, off, len(got))
			}
			one := run(t, s, tensor.Of(x.F32()[:3*81], 1, 3, 9, 9))
			if !slices.Equal(one, got[:10]) {
				t.Errorf("%v: an image alone: %v, among others %v", isa, one, got[:10])
			}
			p.Close()
			convs := 0
			for _, n := range prog(t, g, isa).Nodes {
				switch n.Op.Name {
				case "QLinearConvLast":
					convs++
				case "HardSigmoid", "QLinearMul", "QLinearAdd", "Lookup", "Linear", "Gemm":
					t.Errorf("%v: %s is left", isa, n.Op)
				}
			}
			if convs != 4 {
				t.Errorf("%d convolutions on bytes, want 4", convs)
			}
		}
	}
}

// TestTablesAreTheirOperators: bytes that a table gives are those of the operators of which it
// was made, on every tier.
func TestTablesAreTheirOperators(t *testing.T) {
	for isa := kernel.Generic; isa <= kernel.Detect(); isa++ {
		p := kernel.NewPool(2, isa)
		for _, d := range []tensor.DType{tensor.Uint8, tensor.Int8} {
			for _, name := range []string{"Sigmoid", "HardSwish", "Erf", "Tanh"} {
				b := graph.NewBuilder("g", op.Default())
				r := rand.New(rand.NewPCG(7, uint64(len(name))))
				x := b.Input("x", d, graph.Sym("n"), graph.Const(7))
				scale, small, zero := b.Const("s", tensor.Of([]float32{0.03})), b.Const("t", tensor.Of([]float32{0.01})), b.Const("z", randomOf(r, d))
				f := b.Op("DequantizeLinear", nil, x, scale, zero)
				h := b.Op("QuantizeLinear", nil, b.Op(name, nil, f), small, zero)
				b.Output(b.Op("QuantizeLinear", nil, b.Op("Mul", nil, f, b.Op("DequantizeLinear", nil, h, small, zero)), scale, zero))
				if b.Err() != nil {
					t.Fatal(b.Err())
				}
				in := randomOf(r, d, 100, 7)
				want, got := bytesOf(t, session(t, b.G, p, 0), in), bytesOf(t, session(t, b.G, p, 0, pass.Tables(p)), in)
				for i, v := range want[0] {
					if got[0][i] != v {
						t.Errorf("%v %v %s: byte %d is %d, want %d", isa, d, name, i, got[0][i], v)
						break
					}
				}
			}
		}
		p.Close()
	}
}

// prog is a graph after the passes.
func prog(t *testing.T, g *graph.Graph, isa kernel.ISA) *graph.Graph {
	p := kernel.NewPool(1, isa)
	defer p.Close()
	prog, err := graph.Compile(g, graph.Options{Ops: op.Default(), Pool: p, Passes: pass.Inference(p)})
	if err != nil {
		t.Fatal(err)
	}
	return prog.Graph()
}

// TestByteRowsAreTheirOperators: products with a row and a table, products of stacks, softmax
// and gathering on bytes have the bytes of the operators one by one, on every tier, with
// one thread and three; a row alone has those that it has among others.
func TestByteRowsAreTheirOperators(t *testing.T) {
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(29, seed))
		d := []tensor.DType{tensor.Uint8, tensor.Int8}[seed%2]
		g, rows := byteRowsNet(t, r, d), 3+r.IntN(40)
		x, ids := randomOf(r, d, rows, 5, 36), tensor.New(tensor.Int64, rows)
		for i := range ids.I64() {
			ids.I64()[i] = int64(r.IntN(7))
		}
		for isa := kernel.Generic; isa <= kernel.Detect(); isa++ {
			for _, threads := range []int{1, 3} {
				p := kernel.NewPool(threads, isa)
				want := allBytes(t, session(t, g, p, 0), x, ids)
				s := session(t, g, p, 0, pass.Inference(p)...)
				got := allBytes(t, s, x, ids)
				first := tensor.New(d, 1, 5, 36)
				copy(first.Bytes(), x.Bytes())
				one := allBytes(t, s, first, tensor.Of(ids.I64()[:1], 1))
				for i := range want {
					if !slices.Equal(got[i], want[i]) {
						t.Errorf("%v %v output %d: %v, want %v", isa, d, i, got[i], want[i])
					}
					if !slices.Equal(one[i], got[i][:len(one[i])]) {
						t.Errorf("%v %v output %d alone: %v, want %v", isa, d, i, one[i], got[i][:len(one[i])])
					}
					if slices.Max(want[i]) == slices.Min(want[i]) {
						t.Errorf("output %d is %v everywhere", i, want[i][0])
					}
				}
				p.Close()
			}
			left := map[string]int{}
			for _, n := range prog(t, g, isa).Nodes {
				left[n.Op.String()]++
			}
			if left["tandem.QLinearMatMul"] != 2 || left["tandem.SoftmaxBytes"] != 1 || left["tandem.Lookup"] != 1 || left["com.microsoft.QLinearAdd"] != 0 {
				t.Errorf("%v: operators are %v", isa, left)
			}
		}
	}
}

// byteRowsNet is a layer with a bias and an activation, a product of each of its results with
// itself, the softmax of that, and rows of a table of constants, as a static quantiser
// writes them. Scales are powers of two.
func byteRowsNet(t *testing.T, r *rand.Rand, d tensor.DType) *graph.Graph {
	b := graph.NewBuilder("g", op.Default())
	least := randomOf(r, d, 1)
	least.Bytes()[0] &= 63 // so that what is above has room
	zero, number := b.Const("z", least), tensor.New(d, 1)
	number.Bytes()[0] = least.Bytes()[0] + 40
	scale := func(v float32) *graph.Value { return b.Const("s", tensor.Of([]float32{v})) }
	steps := func(x *graph.Value, s float32) *graph.Value { return b.Op("QuantizeLinear", nil, x, scale(s), zero) }
	back := func(x *graph.Value, s float32) *graph.Value {
		return b.Op("DequantizeLinear", nil, x, scale(s), zero)
	}
	x := b.Input("x", d, graph.Sym("n"), graph.Const(5), graph.Const(36))
	ids := b.Input("ids", tensor.Int64, graph.Sym("n"))
	m := b.Op("QLinearMatMul", nil, x, scale(0.5), zero, b.Const("w", randomOf(r, tensor.Int8, 36, 70)), scale(1.0/16), b.Const("wz", tensor.New(tensor.Int8)), scale(8), zero)
	a := b.Node(graph.OpID{Domain: "com.microsoft", Name: "QLinearAdd"}, 1, nil, m, scale(8), zero, b.Const("row", randomOf(r, d, 70)), scale(4), zero, scale(8), zero)[0]
	h := steps(b.Op("Sigmoid", nil, back(a, 1.0/32)), 1.0/128)
	b.Output(h)
	turned := b.Op("Transpose", graph.Attrs{"perm": []int64{0, 2, 1}}, h)
	p := b.Op("QLinearMatMul", nil, h, scale(1.0/128), zero, turned, scale(1.0/128), zero, scale(0.5), zero)
	scores := steps(b.Op("Mul", nil, back(p, 0.5), back(b.Const("number", number), 1.0/128)), 0.5)
	b.Output(scores)
	b.Output(steps(b.Op("Softmax", nil, back(scores, 0.125)), 1.0/256))
	b.Output(steps(b.Op("Gather", nil, back(b.Const("table", randomOf(r, d, 7, 9)), 0.5), ids), 0.75))
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	return b.G
}

// allBytes runs s.
func allBytes(t *testing.T, s *graph.Session, in ...*tensor.Tensor) [][]byte {
	out, err := s.Run(context.Background(), in, nil)
	if err != nil {
		t.Fatal(err)
	}
	var all [][]byte
	for _, y := range out {
		all = append(all, slices.Clone(y.Bytes()))
	}
	return all
}
