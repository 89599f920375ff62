package op_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"tandem/graph"
	"tandem/tensor"
)

// layer is a recurrent layer with random weights.
type layer struct {
	name          string
	gates         int
	in, hidden    int
	attrs         graph.Attrs
	dirs          int
	w, r, b, p    *tensor.Tensor
	states        int
	sequence, bat int
}

func newLayer(rng *rand.Rand, name string, dirs int, a graph.Attrs) *layer {
	l := &layer{name: name, gates: map[string]int{"RNN": 1, "GRU": 3, "LSTM": 4}[name], in: 3, hidden: 4, dirs: dirs, attrs: a, states: 1, sequence: 5, bat: 3}
	g := l.gates * l.hidden
	l.w, l.r = randomInput(rng, []int{dirs, g, l.in}, 0), randomInput(rng, []int{dirs, g, l.hidden}, 0)
	l.b = randomInput(rng, []int{dirs, 2 * g}, 0)
	if name == "LSTM" {
		l.states, l.p = 2, randomInput(rng, []int{dirs, 3 * l.hidden}, 0)
	}
	return l
}

// run gives all outputs: Y, Y_h and, of LSTM, Y_c.
func (l *layer) run(t *testing.T, a graph.Attrs, x, lengths *tensor.Tensor) []*tensor.Tensor {
	t.Helper()
	b := testBuilder()
	in := []*tensor.Tensor{x, l.w, l.r, l.b, lengths}
	if l.name == "LSTM" {
		in = append(in, nil, nil, l.p)
	}
	var values []*graph.Value
	var given []*tensor.Tensor
	for i, x := range in {
		if x == nil {
			values = append(values, nil)
			continue
		}
		values = append(values, b.Input(fmt.Sprint("x", i), x.DType(), graph.Dims(x.Shape()...)...))
		given = append(given, x)
	}
	merged := graph.Attrs{}
	for _, from := range []graph.Attrs{l.attrs, a} {
		for k, v := range from {
			merged[k] = v
		}
	}
	for _, o := range b.Node(graph.OpID{Name: l.name}, 1+l.states, merged, values...) {
		b.Output(o)
	}
	out, err := runAll(t, b, 0, given...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func layers() []*layer {
	rng := rand.New(rand.NewPCG(11, 12))
	return []*layer{
		newLayer(rng, "RNN", 1, nil), newLayer(rng, "RNN", 1, attrs("activations", []string{"LeakyRelu"}, "activation_alpha", []float32{0.3}, "clip", float32(0.5))),
		newLayer(rng, "GRU", 1, nil), newLayer(rng, "GRU", 1, attrs("linear_before_reset", int64(1))),
		newLayer(rng, "LSTM", 1, nil), newLayer(rng, "LSTM", 1, attrs("input_forget", int64(1))),
	}
}

// reversed turns the first dimension around.
func reversed(x *tensor.Tensor) *tensor.Tensor {
	y := x.Clone()
	n := x.Dim(0)
	for i := range n {
		copy(y.Rows(i, i+1).F32(), x.Rows(n-1-i, n-i).F32())
	}
	return y
}

func swapped(x *tensor.Tensor, perm ...int) *tensor.Tensor {
	v, shape := transposed(numbersOf(x), x.Shape(), perm)
	y := tensor.New(x.DType(), shape...)
	for i, f := range v {
		y.F32()[i] = float32(f)
	}
	return y
}

func same(a, b *tensor.Tensor) bool {
	return a.Shape().Equal(b.Shape()) && sameNumbers(numbersOf(a), numbersOf(b), 1e-6)
}

// The reverse direction reads a sequence from its end; with layout 1 the batch
// comes first; each sequence of a batch with lengths is what it is alone.
func TestRecurrentDirectionsLayoutsLengths(t *testing.T) {
	rng := rand.New(rand.NewPCG(13, 14))
	for _, l := range layers() {
		t.Run(fmt.Sprint(l.name, l.attrs), func(t *testing.T) {
			x := randomInput(rng, []int{l.sequence, l.bat, l.in}, 0)
			forward := l.run(t, nil, x, nil)
			back := l.run(t, attrs("direction", "reverse"), reversed(x), nil)
			if !same(reversed(back[0]), forward[0]) || !same(back[1], forward[1]) {
				t.Error("reverse differs from forward on the reversed sequence")
			}
			first := l.run(t, attrs("layout", int64(1)), swapped(x, 1, 0, 2), nil)
			if !same(swapped(first[0], 1, 2, 0, 3), forward[0]) || !same(swapped(first[1], 1, 0, 2), forward[1]) {
				t.Error("layout 1 differs")
			}
			lengths := []int32{5, 2, 3}
			for _, dir := range []string{"forward", "reverse"} {
				all := l.run(t, attrs("direction", dir), x, tensor.Of(lengths, 3))
				byBatch := swapped(x, 1, 0, 2)
				for b, n := range lengths {
					own := byBatch.Rows(b, b+1).Reshaped(l.sequence, 1, l.in).Rows(0, int(n))
					one := l.run(t, attrs("direction", dir), own, nil)
					y := swapped(all[0], 2, 0, 1, 3).Rows(b, b+1).Reshaped(l.sequence, 1, 1, l.hidden)
					if !same(y.Rows(0, int(n)), one[0]) {
						t.Errorf("%s: sequence %d of length %d differs from the same alone", dir, b, n)
					}
					for _, v := range y.Rows(int(n), l.sequence).F32() {
						if v != 0 {
							t.Errorf("%s: sequence %d goes on after its end", dir, b)
							break
						}
					}
					for i := 1; i <= l.states; i++ {
						state := swapped(all[i], 1, 0, 2).Rows(b, b+1).Reshaped(1, 1, l.hidden)
						if !same(state, one[i]) {
							t.Errorf("%s: last state %d of sequence %d differs", dir, i, b)
						}
					}
				}
			}
		})
	}
}

// One step with one number each, computed by hand.
func TestRecurrentStep(t *testing.T) {
	sigmoid := func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	f := func(v ...float64) *tensor.Tensor { return of(t, tensor.Float32, v, 1, len(v)) }
	col := func(v ...float64) *tensor.Tensor { return of(t, tensor.Float32, v, 1, len(v), 1) }
	x, h0 := 0.5, -0.25
	z, r := sigmoid(x*1+h0*2+0.1), sigmoid(x*-1+h0*1+0.2)
	early, late := math.Tanh(x*2+(r*h0)*3+0.3+0.4), math.Tanh(x*2+0.3+r*(h0*3+0.4))
	in, forget := sigmoid(x*1+h0*2+0.5*0.75), sigmoid(x*-1+h0*1+0.25*0.75)
	state := forget*0.75 + in*math.Tanh(x*2+h0*3)
	out := sigmoid(x*0.5 + h0*4 - 1*state)
	for _, tc := range []struct {
		name  string
		attrs graph.Attrs
		in    []*tensor.Tensor
		want  float64
	}{
		{"RNN", nil, []*tensor.Tensor{col(2), col(3), f(0.1, 0.2), nil, col(h0)}, math.Tanh(x*2 + h0*3 + 0.3)},
		{"RNN", attrs("clip", float32(0.2), "activations", []string{"affine"}, "activation_alpha", []float32{2}, "activation_beta", []float32{1}), []*tensor.Tensor{col(2), col(3)}, 1.4},
		{"GRU", nil, []*tensor.Tensor{col(1, -1, 2), col(2, 1, 3), f(0.1, 0.2, 0.3, 0, 0, 0.4), nil, col(h0)}, (1-z)*early + z*h0},
		{"GRU", attrs("linear_before_reset", int64(1)), []*tensor.Tensor{col(1, -1, 2), col(2, 1, 3), f(0.1, 0.2, 0.3, 0, 0, 0.4), nil, col(h0)}, (1-z)*late + z*h0},
		{"LSTM", nil, []*tensor.Tensor{col(1, 0.5, -1, 2), col(2, 4, 1, 3), nil, nil, col(h0), col(0.75), f(0.5, -1, 0.25)}, out * math.Tanh(state)},
	} {
		for _, d := range floatTypes {
			inputs := []*tensor.Tensor{of(t, d, []float64{x}, 1, 1, 1)}
			for _, v := range tc.in {
				if v != nil {
					v = of(t, d, numbersOf(v), v.Shape()...)
				}
				inputs = append(inputs, v)
			}
			got, err := apply(t, 14, graph.OpID{Name: tc.name}, tc.attrs, inputs...)
			if err != nil {
				t.Fatal(err)
			}
			if got.DType() != d || !sameNumbers(numbersOf(got), []float64{tc.want}, tolerance(d)) {
				t.Errorf("%s %v of %v: %v, want %v", tc.name, tc.attrs, d, numbersOf(got), tc.want)
			}
		}
	}
}

func TestRecurrentErrors(t *testing.T) {
	x, w, r := tensor.New(tensor.Float32, 2, 1, 3), tensor.New(tensor.Float32, 1, 4, 3), tensor.New(tensor.Float32, 1, 4, 4)
	for name, tc := range map[string]struct {
		attrs graph.Attrs
		in    []*tensor.Tensor
	}{
		"direction":       {attrs("direction", "up"), []*tensor.Tensor{x, w, r}},
		"activation":      {attrs("activations", []string{"Sine"}), []*tensor.Tensor{x, w, r}},
		"activations":     {attrs("activations", []string{"Tanh", "Tanh"}), []*tensor.Tensor{x, w, r}},
		"hidden size":     {attrs("hidden_size", int64(5)), []*tensor.Tensor{x, w, r}},
		"weights":         {nil, []*tensor.Tensor{x, tensor.New(tensor.Float32, 1, 5, 3), r}},
		"two directions":  {attrs("direction", "bidirectional"), []*tensor.Tensor{x, w, r}},
		"bias":            {nil, []*tensor.Tensor{x, w, r, tensor.New(tensor.Float32, 1, 4)}},
		"too long":        {nil, []*tensor.Tensor{x, w, r, nil, tensor.Of([]int32{3}, 1)}},
		"negative length": {nil, []*tensor.Tensor{x, w, r, nil, tensor.Of([]int32{-1}, 1)}},
	} {
		if _, err := apply(t, 14, graph.OpID{Name: "RNN"}, tc.attrs, tc.in...); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
