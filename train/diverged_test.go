package train_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/fault"
	"tandem/graph"
	"tandem/model"
	"tandem/nn"
	"tandem/tensor"
	"tandem/train"
)

// TestDivergedNamesTheNode: a loss that is no number ends the run with the step and
// the first node that gave one, also when weights became so in the step before.
func TestDivergedNamesTheNode(t *testing.T) {
	p := twoLayers(t, 5)
	inner := p.Loss
	p.Loss = func(b *graph.Builder, output, target *graph.Value) (loss, correct *graph.Value) {
		loss, correct = inner(b, output, target)
		// The root of a number that falls below 0 once the loss does.
		root := b.Op("Sqrt", nil, b.Op("Sub", nil, loss, b.Const("limit", tensor.Scalar(float32(0.45)))))
		root.Name = "root_of_loss"
		return root, correct
	}
	spec := twoLayersSpec(20)
	_, err := train.Run(t.Context(), p, spec, filepath.Join(t.TempDir(), "run"), options(t, 2))
	if err == nil || !strings.Contains(err.Error(), "is NaN; in step ") || !strings.Contains(err.Error(), "node Sqrt") || fault.RemedyOf(err) == "" {
		t.Errorf("the error is %v", err)
	}
	// Too large a step: the weights overflow in step n, the loss is no number in n+1.
	spec.Train.Optimizer = train.OptimizerSpec{Name: "sgd", LearningRate: 100, Momentum: 0.99}
	spec.FillDefaults()
	q := twoLayers(t, 5)
	q.Loss = func(b *graph.Builder, output, target *graph.Value) (loss, correct *graph.Value) {
		loss, correct = nn.CrossEntropy(b, output, target)
		big := b.Op("Exp", nil, b.Op("Mul", nil, loss, b.Const("ten", tensor.Scalar(float32(100)))))
		return b.Op("Sub", nil, big, big), correct
	}
	_, err = train.Run(t.Context(), q, spec, filepath.Join(t.TempDir(), "run"), options(t, 1))
	if err == nil || !strings.Contains(err.Error(), "node") {
		t.Errorf("the error is %v", err)
	}
}

// TestEvaluationThatDiverges: the step before the first evaluation throws the weights so
// far that the test set has no loss, which no step has seen yet.
func TestEvaluationThatDiverges(t *testing.T) {
	p, spec := twoLayers(t, 5), twoLayersSpec(1)
	inner := p.Loss
	p.Loss = func(b *graph.Builder, output, target *graph.Value) (loss, correct *graph.Value) {
		loss, correct = inner(b, output, target)
		return b.Op("Exp", nil, b.Op("Mul", nil, loss, b.Const("steep", tensor.Scalar(float32(100))))), correct
	}
	spec.Train.BatchRows = p.Train.Len()
	spec.Train.Optimizer = train.OptimizerSpec{Name: "sgd", LearningRate: 1}
	spec.FillDefaults()
	dir := filepath.Join(t.TempDir(), "run")
	_, err := train.Run(t.Context(), p, spec, dir, options(t, 1))
	if err == nil || !strings.Contains(err.Error(), "the loss of the test set after epoch 1 is ") || fault.RemedyOf(err) == "" {
		t.Errorf("the error is %v", err)
	}
	if r, err := train.ReadRecord(dir); err != nil || r.Status != train.Failed || !strings.HasPrefix(r.Error, "the loss of the test set") {
		t.Errorf("the record is %+v, %v", r, err)
	}
}

// TestMemoryIsRefused: before anything is trained, with the estimate.
func TestMemoryIsRefused(t *testing.T) {
	p, spec, opt := twoLayers(t, 5), twoLayersSpec(1), options(t, 1)
	need, err := train.EstimateMemory(p, spec.Train, opt.Ops, opt)
	if err != nil || need.StateBytes < 3*4*(2*32+32+32*2+2) || need.StepBytes < 4*32*32 {
		t.Fatalf("estimate %+v, %v", need, err)
	}
	opt.MemoryLimitBytes = need.Total() - 1
	dir := filepath.Join(t.TempDir(), "run")
	_, err = train.Run(t.Context(), p, spec, dir, opt)
	if fault.KindOf(err) != fault.TooLarge || !strings.Contains(err.Error(), "32 examples") {
		t.Errorf("the error is %v", err)
	}
	opt.MemoryLimitBytes++
	if _, err = train.Run(t.Context(), p, spec, dir, opt); err != nil {
		t.Errorf("after a run that was refused: %v", err)
	}
}

// TestMemoryOfLargeBatches: a batch takes room for the examples that there are.
func TestMemoryOfLargeBatches(t *testing.T) {
	var needs []train.Memory
	for _, rows := range []int{1000, 1 << 20} {
		p, spec, opt := twoLayers(t, 5), twoLayersSpec(1), options(t, 1)
		spec.Train.BatchRows = rows
		need, err := train.EstimateMemory(p, spec.Train, opt.Ops, opt)
		if err != nil {
			t.Fatal(err)
		}
		needs = append(needs, need)
	}
	if needs[0] != needs[1] {
		t.Errorf("1000 examples in batches of 1000 take %+v, in larger ones %+v", needs[0], needs[1])
	}
}

// TestRecomputeGivesTheSameWeights: less is kept, and no bit changes.
func TestRecomputeGivesTheSameWeights(t *testing.T) {
	var digests []string
	for _, recompute := range []bool{false, true} {
		spec := twoLayersSpec(2)
		spec.Train.Recompute = recompute
		dir := filepath.Join(t.TempDir(), "run")
		if _, err := train.Run(t.Context(), twoLayers(t, 5), spec, dir, options(t, 2)); err != nil {
			t.Fatal(err)
		}
		digests = append(digests, weightsIn(t, filepath.Join(dir, train.ModelDir)))
	}
	if digests[0] != digests[1] {
		t.Error("the weights differ")
	}
}

// weightsIn are the bytes of an artifact's graph, with its weights.
func weightsIn(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, model.GraphFile))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
