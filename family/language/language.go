package language

import (
	"context"

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

// Generate is the family's task: to go on with a text.
const Generate = "generate"

// Model is the section model of a spec.
type Model struct {
	Embedding int         `yaml:"embedding" limit:"[1,65536]" help:"length of the vector that a token becomes"`
	Layers    layers.List `yaml:"layers" help:"layers between the vectors of the tokens and the scores of the next token, which a dense layer of its own gives; what follows a step must not reach it"`
}

func defaultModel() Model {
	return Model{Embedding: 128, Layers: layers.List{nn.Recurrent{Cell: nn.LSTM, Units: 256}}}
}

// Complete fills in the section model.
func Complete(s *train.Spec) error {
	_, err := section(s)
	return err
}

// section is the section model: the default network, or no layers upon one that is there
// already.
func section(s *train.Spec) (Model, error) {
	def := defaultModel()
	if s.From.Model != "" {
		def.Layers = nil
	}
	return train.ReadSection(s, def)
}

// Prepare makes the problem of telling the next token.
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
	}
	trainSet, testSet, err := open(ctx, spec, start)
	if err != nil {
		return nil, err
	}
	p, err := prepare(ctx, spec, m, start, trainSet, ops)
	if err != nil {
		_ = trainSet.Close() // the error that stopped it counts
		return nil, err
	}
	p.Train, p.Test = trainSet, testSet
	return p, nil
}

// open reads the stream in windows of as many tokens as the network to start from takes.
func open(ctx context.Context, spec train.Spec, start *tune.Network) (trainSet, testSet *data.Dataset, err error) {
	d := spec.Data
	if d.Format == "auto" {
		d.Format = data.FormatTokens
	}
	if start != nil {
		steps, err := stepsOf(start, spec.From.Model)
		if err != nil {
			return nil, nil, err
		}
		if d.Window != 0 && d.Window != steps {
			return nil, nil, fault.New("language.open", fault.Invalid, "data.window is %d, %s takes %d tokens", d.Window, spec.From.Model, steps).
				Try("leave out data.window")
		}
		d.Window = steps
	}
	trainSet, testSet, err = d.Open(ctx, spec.Train.Seed)
	if err == nil {
		if _, ok := trainSet.Field(data.TokensColumn); !ok {
			_ = trainSet.Close() // it was only read
			err = fault.New("language.open", fault.Invalid, "the data is no stream of tokens").
				Try("give a text, or a file of tokens: .u16 or .u32")
		}
	}
	return trainSet, testSet, err
}

// stepsOf is how many tokens a network takes.
func stepsOf(n *tune.Network, name string) (int, error) {
	if in := n.Graph.Inputs; len(in) == 1 && in[0].Type.DType == tensor.Int64 && len(in[0].Type.Shape) == 2 {
		if steps, ok := in[0].Type.Shape[1].Value(); ok {
			return steps, nil
		}
	}
	return 0, fault.New("language.open", fault.Unsupported, "%s does not take a known number of tokens, and nothing else", name).
		Try("start from a run of family language")
}

func prepare(ctx context.Context, spec train.Spec, m Model, start *tune.Network, set *data.Dataset, ops *graph.Table) (*train.Problem, error) {
	tokens, _ := set.Field(data.TokensColumn)
	steps, count := tokens.Shape[0]-1, tokens.Classes
	bytes := data.TokenBytes(spec.Data.Path) == 1
	if bytes {
		count = processor.ByteTokens // so that it can be asked to go on with any text
	}
	if start != nil && bytes != (start.Text != nil) {
		return nil, fault.New("language.prepare", fault.Invalid, "the tokens of %s are not those of %s", spec.Data.Path, spec.From.Model).
			Try("give a text to a model of texts, and a token file to a model of its tokens")
	}
	p, err := network(spec, m, start, steps, count, ops)
	if err != nil {
		return nil, err
	}
	if err := checkCausal(ctx, p.Graph, steps, count, ops); err != nil {
		return nil, err
	}
	if p.Loss, err = spec.Train.Loss.ForTokens(); err != nil {
		return nil, err
	}
	p.TestLoss, p.Metrics = nn.CrossEntropy, metric.Tokens // perplexity follows from it
	p.Target = graph.Type{DType: tensor.Int64, Shape: graph.Shape{graph.Sym("batch"), graph.Const(steps)}}
	p.Feed = feed
	p.Artifact = model.Artifact{Batch: true}
	if bytes {
		p.Artifact.Text = &processor.Bytes{Steps: steps}
	}
	return p, nil
}

// feed parts windows into what is seen and what is to be told.
func feed(examples *data.Dataset, inputs []*tensor.Tensor, target *tensor.Tensor) error {
	tokens, _ := examples.Column(data.TokensColumn)
	steps := tokens.Dim(1) - 1
	for i := range examples.Len() {
		window := tokens.Rows(i, i+1).I64()
		copy(inputs[0].Rows(i, i+1).I64(), window[:steps])
		copy(target.Rows(i, i+1).I64(), window[1:])
	}
	return nil
}
