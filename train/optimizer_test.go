package train

import (
	"context"
	"math"
	"slices"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/pass"
	"tandem/kernel"
	"tandem/tensor"
)

// descend applies an optimizer to weights cos(i) with the gradients sin(1 + 0.7·i +
// 1.3·t), for a number of steps, and returns the state by name.
func descend(t *testing.T, spec TrainSpec, steps int, shape ...int) map[string][]float32 {
	t.Helper()
	return descendBy(t, spec, steps, func(n, i int) float32 {
		return float32(math.Sin(1 + 0.7*float64(i) + 1.3*float64(n)))
	}, shape...)
}

// descendBy is descend with other gradients: of step n, from 0, and element i.
func descendBy(t *testing.T, spec TrainSpec, steps int, gradient func(n, i int) float32, shape ...int) map[string][]float32 {
	t.Helper()
	ops := op.Default()
	b := graph.NewBuilder("", ops)
	w := tensor.New(tensor.Float32, shape...)
	for i := range w.F32() {
		w.F32()[i] = float32(math.Cos(float64(i)))
	}
	param := b.Const("w", w)
	grad := b.Input("grad", tensor.Float32, graph.Dims(shape...)...)
	step, rate := b.Input("step", tensor.Int64), b.Input("rate", tensor.Float32)
	if err := newUpdater(b, spec, rate, step).update([]*graph.Value{param}, []*graph.Value{grad}); err != nil {
		t.Fatal(err)
	}
	pool := kernel.NewPool(2, kernel.Detect())
	defer pool.Close()
	prog, err := graph.Compile(b.G, graph.Options{Ops: ops, Pool: pool, Passes: pass.Training()})
	if err != nil {
		t.Fatal(err)
	}
	s, err := prog.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for n := range steps {
		g := tensor.New(tensor.Float32, shape...)
		for i := range g.F32() {
			g.F32()[i] = gradient(n, i)
		}
		if _, err := s.Run(context.Background(), []*tensor.Tensor{g, tensor.Scalar(int64(n + 1)), tensor.Scalar(spec.Optimizer.LearningRate)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	out := map[string][]float32{}
	for i, v := range prog.Graph().State {
		out[v.Current.Name] = slices.Clone(s.State(i).F32())
	}
	return out
}

func near(a []float32, b []float64, tolerance float64) bool {
	return slices.EqualFunc(a, b, func(x float32, y float64) bool { return math.Abs(float64(x)-y) <= tolerance })
}

func optimizerSpec(name string) TrainSpec {
	o := OptimizerSpec{Name: name, LearningRate: 0.01, WeightDecay: 0.1}
	if name == "sgd" {
		o.Momentum, o.Nesterov = 0.9, true
	}
	o.setDefaults()
	return TrainSpec{Optimizer: o}
}

// TestOptimizers compares four steps with PyTorch 2.15 (torch.optim.Adam, AdamW,
// SGD, Adafactor), and for Lion and Muon with their papers' updates in float64 NumPy.
func TestOptimizers(t *testing.T) {
	for _, tc := range []struct {
		name  string
		shape []int
		want  []float64
	}{
		{"adam", []int{2, 3}, []float64{0.9736518, 0.5233282, -0.4171574, -0.959792, -0.6251014, 0.3028956}},
		{"adamw", []int{2, 3}, []float64{0.9719046, 0.5228441, -0.4171846, -0.9782835, -0.6238413, 0.302509}},
		{"sgd", []int{2, 3}, []float64{0.9586775, 0.5253023, -0.3948313, -0.9446496, -0.6109825, 0.3000224}},
		{"adafactor", []int{2, 3}, []float64{0.9933522, 0.5434111, -0.405414, -0.9780893, -0.6465672, 0.2814717}},
		{"adafactor", []int{6}, []float64{0.9955174, 0.5437254, -0.4067966, -0.9848136, -0.6461445, 0.2795177}},
		{"lion", []int{2, 3}, []float64{0.996046, 0.5381843, -0.3944848, -0.9860385, -0.6310929, 0.2824893}},
		{"muon", []int{2, 3}, []float64{0.9926721, 0.5393991, -0.4092314, -0.9826557, -0.6474258, 0.2846643}},
		{"muon", []int{3, 2}, []float64{0.9921632, 0.5403572, -0.4145628, -0.9811468, -0.6472167, 0.2819792}},
	} {
		if got := descend(t, optimizerSpec(tc.name), 4, tc.shape...)["w"]; !near(got, tc.want, 2e-6) {
			t.Errorf("%s %v: %v, want %v", tc.name, tc.shape, got, tc.want)
		}
	}
	// What is no matrix takes AdamW.
	if got, want := descend(t, optimizerSpec("muon"), 4, 6)["w"], descend(t, optimizerSpec("adamw"), 4, 6)["w"]; !slices.Equal(got, want) {
		t.Errorf("muon of a vector: %v, want %v", got, want)
	}
}

// TestAccumulate: two gradients make one step with their mean, for every optimizer.
func TestAccumulate(t *testing.T) {
	for name := range optimizers() {
		spec := optimizerSpec(name)
		spec.AccumulateSteps = 2
		before, after := descend(t, spec, 1, 2, 3)["w"], descend(t, spec, 2, 2, 3)["w"]
		for i, w := range before {
			if float64(w) != float64(float32(math.Cos(float64(i)))) {
				t.Fatalf("%s: the first of two batches changes weight %d", name, i)
			}
		}
		if slices.Equal(before, after) {
			t.Errorf("%s: the second batch changes nothing", name)
		}
	}
	spec := TrainSpec{Optimizer: OptimizerSpec{Name: "sgd", LearningRate: 0.5}, AccumulateSteps: 2}
	var want []float64
	for i := range 3 {
		g := math.Sin(1+0.7*float64(i)) + math.Sin(1+0.7*float64(i)+1.3)
		want = append(want, math.Cos(float64(i))-0.5*g/2)
	}
	if got := descend(t, spec, 2, 3)["w"]; !near(got, want, 1e-6) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestAverageOfAccumulated: the average goes on with updates, not with the batches that
// make one, as that of torch.optim.swa_utils does, whose user calls it after a step.
func TestAverageOfAccumulated(t *testing.T) {
	spec := TrainSpec{Optimizer: OptimizerSpec{Name: "sgd", LearningRate: 0.5}, AverageDecay: 0.1, AccumulateSteps: 3}
	want := make([]float64, 4)
	for i := range want {
		w := math.Cos(float64(i))
		want[i] = w
		for update := range 2 {
			for batch := range 3 {
				w -= 0.5 / 3 * math.Sin(1+0.7*float64(i)+1.3*float64(3*update+batch))
			}
			decay := min(0.1, float64(update+1)/float64(update+11))
			want[i] = decay*want[i] + (1-decay)*w
		}
	}
	for _, steps := range []int{6, 7, 8} { // of which two updates are made
		if got := descend(t, spec, steps, 4)["w.average"]; !near(got, want, 1e-6) {
			t.Errorf("after %d batches the average is %v, want %v", steps, got, want)
		}
	}
}

// TestNoNumberIsSeen: a gradient that is no number makes none of the weight, whatever the
// optimizer, with gradients clipped or not: training ends instead of leaving it as it is.
func TestNoNumberIsSeen(t *testing.T) {
	for name := range optimizers() {
		for _, clip := range []float32{0, 1} {
			spec := optimizerSpec(name)
			spec.ClipNorm, spec.ClipValue = clip, 2*clip
			spec.Optimizer.WeightDecay = 0
			if got := descendBy(t, spec, 1, func(_, i int) float32 { return float32(math.NaN()) }, 2, 3)["w"]; !(got[0] != got[0]) {
				t.Errorf("%s, clipped to %v: %v", name, clip, got)
			}
		}
	}
}

// TestClipAverageRates: the gradient's norm is bounded as torch.nn.utils.clip_grad_norm_
// does, the average follows the weights, and a pattern scales the rate.
func TestClipAverageRates(t *testing.T) {
	spec := TrainSpec{Optimizer: OptimizerSpec{Name: "sgd", LearningRate: 0.5}, ClipNorm: 0.25, AverageDecay: 0.5, Rates: []RateSpec{{"other", 7}, {"w*", 0.1}}}
	norm := 0.0
	for i := range 3 {
		norm += math.Pow(math.Sin(1+0.7*float64(i)), 2)
	}
	var weights, averages []float64
	for i := range 3 {
		w := math.Cos(float64(i)) - 0.05*math.Sin(1+0.7*float64(i))*0.25/(math.Sqrt(norm)+1e-6)
		weights = append(weights, w)
		decay := 1.0 / 11
		averages = append(averages, decay*math.Cos(float64(i))+(1-decay)*w)
	}
	got := descend(t, spec, 1, 3)
	if !near(got["w"], weights, 1e-6) || !near(got["w.average"], averages, 1e-6) {
		t.Errorf("%v, want %v and %v", got, weights, averages)
	}
	spec.ClipValue = 0.9 // cuts the second number; the norm is that of what is left
	norm = 0
	gradient := []float64{math.Sin(1), 0.9, math.Sin(2.4)}
	for _, g := range gradient {
		norm += g * g
	}
	for i, g := range gradient {
		weights[i] = math.Cos(float64(i)) - 0.05*g*0.25/(math.Sqrt(norm)+1e-6)
	}
	if got := descend(t, spec, 1, 3); !near(got["w"], weights, 1e-6) {
		t.Errorf("with clip_value %v, want %v", got["w"], weights)
	}
	spec.Rates = []RateSpec{{"[", 1}}
	b := graph.NewBuilder("", op.Default())
	u := newUpdater(b, spec, b.Input("rate", tensor.Float32), b.Input("step", tensor.Int64))
	if _, err := u.rateOf(b.Const("w", tensor.New(tensor.Float32, 1))); err == nil {
		t.Error("a pattern that is none is accepted")
	}
}

// TestFreeze: frozen parameters are no state.
func TestFreeze(t *testing.T) {
	b := graph.NewBuilder("", op.Default())
	params := []*graph.Value{b.Const("a.weight", tensor.New(tensor.Float32, 1)), b.Const("b.weight", tensor.New(tensor.Float32, 1))}
	left, err := TrainSpec{Freeze: []string{"a.*"}}.trainable(params)
	if err != nil || len(left) != 1 || left[0] != params[1] {
		t.Error(left, err)
	}
	if _, err := (TrainSpec{Freeze: []string{"*"}}).trainable(params); err == nil {
		t.Error("nothing to train is accepted")
	}
}
