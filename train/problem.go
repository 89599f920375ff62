package train

import (
	"tandem/data"
	"tandem/graph"
	"tandem/model"
	"tandem/tensor"
	"tandem/train/metric"
)

// Problem is what a family makes of a spec: a network to train, examples, and how
// examples become its inputs.
type Problem struct {
	// Graph is the network as it will be used, with initial weights as constants.
	// Its inputs and its first output have the batch as dimension 0.
	Graph *graph.Graph
	// Params are the constants to train.
	Params []*graph.Value
	// Loss adds the loss, a scalar, and the count of correct rows to a graph that
	// computes Graph's outputs. target is a graph input of the type Target. Where
	// nothing can be correct, as with numbers, the count is nil.
	Loss   LossFunc
	Target graph.Type
	// Weights are those of the classes, if the loss of a batch is the mean by them: over
	// several batches each then counts by its sum of weights. nil: by its rows.
	Weights []float32
	// TestLoss, if given, is what is measured of the test set instead of Loss: where a
	// metric follows from the loss, and what training makes small is another one.
	TestLoss LossFunc
	// Metrics says what the first output is, and so what is measured of it.
	Metrics metric.Kind

	Train, Test *data.Dataset
	// Feed writes the inputs and the target of some examples, which lie in memory.
	// Batches are fed ahead of the steps that take them, several at once: it must
	// be safe for that, and a function of the examples alone.
	Feed func(examples *data.Dataset, inputs []*tensor.Tensor, target *tensor.Tensor) error

	// Vary, if given, changes the inputs of examples to train on after Feed has written
	// them, so that no two epochs show the same. It must be as safe as Feed; what becomes of
	// an example may depend on where it is visited too.
	Vary func(at Visit, inputs []*tensor.Tensor)

	// Finish, if given, rewrites the trained network into the form in which it will be
	// used.
	Finish func(g *graph.Graph) error

	// Artifact describes the model; its graph is filled in when training ends.
	Artifact model.Artifact
}

// Visit is a place in training at which a batch of examples is seen: the same one whether
// the run was resumed or not.
type Visit struct {
	Seed  uint64
	Epoch int // from 0
	First int // number of the batch's first example in its epoch
}
