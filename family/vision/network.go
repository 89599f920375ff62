package vision

import (
	"tandem/fault"
	"tandem/nn"
	"tandem/nn/layers"
	"tandem/processor"
	"tandem/train"
)

// Model is the section model of a spec.
type Model struct {
	Size    []int       `yaml:"size" help:"height and width that pictures are brought to, such as [64, 64]; empty: their own, if they share one of at most 64 pixels a side, else 64"`
	Colour  string      `yaml:"colour" one:"auto gray rgb" help:"what the network sees of pictures; auto: gray if every picture to train on is"`
	Resize  string      `yaml:"resize" one:"stretch crop" help:"how pictures are brought to the size: their sides are scaled each by itself, or the largest part of the right proportions is cut out of the middle first"`
	Augment Augment     `yaml:"augment"`
	Layers  layers.List `yaml:"layers" help:"layers between the image and the scores of the classes, which a dense layer of its own gives"`
}

// defaultModel is a small convolutional network: 3x3x32, 3x3x64, pooling, dense
// 128, dropout.
func defaultModel() Model {
	m := plainModel()
	m.Layers = layers.List{
		nn.Conv2D{Filters: 32, Kernel: 3, Activation: nn.ReLU},
		nn.Conv2D{Filters: 64, Kernel: 3, Activation: nn.ReLU},
		nn.MaxPool2D{Size: 2},
		nn.Flatten{},
		nn.Dense{Units: 128, Activation: nn.ReLU},
		nn.Dropout{Ratio: 0.5},
	}
	return m
}

// plainModel has no layers.
func plainModel() Model {
	return Model{Colour: "auto", Resize: string(processor.ResizeStretch)}
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
		def = plainModel()
	}
	m, err := train.ReadSection(s, def)
	if err == nil {
		err = m.check()
	}
	return m, err
}

func (m Model) check() error {
	bad := len(m.Size) > 2
	for _, n := range m.Size {
		bad = bad || n < 1
	}
	if bad {
		return fault.New("vision.section", fault.Invalid, "model.size is %v", m.Size).Try("give height and width in pixels, such as [64, 64]")
	}
	return nil
}

// size is the height and width that the spec says; 0 if it does not.
func (m Model) size() (height, width int) {
	if len(m.Size) == 0 {
		return 0, 0
	}
	return m.Size[0], m.Size[len(m.Size)-1]
}

// network are the layers up to the scores of the classes.
func (m Model) network(classes int) nn.Sequential {
	return append(append(nn.Sequential{}, m.Layers...), nn.Dense{Units: classes})
}
