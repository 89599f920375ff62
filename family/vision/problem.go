package vision

import (
	"math"

	"tandem/data"
	"tandem/fault"
	"tandem/graph"
	"tandem/nn"
	"tandem/processor"
	"tandem/tensor"
	"tandem/train"
	"tandem/train/tune"
)

// moments are the mean and the standard deviation of pixels scaled to [0,1].
func (s sums) moments() (mean, std float32) {
	n := float64(s.n)
	m := float64(s.sum) / n
	variance := float64(s.squares)/n - m*m
	if variance <= 0 {
		variance = 255 * 255 // images of one colour: nothing to spread
	}
	return float32(m / 255), float32(math.Sqrt(variance) / 255)
}

// network is the part of the problem that is a graph: one of its own, or upon the one
// that training starts from.
func network(m Model, start *tune.Network, image *processor.Image, classes int, spec train.Spec, ops *graph.Table) (*train.Problem, error) {
	if start == nil {
		b, err := build(m, image, classes, spec.Train.Seed, ops)
		if err != nil {
			return nil, err
		}
		return &train.Problem{Graph: b.G, Params: b.Params()}, nil
	}
	t, err := buildOn(start, m, image, classes, spec, ops)
	if err != nil {
		return nil, err
	}
	return &train.Problem{Graph: t.G, Params: t.Params(), Finish: func(g *graph.Graph) error { return t.Merge(g, ops) }}, nil
}

// build writes the network from normalised pixels to probabilities.
func build(m Model, image *processor.Image, classes int, seed uint64, ops *graph.Table) (*nn.Builder, error) {
	b := nn.NewBuilder("vision", ops, seed)
	x := b.Input(data.ImageColumn, tensor.Float32, graph.Sym("batch"), graph.Const(image.Channels), graph.Const(image.Height), graph.Const(image.Width))
	scores := m.network(classes).Build(b, x)
	if b.Err() == nil && len(scores.Type.Shape) != 2 {
		return nil, fault.New("vision.build", fault.Invalid, "the layers give scores of shape %v, a picture has one list of them", scores.Type.Shape).
			Try("put flatten or global_average_pool before the last dense layer, or at the end of model.layers")
	}
	probabilities := b.Op("Softmax", nil, scores)
	probabilities.Name = "probabilities"
	b.Output(probabilities)
	if b.Err() != nil {
		return nil, fault.Wrap(b.Err(), "vision.build", fault.Invalid, "the network cannot be built for images of %dx%d", image.Height, image.Width)
	}
	return b, nil
}

// buildOn writes the head of the section model on the network that spec starts from.
func buildOn(n *tune.Network, m Model, image *processor.Image, classes int, spec train.Spec, ops *graph.Table) (*tune.Tuned, error) {
	if len(n.Graph.Inputs) != 1 {
		return nil, fault.New("vision.build", fault.Invalid, "%s has %d inputs, a network for images has one", spec.From.Model, len(n.Graph.Inputs))
	}
	pixels := graph.Shape{graph.Sym("batch"), graph.Const(image.Channels), graph.Const(image.Height), graph.Const(image.Width)}
	t, err := tune.Begin(n, spec.From, map[string]graph.Shape{n.Graph.Inputs[0].Name: pixels}, spec.Train.Seed, ops)
	if err != nil {
		return nil, err
	}
	probabilities := t.Op("Softmax", nil, m.network(classes).Build(t.Builder, t.Features))
	probabilities.Name = t.Name("probabilities")
	t.Output(probabilities)
	return t, t.Check()
}

// newFeed makes the function that fills batches by the processor that serving
// applies.
func newFeed(image *processor.Image) func(*data.Dataset, []*tensor.Tensor, *tensor.Tensor) error {
	return func(examples *data.Dataset, inputs []*tensor.Tensor, target *tensor.Tensor) error {
		labels, _ := examples.Column(data.LabelColumn)
		if err := target.CopyFrom(labels); err != nil {
			return err
		}
		if isPictures(examples) {
			return feedPictures(image, examples, inputs[0])
		}
		pixels, _ := examples.Column(data.ImageColumn)
		return image.Pixels(inputs[0], pixels)
	}
}
