package main

import (
	"context"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"tandem"
	"tandem/data/npz"
	"tandem/graph/onnx"
	"tandem/graph/op"
	"tandem/kernel"
	"tandem/tensor"
	"tandem/train"
)

// TestTrainedNetsInOnnxruntime: every network of the table, after two steps of training,
// gives in onnxruntime what it gives here.
func TestTrainedNetsInOnnxruntime(t *testing.T) {
	if testing.Short() {
		t.Skip("trains networks")
	}
	python := onnxruntime(t)
	pool := kernel.NewPool(2, kernel.Detect())
	defer pool.Close()
	for _, n := range networks() {
		dir := t.TempDir()
		n.batch = 3
		model := filepath.Join(dir, "model.onnx")
		x := trainTwoSteps(t, n, pool, model)
		writeArrays(t, filepath.Join(dir, "inputs.npz"), npz.Array{Name: "x", Tensor: x})
		if out, err := exec.Command(python, "../onnx_outputs.py", dir).CombinedOutput(); err != nil {
			t.Errorf("%s: onnxruntime: %v\n%s", n.name, err, out)
			continue
		}
		want := readArrays(t, filepath.Join(dir, "outputs.npz"))
		m, err := tandem.Open(model, tandem.Options{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := m.Run(context.Background(), map[string]*tensor.Tensor{"x": x})
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) || len(want) == 0 {
			t.Errorf("%s: %d outputs, onnxruntime gives %d", n.name, len(got), len(want))
		}
		for _, w := range want {
			a, b := got[w.Name].F32(), w.Tensor.F32()
			worst, largest := 0.0, 0.0
			for i := range b {
				worst, largest = max(worst, math.Abs(float64(a[i]-b[i]))), max(largest, math.Abs(float64(b[i])))
			}
			t.Logf("%s: greatest difference %.2g of %.2g", n.name, worst, largest)
			if len(a) != len(b) || worst > 1e-4*largest {
				t.Errorf("%s: output %s differs by %v, the largest is %v", n.name, w.Name, worst, largest)
			}
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

// onnxruntime is a Python that has it.
func onnxruntime(t *testing.T) string {
	t.Helper()
	python, err := filepath.Abs("../.venv/bin/python")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(python, "-c", "import onnxruntime").CombinedOutput(); err != nil {
		why := "bench/.venv has no onnxruntime: make test installs it. " + string(out)
		if os.Getenv("CI") != "" {
			t.Fatal(why)
		}
		t.Skip("NOT TESTED WITH ONNXRUNTIME: ", why)
	}
	return python
}

// trainTwoSteps writes the trained network to path and returns an input.
func trainTwoSteps(t *testing.T, n network, pool *kernel.Pool, path string) *tensor.Tensor {
	t.Helper()
	p, err := n.problem(1)
	if err != nil {
		t.Fatal(err)
	}
	spec := train.TrainSpec{Seed: 1}
	spec.Optimizer = train.OptimizerSpec{Name: "adam", LearningRate: 1e-3, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8}
	s, err := train.NewStepper(p, spec, op.Default(), pool)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	x, y := n.data(rand.New(rand.NewPCG(1, 2)))
	for i := range 2 {
		if _, _, err := s.Step(context.Background(), i+1, 1e-3, []*tensor.Tensor{x}, y); err != nil {
			t.Fatal(err)
		}
	}
	g, err := s.Trained()
	if err != nil {
		t.Fatal(err)
	}
	if err := onnx.Save(path, g, onnx.SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	return x
}

func writeArrays(t *testing.T, path string, arrays ...npz.Array) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := npz.Write(f, arrays); err != nil {
		t.Fatal(err)
	}
}

func readArrays(t *testing.T, path string) []npz.Array {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	arrays, err := npz.Read(f, info.Size(), path, npz.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	return arrays
}
