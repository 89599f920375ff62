package precision_test

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"tandem/graph"
	"tandem/graph/onnx"
	"tandem/graph/op"
	"tandem/graph/precision"
	"tandem/kernel"
	"tandem/tensor"
)

// elsewhere has the ONNX checker look at a file and onnxruntime run it, on the input that
// lies beside it, and writes all outputs as they follow each other.
const elsewhere = `
import json, sys
import numpy as np, onnx, onnxruntime
for case in json.load(sys.stdin):
    onnx.checker.check_model(case["path"], full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    session = onnxruntime.InferenceSession(case["path"], options, providers=["CPUExecutionProvider"])
    x = np.fromfile(case["path"] + ".in", case["dtype"]).reshape(case["shape"])
    out = session.run(None, {session.get_inputs()[0].name: x})
    np.concatenate([o.astype(np.float32).reshape(-1) for o in out]).tofile(case["path"] + ".out")
print("ran", end="")
`

// elsewhereCase is a graph that was rounded, and an input of it.
type elsewhereCase struct {
	Path  string `json:"path"`
	DType string `json:"dtype"`
	Shape []int  `json:"shape"`

	floats, rounded *graph.Graph
	in              *tensor.Tensor
	// far is the greatest distance between what this engine and onnxruntime give. What both
	// compute in bytes is the same but for halves; an activation in blocks of int8 is this
	// engine's own.
	far float64
}

// TestRoundedGraphsRunElsewhere: what is written is ONNX as the checker knows it, and
// onnxruntime gives what is given here, as near to the floats.
func TestRoundedGraphsRunElsewhere(t *testing.T) {
	python, err := filepath.Abs(filepath.Join("..", "..", "bench", ".venv", "bin", "python"))
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(python, "-c", "import onnx, onnxruntime").CombinedOutput(); err != nil {
		why := "bench/.venv has no onnxruntime: make test installs it. " + string(out)
		if os.Getenv("CI") != "" {
			t.Fatal(why)
		}
		t.Skip("NOT TESTED WITH ONNXRUNTIME: ", why)
	}
	p := kernel.NewPool(1, kernel.Detect())
	t.Cleanup(p.Close)
	dir, r := t.TempDir(), rand.New(rand.NewPCG(12, 1))
	var cases []elsewhereCase
	add := func(name, dtype string, floats, rounded *graph.Graph, in *tensor.Tensor, far float64) {
		c := elsewhereCase{filepath.Join(dir, name+".onnx"), dtype, in.Shape(), floats, rounded, in, far}
		if err := onnx.Save(c.Path, rounded, onnx.SaveOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(c.Path+".in", in.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		cases = append(cases, c)
	}
	g := network(t, 20)
	for form, far := range map[precision.Form]float64{precision.Int8: 1e-3, precision.Int8Weights: 0.01, precision.Int4Weights: 0.01, precision.BF16: 1e-3} {
		add(string(form), "<i8", g, rounded(t, g, p, form, nil), ids(r, 3), far)
	}
	g = pictures(t)
	add("bf16-convolutions", "<f4", g, rounded(t, g, p, precision.BF16, nil), random(r, 1, 4, 32, 20, 20), 1e-3)
	g = residual(t)
	in := random(r, 1, 4, 16, 12, 12)
	ranges, err := precision.Calibrate(context.Background(), g, op.Default(), p, [][]*tensor.Tensor{{in}}, 100)
	if err != nil {
		t.Fatal(err)
	}
	q, err := precision.Round(g, op.Default(), precision.Int8, precision.Options{Pool: p, Ranges: ranges})
	if err != nil {
		t.Fatal(err)
	}
	add("static", "<f4", g, q, in, 2e-3)
	runElsewhere(t, python, cases)
	for _, c := range cases {
		floats, here := joined(run(t, c.floats, p, []*tensor.Tensor{c.in})), joined(run(t, c.rounded, p, []*tensor.Tensor{c.in}))
		there := tensor.New(tensor.Float32, here.Len())
		data, err := os.ReadFile(c.Path + ".out")
		if err != nil {
			t.Fatal(err)
		}
		if copy(there.Bytes(), data) != len(there.Bytes()) || len(data) != len(there.Bytes()) {
			t.Fatalf("%s: onnxruntime gives %d bytes, expected %d", filepath.Base(c.Path), len(data), len(there.Bytes()))
		}
		apart, ours, theirs := distance(here, there), distance(floats, here), distance(floats, there)
		t.Logf("%s: %.1e from onnxruntime; from the floats %.4f, there %.4f", filepath.Base(c.Path), apart, ours, theirs)
		if apart > c.far || theirs < 1e-4 || theirs > 1.2*ours+1e-3 {
			t.Errorf("%s: onnxruntime gives what is %.2g away, and %.2g from the floats; here it is %.2g", filepath.Base(c.Path), apart, theirs, ours)
		}
	}
}

func runElsewhere(t *testing.T, python string, cases []elsewhereCase) {
	t.Helper()
	list, err := json.Marshal(cases)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "cases.json")
	if err := os.WriteFile(file, list, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, "-c", elsewhere)
	if cmd.Stdin, err = os.Open(file); err != nil {
		t.Fatal(err)
	}
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "ran" {
		t.Fatalf("%v\n%s", err, out)
	}
}

// joined are tensors one after another.
func joined(list []*tensor.Tensor) *tensor.Tensor {
	var all []float32
	for _, x := range list {
		all = append(all, x.F32()...)
	}
	return tensor.Of(all, len(all))
}
