package nn_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/nn"
	"tandem/tensor"
)

func build(t *testing.T, seed uint64, layers ...nn.Layer) (*nn.Builder, *graph.Value) {
	t.Helper()
	b := nn.NewBuilder("net", op.Default(), seed)
	x := b.Input("x", tensor.Float32, graph.Sym("batch"), graph.Const(3), graph.Const(8), graph.Const(8))
	return b, nn.Sequential(layers).Build(b, x)
}

func weights(t *testing.T, v *graph.Value) []float32 {
	t.Helper()
	w, err := v.Const.Tensor()
	if err != nil {
		t.Fatal(err)
	}
	return w.F32()
}

func TestShapesAndNames(t *testing.T) {
	b, y := build(t, 1,
		nn.Conv2D{Filters: 4, Kernel: 3, Activation: nn.ReLU}, nn.Conv2D{Filters: 5, Kernel: 4, Same: true},
		nn.Conv2D{Filters: 6, Kernel: 3, Stride: 2, Same: true, Activation: nn.Tanh}, nn.MaxPool2D{Size: 2},
		nn.Dropout{Ratio: 0.5}, nn.Flatten{}, nn.Dense{Units: 7, Activation: nn.Sigmoid}, nn.Dense{Units: 2})
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	if got := y.Type.Shape.String(); got != "[batch, 2]" {
		t.Errorf("output shape %s", got)
	}
	var got []string
	for _, p := range b.Params() {
		got = append(got, p.Name+" "+p.Type.Shape.String())
	}
	want := []string{
		"conv1.weight [4, 3, 3, 3]", "conv1.bias [4]", "conv2.weight [5, 4, 4, 4]", "conv2.bias [5]",
		"conv3.weight [6, 5, 3, 3]", "conv3.bias [6]", "dense1.weight [7, 6]", "dense1.bias [7]", "dense2.weight [2, 7]", "dense2.bias [2]",
	}
	if !slices.Equal(got, want) {
		t.Errorf("parameters\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestLayerShapes builds every layer and checks the shape of its result.
func TestLayerShapes(t *testing.T) {
	image, line, volume, words := []int{3, 8, 8}, []int{4, 10}, []int{2, 6, 6, 6}, []int{5, 12}
	for want, tc := range map[string]struct {
		shape []int
		layer nn.Layer
	}{
		"[batch, 6, 4, 4]":    {image, nn.Conv2D{Filters: 6, Kernel: 3, Stride: 2, Same: true, Groups: 3, Activation: nn.GELU}},
		"[batch, 5, 6]":       {line, nn.Conv1D{Filters: 5, Kernel: 3, Dilation: 2, NoBias: true}},
		"[batch, 3, 4, 4, 4]": {volume, nn.Conv3D{Filters: 3, Kernel: 3}},
		"[batch, 2, 16, 16]":  {image, nn.ConvTranspose2D{Filters: 2, Kernel: 2, Stride: 2}},
		"[batch, 3, 4, 5]":    {[]int{3, 8, 10}, nn.AveragePool2D{Size: 2}},
		"[batch, 2, 3, 3, 3]": {volume, nn.MaxPool3D{Size: 2}},
		"[batch, 4, 5]":       {line, nn.MaxPool1D{Size: 2}},
		"[batch, 3]":          {image, nn.GlobalAveragePool{}},
		"[batch, 6, 8, 8]":    {image, nn.Concat{Layers: []nn.Layer{nn.BatchNorm{}, nn.GroupNorm{Groups: 3}}, Axis: 1}},
		"[batch, 5, 12]":      {words, nn.Residual{Layers: nn.Sequential{nn.RMSNorm{}, nn.Attention{Heads: 4, KVHeads: 2, Causal: true}}}},
		"[batch, 6, 3, 8]":    {[]int{3, 5, 16}, nn.DepthwiseConv2D{Kernel: 3, Multiplier: 2, Stride: 2, Same: true}},
		"[batch, 4, 8]":       {line, nn.DepthwiseConv1D{Kernel: 3, Activation: nn.ReLU}},
		"[batch, 2, 2, 2, 2]": {volume, nn.DepthwiseConv3D{Kernel: 3, Dilation: 2, NoBias: true}},
		"[batch, 7, 5, 5]":    {[]int{3, 10, 9}, nn.SeparableConv2D{Filters: 7, Kernel: 4, Stride: 2, Same: true}},
		"[batch, 7, 10]":      {line, nn.SeparableConv1D{Filters: 7, Kernel: 3, Same: true, NoBias: true}},
		"[batch, 5, 24, 24]":  {image, nn.ConvTranspose2D{Filters: 5, Kernel: 3, Stride: 3, Same: true}},
		"[batch, 3, 3, 3]":    {image, nn.MaxPool2D{Size: 3, Same: true}},
		"[batch, 4, 10]":      {line, nn.AveragePool1D{Size: 4, Stride: 1, Same: true}},
		"[batch, 4]":          {line, nn.GlobalMaxPool{}},
		"[batch, 24, 8]":      {image, nn.Reshape{Shape: []int{24, -1}}},
		"[batch, 8, 3, 10]":   {[]int{3, 10, 8}, nn.Permute{Axes: []int{3, 1, 2}}},
		"[batch, 11]":         {[]int{1, 9, 7}, nn.Sequential{nn.Reshape{Shape: []int{9, 7}}, nn.Recurrent{Cell: nn.LSTM, Units: 11, Last: true}}},
		"[batch, 5, 14]":      {words, nn.Recurrent{Cell: nn.GRU, Units: 7, Layers: 2, Bidirectional: true, Dropout: 0.1}},
		"[batch, 6]":          {words, nn.Recurrent{Cell: nn.LSTM, Units: 3, Bidirectional: true, Last: true}},
		"[batch, 5, 9]":       {words, nn.Sequential{nn.LayerNorm{}, nn.Recurrent{Cell: nn.SimpleRNN, Units: 4, Reverse: true}, nn.Dense{Units: 9, Activation: nn.SiLU}}},
	} {
		b := nn.NewBuilder("net", op.Default(), 1)
		x := b.Input("x", tensor.Float32, append(graph.Shape{graph.Sym("batch")}, graph.Dims(tc.shape...)...)...)
		y := tc.layer.Build(b, x)
		if b.Err() != nil {
			t.Errorf("%T: %v", tc.layer, b.Err())
			continue
		}
		if got := y.Type.Shape.String(); got != want {
			t.Errorf("%T: shape %s, want %s", tc.layer, got, want)
		}
	}
}

// TestInitialWeights: bounds and variance of each initialiser, zero biases, and a
// stream of its own for each parameter and seed.
func TestInitialWeights(t *testing.T) {
	b, _ := build(t, 1, nn.Conv2D{Filters: 64, Kernel: 5, Activation: nn.ReLU}, nn.Flatten{}, nn.Dense{Units: 50})
	for i, bound := range map[int]float64{0: math.Sqrt(6.0 / 75), 2: math.Sqrt(3.0 / (64 * 16))} {
		w := weights(t, b.Params()[i])
		sum, squares := 0.0, 0.0
		for _, v := range w {
			if math.Abs(float64(v)) > bound {
				t.Fatalf("parameter %d: %v is beyond %v", i, v, bound)
			}
			sum += float64(v)
			squares += float64(v) * float64(v)
		}
		n := float64(len(w))
		if mean, want := sum/n, bound*bound/3; math.Abs(mean) > 5*math.Sqrt(want/n) || math.Abs(squares/n/want-1) > 0.1 {
			t.Errorf("parameter %d: mean %v, variance %v, want 0 and %v", i, mean, squares/n, want)
		}
	}
	if slices.ContainsFunc(weights(t, b.Params()[1]), func(v float32) bool { return v != 0 }) {
		t.Error("a bias does not begin with 0")
	}
	again, _ := build(t, 1, nn.Conv2D{Filters: 64, Kernel: 5, Activation: nn.ReLU})
	other, _ := build(t, 2, nn.Conv2D{Filters: 64, Kernel: 5, Activation: nn.ReLU})
	if !slices.Equal(weights(t, b.Params()[0]), weights(t, again.Params()[0])) {
		t.Error("the same seed gives other weights")
	}
	if slices.Equal(weights(t, b.Params()[0]), weights(t, other.Params()[0])) {
		t.Error("another seed gives the same weights")
	}
}

// TestSeparableIsTwo: a separable convolution has the parameters of its two parts.
func TestSeparableIsTwo(t *testing.T) {
	b, _ := build(t, 1, nn.SeparableConv2D{Filters: 5, Kernel: 3}, nn.DepthwiseConv2D{Kernel: 2, Multiplier: 3})
	var got []string
	for _, p := range b.Params() {
		got = append(got, p.Name+" "+p.Type.Shape.String())
	}
	want := []string{"conv1.weight [3, 1, 3, 3]", "conv2.weight [5, 3, 1, 1]", "conv2.bias [5]", "conv3.weight [15, 1, 2, 2]", "conv3.bias [15]"}
	if b.Err() != nil || !slices.Equal(got, want) {
		t.Errorf("%v\n%v\nwant\n%v", b.Err(), got, want)
	}
}

func TestLayersRefuse(t *testing.T) {
	for want, layers := range map[string][]nn.Layer{
		"dense1 takes at least 2":  {nn.Func(row), nn.Dense{Units: 3}},
		"conv1 takes 4 dimensions": {nn.Flatten{}, nn.Conv2D{Filters: 1, Kernel: 1}},
		"filters 0, kernel 3":      {nn.Conv2D{Kernel: 3}},
		"size 0 must be positive":  {nn.MaxPool2D{}},
		"ratio 1 is not in [0,1)":  {nn.Dropout{Ratio: 1}},
		"lstm takes [batch, steps, inputs], its input has shape [batch, 3, 8, 8]":   {nn.Recurrent{Cell: nn.LSTM, Units: 2}},
		"reshape: [3 0] must be positive":                                           {nn.Reshape{Shape: []int{3, 0}}},
		"an example of shape [3, 8, 8] has 192 elements, which do not make [28 27]": {nn.Reshape{Shape: []int{28, 27}}},
		"which do not make [5 -1]":                                                  {nn.Reshape{Shape: []int{5, -1}}},
		"[-1 -1] must be positive":                                                  {nn.Reshape{Shape: []int{-1, -1}}},
		"[1 1 2] must name the dimensions":                                          {nn.Permute{Axes: []int{1, 1, 2}}},
		"[1 2] must name the dimensions":                                            {nn.Permute{Axes: []int{1, 2}}},
		"embedding1 takes whole numbers, its input is float32":                      {nn.Embedding{Count: 3, Size: 2}},
		"multiplier -1 must be positive":                                            {nn.DepthwiseConv2D{Kernel: 1, Multiplier: -1}},
		"depthwise convolution takes 4":                                             {nn.Flatten{}, nn.SeparableConv2D{Filters: 1, Kernel: 1}},
		"filters 0, kernel 1":                                                       {nn.SeparableConv2D{Kernel: 3}},
		"dense1 units: 0 must be positive":                                          {nn.Flatten{}, nn.Dense{}},
		`activation "cube" is unknown`:                                              {nn.Flatten{}, nn.Dense{Units: 1, Activation: "cube"}},
		"batch_norm1: momentum 5 is not in [0,1)":                                   {nn.BatchNorm{Momentum: 5}},
		"lstm: 1 layers and dropout 0.5":                                            {nn.Recurrent{Cell: nn.LSTM, Units: 2, Layers: 1, Dropout: 0.5}},
		"gru: 2 layers and dropout 1,":                                              {nn.Recurrent{Cell: nn.GRU, Units: 2, Layers: 2, Dropout: 1}},
		"concat: axis 0 is the batch":                                               {nn.Concat{Layers: []nn.Layer{nn.Flatten{}, nn.Flatten{}}}},
		"global_max_pool takes at least 3":                                          {nn.Flatten{}, nn.GlobalMaxPool{}},
		"global_average_pool takes at least 3":                                      {nn.Flatten{}, nn.GlobalAveragePool{}},
		"rnn: -1 layers":                                                            {nn.Recurrent{Cell: nn.SimpleRNN, Units: 2, Layers: -1}},
		"lstm: both reverse and bidirectional":                                      {nn.Recurrent{Cell: nn.LSTM, Units: 2, Reverse: true, Bidirectional: true}},
		"batch_norm1: epsilon -1 must not":                                          {nn.BatchNorm{Epsilon: -1}},
		"group_norm1: epsilon -1 must not":                                          {nn.GroupNorm{Groups: 1, Epsilon: -1}},
		"layer_norm1: epsilon -1 must not":                                          {nn.LayerNorm{Epsilon: -1}},
		"rms_norm1: epsilon -1 must not":                                            {nn.RMSNorm{Epsilon: -1}},
		"a window of 9x9 is larger than":                                            {nn.Conv2D{Filters: 1, Kernel: 9}},
	} {
		b, _ := build(t, 1, layers...)
		if b.Err() == nil || !strings.Contains(b.Err().Error(), want) {
			t.Errorf("%v, want %q", b.Err(), want)
		}
	}
}

// row keeps one dimension.
func row(b *nn.Builder, x *graph.Value) *graph.Value {
	return b.Op("Reshape", nil, x, b.Const("flat", tensor.Of([]int64{-1}, 1)))
}

// TestCrossEntropyNeedsSoftmax: a loss on anything else would be a wrong number.
func TestCrossEntropyNeedsSoftmax(t *testing.T) {
	b, y := build(t, 1, nn.Flatten{}, nn.Dense{Units: 2})
	labels := b.Input("labels", tensor.Int64, graph.Sym("batch"))
	nn.CrossEntropy(b.Builder, y, labels)
	if b.Err() == nil || !strings.Contains(b.Err().Error(), "needs an output by Softmax") {
		t.Error(b.Err())
	}
}

// TestStacks: networks that are one layer have the sizes that are known of them, and the
// shapes of their results.
func TestStacks(t *testing.T) {
	image := func(size int) graph.Shape {
		return graph.Shape{graph.Sym("batch"), graph.Const(3), graph.Const(size), graph.Const(size)}
	}
	steps := graph.Shape{graph.Sym("batch"), graph.Const(5), graph.Const(12)}
	for _, tc := range []struct {
		name   string
		input  graph.Shape
		layers nn.Sequential
		count  int
		want   string
	}{
		// Of torchvision's models, and of the form for CIFAR that is in common use.
		{"resnet18", image(224), nn.Sequential{nn.ResNet{Depth: 18, Large: true}, nn.Dense{Units: 1000}}, 11689512, "[batch, 1000]"},
		{"resnet34", image(224), nn.Sequential{nn.ResNet{Depth: 34, Large: true}, nn.Dense{Units: 1000}}, 21797672, "[batch, 1000]"},
		{"resnet50", image(224), nn.Sequential{nn.ResNet{Depth: 50, Large: true}, nn.Dense{Units: 1000}}, 25557032, "[batch, 1000]"},
		{"resnet18 of CIFAR", image(32), nn.Sequential{nn.ResNet{Depth: 18}, nn.Dense{Units: 10}}, 11173962, "[batch, 10]"},
		{"a narrow one", image(32), nn.Sequential{nn.ResNet{Depth: 18, Width: 4}}, 44292, "[batch, 32]"},
		// Two norms of 2·12, 12·36+36, 12·12+12, 12·48+48, 48·12+12 a block, and one norm.
		{"transformer", steps, nn.Sequential{nn.Transformer{Blocks: 3, Heads: 2, Causal: true, Dropout: 0.1}}, 3*(48+468+156+624+588) + 24, "[batch, 5, 12]"},
		{"positions", steps, nn.Sequential{nn.Positions{}}, 60, "[batch, 5, 12]"},
	} {
		b := nn.NewBuilder("net", op.Default(), 1)
		y := tc.layers.Build(b, b.Input("x", tensor.Float32, tc.input...))
		count := 0
		for _, p := range b.Params() {
			count += p.Const.Shape.Len()
		}
		if b.Err() != nil || count != tc.count || y.Type.Shape.String() != tc.want {
			t.Errorf("%s: %d parameters, want %d; %v, want %s; %v", tc.name, count, tc.count, y.Type.Shape, tc.want, b.Err())
		}
	}
	for name, layer := range map[string]nn.Layer{
		"depth 20": nn.ResNet{Depth: 20}, "blocks 0": nn.Transformer{Heads: 2}, "dropout 1": nn.Transformer{Blocks: 1, Heads: 2, Dropout: 1},
		"heads that do not divide": nn.Transformer{Blocks: 1, Heads: 5},
	} {
		b := nn.NewBuilder("net", op.Default(), 1)
		shape := steps
		if _, ok := layer.(nn.ResNet); ok {
			shape = image(32)
		}
		if layer.Build(b, b.Input("x", tensor.Float32, shape...)); b.Err() == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// TestTooManyParameters: an error before memory is asked for, whatever the numbers.
func TestTooManyParameters(t *testing.T) {
	for _, units := range []int{1 << 31, math.MaxInt} {
		b := nn.NewBuilder("net", op.Default(), 1)
		x := b.Input("x", tensor.Float32, graph.Sym("batch"), graph.Const(5))
		nn.Dense{Units: units}.Build(b, x)
		if err := b.Err(); err == nil || !strings.Contains(err.Error(), "has more than 2147483648 numbers") {
			t.Errorf("%d units: %v", units, err)
		}
	}
}
