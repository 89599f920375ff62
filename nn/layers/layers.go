package layers

import (
	"reflect"
	"slices"

	"tandem/internal/setting"
	"tandem/nn"
)

// kind is a layer by name, with the fields that the name implies.
type kind struct {
	name string
	of   nn.Layer
}

// kinds is every layer that a spec can name.
func kinds() []kind {
	return []kind{
		{"activation", nn.ReLU},
		{"attention", nn.Attention{}},
		{"average_pool1d", nn.AveragePool1D{}}, {"average_pool2d", nn.AveragePool2D{}}, {"average_pool3d", nn.AveragePool3D{}},
		{"batch_norm", nn.BatchNorm{}},
		{"concat", nn.Concat{}},
		{"conv1d", nn.Conv1D{}}, {"conv2d", nn.Conv2D{}}, {"conv3d", nn.Conv3D{}},
		{"conv_transpose1d", nn.ConvTranspose1D{}}, {"conv_transpose2d", nn.ConvTranspose2D{}}, {"conv_transpose3d", nn.ConvTranspose3D{}},
		{"dense", nn.Dense{}},
		{"depthwise_conv1d", nn.DepthwiseConv1D{}}, {"depthwise_conv2d", nn.DepthwiseConv2D{}}, {"depthwise_conv3d", nn.DepthwiseConv3D{}},
		{"dropout", nn.Dropout{}},
		{"embedding", nn.Embedding{}},
		{"flatten", nn.Flatten{}},
		{"global_average_pool", nn.GlobalAveragePool{}}, {"global_max_pool", nn.GlobalMaxPool{}},
		{"group_norm", nn.GroupNorm{}},
		{"gru", nn.Recurrent{Cell: nn.GRU}}, {"lstm", nn.Recurrent{Cell: nn.LSTM}}, {"rnn", nn.Recurrent{Cell: nn.SimpleRNN}},
		{"layer_norm", nn.LayerNorm{}},
		{"max_pool1d", nn.MaxPool1D{}}, {"max_pool2d", nn.MaxPool2D{}}, {"max_pool3d", nn.MaxPool3D{}},
		{"permute", nn.Permute{}},
		{"positions", nn.Positions{}},
		{"reshape", nn.Reshape{}},
		{"residual", nn.Residual{}},
		{"resnet", nn.ResNet{}},
		{"rms_norm", nn.RMSNorm{}},
		{"separable_conv1d", nn.SeparableConv1D{}}, {"separable_conv2d", nn.SeparableConv2D{}},
		{"sequential", nn.Sequential{}},
		{"transformer", nn.Transformer{}},
	}
}

// Names are the names of all layers.
func Names() []string {
	var all []string
	for _, k := range kinds() {
		all = append(all, k.name)
	}
	return all
}

// List is a network: layers one after the other.
type List []nn.Layer

// Net is the list as a layer.
func (l List) Net() nn.Sequential { return nn.Sequential(l) }

// DecodeSetting reads the list.
func (l *List) DecodeSetting(n *setting.Node, path string) error {
	d := setting.Decoder{Types: map[reflect.Type]setting.Type{
		reflect.TypeFor[nn.Layer]():      decodeLayer,
		reflect.TypeFor[nn.Activation](): decodeActivation,
		reflect.TypeFor[nn.Init]():       decodeInit,
	}}
	var list []nn.Layer
	if err := d.Decode(n, path, &list); err != nil {
		return err
	}
	*l = list
	return nil
}

func decodeLayer(d setting.Decoder, n *setting.Node, path string) (any, error) {
	name, value, err := n.Choose(path, Names())
	if err != nil {
		return nil, err
	}
	zero := kinds()[slices.Index(Names(), name)].of
	layer := reflect.New(reflect.TypeOf(zero)).Elem()
	layer.Set(reflect.ValueOf(zero))
	into := layer
	switch {
	case value == nil:
		return zero, nil
	case layer.Kind() == reflect.Struct && layer.NumField() == 0:
		if value.Text() != "true" {
			return nil, value.Fail(path, "%s takes no settings", name)
		}
		return zero, nil
	case layer.Kind() == reflect.Struct && !value.IsMapping():
		into = layer.Field(first(layer.Type()))
	}
	if err := d.Decode(value, path+"."+name, into.Addr().Interface()); err != nil {
		return nil, err
	}
	return layer.Interface(), nil
}

// first is the field that a value alone sets. The cell of a recurrent layer is its
// name.
func first(t reflect.Type) int {
	if t == reflect.TypeFor[nn.Recurrent]() {
		return 1
	}
	return 0
}

func decodeActivation(_ setting.Decoder, n *setting.Node, path string) (any, error) {
	var names []string
	for _, a := range nn.Activations() {
		names = append(names, string(a))
	}
	if n.IsScalar() && n.Text() == "linear" {
		return nn.Linear, nil
	}
	name, _, err := n.Choose(path, names)
	return nn.Activation(name), err
}

// decodeInit reads a name, or a name with its number: {normal: 0.02}.
func decodeInit(d setting.Decoder, n *setting.Node, path string) (any, error) {
	name, value, err := n.Choose(path, nn.Inits())
	if err != nil {
		return nil, err
	}
	scaled := map[string]func(float64) nn.Init{"normal": nn.Normal, "uniform": nn.Uniform, "constant": nn.Constant}[name]
	switch {
	case scaled == nil && value == nil:
		return nn.Init(name), nil
	case scaled == nil:
		return nil, value.Fail(path, "%s takes no settings", name)
	case value == nil:
		return nil, n.Fail(path, "%s needs a number, such as {%s: 0.02}", name, name)
	}
	var scale float64
	err = d.Decode(value, path+"."+name, &scale)
	return scaled(scale), err
}

func encodeInit(i nn.Init) *setting.Node {
	name, scale := i.Split()
	if scale == "" {
		return setting.Named(name, nil)
	}
	return setting.Named(name, setting.Scalar(scale, setting.Source{}))
}

// EncodeSetting writes the list.
func (l List) EncodeSetting() *setting.Node {
	var items []*setting.Node
	for _, layer := range l {
		items = append(items, encodeLayer(layer))
	}
	return setting.ListOf(items)
}

func encodeLayer(l nn.Layer) *setting.Node {
	at := slices.IndexFunc(kinds(), func(k kind) bool {
		r, recurrent := l.(nn.Recurrent)
		return reflect.TypeOf(k.of) == reflect.TypeOf(l) && (!recurrent || k.of.(nn.Recurrent).Cell == r.Cell)
	})
	if at < 0 { // a layer written in Go
		return setting.Scalar(reflect.TypeOf(l).String(), setting.Source{})
	}
	inner := setting.NodeWith(l, func(v reflect.Value) *setting.Node {
		if i, ok := v.Interface().(nn.Init); ok {
			return encodeInit(i)
		}
		if v.Type() != reflect.TypeFor[nn.Layer]() || v.IsNil() {
			return nil
		}
		return encodeLayer(v.Interface().(nn.Layer))
	})
	return setting.Named(kinds()[at].name, inner)
}
