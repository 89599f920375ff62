package optest

import (
	"context"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/tensor"
)

// Session compiles a graph, with the default table and a pool of one thread unless the
// options have others, for the time of a test.
func Session(t testing.TB, g *graph.Graph, o graph.Options) *graph.Session {
	t.Helper()
	s, err := open(t, g, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Outputs compiles a graph as Session does, and runs it once.
func Outputs(t testing.TB, g *graph.Graph, o graph.Options, in ...*tensor.Tensor) []*tensor.Tensor {
	t.Helper()
	out, err := repeat(t, 1, g, o, in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Try is Outputs of a graph that may be refused. It runs three times: what is kept of a
// frame must give the same.
func Try(t testing.TB, g *graph.Graph, o graph.Options, in ...*tensor.Tensor) ([]*tensor.Tensor, error) {
	t.Helper()
	return repeat(t, 3, g, o, in)
}

func repeat(t testing.TB, times int, g *graph.Graph, o graph.Options, in []*tensor.Tensor) (out []*tensor.Tensor, err error) {
	s, err := open(t, g, o)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	for range times {
		if out, err = s.Run(context.Background(), in, nil); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func open(t testing.TB, g *graph.Graph, o graph.Options) (*graph.Session, error) {
	if o.Ops == nil {
		o.Ops = op.Default()
	}
	if o.Pool == nil {
		o.Pool = pool(t, 1)
	}
	prog, err := graph.Compile(g, o)
	if err != nil {
		return nil, err
	}
	return prog.NewSession()
}
