package op_test

import (
	"fmt"

	"tandem/graph"
	"tandem/tensor"
)

// samplingGradCases: images that are resized or read at coordinates.
func samplingGradCases() []gradCase {
	var cases []gradCase
	sizes := []*tensor.Tensor{nil, nil, int64s(1, 2, 5, 3)}
	scales := []*tensor.Tensor{nil, tensor.Of([]float32{1, 1, 1.6, 0.7}, 4)}
	for _, a := range []graph.Attrs{
		attrs("mode", "nearest"), attrs("mode", "linear"), attrs("mode", "cubic"), attrs("mode", "linear", "antialias", int64(1)),
		attrs("mode", "cubic", "exclude_outside", int64(1), "coordinate_transformation_mode", "align_corners"),
	} {
		cases = append(cases, gradCase{name: fmt.Sprint("Resize sizes ", a), inputs: [][]int{{1, 2, 3, 6}}, build: given("Resize", a, sizes...)},
			gradCase{name: fmt.Sprint("Resize scales ", a), inputs: [][]int{{1, 2, 3, 6}}, build: given("Resize", a, scales...)})
	}
	crop := attrs("mode", "linear", "coordinate_transformation_mode", "tf_crop_and_resize", "extrapolation_value", float32(2))
	cases = append(cases,
		gradCase{name: "Resize crop", inputs: [][]int{{1, 1, 4, 4}}, build: given("Resize", crop, tensor.Of([]float32{0, 0, 0.1, -0.4, 1, 1, 0.9, 0.8}, 8), nil, int64s(1, 1, 3, 5))},
		olderOpset(9, gradCase{name: "Upsample", inputs: [][]int{{1, 2, 2, 3}}, build: given("Upsample", attrs("mode", "linear"), tensor.Of([]float32{1, 1, 2, 1.5}, 4))}),
		olderOpset(9, gradCase{name: "Upsample nearest", inputs: [][]int{{1, 2, 2, 3}}, build: given("Upsample", nil, tensor.Of([]float32{1, 1, 2, 2}, 4))}),
		olderOpset(10, gradCase{name: "Resize of opset 10", inputs: [][]int{{1, 2, 2, 3}}, build: given("Resize", attrs("mode", "linear"), tensor.Of([]float32{1, 1, 2, 2}, 4))}),
		gradCase{name: "AffineGrid", inputs: [][]int{{2, 2, 3}}, build: given("AffineGrid", attrs("align_corners", int64(1)), int64s(2, 1, 3, 4))},
		gradCase{name: "AffineGrid 3D", inputs: [][]int{{1, 3, 4}}, build: given("AffineGrid", nil, int64s(1, 1, 2, 3, 2))},
		gradCase{name: "Col2Im", inputs: [][]int{{1, 8, 9}}, build: given("Col2Im", nil, int64s(4, 4), int64s(2, 2))},
	)
	for _, mode := range []string{"linear", "cubic", "nearest"} {
		for _, padding := range []string{"zeros", "border", "reflection"} {
			for _, align := range []int64{0, 1} {
				a := attrs("mode", mode, "padding_mode", padding, "align_corners", align)
				// A grid of 9 cells a side: the points keep away from the kinks between them.
				cases = append(cases, gradCase{name: fmt.Sprint("GridSample ", a), inputs: [][]int{{1, 2, 9, 7}},
					build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
						grid := tensor.Of([]float32{0.53, -0.31, -0.71, 0.13, 1.27, 0.37, -1.33, -1.41}, 1, 2, 2, 2)
						return b.Op("GridSample", a, in[0], b.Const("grid", grid))
					}}, gradCase{name: fmt.Sprint("GridSample grid ", a), inputs: [][]int{{1, 2, 2, 2}},
					build: func(b *graph.Builder, in []*graph.Value) *graph.Value {
						// Small moves around points between the elements of the image.
						point := b.Const("point", tensor.Of([]float32{0.53, -0.31, -0.71, 0.13, 1.27, 0.37, -1.33, -1.43}, 1, 2, 2, 2))
						grid := b.Op("Add", nil, point, b.Op("Mul", nil, in[0], b.Const("small", tensor.Scalar(float32(0.01)))))
						image := tensor.New(tensor.Float32, 1, 2, 9, 7)
						for i := range image.F32() {
							image.F32()[i] = float32((i*37)%23)/11 - 1
						}
						return b.Op("GridSample", a, b.Const("image", image), grid)
					}})
			}
		}
	}
	return cases
}
