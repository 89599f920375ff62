package tabular

import (
	"tandem/data"
	"tandem/fault"
	"tandem/graph"
	"tandem/model"
	"tandem/nn"
	"tandem/processor"
	"tandem/tensor"
	"tandem/train"
	"tandem/train/tune"
)

// network is the graph, what training changes of it, and what is to be done to it in the
// end: one of its own, or upon the one that training starts from.
func network(spec train.Spec, m Model, start *tune.Network, rows *processor.Rows, t target, ops *graph.Table) (*nn.Builder, []*graph.Value, func(*graph.Graph) error, error) {
	if spec.Task == Classify && t.field.Classes < 2 {
		return nil, nil, nil, fault.New("tabular.prepare", fault.Invalid, "column %q has %d value, at least 2 are needed", m.Target, t.field.Classes).
			Try("choose another model.target")
	}
	if start != nil {
		tuned, err := tune.Begin(start, spec.From, nil, spec.Train.Seed, ops)
		if err != nil {
			return nil, nil, nil, err
		}
		t.answer(tuned.Builder, m.Layers.Net().Build(tuned.Builder, tuned.Features), spec.Task)
		return tuned.Builder, tuned.Params(), func(g *graph.Graph) error { return tuned.Merge(g, ops) }, tuned.Check()
	}
	b := nn.NewBuilder("tabular", ops, spec.Train.Seed)
	t.answer(b, m.Layers.Net().Build(b, inputs(b, rows)), spec.Task)
	if b.Err() != nil {
		return nil, nil, nil, fault.Wrap(b.Err(), "tabular.build", fault.Invalid, "the network cannot be built for rows of %d features", rows.Features())
	}
	return b, b.Params(), nil, nil
}

// inputs are the features of a row and the vectors that its codes stand for, [batch, n].
func inputs(b *nn.Builder, rows *processor.Rows) *graph.Value {
	var parts []*graph.Value
	if n := rows.Features(); n > 0 {
		parts = append(parts, b.Input(model.RowsOutput, tensor.Float32, graph.Sym("batch"), graph.Const(n)))
	}
	if n := rows.Codes(); n > 0 {
		codes, at := b.Input(model.RowsCodes, tensor.Int64, graph.Sym("batch"), graph.Const(n)), 0
		for i := range rows.Columns {
			c := &rows.Columns[i]
			if c.Vocabulary() == 0 {
				continue
			}
			parts = append(parts, vector(b, c, codes, at))
			at += c.Codes()
		}
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return b.Op("Concat", graph.Attrs{"axis": int64(1)}, parts...)
}

// vector is what a column's codes, from the one at on, stand for: a category's vector, or
// the mean of the vectors of a text's words.
func vector(b *nn.Builder, c *processor.RowColumn, codes *graph.Value, at int) *graph.Value {
	table := nn.Embedding{Count: c.Vocabulary(), Size: c.Embed, Init: nn.Normal(0.1)}
	pick := func(index *tensor.Tensor) *graph.Value {
		return b.Op("Gather", graph.Attrs{"axis": int64(1)}, codes, b.Const("place", index))
	}
	if c.Kind != data.Text {
		return table.Build(b, pick(tensor.Scalar(int64(at))))
	}
	places := tensor.New(tensor.Int64, c.Words)
	for i := range places.I64() {
		places.I64()[i] = int64(at + i)
	}
	ids := pick(places)
	axis := func(n int64) *graph.Value { return b.Ints("axis", n) }
	there := b.Op("Cast", graph.Attrs{"to": int64(tensor.Float32)}, b.Op("Greater", nil, ids, b.Const("none", tensor.Scalar(int64(0)))))
	words := b.Op("Mul", nil, table.Build(b, ids), b.Op("Unsqueeze", nil, there, axis(2)))
	sum := b.Op("ReduceSum", graph.Attrs{"keepdims": int64(0)}, words, axis(1))
	count := b.Op("Max", nil, b.Op("ReduceSum", graph.Attrs{"keepdims": int64(1)}, there, axis(1)), b.Scalar("one", 1))
	return b.Op("Div", nil, sum, count)
}

// answer adds what the task asks for to the end of a network.
func (t target) answer(b *nn.Builder, x *graph.Value, task string) {
	if task == Regress {
		b.Output(t.number(b, x))
		return
	}
	y := b.Op("Softmax", nil, nn.Dense{Units: t.field.Classes}.Build(b, x))
	y.Name = b.Name("probabilities")
	b.Output(y)
}
