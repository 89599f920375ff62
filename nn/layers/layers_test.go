package layers_test

import (
	"fmt"
	"strings"
	"testing"

	"tandem/fault"
	"tandem/graph"
	"tandem/graph/op"
	"tandem/internal/setting"
	"tandem/nn"
	"tandem/nn/layers"
	"tandem/tensor"
)

type model struct {
	Layers layers.List `yaml:"layers"`
}

func read(text string) (model, error) {
	var m model
	n, err := setting.Parse("net.yaml", []byte(text))
	if err == nil {
		err = n.Decode("", &m)
	}
	return m, err
}

// TestNetIsReadAndWritten: every way to write a layer; the network is that in Go, and
// what is written is read as the same.
func TestNetIsReadAndWritten(t *testing.T) {
	m, err := read(`
layers:
  - embedding: {count: 50, size: 8}
  - lstm: {units: 12, layers: 2, bidirectional: true, dropout: 0.1}
  - gru: {units: 10, init: glorot_uniform, recurrence: orthogonal}
  - layer_norm
  - attention: {heads: 2, causal: true}
  - residual:
      layers: [{dense: {units: 10, activation: gelu}}, {dropout: 0.5}]
      activation: relu
  - concat: {layers: [dense: 3, dense: {units: 4, no_bias: true}], axis: -1}
  - sequential: [dense: 8, {layer_norm: {epsilon: 1e-3}}]
  - activation: tanh
  - permute: [2, 1]
  - reshape: {shape: [4, -1]}
  - rnn: {units: 6, last: true}
  - dense: {units: 5, init: {normal: 0.02}}
`)
	if err != nil {
		t.Fatal(err)
	}
	want := layers.List{
		nn.Embedding{Count: 50, Size: 8},
		nn.Recurrent{Cell: nn.LSTM, Units: 12, Layers: 2, Bidirectional: true, Dropout: 0.1},
		nn.Recurrent{Cell: nn.GRU, Units: 10, Init: nn.GlorotUniform, Recurrence: nn.Orthogonal},
		nn.LayerNorm{},
		nn.Attention{Heads: 2, Causal: true},
		nn.Residual{Layers: nn.Sequential{nn.Dense{Units: 10, Activation: nn.GELU}, nn.Dropout{Ratio: 0.5}}, Activation: nn.ReLU},
		nn.Concat{Layers: []nn.Layer{nn.Dense{Units: 3}, nn.Dense{Units: 4, NoBias: true}}, Axis: -1},
		nn.Sequential{nn.Dense{Units: 8}, nn.LayerNorm{Epsilon: 1e-3}},
		nn.Tanh,
		nn.Permute{Axes: []int{2, 1}},
		nn.Reshape{Shape: []int{4, -1}},
		nn.Recurrent{Cell: nn.SimpleRNN, Units: 6, Last: true},
		nn.Dense{Units: 5, Init: nn.Normal(0.02)},
	}
	text := string(setting.Encode(m))
	if goText := string(setting.Encode(model{want})); text != goText {
		t.Errorf("read\n%s\nwant\n%s", text, goText)
	}
	again, err := read(text)
	if err != nil || string(setting.Encode(again)) != text {
		t.Errorf("%v\n%s", err, text)
	}
	b := nn.NewBuilder("net", op.Default(), 1)
	y := m.Layers.Net().Build(b, b.Input("x", tensor.Int64, graph.Sym("batch"), graph.Const(7)))
	if b.Err() != nil || fmt.Sprint(y.Type.Shape) != "[batch, 5]" {
		t.Errorf("%v, %v", y.Type, b.Err())
	}
}

// TestEveryLayerHasAName: building each by its name alone either works or says
// what is missing; none is unknown.
func TestEveryLayerHasAName(t *testing.T) {
	for _, name := range layers.Names() {
		m, err := read("layers: [" + name + "]")
		if err != nil || len(m.Layers) != 1 {
			t.Errorf("%s: %v", name, err)
			continue
		}
		text := string(setting.Encode(m))
		if want := "layers: [" + name + "]\n"; text != want && name != "activation" {
			t.Errorf("%q, want %q", text, want)
		}
	}
}

func TestBadNets(t *testing.T) {
	for _, tc := range []struct{ text, want, try string }{
		{"layers:\n  - cnov2d: 3", `net.yaml:2, layers[1]: there is no "cnov2d"`, "did you mean conv2d?"},
		{"layers:\n  - dense: 3\n  - dense: {unit: 4}", "net.yaml:3, layers[2].dense.unit: there is no such key", "did you mean units?"},
		{"layers: [dense: {units: 3, activation: rleu}]", `layers[1].dense.activation: there is no "rleu"`, "did you mean relu?"},
		{"layers: [dense: {cell: LSTM}]", "layers[1].dense.cell: there is no such key", "use one of: units"},
		{"layers: [{dense: 3, relu: 4}]", "it must be one name with its settings", ""},
		{"layers: [flatten: 3]", "flatten takes no settings", ""},
		{"layers: dense", "it must be a list", ""},
		{"layers: [dense: many]", `layers[1].dense: "many" is not a whole number`, ""},
		{"layers: [separable_conv2d: {filters: 3, kernal: 2}]", "layers[1].separable_conv2d.kernal: there is no such key", "did you mean kernel?"},
		{"layers: [sequential: [dense: 3, tahn]]", `layers[1].sequential[2]: there is no "tahn"`, ""},
		{"layers: [dense: {units: 3, init: he_norml}]", `layers[1].dense.init: there is no "he_norml"`, "did you mean he_normal?"},
		{"layers: [dense: {units: 3, init: normal}]", "layers[1].dense.init: normal needs a number, such as {normal: 0.02}", ""},
		{"layers: [dense: {units: 3, init: {zeros: 1}}]", "zeros takes no settings", ""},
		{"layers: [dense: {units: 3, init: {normal: big}}]", `layers[1].dense.init.normal: "big" is not a number`, ""},
		{"layers: [sequential: 3]", "it must be a list", ""},
		{"layers: [residual: {layers: [densee: 3]}]", `layers[1].residual.layers[1]: there is no "densee"`, "did you mean dense?"},
	} {
		_, err := read(tc.text)
		if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(fault.RemedyOf(err), tc.try) {
			t.Errorf("%q: %v, want %q, try %q", tc.text, err, tc.want, tc.try)
		}
	}
}
