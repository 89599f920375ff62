package vision

import (
	"bytes"
	"fmt"

	"github.com/goccy/go-yaml"

	"tandem/fault"
	"tandem/nn"
)

// Model is the section model of a spec.
type Model struct {
	// Layers between the image and the last dense layer, which has one unit for
	// each class and is not listed.
	Layers []Layer `yaml:"layers"`
}

// Layer is one of its fields.
type Layer struct {
	Conv    *Conv    `yaml:"conv,omitempty"`
	MaxPool *int     `yaml:"max_pool,omitempty"`
	Dropout *float32 `yaml:"dropout,omitempty"`
	Flatten *bool    `yaml:"flatten,omitempty"`
	Dense   *Dense   `yaml:"dense,omitempty"`
}

// Conv is a convolution with square windows, followed by ReLU.
type Conv struct {
	Filters int  `yaml:"filters"`
	Kernel  int  `yaml:"kernel"`
	Stride  int  `yaml:"stride,omitempty"`
	Same    bool `yaml:"same,omitempty"`
}

// Dense is a linear layer followed by ReLU.
type Dense struct {
	Units int `yaml:"units"`
}

// defaultModel is a small convolutional network: 3x3x32, 3x3x64, pooling, dense
// 128, dropout.
func defaultModel() Model {
	pool, half, yes := 2, float32(0.5), true
	return Model{Layers: []Layer{
		{Conv: &Conv{Filters: 32, Kernel: 3}},
		{Conv: &Conv{Filters: 64, Kernel: 3}},
		{MaxPool: &pool},
		{Flatten: &yes},
		{Dense: &Dense{Units: 128}},
		{Dropout: &half},
	}}
}

// parseModel decodes the section strictly; without one it is the default.
func parseModel(section map[string]any) (Model, error) {
	const op = "vision.model"
	if len(section) == 0 {
		return defaultModel(), nil
	}
	text, err := yaml.Marshal(section)
	if err != nil {
		return Model{}, fault.From(err, op)
	}
	var m Model
	if err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(&m); err != nil {
		return Model{}, fault.Wrap(fmt.Errorf("%s", yaml.FormatError(err, false, true)), op, fault.Invalid, "the section model is not valid").
			Try("tandem train --family vision --explain shows its keys")
	}
	return m, nil
}

// network are the layers up to the scores of the classes.
func (m Model) network(classes int) (nn.Sequential, error) {
	var net nn.Sequential
	for i, l := range m.Layers {
		layers := l.layers()
		if len(layers) != 1 {
			return nil, fault.New("vision.model", fault.Invalid, "layer %d of model.layers has %d kinds, it must have exactly one", i+1, len(layers))
		}
		net = append(net, layers[0])
	}
	return append(net, nn.Dense{Units: classes}), nil
}

func (l Layer) layers() []nn.Layer {
	var list []nn.Layer
	if l.Conv != nil {
		list = append(list, nn.Conv2D{Filters: l.Conv.Filters, Kernel: l.Conv.Kernel, Stride: l.Conv.Stride, Same: l.Conv.Same, Activation: nn.ReLU})
	}
	if l.MaxPool != nil {
		list = append(list, nn.MaxPool2D{Size: *l.MaxPool})
	}
	if l.Dropout != nil {
		list = append(list, nn.Dropout{Ratio: *l.Dropout})
	}
	if l.Flatten != nil {
		list = append(list, nn.Flatten{})
	}
	if l.Dense != nil {
		list = append(list, nn.Dense{Units: l.Dense.Units, Activation: nn.ReLU})
	}
	return list
}

// Explain is the section model with its default layers, as YAML.
func Explain() string {
	text, err := yaml.Marshal(map[string]any{"model": defaultModel()})
	if err != nil {
		panic(err) // a constant of this package
	}
	return string(text)
}
