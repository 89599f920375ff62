package train_test

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"tandem/data"
	"tandem/fault"
	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/op/optest"
	"tandem/tensor"
	"tandem/train"
)

// TestWeightsOfClasses: weights by label and balance, as PyTorch's weighted mean has them:
// the sum of weighted losses by the sum of weights.
func TestWeightsOfClasses(t *testing.T) {
	labels := []string{"a", "b", "c"}
	set, err := data.NewDataset(data.Column{Name: "y", Tensor: tensor.Of([]int64{0, 1, 0, 0, 0}, 5)})
	if err != nil {
		t.Fatal(err)
	}
	scores, classes := []float32{0.5, -1, 2, 0.1, 0.7, -0.3}, []int64{0, 1}
	logs := make([]float64, 2)
	for i, c := range classes {
		row, sum := scores[3*i:3*i+3], 0.0
		for _, v := range row {
			sum += math.Exp(float64(v))
		}
		logs[i] = math.Log(sum) - float64(row[c])
	}
	for _, tc := range []struct {
		spec    train.LossSpec
		weights [2]float64 // of a and b
	}{
		{train.LossSpec{}, [2]float64{1, 1}},
		{train.LossSpec{Weights: map[string]float32{"b": 3, "c": 9}}, [2]float64{1, 3}},
		{train.LossSpec{Balanced: true}, [2]float64{5. / 12, 5. / 3}},
		{train.LossSpec{Balanced: true, Weights: map[string]float32{"a": 2}}, [2]float64{5. / 6, 5. / 3}},
	} {
		tc.spec.Name = "cross_entropy"
		of, _, err := tc.spec.ForClasses(labels, set, "y")
		if err != nil {
			t.Fatal(err)
		}
		w := tc.weights
		want := (w[0]*logs[0] + w[1]*logs[1]) / (w[0] + w[1])
		if got := lossOf(t, of, scores, classes); math.Abs(got-want) > 1e-6 {
			t.Errorf("%+v: %v, want %v", tc.spec, got, want)
		}
	}
	_, _, err = train.LossSpec{Name: "auto", Weights: map[string]float32{"B": 2}}.ForClasses([]string{"bad", "b"}, set, "y")
	if err == nil || !strings.Contains(fault.RemedyOf(err), "did you mean b?") {
		t.Errorf("%v, %s", err, fault.RemedyOf(err))
	}
}

// TestPatternsThatFitNothing: a misspelt pattern is no silent wish.
func TestPatternsThatFitNothing(t *testing.T) {
	for _, tc := range []struct {
		change func(*train.TrainSpec)
		want   string
	}{
		{func(s *train.TrainSpec) { s.Freeze = []string{"dense1.*", "dnse2.*"} }, `pattern "dnse2.*" of train.freeze fits no parameter`},
		{func(s *train.TrainSpec) { s.Rates = []train.RateSpec{{Pattern: "conv*", Factor: 2}} }, `pattern "conv*" of train.rates fits no parameter`},
		{func(s *train.TrainSpec) { s.Freeze = []string{"["} }, `pattern "["`},
	} {
		spec := twoLayersSpec(1)
		tc.change(&spec.Train)
		_, err := train.NewStepper(twoLayers(t, 1), spec.Train, options(t, 1).Ops, options(t, 1).Pool)
		if err == nil || !strings.Contains(err.Error(), tc.want) || fault.KindOf(err) != fault.Invalid {
			t.Errorf("%v, want %q", err, tc.want)
		}
	}
}

// lossOf computes a loss of rows of three scores.
func lossOf(t *testing.T, of train.LossFunc, scores []float32, classes []int64) float64 {
	t.Helper()
	b := graph.NewBuilder("", op.Default())
	x := b.Input("x", tensor.Float32, graph.Dims(len(classes), 3)...)
	loss, _ := of(b, b.Op("Softmax", nil, x), b.Const("labels", tensor.Of(classes, len(classes))))
	b.Output(loss)
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	return float64(optest.Outputs(t, b.G, graph.Options{}, tensor.Of(scores, len(classes), 3))[0].F32()[0])
}

// TestLossOfASetIsOneMean: by weights of classes too the loss of a set does not depend on
// how it is cut into batches: as PyTorch's, which is given the whole set.
func TestLossOfASetIsOneMean(t *testing.T) {
	losses := map[bool]float64{}
	for _, sorted := range []bool{false, true} {
		p := twoLayers(t, 5)
		if p.Test = spirals(t, 400, 2); sorted { // batches of 250: most of one class, then most of the other
			p.Test = byLabel(t, p.Test)
		}
		var err error
		spec := train.LossSpec{Name: "auto", Weights: map[string]float32{"yes": 9}}
		if p.Loss, p.Weights, err = spec.ForClasses(p.Artifact.Labels, p.Train, "label"); err != nil {
			t.Fatal(err)
		}
		r, err := train.Run(t.Context(), p, twoLayersSpec(1), filepath.Join(t.TempDir(), "run"), options(t, 1))
		if err != nil {
			t.Fatal(err)
		}
		losses[sorted] = r.Metrics["test_loss"]
	}
	if d := math.Abs(losses[true] - losses[false]); d > 1e-6 {
		t.Errorf("the loss of the test set is %v, and %v in another order", losses[false], losses[true])
	}
}

// byLabel is a set of two classes with the examples of one after those of the other.
func byLabel(t *testing.T, d dataset) dataset {
	x, _ := d.Column("x")
	y, _ := d.Column("label")
	sortedX, sortedY := tensor.New(tensor.Float32, x.Shape()...), tensor.New(tensor.Int64, y.Len())
	at := 0
	for class := range int64(2) {
		for i, label := range y.I64() {
			if label == class {
				copy(sortedX.F32()[2*at:], x.F32()[2*i:2*i+2])
				sortedY.I64()[at] = class
				at++
			}
		}
	}
	sorted, err := data.NewDataset(data.Column{Name: "x", Tensor: sortedX}, data.Column{Name: "label", Tensor: sortedY})
	if err != nil {
		t.Fatal(err)
	}
	return sorted
}
