package vision

import (
	"tandem/nn"
	"tandem/nn/layers"
	"tandem/train"
)

// Model is the section model of a spec.
type Model struct {
	Layers layers.List `yaml:"layers" help:"layers between the image and the scores of the classes, which a dense layer of its own gives"`
}

// defaultModel is a small convolutional network: 3x3x32, 3x3x64, pooling, dense
// 128, dropout.
func defaultModel() Model {
	return Model{Layers: layers.List{
		nn.Conv2D{Filters: 32, Kernel: 3, Activation: nn.ReLU},
		nn.Conv2D{Filters: 64, Kernel: 3, Activation: nn.ReLU},
		nn.MaxPool2D{Size: 2},
		nn.Flatten{},
		nn.Dense{Units: 128, Activation: nn.ReLU},
		nn.Dropout{Ratio: 0.5},
	}}
}

// Complete fills in the section model.
func Complete(s *train.Spec) error {
	_, err := section(s)
	return err
}

// section is the section model: the default network, or no layers upon one that is
// there already.
func section(s *train.Spec) (Model, error) {
	def := defaultModel()
	if s.From.Model != "" {
		def = Model{}
	}
	return train.ReadSection(s, def)
}

// network are the layers up to the scores of the classes.
func (m Model) network(classes int) nn.Sequential {
	return append(append(nn.Sequential{}, m.Layers...), nn.Dense{Units: classes})
}
