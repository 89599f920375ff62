package op_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/op/optest"
	"tandem/graph/pass"
	"tandem/kernel"
	"tandem/tensor"
)

// constantLayer computes all outputs of a layer whose weights are constants.
func constantLayer(t *testing.T, p *kernel.Pool, passes []graph.Pass, l *layer, d tensor.DType, in []*tensor.Tensor) []*tensor.Tensor {
	t.Helper()
	b := graph.NewBuilder("layer", op.Default())
	values := make([]*graph.Value, len(in))
	var given []*tensor.Tensor
	for i, x := range in {
		switch {
		case x == nil:
		case i >= inWeights && i <= inWeights+2: // weight, recurrence, bias
			values[i] = b.Const(fmt.Sprint("w", i), of(t, d, numbersOf(x), x.Shape()...))
		case x.DType() == tensor.Float32:
			values[i] = b.Input(fmt.Sprint("x", i), d, graph.Dims(x.Shape()...)...)
			given = append(given, of(t, d, numbersOf(x), x.Shape()...))
		default:
			values[i] = b.Input(fmt.Sprint("x", i), x.DType(), graph.Dims(x.Shape()...)...)
			given = append(given, x)
		}
	}
	for _, o := range b.Node(graph.OpID{Name: l.name}, 1+l.states, l.attrs, values...) {
		b.Output(o)
	}
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	return optest.Outputs(t, b.G, graph.Options{Ops: b.Ops, Pool: p, Passes: passes}, given...)
}

const inWeights = 1 // the input that is a layer's weight

// TestRecurrentLanes: the fused layers, with weights packed before or in each run, on
// one thread, two and three, give what the plain ones give in float64, and the same
// bits among themselves; the first sequence has the same bits alone.
func TestRecurrentLanes(t *testing.T) {
	rng := rand.New(rand.NewPCG(31, 32))
	pools := []*kernel.Pool{pool(t, 1), pool(t, 2), pool(t, 3)}
	for i := range 24 {
		name := []string{"RNN", "GRU", "LSTM"}[i%3]
		direction := []string{"forward", "reverse", "bidirectional"}[rng.IntN(3)]
		l := &layer{name: name, states: 1, attrs: attrs("direction", direction, "linear_before_reset", int64(1))}
		seq, batch, in, hidden, gates, dirs := 1+rng.IntN(6), 1+rng.IntN(21), 1+rng.IntN(40), 1+rng.IntN(70), 1, 1
		switch name {
		case "GRU":
			gates = 3
		case "LSTM":
			gates, l.states = 4, 2
		}
		if name != "GRU" {
			delete(l.attrs, "linear_before_reset")
		}
		if direction == "bidirectional" {
			dirs = 2
		}
		inputs := []*tensor.Tensor{
			randomInput(rng, []int{seq, batch, in}, 0), scaled(randomInput(rng, []int{dirs, gates * hidden, in}, 0), in),
			scaled(randomInput(rng, []int{dirs, gates * hidden, hidden}, 0), hidden), randomInput(rng, []int{dirs, 2 * gates * hidden}, 0), nil, nil,
		}
		if rng.IntN(2) == 0 {
			lengths := make([]int32, batch)
			for b := range lengths {
				lengths[b] = int32(rng.IntN(seq + 1))
			}
			inputs[4] = tensor.Of(lengths, batch)
		}
		if rng.IntN(2) == 0 {
			inputs[5] = randomInput(rng, []int{dirs, batch, hidden}, 0)
		}
		t.Run(fmt.Sprintf("%s %s %dx%d %d to %d", name, direction, seq, batch, in, hidden), func(t *testing.T) {
			want := constantLayer(t, pools[0], nil, l, tensor.Float64, inputs)
			first := constantLayer(t, pools[0], nil, l, tensor.Float32, inputs)
			for j, y := range first {
				if !sameNumbers(numbersOf(y), numbersOf(want[j]), 1e-5) {
					t.Fatalf("output %d differs from float64's", j)
				}
			}
			for _, p := range pools {
				for j, y := range constantLayer(t, p, pass.Inference(p), l, tensor.Float32, inputs) {
					if !sameBits(y, first[j]) {
						t.Errorf("output %d differs with %d threads and packed weights", j, p.Threads())
					}
				}
			}
			alone := append([]*tensor.Tensor(nil), inputs...)
			alone[0] = swapped(swapped(inputs[0], 1, 0, 2).Rows(0, 1), 1, 0, 2)
			if inputs[4] != nil {
				alone[4] = inputs[4].Rows(0, 1)
			}
			if inputs[5] != nil {
				alone[5] = swapped(swapped(inputs[5], 1, 0, 2).Rows(0, 1), 1, 0, 2)
			}
			y := constantLayer(t, pools[1], pass.Inference(pools[1]), l, tensor.Float32, alone)[0]
			if !sameBits(swapped(y, 2, 0, 1, 3), swapped(first[0], 2, 0, 1, 3).Rows(0, 1)) {
				t.Error("a sequence alone has other bits than in its batch")
			}
		})
	}
}

// scaled divides by the root of n, as weights begin.
func scaled(x *tensor.Tensor, n int) *tensor.Tensor {
	for i := range x.F32() {
		x.F32()[i] /= float32(math.Sqrt(float64(n)))
	}
	return x
}

func sameBits(a, b *tensor.Tensor) bool {
	if !a.Shape().Equal(b.Shape()) {
		return false
	}
	for i, v := range a.F32() {
		if math.Float32bits(v) != math.Float32bits(b.F32()[i]) {
			return false
		}
	}
	return true
}
