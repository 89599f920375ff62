package conformance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"

	"tandem/graph"
	"tandem/graph/onnx"
	"tandem/tensor"
)

// errRandom is the end of a case whose outputs are random numbers.
var errRandom = errors.New("random numbers: type and shape agree, the numbers are those of another generator")

// random matches the cases whose results depend on the generator.
var random = regexp.MustCompile(`^test_bernoulli`)

// run runs the case in a goroutine of its own: one that never ends is left behind.
func (c testCase) run(ctx context.Context, opt Options) Result {
	r := Result{Set: c.set, Name: c.name, Status: Passed}
	if c.absent {
		r.Status, r.Reason = Skipped, "its model is not in the folder"
		return r
	}
	ctx, cancel := context.WithTimeout(ctx, opt.CaseTime)
	defer cancel()
	end := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				end <- fmt.Errorf("crashed: %v at %s", p, place(debug.Stack()))
			}
		}()
		end <- c.try(ctx, opt)
	}()
	var err error
	select {
	case err = <-end:
	case <-ctx.Done():
		err = fmt.Errorf("not done after %v", opt.CaseTime)
	}
	if err != nil {
		r.Status, r.Reason = Failed, strings.ReplaceAll(err.Error(), "\n", " ")
		if errors.Is(err, errRandom) {
			r.Status = Skipped
		}
	}
	return r
}

// place is the line of Tandem's where a panic began: below the last that a stack
// shows, for those above it raised it again.
func place(stack []byte) string {
	text := string(stack)
	for line := range strings.Lines(text[strings.LastIndex(text, "panic(")+1:]) {
		line = strings.TrimSpace(line)
		if path, rest, ok := strings.Cut(line, ".go:"); ok && !strings.Contains(path, "runtime/") {
			number, _, _ := strings.Cut(rest, " ")
			return filepath.Base(path) + ".go:" + number
		}
	}
	return "an unknown place"
}

func (c testCase) try(ctx context.Context, opt Options) error {
	g, file, err := onnx.Load(filepath.Join(c.dir, "model.onnx"), onnx.LoadOptions{Name: "model"})
	if err != nil {
		return err
	}
	defer file.Close()
	prog, err := graph.Compile(g, graph.Options{Ops: opt.Ops, Pool: opt.Pool, Passes: opt.Passes, MemoryLimitBytes: opt.CaseMemoryBytes})
	if err != nil {
		return err
	}
	s, err := prog.NewSession()
	if err != nil {
		return err
	}
	defer s.Close()
	sets, err := filepath.Glob(filepath.Join(c.dir, "test_data_set_*"))
	if err != nil || len(sets) == 0 {
		return fmt.Errorf("it has no data sets (%w)", err)
	}
	for _, dir := range sets {
		if err := c.dataSet(ctx, s, g, dir); err != nil {
			return err
		}
	}
	return nil
}

// dataSet runs the model on one folder of inputs and compares what comes out.
func (c testCase) dataSet(ctx context.Context, s *graph.Session, g *graph.Graph, dir string) error {
	in, err := values(dir, "input", g.Inputs)
	if err != nil {
		return err
	}
	if len(in) != len(g.Inputs) {
		return fmt.Errorf("the case has %d inputs, the model %d", len(in), len(g.Inputs))
	}
	got, err := s.Run(ctx, in, nil)
	if err != nil {
		return err
	}
	// What the model says of its outputs tells how to read the files; types that
	// it leaves open are those that came out.
	kinds := make([]*graph.Value, len(got))
	for i, x := range got {
		kinds[i] = &graph.Value{Type: graph.Type{DType: x.DType()}}
	}
	want, err := values(dir, "output", kinds)
	if err != nil {
		return err
	}
	if len(want) > len(got) {
		return fmt.Errorf("%d outputs, the case has %d", len(got), len(want))
	}
	for i, w := range want {
		if random.MatchString(c.name) && got[i].DType() == w.DType() && got[i].Shape().Equal(w.Shape()) {
			return errRandom
		}
		if err := c.compare(got[i], w); err != nil {
			return fmt.Errorf("output %d: %w", i, err)
		}
	}
	return nil
}

// values reads the files name_0.pb, name_1.pb, … of a data set.
func values(dir, name string, kinds []*graph.Value) ([]*tensor.Tensor, error) {
	var list []*tensor.Tensor
	for i := 0; ; i++ {
		file := fmt.Sprintf("%s_%d.pb", name, i)
		data, err := os.ReadFile(filepath.Join(dir, file))
		if os.IsNotExist(err) {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		if i >= len(kinds) {
			return nil, fmt.Errorf("%s: the model has only %d of them", file, len(kinds))
		}
		t, err := onnx.ReadValue(data, kinds[i].Type.DType)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		list = append(list, t)
	}
}
