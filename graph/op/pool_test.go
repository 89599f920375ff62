package op_test

import (
	"math"
	"testing"

	"tandem/graph"
	"tandem/tensor"
)

func TestPools(t *testing.T) {
	x := []float64{1, 2, 3, 4, 5, 6, 7, 8, 9} // [1,1,3,3]
	two := attrs("kernel_shape", longs(2, 2))
	with := func(a graph.Attrs, kv ...any) graph.Attrs {
		out := attrs(kv...)
		for k, v := range a {
			out[k] = v
		}
		return out
	}
	ceil := with(two, "strides", longs(2, 2), "ceil_mode", int64(1))
	padded := with(two, "strides", longs(2, 2), "pads", longs(1, 1, 0, 0))
	for _, tc := range []struct {
		name  string
		attrs graph.Attrs
		want  []float64
	}{
		{"MaxPool", two, []float64{5, 6, 8, 9}},
		{"MaxPool", ceil, []float64{5, 6, 8, 9}},
		{"MaxPool", padded, []float64{1, 3, 7, 9}},
		{"MaxPool", with(two, "dilations", longs(2, 2)), []float64{9}},
		{"AveragePool", two, []float64{3, 4, 6, 7}},
		{"AveragePool", ceil, []float64{3, 4.5, 7.5, 9}},
		{"AveragePool", with(ceil, "count_include_pad", int64(1)), []float64{3, 4.5, 7.5, 9}},
		{"AveragePool", padded, []float64{1, 2.5, 5.5, 7}},
		{"AveragePool", with(padded, "count_include_pad", int64(1)), []float64{0.25, 1.25, 2.75, 7}},
		{"AveragePool", with(two, "auto_pad", "SAME_UPPER", "strides", longs(2, 2)), []float64{3, 4.5, 7.5, 9}},
		{"AveragePool", with(two, "auto_pad", "SAME_LOWER", "strides", longs(2, 2)), []float64{1, 2.5, 5.5, 7}},
		{"AveragePool", with(two, "dilations", longs(2, 2)), []float64{5}},
		{"LpPool", with(two, "p", int64(1)), []float64{12, 16, 24, 28}},
		{"LpPool", with(two, "strides", longs(2, 2)), []float64{math.Sqrt(46)}},
		{"GlobalAveragePool", nil, []float64{5}},
		{"GlobalMaxPool", nil, []float64{9}},
		{"GlobalLpPool", nil, []float64{math.Sqrt(285)}},
	} {
		for _, d := range floatTypes {
			got, err := apply(t, 22, graph.OpID{Name: tc.name}, tc.attrs, of(t, d, x, 1, 1, 3, 3))
			if err != nil {
				t.Fatalf("%s %v: %v", tc.name, tc.attrs, err)
			}
			if got.DType() != d || !sameNumbers(numbersOf(got), tc.want, tolerance(d)) {
				t.Errorf("%s %v of %v: %v, want %v", tc.name, tc.attrs, d, numbersOf(got), tc.want)
			}
		}
	}
	for _, d := range []tensor.DType{tensor.Int8, tensor.Uint8} {
		got, err := apply(t, 12, graph.OpID{Name: "MaxPool"}, padded, of(t, d, x, 1, 1, 3, 3))
		if err != nil || !sameNumbers(numbersOf(got), []float64{1, 3, 7, 9}, 0) {
			t.Errorf("MaxPool of %v: %v, %v", d, got, err)
		}
	}
}

// Indices count through the whole tensor; MaxUnpool is the way back.
func TestMaxPoolIndices(t *testing.T) {
	nan := float32(math.NaN())
	x := tensor.Of([]float32{1, 9, 2, 3, 4, 5, 8, 7, 0, 0, nan, 2, 1, 1, 0, 3}, 1, 2, 2, 4)
	for _, tc := range []struct {
		order   int64
		indices []int64
	}{{0, []int64{1, 6, 12, 10}}, {1, []int64{2, 5, 9, 12}}} {
		b := testBuilder()
		v := b.Input("x", tensor.Float32, graph.Dims(1, 2, 2, 4)...)
		a := attrs("kernel_shape", longs(2, 2), "strides", longs(2, 2), "storage_order", tc.order)
		out := b.Node(graph.OpID{Name: "MaxPool"}, 2, a, v)
		b.Output(out[0])
		b.Output(out[1])
		up := b.Op("MaxUnpool", attrs("kernel_shape", longs(2, 2), "strides", longs(2, 2)), out[0], out[1])
		b.Output(up)
		got, err := runAll(t, b, 0, x)
		if err != nil {
			t.Fatal(err)
		}
		at := got[1].I64()
		for i, o := range got[0].F32() {
			if back := got[2].F32()[at[i]]; tc.order == 0 && back != o && o == o {
				t.Errorf("unpooled %v, want %v at %d", got[2].F32(), o, at[i])
			}
		}
		for i, want := range tc.indices {
			if at[i] != want {
				t.Errorf("storage_order %d: indices %v, want %v", tc.order, at, tc.indices)
				break
			}
		}
		if v := got[0].F32(); v[0] != 9 || v[1] != 8 || v[2] != 1 || v[3] == v[3] {
			t.Errorf("maxima %v, want 9 8 1 NaN", v)
		}
	}
}

// A dilated window may step over the whole input.
func TestPoolOfPaddingAlone(t *testing.T) {
	a := attrs("kernel_shape", longs(2), "dilations", longs(3), "pads", longs(1, 1))
	for _, d := range []tensor.DType{tensor.Float32, tensor.Float64, tensor.Float16, tensor.Int8} {
		want := math.Inf(-1)
		if d == tensor.Int8 {
			want = -128
		}
		got, err := apply(t, 22, graph.OpID{Name: "MaxPool"}, a, of(t, d, []float64{1, 2}, 1, 1, 2))
		if err != nil || !sameNumbers(numbersOf(got), []float64{want}, 0) {
			t.Errorf("MaxPool of %v: %v %v", d, got, err)
		}
	}
	got, err := apply(t, 22, graph.OpID{Name: "AveragePool"}, a, of(t, tensor.Float32, []float64{1, 2}, 1, 1, 2))
	if err != nil || !sameNumbers(numbersOf(got), []float64{0}, 0) {
		t.Errorf("AveragePool: %v %v", got, err)
	}
}

func TestMaxUnpoolChecksIndices(t *testing.T) {
	a := attrs("kernel_shape", longs(2), "strides", longs(2))
	x := tensor.Of([]float32{1, 2}, 1, 1, 2)
	for _, at := range []int64{-1, 4} {
		if _, err := apply(t, 11, graph.OpID{Name: "MaxUnpool"}, a, x, tensor.Of([]int64{0, at}, 1, 1, 2)); err == nil {
			t.Errorf("index %d: no error", at)
		}
	}
	got, err := apply(t, 11, graph.OpID{Name: "MaxUnpool"}, a, x, tensor.Of([]int64{1, 2}, 1, 1, 2), tensor.Of([]int64{1, 1, 6}, 3))
	if err != nil || !sameNumbers(numbersOf(got), []float64{0, 1, 2, 0, 0, 0}, 0) {
		t.Errorf("with an output_shape: %v, %v", got, err)
	}
}

func TestPoolErrors(t *testing.T) {
	x := tensor.New(tensor.Float32, 1, 1, 3, 3)
	for name, a := range map[string]graph.Attrs{
		"no window":        nil,
		"rank":             attrs("kernel_shape", longs(2)),
		"zero window":      attrs("kernel_shape", longs(0, 2)),
		"too large":        attrs("kernel_shape", longs(4, 4)),
		"padding reaches":  attrs("kernel_shape", longs(2, 2), "pads", longs(2, 0, 0, 0)),
		"negative padding": attrs("kernel_shape", longs(2, 2), "pads", longs(-1, 0, 0, 0)),
	} {
		for _, op := range []string{"MaxPool", "AveragePool", "LpPool"} {
			if _, err := apply(t, 22, graph.OpID{Name: op}, a, x); err == nil {
				t.Errorf("%s, %s: no error", op, name)
			}
		}
	}
	if _, err := apply(t, 22, graph.OpID{Name: "LpPool"}, attrs("kernel_shape", longs(2, 2), "p", int64(0)), x); err == nil {
		t.Error("p of 0: no error")
	}
}
