package train

import (
	"tandem/data"
	"tandem/fault"
	"tandem/graph"
	"tandem/internal/setting"
	"tandem/nn"
)

// LossSpec says what training makes small.
type LossSpec struct {
	Name      string             `yaml:"name" one:"auto cross_entropy mse mae huber quantile" help:"what training makes small; auto: cross_entropy of classes and tokens, mse of numbers"`
	Smoothing float32            `yaml:"smoothing" limit:"[0,1)" help:"of cross_entropy: share of the target that is spread over all classes"`
	Focus     float32            `yaml:"focus" limit:"[0,)" help:"of cross_entropy: an example counts (1-p)^focus times, p being the probability of its label; 0: once, and 2 is usual for the focal loss"`
	Weights   map[string]float32 `yaml:"weights" help:"of cross_entropy: weights of classes by their labels, such as {spam: 3}; of those not named: 1"`
	Balanced  bool               `yaml:"balanced" help:"of cross_entropy: a class weighs more the fewer examples it has in the training set, so that all have the same share"`
	Delta     float32            `yaml:"delta" limit:"(0,)" help:"of huber: errors above it count by their size, not by its square; in standard deviations of the target"`
	Quantile  float32            `yaml:"quantile" limit:"(0,1)" help:"of quantile: the part of the examples whose target is to lie below the answer"`
}

// Names of losses.
const (
	lossAuto         = "auto"
	lossCrossEntropy = "cross_entropy"
	lossMSE          = "mse"
	lossMAE          = "mae"
	lossHuber        = "huber"
	lossQuantile     = "quantile"
)

func (l *LossSpec) setDefaults() {
	setDefault(&l.Name, lossAuto)
	setDefault(&l.Delta, 1)
	setDefault(&l.Quantile, 0.5)
}

// LossFunc adds a loss and the count of correct rows, as Problem.Loss has it.
type LossFunc = func(b *graph.Builder, output, target *graph.Value) (loss, correct *graph.Value)

// ForTokens is the loss of the probabilities of tokens.
func (l LossSpec) ForTokens() (LossFunc, error) {
	if len(l.Weights) > 0 || l.Balanced {
		return nil, fault.New("train.loss", fault.Invalid, "train.loss.weights and balanced are for classes, tokens have none").Try("leave them out")
	}
	return l.forClasses(nil)
}

// ForClasses is the loss of the probabilities of classes: labels by their index, which
// column of the training set holds. weights are those of the classes in the mean over a
// batch, as Problem.Weights has them.
func (l LossSpec) ForClasses(labels []string, set *data.Dataset, column string) (of LossFunc, weights []float32, err error) {
	if len(l.Weights) > 0 || l.Balanced {
		if weights, err = l.weights(labels, set, column); err != nil {
			return nil, nil, err
		}
	}
	of, err = l.forClasses(weights)
	return of, weights, err
}

// weights are those of the classes.
func (l LossSpec) weights(labels []string, set *data.Dataset, column string) ([]float32, error) {
	weights := make([]float32, len(labels))
	for i := range weights {
		weights[i] = 1
	}
	if l.Balanced {
		if err := balance(weights, set, column); err != nil {
			return nil, err
		}
	}
	known := map[string]int{}
	for i, name := range labels {
		known[name] = i
	}
	for name, w := range l.Weights {
		i, ok := known[name]
		if !ok {
			return nil, fault.New("train.loss", fault.Invalid, "train.loss.weights names %q, which is no class of the data", name).Try(setting.Suggest(name, labels))
		}
		if !(w > 0) {
			return nil, fault.New("train.loss", fault.Invalid, "train.loss.weights of %q is %v, it must be above 0", name, w).
				Try("take a class out of the data that is not to count")
		}
		weights[i] *= w
	}
	return weights, nil
}

func (l LossSpec) forClasses(weights []float32) (LossFunc, error) {
	if l.Name != lossAuto && l.Name != lossCrossEntropy {
		return nil, fault.New("train.loss", fault.Invalid, "train.loss.name is %s, which is for numbers", l.Name).Try("use cross_entropy")
	}
	return nn.ClassLoss{Smoothing: l.Smoothing, Focus: l.Focus, Weights: weights}.OfSoftmax, nil
}

// balance multiplies the weight of each class with examples / (classes · its examples).
func balance(weights []float32, set *data.Dataset, column string) error {
	counts := make([]int, len(weights))
	err := set.Scan(func(part *data.Dataset) error {
		labels, _ := part.Column(column)
		for _, class := range labels.I64() {
			counts[class]++
		}
		return nil
	})
	for i, n := range counts {
		if n > 0 { // the weight of one that is not there does not matter
			weights[i] *= float32(float64(set.Len()) / float64(n*len(weights)))
		}
	}
	return fault.From(err, "train.loss")
}

// ForNumbers is the loss of numbers and targets in standard deviations.
func (l LossSpec) ForNumbers() (func(b *graph.Builder, output, target *graph.Value) *graph.Value, error) {
	if l.Smoothing > 0 || l.Focus > 0 || len(l.Weights) > 0 || l.Balanced {
		return nil, fault.New("train.loss", fault.Invalid, "train.loss.smoothing, focus, weights and balanced are for classes, the target is a number").Try("leave them out")
	}
	switch l.Name {
	case lossAuto, lossMSE:
		return nn.MSE, nil
	case lossMAE:
		return nn.MAE, nil
	case lossHuber:
		return func(b *graph.Builder, x, y *graph.Value) *graph.Value { return nn.Huber(b, x, y, l.Delta) }, nil
	case lossQuantile:
		return func(b *graph.Builder, x, y *graph.Value) *graph.Value { return nn.Quantile(b, x, y, l.Quantile) }, nil
	}
	return nil, fault.New("train.loss", fault.Invalid, "train.loss.name is %s, which is for classes", l.Name).Try("use one of: mse, mae, huber, quantile")
}
