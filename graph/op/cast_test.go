package op_test

import (
	"slices"
	"strings"
	"testing"

	"tandem/graph"
	"tandem/tensor"
)

func cast(t *testing.T, x *tensor.Tensor, to tensor.DType) (*tensor.Tensor, error) {
	return apply(t, 25, graph.OpID{Name: "Cast"}, attrs("to", int64(to)), x)
}

func TestCastStrings(t *testing.T) {
	text := tensor.OfStrings([]string{"3.14", " 1e-5 ", "1E8", "+INF", "-inf", "nan", "100.5", "1e400"}, 8)
	y, err := cast(t, text, tensor.Float64)
	if err != nil || !sameNumbers(numbersOf(y)[:3], []float64{3.14, 1e-5, 1e8}, 0) || numbersOf(y)[5] == numbersOf(y)[5] || numbersOf(y)[7] < 1e308 {
		t.Errorf("%v %v", y, err)
	}
	y, err = cast(t, tensor.OfStrings([]string{"9223372036854775807", "100.5", "-7"}, 3), tensor.Int64)
	if err != nil || !slices.Equal(y.I64(), []int64{9223372036854775807, 100, -7}) {
		t.Errorf("%v %v", y, err)
	}
	y, err = cast(t, tensor.OfStrings([]string{"1.5", "-2"}, 2), tensor.Float16)
	if err != nil || !sameNumbers(numbersOf(y), []float64{1.5, -2}, 0) {
		t.Errorf("%v %v", y, err)
	}
	if _, err = cast(t, tensor.OfStrings([]string{"7", "Hello"}, 2), tensor.Float32); err == nil || !strings.Contains(err.Error(), `element 1, "Hello", is not a number`) {
		t.Errorf("%v", err)
	}
	for _, tc := range []struct {
		x    *tensor.Tensor
		want []string
	}{
		{of(t, tensor.Float32, []float64{314.15926, 1, 0, 1e-7, 1e20, 0.1}, 6), []string{"314.15927", "1.0", "0.0", "1e-07", "1e+20", "0.1"}},
		{of(t, tensor.Float16, []float64{0.1, 65504}, 2), []string{"0.1", "65500.0"}},
		{tensor.Of([]uint64{1<<64 - 1}, 1), []string{"18446744073709551615"}},
		{of(t, tensor.Int4, []float64{-8, 7}, 2), []string{"-8", "7"}},
		{tensor.Of([]bool{true, false}, 2), []string{"True", "False"}},
		{tensor.OfStrings([]string{"as is"}, 1), []string{"as is"}},
	} {
		y, err := cast(t, tc.x, tensor.String)
		if err != nil || !slices.Equal(y.Strings(), tc.want) {
			t.Errorf("%v: %v %v", tc.x, y, err)
		}
	}
}

func TestCastLikeAndBitCast(t *testing.T) {
	y, err := apply(t, 19, graph.OpID{Name: "CastLike"}, nil, of(t, tensor.Float32, []float64{1.7, -1}, 2), tensor.New(tensor.Int8, 5))
	if err != nil || y.DType() != tensor.Int8 || !sameNumbers(numbersOf(y), []float64{1, -1}, 0) {
		t.Errorf("CastLike: %v %v", y, err)
	}
	y, err = apply(t, 26, graph.OpID{Name: "BitCast"}, attrs("to", int64(tensor.Uint32)), of(t, tensor.Float32, []float64{1}, 1))
	if err != nil || tensor.Data[uint32](y)[0] != 0x3f800000 {
		t.Errorf("BitCast: %v %v", y, err)
	}
	if _, err := apply(t, 26, graph.OpID{Name: "BitCast"}, attrs("to", int64(tensor.Uint16)), of(t, tensor.Float32, []float64{1}, 1)); err == nil {
		t.Error("BitCast to another width accepted")
	}
	if _, err := cast(t, of(t, tensor.Float32, []float64{1}, 1), 99); err == nil {
		t.Error("type 99 accepted")
	}
	if _, err := apply(t, 25, graph.OpID{Name: "Cast"}, attrs("to", int64(24), "round_mode", "sideways"), of(t, tensor.Float32, []float64{1}, 1)); err == nil {
		t.Error("round_mode sideways accepted")
	}
}
