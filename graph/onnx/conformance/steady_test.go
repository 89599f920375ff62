package conformance

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/graph"
	"tandem/graph/onnx"
	"tandem/graph/op"
	"tandem/graph/pass"
	"tandem/kernel"
	"tandem/tensor"
)

// TestSteadyStateDoesNotAllocate runs every case of the suite again and again on the same
// shapes, into the same outputs, and counts what each operator allocates.
func TestSteadyStateDoesNotAllocate(t *testing.T) {
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
	worst := map[string]string{}
	counted := 0
	for _, c := range cases {
		if c.absent {
			continue
		}
		name, allocs, dynamic, err := c.steady(ops, p)
		if err != nil {
			continue // TestSuite tells of it
		}
		counted++
		if dynamic || allocs == 0 {
			continue
		}
		if _, ok := worst[name]; !ok {
			worst[name] = fmt.Sprintf("%v (%s)", allocs, c.name)
		}
	}
	var lines []string
	for k, v := range worst {
		lines = append(lines, k+": "+v)
	}
	slices.Sort(lines)
	fmt.Println(counted, len(lines))
	fmt.Println(strings.Join(lines, "\n"))
}

// steady gives the operators of a case that are not views, and how much a run allocates.
func (c testCase) steady(ops *graph.Table, p *kernel.Pool) (name string, allocs float64, dynamic bool, err error) {
	g, file, err := onnx.Load(filepath.Join(c.dir, "model.onnx"), onnx.LoadOptions{})
	if err != nil {
		return "", 0, false, err
	}
	defer file.Close()
	names := map[string]bool{}
	for _, n := range g.Nodes {
		names[n.Op.String()] = true
		if o, err := ops.Lookup(n.Op, g.Opset[n.Op.Domain]); err == nil && o.Late {
			dynamic = true
		}
	}
	var list []string
	for n := range names {
		list = append(list, n)
	}
	slices.Sort(list)
	name = strings.Join(list, "+")
	prog, err := graph.Compile(g, graph.Options{Ops: ops, Pool: p, Passes: pass.Inference(p)})
	if err != nil {
		return "", 0, false, err
	}
	s, err := prog.NewSession()
	if err != nil {
		return "", 0, false, err
	}
	defer s.Close()
	in, err := values(filepath.Join(c.dir, "test_data_set_0"), "input", g.Inputs)
	if err != nil {
		return "", 0, false, err
	}
	out, err := s.Run(context.Background(), in, nil)
	if err != nil {
		return "", 0, false, err
	}
	for i, x := range out {
		if x.DType() == tensor.Sequence || x.DType() == tensor.Optional {
			out[i], dynamic = nil, true
		}
	}
	allocs = testing.AllocsPerRun(3, func() {
		if _, rerr := s.Run(context.Background(), in, slices.Clone(out)); rerr != nil {
			err = rerr
		}
	})
	return name, allocs - 1, dynamic, err
}
