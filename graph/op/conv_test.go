package op_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"tandem/graph"
	"tandem/tensor"
)

// convolution is a case with what its attributes mean.
type convolution struct {
	in, kernel, stride, dilation, before, after []int
	n, channels, outputs, groups                int
}

func convolutions() []convolution {
	return []convolution{
		{in: []int{7}, kernel: []int{3}, stride: []int{2}, dilation: []int{1}, before: []int{1}, after: []int{0}, n: 2, channels: 4, outputs: 6, groups: 2},
		{in: []int{6, 5}, kernel: []int{2, 3}, stride: []int{1, 2}, dilation: []int{2, 1}, before: []int{0, 2}, after: []int{1, 1}, n: 1, channels: 3, outputs: 2, groups: 1},
		{in: []int{4, 5, 4}, kernel: []int{3, 2, 2}, stride: []int{1, 2, 1}, dilation: []int{1, 1, 2}, before: []int{1, 0, 1}, after: []int{1, 1, 0}, n: 2, channels: 2, outputs: 2, groups: 2},
		{in: []int{3, 2, 3, 2}, kernel: []int{2, 1, 2, 2}, stride: []int{1, 1, 1, 1}, dilation: []int{1, 1, 1, 1}, before: []int{0, 0, 0, 1}, after: []int{0, 0, 0, 0}, n: 1, channels: 2, outputs: 3, groups: 1},
	}
}

func longs(v ...int) []int64 {
	out := make([]int64, len(v))
	for i, n := range v {
		out[i] = int64(n)
	}
	return out
}

func (k convolution) attrs() graph.Attrs {
	return attrs("strides", longs(k.stride...), "dilations", longs(k.dilation...), "group", int64(k.groups),
		"pads", append(longs(k.before...), longs(k.after...)...), "kernel_shape", longs(k.kernel...))
}

func (k convolution) out() []int {
	out := make([]int, len(k.in))
	for i := range out {
		out[i] = (k.in[i]+k.before[i]+k.after[i]-k.dilation[i]*(k.kernel[i]-1)-1)/k.stride[i] + 1
	}
	return out
}

func shapeOf(lead []int, rest ...int) []int { return append(append([]int{}, lead...), rest...) }

// each visits every pair of output and input positions that a tap of the window joins.
func (k convolution) each(visit func(out, in, tap int)) {
	out := k.out()
	for o := range tensor.Shape(out).Len() {
		for tap := range tensor.Shape(k.kernel).Len() {
			at, scale, inside, po, pt := 0, 1, true, o, tap
			for i := len(out) - 1; i >= 0; i-- {
				p := po%out[i]*k.stride[i] + pt%k.kernel[i]*k.dilation[i] - k.before[i]
				inside = inside && p >= 0 && p < k.in[i]
				at += p * scale
				scale *= k.in[i]
				po, pt = po/out[i], pt/k.kernel[i]
			}
			if inside {
				visit(o, at, tap)
			}
		}
	}
}

// naive computes y from x, or with back x from y.
func (k convolution) naive(x, w, y []float64, back bool) {
	in, out, taps := tensor.Shape(k.in).Len(), tensor.Shape(k.out()).Len(), tensor.Shape(k.kernel).Len()
	ic, oc := k.channels/k.groups, k.outputs/k.groups
	for n := range k.n {
		for o := range k.outputs {
			for i := range ic {
				xs := x[(n*k.channels+o/oc*ic+i)*in:]
				ys := y[(n*k.outputs+o)*out:]
				k.each(func(at, from, tap int) {
					v := w[(o*ic+i)*taps+tap]
					if back {
						xs[from] += v * ys[at]
					} else {
						ys[at] += v * xs[from]
					}
				})
			}
		}
	}
}

func randomNumbers(rng *rand.Rand, n int) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = float64(rng.IntN(17)-8) / 8 // exact in every type
	}
	return v
}

var floatTypes = []tensor.DType{tensor.Float32, tensor.Float64, tensor.Float16, tensor.BFloat16}

func tolerance(d tensor.DType) float64 {
	switch d {
	case tensor.BFloat16:
		return 0.01
	case tensor.Float16:
		return 0.002
	}
	return 1e-5
}

// Conv and ConvTranspose equal their definition in one to four dimensions.
func TestConvolutionsEqualTheirDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, k := range convolutions() {
		xs, ys := shapeOf([]int{k.n, k.channels}, k.in...), shapeOf([]int{k.n, k.outputs}, k.out()...)
		ws := shapeOf([]int{k.outputs, k.channels / k.groups}, k.kernel...)
		for _, d := range floatTypes {
			t.Run(fmt.Sprint(d, k.in), func(t *testing.T) {
				x, w := randomNumbers(rng, tensor.Shape(xs).Len()), randomNumbers(rng, tensor.Shape(ws).Len())
				y := make([]float64, tensor.Shape(ys).Len())
				bias := randomNumbers(rng, k.outputs)
				for i := range y {
					y[i] = bias[i/tensor.Shape(k.out()).Len()%k.outputs]
				}
				k.naive(x, w, y, false)
				got, err := apply(t, 22, graph.OpID{Name: "Conv"}, k.attrs(), of(t, d, x, xs...), of(t, d, w, ws...), of(t, d, bias, k.outputs))
				if err != nil {
					t.Fatal(err)
				}
				if !got.Shape().Equal(ys) || !sameNumbers(numbersOf(got), y, tolerance(d)) {
					t.Errorf("Conv: %v %v, want %v %v", got, numbersOf(got), ys, y)
				}

				y = randomNumbers(rng, len(y))
				back := make([]float64, len(x))
				k.naive(back, w, y, true)
				a := k.attrs()
				a["output_padding"] = paddingTo(k)
				got, err = apply(t, 22, graph.OpID{Name: "ConvTranspose"}, a, of(t, d, y, ys...), of(t, d, w, ws...))
				if err != nil {
					t.Fatal(err)
				}
				if !got.Shape().Equal(xs) || !sameNumbers(numbersOf(got), back, tolerance(d)) {
					t.Errorf("ConvTranspose: %v %v, want %v %v", got, numbersOf(got), xs, back)
				}
			})
		}
	}
}

// paddingTo is the output_padding that restores the size of the input.
func paddingTo(k convolution) []int64 {
	p := make([]int64, len(k.in))
	for i, o := range k.out() {
		p[i] = int64(k.in[i] - ((o-1)*k.stride[i] + k.dilation[i]*(k.kernel[i]-1) + 1 - k.before[i] - k.after[i]))
	}
	return p
}

// What pads an image of bytes is its zero point.
func TestIntegerConvolutions(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, k := range convolutions() {
		xs, ys := shapeOf([]int{k.n, k.channels}, k.in...), shapeOf([]int{k.n, k.outputs}, k.out()...)
		ws := shapeOf([]int{k.outputs, k.channels / k.groups}, k.kernel...)
		x, w := make([]float64, tensor.Shape(xs).Len()), make([]float64, tensor.Shape(ws).Len())
		xq, wq := tensor.New(tensor.Uint8, xs...), tensor.New(tensor.Int8, ws...)
		zero := tensor.New(tensor.Int8, k.outputs)
		for i := range x {
			tensor.Data[uint8](xq)[i] = uint8(rng.IntN(256))
			x[i] = float64(tensor.Data[uint8](xq)[i]) - 100
		}
		for i := range w {
			z := int8(i / (len(w) / k.outputs))
			tensor.Data[int8](zero)[z] = z
			tensor.Data[int8](wq)[i] = int8(rng.IntN(256) - 128)
			w[i] = float64(tensor.Data[int8](wq)[i]) - float64(z)
		}
		y := make([]float64, tensor.Shape(ys).Len())
		k.naive(x, w, y, false)
		xZero := tensor.Scalar(uint8(100))
		got, err := apply(t, 21, graph.OpID{Name: "ConvInteger"}, k.attrs(), xq, wq, xZero, zero)
		if err != nil {
			t.Fatal(err)
		}
		if got.DType() != tensor.Int32 || !sameNumbers(numbersOf(got), y, 0) {
			t.Errorf("ConvInteger %v: %v, want %v", k.in, numbersOf(got), y)
		}
		// y/8 of an exact power of two: what saturates, and halves to even.
		scale := func(v float32) *tensor.Tensor { return tensor.Scalar(v) }
		got, err = apply(t, 21, graph.OpID{Name: "QLinearConv"}, k.attrs(), xq, scale(0.5), xZero, wq, scale(0.25), zero, scale(32), tensor.Scalar(int8(3)))
		if err != nil {
			t.Fatal(err)
		}
		for i := range y {
			y[i] = saturated(y[i]/256, 3, -128, 127)
		}
		if got.DType() != tensor.Int8 || !sameNumbers(numbersOf(got), y, 0) {
			t.Errorf("QLinearConv %v: %v, want %v", k.in, numbersOf(got), y)
		}
	}
}

// FusedConv adds its summand before the activation.
func TestFusedConv(t *testing.T) {
	x, w := tensor.Of([]float32{1, 2, 3, 4}, 1, 1, 2, 2), tensor.Of([]float32{2}, 1, 1, 1, 1)
	bias, z := tensor.Of([]float32{-0.5}, 1), tensor.Of([]float32{-9, 1, -7, 1}, 1, 1, 2, 2)
	for _, tc := range []struct {
		attrs graph.Attrs
		want  []float64
	}{
		{nil, []float64{-7.5, 4.5, -1.5, 8.5}},
		{attrs("activation", "Relu"), []float64{0, 4.5, 0, 8.5}},
		{attrs("activation", "LeakyRelu", "activation_params", []float32{0.5}), []float64{-3.75, 4.5, -0.75, 8.5}},
		{attrs("activation", "Clip", "activation_params", []float32{-2, 5}), []float64{-2, 4.5, -1.5, 5}},
		{attrs("activation", "HardSigmoid", "activation_params", []float32{0.1, 0.25}), []float64{0, 0.7, 0.1, 1}},
	} {
		got, err := apply(t, 21, graph.OpID{Domain: "com.microsoft", Name: "FusedConv"}, tc.attrs, x, w, bias, z)
		if err != nil {
			t.Fatal(err)
		}
		if !sameNumbers(numbersOf(got), tc.want, 1e-6) {
			t.Errorf("%v: %v, want %v", tc.attrs, numbersOf(got), tc.want)
		}
	}
}

// Offsets of whole elements move the window; a half lies between two.
func TestDeformConv(t *testing.T) {
	x := tensor.Of([]float32{1, 2, 3, 4, 5, 6, 7, 8, 9}, 1, 1, 3, 3)
	w := tensor.Of([]float32{1}, 1, 1, 1, 1)
	offset := tensor.New(tensor.Float32, 1, 2, 3, 3)
	o := offset.F32()
	o[0], o[1], o[9+4], o[9+8] = 1, 0.5, -0.5, 0.5 // rows of elements 0 and 1; columns of 4 and 8
	mask := tensor.Of([]float32{1, 1, 2, 1, 1, 1, 1, 1, 1}, 1, 1, 3, 3)
	got, err := apply(t, 22, graph.OpID{Name: "DeformConv"}, nil, x, w, offset, nil, mask)
	if err != nil {
		t.Fatal(err)
	}
	want := []float64{4, 3.5, 6, 4, 4.5, 6, 7, 8, 4.5}
	if !sameNumbers(numbersOf(got), want, 1e-6) {
		t.Errorf("%v, want %v", numbersOf(got), want)
	}
}

// Foreign attributes and shapes give errors.
func TestConvolutionErrors(t *testing.T) {
	x, w := tensor.New(tensor.Float32, 1, 4, 5, 5), tensor.New(tensor.Float32, 2, 4, 3, 3)
	for _, tc := range []struct {
		name  string
		attrs graph.Attrs
		in    []*tensor.Tensor
	}{
		{"Conv", attrs("strides", longs(0, 1)), []*tensor.Tensor{x, w}},
		{"Conv", attrs("strides", longs(1)), []*tensor.Tensor{x, w}},
		{"Conv", attrs("dilations", longs(1, -1)), []*tensor.Tensor{x, w}},
		{"Conv", attrs("dilations", longs(1<<60, 1<<60)), []*tensor.Tensor{x, w}},
		{"Conv", attrs("pads", longs(1, 1)), []*tensor.Tensor{x, w}},
		{"Conv", attrs("auto_pad", "SAME"), []*tensor.Tensor{x, w}},
		{"Conv", attrs("group", int64(3)), []*tensor.Tensor{x, w}},
		{"Conv", attrs("group", int64(0)), []*tensor.Tensor{x, w}},
		{"Conv", attrs("kernel_shape", longs(2, 2)), []*tensor.Tensor{x, w}},
		{"Conv", nil, []*tensor.Tensor{x, tensor.New(tensor.Float32, 2, 4, 6, 3)}},
		{"Conv", nil, []*tensor.Tensor{x, tensor.New(tensor.Float64, 2, 4, 3, 3)}},
		{"Conv", nil, []*tensor.Tensor{x, w, tensor.New(tensor.Float32, 3)}},
		{"ConvTranspose", attrs("output_shape", longs(3)), []*tensor.Tensor{x, tensor.New(tensor.Float32, 4, 2, 3, 3)}},
		{"ConvTranspose", attrs("pads", longs(4, 4, 4, 4)), []*tensor.Tensor{x, tensor.New(tensor.Float32, 4, 2, 3, 3)}},
		{"ConvTranspose", nil, []*tensor.Tensor{x, w}},
		{"DeformConv", nil, []*tensor.Tensor{x, w, tensor.New(tensor.Float32, 1, 17, 3, 3)}},
	} {
		if _, err := apply(t, 22, graph.OpID{Name: tc.name}, tc.attrs, tc.in...); err == nil {
			t.Errorf("%s %v of %v: no error", tc.name, tc.attrs, tc.in)
		}
	}
}

// saturated is round(v)+zero in [least,most], halves to even.
func saturated(v, zero, least, most float64) float64 {
	return min(max(math.RoundToEven(v)+zero, least), most)
}

// An empty batch is a batch.
func TestEmptyBatches(t *testing.T) {
	x, w := []int{0, 2, 4, 4}, []int{2, 2, 3, 3}
	window := attrs("kernel_shape", longs(3, 3))
	for _, tc := range []struct {
		name   string
		attrs  graph.Attrs
		shapes [][]int
		want   string
	}{
		{"Conv", nil, [][]int{x, w}, "0x2x2x2"}, {"ConvTranspose", nil, [][]int{x, w}, "0x2x6x6"}, {"Conv", nil, [][]int{{0, 2, 4, 4, 4}, {2, 2, 3, 3, 3}}, "0x2x2x2x2"},
		{"MaxPool", window, [][]int{x}, "0x2x2x2"}, {"AveragePool", window, [][]int{x}, "0x2x2x2"}, {"GlobalAveragePool", nil, [][]int{x}, "0x2x1x1"},
		{"Gemm", nil, [][]int{{0, 3}, {3, 2}}, "0x2"}, {"RNN", nil, [][]int{{3, 0, 2}, {1, 4, 2}, {1, 4, 4}}, "3x1x0x4"}, {"RNN", nil, [][]int{{0, 3, 2}, {1, 4, 2}, {1, 4, 4}}, "0x1x3x4"},
		{"Det", nil, [][]int{{0, 3, 3}}, "0"}, {"DFT", nil, [][]int{{0, 4, 1}}, "0x4x2"}, {"Einsum", attrs("equation", "bij,bjk->bik"), [][]int{{0, 2, 3}, {0, 3, 4}}, "0x2x4"},
	} {
		for _, d := range floatTypes {
			var in []*tensor.Tensor
			for _, s := range tc.shapes {
				in = append(in, tensor.New(d, s...))
			}
			got, err := apply(t, 20, graph.OpID{Name: tc.name}, tc.attrs, in...)
			if err != nil {
				t.Errorf("%s of %v: %v", tc.name, in, err)
				continue
			}
			if got.Shape().String() != tc.want {
				t.Errorf("%s of %v: %v, want %s", tc.name, in, got, tc.want)
			}
		}
	}
}
