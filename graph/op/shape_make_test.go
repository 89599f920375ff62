package op_test

import (
	"math"
	"testing"

	"tandem/graph/op/optest"
	"tandem/tensor"
)

func TestMakers(t *testing.T) {
	in := func(x ...*tensor.Tensor) []*tensor.Tensor { return x }
	half := func(v float32) *tensor.Tensor {
		x := tensor.New(tensor.Float16)
		tensor.SetFloat32s(x, []float32{v})
		return x
	}
	optest.Cases(t, []optest.Case{
		{Op: "ConstantOfShape", Version: 9, Attrs: attrs("value", optest.Words("x")), In: in(optest.Ints(2)), Want: []string{`string[2] ["x" "x"]`}},
		{Name: "negative", Op: "ConstantOfShape", Version: 9, In: in(optest.Ints(-1)), Err: "negative"},
		{Name: "down", Op: "Range", Version: 11, In: in(tensor.Scalar(int16(5)), tensor.Scalar(int16(0)), tensor.Scalar(int16(-2))), Want: []string{"int16[3] [5 3 1]"}},
		{Name: "empty", Op: "Range", Version: 11, In: in(tensor.Scalar(int64(5)), tensor.Scalar(int64(5)), tensor.Scalar(int64(1))), Want: []string{"int64[0] []"}},
		{Name: "half", Op: "Range", Version: 11, In: in(half(0), half(1), half(0.375)), Want: []string{"float16[3] [0 0.375 0.75]"}},
		{Name: "no step", Op: "Range", Version: 11, In: in(tensor.Scalar(int64(5)), tensor.Scalar(int64(5)), tensor.Scalar(int64(0))), Err: "step is 0"},
		{Name: "no end", Op: "Range", Version: 11, In: in(tensor.Scalar(float32(0)), tensor.Scalar(float32(1)), tensor.Scalar(float32(0))), Err: "has no length"},
		{Op: "EyeLike", Version: 9, Attrs: attrs("k", int64(-1), "dtype", int64(tensor.Float16)), In: in(ramp(2, 2)), Want: []string{"float16[2x2] [0 0 1 0]"}},
		{Name: "far", Op: "EyeLike", Version: 9, Attrs: attrs("k", int64(1)<<62), In: in(ramp(1, 2)), Want: []string{"int32[1x2] [0 0]"}},
		{Name: "float indices", Op: "OneHot", Version: 11, Attrs: attrs("axis", int64(0)), In: in(floatsIn([]int{3}, 1, -1, 5), tensor.Scalar(float32(2)), optest.Words("off", "on")), Want: []string{`string[2x3] ["off" "off" "off" "on" "on" "off"]`}},
		{Name: "lower", Op: "Trilu", Version: 14, Attrs: attrs("upper", int64(0)), In: in(ramp(1, 2, 2), tensor.Scalar(int64(-1))), Want: []string{"int32[1x2x2] [0 0 2 0]"}},
		{Name: "far", Op: "Trilu", Version: 14, In: in(ramp(2, 2), tensor.Scalar(int64(-1<<63))), Want: []string{"int32[2x2] [0 1 2 3]"}},
		{Op: "Size", Version: 13, In: in(ramp(2, 3)), Want: []string{"int64[scalar] [6]"}},
		{Name: "empty range", Op: "Shape", Version: 15, Attrs: attrs("start", int64(2), "end", int64(-3)), In: in(ramp(2, 3)), Want: []string{"int64[0] []"}},
	})
}

func TestUniqueAndNonZero(t *testing.T) {
	in := func(x ...*tensor.Tensor) []*tensor.Tensor { return x }
	nan := floatsIn([]int{1}, 0)
	nan.F32()[0] /= nan.F32()[0]
	optest.Cases(t, []optest.Case{
		{Name: "scalar", Op: "NonZero", Version: 13, In: in(tensor.Scalar(int64(7))), Want: []string{"int64[0x1] []"}},
		{Name: "signed zero", Op: "NonZero", Version: 13, In: in(floatsIn([]int{2, 2}, 1, float32(math.Copysign(0, -1)), 0, 2)), Want: []string{"int64[2x2] [0 1 0 1]"}},
		{Name: "NaN", Op: "NonZero", Version: 13, In: in(nan), Want: []string{"int64[1x1] [0]"}},
		{Name: "strings unsorted", Op: "Unique", Version: 11, Attrs: attrs("sorted", int64(0)), In: in(optest.Words("b", "a", "b")),
			Want: []string{`string[2] ["b" "a"]`, "int64[2] [0 1]", "int64[3] [0 1 0]", "int64[2] [2 1]"}},
		{Name: "columns", Op: "Unique", Version: 11, Attrs: attrs("axis", int64(1)), In: in(intsFrom([]int{2, 3}, 1, 0, 1, 2, 9, 2)),
			Want: []string{"int64[2x2] [0 1 9 2]", "int64[2] [1 0]", "int64[3] [1 0 1]", "int64[2] [1 2]"}},
		{Name: "great integers", Op: "Unique", Version: 11, In: in(optest.Ints(1<<62+1, 1<<62)), Want: []string{"int64[2] [4611686018427387904 4611686018427387905]"}},
	})
}
