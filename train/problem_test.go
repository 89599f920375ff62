package train_test

import (
	"errors"
	"math/rand/v2"
	"testing"

	"tandem/data"
	"tandem/graph"
	"tandem/graph/op"
	"tandem/kernel"
	"tandem/model"
	"tandem/nn"
	"tandem/tensor"
	"tandem/train"
	"tandem/train/metric"
)

// spirals is a set that a linear model cannot learn and a small net can: points
// on two arms, [n,2], with the arm as label.
func spirals(t testing.TB, n int, seed uint64) *data.Dataset {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	x, y := tensor.New(tensor.Float32, n, 2), tensor.New(tensor.Int64, n)
	for i := range n {
		label := rng.IntN(2)
		a, b := rng.Float32()*2-1, rng.Float32()*2-1
		if (a*b > 0) != (label == 1) {
			a = -a
		}
		x.F32()[2*i], x.F32()[2*i+1], y.I64()[i] = a, b, int64(label)
	}
	d, err := data.NewDataset(data.Column{Name: "x", Tensor: x}, data.Column{Name: "label", Tensor: y})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// twoLayers is the problem of telling the arms apart with one hidden layer and
// dropout, so that randomness takes part.
func twoLayers(t testing.TB, seed uint64) *train.Problem {
	t.Helper()
	b := nn.NewBuilder("two-layers", op.Default(), seed)
	x := b.Input("x", tensor.Float32, graph.Sym("batch"), graph.Const(2))
	net := nn.Sequential{nn.Dense{Units: 32, Activation: nn.ReLU}, nn.Dropout{Ratio: 0.1}, nn.Dense{Units: 2}}
	b.Output(b.Op("Softmax", nil, net.Build(b, x)))
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	return &train.Problem{
		Graph: b.G, Params: b.Params(), Loss: nn.CrossEntropy, Metrics: metric.Labels,
		Target: graph.Type{DType: tensor.Int64, Shape: graph.Shape{graph.Sym("batch")}},
		Train:  spirals(t, 1000, 1), Test: spirals(t, 300, 2),
		Feed: func(d *data.Dataset, in []*tensor.Tensor, target *tensor.Tensor) error {
			x, _ := d.Column("x")
			label, _ := d.Column("label")
			return errors.Join(in[0].CopyFrom(x), target.CopyFrom(label))
		},
		Artifact: model.Artifact{Labels: []string{"no", "yes"}, Batch: true},
	}
}

func twoLayersSpec(epochs int) train.Spec {
	s := train.Spec{Name: "two-layers", Family: "test", Task: "classify", Data: train.DataSpec{Path: "spirals"}}
	s.Train = train.TrainSpec{Epochs: epochs, BatchRows: 32, Seed: 5, CheckpointSteps: 7}
	s.Train.Optimizer.LearningRate = 0.02
	s.FillDefaults()
	return s
}

type (
	dataset   = *data.Dataset
	tensorPtr = *tensor.Tensor
)

func options(t testing.TB, threads int) train.Options {
	p := kernel.NewPool(threads, kernel.Detect())
	t.Cleanup(p.Close)
	return train.Options{Ops: op.Default(), Pool: p}
}
