package vision

import (
	"context"
	"os"
	"strconv"

	"tandem/data"
	"tandem/data/mnist"
	"tandem/fault"
	"tandem/graph"
	"tandem/model"
	"tandem/nn"
	"tandem/processor"
	"tandem/tensor"
	"tandem/train"
	"tandem/train/metric"
	"tandem/train/tune"
)

// builtIn is the data path that names the MNIST set.
const builtIn = "mnist"

// Columns of the datasets.
const (
	imageColumn = "image" // uint8 [n,h,w] or [n,h,w,c]
	labelColumn = "label" // int64 [n]
)

// Prepare makes the problem of classifying images.
func Prepare(ctx context.Context, spec train.Spec, ops *graph.Table) (*train.Problem, error) {
	m, err := section(&spec)
	if err != nil {
		return nil, err
	}
	trainSet, testSet, err := open(ctx, spec.Data)
	if err != nil {
		return nil, err
	}
	image, classes, err := describe(trainSet, testSet)
	if err != nil {
		return nil, err
	}
	// What describes the whole set does not change with the limit.
	trainSet, testSet = first(trainSet, spec.Data.LimitRows), first(testSet, spec.Data.LimitRows)
	p, err := network(m, image, classes, spec, ops)
	if err != nil {
		return nil, err
	}
	labels := make([]string, classes)
	for i := range labels {
		labels[i] = strconv.Itoa(i)
	}
	p.Loss, p.Metrics = nn.CrossEntropy, metric.Labels
	p.Target = graph.Type{DType: tensor.Int64, Shape: graph.Shape{graph.Sym("batch")}}
	p.Train, p.Test, p.Feed = trainSet, testSet, newFeed(image)
	p.Artifact = model.Artifact{Image: image, Labels: labels, Batch: true}
	return p, nil
}

// network is the part of the problem that is a graph: one of its own, or upon the model
// that spec starts from, whose way to see pixels image then takes over.
func network(m Model, image *processor.Image, classes int, spec train.Spec, ops *graph.Table) (*train.Problem, error) {
	if spec.From.Model == "" {
		b, err := build(m, image, classes, spec.Train.Seed, ops)
		if err != nil {
			return nil, err
		}
		return &train.Problem{Graph: b.G, Params: b.Params()}, nil
	}
	n, err := tune.Open(spec.From.Model, ops)
	if err != nil {
		return nil, err
	}
	if n.Image != nil {
		if n.Image.Height != image.Height || n.Image.Width != image.Width || n.Image.Channels != image.Channels {
			return nil, fault.New("vision.build", fault.Invalid, "%s takes images of %dx%d, the set has %dx%d", spec.From.Model, n.Image.Height, n.Image.Width, image.Height, image.Width)
		}
		*image = *n.Image
	}
	t, err := buildOn(n, m, image, classes, spec, ops)
	if err != nil {
		return nil, err
	}
	return &train.Problem{Graph: t.G, Params: t.Params(), Finish: func(g *graph.Graph) error { return t.Merge(g, ops) }}, nil
}

// open reads the built-in set or a folder of IDX files.
func open(ctx context.Context, d train.DataSpec) (trainSet, testSet *data.Dataset, err error) {
	if d.Path == builtIn {
		trainSet, testSet, _, err = mnist.Open(ctx, mnist.Options{})
	} else {
		if _, statErr := os.Stat(d.Path); statErr != nil {
			return nil, nil, fault.Wrap(statErr, "vision.open", fault.KindOf(statErr), "the data cannot be read").
				Try("give a folder of IDX files, or mnist for the built-in set")
		}
		trainSet, testSet, err = data.OpenIDX(os.DirFS(d.Path))
	}
	if err != nil {
		return nil, nil, err
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

// describe finds size, classes and the mean and deviation of the pixels, which the
// processor takes out.
func describe(trainSet, testSet *data.Dataset) (*processor.Image, int, error) {
	const op = "vision.describe"
	pixels, ok := trainSet.Column(imageColumn)
	if !ok || pixels.DType() != tensor.Uint8 || pixels.Rank() != 3 || pixels.Len() == 0 {
		return nil, 0, fault.New(op, fault.Invalid, "the set has no images of bytes with one channel")
	}
	test, _ := testSet.Column(imageColumn)
	if !test.Shape()[1:].Equal(pixels.Shape()[1:]) {
		return nil, 0, fault.New(op, fault.Invalid, "training images are %v, test images %v", pixels.Shape()[1:], test.Shape()[1:])
	}
	classes := max(trainSet.Classes(labelColumn), testSet.Classes(labelColumn))
	if classes < 2 {
		return nil, 0, fault.New(op, fault.Invalid, "the set has %d class, at least 2 are needed", classes)
	}
	mean, std := moments(tensor.Data[uint8](pixels))
	return &processor.Image{
		Height: pixels.Dim(1), Width: pixels.Dim(2), Channels: 1, Scale: 1.0 / 255,
		Mean: []float32{mean}, Std: []float32{std}, Resize: processor.ResizeStretch,
	}, classes, nil
}
