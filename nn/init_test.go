package nn_test

import (
	"math"
	"strings"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/nn"
	"tandem/tensor"
)

// firstWeight is the first parameter that layers make upon x of a shape without the batch.
func firstWeight(t *testing.T, l nn.Layer, shape ...int) []float32 {
	t.Helper()
	b := nn.NewBuilder("net", op.Default(), 3)
	l.Build(b, b.Input("x", tensor.Float32, append(graph.Shape{graph.Sym("batch")}, graph.Dims(shape...)...)...))
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	return weights(t, b.Params()[0])
}

// TestInits: the variance and the bound of each, from what goes into an output and out of
// an input.
func TestInits(t *testing.T) {
	conv := func(i nn.Init) []float32 { // 4·9 numbers make an output of each of two groups
		return firstWeight(t, nn.Conv2D{Filters: 64, Kernel: 3, Groups: 2, Init: i}, 8, 5, 5)
	}
	dense := func(i nn.Init) []float32 { return firstWeight(t, nn.Dense{Units: 60, Init: i}, 90) }
	for _, tc := range []struct {
		init     nn.Init
		w        []float32
		variance float64
		bounded  bool // by √(3·variance)
	}{
		{nn.HeUniform, dense(nn.HeUniform), 2. / 90, true},
		{nn.HeNormal, dense(nn.HeNormal), 2. / 90, false},
		{nn.GlorotUniform, dense(nn.GlorotUniform), 2. / 150, true},
		{nn.GlorotNormal, dense(nn.GlorotNormal), 2. / 150, false},
		{nn.LecunUniform, dense(nn.LecunUniform), 1. / 90, true},
		{nn.LecunNormal, dense(nn.LecunNormal), 1. / 90, false},
		{nn.TorchUniform, dense(nn.TorchUniform), 1. / 270, true},
		{nn.Normal(0.3), dense(nn.Normal(0.3)), 0.09, false},
		{nn.Uniform(0.3), dense(nn.Uniform(0.3)), 0.03, true},
		{nn.HeNormal, conv(nn.HeNormal), 2. / 36, false},
		{nn.GlorotUniform, conv(nn.GlorotUniform), 2. / (36 + 32*9), true},
		{nn.GlorotUniform, firstWeight(t, nn.Recurrent{Cell: nn.LSTM, Units: 40, Init: nn.GlorotUniform}, 3, 60), 2. / 100, true},
	} {
		squares, most, bound := 0.0, 0.0, math.Sqrt(3*tc.variance)
		for _, v := range tc.w {
			squares += float64(v) * float64(v)
			most = max(most, math.Abs(float64(v)))
		}
		got := squares / float64(len(tc.w))
		if math.Abs(got/tc.variance-1) > 0.12 || tc.bounded != (most <= bound*1.000001) {
			t.Errorf("%s of %d numbers: variance %v, want %v; greatest %v", tc.init, len(tc.w), got, tc.variance, most)
		}
	}
	for init, want := range map[nn.Init]float32{nn.Zeros: 0, nn.Ones: 1, nn.Constant(-2.5): -2.5} {
		for _, v := range dense(init) {
			if v != want {
				t.Fatalf("%s: %v", init, v)
			}
		}
	}
}

// TestOrthogonal: rows of a wide matrix, columns of a tall one, and each gate's matrix.
func TestOrthogonal(t *testing.T) {
	b := nn.NewBuilder("net", op.Default(), 3)
	x := b.Input("x", tensor.Float32, graph.Sym("batch"), graph.Const(3), graph.Const(6))
	nn.Recurrent{Cell: nn.GRU, Units: 5, Recurrence: nn.Orthogonal, Bidirectional: true}.Build(b, x)
	recurrence := weights(t, b.Params()[1])
	for _, tc := range []struct {
		name       string
		w          []float32
		rows, cols int
	}{
		{"wide", firstWeight(t, nn.Dense{Units: 7, Init: nn.Orthogonal}, 12), 7, 12},
		{"tall", firstWeight(t, nn.Dense{Units: 12, Init: nn.Orthogonal}, 7), 12, 7},
		{"convolution", firstWeight(t, nn.Conv2D{Filters: 6, Kernel: 2, Init: nn.Orthogonal}, 3, 4, 4), 6, 12},
		{"a gate of GRU", recurrence[:25], 5, 5},
		{"the last gate", recurrence[len(recurrence)-25:], 5, 5},
	} {
		at := func(i, j int) float64 { return float64(tc.w[i*tc.cols+j]) }
		if tc.cols < tc.rows {
			at = func(i, j int) float64 { return float64(tc.w[j*tc.cols+i]) }
		}
		for i := range min(tc.rows, tc.cols) {
			for k := range i + 1 {
				sum, want := 0.0, 0.0
				for j := range max(tc.rows, tc.cols) {
					sum += at(i, j) * at(k, j)
				}
				if i == k {
					want = 1
				}
				if math.Abs(sum-want) > 1e-6 {
					t.Errorf("%s: product of %d and %d is %v", tc.name, i, k, sum)
				}
			}
		}
	}
}

func TestInitsRefuse(t *testing.T) {
	for _, init := range []nn.Init{"he", "normal", "normal(x)", "zeros(1)", "uniform(inf)"} {
		b := nn.NewBuilder("net", op.Default(), 1)
		nn.Dense{Units: 2, Init: init}.Build(b, b.Input("x", tensor.Float32, graph.Dims(2, 3)...))
		if b.Err() == nil || !strings.Contains(b.Err().Error(), "dense1.weight: initialiser") {
			t.Errorf("%q: %v", init, b.Err())
		}
	}
}
