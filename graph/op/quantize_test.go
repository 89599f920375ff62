package op_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"tandem/graph"
	"tandem/tensor"
)

func TestQuantizeAndBack(t *testing.T) {
	quantize, dequantize := graph.OpID{Name: "QuantizeLinear"}, graph.OpID{Name: "DequantizeLinear"}
	x := []float64{0, 2, 3, 1000, -254, -1000}
	for _, tc := range []struct {
		d          tensor.DType
		zero       float64
		want, back []float64
	}{
		{tensor.Uint8, 128, []float64{128, 129, 130, 255, 1, 0}, []float64{0, 2, 4, 254, -254, -256}},
		{tensor.Int8, 1, []float64{1, 2, 3, 127, -126, -128}, []float64{0, 2, 4, 252, -254, -258}},
		{tensor.Uint16, 600, []float64{600, 601, 602, 1100, 473, 100}, []float64{0, 2, 4, 1000, -254, -1000}},
		{tensor.Int4, 1, []float64{1, 2, 3, 7, -8, -8}, []float64{0, 2, 4, 12, -18, -18}},
		{tensor.Uint2, 1, []float64{1, 2, 3, 3, 0, 0}, []float64{0, 2, 4, 4, -2, -2}},
		{tensor.Float8E4M3FN, 0, []float64{0, 1, 1.5, 448, -128, -448}, []float64{0, 2, 3, 896, -256, -896}},
		{tensor.Float4E2M1, 0, []float64{0, 1, 1.5, 6, -6, -6}, []float64{0, 2, 3, 12, -12, -12}},
	} {
		scale, zero := of(t, tensor.Float32, []float64{2}), of(t, tc.d, []float64{tc.zero})
		q, err := apply(t, 25, quantize, nil, of(t, tensor.Float32, x, 6), scale, zero)
		if err != nil || q.DType() != tc.d || !sameNumbers(numbersOf(q), tc.want, 0) {
			t.Errorf("%v: want %v (%v)", tc.d, tc.want, err)
			continue
		}
		y, err := apply(t, 25, dequantize, nil, q, scale, zero)
		if err != nil || !sameNumbers(numbersOf(y), tc.back, 0) {
			t.Errorf("%v: back to %v, want %v (%v)", tc.d, numbersOf(y), tc.back, err)
		}
	}
}

func TestQuantizationGrains(t *testing.T) {
	x := of(t, tensor.Int8, []float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 2, 5)
	for _, tc := range []struct {
		scale *tensor.Tensor
		a     graph.Attrs
		want  []float64
	}{
		{of(t, tensor.Float32, []float64{10, 100}, 2), attrs("axis", int64(0)), []float64{10, 20, 30, 40, 50, 600, 700, 800, 900, 1000}},
		{of(t, tensor.Float32, []float64{1, 2, 3, 4, 5}, 5), attrs("axis", int64(-1)), []float64{1, 4, 9, 16, 25, 6, 14, 24, 36, 50}},
		{of(t, tensor.Float32, []float64{1, 10, 2, 20}, 2, 2), attrs("axis", int64(1), "block_size", int64(3)), []float64{1, 2, 3, 40, 50, 12, 14, 16, 180, 200}},
		{of(t, tensor.Float32, []float64{1, 2, 3, 4, 5}, 1, 5), attrs("axis", int64(0), "block_size", int64(2)), []float64{1, 4, 9, 16, 25, 6, 14, 24, 36, 50}},
	} {
		y, err := apply(t, 25, graph.OpID{Name: "DequantizeLinear"}, tc.a, x, tc.scale)
		if err != nil || !sameNumbers(numbersOf(y), tc.want, 0) {
			t.Errorf("%v: %v %v", tc.a, y, err)
		}
	}
	for want, a := range map[string]graph.Attrs{"2 numbers are expected": attrs("axis", int64(0)), "axis 7 is outside": attrs("axis", int64(7)), "output_dtype is 99": attrs("axis", int64(1), "output_dtype", int64(99))} {
		_, err := apply(t, 25, graph.OpID{Name: "DequantizeLinear"}, a, x, of(t, tensor.Float32, []float64{1, 2, 3, 4, 5}, 5))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// The quotient is rounded to the scale's type unless another precision is asked for.
func TestQuantizePrecision(t *testing.T) {
	x := of(t, tensor.Float32, []float64{2.5001}, 1) // 2.5 in float16, which rounds to 2
	scale := of(t, tensor.Float16, []float64{1})
	for _, tc := range []struct {
		a    graph.Attrs
		want float64
	}{{nil, 2}, {attrs("precision", int64(tensor.Float32)), 3}} {
		y, err := apply(t, 25, graph.OpID{Name: "QuantizeLinear"}, tc.a, x, scale)
		if err != nil || y.DType() != tensor.Uint8 || numbersOf(y)[0] != tc.want {
			t.Errorf("%v: %v %v", tc.a, y, err)
		}
	}
}

func TestDynamicQuantize(t *testing.T) {
	for _, tc := range []struct {
		x     []float64
		scale float64
		zero  byte
		y     []byte
	}{
		{[]float64{0, 2, -3, -2.5, 1.34, 0.5}, 5. / 255, 153, []byte{153, 255, 0, 25, 221, 179}}, // -2.5 is 127.5 steps, 25.5 with the zero point
		{[]float64{1, 2.1, 1.3, 2.5, 3.34, 4.0}, 4. / 255, 0, []byte{64, 134, 83, 159, 213, 255}},
		{[]float64{0, 0, 0, 0, 0, 0}, 1, 0, []byte{0, 0, 0, 0, 0, 0}},
	} {
		b := testBuilder()
		x := b.Input("x", tensor.Float32, graph.Dims(6)...)
		b.G.Outputs = b.Node(graph.OpID{Name: "DynamicQuantizeLinear"}, 3, nil, x)
		out, err := runAll(t, b, 0, of(t, tensor.Float32, tc.x, 6))
		if err != nil || math.Abs(float64(out[1].F32()[0])-tc.scale) > 1e-7 || out[2].Bytes()[0] != tc.zero {
			t.Errorf("%v: %v %v %v", tc.x, out, err, out[2].Bytes())
			continue
		}
		for i, got := range out[0].Bytes() {
			if d := int(got) - int(tc.y[i]); d < -1 || d > 1 {
				t.Errorf("%v: %v, want %v", tc.x, out[0].Bytes(), tc.y)
			}
		}
	}
}

func TestQLinear(t *testing.T) {
	number := func(v float64) *tensor.Tensor { return of(t, tensor.Float32, []float64{v}) }
	zero := func(v float64) *tensor.Tensor { return of(t, tensor.Uint8, []float64{v}) }
	a, b := of(t, tensor.Uint8, []float64{10, 20, 130, 255}, 2, 2), of(t, tensor.Uint8, []float64{8, 128}, 2)
	for name, f := range map[string]func(a, b float64) float64{
		"QLinearAdd": func(a, b float64) float64 { return a + b }, "QLinearMul": func(a, b float64) float64 { return a * b },
	} {
		y, err := apply(t, 21, graph.OpID{Domain: "com.microsoft", Name: name}, nil, a, number(0.5), zero(10), b, number(0.25), zero(128), number(1), zero(200))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := make([]float64, 4)
		for i, v := range []float64{0, 5, 60, 122.5} {
			want[i] = min(max(math.RoundToEven(f(v, []float64{-30, 0}[i%2]))+200, 0), 255)
		}
		if !slices.Equal(numbersOf(y), want) {
			t.Errorf("%s: %v, want %v", name, numbersOf(y), want)
		}
	}
}
