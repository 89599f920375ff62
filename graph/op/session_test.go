package op_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"tandem/fault"
	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/op/optest"
	"tandem/graph/pass"
	"tandem/kernel"
	"tandem/nn"
	"tandem/tensor"
)

// convNet is a small convolutional network with every operator of inference.
func convNet(t testing.TB) *graph.Graph {
	t.Helper()
	b := nn.NewBuilder("net", op.Default(), 1)
	x := b.Input("image", tensor.Float32, graph.Sym("batch"), graph.Const(3), graph.Sym("height"), graph.Const(17))
	h := nn.Sequential{
		nn.Conv2D{Filters: 8, Kernel: 3, Activation: nn.ReLU}, nn.MaxPool2D{Size: 2}, nn.Dropout{Ratio: 0.3},
		nn.Conv2D{Filters: 5, Kernel: 2, Same: true, Activation: nn.Tanh},
	}.Build(b, x)
	// Height is a symbol, so that a dense layer needs it reduced: one pixel.
	h = b.Op("MaxPool", attrs("kernel_shape", []int64{7, 7}, "strides", []int64{7, 7}), h)
	h = nn.Sequential{nn.Flatten{}, nn.Dense{Units: 33, Activation: nn.ReLU}, nn.Dense{Units: 4}}.Build(b, b.Op("Reshape", nil, h, b.Const("shape", tensor.Of([]int64{-1, 5, 1, 1}, 4))))
	b.Output(b.Op("Softmax", nil, h))
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	return b.G
}

func session(t testing.TB, g *graph.Graph, p *kernel.Pool, limit int, passes ...graph.Pass) *graph.Session {
	t.Helper()
	return optest.Session(t, g, graph.Options{Pool: p, Passes: passes, MemoryLimitBytes: limit})
}

func run(t testing.TB, s *graph.Session, x *tensor.Tensor) []float32 {
	t.Helper()
	out, err := s.Run(context.Background(), []*tensor.Tensor{x}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out[0].F32()
}

// TestRowsDoNotDependOnTheirBatch: each row alone has the bits that it has among
// others, with any number of threads, and concurrent runs do not disturb each other.
func TestRowsDoNotDependOnTheirBatch(t *testing.T) {
	g := convNet(t)
	rng := rand.New(rand.NewPCG(1, 1))
	x := randomInput(rng, []int{13, 3, 18, 17}, 0)
	want := run(t, session(t, g, pool(t, 1), 0, pass.Inference(pool(t, 1))...), x)
	for _, threads := range []int{1, 2, 3} {
		p := pool(t, threads)
		s := session(t, g, p, 0, pass.Inference(p)...)
		var wait sync.WaitGroup
		for lo := range 13 {
			wait.Go(func() {
				for _, n := range []int{1, 2, 5} {
					hi := min(lo+n, 13)
					out, err := s.Run(context.Background(), []*tensor.Tensor{x.Rows(lo, hi)}, nil)
					if err != nil {
						t.Error(err)
					} else if !slices.Equal(out[0].F32(), want[lo*4:hi*4]) {
						t.Errorf("%d threads, rows %d to %d: %v, in the whole batch %v", threads, lo, hi, out[0].F32(), want[lo*4:hi*4])
					}
				}
			})
		}
		wait.Wait()
	}
}

// alike reports whether probabilities agree: passes may change the order of sums.
func alike(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return x-y < 1e-6 && y-x < 1e-6 })
}

// TestPassesKeepTheNumbers compares the program with and without passes.
func TestPassesKeepTheNumbers(t *testing.T) {
	g := convNet(t)
	p := pool(t, 2)
	x := randomInput(rand.New(rand.NewPCG(2, 2)), []int{3, 3, 18, 17}, 0)
	plain, fused := session(t, g, p, 0), session(t, g, p, 0, pass.Inference(p)...)
	a, b := run(t, plain, x), run(t, fused, x)
	if !alike(a, b) {
		t.Errorf("without passes %v, with them %v", a, b)
	}
	ops := map[string]int{}
	for _, n := range fused.Program().Graph().Nodes {
		ops[n.Op.String()]++
	}
	if ops["Relu"] != 0 || ops["Dropout"] != 0 || ops["tandem.ConvLast"] != 2 || ops["Tanh"] != 0 || ops["tandem.Linear"] != 2 {
		t.Errorf("operators after the passes: %v", ops)
	}
}

// TestSteadyStateDoesNotAllocate: with the caller's output buffers, a run that
// repeats known shapes allocates nothing.
func TestSteadyStateDoesNotAllocate(t *testing.T) {
	p := pool(t, 2)
	s := session(t, convNet(t), p, 0, pass.Inference(p)...)
	in := []*tensor.Tensor{randomInput(rand.New(rand.NewPCG(3, 3)), []int{4, 3, 18, 17}, 0)}
	out := []*tensor.Tensor{tensor.New(tensor.Float32, 4, 4)}
	ctx := context.Background()
	if n := testing.AllocsPerRun(20, func() {
		if _, err := s.Run(ctx, in, out); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a run", n)
	}
}

// TestManyShapes runs more shapes than a session keeps, twice each.
func TestManyShapes(t *testing.T) {
	p := pool(t, 1)
	s := session(t, convNet(t), p, 0)
	rng := rand.New(rand.NewPCG(4, 4))
	x := randomInput(rng, []int{40, 3, 18, 17}, 0)
	want := run(t, s, x)
	for range 2 {
		for n := 1; n <= 40; n++ {
			if got := run(t, s, x.Rows(0, n)); !slices.Equal(got, want[:4*n]) {
				t.Fatalf("%d rows differ", n)
			}
		}
	}
}

func TestRunRefuses(t *testing.T) {
	p := pool(t, 1)
	s := session(t, convNet(t), p, 1<<20)
	good := tensor.New(tensor.Float32, 1, 3, 18, 17)
	for _, tc := range []struct {
		name string
		in   []*tensor.Tensor
		out  []*tensor.Tensor
		kind fault.Kind
		want string
	}{
		{"no input", nil, nil, fault.Invalid, "0 inputs given, the model has 1"},
		{"a missing input", []*tensor.Tensor{nil}, nil, fault.Invalid, `input "image" is missing`},
		{"another type", []*tensor.Tensor{tensor.New(tensor.Uint8, 1, 3, 18, 17)}, nil, fault.Invalid, `input "image" is uint8[1x3x18x17]`},
		{"another rank", []*tensor.Tensor{tensor.New(tensor.Float32, 3, 18, 17)}, nil, fault.Invalid, `input "image" is float32[3x18x17]`},
		{"another size", []*tensor.Tensor{tensor.New(tensor.Float32, 1, 3, 18, 16)}, nil, fault.Invalid, "has shape 1x3x18x16, expected [batch, 3, height, 17]"},
		{"too small for the window", []*tensor.Tensor{tensor.New(tensor.Float32, 1, 3, 2, 17)}, nil, fault.Invalid, "a window of 3x3 is larger than the input of shape [1, 3, 2, 17]"},
		{"another output", []*tensor.Tensor{good}, []*tensor.Tensor{tensor.New(tensor.Float32, 1, 5)}, fault.Invalid, "float32[1x5] cannot take the elements of"},
		{"more than the memory limit", []*tensor.Tensor{tensor.New(tensor.Float32, 400, 3, 18, 17)}, nil, fault.TooLarge, "the limit is 1 MiB"},
	} {
		_, err := s.Run(context.Background(), tc.in, tc.out)
		if fault.KindOf(err) != tc.kind || !strings.Contains(fmt.Sprint(err), tc.want) {
			t.Errorf("%s: %v (%v), want %q (%v)", tc.name, err, fault.KindOf(err), tc.want, tc.kind)
		}
	}
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Run(canceled, []*tensor.Tensor{good}, nil); fault.KindOf(err) != fault.Canceled {
		t.Errorf("a canceled run: %v", err)
	}
	s.Close()
	if _, err := s.Run(context.Background(), []*tensor.Tensor{good}, nil); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a closed session: %v", err)
	}
}

// TestUnknownOperatorIsNamed: never a wrong number.
func TestUnknownOperatorIsNamed(t *testing.T) {
	b := graph.NewBuilder("g", op.Default())
	x := b.Input("x", tensor.Float32, graph.Const(2))
	b.Op("Frobnicate", nil, x)
	if err := b.Err(); err == nil || !strings.Contains(err.Error(), "operator Frobnicate (opset 21) is not supported") {
		t.Error(err)
	}
}

// TestOperatorFromOutside adds an operator of another domain with its gradient, as
// a program outside this module would.
func TestOperatorFromOutside(t *testing.T) {
	cube := graph.OpID{Domain: "example.com", Name: "Cube"}
	ops := graph.NewTable(append(op.Lists(), []graph.Op{{
		ID: cube, Since: 1,
		Infer: func(c *graph.Infer) error {
			c.Out(0, c.In(0).DType, c.In(0).Shape)
			return c.Require(1, 1)
		},
		Kernel: func(c *graph.Call) (func() error, error) {
			return func() error {
				for i, v := range c.F32(0) {
					c.Out[0].F32()[i] = v * v * v
				}
				return nil
			}, nil
		},
		Grad: func(g *graph.Gradient) error {
			three := g.Const("three", tensor.Scalar(float32(3)))
			square := g.Op("Mul", nil, g.In(0), g.In(0))
			g.Set(0, g.Op("Mul", nil, g.Op("Mul", nil, g.Out(0), three), square))
			return nil
		},
	}})...)
	g := &graph.Graph{Opset: graph.Opsets()}
	g.Opset["example.com"] = 1
	b := graph.Extend(g, ops)
	x := b.Input("x", tensor.Float32)
	y := b.Node(cube, 1, nil, x)[0]
	grads, err := graph.Grad(b, y, []*graph.Value{x})
	if err != nil {
		t.Fatal(err)
	}
	g.Outputs = []*graph.Value{y, grads[0]}
	prog, err := graph.Compile(g, graph.Options{Ops: ops, Pool: pool(t, 1)})
	if err != nil {
		t.Fatal(err)
	}
	s, err := prog.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	out, err := s.Run(context.Background(), []*tensor.Tensor{tensor.Scalar(float32(2))}, nil)
	if err != nil || out[0].F32()[0] != 8 || out[1].F32()[0] != 12 {
		t.Errorf("%v %v", out, err)
	}
}

// TestStateThatCannotBeUpdatedInPlaceIsRefused: something reads the old value
// after the new one is computed.
func TestStateThatCannotBeUpdatedInPlaceIsRefused(t *testing.T) {
	build := func(readLate bool) error {
		b := graph.NewBuilder("g", op.Default())
		x := b.Input("x", tensor.Float32, graph.Const(3))
		w := b.State("w", tensor.New(tensor.Float32, 3))
		next := b.Op("Add", nil, w, x)
		b.SetNext(w, next)
		if readLate {
			b.Output(b.Op("Mul", nil, next, w))
		}
		_, err := graph.Compile(b.G, graph.Options{Ops: op.Default(), Pool: pool(t, 1)})
		return err
	}
	if err := build(false); err != nil {
		t.Errorf("state read once: %v", err)
	}
	if err := build(true); err == nil || !strings.Contains(err.Error(), "state w cannot be updated in place") {
		t.Errorf("state read late: %v", err)
	}
}

// TestStateLasts adds up inputs over runs.
func TestStateLasts(t *testing.T) {
	b := graph.NewBuilder("g", op.Default())
	x := b.Input("x", tensor.Float32, graph.Const(2))
	w := b.State("sum", tensor.Of([]float32{100, 200}, 2))
	b.SetNext(w, b.Op("Add", nil, w, x))
	s := session(t, b.G, pool(t, 1), 0)
	for range 3 {
		if _, err := s.Run(context.Background(), []*tensor.Tensor{tensor.Of([]float32{1, 2}, 2)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.State(0).F32(); got[0] != 103 || got[1] != 206 {
		t.Errorf("state %v", got)
	}
}

// TestPassesNeedNoImports: a graph from a file imports only the domains that it
// uses; what passes write compiles all the same.
func TestPassesNeedNoImports(t *testing.T) {
	g := convNet(t)
	g.Opset = map[string]int{"": 21}
	p := pool(t, 1)
	x := randomInput(rand.New(rand.NewPCG(5, 5)), []int{2, 3, 18, 17}, 0)
	if a, b := run(t, session(t, g, p, 0), x), run(t, session(t, g, p, 0, pass.Inference(p)...), x); !alike(a, b) {
		t.Errorf("without passes %v, with them %v", a, b)
	}
}
