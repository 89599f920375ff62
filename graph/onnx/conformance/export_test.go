package conformance

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tandem/graph"
	"tandem/graph/onnx"
	"tandem/graph/op"
	"tandem/graph/pass"
	"tandem/kernel"
)

// checker is a program for the venv's Python: the ONNX checker on every file named on
// its standard input.
const checker = `
import onnx, sys
bad = 0
for path in sys.stdin.read().split("\n"):
    try:
        onnx.checker.check_model(path, full_check=False)
    except Exception as e:
        bad += 1
        print(path, str(e)[:300].replace("\n", " "))
print("checked", "with", bad, "refused")
`

// TestExport writes every case of the suite again, as it is and after rewrites, has the
// ONNX checker look at it, and runs what was written.
func TestExport(t *testing.T) {
	dir := os.Getenv("ONNX_CASES")
	if dir == "" {
		t.Skip("SKIPPED: ONNX_CASES does not name the folder onnx/backend/test/data of the onnx package")
	}
	cases, err := find(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := kernel.NewPool(1, kernel.Detect())
	t.Cleanup(p.Close)
	ops := op.Default()
	for name, passes := range map[string][]graph.Pass{"as it is": nil, "changed": {pass.Fold(p), pass.Views(), pass.Dead()}} {
		t.Run(name, func(t *testing.T) {
			to := t.TempDir()
			var paths []string
			for _, c := range cases {
				if c.absent {
					continue
				}
				path, err := c.export(to, ops, passes)
				if err != nil {
					t.Errorf("%s: %v", c.name, err)
				}
				if path != "" {
					paths = append(paths, path)
				}
			}
			t.Logf("%d models written", len(paths))
			if len(paths) < 1800 {
				t.Errorf("only %d models were written", len(paths))
			}
			check(t, paths)
			opt := Options{Ops: ops, Pool: p, Jobs: 2}
			before := map[string]Status{}
			if _, err := Run(context.Background(), dir, opt, func(r Result) { before[r.Set+"/"+r.Name] = r.Status }); err != nil {
				t.Fatal(err)
			}
			if _, err := Run(context.Background(), to, opt, func(r Result) {
				if before[r.Set+"/"+r.Name] == Passed && r.Status != Passed {
					t.Errorf("%s passed before it was written, and now: %s", r.Name, r.Reason)
				}
			}); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// export writes a case's model, with its data beside it; "" if the model cannot be read
// or computed, of which TestSuite tells.
func (c testCase) export(to string, ops *graph.Table, passes []graph.Pass) (string, error) {
	g, file, err := onnx.Load(filepath.Join(c.dir, "model.onnx"), onnx.LoadOptions{})
	if err != nil {
		return "", nil
	}
	defer file.Close()
	if passes != nil {
		if graph.InferTypes(g, ops) != nil {
			return "", nil
		}
		for _, p := range passes {
			if err := p.Run(g, ops); err != nil {
				return "", err
			}
		}
	}
	folder := filepath.Join(to, c.set, c.name)
	if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil {
		return "", err
	}
	if err := os.CopyFS(folder, os.DirFS(c.dir)); err != nil {
		return "", err
	}
	path := filepath.Join(folder, "model.onnx")
	return path, onnx.Save(path, g, onnx.SaveOptions{})
}

// check runs the ONNX checker, where Python is there.
func check(t *testing.T, paths []string) {
	python, err := filepath.Abs(filepath.Join("..", "..", "..", "bench", ".venv", "bin", "python"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(python); err != nil {
		t.Log("NOT CHECKED: bench/.venv is not there, so that the ONNX checker was not asked")
		return
	}
	cmd := exec.Command(python, "-c", checker)
	cmd.Stdin = strings.NewReader(strings.Join(paths, "\n"))
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.HasSuffix(strings.TrimSpace(string(out)), "checked with 0 refused") {
		t.Errorf("%v\n%s", err, out)
	}
}
