package op_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/op/optest"
	"tandem/tensor"
)

// outsideOps are operators whose shapes depend on data, and one with a body.
func outsideOps() []graph.Op {
	id := func(name string) graph.OpID { return graph.OpID{Domain: "test", Name: name} }
	return []graph.Op{
		// Positives(x) lists the elements above 0.
		{ID: id("Positives"), Since: 1, Late: true, Kernel: func(c *graph.Call) (func() error, error) {
			return func() error {
				var found []float32
				for _, v := range c.F32(0) {
					if v > 0 {
						found = append(found, v)
					}
				}
				y, err := c.Make(0, tensor.Float32, len(found))
				if err == nil {
					copy(y.F32(), found)
				}
				return err
			}, nil
		}},
		// Repeat(x, n) applies its body n times; the shape may change on the way.
		{ID: id("Repeat"), Since: 1, Late: true, Kernel: func(c *graph.Call) (func() error, error) {
			return func() error {
				x := c.In[0]
				for range c.In[1].I64()[0] {
					out, err := c.RunBody("body", []*tensor.Tensor{x})
					if err != nil {
						return err
					}
					x = out[0]
				}
				c.Out[0].Become(x)
				return nil
			}, nil
		}},
		// Range(n) = 0, 1, … n-1: the rule asks for the element of n.
		{ID: id("Range"), Since: 1, Infer: func(c *graph.Infer) error {
			n, err := c.Ints(0)
			if err != nil {
				return err
			}
			c.Out(0, tensor.Float32, graph.Dims(n[0]))
			return nil
		}, Kernel: func(c *graph.Call) (func() error, error) {
			return func() error {
				for i := range c.Out[0].F32() {
					c.Out[0].F32()[i] = float32(i)
				}
				return nil
			}, nil
		}},
	}
}

func testBuilder() *graph.Builder {
	g := &graph.Graph{Opset: graph.Opsets()}
	g.Opset["test"] = 1
	return graph.Extend(g, graph.NewTable(append(op.Lists(), outsideOps())...))
}

func outside(b *graph.Builder, name string, attrs graph.Attrs, in ...*graph.Value) *graph.Value {
	return b.Node(graph.OpID{Domain: "test", Name: name}, 1, attrs, in...)[0]
}

func runAll(t *testing.T, b *graph.Builder, limit int, in ...*tensor.Tensor) ([]*tensor.Tensor, error) {
	t.Helper()
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	return optest.Try(t, b.G, graph.Options{Ops: b.Ops, Pool: pool(t, 2), MemoryLimitBytes: limit}, in...)
}

// TestShapesThatDependOnData: nodes before, between and after operators whose
// shapes are known only at run time.
func TestShapesThatDependOnData(t *testing.T) {
	b := testBuilder()
	x := b.Input("x", tensor.Float32, graph.Sym("n"))
	found := outside(b, "Positives", nil, b.Op("Neg", nil, x))
	y := b.Op("Add", nil, b.Op("Exp", nil, found), found)
	b.Output(y)
	b.Output(outside(b, "Positives", nil, b.Op("Sub", nil, y, b.Const("two", tensor.Scalar(float32(2))))))
	if y.Type.Known() {
		t.Errorf("before the run %s has type %v", y.Name, y.Type)
	}
	for _, tc := range []struct{ in, want, rest []float32 }{
		{[]float32{1, -1, 3, 0}, []float32{3.7182817}, []float32{1.7182817}},
		{[]float32{-0.5, 2, -2, 5}, []float32{2.1487212, 9.389057}, []float32{0.14872122, 7.389057}},
		{[]float32{1, 1, 1, 1}, nil, nil},
	} {
		out, err := runAll(t, b, 0, tensor.Of(tc.in, 4))
		if err != nil {
			t.Fatal(err)
		}
		if !near(out[0].F32(), tc.want) || !near(out[1].F32(), tc.rest) {
			t.Errorf("%v: %v and %v, want %v and %v", tc.in, out[0].F32(), out[1].F32(), tc.want, tc.rest)
		}
	}
}

func near(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { d := x - y; return d < 1e-5 && d > -1e-5 })
}

// TestShapeGivenAsInput: the same input shapes with other elements give other shapes.
func TestShapeGivenAsInput(t *testing.T) {
	b := testBuilder()
	x := b.Input("x", tensor.Float32, graph.Const(6))
	shape := b.Input("shape", tensor.Int64, graph.Const(2))
	b.Output(b.Op("Neg", nil, b.Op("Reshape", nil, b.Op("Neg", nil, x), shape)))
	in := tensor.Of([]float32{1, 2, 3, 4, 5, 6}, 6)
	for _, dims := range [][]int64{{2, 3}, {6, 1}, {-1, 2}} {
		out, err := runAll(t, b, 0, in, tensor.Of(dims, 2))
		want := strings.ReplaceAll(fmt.Sprintf("%dx%d", dims[0], dims[1]), "-1", "3")
		if err != nil || out[0].Shape().String() != want || !slices.Equal(out[0].F32(), in.F32()) {
			t.Errorf("%v: %v %v", dims, out, err)
		}
	}
	if _, err := runAll(t, b, 0, in, tensor.Of([]int64{4, 2}, 2)); err == nil || !strings.Contains(err.Error(), "numbers of elements: 6 and 8 differ") {
		t.Errorf("a target of another size: %v", err)
	}
}

// TestBodiesReadWhatIsAround: a body uses a value of the outer graph that is
// computed, one that is an input, and a constant, and nests another body.
func TestBodiesReadWhatIsAround(t *testing.T) {
	b := testBuilder()
	x := b.Input("x", tensor.Float32, graph.Const(2))
	y := b.Input("y", tensor.Float32, graph.Const(2))
	double := b.Op("Add", nil, x, x)
	inner := testBuilder()
	a := inner.Input("a", tensor.Float32, graph.Const(2))
	inner.Output(inner.Op("Add", nil, inner.Op("Mul", nil, a, y), double))
	middle := testBuilder()
	m := middle.Input("m", tensor.Float32, graph.Const(2))
	one := middle.Const("one", tensor.Scalar(int64(1)))
	middle.Output(middle.Op("Add", nil, outside(middle, "Repeat", graph.Attrs{"body": inner.G}, m, one), middle.Const("c", tensor.Scalar(float32(1)))))
	if middle.Err() != nil || inner.Err() != nil {
		t.Fatal(middle.Err(), inner.Err())
	}
	b.Output(outside(b, "Repeat", graph.Attrs{"body": middle.G}, x, b.Const("two", tensor.Scalar(int64(2)))))
	out, err := runAll(t, b, 0, tensor.Of([]float32{1, 2}, 2), tensor.Of([]float32{3, 10}, 2))
	// m -> m·y + 2x + 1, twice: 1 -> 6 -> 21; 2 -> 25 -> 255.
	if err != nil || !slices.Equal(out[0].F32(), []float32{21, 255}) {
		t.Errorf("%v %v", out, err)
	}
}

// TestMemoryLimitHoldsForShapesFromData: a number in the input must not allocate
// without bound.
func TestMemoryLimitHoldsForShapesFromData(t *testing.T) {
	b := testBuilder()
	n := b.Input("n", tensor.Int64)
	b.Output(b.Op("Neg", nil, outside(b, "Range", nil, n)))
	if _, err := runAll(t, b, 1<<20, tensor.Scalar(int64(1<<40))); err == nil || !strings.Contains(err.Error(), "the limit is 1 MiB") {
		t.Errorf("%v", err)
	}
	if _, err := runAll(t, b, 1<<20, tensor.Scalar(int64(-1))); err == nil || !strings.Contains(err.Error(), "negative") {
		t.Errorf("%v", err)
	}
}

// TestSegmentsFollowElements: one session, given data that decides other shapes again
// and again, gives what a session of its own gives each; and what elements do not decide
// otherwise is prepared once.
func TestSegmentsFollowElements(t *testing.T) {
	prepared := map[string]int{}
	counted := graph.Op{
		ID: graph.OpID{Domain: "test", Name: "Counted"}, Since: 1,
		Infer: func(c *graph.Infer) error { c.Out(0, tensor.Float32, c.In(0).Shape); return nil },
		Kernel: func(c *graph.Call) (func() error, error) {
			prepared[c.Node.Attrs.String("at", "")]++
			return func() error { copy(c.Out[0].F32(), c.F32(0)); return nil }, nil
		},
	}
	g := &graph.Graph{Opset: graph.Opsets()}
	g.Opset["test"] = 1
	b := graph.Extend(g, graph.NewTable(append(op.Lists(), outsideOps(), []graph.Op{counted})...))
	count := func(at string, x *graph.Value) *graph.Value { return outside(b, "Counted", graph.Attrs{"at": at}, x) }
	x, shape, n := b.Input("x", tensor.Float32, graph.Sym("n")), b.Input("shape", tensor.Int64, graph.Const(2)), b.Input("n", tensor.Int64)
	first := count("first", b.Op("Neg", nil, x))
	view := b.Op("Unsqueeze", nil, x, b.Const("axis", tensor.Of([]int64{0}, 1)))
	folded := count("folded", b.Op("Reshape", nil, first, shape))
	found := outside(b, "Positives", nil, first)
	again := outside(b, "Positives", nil, b.Op("Sub", nil, b.Op("Unsqueeze", nil, count("found", found), b.Const("end", tensor.Of([]int64{-1}, 1))), b.Const("two", tensor.Scalar(float32(2)))))
	b.Output(folded)
	b.Output(b.Op("Add", nil, view, outside(b, "Range", nil, n)))
	b.Output(b.Op("Unsqueeze", nil, found, b.Const("start", tensor.Of([]int64{0}, 1))))
	b.Output(count("last", again))
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	open := func(threads int) *graph.Session {
		return optest.Session(t, g, graph.Options{Ops: b.Ops, Pool: pool(t, threads)})
	}
	kept, r := open(2), rand.New(rand.NewPCG(3, 5))
	run := func(s *graph.Session, in []*tensor.Tensor) []*tensor.Tensor {
		out, err := s.Run(context.Background(), in, nil)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for i := range 300 {
		values, n := make([]float32, 12), []int64{1, 12}[i/30%2]
		for j := range values {
			values[j] = []float32{-4, -1, 1}[r.IntN(3)] * (1 + r.Float32())
		}
		if i%10 > 0 { // as many positive ones as before, mostly
			values = []float32{-4, -1, 1, 1, 1, 1, 1, 1, 1, 1, 1, float32(-i % 10 / 5)}
		}
		dims := [][]int64{{3, 4}, {4, 3}, {-1, 6}}[i/50%3]
		in := []*tensor.Tensor{tensor.Of(values, 12), tensor.Of(dims, 2), tensor.Scalar(n)}
		got := run(kept, in)
		before := maps.Clone(prepared)
		want := run(open(1), in)
		maps.Copy(prepared, before)
		for j := range want {
			if !got[j].Shape().Equal(want[j].Shape()) || !slices.Equal(got[j].F32(), want[j].F32()) {
				t.Fatalf("run %d: output %d is %v %v, alone %v %v", i, j, got[j], got[j].F32(), want[j], want[j].F32())
			}
		}
	}
	if prepared["first"] > 6 || prepared["found"] > 100 || prepared["last"] > 110 {
		t.Errorf("prepared %v times in 300 runs", prepared)
	}
}

// TestLateOutputsCount: what a kernel allocates itself counts towards the limit, before
// it is allocated.
func TestLateOutputsCount(t *testing.T) {
	x := tensor.New(tensor.Bool, 1<<20)
	for i := range x.Bytes() {
		x.Bytes()[i] = 1
	}
	for limit, fits := range map[int]bool{1 << 20: false, 10 << 20: true} {
		b := graph.NewBuilder("", op.Default())
		b.Output(b.Op("NonZero", nil, b.Input("x", tensor.Bool, graph.Sym("n"))))
		if _, err := runAll(t, b, limit, x); (err == nil) != fits || err != nil && !strings.Contains(err.Error(), "working memory") {
			t.Errorf("8 MiB with a limit of %d MiB: %v", limit>>20, err)
		}
	}
}
