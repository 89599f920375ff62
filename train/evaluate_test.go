package train_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/data"
	"tandem/fault"
	"tandem/graph"
	"tandem/graph/onnx"
	"tandem/graph/op"
	"tandem/model"
	"tandem/nn"
	"tandem/tensor"
	"tandem/train"
	"tandem/train/metric"
)

// weightsOf are the constants of the artifact of a run.
func weightsOf(t *testing.T, dir string) map[string][]float32 {
	t.Helper()
	g, mapping, err := onnx.Load(filepath.Join(dir, train.ModelDir, model.GraphFile), onnx.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer mapping.Close()
	all := map[string][]float32{}
	for _, v := range g.Constants() {
		if v.Const.DType != tensor.Float32 {
			continue
		}
		c, err := v.Const.Tensor()
		if err != nil {
			t.Fatal(err)
		}
		all[v.Name] = slices.Clone(c.F32())
	}
	return all
}

// TestBestAndEarly: by whatever metric, the artifact has the very weights of the epoch
// that was the best by it, its record that epoch's numbers, and training that gets
// worse ends early.
func TestBestAndEarly(t *testing.T) {
	for _, monitor := range []string{"loss", "accuracy", "f1_macro", "auc", "log_loss"} {
		spec := twoLayersSpec(12)
		spec.Train.Optimizer = train.OptimizerSpec{Name: "adam", LearningRate: 0.5}
		spec.Train.CheckpointSteps = 1000
		spec.Train.Schedule.Name = "constant"
		spec.Train.KeepBest, spec.Train.StopPatience, spec.Train.Monitor = true, 3, monitor
		spec.FillDefaults()
		dir := filepath.Join(t.TempDir(), "run")
		opt := options(t, 1)
		names := []string{"dense1.weight", "dense1.bias", "dense2.weight", "dense2.bias"}
		var history []float64
		var weights []map[string][]float32 // after each epoch
		opt.Callbacks.Epoch = func(e train.Evaluation) (bool, error) {
			v := e.Values[monitor]
			if monitor == "loss" {
				v = e.Loss
			}
			history = append(history, v)
			now := map[string][]float32{}
			for _, n := range names {
				p, ok := e.Parameter(n)
				if !ok {
					t.Fatalf("no parameter %s", n)
				}
				now[n] = slices.Clone(p.F32())
			}
			weights = append(weights, now)
			return false, nil
		}
		got, err := train.Run(t.Context(), twoLayers(t, 5), spec, dir, opt)
		if err != nil {
			t.Fatal(err)
		}
		best := 0
		for i, v := range history {
			if metric.HigherIsBetter(monitor) && v > history[best] || !metric.HigherIsBetter(monitor) && v < history[best] {
				best = i
			}
		}
		if last := len(history) - 1; best == last || last-best != 3 || last == 11 {
			t.Errorf("%s: the best of %v is epoch %d; the run is to end three later, early", monitor, history, best+1)
		}
		if got.Metrics["test_"+monitor] != history[best] {
			t.Errorf("%s: the record says %v, the best is %v", monitor, got.Metrics["test_"+monitor], history[best])
		}
		saved := weightsOf(t, dir)
		for _, n := range names {
			if !slices.Equal(saved[n], weights[best][n]) {
				t.Errorf("%s: %s of the artifact is not that of epoch %d", monitor, n, best+1)
			}
			if slices.Equal(saved[n], weights[len(weights)-1][n]) {
				t.Errorf("%s: %s of the last epoch is that of the best: the test shows nothing", monitor, n)
			}
		}
		r, err := train.ReadReport(dir)
		if err != nil || r.Epoch != best+1 || len(r.Classes) != 2 || r.Confusion[0][0]+r.Confusion[0][1] != r.Classes[0].Examples {
			t.Errorf("%s: %+v, %v", monitor, r, err)
		}
	}
}

func TestMonitorRefused(t *testing.T) {
	spec := twoLayersSpec(1)
	spec.Train.Monitor = "rmse"
	_, err := train.Run(t.Context(), twoLayers(t, 5), spec, filepath.Join(t.TempDir(), "run"), options(t, 1))
	if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), `train.monitor is "rmse"`) || !strings.Contains(fault.RemedyOf(err), "f1_macro") {
		t.Error(err)
	}
	spec.Train.Monitor = "auc"
	p := twoLayers(t, 5)
	p.Test = oneClass(t, p.Test)
	opt := options(t, 1)
	opt.Callbacks.Step = func(int, float64) error {
		t.Error("a step is made before the metric is found to be undefined")
		return nil
	}
	_, err = train.Run(t.Context(), p, spec, filepath.Join(t.TempDir(), "run"), opt)
	if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "train.monitor is auc, which is not defined on this test set") || !strings.Contains(fault.RemedyOf(err), "every class") {
		t.Error(err)
	}
	spec.Train.Monitor = "r2"
	q := line(t)
	q.Test = q.Test.Slice(0, 1)
	_, err = train.Run(t.Context(), q, spec, filepath.Join(t.TempDir(), "run"), opt)
	if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "train.monitor is r2, which is not defined") || !strings.Contains(fault.RemedyOf(err), "two examples") {
		t.Error(err)
	}
}

// oneClass has the labels of d set to 0.
func oneClass(t *testing.T, d *data.Dataset) *data.Dataset {
	t.Helper()
	x, _ := d.Column("x")
	one, err := data.NewDataset(data.Column{Name: "x", Tensor: x}, data.Column{Name: "label", Tensor: tensor.New(tensor.Int64, d.Len())})
	if err != nil {
		t.Fatal(err)
	}
	return one
}

// TestCallbacks: they see every step and epoch, end a run early, and stop it with an
// error from which it resumes; a run that they ended stays ended.
func TestCallbacks(t *testing.T) {
	opt := options(t, 1)
	dir := filepath.Join(t.TempDir(), "run")
	steps, epochs := 0, 0
	broken := errors.New("broken")
	opt.Callbacks = train.Callbacks{
		Step: func(step int, loss float64) error {
			if steps++; step != steps || !(loss > 0) {
				t.Errorf("step %d, loss %v", step, loss)
			}
			if step == 40 {
				return broken
			}
			return nil
		},
	}
	if _, err := train.Run(t.Context(), twoLayers(t, 5), twoLayersSpec(9), dir, opt); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	opt.Resume = true
	opt.Callbacks = train.Callbacks{Epoch: func(e train.Evaluation) (bool, error) {
		epochs = e.Epoch
		return e.Epoch == 4, nil
	}}
	r, err := train.Run(t.Context(), twoLayers(t, 5), twoLayersSpec(9), dir, opt)
	if err != nil || epochs != 4 || r.Steps != 4*32 || r.Status != train.Succeeded {
		t.Errorf("%d epochs, %+v, %v", epochs, r, err)
	}
}

// line is the problem of y = 3x-1 with noise: a regression.
func line(t testing.TB) *train.Problem {
	t.Helper()
	b := nn.NewBuilder("line", op.Default(), 1)
	x := b.Input("x", tensor.Float32, graph.Sym("batch"), graph.Const(1))
	b.Output(nn.Dense{Units: 1}.Build(b, x))
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	set := func(n int) *data.Dataset {
		x, y := tensor.New(tensor.Float32, n, 1), tensor.New(tensor.Float32, n, 1)
		for i := range n {
			v := float32(i%17)/8 - 1
			x.F32()[i], y.F32()[i] = v, 3*v-1+float32(i%5-2)/10
		}
		d, err := data.NewDataset(data.Column{Name: "x", Tensor: x}, data.Column{Name: "y", Tensor: y})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	return &train.Problem{
		Graph: b.G, Params: b.Params(), Metrics: metric.Numbers,
		Loss: func(b *graph.Builder, output, target *graph.Value) (loss, correct *graph.Value) {
			return nn.MSE(b, output, target), nil
		},
		Target: graph.Type{DType: tensor.Float32, Shape: graph.Shape{graph.Sym("batch"), graph.Const(1)}},
		Train:  set(300), Test: set(85),
		Feed: func(d *data.Dataset, in []*tensor.Tensor, target *tensor.Tensor) error {
			x, _ := d.Column("x")
			y, _ := d.Column("y")
			return errors.Join(in[0].CopyFrom(x), target.CopyFrom(y))
		},
		Artifact: model.Artifact{Batch: true},
	}
}

// TestNumbers: a regression has no accuracy, and its metrics agree with its loss.
func TestNumbers(t *testing.T) {
	spec := twoLayersSpec(15)
	spec.Train.Monitor, spec.Train.KeepBest, spec.Train.Optimizer.LearningRate = "r2", true, 0.1
	r, err := train.Run(t.Context(), line(t), spec, filepath.Join(t.TempDir(), "run"), options(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	m := r.Metrics
	if _, ok := m["test_accuracy"]; ok || m["test_r2"] < 0.98 || math.Abs(m["test_rmse"]*m["test_rmse"]-m["test_loss"]) > 1e-5 {
		t.Errorf("%v", m)
	}
}

func ExampleCallbacks() {
	p, spec := &train.Problem{}, train.Spec{}
	opt := train.Options{Callbacks: train.Callbacks{
		Epoch: func(e train.Evaluation) (stop bool, err error) {
			fmt.Println(e.Epoch, e.Loss, e.Values["f1_macro"])
			return e.Values["f1_macro"] > 0.99, nil
		},
	}}
	_, err := train.Run(context.Background(), p, spec, "runs/one", opt)
	fmt.Println(fault.KindOf(err))
	// Output: invalid
}
