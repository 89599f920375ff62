package op_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"tandem/graph"
	"tandem/tensor"
)

// times is the product of stacks of matrices by definition, vectors included.
func times(a, b []float64, as, bs []int) (y []float64, shape []int) {
	x, z := as, bs
	if len(as) == 1 {
		x = []int{1, as[0]}
	}
	if len(bs) == 1 {
		z = []int{bs[0], 1}
	}
	m, k, n := x[len(x)-2], x[len(x)-1], z[len(z)-1]
	batch, _ := graph.Broadcast(graph.Dims(x[:len(x)-2]...), graph.Dims(z[:len(z)-2]...))
	lead, _ := batch.Static()
	offset := func(i int, own []int, size int) int {
		at, scale := 0, size
		for axis := len(lead) - 1; axis >= 0; axis-- {
			if j := axis - len(lead) + len(own); j >= 0 {
				if own[j] != 1 {
					at += i % lead[axis] * scale
				}
				scale *= own[j]
			}
			i /= lead[axis]
		}
		return at
	}
	for i := range lead.Len() {
		p, q := a[offset(i, x[:len(x)-2], m*k):], b[offset(i, z[:len(z)-2], k*n):]
		for r := range m {
			for c := range n {
				sum := 0.0
				for j := range k {
					sum += p[r*k+j] * q[j*n+c]
				}
				y = append(y, sum)
			}
		}
	}
	shape = slices.Clone(lead)
	if len(as) > 1 {
		shape = append(shape, m)
	}
	if len(bs) > 1 {
		shape = append(shape, n)
	}
	return y, shape
}

func wholeNumbers(rng *rand.Rand, n int) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = float64(rng.IntN(6))
	}
	return v
}

func TestMatMulEqualsItsDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 9))
	for _, s := range [][2][]int{
		{{3, 4}, {4, 5}}, {{4}, {4}}, {{4}, {2, 4, 3}}, {{2, 3, 4}, {4}}, {{2, 1, 3, 4}, {3, 4, 2}},
		{{2, 3, 4}, {4, 5}}, {{1, 3, 4}, {2, 4, 5}}, {{5, 1, 3, 4}, {1, 2, 4, 2}}, {{2, 3, 4}, {1, 4, 5}}, {{3, 0}, {0, 2}}, {{0, 3, 4}, {4, 2}},
	} {
		a, b := wholeNumbers(rng, tensor.Shape(s[0]).Len()), wholeNumbers(rng, tensor.Shape(s[1]).Len())
		want, shape := times(a, b, s[0], s[1])
		for _, d := range append([]tensor.DType{tensor.Int32, tensor.Int64, tensor.Uint32, tensor.Uint64}, floatTypes...) {
			got, err := apply(t, 13, graph.OpID{Name: "MatMul"}, nil, of(t, d, a, s[0]...), of(t, d, b, s[1]...))
			if err != nil {
				t.Fatalf("%v %v: %v", d, s, err)
			}
			if !got.Shape().Equal(shape) || !sameNumbers(numbersOf(got), want, tolerance(d)) {
				t.Errorf("%v %v: %v %v, want %v %v", d, s, got, numbersOf(got), shape, want)
			}
		}
		q := func(d tensor.DType) *tensor.Tensor { return tensor.New(d) }
		got, err := apply(t, 13, graph.OpID{Name: "MatMulInteger"}, nil, of(t, tensor.Uint8, a, s[0]...), of(t, tensor.Int8, b, s[1]...), q(tensor.Uint8), q(tensor.Int8))
		if err != nil || !got.Shape().Equal(shape) || !sameNumbers(numbersOf(got), want, 0) {
			t.Errorf("MatMulInteger %v: %v, %v", s, got, err)
		}
	}
	for _, s := range [][2][]int{{{3, 4}, {5, 4}}, {{2, 3, 4}, {3, 4, 5}}, {{}, {2}}, {{4}, {3}}} {
		if _, err := apply(t, 13, graph.OpID{Name: "MatMul"}, nil, tensor.New(tensor.Float32, s[0]...), tensor.New(tensor.Float32, s[1]...)); err == nil {
			t.Errorf("shapes %v: no error", s)
		}
	}
}

// A row among others has the bits that it has alone.
func TestMatMulRowsAlone(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	a, b := randomInput(rng, []int{9, 40, 33}, 0), randomInput(rng, []int{33, 50}, 0)
	all, err := apply(t, 13, graph.OpID{Name: "MatMul"}, nil, a, b)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 9 {
		one, err := apply(t, 13, graph.OpID{Name: "MatMul"}, nil, a.Rows(i, i+1), b)
		if err != nil || !slices.Equal(one.F32(), all.Rows(i, i+1).F32()) {
			t.Fatalf("matrix %d differs alone: %v", i, err)
		}
	}
}

// transposed moves axes: the result's axis i is the operand's axis perm[i].
func transposed(x []float64, shape, perm []int) ([]float64, []int) {
	to := make([]int, len(perm))
	for i, p := range perm {
		to[i] = shape[p]
	}
	y := make([]float64, len(x))
	for i := range y {
		rest, digits := i, make([]int, len(perm))
		for axis := len(to) - 1; axis >= 0; axis-- {
			digits[perm[axis]] = rest % to[axis]
			rest /= to[axis]
		}
		at := 0
		for axis, d := range digits {
			at = at*shape[axis] + d
		}
		y[i] = x[at]
	}
	return y, to
}

func TestFusedMatMulTransposes(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 1))
	as, bs := []int{2, 3, 4, 5}, []int{2, 3, 5, 6}
	a, b := wholeNumbers(rng, 120), wholeNumbers(rng, 180)
	want, shape := times(a, b, as, bs)
	for i := range want {
		want[i] *= 0.5
	}
	for mask := range 16 {
		x, xs, y, ys := a, as, b, bs
		bit := func(i int) int64 { return int64(mask >> i & 1) }
		if bit(0) == 1 {
			x, xs = transposed(x, xs, []int{0, 1, 3, 2})
		}
		if bit(1) == 1 {
			y, ys = transposed(y, ys, []int{0, 1, 3, 2})
		}
		if bit(2) == 1 {
			x, xs = transposed(x, xs, []int{2, 0, 1, 3})
		}
		if bit(3) == 1 {
			y, ys = transposed(y, ys, []int{2, 0, 1, 3})
		}
		at := attrs("transA", bit(0), "transB", bit(1), "transBatchA", bit(2), "transBatchB", bit(3), "alpha", float32(0.5))
		for _, d := range []tensor.DType{tensor.Float32, tensor.Float64} {
			got, err := apply(t, 21, graph.OpID{Domain: "com.microsoft", Name: "FusedMatMul"}, at, of(t, d, x, xs...), of(t, d, y, ys...))
			if err != nil {
				t.Fatal(err)
			}
			if !got.Shape().Equal(shape) || !sameNumbers(numbersOf(got), want, 1e-6) {
				t.Errorf("%v of %v: %v, want %v %v", at, d, got, shape, want)
			}
		}
	}
}

func TestGemmOnAllTypes(t *testing.T) {
	a, b := []float64{1, 2, 3, 4, 5, 6}, []float64{1, 0, 2, 1, 1, 3} // [2,3] and [3,2]
	for _, tc := range []struct {
		attrs graph.Attrs
		as    []int
		c     []float64
		cs    []int
		want  []float64
	}{
		{nil, []int{2, 3}, nil, nil, []float64{8, 11, 20, 23}},
		{nil, []int{2, 3}, []float64{1, 2}, []int{2}, []float64{9, 13, 21, 25}},
		{nil, []int{2, 3}, []float64{1, 2}, []int{2, 1}, []float64{9, 12, 22, 25}},
		{nil, []int{2, 3}, []float64{3}, []int{}, []float64{11, 14, 23, 26}},
		{attrs("alpha", float32(2), "beta", float32(3)), []int{2, 3}, []float64{1, 2}, []int{2}, []float64{19, 28, 43, 52}},
		{attrs("transA", int64(1)), []int{3, 2}, []float64{1}, []int{1, 1}, []float64{13, 19, 17, 23}},
	} {
		for _, d := range append([]tensor.DType{tensor.Int32, tensor.Int64, tensor.Uint32, tensor.Uint64}, floatTypes...) {
			for _, opset := range []int{6, 9, 13} {
				in := []*tensor.Tensor{of(t, d, a, tc.as...), of(t, d, b, 3, 2)}
				if tc.c != nil {
					in = append(in, of(t, d, tc.c, tc.cs...))
				}
				got, err := apply(t, opset, graph.OpID{Name: "Gemm"}, tc.attrs, in...)
				if err != nil {
					t.Fatal(err)
				}
				if got.DType() != d || !sameNumbers(numbersOf(got), tc.want, tolerance(d)) {
					t.Errorf("%v %v c=%v: %v, want %v", d, tc.attrs, tc.cs, numbersOf(got), tc.want)
				}
			}
		}
	}
}

func TestQuantizedProducts(t *testing.T) {
	a, b := of(t, tensor.Uint8, []float64{10, 20, 30, 250, 0, 5}, 2, 3), of(t, tensor.Int8, []float64{1, -2, 3, 4, -5, 6}, 3, 2)
	aZero, bZero := of(t, tensor.Uint8, []float64{10, 0}, 2), of(t, tensor.Int8, []float64{1, -1}, 2)
	microsoft := func(name string) graph.OpID { return graph.OpID{Domain: "com.microsoft", Name: name} }
	scale := func(v ...float32) *tensor.Tensor {
		if len(v) == 1 {
			return tensor.Scalar(v[0])
		}
		return tensor.Of(v, len(v))
	}
	// Less zero points: a = [0 10 20; 250 0 5], b = [0 -1; 2 5; -6 7].
	exact := []float64{-100, 190, -30, -215}
	for _, tc := range []struct {
		id   graph.OpID
		in   []*tensor.Tensor
		want []float64
	}{
		{graph.OpID{Name: "MatMulInteger"}, []*tensor.Tensor{a, b, aZero, bZero}, exact},
		{graph.OpID{Name: "QLinearMatMul"}, []*tensor.Tensor{a, scale(0.5), aZero, b, scale(0.5, 0.25), bZero, scale(0.5), tensor.Scalar(uint8(60))}, []float64{10, 108, 45, 6}},
		{microsoft("MatMulIntegerToFloat"), []*tensor.Tensor{a, b, scale(0.5), scale(0.5, 0.25), aZero, bZero, scale(1, 2)}, []float64{-24, 25.75, -6.5, -24.875}},
		{microsoft("DynamicQuantizeMatMul"), []*tensor.Tensor{tensor.Of([]float32{0, 1, 2.55, -0, 0.5, 0}, 2, 3), b, scale(0.5, 0.25), bZero, nil}, []float64{-6.65, 5.7125, 0.5, 0.625}},
	} {
		got, err := apply(t, 21, tc.id, nil, tc.in...)
		if err != nil {
			t.Fatal(err)
		}
		if !sameNumbers(numbersOf(got), tc.want, 1e-6) {
			t.Errorf("%v: %v, want %v", tc.id, numbersOf(got), tc.want)
		}
	}
	// float8: the numbers themselves, rounded to the type.
	f8 := tensor.Float8E4M3FN
	got, err := apply(t, 21, graph.OpID{Name: "QLinearMatMul"}, nil, of(t, f8, []float64{1, 2}, 1, 2), scale(1), of(t, f8, []float64{0}),
		of(t, f8, []float64{3, 4}, 2, 1), scale(0.5), of(t, f8, []float64{0}), scale(1), of(t, f8, []float64{0}))
	if err != nil || !sameNumbers(numbersOf(got), []float64{5.5}, 0) {
		t.Errorf("float8: %v, %v", got, err)
	}
	for _, in := range [][]*tensor.Tensor{{a, b, bZero}, {a, of(t, tensor.Float32, []float64{1, 2, 3}, 3, 1)}, {a, b, of(t, tensor.Uint8, []float64{1, 2, 3}, 3)}} {
		if _, err := apply(t, 10, graph.OpID{Name: "MatMulInteger"}, nil, in...); err == nil {
			t.Errorf("MatMulInteger of %v: no error", in)
		}
	}
}

func TestDet(t *testing.T) {
	x := []float64{2, 1, 0, 1, 3, 1, 0, 1, 4, 0, 1, 2, 1, 0, 3, 2, 4, 0, 1, 2, 3, 2, 4, 6, 5, 1, 0}
	for _, d := range floatTypes {
		got, err := apply(t, 22, graph.OpID{Name: "Det"}, nil, of(t, d, x, 3, 3, 3))
		if err != nil || !sameNumbers(numbersOf(got), []float64{18, 14, 0}, tolerance(d)) {
			t.Errorf("%v: %v, %v", d, numbersOf(got), err)
		}
	}
	if _, err := apply(t, 22, graph.OpID{Name: "Det"}, nil, tensor.New(tensor.Float32, 2, 3)); err == nil {
		t.Error("not square: no error")
	}
}

// A chain of products with a symbolic batch keeps the symbol.
func TestMatMulShapesStaySymbolic(t *testing.T) {
	b := testBuilder()
	x := b.Input("x", tensor.Float32, graph.Sym("n"), graph.Const(3), graph.Const(4))
	y := b.Op("MatMul", nil, x, b.Const("w", tensor.New(tensor.Float32, 4, 5)))
	if b.Err() != nil || fmt.Sprint(y.Type.Shape) != "[n, 3, 5]" {
		t.Errorf("%v, %v", y.Type, b.Err())
	}
}

// TestInverseOfNoInverse: a matrix without an inverse is named, and so is one that is not
// square; nothing at all has an inverse of nothing.
func TestInverseOfNoInverse(t *testing.T) {
	id := graph.OpID{Domain: "com.microsoft", Name: "Inverse"}
	stack := tensor.Of([]float32{1, 0, 0, 1, 1, 2, 2, 4}, 2, 2, 2)
	if _, err := apply(t, 22, id, nil, stack); err == nil || !strings.Contains(err.Error(), "matrix 1 of 2 has no inverse") {
		t.Error(err)
	}
	if _, err := apply(t, 22, id, nil, tensor.New(tensor.Float32, 2, 3)); err == nil {
		t.Error("a matrix that is not square has been inverted")
	}
	if got, err := apply(t, 22, id, nil, tensor.New(tensor.Float32, 2, 0, 0)); err != nil || got.Len() != 0 {
		t.Error(got, err)
	}
	metric := attrs("metric", "cosine")
	if _, err := apply(t, 22, graph.OpID{Domain: "com.microsoft", Name: "CDist"}, metric, stack, stack); err == nil || !strings.Contains(err.Error(), `metric "cosine" is not supported`) {
		t.Error(err)
	}
}
