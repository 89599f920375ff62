package op_test

import (
	"math"
	"testing"

	"tandem/graph/op/optest"
	"tandem/tensor"
)

func TestResize(t *testing.T) {
	in := func(x ...*tensor.Tensor) []*tensor.Tensor { return x }
	row := floatsIn([]int{1, 1, 1, 2}, 0, 4)
	scales := func(v ...float32) *tensor.Tensor { return tensor.Of(v, len(v)) }
	half := tensor.New(tensor.Float16, 1, 1, 1, 2)
	tensor.SetFloat32s(half, row.F32())
	optest.Cases(t, []optest.Case{
		{Name: "linear", Op: "Upsample", Version: 7, Attrs: attrs("mode", "linear", "scales", []float32{1, 1, 1, 2}), In: in(row), Want: []string{"float32[1x1x1x4] [0 2 4 4]"}},
		{Name: "", Op: "Upsample", Version: 9, In: in(row, scales(1, 1, 2, 1.5)), Want: []string{"float32[1x1x2x3] [0 0 4 0 0 4]"}},
		{Name: "first version", Op: "Resize", Version: 10, Attrs: attrs("mode", "linear"), In: in(row, scales(1, 1, 1, 2)), Want: []string{"float32[1x1x1x4] [0 2 4 4]"}},
		{Name: "half pixel", Op: "Resize", Version: 13, Attrs: attrs("mode", "linear"), In: in(row, nil, scales(1, 1, 1, 2)), Want: []string{"float32[1x1x1x4] [0 1 3 4]"}},
		{Name: "float16", Op: "Resize", Version: 19, Attrs: attrs("mode", "linear"), In: in(half, nil, nil, optest.Ints(1, 1, 1, 4)), Want: []string{"float16[1x1x1x4] [0 1 3 4]"}},
		{Name: "saturated", Op: "Resize", Version: 19, Attrs: attrs("mode", "cubic"), In: in(tensor.Of([]uint8{0, 0, 255, 255}, 4), nil, nil, optest.Ints(8)), Want: []string{"uint8[8] [0 0 0 58 197 255 255 255]"}},
		{Name: "antialias", Op: "Resize", Version: 18, Attrs: attrs("mode", "linear", "antialias", int64(1)), In: in(floatsIn([]int{4}, 0, 2, 4, 6), nil, nil, optest.Ints(2)), Want: []string{"float32[2] [1.25 4.75]"}},
		{Name: "half pixels for nearest", Op: "Resize", Version: 11, Attrs: attrs("coordinate_transformation_mode", "tf_half_pixel_for_nn", "nearest_mode", "floor"), In: in(ramp(4), nil, scales(0.5)), Want: []string{"int32[2] [1 3]"}},
		{Name: "strings", Op: "Resize", Version: 13, In: in(optest.Words("a", "b"), nil, nil, optest.Ints(3)), Want: []string{`string[3] ["a" "a" "b"]`}},
		{Name: "outside", Op: "Resize", Version: 13, Attrs: attrs("coordinate_transformation_mode", "tf_crop_and_resize", "extrapolation_value", float32(9)), In: in(ramp(2), scales(0, 2), nil, optest.Ints(3)), Want: []string{"int32[3] [0 1 9]"}},
		{Name: "aspect", Op: "Resize", Version: 18, Attrs: attrs("keep_aspect_ratio_policy", "not_larger", "axes", []int64{1, 0}), In: in(ramp(1, 2), nil, nil, optest.Ints(4, 9)), Want: []string{"int32[2x4] [0 0 1 1 0 0 1 1]"}},
		{Name: "no scale", Op: "Resize", Version: 13, In: in(row, nil, scales(1, 1, 1, 0)), Err: "scale 0 is not positive"},
		{Name: "no region", Op: "Resize", Version: 13, Attrs: attrs("coordinate_transformation_mode", "tf_crop_and_resize"), In: in(row, nil, scales(1, 1, 1, 2)), Err: "region of interest"},
		{Name: "mode", Op: "Resize", Version: 13, Attrs: attrs("mode", "lanczos"), In: in(row, nil, scales(1, 1, 1, 2)), Err: `mode is "lanczos"`},
		{Name: "from nothing", Op: "Resize", Version: 13, In: in(ramp(0), nil, nil, optest.Ints(2)), Err: "cannot be resized"},
		{Name: "to nothing", Op: "Resize", Version: 13, Attrs: attrs("mode", "linear"), In: in(row, nil, nil, optest.Ints(1, 1, 1, 0)), Want: []string{"float32[1x1x1x0] []"}},
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
	optest.Cases(t, []optest.Case{
		{Name: "zeros", Op: "GridSample", Version: 16, In: in(image, at(-1, -0.5, 0, 1, 40)), Want: []string{"float32[1x1x1x5] [0.5 1.5 2.5 2 0]"}},
		{Name: "border", Op: "GridSample", Version: 20, Attrs: attrs("padding_mode", "border"), In: in(image, at(-40, 1e30, nan)), Want: []string{"float32[1x1x1x3] [1 4 1]"}},
		{Name: "reflection", Op: "GridSample", Version: 20, Attrs: attrs("padding_mode", "reflection", "mode", "nearest"), In: in(image, at(1.5, -1.5)), Want: []string{"float32[1x1x1x2] [4 2]"}},
		{Name: "integers", Op: "GridSample", Version: 20, Attrs: attrs("align_corners", int64(1)), In: in(tensor.Of([]int8{1, 2}, 1, 1, 1, 2), at(0.5)), Want: []string{"int8[1x1x1x1] [1]"}},
		{Name: "ranks", Op: "GridSample", Version: 20, In: in(ramp(1, 1, 2), at(0)), Err: "does not fit"},
		{Name: "one pixel", Op: "AffineGrid", Version: 20, Attrs: attrs("align_corners", int64(1)), In: in(floatsIn([]int{1, 2, 3}, 1, 0, 0.5, 0, 1, 0), optest.Ints(1, 1, 1, 2)), Want: []string{"float32[1x1x2x2] [-0.5 0 1.5 0]"}},
		{Name: "size", Op: "AffineGrid", Version: 20, In: in(floatsIn([]int{1, 2, 3}, 1, 0, 0.5, 0, 1, 0), optest.Ints(1, 1, 2)), Err: "neither"},
		{Name: "overlapping", Op: "Col2Im", Version: 18, In: in(intsFrom([]int{1, 2, 2}, 1, 2, 3, 4), optest.Ints(3), optest.Ints(2)), Want: []string{"int64[1x1x3] [1 5 4]"}},
		{Name: "positions", Op: "Col2Im", Version: 18, In: in(intsFrom([]int{1, 2, 2}, 1, 2, 3, 4), optest.Ints(4), optest.Ints(2)), Err: "numbers of patches"},
	})
}

func TestDetectors(t *testing.T) {
	in := func(x ...*tensor.Tensor) []*tensor.Tensor { return x }
	image := floatsIn([]int{1, 1, 2, 2}, 1, 2, 3, 4)
	optest.Cases(t, []optest.Case{
		{Name: "equal scores", Op: "NonMaxSuppression", Version: 11, In: in(floatsIn([]int{1, 3, 4}, 0, 0, 1, 1, 5, 5, 6, 6, 1, 1, 0, 0), floatsIn([]int{1, 1, 3}, 1, 1, 1), optest.Ints(9), tensor.Scalar(float32(0.5))),
			Want: []string{"int64[2x3] [0 0 0 0 0 1]"}},
		{Name: "without a limit", Op: "NonMaxSuppression", Version: 11, In: in(floatsIn([]int{1, 1, 4}, 0, 0, 1, 1), floatsIn([]int{1, 1, 1}, 1)), Want: []string{"int64[0x3] []"}},
		{Name: "shapes", Op: "NonMaxSuppression", Version: 11, In: in(floatsIn([]int{1, 1, 4}, 0, 0, 1, 1), floatsIn([]int{1, 1, 2}, 1, 2)), Err: "do not fit"},
		{Name: "one bin", Op: "RoiAlign", Version: 10, Attrs: attrs("sampling_ratio", int64(1)), In: in(image, floatsIn([]int{1, 4}, 0, 0, 1, 1), optest.Ints(0)), Want: []string{"float32[1x1x1x1] [2.5]"}},
		{Name: "batch", Op: "RoiAlign", Version: 16, In: in(image, floatsIn([]int{1, 4}, 0, 0, 1, 1), optest.Ints(1)), Err: "index 1 is outside"},
		{Name: "size", Op: "RoiAlign", Version: 16, In: in(image, floatsIn([]int{1, 4}, 0, 0, 1e9, 1), optest.Ints(0)), Err: "too large"},
		{Name: "", Op: "MaxRoiPool", Version: 1, Attrs: attrs("pooled_shape", []int64{1, 2}), In: in(image, floatsIn([]int{2, 5}, 0, 0, 0, 1, 1, 0, 5, 5, 6, 6)), Want: []string{"float32[2x1x1x2] [3 4 0 0]"}},
		{Name: "image", Op: "MaxRoiPool", Version: 1, Attrs: attrs("pooled_shape", []int64{1, 1}), In: in(image, floatsIn([]int{1, 5}, 1, 0, 0, 1, 1)), Err: "image 1 of 1"},
	})
}
