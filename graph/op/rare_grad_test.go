package op_test

import (
	"fmt"
	"slices"

	"tandem/graph"
	"tandem/tensor"
)

// rareGradCases: determinants, pooling in boxes, transforms of signals, windows that move,
// and products that are scattered.
func rareGradCases() []gradCase {
	some := func(name string, build func(*graph.Builder, []*graph.Value) *graph.Value, shapes ...[]int) gradCase {
		return gradCase{name: name, inputs: shapes, build: build}
	}
	ofMicrosoft := func(name string, a graph.Attrs) func(*graph.Builder, []*graph.Value) *graph.Value {
		return func(b *graph.Builder, in []*graph.Value) *graph.Value {
			return b.Node(graph.OpID{Domain: "com.microsoft", Name: name}, 1, a, in...)[0]
		}
	}
	boxes := tensor.Of([]float32{0.4, 0.3, 3.6, 4.2, 1.1, 0.2, 4.7, 2.9, -1.5, 2, 2, 6}, 3, 4)
	images := tensor.Of([]int64{0, 1, 0}, 3)
	roi := func(a graph.Attrs) gradCase {
		return some(fmt.Sprint("RoiAlign", a), given("RoiAlign", a, boxes, images), []int{2, 2, 5, 6})
	}
	dft := func(opset int, a graph.Attrs, length *tensor.Tensor, axis *tensor.Tensor, shape ...int) gradCase {
		return olderOpset(opset, some(fmt.Sprint("DFT", opset, a, length, axis, shape), func(b *graph.Builder, in []*graph.Value) *graph.Value {
			all := []*graph.Value{in[0], nil}
			if length != nil {
				all[1] = b.Const("length", length)
			}
			if axis != nil {
				all = append(all, b.Const("axis", axis))
			}
			return b.Op("DFT", a, all...)
		}, shape))
	}
	length := func(n int64) *tensor.Tensor { return tensor.Scalar(n) }
	stft := func(a graph.Attrs, window, frame bool, shapes ...[]int) gradCase {
		return some(fmt.Sprint("STFT", a, window, frame, shapes), func(b *graph.Builder, in []*graph.Value) *graph.Value {
			all := []*graph.Value{in[0], b.Const("step", length(2)), nil, nil}
			if window {
				all[2] = in[1]
			}
			if frame {
				all[3] = b.Const("frame", length(4))
			}
			return b.Op("STFT", a, all...)
		}, shapes...)
	}
	deform := func(a graph.Attrs, shapes ...[]int) gradCase {
		c := some(fmt.Sprint("DeformConv", a, shapes), func(b *graph.Builder, in []*graph.Value) *graph.Value {
			// Offsets away from whole numbers, where the slope jumps.
			all := slices.Clone(in)
			all[2] = b.Op("Add", nil, b.Op("Mul", nil, in[2], b.Const("small", tensor.Scalar(float32(0.1)))), b.Const("half", tensor.Scalar(float32(0.45))))
			return b.Op("DeformConv", a, all...)
		}, shapes...)
		return c
	}
	product := func(op string, a graph.Attrs, at *tensor.Tensor, zeros []float32, shapes ...[]int) gradCase {
		a["reduction"] = "mul"
		return some(fmt.Sprint(op, "mul", zeros), func(b *graph.Builder, in []*graph.Value) *graph.Value {
			u := in[1]
			if zeros != nil {
				u = b.Op("Mul", nil, u, b.Const("zeros", tensor.Of(zeros, shapes[1]...)))
			}
			return b.Op(op, a, in[0], b.Const("at", at), u)
		}, shapes...)
	}
	column := tensor.Of([]int64{0, 1, 1, 2, 2, 2}, 2, 3)
	return []gradCase{
		some("CastLike", given("CastLike", nil, tensor.New(tensor.Float32, 1)), []int{2, 3}),
		some("Det", given("Det", nil), []int{2, 3, 3}), some("Det of one", given("Det", nil), []int{1, 1}),
		some("Det of a matrix without an inverse", func(b *graph.Builder, in []*graph.Value) *graph.Value {
			return b.Op("Det", nil, b.Op("Concat", attrs("axis", int64(0)), in[0], in[0], in[1]))
		}, []int{1, 3}, []int{1, 3}),
		some("Inverse", ofMicrosoft("Inverse", nil), []int{2, 3, 3}),
		some("CDist", ofMicrosoft("CDist", nil), []int{3, 4}, []int{2, 4}),
		some("CDist with a root", ofMicrosoft("CDist", attrs("metric", "euclidean")), []int{3, 4}, []int{2, 4}),
		roi(attrs("output_height", int64(2), "output_width", int64(3), "sampling_ratio", int64(2), "spatial_scale", float32(0.9))),
		roi(attrs("output_height", int64(2), "output_width", int64(2), "coordinate_transformation_mode", "output_half_pixel")),
		roi(attrs("output_height", int64(2), "output_width", int64(2), "mode", "max", "sampling_ratio", int64(2))),
		olderOpset(10, some("RoiAlign of opset 10", given("RoiAlign", attrs("output_height", int64(1), "output_width", int64(2)), boxes, images), []int{2, 2, 5, 6})),
		some("MaxRoiPool", given("MaxRoiPool", attrs("pooled_shape", []int64{2, 2}, "spatial_scale", float32(0.8)), tensor.Of([]float32{0, 1, 0, 5, 4, 1, 0, 2, 3, 9}, 2, 5)), []int{2, 2, 5, 6}),
		dft(20, attrs("onesided", int64(1)), nil, nil, 2, 5, 1), dft(20, attrs("onesided", int64(1)), length(6), nil, 2, 4, 1),
		dft(20, attrs(), length(3), tensor.Scalar(int64(0)), 4, 3, 2), dft(20, attrs(), length(6), nil, 2, 4, 2), dft(20, attrs(), nil, nil, 2, 4, 1),
		dft(20, attrs("inverse", int64(1)), nil, tensor.Scalar(int64(1)), 2, 5, 2, 2), dft(20, attrs("inverse", int64(1)), length(3), nil, 2, 5, 2),
		dft(20, attrs("inverse", int64(1), "onesided", int64(1)), nil, nil, 2, 4, 2), dft(20, attrs("inverse", int64(1), "onesided", int64(1)), length(5), nil, 2, 4, 2),
		dft(20, attrs("inverse", int64(1), "onesided", int64(1)), length(8), tensor.Scalar(int64(1)), 2, 3, 2, 2),
		dft(17, attrs("axis", int64(1)), nil, nil, 2, 5, 2), dft(17, attrs("onesided", int64(1)), length(7), nil, 2, 5, 1),
		stft(attrs(), true, false, []int{2, 9}, []int{4}), stft(attrs("onesided", int64(0)), false, true, []int{2, 8, 1}), stft(attrs("onesided", int64(0)), true, true, []int{1, 7, 2}, []int{4}),
		deform(attrs("pads", []int64{1, 0, 0, 0}), []int{2, 2, 2, 3}, []int{2, 2, 2, 2}, []int{2, 8, 2, 2}),
		deform(attrs("group", int64(2), "offset_group", int64(2), "strides", []int64{2, 1}, "dilations", []int64{1, 2}, "pads", []int64{0, 1, 1, 1}),
			[]int{1, 4, 5, 5}, []int{4, 2, 2, 2}, []int{1, 16, 3, 5}, []int{4}, []int{1, 8, 3, 5}),
		product("ScatterElements", attrs("axis", int64(1)), column, nil, []int{2, 4}, []int{2, 3}),
		product("ScatterElements", attrs("axis", int64(1)), column, []float32{0, 1, 0, 0, 0, 1}, []int{2, 4}, []int{2, 3}),
		product("ScatterND", attrs(), tensor.Of([]int64{1, 1, 0}, 3, 1), nil, []int{3, 2}, []int{3, 2}),
	}
}
