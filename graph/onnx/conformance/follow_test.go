package conformance

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"tandem/graph"
	"tandem/graph/onnx"
	"tandem/graph/op"
	"tandem/graph/pass"
	"tandem/kernel"
	"tandem/tensor"
)

// TestRunsFollowElements: what a session keeps of runs with other elements of the same
// shapes changes nothing: each case gives, after them, the bits that it gives alone. A
// kernel that looked at elements while it was prepared would show here.
func TestRunsFollowElements(t *testing.T) {
	dir := os.Getenv("ONNX_CASES")
	if dir == "" {
		t.Skip("SKIPPED: ONNX_CASES does not name the folder onnx/backend/test/data of the onnx package")
	}
	cases, err := find(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, ops := kernel.NewPool(1, kernel.Detect()), op.Default()
	t.Cleanup(p.Close)
	r, counted := rand.New(rand.NewPCG(7, 11)), 0
	for _, c := range cases {
		if c.absent || random.MatchString(c.name) {
			continue
		}
		for _, passes := range [][]graph.Pass{nil, pass.Inference(p)} {
			alone, after, ok := c.follow(ops, p, passes, r)
			if !ok {
				continue // TestSuite tells of it
			}
			counted++
			for i := range alone {
				if !identical(alone[i], after[i]) {
					t.Errorf("%s: output %d differs after runs with other elements", c.name, i)
				}
			}
		}
	}
	t.Logf("%d runs of cases", counted)
}

// follow runs a case in a session of its own, and in one after runs of other elements.
func (c testCase) follow(ops *graph.Table, p *kernel.Pool, passes []graph.Pass, r *rand.Rand) (alone, after []*tensor.Tensor, ok bool) {
	g, file, err := onnx.Load(filepath.Join(c.dir, "model.onnx"), onnx.LoadOptions{})
	if err != nil {
		return nil, nil, false
	}
	defer file.Close()
	in, err := values(filepath.Join(c.dir, "test_data_set_0"), "input", g.Inputs)
	if err != nil || len(in) != len(g.Inputs) {
		return nil, nil, false
	}
	prog, err := graph.Compile(g, graph.Options{Ops: ops, Pool: p, Passes: passes, MemoryLimitBytes: 1 << 28})
	if err != nil {
		return nil, nil, false
	}
	var results [2][]*tensor.Tensor
	for i := range results {
		s, err := prog.NewSession()
		if err != nil {
			return nil, nil, false
		}
		defer s.Close()
		for range 4 * i {
			other := make([]*tensor.Tensor, len(in))
			for j, x := range in {
				other[j] = stirred(x, r)
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			_, _ = s.Run(ctx, other, nil) // elements that are refused are no matter
			cancel()
		}
		if results[i], err = s.Run(context.Background(), in, nil); err != nil {
			return nil, nil, false
		}
	}
	return results[0], results[1], true
}

// stirred is x with its elements in another order, or, by even chances, as it is.
func stirred(x *tensor.Tensor, r *rand.Rand) *tensor.Tensor {
	x = x.Clone()
	if r.IntN(2) == 0 || x.DType().List() || x.Len() == 0 {
		return x
	}
	if s := x.Strings(); s != nil {
		slices.Reverse(s)
		return x
	}
	if x.DType() == tensor.Int64 && r.IntN(2) == 0 {
		x.I64()[r.IntN(x.Len())]--
		return x
	}
	size := max(len(x.Bytes())/x.Len(), 1)
	for i := len(x.Bytes())/size - 1; i > 0; i-- {
		j := r.IntN(i + 1)
		for k := range size {
			x.Bytes()[i*size+k], x.Bytes()[j*size+k] = x.Bytes()[j*size+k], x.Bytes()[i*size+k]
		}
	}
	return x
}

func identical(a, b *tensor.Tensor) bool {
	if a.DType().List() {
		return a.DType() == b.DType() && slices.EqualFunc(a.Items(), b.Items(), identical)
	}
	return a.DType() == b.DType() && a.Shape().Equal(b.Shape()) && bytes.Equal(a.Bytes(), b.Bytes()) && slices.Equal(a.Strings(), b.Strings())
}
