package op_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/op/optest"
	"tandem/graph/pass"
	"tandem/kernel"
	"tandem/tensor"
)

// imagesNet has tensors of 1.1 MB an image where it computes by row, and several values
// that are read behind it. A second input is read whole.
func imagesNet(t *testing.T, r *rand.Rand, second bool) *graph.Graph {
	b := graph.NewBuilder("net", op.Default())
	weight := func(oc, ic, k int) *graph.Value {
		w := randomInput(r, []int{oc, ic, k, k}, 0)
		for i := range w.F32() {
			w.F32()[i] *= 0.1
		}
		return b.Const("w", w)
	}
	vector := func(n int) *graph.Value { return b.Const("v", randomInput(r, []int{n}, 0)) }
	pads := []int64{1, 1, 1, 1}
	x := b.Input("x", tensor.Float32, graph.Sym("n"), graph.Const(3), graph.Const(96), graph.Const(96))
	h := b.Op("Relu", nil, b.Op("Conv", attrs("pads", pads), b.Op("Neg", nil, x), weight(32, 3, 3), vector(32)))
	early := b.Op("MaxPool", attrs("kernel_shape", []int64{4, 4}, "strides", []int64{4, 4}), h)
	h = b.Op("Conv", attrs("pads", pads, "group", int64(32)), h, weight(32, 1, 3))
	if second {
		h = b.Op("Mul", nil, h, b.Input("y", tensor.Float32, graph.Const(1), graph.Const(32), graph.Const(1), graph.Const(1)))
	}
	gate := b.Op("Sigmoid", nil, b.Op("Conv", nil, b.Op("GlobalAveragePool", nil, h), weight(32, 32, 1)))
	h = b.Op("Add", nil, b.Op("Mul", nil, gate, h), b.Op("Conv", attrs("pads", pads), h, weight(32, 32, 3)))
	h = b.Op("Concat", attrs("axis", int64(1)), h, b.Op("HardSwish", nil, h))
	h = b.Op("Conv", attrs("strides", []int64{4, 4}), h, weight(16, 64, 1))
	b.Output(b.Op("Concat", attrs("axis", int64(1)), early, h))
	b.Output(b.Op("Flatten", nil, b.Op("GlobalAveragePool", nil, h)))
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	return b.G
}

// TestRowsAtATime: images that are computed some at a time, because all of them do not fit
// the cache, have the bits that each has alone, in every output, run after run.
func TestRowsAtATime(t *testing.T) {
	r := rand.New(rand.NewPCG(71, 9))
	for _, second := range []bool{false, true} {
		g := imagesNet(t, r, second)
		for threads := 1; threads <= 2; threads++ {
			compareRows(t, r, g, pool(t, threads))
		}
	}
}

func compareRows(t *testing.T, r *rand.Rand, g *graph.Graph, p *kernel.Pool) {
	profile := graph.NewProfile()
	passes := pass.Inference(p)
	alone := session(t, g, p, 0, passes...)
	among := optest.Session(t, g, graph.Options{Pool: p, Passes: passes, Profile: profile})
	for range 2 {
		const n = 9
		in := []*tensor.Tensor{randomInput(r, []int{n, 3, 96, 96}, 0), randomInput(r, []int{1, 32, 1, 1}, 0)}[:len(g.Inputs)]
		all, err := among.Run(context.Background(), in, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			row := slices.Clone(in)
			row[0] = in[0].Rows(i, i+1)
			one, err := alone.Run(context.Background(), row, nil)
			if err != nil {
				t.Fatal(err)
			}
			for j := range one {
				if !slices.Equal(all[j].Rows(i, i+1).F32(), one[j].F32()) {
					t.Fatalf("%d threads, %d inputs: output %d of image %d is not that of the image alone", p.Threads(), len(in), j, i)
				}
			}
		}
	}
	some, whole := 0, 0
	for _, row := range profile.Rows() {
		if strings.HasPrefix(row.Shapes, "9x") {
			whole++
		} else if row.Calls > 2 {
			some++
		}
	}
	if some < 6 || whole == 0 {
		t.Errorf("%d threads, %d inputs: %d kinds of nodes ran for some images at a time, %d for all", p.Threads(), len(g.Inputs), some, whole)
	}
}

// TestRowsTakeLessMemory: what lies between nodes that compute some rows at a time has
// memory for these.
func TestRowsTakeLessMemory(t *testing.T) {
	r := rand.New(rand.NewPCG(71, 10))
	g, p := imagesNet(t, r, false), pool(t, 1)
	s := session(t, g, p, 20<<20, pass.Inference(p)...) // the larger tensors of 18 images are 20 and 40 MiB
	run(t, s, randomInput(r, []int{18, 3, 96, 96}, 0))
}
