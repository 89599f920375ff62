package op_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"tandem/graph"
	"tandem/tensor"
)

// shifted checks a function where it is defined for positive numbers only: at
// |x|·scale + offset.
func shifted(name string, scale, offset float32) gradCase {
	return gradCase{
		name: fmt.Sprintf("%s(%v·|x| + %v)", name, scale, offset), inputs: [][]int{{3, 5}}, away: 0.3,
		build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
			x := b.Op("Mul", nil, b.Op("Abs", nil, in[0]), b.Const("scale", tensor.Scalar(scale)))
			return b.Op(name, nil, b.Op("Add", nil, x, b.Const("offset", tensor.Scalar(offset))))
		},
	}
}

func attrCase(name string, away float64, a graph.Attrs) gradCase {
	return gradCase{
		name: fmt.Sprint(name, " ", a), inputs: [][]int{{3, 5}}, away: away,
		build: func(b *graph.Builder, in []*graph.Value) *graph.Value { return b.Op(name, a, in[0]) },
	}
}

// laterOpset builds with operators that are newer than the version that graphs are
// written in.
func laterOpset(c gradCase) gradCase {
	build := c.build
	c.build = func(b *graph.Builder, in []*graph.Value) *graph.Value {
		b.G.Opset[""] = 28
		return build(b, in)
	}
	return c
}

func mathGradCases() []gradCase {
	microsoft := func(name string) gradCase {
		return gradCase{name: "com.microsoft." + name, inputs: [][]int{{3, 5}}, build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
			return b.Node(graph.OpID{Domain: "com.microsoft", Name: name}, 1, nil, in[0])[0]
		}}
	}
	cases := []gradCase{
		unaryCase("Abs", 0.1), unaryCase("Sin", 0), unaryCase("Cos", 0), unaryCase("Atan", 0), unaryCase("Sinh", 0), unaryCase("Cosh", 0),
		unaryCase("Asinh", 0), unaryCase("Erf", 0), unaryCase("Reciprocal", 0.5), shifted("Tan", 0.5, 0), shifted("Sqrt", 1, 0), shifted("Log", 1, 0),
		unaryCase("Softplus", 0), unaryCase("Softsign", 0), unaryCase("Mish", 0), unaryCase("HardSwish", 0), unaryCase("Gelu", 0),
		attrCase("Gelu", 0, attrs("approximate", "tanh")), laterOpset(attrCase("Swish", 0, attrs("alpha", float32(1.5)))),
		laterOpset(gradCase{name: "SwiGLU", inputs: [][]int{{3, 4}, {3, 4}}, build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
			return b.Op("SwiGLU", attrs("alpha", float32(1.5)), in...)
		}}),
		microsoft("Gelu"), microsoft("QuickGelu"),
		attrCase("LeakyRelu", 0.1, attrs("alpha", float32(0.2))), attrCase("Elu", 0.1, attrs("alpha", float32(0.7))), attrCase("Celu", 0.1, attrs("alpha", float32(0.7))),
		attrCase("Selu", 0.1, nil), attrCase("HardSigmoid", 0.1, attrs("alpha", float32(0.3))), attrCase("Cast", 0, attrs("to", int64(1))),
		{
			name: "Clip", inputs: [][]int{{4, 5}},
			build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
				return b.Op("Clip", nil, in[0], b.Const("min", tensor.Scalar(float32(-0.51))), b.Const("max", tensor.Scalar(float32(1.02))))
			},
		},
		{
			name: "Pow of a base and an exponent", inputs: [][]int{{3, 4}, {4}}, away: 0.5,
			build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
				return b.Op("Pow", nil, b.Op("Abs", nil, in[0]), in[1])
			},
		},
		{
			name: "Where", inputs: [][]int{{3, 4}, {4}},
			build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
				return b.Op("Where", nil, b.Const("cond", tensor.Of([]bool{true, false, true}, 3, 1)), in[0], in[1])
			},
		},
		binaryCase("PRelu", []int{2, 3, 4}, []int{3, 1}), binaryCase("Sum", []int{2, 3}, []int{3}), binaryCase("Mean", []int{2, 3}, []int{2, 1}),
	}
	return cases
}

// apply runs one operator of the given opset version on inputs.
func apply(t *testing.T, opset int, id graph.OpID, a graph.Attrs, in ...*tensor.Tensor) (*tensor.Tensor, error) {
	t.Helper()
	b := testBuilder()
	b.G.Opset[""] = opset
	var values []*graph.Value
	var given []*tensor.Tensor
	for i, x := range in {
		if x == nil {
			values = append(values, nil)
			continue
		}
		values = append(values, b.Input(fmt.Sprint("x", i), x.DType(), graph.Dims(x.Shape()...)...))
		given = append(given, x)
	}
	out := b.Node(id, 1, a, values...)[0]
	if b.Err() != nil {
		return nil, b.Err()
	}
	b.Output(out)
	result, err := runAll(t, b, 0, given...)
	if err != nil {
		return nil, err
	}
	return result[0], nil
}

// numbersOf reads any numeric tensor.
func numbersOf(x *tensor.Tensor) []float64 {
	f := make([]float64, x.Len())
	if err := tensor.Convert(tensor.Of(f, x.Shape()...), x, true); err != nil {
		panic(err)
	}
	return f
}

func sameNumbers(a, b []float64, tolerance float64) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != a[i] && b[i] != b[i] {
			continue
		}
		if a[i] != b[i] && !(math.Abs(a[i]-b[i]) <= tolerance*max(1, math.Abs(b[i]))) {
			return false
		}
	}
	return true
}

var numericTypes = []tensor.DType{
	tensor.Float32, tensor.Float64, tensor.Float16, tensor.BFloat16, tensor.Int8, tensor.Int16, tensor.Int32, tensor.Int64,
	tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Uint64,
}

func of(t *testing.T, d tensor.DType, v []float64, shape ...int) *tensor.Tensor {
	t.Helper()
	x := tensor.New(d, shape...)
	if err := tensor.Convert(x, tensor.Of(v, shape...), true); err != nil {
		t.Fatal(err)
	}
	return x
}

// Each operator gives the same small numbers for every type that it has.
func TestArithmeticOnAllTypes(t *testing.T) {
	a, b := []float64{7, 8, 9, 3, 4, 6}, []float64{2, 4, 3} // [2,3] and [3]
	for _, tc := range []struct {
		name  string
		attrs graph.Attrs
		want  []float64
		whole []float64 // of integers, where it differs
	}{
		{"Add", nil, []float64{9, 12, 12, 5, 8, 9}, nil},
		{"Sub", nil, []float64{5, 4, 6, 1, 0, 3}, nil},
		{"Mul", nil, []float64{14, 32, 27, 6, 16, 18}, nil},
		{"Div", nil, []float64{3.5, 2, 3, 1.5, 1, 2}, []float64{3, 2, 3, 1, 1, 2}},
		{"Mod", nil, []float64{1, 0, 0, 1, 0, 0}, nil},
		{"Mod", attrs("fmod", int64(1)), []float64{1, 0, 0, 1, 0, 0}, nil},
		{"Pow", nil, []float64{49, 4096, 729, 9, 256, 216}, nil},
		{"Max", nil, []float64{7, 8, 9, 3, 4, 6}, nil},
		{"Min", nil, []float64{2, 4, 3, 2, 4, 3}, nil},
		{"Greater", nil, []float64{1, 1, 1, 1, 0, 1}, nil},
		{"LessOrEqual", nil, []float64{0, 0, 0, 0, 1, 0}, nil},
		{"Equal", nil, []float64{0, 0, 0, 0, 1, 0}, nil},
	} {
		for _, d := range numericTypes {
			if tc.name == "Pow" && (d.Bits() == 8 || d == tensor.BFloat16) { // 4096 and 729 do not fit
				continue
			}
			want := tc.want
			if tc.whole != nil && !d.Float() {
				want = tc.whole
			}
			y, err := apply(t, 21, graph.OpID{Name: tc.name}, tc.attrs, of(t, d, a, 2, 3), of(t, d, b, 3))
			if err != nil || !sameNumbers(numbersOf(y), want, 0) {
				t.Errorf("%s %v of %v: %v, want %v (%v)", tc.name, tc.attrs, d, y, want, err)
			}
		}
	}
}

// The result may be computed in the memory of either operand.
func TestArithmeticInPlace(t *testing.T) {
	for _, d := range numericTypes {
		for name, want := range map[string][]float64{"Add": {5, 6}, "Sub": {1, 2}, "Mul": {6, 8}, "Div": {3. / 2, 2}, "Mod": {1, 0}, "PRelu": {3, 4}, "BitwiseAnd": {2, 0}, "BitwiseOr": {3, 6}} {
			if d.Float() && name[0:2] == "Bi" {
				continue
			}
			if name == "Div" && !d.Float() {
				want = []float64{1, 2}
			}
			b := testBuilder()
			x, y := b.Input("x", d, graph.Const(2)), b.Input("y", d, graph.Const(2))
			own := func(v *graph.Value) *graph.Value { return b.Op("Abs", nil, v) } // in the arena, read once
			b.Output(b.Op(name, nil, x, own(y)))
			b.Output(b.Op(name, nil, own(x), y))
			b.Output(b.Op(name, nil, own(x), own(y)))
			out, err := runAll(t, b, 0, of(t, d, []float64{3, 4}, 2), of(t, d, []float64{2, 2}, 2))
			if err != nil {
				t.Fatal(err)
			}
			for i, y := range out {
				if !sameNumbers(numbersOf(y), want, 0) {
					t.Errorf("%s of %v, %d: %v, want %v", name, d, i, numbersOf(y), want)
				}
			}
		}
	}
}

// Broadcasting equals the definition: the element at an index of the result is made
// of the operands' elements at that index, 0 where their dimension is 1.
func TestBroadcastEqualsTheDefinition(t *testing.T) {
	for _, tc := range []struct{ a, b, out []int }{
		{[]int{2, 3, 4}, []int{2, 3, 4}, []int{2, 3, 4}}, {[]int{2, 1, 4}, []int{3, 1}, []int{2, 3, 4}},
		{[]int{}, []int{5}, []int{5}}, {[]int{1}, []int{}, []int{1}}, {[]int{3, 1, 5}, []int{1, 4, 1}, []int{3, 4, 5}},
		{[]int{0, 3}, []int{1, 3}, []int{0, 3}}, {[]int{3, 0}, []int{3, 1}, []int{3, 0}}, {[]int{2, 2, 1, 3}, []int{2, 1, 3}, []int{2, 2, 1, 3}},
		{[]int{4, 700}, []int{4, 1}, []int{4, 700}}, {[]int{1, 20000}, []int{3, 20000}, []int{3, 20000}}, {[]int{30000}, []int{1}, []int{30000}},
	} {
		count := func(shape []int, from int64) *tensor.Tensor {
			x := tensor.New(tensor.Int64, shape...)
			for i := range x.I64() {
				x.I64()[i] = from + int64(i)
			}
			return x
		}
		a, b := count(tc.a, 1), count(tc.b, 1_000_000)
		y, err := apply(t, 21, graph.OpID{Name: "Sub"}, nil, a, b)
		if err != nil || !y.Shape().Equal(tc.out) {
			t.Fatalf("%v and %v: %v %v", tc.a, tc.b, y, err)
		}
		for i, got := range y.I64() {
			if want := a.I64()[indexIn(i, tc.out, tc.a)] - b.I64()[indexIn(i, tc.out, tc.b)]; got != want {
				t.Fatalf("%v and %v: element %d is %d, want %d", tc.a, tc.b, i, got, want)
			}
		}
	}
}

func indexIn(i int, out, in []int) int {
	at, stride := 0, 1
	for k := len(out) - 1; k >= 0; k-- {
		pos := i % out[k]
		i /= out[k]
		if j := k - (len(out) - len(in)); j >= 0 {
			if in[j] > 1 {
				at += pos * stride
			}
			stride *= in[j]
		}
	}
	return at
}

// Values by hand, special cases among them.
func TestMathValues(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, tc := range []struct {
		name     string
		attrs    graph.Attrs
		in, want []float64
	}{
		{"Sign", nil, []float64{-3, 0, 2, nan}, []float64{-1, 0, 1, nan}},
		{"Round", nil, []float64{0.5, 1.5, 2.5, -4.5, 2.3}, []float64{0, 2, 2, -4, 2}},
		{"Floor", nil, []float64{-1.5, 1.2}, []float64{-2, 1}},
		{"Ceil", nil, []float64{-1.5, 1.2}, []float64{-1, 2}},
		{"Reciprocal", nil, []float64{4, -0.5, 0}, []float64{0.25, -2, inf}},
		{"Erf", nil, []float64{0, 1, -inf}, []float64{0, 0.8427008, -1}},
		{"Relu", nil, []float64{-1, 2, nan}, []float64{0, 2, nan}},
		{"LeakyRelu", attrs("alpha", float32(0.5)), []float64{-2, 3}, []float64{-1, 3}},
		{"Elu", attrs("alpha", float32(2)), []float64{-1, 3}, []float64{-1.2642411, 3}},
		{"Celu", attrs("alpha", float32(2)), []float64{-1, 3}, []float64{-0.7869387, 3}},
		{"Selu", nil, []float64{-1, 2}, []float64{-1.1113307, 2.1014021}},
		{"ThresholdedRelu", nil, []float64{1, 1.5, -3}, []float64{0, 1.5, 0}},
		{"HardSigmoid", nil, []float64{-3, 0, 1, 3}, []float64{0, 0.5, 0.7, 1}},
		{"HardSwish", nil, []float64{-4, 0, 1.5, 4}, []float64{0, 0, 1.125, 4}},
		{"Softplus", nil, []float64{0, 1000, -1000}, []float64{0.6931472, 1000, 0}},
		{"Softsign", nil, []float64{1, -3}, []float64{0.5, -0.75}},
		{"Mish", nil, []float64{1, -2}, []float64{0.8650984, -0.2525014}},
		{"Gelu", nil, []float64{1, -2}, []float64{0.8413447, -0.0455003}},
		{"Gelu", attrs("approximate", "tanh"), []float64{1, -2}, []float64{0.8411920, -0.0454023}},
		{"Swish", nil, []float64{1, -2}, []float64{0.7310586, -0.2384058}},
		{"Shrink", attrs("lambd", float32(1.5), "bias", float32(1.5)), []float64{-2, -1, 0, 2}, []float64{-0.5, 0, 0, 0.5}},
		{"IsNaN", nil, []float64{1, nan, inf}, []float64{0, 1, 0}},
		{"IsInf", attrs("detect_negative", int64(0)), []float64{inf, -inf, nan}, []float64{1, 0, 0}},
	} {
		for _, d := range []tensor.DType{tensor.Float32, tensor.Float64, tensor.BFloat16, tensor.Float16} {
			tolerance := map[tensor.DType]float64{tensor.Float32: 1e-6, tensor.Float64: 2e-7, tensor.Float16: 2e-3, tensor.BFloat16: 2e-2}[d]
			y, err := apply(t, 24, graph.OpID{Name: tc.name}, tc.attrs, of(t, d, tc.in, len(tc.in)))
			if err != nil || !sameNumbers(numbersOf(y), tc.want, tolerance) {
				t.Errorf("%s %v of %v: want %v (%v)", tc.name, d, tc.in, tc.want, err)
				if err == nil {
					t.Log(numbersOf(y))
				}
			}
		}
	}
}

func TestModHasTheSignThatFmodSays(t *testing.T) {
	a, b := []float64{-4, 7, 5, 4, -7, 8}, []float64{2, -3, 8, -2, 3, 5}
	for fmod, want := range [][]float64{{0, -2, 5, 0, 2, 3}, {0, 1, 5, 0, -1, 3}} {
		for _, d := range []tensor.DType{tensor.Float32, tensor.Int8, tensor.Int64, tensor.Float16} {
			y, err := apply(t, 21, graph.OpID{Name: "Mod"}, attrs("fmod", int64(fmod)), of(t, d, a, 6), of(t, d, b, 6))
			if err != nil || !sameNumbers(numbersOf(y), want, 0) {
				t.Errorf("fmod %d of %v: %v (%v)", fmod, d, numbersOf(y), err)
			}
		}
	}
}

func TestPowOfMixedTypes(t *testing.T) {
	for _, tc := range []struct {
		base, exp tensor.DType
		a, b      []float64
		want      []float64
	}{
		{tensor.Int32, tensor.Float32, []float64{1, 4, 9}, []float64{0.5, 0.5, 0.5}, []float64{1, 2, 3}},
		{tensor.Float32, tensor.Int64, []float64{1.5, 2, -2}, []float64{2, -1, 3}, []float64{2.25, 0.5, -8}},
		{tensor.Int64, tensor.Int64, []float64{3, -2, 2}, []float64{33, 3, -1}, []float64{5559060566555523, -8, 0}},
		{tensor.Float16, tensor.Float64, []float64{4, 9, 2}, []float64{0.5, 0.5, 2}, []float64{2, 3, 4}},
	} {
		y, err := apply(t, 21, graph.OpID{Name: "Pow"}, nil, of(t, tc.base, tc.a, 3), of(t, tc.exp, tc.b, 3))
		if err != nil || y.DType() != tc.base || !sameNumbers(numbersOf(y), tc.want, 0) {
			t.Errorf("%v to the power of %v: %v %v", tc.base, tc.exp, y, err)
		}
	}
}

// Before version 7 attributes said how the second operand is broadcast.
func TestOldBroadcast(t *testing.T) {
	a := of(t, tensor.Float32, []float64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, 2, 3, 2)
	b := of(t, tensor.Float32, []float64{100, 200, 300}, 3)
	want := []float64{100, 101, 202, 203, 304, 305, 106, 107, 208, 209, 310, 311}
	for _, axis := range []int64{1, -2} {
		y, err := apply(t, 6, graph.OpID{Name: "Add"}, attrs("broadcast", int64(1), "axis", axis), a, b)
		if err != nil || !sameNumbers(numbersOf(y), want, 0) {
			t.Errorf("axis %d: %v %v", axis, y, err)
		}
	}
	y, err := apply(t, 6, graph.OpID{Name: "Less"}, attrs("broadcast", int64(1), "axis", int64(0)), a, of(t, tensor.Float32, []float64{3, 8}, 2))
	if err != nil || y.DType() != tensor.Bool || !sameNumbers(numbersOf(y), []float64{1, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0}, 0) {
		t.Errorf("Less: %v %v", y, err)
	}
	for _, a2 := range []graph.Attrs{nil, attrs("broadcast", int64(1), "axis", int64(2)), attrs("broadcast", int64(1), "axis", int64(9))} {
		if _, err := apply(t, 6, graph.OpID{Name: "Mul"}, a2, a, b); err == nil {
			t.Errorf("%v: no error", a2)
		}
	}
}

func TestFoldsAndClip(t *testing.T) {
	in := []*tensor.Tensor{of(t, tensor.Float64, []float64{1, 5, 3}, 3), of(t, tensor.Float64, []float64{4}, 1), of(t, tensor.Float64, []float64{2, 0, 9, 1, 1, math.NaN()}, 2, 3)}
	for name, want := range map[string][]float64{
		"Max": {4, 5, 9, 4, 5, math.NaN()}, "Min": {1, 0, 3, 1, 1, math.NaN()}, "Sum": {7, 9, 16, 6, 10, math.NaN()}, "Mean": {7. / 3, 3, 16. / 3, 2, 10. / 3, math.NaN()},
	} {
		y, err := apply(t, 13, graph.OpID{Name: name}, nil, in...)
		if err != nil || !sameNumbers(numbersOf(y), want, 1e-15) {
			t.Errorf("%s: %v %v", name, y, err)
		}
	}
	x := of(t, tensor.Int8, []float64{-5, 0, 5}, 3)
	for _, tc := range []struct {
		lo, hi []float64
		want   []float64
	}{{nil, []float64{3}, []float64{-5, 0, 3}}, {[]float64{-1}, nil, []float64{-1, 0, 5}}, {[]float64{4}, []float64{2}, []float64{2, 2, 2}}} {
		limit := func(v []float64) *tensor.Tensor {
			if v == nil {
				return nil
			}
			return of(t, tensor.Int8, v)
		}
		y, err := apply(t, 13, graph.OpID{Name: "Clip"}, nil, x, limit(tc.lo), limit(tc.hi))
		if err != nil || !sameNumbers(numbersOf(y), tc.want, 0) {
			t.Errorf("Clip %v %v: %v %v", tc.lo, tc.hi, numbersOf(y), err)
		}
	}
	y, err := apply(t, 6, graph.OpID{Name: "Clip"}, attrs("min", float32(-1), "max", float32(2)), of(t, tensor.Float16, []float64{-3, 1, 3}, 3))
	if err != nil || !sameNumbers(numbersOf(y), []float64{-1, 1, 2}, 0) {
		t.Errorf("Clip with attributes: %v", err)
	}
}

func TestArithmeticRefuses(t *testing.T) {
	one := of(t, tensor.Int32, []float64{1, 2}, 2)
	for _, tc := range []struct {
		name string
		a    graph.Attrs
		in   []*tensor.Tensor
		want string
	}{
		{"Div", nil, []*tensor.Tensor{one, of(t, tensor.Int32, []float64{1, 0}, 2)}, "an integer (2) is divided by 0"},
		{"Mod", nil, []*tensor.Tensor{one, of(t, tensor.Int32, []float64{0}, 1)}, "an integer (1) is divided by 0"},
		{"Add", nil, []*tensor.Tensor{one, of(t, tensor.Float32, []float64{1, 0}, 2)}, "one type is expected"},
		{"Add", nil, []*tensor.Tensor{one, of(t, tensor.Int32, []float64{1, 0, 0}, 3)}, "cannot be broadcast"},
		{"Add", nil, []*tensor.Tensor{tensor.New(tensor.Bool, 2), tensor.New(tensor.Bool, 2)}, "expected numbers"},
		{"Exp", nil, []*tensor.Tensor{one}, "expected a floating-point type"},
		{"PRelu", nil, []*tensor.Tensor{of(t, tensor.Float32, []float64{1}, 1), of(t, tensor.Float32, []float64{1, 2}, 2)}, "dimensions of the slope"},
		{"Gelu", attrs("approximate", "fast"), []*tensor.Tensor{of(t, tensor.Float32, []float64{1}, 1)}, "expected none or tanh"},
		{"Max", nil, nil, "input 0 is missing"},
		{"BitShift", nil, []*tensor.Tensor{one, one}, "expected LEFT or RIGHT"},
		{"And", nil, []*tensor.Tensor{one, one}, "expected bool"},
		{"Clip", nil, []*tensor.Tensor{one, one}, "expected a scalar"},
	} {
		if _, err := apply(t, 21, graph.OpID{Name: tc.name}, tc.a, tc.in...); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
}
