package family

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tandem"
	"tandem/data/npz"
	"tandem/fault"
	"tandem/graph/op"
	"tandem/kernel"
	"tandem/model"
	"tandem/tensor"
	"tandem/train"
)

// TestExportsRunElsewhere: what tables and texts have trained gives the same answers in
// onnxruntime.
func TestExportsRunElsewhere(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for some seconds")
	}
	python, err := filepath.Abs("../bench/.venv/bin/python")
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
	var table, song strings.Builder
	table.WriteString("n,city,note,y\n")
	for i := range 300 {
		fmt.Fprintf(&table, "%d,c%d,\"a %s thing, as it were\",%d\n", i%17, i%40, []string{"good", "bad"}[i%2], i%2)
		fmt.Fprintf(&song, "%d bottles, ", i)
	}
	for name, yaml := range map[string]string{
		"table.csv": "family: tabular\nmodel: {target: y, text: {words: 5, buckets: 50, size: 4}}",
		"layers.csv": `family: tabular
model:
  target: y
  ignore: [note]
  embed_above: 0
  layers:
    - dense: 96
    - reshape: [6, 4, 4]
    - batch_norm
    - depthwise_conv2d: {kernel: 3, multiplier: 2, same: true}
    - separable_conv2d: {filters: 8, kernel: 3, stride: 2, same: true, activation: relu, init: he_normal}
    - conv_transpose2d: {filters: 6, kernel: 3, stride: 2, same: true, groups: 2}
    - concat: {layers: [max_pool2d: {size: 3, stride: 1, same: true}, sequential: [average_pool2d: {size: 2, stride: 1, same: true}, group_norm: 3]], axis: 1}
    - residual: {layers: [conv2d: {filters: 8, kernel: 3, same: true}], skip: {sequential: [conv2d: {filters: 8, kernel: 1}, batch_norm]}, activation: silu}
    - reshape: [8, -1]
    - permute: [2, 1]
    - gru: {units: 5, bidirectional: true, recurrence: orthogonal}
    - concat: {layers: [sequential: [permute: [2, 1], global_max_pool], sequential: [permute: [2, 1], global_average_pool]], axis: 1}`,
		"lstm.txt": "family: language\nmodel: {embedding: 8, layers: [lstm: 12, gru: 9]}",
		"song.txt": "family: language\nmodel: {embedding: 8, layers: [positions, transformer: {blocks: 2, heads: 2, causal: true}]}",
	} {
		text := song.String()
		if strings.HasPrefix(yaml, "family: tabular") {
			text = table.String()
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		yaml += "\ndata: {path: " + filepath.Join(dir, name) + ", window: 12}\ntrain: {epochs: 1, seed: 1}\n"
		exportRunsElsewhere(t, python, yaml, dir)
	}
}

func exportRunsElsewhere(t *testing.T, python, yaml, dir string) {
	t.Helper()
	spec, err := train.LoadSpec("spec.yaml", strings.NewReader(yaml))
	if err != nil {
		t.Fatal(err)
	}
	f, err := Find(&spec)
	if err != nil {
		t.Fatal(err)
	}
	p, err := f.Prepare(t.Context(), spec, op.Default())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Train.Close()
	pool := kernel.NewPool(2, kernel.Detect())
	defer pool.Close()
	run, file := filepath.Join(dir, "run"), filepath.Join(dir, "model.onnx")
	if _, err := train.Run(t.Context(), p, spec, run, train.Options{Ops: op.Default(), Pool: pool}); err != nil {
		t.Fatal(err)
	}
	manifest, src, err := model.ReadDir(filepath.Join(run, train.ModelDir))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := model.Export(t.Context(), manifest, src, file); err != nil {
		t.Fatal(err)
	}
	m, err := tandem.Open(file, tandem.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	given := map[string]*tensor.Tensor{}
	var arrays []npz.Array
	for _, in := range m.Inputs() {
		n, _ := in.Shape[1].Value()
		x := tensor.New(in.DType, 7, n)
		for i := range 7 * n {
			if x.DType() == tensor.Int64 {
				x.I64()[i] = int64(i * 31 % 40)
			} else {
				x.F32()[i] = float32(i%13)/4 - 1
			}
		}
		given[in.Name], arrays = x, append(arrays, npz.Array{Name: in.Name, Tensor: x})
	}
	var text bytes.Buffer
	if err := npz.Write(&text, arrays); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "inputs.npz"), text.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(python, "../bench/onnx_outputs.py", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "outputs.npz"))
	if err != nil {
		t.Fatal(err)
	}
	want, err := npz.Read(bytes.NewReader(raw), int64(len(raw)), "outputs.npz", npz.DefaultLimits())
	if err != nil || len(want) != 1 {
		t.Fatal(err, len(want))
	}
	got, err := m.Run(t.Context(), given)
	if err != nil {
		t.Fatal(err)
	}
	a, b, worst := got[m.Outputs()[0].Name].F32(), want[0].Tensor.F32(), 0.0
	for i := range b {
		worst = max(worst, math.Abs(float64(a[i]-b[i])))
	}
	t.Logf("%s: greatest difference of probabilities %.2g", spec.Data.Path, worst)
	if len(a) != len(b) || worst > 1e-5 {
		t.Errorf("%s: %d and %d probabilities, the greatest difference is %v", spec.Data.Path, len(a), len(b), worst)
	}
}

// TestFindSuggests: a misspelt family or task is answered with the one that was meant.
func TestFindSuggests(t *testing.T) {
	for _, tc := range []struct{ family, task, want, try string }{
		{"tabluar", "", `there is no family "tabluar"`, "did you mean tabular?"},
		{"x", "", `there is no family "x"`, "use one of: vision, language, tabular"},
		{"tabular", "classfy", `family tabular has no task "classfy"`, "did you mean classify?"},
	} {
		_, err := Find(&train.Spec{Family: tc.family, Task: tc.task})
		if err == nil || !strings.Contains(err.Error(), tc.want) || fault.RemedyOf(err) != tc.try {
			t.Errorf("%v, try %q, want %q, %q", err, fault.RemedyOf(err), tc.want, tc.try)
		}
	}
}
