package nn_test

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/op/optest"
	"tandem/kernel"
	"tandem/nn"
	"tandem/tensor"
)

// TestCTC compares loss and gradient with PyTorch's (testdata/ctc.py): repeated
// letters, empty texts, sequences of other lengths, another blank.
func TestCTC(t *testing.T) {
	text, err := os.ReadFile("testdata/ctc.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name           string
		Blank          int
		Shape          []int
		Scores         []float32
		Labels         []int64
		Steps, Letters []int64
		Loss           float64
		Grad           []float64
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	pool := kernel.NewPool(2, kernel.Detect())
	defer pool.Close()
	for _, c := range cases {
		b := graph.NewBuilder("", op.Default())
		batch := c.Shape[1]
		x := b.Input("x", tensor.Float32, graph.Dims(c.Shape...)...)
		labels := b.Const("labels", tensor.Of(c.Labels, batch, len(c.Labels)/batch))
		loss := nn.CTC(b, x, labels, b.Const("steps", tensor.Of(c.Steps, batch)), b.Const("letters", tensor.Of(c.Letters, batch)), c.Blank)
		grads, err := graph.Grad(b, loss, []*graph.Value{x})
		if err != nil || b.Err() != nil {
			t.Fatal(err, b.Err())
		}
		b.G.Outputs = []*graph.Value{loss, grads[0]}
		out := optest.Outputs(t, b.G, graph.Options{Pool: pool}, tensor.Of(c.Scores, c.Shape...))
		if got := float64(out[0].F32()[0]); math.Abs(got-c.Loss) > 2e-6*math.Max(1, c.Loss) {
			t.Errorf("%s: loss %v, PyTorch has %v", c.Name, got, c.Loss)
		}
		for i, v := range out[1].F32() {
			if math.Abs(float64(v)-c.Grad[i]) > 2e-6 {
				t.Errorf("%s: gradient %d is %v, PyTorch has %v", c.Name, i, v, c.Grad[i])
				break
			}
		}
	}
}
