package op_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/op/optest"
	"tandem/kernel"
	"tandem/tensor"
)

// TestGradientsOfOtherFloats: gradients with respect to inputs of float16, bfloat16 and
// float64 are those with respect to the same numbers in float32, within the roundings of
// the type, and have the type of the input. That the types change nothing else is what
// TestGradientsEqualFiniteDifferences cannot see, whose steps they would round. Cases whose
// constants are float32 cannot be built in another type; FlexAttention with inner graphs is
// refused in all of them.
func TestGradientsOfOtherFloats(t *testing.T) {
	p := pool(t, 1)
	for _, d := range []struct {
		dtype tensor.DType
		every int     // of the cases
		most  float64 // of the difference, by the greatest gradient
	}{{tensor.Float16, 1, 0.01}, {tensor.BFloat16, 3, 0.08}, {tensor.Float64, 3, 1e-5}} {
		built := 0
		for i, tc := range gradCases() {
			if i%d.every != 0 || !buildsIn(tc, d.dtype) {
				continue
			}
			built++
			t.Run(fmt.Sprint(d.dtype, " ", tc.name), func(t *testing.T) {
				if strings.HasPrefix(tc.name, "FlexAttention3") { // with inner graphs
					refusedIn(t, tc, d.dtype)
					return
				}
				got, want := gradientsIn(t, tc, d.dtype, d.dtype, p), gradientsIn(t, tc, tensor.Float32, d.dtype, p)
				for i := range want {
					scale, off := 1e-3, 0.0
					for j, w := range want[i].F32() {
						scale, off = max(scale, math.Abs(float64(w))), max(off, math.Abs(float64(got[i].F32()[j]-w)))
					}
					if !(off <= d.most*scale) {
						t.Errorf("input %d: gradients differ by %v of %v", i, off/scale, scale)
					}
				}
			})
		}
		if built < 100/d.every {
			t.Errorf("%v: %d cases", d.dtype, built)
		}
	}
}

// caseIn builds a case with inputs of a type; its result is cast to float32.
func caseIn(tc gradCase, d tensor.DType) (*graph.Builder, *graph.Value) {
	b := graph.NewBuilder("case", op.Default())
	var in []*graph.Value
	for i, shape := range tc.inputs {
		in = append(in, b.Input(fmt.Sprint("x", i), d, graph.Dims(shape...)...))
	}
	return b, b.Op("Cast", attrs("to", int64(tensor.Float32)), tc.build(b, in))
}

func buildsIn(tc gradCase, d tensor.DType) bool {
	b, y := caseIn(tc, d)
	return b.Err() == nil && y.Type.Known()
}

// refusedIn checks that a case with inner graphs of type d is refused: for them, or, of
// float64, for the softmax in it before.
func refusedIn(t *testing.T, tc gradCase, d tensor.DType) {
	t.Helper()
	b, y := caseIn(tc, d)
	_, err := graph.Grad(b, weigh(b, y, rand.New(rand.NewPCG(1, 2))), b.G.Inputs)
	reason := "inner graphs of " + d.String() + " have no gradient"
	if d == tensor.Float64 {
		reason = "softmax_precision float64 has no gradient"
	}
	if err == nil || !strings.Contains(err.Error(), reason) {
		t.Errorf("inner graphs of %v: %v", d, err)
	}
}

// gradientsIn are the gradients, as float32, of a case of type d at inputs rounded to another.
func gradientsIn(t *testing.T, tc gradCase, d, rounded tensor.DType, p *kernel.Pool) []*tensor.Tensor {
	t.Helper()
	as := func(x *tensor.Tensor, d tensor.DType) *tensor.Tensor {
		y := tensor.New(d, x.Shape()...)
		if err := tensor.Convert(y, x, true); err != nil {
			t.Fatal(err)
		}
		return y
	}
	b, y := caseIn(tc, d)
	rng := rand.New(rand.NewPCG(1, 2))
	var x []*tensor.Tensor
	for _, shape := range tc.inputs {
		x = append(x, as(as(randomInput(rng, shape, tc.away), rounded), d))
	}
	in := b.G.Inputs
	grads, err := graph.Grad(b, weigh(b, y, rng), in)
	if err != nil || b.Err() != nil {
		t.Fatal(err, b.Err())
	}
	b.G.Outputs = grads
	var wide []*tensor.Tensor
	for i, g := range optest.Outputs(t, b.G, graph.Options{Pool: p}, x...) {
		if g.DType() != d {
			t.Errorf("the gradient of input %d is %v", i, g)
		}
		wide = append(wide, as(g, tensor.Float32))
	}
	return wide
}
