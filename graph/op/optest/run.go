package optest

import (
	"fmt"
	"strings"
	"testing"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// Run runs one operator of ai.onnx in a version of its own. Nothing is known
// of the inputs when the graph is compiled; a nil input is absent.
func Run(t testing.TB, name string, version, outputs int, a graph.Attrs, in ...*tensor.Tensor) ([]*tensor.Tensor, error) {
	t.Helper()
	g := &graph.Graph{Opset: map[string]int{"": version}}
	n := &graph.Node{Op: graph.OpID{Name: name}, Attrs: a}
	var given []*tensor.Tensor
	for i, x := range in {
		var v *graph.Value
		if x != nil {
			v = &graph.Value{Name: fmt.Sprint("in", i)}
			g.Inputs, given = append(g.Inputs, v), append(given, x)
		}
		n.Inputs = append(n.Inputs, v)
	}
	for i := range outputs {
		n.Outputs = append(n.Outputs, &graph.Value{Name: fmt.Sprint("out", i), Def: n})
	}
	g.Nodes, g.Outputs = []*graph.Node{n}, n.Outputs
	return Try(t, g, graph.Options{}, given...)
}

// Ints is a vector of integers.
func Ints(v ...int64) *tensor.Tensor { return tensor.Of(v, len(v)) }

// Words is a vector of strings.
func Words(v ...string) *tensor.Tensor { return tensor.OfStrings(v, len(v)) }

// Elements writes type, shape and elements.
func Elements(x *tensor.Tensor) string {
	switch {
	case x.DType() == tensor.String:
		return fmt.Sprintf("%v %q", x, x.Strings())
	case x.DType().Float():
		v := tensor.New(tensor.Float64, x.Shape()...)
		if err := tensor.Convert(v, x, false); err != nil {
			return err.Error()
		}
		return fmt.Sprintf("%v %.5g", x, tensor.Data[float64](v))
	}
	v := tensor.New(tensor.Int64, x.Shape()...)
	if err := tensor.Convert(v, x, false); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%v %v", x, v.I64())
}

// Case is one operator with its inputs and what it must give: outputs, as
// Elements writes them, or part of an error.
type Case struct {
	Name    string
	Op      string
	Version int
	Attrs   graph.Attrs
	In      []*tensor.Tensor
	Want    []string
	Err     string
}

// Run runs the operator and compares.
func (tc Case) Run(t *testing.T) {
	t.Helper()
	out, err := Run(t, tc.Op, tc.Version, max(len(tc.Want), 1), tc.Attrs, tc.In...)
	if tc.Err != "" {
		if err == nil || !strings.Contains(err.Error(), tc.Err) {
			t.Errorf("error %v, want one with %q", err, tc.Err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range tc.Want {
		if got := Elements(out[i]); got != want {
			t.Errorf("output %d: %s, want %s", i, got, want)
		}
	}
}

// Cases runs each case as a subtest.
func Cases(t *testing.T, cases []Case) {
	for _, tc := range cases {
		t.Run(strings.TrimSpace(tc.Op+" "+tc.Name), tc.Run)
	}
}

func pool(t testing.TB, threads int) *kernel.Pool {
	p := kernel.NewPool(threads, kernel.Detect())
	t.Cleanup(p.Close)
	return p
}
