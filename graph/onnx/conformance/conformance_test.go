package conformance_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tandem/graph"
	"tandem/graph/onnx"
	"tandem/graph/onnx/conformance"
	"tandem/graph/op"
	"tandem/graph/pass"
	"tandem/kernel"
	"tandem/tensor"
)

func options(t *testing.T) conformance.Options {
	pool := kernel.NewPool(1, kernel.Detect())
	t.Cleanup(pool.Close)
	return conformance.Options{Ops: op.Default(), Pool: pool, Jobs: 2}
}

// TestSuite runs the cases of the ONNX backend test suite, and compares with what the
// documents list.
func TestSuite(t *testing.T) {
	for _, suite := range []struct{ env, known string }{
		{"ONNX_CASES", "conformance.md"},                // the files that onnx 1.22 carries
		{"ONNX_CASES_NEWEST", "conformance-newest.md"},  // the node cases that bench/onnx_cases.py writes
		{"MICROSOFT_CASES", "conformance-microsoft.md"}, // those of bench/microsoft_cases.py
	} {
		t.Run(suite.known, func(t *testing.T) {
			dir := os.Getenv(suite.env)
			if dir == "" {
				t.Skipf("SKIPPED: %s names no folder of cases (make test sets it), so that NO case was run", suite.env)
			}
			runSuite(t, dir, suite.known)
		})
	}
}

func runSuite(t *testing.T, dir, file string) {
	f, err := os.Open(filepath.Join("..", "..", "..", "docs", file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	known, err := readKnown(f)
	if err != nil {
		t.Fatal(err)
	}
	opt := options(t)
	for name, passes := range map[string][]graph.Pass{"as it is": nil, "with passes": pass.Inference(opt.Pool)} {
		t.Run(name, func(t *testing.T) {
			opt := opt
			opt.Passes = passes
			sets := map[string]*conformance.Totals{}
			var run []conformance.Result
			total, err := conformance.Run(context.Background(), dir, opt, func(r conformance.Result) {
				run = append(run, r)
				if sets[r.Set] == nil {
					sets[r.Set] = &conformance.Totals{}
				}
				if r.Status == conformance.Passed {
					sets[r.Set].Passed++
				} else {
					sets[r.Set].Failed++
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Log(total)
			for _, d := range differences(known, run) {
				t.Error(d)
			}
			for set, n := range sets {
				if share := float64(n.Passed) / float64(n.Passed+n.Failed); share < 0.97 && set != "real" { // that has no models
					t.Errorf("%.1f%% of the set %s pass", 100*share, set)
				}
			}
		})
	}
}

// writeCase makes a case y = op(x) whose stored x and y are files.
func writeCase(t *testing.T, dir, op string, x, y []byte) {
	t.Helper()
	in := &graph.Value{Name: "x", Type: graph.Type{DType: tensor.Float32, Shape: graph.Dims(2)}}
	n := &graph.Node{Op: graph.OpID{Name: op}, Inputs: []*graph.Value{in}}
	out := &graph.Value{Name: "y", Type: in.Type, Def: n}
	n.Outputs = []*graph.Value{out}
	g := &graph.Graph{Opset: graph.Opsets(), Inputs: []*graph.Value{in}, Nodes: []*graph.Node{n}, Outputs: []*graph.Value{out}}
	data := filepath.Join(dir, "test_data_set_0")
	if err := os.MkdirAll(data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := onnx.Save(filepath.Join(dir, "model.onnx"), g, onnx.SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"input_0.pb": x, "output_0.pb": y} {
		if err := os.WriteFile(filepath.Join(data, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// vector is a TensorProto of two float32: dims 2, type 1, eight raw bytes.
func vector(t *testing.T, a, b float32) []byte {
	return append([]byte{0x08, 2, 0x10, 1, 0x4a, 8}, tensor.Of([]float32{a, b}, 2).Bytes()...)
}

// TestRun: cases that pass, fail, crash, hang and have no model, with operators
// made for it.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	x, y := vector(t, 1, -2), vector(t, -1, 2)
	set := filepath.Join(dir, "node")
	writeCase(t, filepath.Join(set, "test_crash"), "Crash", x, y)
	writeCase(t, filepath.Join(set, "test_neg"), "Neg", x, y)
	writeCase(t, filepath.Join(set, "test_near"), "Neg", x, vector(t, -1.0005, 2))
	writeCase(t, filepath.Join(set, "test_far"), "Neg", x, vector(t, -1, 2.01))
	writeCase(t, filepath.Join(set, "test_unknown"), "NoSuchOperator", x, y)
	absent := filepath.Join(dir, "real", "test_absent")
	if err := os.MkdirAll(absent, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(absent, "data.json"), []byte(`{"url": "x", "rtol": 0.1}`), 0o644); err != nil {
		t.Fatal(err)
	}
	crash := []graph.Op{{ID: graph.OpID{Name: "Crash"}, Since: 1,
		Infer:  func(c *graph.Infer) error { c.Out(0, c.In(0).DType, c.In(0).Shape); return nil },
		Kernel: func(*graph.Call) (func() error, error) { return func() error { panic("on purpose") }, nil }}}
	opt := options(t)
	opt.Ops = graph.NewTable(append(op.Lists(), crash)...)
	var report conformance.Report
	var run []conformance.Result
	total, err := conformance.Run(context.Background(), dir, opt, func(r conformance.Result) {
		report.Add(r)
		run = append(run, r)
	})
	if err != nil || total != (conformance.Totals{Passed: 2, Failed: 3, Skipped: 1}) {
		t.Fatal(total, err)
	}
	var names []string
	for _, r := range run {
		names = append(names, r.Name+" "+string(r.Status))
	}
	want := []string{"test_crash failed", "test_far failed", "test_near passed", "test_neg passed", "test_unknown failed", "test_absent skipped"}
	if !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
	if r := run[0].Reason; !strings.HasPrefix(r, "crashed: on purpose at conformance_test.go:") {
		t.Errorf("a crash: %s", r)
	}
	if r := run[1].Reason; r != "output 0: element [1] is 2, expected 2.01; 1 of 2 elements differ" {
		t.Errorf("a difference: %s", r)
	}
	var text strings.Builder
	if _, err := report.WriteTo(&text); err != nil {
		t.Fatal(err)
	}
	known, err := readKnown(strings.NewReader(text.String()))
	if err != nil || len(known) != 4 || len(differences(known, run)) != 0 {
		t.Errorf("the report is read as %v (%v)", known, err)
	}
	run[0].Status, run[3].Status = conformance.Passed, conformance.Failed
	if d := differences(known, run); len(d) != 2 || !strings.Contains(d[0], "passes now") || !strings.Contains(d[1], "test_neg failed") {
		t.Errorf("%q", d)
	}
	opt.Match = regexp.MustCompile("nothing")
	if _, err := conformance.Run(context.Background(), dir, opt, nil); err == nil || !strings.Contains(err.Error(), "no cases") {
		t.Errorf("no cases: %v", err)
	}
}
