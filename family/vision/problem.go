package vision

import (
	"math"

	"tandem/data"
	"tandem/fault"
	"tandem/graph"
	"tandem/nn"
	"tandem/processor"
	"tandem/tensor"
)

// moments are the mean and the standard deviation of pixels scaled to [0,1].
func moments(pixels []uint8) (mean, std float32) {
	var sum, squares uint64
	for _, p := range pixels {
		sum += uint64(p)
		squares += uint64(p) * uint64(p)
	}
	n := float64(len(pixels))
	m := float64(sum) / n
	variance := float64(squares)/n - m*m
	if variance == 0 {
		variance = 255 * 255 // images of one colour: nothing to spread
	}
	return float32(m / 255), float32(math.Sqrt(variance) / 255)
}

// build writes the network from normalised pixels to probabilities.
func build(m Model, image *processor.Image, classes int, seed uint64, ops *graph.Table) (*nn.Builder, error) {
	b := nn.NewBuilder("vision", ops, seed)
	x := b.Input(imageColumn, tensor.Float32, graph.Sym("batch"), graph.Const(image.Channels), graph.Const(image.Height), graph.Const(image.Width))
	scores := m.network(classes).Build(b, x)
	probabilities := b.Op("Softmax", nil, scores)
	probabilities.Name = "probabilities"
	b.Output(probabilities)
	if b.Err() != nil {
		return nil, fault.Wrap(b.Err(), "vision.build", fault.Invalid, "the network cannot be built for images of %dx%d", image.Height, image.Width)
	}
	return b, nil
}

// newFeed makes the function that fills batches by the processor that serving
// applies.
func newFeed(image *processor.Image) func(*data.Dataset, []*tensor.Tensor, *tensor.Tensor) error {
	return func(examples *data.Dataset, inputs []*tensor.Tensor, target *tensor.Tensor) error {
		pixels, _ := examples.Column(imageColumn)
		labels, _ := examples.Column(labelColumn)
		if err := image.Pixels(inputs[0], pixels); err != nil {
			return err
		}
		return target.CopyFrom(labels)
	}
}
