package tabular

import (
	"context"
	"maps"
	"slices"

	"tandem/data"
	"tandem/fault"
	"tandem/graph"
	"tandem/model"
	"tandem/nn"
	"tandem/nn/layers"
	"tandem/processor"
	"tandem/tensor"
	"tandem/train"
	"tandem/train/metric"
)

// Tasks of the family.
const (
	Classify = "classify"
	Regress  = "regress"
)

// Model is the section model of a spec.
type Model struct {
	Target string      `yaml:"target" help:"the column to predict"`
	Ignore []string    `yaml:"ignore" help:"columns that the network does not see"`
	Layers layers.List `yaml:"layers" help:"layers between the features of a row and the answer, which a dense layer of its own gives"`
}

func defaultModel() Model {
	return Model{Layers: layers.List{
		nn.Dense{Units: 128, Activation: nn.ReLU},
		nn.Dropout{Ratio: 0.1},
		nn.Dense{Units: 64, Activation: nn.ReLU},
	}}
}

// Complete fills in the section model.
func Complete(s *train.Spec) error {
	_, err := train.ReadSection(s, defaultModel())
	return err
}

// Prepare makes the problem of predicting a column from the others.
func Prepare(ctx context.Context, spec train.Spec, ops *graph.Table) (*train.Problem, error) {
	m, err := train.ReadSection(&spec, defaultModel())
	if err != nil {
		return nil, err
	}
	if m.Target == "" {
		return nil, fault.New("tabular.prepare", fault.Invalid, "model.target is missing").Try("name the column to predict: --set model.target=NAME")
	}
	trainSet, testSet, err := open(ctx, spec, m)
	if err != nil {
		return nil, err
	}
	p, err := prepare(spec, m, trainSet, testSet, ops)
	if err != nil {
		_ = trainSet.Close() // the error that stopped it counts
	}
	return p, err
}

// open reads the data, with the target of the kind that the task takes.
func open(ctx context.Context, spec train.Spec, m Model) (trainSet, testSet *data.Dataset, err error) {
	d := spec.Data
	kind := data.Category
	if spec.Task == Regress {
		kind = data.Float
	}
	if said, ok := d.Columns[m.Target]; ok && said != kind {
		return nil, nil, fault.New("tabular.open", fault.Invalid, "the target %q is to be of the kind %s, task %s takes a %s", m.Target, string(said), spec.Task, string(kind)).
			Try("leave it out of data.columns, or set another task")
	}
	d.Columns = maps.Clone(d.Columns)
	if d.Columns == nil {
		d.Columns = map[string]data.Kind{}
	}
	d.Columns[m.Target] = kind
	return d.Open(ctx, spec.Train.Seed)
}

func prepare(spec train.Spec, m Model, trainSet, testSet *data.Dataset, ops *graph.Table) (*train.Problem, error) {
	rows, target, err := describe(m, trainSet, testSet)
	if err != nil {
		return nil, err
	}
	p := &train.Problem{
		Train: trainSet, Test: testSet, Feed: newFeed(rows, m.Target),
		Artifact: model.Artifact{Rows: rows, Labels: target.field.Values, Batch: true},
	}
	b := nn.NewBuilder("tabular", ops, spec.Train.Seed)
	x := append(nn.Sequential{}, m.Layers...).Build(b, b.Input(model.RowsOutput, tensor.Float32, graph.Sym("batch"), graph.Const(rows.Features())))
	if spec.Task == Regress {
		b.Output(target.number(b, x))
		p.Loss, p.Metrics = target.loss, metric.Numbers
		p.Target = graph.Type{DType: tensor.Float32, Shape: graph.Shape{graph.Sym("batch"), graph.Const(1)}}
	} else {
		if target.field.Classes < 2 {
			return nil, fault.New("tabular.prepare", fault.Invalid, "column %q has %d value, at least 2 are needed", m.Target, target.field.Classes).
				Try("choose another model.target")
		}
		probabilities := b.Op("Softmax", nil, nn.Dense{Units: target.field.Classes}.Build(b, x))
		probabilities.Name = "probabilities"
		b.Output(probabilities)
		p.Loss, p.Metrics = nn.CrossEntropy, metric.Labels
		p.Target = graph.Type{DType: tensor.Int64, Shape: graph.Shape{graph.Sym("batch")}}
	}
	if b.Err() != nil {
		return nil, fault.Wrap(b.Err(), "tabular.build", fault.Invalid, "the network cannot be built for rows of %d features", rows.Features())
	}
	p.Graph, p.Params = b.G, b.Params()
	return p, nil
}

// number is the network's answer in the target's own unit.
func (t target) number(b *nn.Builder, x *graph.Value) *graph.Value {
	y := nn.Dense{Units: 1}.Build(b, x)
	y = b.Op("Mul", nil, y, b.Const("deviation", tensor.Scalar(float32(t.std))))
	y = b.Op("Add", nil, y, b.Const("mean", tensor.Scalar(float32(t.mean))))
	y.Name = "value"
	return y
}

// loss is the mean squared error in units of the target's deviation.
func (t target) loss(b *graph.Builder, output, want *graph.Value) (loss, correct *graph.Value) {
	unit := b.Const("unit", tensor.Scalar(float32(1/t.std)))
	return nn.MSE(b, b.Op("Mul", nil, output, unit), b.Op("Mul", nil, want, unit)), nil
}

// newFeed makes the function that fills batches by the processor that serving
// applies.
func newFeed(rows *processor.Rows, targetName string) func(*data.Dataset, []*tensor.Tensor, *tensor.Tensor) error {
	names := make([]string, len(rows.Columns))
	for i, c := range rows.Columns {
		names[i] = c.Name
	}
	return func(examples *data.Dataset, inputs []*tensor.Tensor, want *tensor.Tensor) error {
		columns := make([]*tensor.Tensor, len(names))
		for i, name := range names {
			columns[i], _ = examples.Column(name)
		}
		if err := rows.Encode(inputs[0], columns); err != nil {
			return err
		}
		values, _ := examples.Column(targetName)
		if want.DType() == tensor.Int64 {
			return want.CopyFrom(values)
		}
		for i, v := range tensor.Data[float64](values) {
			want.F32()[i] = float32(v)
		}
		return nil
	}
}

// seen reports whether the network sees a column.
func (m Model) seen(name string) bool { return name != m.Target && !slices.Contains(m.Ignore, name) }
