package tabular

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/fault"
	"tandem/graph/op"
	"tandem/kernel"
	"tandem/train"
)

// table is rows whose answers follow from the others.
func table(t *testing.T) string {
	var b strings.Builder
	b.WriteString("x,kind,note,y,z\n")
	for i := range 2000 {
		x, kind := i*7919%100, []string{"up", "down"}[i%2]
		y, z := "low", x
		if (x > 50) == (kind == "up") {
			y = "high"
		}
		if kind == "down" {
			z = -x
		}
		fmt.Fprintf(&b, "%d,%s,note %d,%s,%d\n", x, kind, i, y, z)
	}
	path := filepath.Join(t.TempDir(), "x.csv")
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func run(t *testing.T, threads int, path string, m Model, task string) (*train.Record, error) {
	s := train.Spec{Name: "x", Family: "tabular", Task: task, Data: train.DataSpec{Path: path}}
	s.Model.Value = m
	s.Train.Epochs, s.Train.Seed = 15, 1
	s.FillDefaults()
	p, err := Prepare(t.Context(), s, op.Default())
	if err != nil {
		return nil, err
	}
	defer p.Train.Close()
	pool := kernel.NewPool(threads, kernel.Detect())
	defer pool.Close()
	return train.Run(t.Context(), p, s, filepath.Join(t.TempDir(), "run"), train.Options{Ops: op.Default(), Pool: pool})
}

// TestLearns: both tasks, to the same bits with one thread and two.
func TestLearns(t *testing.T) {
	path := table(t)
	m := defaultModel()
	m.Target, m.Ignore = "y", []string{"note", "z"}
	one, err := run(t, 1, path, m, Classify)
	if err != nil {
		t.Fatal(err)
	}
	if got := one.Metrics["test_accuracy"]; got < 0.95 {
		t.Errorf("accuracy %v", got)
	}
	if two, err := run(t, 2, path, m, Classify); err != nil || two.Artifact != one.Artifact {
		t.Errorf("with two threads other weights: %v", err)
	}
	m.Target, m.Ignore = "z", []string{"note", "y"}
	r, err := run(t, 2, path, m, Regress)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Metrics["test_rmse"]; !(got < 12) { // the numbers lie between -99 and 99
		t.Errorf("rmse %v, %v", got, r.Metrics)
	}
	m.Ignore = nil
	if _, err := run(t, 1, path, m, Regress); fault.KindOf(err) != fault.Unsupported || !strings.Contains(err.Error(), `"note" is text`) {
		t.Errorf("a column of text: %v", err)
	}
}
