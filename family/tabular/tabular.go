package tabular

import (
	"context"
	"maps"
	"path/filepath"
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
	"tandem/train/tune"
)

// Tasks of the family.
const (
	Classify = "classify"
	Regress  = "regress"
)

// Model is the section model of a spec.
type Model struct {
	Target     string      `yaml:"target" help:"the column to predict"`
	Ignore     []string    `yaml:"ignore" help:"columns that the network does not see"`
	EmbedAbove int         `yaml:"embed_above" limit:"[0,)" help:"categories of more values than this become a learned vector instead of a number for each value; 0: none"`
	EmbedSize  int         `yaml:"embed_size" limit:"[1,4096]" help:"length of that vector"`
	Text       Text        `yaml:"text"`
	Layers     layers.List `yaml:"layers" help:"layers between the features of a row and the answer, which a dense layer of its own gives"`
}

// Text says how columns of text are seen.
type Text struct {
	Words   int `yaml:"words" limit:"[1,65536]" help:"words of a text that count, from its beginning"`
	Buckets int `yaml:"buckets" limit:"[1,1048576]" help:"kinds of words that are told apart: each is hashed to one of so many"`
	Size    int `yaml:"size" limit:"[1,4096]" help:"length of the learned vector of a word, whose mean stands for the text"`
}

func defaultModel() Model {
	m := plainModel()
	m.Layers = layers.List{
		nn.Dense{Units: 128, Activation: nn.ReLU},
		nn.Dropout{Ratio: 0.1},
		nn.Dense{Units: 64, Activation: nn.ReLU},
	}
	return m
}

// plainModel has no layers.
func plainModel() Model {
	return Model{EmbedAbove: 32, EmbedSize: 16, Text: Text{Words: 64, Buckets: 4096, Size: 32}}
}

// Complete fills in the section model.
func Complete(s *train.Spec) error {
	_, err := section(s)
	return err
}

// section is the section model: the default network, or no layers upon one that is there
// already.
func section(s *train.Spec) (Model, error) {
	if s.From.Model != "" {
		return train.ReadSection(s, plainModel())
	}
	return train.ReadSection(s, defaultModel())
}

// Prepare makes the problem of predicting a column from the others.
func Prepare(ctx context.Context, spec train.Spec, ops *graph.Table) (*train.Problem, error) {
	m, err := section(&spec)
	if err != nil {
		return nil, err
	}
	if m.Target == "" {
		return nil, fault.New("tabular.prepare", fault.Invalid, "model.target is missing").Try("name the column to predict: --set model.target=NAME")
	}
	var start *tune.Network
	if spec.From.Model != "" {
		if start, err = tune.Open(spec.From.Model, ops); err != nil {
			return nil, err
		}
		if start.Rows == nil {
			return nil, fault.New("tabular.prepare", fault.Unsupported, "%s does not say which columns it takes", spec.From.Model).
				Try("start from a run of family tabular")
		}
	}
	trainSet, testSet, err := open(ctx, spec, m, start)
	if err != nil {
		return nil, err
	}
	p, err := prepare(spec, m, start, trainSet, testSet, ops)
	if err != nil {
		_ = trainSet.Close() // the error that stopped it counts
	}
	return p, err
}

// open reads the data, with the target of the kind that the task takes, and the columns of
// those that the network to start from does.
func open(ctx context.Context, spec train.Spec, m Model, start *tune.Network) (trainSet, testSet *data.Dataset, err error) {
	d := spec.Data
	kind := data.Category
	if spec.Task == Regress {
		kind = data.Float
	} else {
		d.Labels = m.Target
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
	if start != nil {
		for _, c := range start.Rows.Columns {
			if c.Name == m.Target {
				return nil, nil, fault.New("tabular.open", fault.Invalid, "%s takes the target %q itself", spec.From.Model, m.Target).
					Try("choose another model.target, or train without from.model")
			}
			if said, ok := d.Columns[c.Name]; ok && said != c.Kind {
				return nil, nil, fault.New("tabular.open", fault.Invalid, "column %q is of the kind %s, %s takes it as %s", c.Name, string(said), spec.From.Model, string(c.Kind)).
					Try("leave it out of data.columns")
			}
			d.Columns[c.Name] = c.Kind
		}
		if start.Rows.Missing != nil && slices.Equal(d.Missing, data.DefaultMissing()) {
			d.Missing = start.Rows.Missing // as it was trained, unless the spec says otherwise
		}
	}
	trainSet, testSet, err = d.Open(ctx, spec.Train.Seed)
	if err == nil && trainSet.Fields()[0].Kind == data.Tensor {
		_ = trainSet.Close() // nothing was written to it
		return nil, nil, fault.New("tabular.open", fault.Invalid, "%s is no table", filepath.Base(d.Path)).
			Try("give CSV, JSON lines or Parquet, with data.format if its name says something else; pictures are for family vision, texts for language")
	}
	return trainSet, testSet, err
}

func prepare(spec train.Spec, m Model, start *tune.Network, trainSet, testSet *data.Dataset, ops *graph.Table) (*train.Problem, error) {
	rows, target, err := describe(m, trainSet, testSet, start != nil)
	if err != nil {
		return nil, err
	}
	if start != nil {
		rows = &processor.Rows{Columns: start.Rows.Columns} // how it sees them
	}
	rows.Missing = trainSet.Missing()
	if err := rows.Validate(); err != nil {
		return nil, err
	}
	b, params, finish, err := network(spec, m, start, rows, target, ops)
	if err != nil {
		return nil, err
	}
	p := &train.Problem{
		Graph: b.G, Params: params, Finish: finish, Train: trainSet, Test: testSet,
		Artifact: model.Artifact{Rows: rows, Labels: target.field.Values, Batch: true},
	}
	if spec.Task == Regress {
		if p.Loss, err = target.loss(spec.Train.Loss); err != nil {
			return nil, err
		}
		p.Metrics = metric.Numbers
		p.Target = graph.Type{DType: tensor.Float32, Shape: graph.Shape{graph.Sym("batch"), graph.Const(1)}}
	} else {
		if p.Loss, p.Weights, err = spec.Train.Loss.ForClasses(target.field.Values, trainSet, m.Target); err != nil {
			return nil, err
		}
		p.Metrics = metric.Labels
		p.Target = graph.Type{DType: tensor.Int64, Shape: graph.Shape{graph.Sym("batch")}}
	}
	p.Feed = newFeed(rows, trainSet, m.Target, b.G.Inputs)
	return p, nil
}

// number is the network's answer in the target's own unit.
func (t target) number(b *nn.Builder, x *graph.Value) *graph.Value {
	y := nn.Dense{Units: 1}.Build(b, x)
	y = b.Op("Mul", nil, y, b.Scalar("deviation", float32(t.std)))
	y = b.Op("Add", nil, y, b.Scalar("mean", float32(t.mean)))
	y.Name = b.Name("value")
	return y
}

// loss is the one that the spec names, in units of the target's deviation.
func (t target) loss(l train.LossSpec) (train.LossFunc, error) {
	of, err := l.ForNumbers()
	return func(b *graph.Builder, output, want *graph.Value) (loss, correct *graph.Value) {
		unit := b.Scalar("unit", float32(1/t.std))
		return of(b, b.Op("Mul", nil, output, unit), b.Op("Mul", nil, want, unit)), nil
	}, err
}

// seen reports whether the network sees a column.
func (m Model) seen(name string) bool { return name != m.Target && !slices.Contains(m.Ignore, name) }
