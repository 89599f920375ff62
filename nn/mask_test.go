package nn_test

import (
	"slices"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/op/optest"
	"tandem/kernel"
	"tandem/nn"
	"tandem/tensor"
)

// masked builds layers on x [2, 4, 6] with a mask [2, 4] of which the second row has two
// steps, and runs them; what is behind these steps is filled with a number.
func masked(t *testing.T, fill float32, build func(b *nn.Builder, x, mask *graph.Value) *graph.Value) []float32 {
	t.Helper()
	b := nn.NewBuilder("net", op.Default(), 1)
	x := b.Input("x", tensor.Float32, graph.Dims(2, 4, 6)...)
	mask := b.Input("mask", tensor.Bool, graph.Dims(2, 4)...)
	b.Output(build(b, x, mask))
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	in := tensor.New(tensor.Float32, 2, 4, 6)
	kernel.Normal(in.F32(), 3, 1)
	for i := 6 * 6; i < 8*6; i++ {
		in.F32()[i] = fill
	}
	return optest.Outputs(t, b.G, graph.Options{}, in, tensor.Of([]bool{true, true, true, true, true, true, false, false}, 2, 4))[0].F32()
}

// TestRecurrentMask: steps that a mask leaves out change nothing, in all cells, directions
// and stacks; their states are 0, and the last state is that of the last step that counts.
func TestRecurrentMask(t *testing.T) {
	for _, cell := range []nn.Cell{nn.SimpleRNN, nn.GRU, nn.LSTM} {
		for _, l := range []nn.Recurrent{{}, {Reverse: true}, {Bidirectional: true, Layers: 2}} {
			l.Cell, l.Units = cell, 5
			width := 5
			if l.Bidirectional {
				width = 10
			}
			run := func(last, counted bool, fill float32) []float32 {
				return masked(t, fill, func(b *nn.Builder, x, mask *graph.Value) *graph.Value {
					layer := l
					if layer.Last = last; counted {
						layer.Lengths = nn.Lengths(b, mask)
					}
					return layer.Build(b, x)
				})
			}
			all := run(false, true, 1)
			if !slices.Equal(all, run(false, true, 7)) || !slices.Equal(run(true, true, 1), run(true, true, 7)) {
				t.Errorf("%+v: steps that do not count change the states", l)
			}
			if slices.Equal(run(true, false, 1), run(true, false, 7)) {
				t.Errorf("%+v: without lengths the steps change nothing", l)
			}
			if slices.ContainsFunc(all[6*width:], func(v float32) bool { return v != 0 }) {
				t.Errorf("%+v: states behind the last step are %v", l, all[6*width:])
			}
			end := all[5*width : 6*width] // of the second row: its second step, going forward
			if last := run(true, true, 1)[width:]; !l.Reverse && !slices.Equal(last[:5], end[:5]) {
				t.Errorf("%+v: the last state is %v, that of the last step %v", l, last, end)
			}
		}
	}
}

// TestContext: attention to another sequence, of another length and width, by a network
// that sees nothing else of it.
func TestContext(t *testing.T) {
	run := func(fill float32) []float32 {
		return masked(t, fill, func(b *nn.Builder, x, _ *graph.Value) *graph.Value {
			queries := b.Const("queries", tensor.New(tensor.Float32, 2, 3, 8))
			y := nn.Attention{Heads: 2, Context: x}.Build(b, queries)
			if got := y.Type.Shape.String(); got != "[2, 3, 8]" {
				t.Errorf("shape %s", got)
			}
			return y
		})
	}
	if a, b := run(1), run(7); !slices.Equal(a[:24], b[:24]) || slices.Equal(a[24:], b[24:]) {
		t.Errorf("the second row alone sees the steps that differ: %v and %v", a, b)
	}
}

// TestAttentionMask: a key that the mask hides changes no other step's result.
func TestAttentionMask(t *testing.T) {
	run := func(fill float32, hidden bool) []float32 {
		return masked(t, fill, func(b *nn.Builder, x, mask *graph.Value) *graph.Value {
			l := nn.Attention{Heads: 3, KVHeads: 1}
			if hidden {
				l.Mask = nn.KeyMask(b, mask)
			}
			return l.Build(b, x)
		})
	}
	if a, b := run(1, true), run(7, true); !slices.Equal(a[:6*6], b[:6*6]) {
		t.Errorf("hidden keys change other steps: %v and %v", a, b)
	}
	if a, b := run(1, false), run(7, false); !slices.Equal(a[:4*6], b[:4*6]) || slices.Equal(a[4*6:6*6], b[4*6:6*6]) {
		t.Errorf("without a mask keys change nothing, or another row")
	}
}
