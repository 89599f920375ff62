package op_test

import (
	"math"
	"testing"

	"tandem/tensor"
)

func TestResize(t *testing.T) {
	in := func(x ...*tensor.Tensor) []*tensor.Tensor { return x }
	row := floatsIn([]int{1, 1, 1, 2}, 0, 4)
	scales := func(v ...float32) *tensor.Tensor { return tensor.Of(v, len(v)) }
	half := tensor.New(tensor.Float16, 1, 1, 1, 2)
	tensor.SetFloat32s(half, row.F32())
	runCases(t, []nodeCase{
		{name: "linear", op: "Upsample", version: 7, attrs: attrs("mode", "linear", "scales", []float32{1, 1, 1, 2}), in: in(row), want: []string{"float32[1x1x1x4] [0 2 4 4]"}},
		{name: "", op: "Upsample", version: 9, in: in(row, scales(1, 1, 2, 1.5)), want: []string{"float32[1x1x2x3] [0 0 4 0 0 4]"}},
		{name: "first version", op: "Resize", version: 10, attrs: attrs("mode", "linear"), in: in(row, scales(1, 1, 1, 2)), want: []string{"float32[1x1x1x4] [0 2 4 4]"}},
		{name: "half pixel", op: "Resize", version: 13, attrs: attrs("mode", "linear"), in: in(row, nil, scales(1, 1, 1, 2)), want: []string{"float32[1x1x1x4] [0 1 3 4]"}},
		{name: "float16", op: "Resize", version: 19, attrs: attrs("mode", "linear"), in: in(half, nil, nil, vector(1, 1, 1, 4)), want: []string{"float16[1x1x1x4] [0 1 3 4]"}},
		{name: "saturated", op: "Resize", version: 19, attrs: attrs("mode", "cubic"), in: in(tensor.Of([]uint8{0, 0, 255, 255}, 4), nil, nil, vector(8)), want: []string{"uint8[8] [0 0 0 58 197 255 255 255]"}},
		{name: "antialias", op: "Resize", version: 18, attrs: attrs("mode", "linear", "antialias", int64(1)), in: in(floatsIn([]int{4}, 0, 2, 4, 6), nil, nil, vector(2)), want: []string{"float32[2] [1.25 4.75]"}},
		{name: "half pixels for nearest", op: "Resize", version: 11, attrs: attrs("coordinate_transformation_mode", "tf_half_pixel_for_nn", "nearest_mode", "floor"), in: in(ramp(4), nil, scales(0.5)), want: []string{"int32[2] [1 3]"}},
		{name: "strings", op: "Resize", version: 13, in: in(words("a", "b"), nil, nil, vector(3)), want: []string{`string[3] ["a" "a" "b"]`}},
		{name: "outside", op: "Resize", version: 13, attrs: attrs("coordinate_transformation_mode", "tf_crop_and_resize", "extrapolation_value", float32(9)), in: in(ramp(2), scales(0, 2), nil, vector(3)), want: []string{"int32[3] [0 1 9]"}},
		{name: "aspect", op: "Resize", version: 18, attrs: attrs("keep_aspect_ratio_policy", "not_larger", "axes", []int64{1, 0}), in: in(ramp(1, 2), nil, nil, vector(4, 9)), want: []string{"int32[2x4] [0 0 1 1 0 0 1 1]"}},
		{name: "no scale", op: "Resize", version: 13, in: in(row, nil, scales(1, 1, 1, 0)), err: "scale 0 is not positive"},
		{name: "no region", op: "Resize", version: 13, attrs: attrs("coordinate_transformation_mode", "tf_crop_and_resize"), in: in(row, nil, scales(1, 1, 1, 2)), err: "region of interest"},
		{name: "mode", op: "Resize", version: 13, attrs: attrs("mode", "lanczos"), in: in(row, nil, scales(1, 1, 1, 2)), err: `mode is "lanczos"`},
		{name: "from nothing", op: "Resize", version: 13, in: in(ramp(0), nil, nil, vector(2)), err: "cannot be resized"},
		{name: "to nothing", op: "Resize", version: 13, attrs: attrs("mode", "linear"), in: in(row, nil, nil, vector(1, 1, 1, 0)), want: []string{"float32[1x1x1x0] []"}},
	})
}

func TestSamplers(t *testing.T) {
	in := func(x ...*tensor.Tensor) []*tensor.Tensor { return x }
	image := floatsIn([]int{1, 1, 1, 4}, 1, 2, 3, 4)
	at := func(x ...float32) *tensor.Tensor {
		grid := tensor.New(tensor.Float32, 1, 1, len(x), 2)
		for i, v := range x {
			grid.F32()[2*i] = v
		}
		return grid
	}
	nan := float32(math.NaN())
	runCases(t, []nodeCase{
		{name: "zeros", op: "GridSample", version: 16, in: in(image, at(-1, -0.5, 0, 1, 40)), want: []string{"float32[1x1x1x5] [0.5 1.5 2.5 2 0]"}},
		{name: "border", op: "GridSample", version: 20, attrs: attrs("padding_mode", "border"), in: in(image, at(-40, 1e30, nan)), want: []string{"float32[1x1x1x3] [1 4 1]"}},
		{name: "reflection", op: "GridSample", version: 20, attrs: attrs("padding_mode", "reflection", "mode", "nearest"), in: in(image, at(1.5, -1.5)), want: []string{"float32[1x1x1x2] [4 2]"}},
		{name: "integers", op: "GridSample", version: 20, attrs: attrs("align_corners", int64(1)), in: in(tensor.Of([]int8{1, 2}, 1, 1, 1, 2), at(0.5)), want: []string{"int8[1x1x1x1] [1]"}},
		{name: "ranks", op: "GridSample", version: 20, in: in(ramp(1, 1, 2), at(0)), err: "does not fit"},
		{name: "one pixel", op: "AffineGrid", version: 20, attrs: attrs("align_corners", int64(1)), in: in(floatsIn([]int{1, 2, 3}, 1, 0, 0.5, 0, 1, 0), vector(1, 1, 1, 2)), want: []string{"float32[1x1x2x2] [-0.5 0 1.5 0]"}},
		{name: "size", op: "AffineGrid", version: 20, in: in(floatsIn([]int{1, 2, 3}, 1, 0, 0.5, 0, 1, 0), vector(1, 1, 2)), err: "neither"},
		{name: "overlapping", op: "Col2Im", version: 18, in: in(intsFrom([]int{1, 2, 2}, 1, 2, 3, 4), vector(3), vector(2)), want: []string{"int64[1x1x3] [1 5 4]"}},
		{name: "positions", op: "Col2Im", version: 18, in: in(intsFrom([]int{1, 2, 2}, 1, 2, 3, 4), vector(4), vector(2)), err: "numbers of patches"},
	})
}

func TestDetectors(t *testing.T) {
	in := func(x ...*tensor.Tensor) []*tensor.Tensor { return x }
	image := floatsIn([]int{1, 1, 2, 2}, 1, 2, 3, 4)
	runCases(t, []nodeCase{
		{name: "equal scores", op: "NonMaxSuppression", version: 11, in: in(floatsIn([]int{1, 3, 4}, 0, 0, 1, 1, 5, 5, 6, 6, 1, 1, 0, 0), floatsIn([]int{1, 1, 3}, 1, 1, 1), vector(9), tensor.Scalar(float32(0.5))),
			want: []string{"int64[2x3] [0 0 0 0 0 1]"}},
		{name: "without a limit", op: "NonMaxSuppression", version: 11, in: in(floatsIn([]int{1, 1, 4}, 0, 0, 1, 1), floatsIn([]int{1, 1, 1}, 1)), want: []string{"int64[0x3] []"}},
		{name: "shapes", op: "NonMaxSuppression", version: 11, in: in(floatsIn([]int{1, 1, 4}, 0, 0, 1, 1), floatsIn([]int{1, 1, 2}, 1, 2)), err: "do not fit"},
		{name: "one bin", op: "RoiAlign", version: 10, attrs: attrs("sampling_ratio", int64(1)), in: in(image, floatsIn([]int{1, 4}, 0, 0, 1, 1), vector(0)), want: []string{"float32[1x1x1x1] [2.5]"}},
		{name: "batch", op: "RoiAlign", version: 16, in: in(image, floatsIn([]int{1, 4}, 0, 0, 1, 1), vector(1)), err: "index 1 is outside"},
		{name: "size", op: "RoiAlign", version: 16, in: in(image, floatsIn([]int{1, 4}, 0, 0, 1e9, 1), vector(0)), err: "too large"},
		{name: "", op: "MaxRoiPool", version: 1, attrs: attrs("pooled_shape", []int64{1, 2}), in: in(image, floatsIn([]int{2, 5}, 0, 0, 0, 1, 1, 0, 5, 5, 6, 6)), want: []string{"float32[2x1x1x2] [3 4 0 0]"}},
		{name: "image", op: "MaxRoiPool", version: 1, attrs: attrs("pooled_shape", []int64{1, 1}), in: in(image, floatsIn([]int{1, 5}, 1, 0, 0, 1, 1)), err: "image 1 of 1"},
	})
}
