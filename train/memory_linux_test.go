// The race detector takes memory of its own.

//go:build !race

package train_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"tandem/data"
	"tandem/graph"
	"tandem/graph/op"
	"tandem/nn"
	"tandem/tensor"
	"tandem/train"
	"tandem/train/metric"
)

// residentBytes is a line of what the system says of this process.
func residentBytes(t *testing.T, key string) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip(err)
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == key {
			n, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n << 10
		}
	}
	t.Skipf("there is no %s", key)
	return 0
}

// sized is a problem of 10 classes whose examples have a shape.
func sized(t *testing.T, net nn.Layer, examples int, shape ...int) *train.Problem {
	t.Helper()
	b := nn.NewBuilder("sized", op.Default(), 1)
	x := b.Input("x", tensor.Float32, append(graph.Shape{graph.Sym("batch")}, graph.Dims(shape...)...)...)
	b.Output(b.Op("Softmax", nil, net.Build(b, x)))
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	set := func(n int) *data.Dataset {
		rng := rand.New(rand.NewPCG(1, 1))
		x, y := tensor.New(tensor.Float32, append([]int{n}, shape...)...), tensor.New(tensor.Int64, n)
		for i := range x.F32() {
			x.F32()[i] = rng.Float32()
		}
		for i := range n {
			y.I64()[i] = int64(i % 10)
		}
		d, err := data.NewDataset(data.Column{Name: "x", Tensor: x}, data.Column{Name: "label", Tensor: y})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	p := twoLayers(t, 1)
	p.Graph, p.Params, p.Metrics = b.G, b.Params(), metric.Labels
	p.Train, p.Test = set(examples), set(examples/2)
	return p
}

// TestEstimateIsWhatARunTakes: no less than what the system counts, and not much more.
func TestEstimateIsWhatARunTakes(t *testing.T) {
	const rows = 48
	for name, c := range map[string]struct {
		net       nn.Layer
		shape     []int
		optimizer string
	}{
		"dense":        {nn.Sequential{nn.Dense{Units: 2048, Activation: nn.ReLU}, nn.Dense{Units: 2048, Activation: nn.ReLU}, nn.Dense{Units: 10}}, []int{1024}, "adam"},
		"dense, muon":  {nn.Sequential{nn.Dense{Units: 1024, Activation: nn.ReLU}, nn.Dense{Units: 1024, Activation: nn.ReLU}, nn.Dense{Units: 10}}, []int{1024}, "muon"},
		"convolutions": {nn.Sequential{nn.Conv2D{Filters: 24, Kernel: 3, Activation: nn.ReLU}, nn.Conv2D{Filters: 24, Kernel: 3, Activation: nn.ReLU}, nn.MaxPool2D{Size: 2}, nn.Flatten{}, nn.Dense{Units: 10}}, []int{3, 32, 32}, "adam"},
		"lstm":         {nn.Sequential{nn.Recurrent{Cell: nn.LSTM, Units: 192, Last: true}, nn.Dense{Units: 10}}, []int{48, 64}, "adafactor"},
	} {
		p, spec, opt := sized(t, c.net, 2*rows+5, c.shape...), twoLayersSpec(1), options(t, 1)
		spec.Train.BatchRows, spec.Train.CheckpointSteps = rows, 1000
		spec.Train.Optimizer = train.OptimizerSpec{Name: c.optimizer, LearningRate: 0.02}
		spec.FillDefaults()
		need, err := train.EstimateMemory(p, spec.Train, opt.Ops, opt)
		if err != nil {
			t.Fatal(err)
		}
		runtime.GC()
		debug.FreeOSMemory()
		before := residentBytes(t, "RssAnon:") + residentBytes(t, "RssFile:")
		if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
			t.Skip("the peak cannot be set back: ", err)
		}
		if _, err := train.Run(t.Context(), p, spec, filepath.Join(t.TempDir(), "run"), opt); err != nil {
			t.Fatal(err)
		}
		took := residentBytes(t, "VmHWM:") - before
		t.Logf("%s: estimated %.1f MiB (%.1f, %.1f, %.1f), took %.1f", name, float64(need.Total())/(1<<20),
			float64(need.StateBytes)/(1<<20), float64(need.StepBytes)/(1<<20), float64(need.EvaluationBytes)/(1<<20), float64(took)/(1<<20))
		// What Go keeps besides: graphs, programs, and garbage.
		const slack = 12 << 20
		if took > need.Total()+slack {
			t.Errorf("%s: the estimate is %d MiB, the run took %d", name, need.Total()>>20, took>>20)
		}
		if need.Total() > took*3/2+slack {
			t.Errorf("%s: the estimate is %d MiB, the run took %d only", name, need.Total()>>20, took>>20)
		}
		p.Train.Close()
	}
}
