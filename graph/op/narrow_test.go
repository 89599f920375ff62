package op_test

import (
	"testing"

	"tandem/graph"
	"tandem/tensor"
)

// narrowed makes a tensor of a narrow type from float32s.
func narrowed(t testing.TB, d tensor.DType, v []float32, shape ...int) *tensor.Tensor {
	t.Helper()
	x := tensor.New(d, shape...)
	if err := tensor.Convert(x, tensor.Of(v, shape...), true); err != nil {
		t.Fatal(err)
	}
	return x
}

func widenedOut(x *tensor.Tensor) []float32 {
	f := make([]float32, x.Len())
	tensor.Float32s(f, x)
	return f
}

// A float32 kernel that reserves scratch memory serves float16: Softmax, whose
// result is computed in float32 and rounded once.
func TestWidenedKernels(t *testing.T) {
	for _, d := range []tensor.DType{tensor.Float16, tensor.BFloat16} {
		b := testBuilder()
		x := b.Input("x", d, graph.Dims(2, 3)...)
		y := b.Op("Softmax", nil, x)
		b.Output(y)
		b.Output(b.Op("Softmax", nil, y))
		out, err := runAll(t, b, 0, narrowed(t, d, []float32{1, 2, 3, 0, 0, 0}, 2, 3))
		if err != nil {
			t.Fatal(err)
		}
		want := widenedOut(narrowed(t, d, []float32{0.0900306, 0.2447285, 0.6652410, 1. / 3, 1. / 3, 1. / 3}, 2, 3))
		for i, v := range widenedOut(out[0]) {
			if diff := v - want[i]; diff > 0.002 || diff < -0.002 || out[0].DType() != d {
				t.Errorf("%v: %v, want %v", d, widenedOut(out[0]), want)
			}
		}
	}
}
