package conformance

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"tandem/graph"
	"tandem/graph/onnx"
	"tandem/graph/op"
	"tandem/graph/pass"
	"tandem/kernel"
	"tandem/tensor"
)

// allocating are the operators that may allocate in a steady-state run, and why. Those
// whose outputs are lists, or of sizes that only their kernels find, always do.
func allocating() map[string]string {
	const (
		shape  = "the shape of its result is in its input's elements: its rule is asked in every run"
		text   = "it makes strings"
		bodies = "what a body gives is new in every step"
		draws  = "it draws as the reference's generator does, which it seeds anew"
	)
	return map[string]string{
		"ConstantOfShape": shape, "Range": shape, "BlackmanWindow": shape, "HammingWindow": shape, "HannWindow": shape, "MelWeightMatrix": shape,
		"StringConcat": text, "TfIdfVectorizer": text,
		"ai.onnx.preview.FlexAttention": bodies,
		"Bernoulli":                     draws, "Dropout": draws, "RandomUniformLike": draws,
		"Col2Im": "the sizes of the block are read in every run", "TensorScatter": "the places are read in every run",
		"Identity": "of a list, which is copied",
	}
}

// TestSteadyStateDoesNotAllocate runs every case of the suite again and again on the same
// shapes, into the same outputs, and counts what its operators allocate. What is a shape,
// an axis or a setting is a constant there, as in models that exporters write.
func TestSteadyStateDoesNotAllocate(t *testing.T) {
	dir := os.Getenv("ONNX_CASES")
	if dir == "" {
		t.Skip("SKIPPED: ONNX_CASES does not name the folder onnx/backend/test/data of the onnx package")
	}
	cases, err := find(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if dir := os.Getenv("MICROSOFT_CASES"); dir != "" {
		more, err := find(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		cases = append(cases, more...)
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
		if allocs.n == 0 || allocs.late {
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
	late      bool // one of them is Late
	n         float64
}

// steady counts what a run of a case allocates once its frame is there.
func (c testCase) steady(ops *graph.Table, p *kernel.Pool) (a allocations, err error) {
	g, file, err := onnx.Load(filepath.Join(c.dir, "model.onnx"), onnx.LoadOptions{})
	if err != nil {
		return a, err
	}
	defer file.Close()
	for _, n := range g.Nodes {
		if o, err := ops.Lookup(n.Op, g.Opset[n.Op.Domain]); err == nil && o.Late {
			a.late = true
		}
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
	for i, x := range out {
		if x.DType().List() {
			out[i] = nil
		}
	}
	given := slices.Clone(out)
	a.n = testing.AllocsPerRun(3, func() {
		copy(given, out)
		if _, e := s.Run(context.Background(), kept, given); e != nil {
			err = e
		}
	})
	return a, err
}
