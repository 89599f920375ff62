package op_test

import (
	"math"
	"testing"

	"tandem/tensor"
)

func TestMakers(t *testing.T) {
	in := func(x ...*tensor.Tensor) []*tensor.Tensor { return x }
	half := func(v float32) *tensor.Tensor {
		x := tensor.New(tensor.Float16)
		tensor.SetFloat32s(x, []float32{v})
		return x
	}
	runCases(t, []nodeCase{
		{op: "ConstantOfShape", version: 9, attrs: attrs("value", words("x")), in: in(vector(2)), want: []string{`string[2] ["x" "x"]`}},
		{name: "negative", op: "ConstantOfShape", version: 9, in: in(vector(-1)), err: "negative"},
		{name: "down", op: "Range", version: 11, in: in(tensor.Scalar(int16(5)), tensor.Scalar(int16(0)), tensor.Scalar(int16(-2))), want: []string{"int16[3] [5 3 1]"}},
		{name: "empty", op: "Range", version: 11, in: in(tensor.Scalar(int64(5)), tensor.Scalar(int64(5)), tensor.Scalar(int64(1))), want: []string{"int64[0] []"}},
		{name: "half", op: "Range", version: 11, in: in(half(0), half(1), half(0.375)), want: []string{"float16[3] [0 0.375 0.75]"}},
		{name: "no step", op: "Range", version: 11, in: in(tensor.Scalar(int64(5)), tensor.Scalar(int64(5)), tensor.Scalar(int64(0))), err: "step is 0"},
		{name: "no end", op: "Range", version: 11, in: in(tensor.Scalar(float32(0)), tensor.Scalar(float32(1)), tensor.Scalar(float32(0))), err: "has no length"},
		{op: "EyeLike", version: 9, attrs: attrs("k", int64(-1), "dtype", int64(tensor.Float16)), in: in(ramp(2, 2)), want: []string{"float16[2x2] [0 0 1 0]"}},
		{name: "far", op: "EyeLike", version: 9, attrs: attrs("k", int64(1)<<62), in: in(ramp(1, 2)), want: []string{"int32[1x2] [0 0]"}},
		{name: "float indices", op: "OneHot", version: 11, attrs: attrs("axis", int64(0)), in: in(floatsIn([]int{3}, 1, -1, 5), tensor.Scalar(float32(2)), words("off", "on")), want: []string{`string[2x3] ["off" "off" "off" "on" "on" "off"]`}},
		{name: "lower", op: "Trilu", version: 14, attrs: attrs("upper", int64(0)), in: in(ramp(1, 2, 2), tensor.Scalar(int64(-1))), want: []string{"int32[1x2x2] [0 0 2 0]"}},
		{name: "far", op: "Trilu", version: 14, in: in(ramp(2, 2), tensor.Scalar(int64(-1<<63))), want: []string{"int32[2x2] [0 1 2 3]"}},
		{op: "Size", version: 13, in: in(ramp(2, 3)), want: []string{"int64[scalar] [6]"}},
		{name: "empty range", op: "Shape", version: 15, attrs: attrs("start", int64(2), "end", int64(-3)), in: in(ramp(2, 3)), want: []string{"int64[0] []"}},
	})
}

func TestUniqueAndNonZero(t *testing.T) {
	in := func(x ...*tensor.Tensor) []*tensor.Tensor { return x }
	nan := floatsIn([]int{1}, 0)
	nan.F32()[0] /= nan.F32()[0]
	runCases(t, []nodeCase{
		{name: "scalar", op: "NonZero", version: 13, in: in(tensor.Scalar(int64(7))), want: []string{"int64[0x1] []"}},
		{name: "signed zero", op: "NonZero", version: 13, in: in(floatsIn([]int{2, 2}, 1, float32(math.Copysign(0, -1)), 0, 2)), want: []string{"int64[2x2] [0 1 0 1]"}},
		{name: "NaN", op: "NonZero", version: 13, in: in(nan), want: []string{"int64[1x1] [0]"}},
		{name: "strings unsorted", op: "Unique", version: 11, attrs: attrs("sorted", int64(0)), in: in(words("b", "a", "b")),
			want: []string{`string[2] ["b" "a"]`, "int64[2] [0 1]", "int64[3] [0 1 0]", "int64[2] [2 1]"}},
		{name: "columns", op: "Unique", version: 11, attrs: attrs("axis", int64(1)), in: in(intsFrom([]int{2, 3}, 1, 0, 1, 2, 9, 2)),
			want: []string{"int64[2x2] [0 1 9 2]", "int64[2] [1 0]", "int64[3] [1 0 1]", "int64[2] [1 2]"}},
		{name: "great integers", op: "Unique", version: 11, in: in(vector(1<<62+1, 1<<62)), want: []string{"int64[2] [4611686018427387904 4611686018427387905]"}},
	})
}
