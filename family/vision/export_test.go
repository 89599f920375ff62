package vision

import (
	"bytes"
	"context"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"tandem"
	"tandem/data"
	"tandem/data/npz"
	"tandem/graph/op"
	"tandem/kernel"
	"tandem/model"
	"tandem/tensor"
	"tandem/train"
)

// TestExportDescribesItsProcessor: onnxruntime, with no more than the exported file and
// what that says of pixels, gives the artifact's probabilities.
func TestExportDescribesItsProcessor(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for some seconds")
	}
	python, err := filepath.Abs("../../bench/.venv/bin/python")
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
	s := spec()
	s.Data.LimitRows = 640
	p, err := Prepare(t.Context(), s, op.Default())
	if err != nil {
		t.Fatal(err)
	}
	pool := kernel.NewPool(2, kernel.Detect())
	defer pool.Close()
	dir := t.TempDir()
	run := filepath.Join(dir, "run")
	if _, err := train.Run(t.Context(), p, s, run, train.Options{Ops: op.Default(), Pool: pool}); err != nil {
		t.Fatal(err)
	}
	manifest, src, err := model.ReadDir(filepath.Join(run, train.ModelDir))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := model.Export(t.Context(), manifest, src, filepath.Join(dir, "model.onnx")); err != nil {
		t.Fatal(err)
	}
	column, _ := p.Test.Column(data.ImageColumn)
	pixels := tensor.New(tensor.Uint8, 50, 28, 28, 1)
	copy(pixels.Bytes(), column.Rows(0, 50).Bytes())
	var in bytes.Buffer
	if err := npz.Write(&in, []npz.Array{{Name: "pixels", Tensor: pixels}}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "inputs.npz"), in.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(python, "../../bench/onnx_outputs.py", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, "outputs.npz"))
	if err != nil {
		t.Fatal(err)
	}
	want, err := npz.Read(bytes.NewReader(text), int64(len(text)), "outputs.npz", npz.DefaultLimits())
	if err != nil || len(want) != 1 {
		t.Fatal(err, len(want))
	}
	m, err := tandem.Open(run, tandem.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	got, err := m.Run(context.Background(), map[string]*tensor.Tensor{m.Inputs()[0].Name: pixels})
	if err != nil {
		t.Fatal(err)
	}
	a, b := got[m.Outputs()[0].Name].F32(), want[0].Tensor.F32()
	worst := 0.0
	for i := range b {
		worst = max(worst, math.Abs(float64(a[i]-b[i])))
	}
	t.Logf("greatest difference of probabilities %.2g", worst)
	if len(a) != len(b) || worst > 1e-5 {
		t.Errorf("%d and %d probabilities, the greatest difference is %v", len(a), len(b), worst)
	}
}
