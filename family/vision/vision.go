package vision

import (
	"context"
	"strconv"

	"tandem/data"
	"tandem/data/mnist"
	"tandem/fault"
	"tandem/graph"
	"tandem/model"
	"tandem/processor"
	"tandem/tensor"
	"tandem/train"
	"tandem/train/metric"
	"tandem/train/tune"
)

// builtIn is the data path that names the MNIST set.
const builtIn = "mnist"

// Prepare makes the problem of classifying images.
func Prepare(ctx context.Context, spec train.Spec, ops *graph.Table) (*train.Problem, error) {
	m, err := section(&spec)
	if err != nil {
		return nil, err
	}
	var start *tune.Network
	if spec.From.Model != "" {
		if start, err = tune.Open(spec.From.Model, ops); err != nil {
			return nil, err
		}
		m = m.seeing(start)
	}
	trainSet, testSet, err := open(ctx, spec)
	if err != nil {
		return nil, err
	}
	p, err := prepare(ctx, spec, m, start, trainSet, testSet, ops)
	if err != nil {
		_ = trainSet.Close() // the error that stopped it counts
	}
	return p, err
}

// seeing is the section with the size that an imported network demands, if it does and
// nothing else is said.
func (m Model) seeing(n *tune.Network) Model {
	if n.Image != nil || len(m.Size) > 0 || len(n.Graph.Inputs) != 1 || len(n.Graph.Inputs[0].Type.Shape) != 4 {
		return m
	}
	shape := n.Graph.Inputs[0].Type.Shape
	height, a := shape[2].Value()
	width, b := shape[3].Value()
	if channels, c := shape[1].Value(); a && b && c {
		m.Size, m.Colour = []int{height, width}, "rgb"
		if channels == 1 {
			m.Colour = "gray"
		}
	}
	return m
}

func prepare(ctx context.Context, spec train.Spec, m Model, start *tune.Network, trainSet, testSet *data.Dataset, ops *graph.Table) (*train.Problem, error) {
	image, labels, err := describe(ctx, m, start, trainSet, testSet)
	if err != nil {
		return nil, err
	}
	if !isPictures(trainSet) { // what describes the whole set does not change with the limit
		trainSet, testSet = first(trainSet, spec.Data.LimitRows), first(testSet, spec.Data.LimitRows)
	}
	p, err := network(m, start, image, len(labels), spec, ops)
	if err != nil {
		return nil, err
	}
	if p.Loss, p.Weights, err = spec.Train.Loss.ForClasses(labels, trainSet, data.LabelColumn); err != nil {
		return nil, err
	}
	p.Metrics = metric.Labels
	p.Target = graph.Type{DType: tensor.Int64, Shape: graph.Shape{graph.Sym("batch")}}
	p.Train, p.Test, p.Feed = trainSet, testSet, newFeed(image)
	if !m.Augment.none() {
		p.Vary = m.Augment.vary
	}
	p.Artifact = model.Artifact{Image: image, Labels: labels, Batch: true}
	return p, nil
}

// open reads the built-in set, or what is at a path.
func open(ctx context.Context, spec train.Spec) (trainSet, testSet *data.Dataset, err error) {
	if spec.Data.Path == builtIn {
		if by := data.SplitBy(spec.Data.Split.By); spec.Data.TestPath != "" || by != "" && by != data.ByChance {
			return nil, nil, fault.New("vision.open", fault.Invalid, "%s has images to test with of its own", builtIn).Try("leave out data.test_path and data.split")
		}
		trainSet, testSet, _, err = mnist.Open(ctx, mnist.Options{})
		return trainSet, testSet, err
	}
	limit := spec.Data.LimitRows
	spec.Data.LimitRows = 0
	if trainSet, testSet, err = spec.Data.Open(ctx, spec.Train.Seed); err != nil {
		return nil, nil, err
	}
	if isPictures(trainSet) { // they need not all be decoded to be described
		return first(trainSet, limit), first(testSet, limit), nil
	}
	return trainSet, testSet, nil
}

// first is the set, or its first n examples if n is above 0.
func first(set *data.Dataset, n int) *data.Dataset {
	if n < 1 || n >= set.Len() {
		return set
	}
	return set.Slice(0, n)
}

// describe finds how images become the network's input, and the names of the classes.
func describe(ctx context.Context, m Model, start *tune.Network, trainSet, testSet *data.Dataset) (image *processor.Image, labels []string, err error) {
	const op = "vision.describe"
	var given *processor.Image
	if start != nil {
		given = start.Image
	}
	label, _ := trainSet.Field(data.LabelColumn)
	if isPictures(trainSet) {
		labels = label.Values
		image, err = describePictures(ctx, m, given, trainSet, testSet)
	} else {
		for i := range max(label.Classes, testSet.Classes(data.LabelColumn)) {
			labels = append(labels, strconv.Itoa(i))
		}
		image, err = describePixels(m, given, trainSet, testSet)
	}
	if err == nil && len(labels) < 2 {
		err = fault.New(op, fault.Invalid, "the set has %d class, at least 2 are needed", len(labels)).
			Try("give a folder of pictures for each of two classes or more")
	}
	return image, labels, err
}

// describePixels finds size and the mean and deviation of pixels that lie in memory,
// which the processor takes out.
func describePixels(m Model, given *processor.Image, trainSet, testSet *data.Dataset) (*processor.Image, error) {
	const op = "vision.describe"
	pixels, ok := trainSet.Column(data.ImageColumn)
	if !ok || pixels.DType() != tensor.Uint8 || pixels.Rank() != 3 || pixels.Len() == 0 {
		return nil, fault.New(op, fault.Invalid, "the set has no images of bytes with one channel").
			Try("give a folder or zip with a folder of pictures for each class, or a folder of IDX files")
	}
	test, _ := testSet.Column(data.ImageColumn)
	if !test.Shape()[1:].Equal(pixels.Shape()[1:]) {
		return nil, fault.New(op, fault.Invalid, "training images are %v, test images %v", pixels.Shape()[1:], test.Shape()[1:])
	}
	image := &processor.Image{Height: pixels.Dim(1), Width: pixels.Dim(2), Channels: 1, Scale: 1.0 / 255, Resize: processor.Resize(m.Resize)}
	if h, w := m.size(); h != 0 && (h != image.Height || w != image.Width) || m.Colour == "rgb" {
		return nil, fault.New(op, fault.Unsupported, "IDX images are %dx%d and gray, and are used as they are", image.Height, image.Width).
			Try("leave out model.size and model.colour")
	}
	if given != nil {
		if given.Height != image.Height || given.Width != image.Width || given.Channels != 1 {
			return nil, fault.New(op, fault.Invalid, "the model to start from takes images of %dx%d and %d channels, the set has gray ones of %dx%d",
				given.Height, given.Width, given.Channels, image.Height, image.Width)
		}
		return given, nil
	}
	var s sums
	for _, v := range tensor.Data[uint8](pixels) {
		s.add(v)
	}
	mean, std := s.moments()
	image.Mean, image.Std = []float32{mean}, []float32{std}
	return image, nil
}
