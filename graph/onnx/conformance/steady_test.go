package conformance

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"tandem/graph"
	"tandem/graph/onnx"
	"tandem/graph/op"
	"tandem/graph/pass"
	"tandem/kernel"
	"tandem/tensor"
)

// allocating are the operators that may allocate in a steady-state run, and why.
func allocating() map[string]string {
	return map[string]string{}
}

// TestSteadyStateDoesNotAllocate runs every case of the suite again and again on the same
// shapes, into the same outputs, and counts what its operators allocate. What is a shape,
// an axis or a setting is a constant there, as in models that exporters write.
func TestSteadyStateDoesNotAllocate(t *testing.T) {
	dir := os.Getenv("ONNX_CASES")
	if dir == "" {
		t.Skip("SKIPPED: ONNX_CASES does not name the folder onnx/backend/test/data of the onnx package")
	}
	cases, err := find(dir, regexp.MustCompile(os.Getenv("STEADY")))
	if err != nil {
		t.Fatal(err)
	}
	p := kernel.NewPool(1, kernel.Detect())
	t.Cleanup(p.Close)
	ops := op.Default()
	excused := map[string]bool{}
	counted := 0
	for _, c := range cases {
		if c.absent {
			continue
		}
		allocs, err := c.steady(ops, p)
		if err != nil {
			continue // TestSuite tells of it
		}
		counted++
		if allocs.n == 0 {
			continue
		}
		reason := false
		for _, name := range allocs.operators {
			if _, ok := allocating()[name]; ok {
				reason, excused[name] = true, true
			}
		}
		if !reason {
			t.Errorf("%s: %v allocations a run, by one of %v", c.name, allocs.n, allocs.operators)
		}
	}
	t.Logf("%d cases, %d operators may allocate: %v", counted, len(excused), slices.Sorted(maps.Keys(excused)))
	for name := range allocating() {
		if !excused[name] {
			t.Errorf("%s does not allocate any more: strike it from the list", name)
		}
	}
}

type allocations struct {
	operators []string
	n         float64
}

func steadyRuns() int {
	if os.Getenv("STEADY") != "" {
		return 2000
	}
	return 3
}

// steady counts what a run of a case allocates once its frame is there.
func (c testCase) steady(ops *graph.Table, p *kernel.Pool) (a allocations, err error) {
	g, file, err := onnx.Load(filepath.Join(c.dir, "model.onnx"), onnx.LoadOptions{})
	if err != nil {
		return a, err
	}
	defer file.Close()
	for _, n := range g.Nodes {
		if name := n.Op.String(); !slices.Contains(a.operators, name) {
			a.operators = append(a.operators, name)
		}
	}
	in, err := values(filepath.Join(c.dir, "test_data_set_0"), "input", g.Inputs)
	if err != nil {
		return a, err
	}
	// All but the first input that are small: exporters write them as constants.
	var kept []*tensor.Tensor
	var inputs []*graph.Value
	for i, v := range g.Inputs {
		if i > 0 && in[i].Len() <= 16 && !in[i].DType().List() {
			v.Const = graph.ConstantOf(in[i])
			continue
		}
		inputs, kept = append(inputs, v), append(kept, in[i])
	}
	g.Inputs = inputs
	prog, err := graph.Compile(g, graph.Options{Ops: ops, Pool: p, Passes: pass.Inference(p)})
	if err != nil {
		return a, err
	}
	s, err := prog.NewSession()
	if err != nil {
		return a, err
	}
	defer s.Close()
	out, err := s.Run(context.Background(), kept, nil)
	if err != nil {
		return a, err
	}
	lists := 0
	for i, x := range out {
		if x.DType().List() {
			out[i] = nil
			lists++
		}
	}
	given := slices.Clone(out)
	a.n = testing.AllocsPerRun(steadyRuns(), func() {
		copy(given, out)
		if _, e := s.Run(context.Background(), kept, given); e != nil {
			err = e
		}
	})
	return a, err
}
