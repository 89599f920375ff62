package tabular

import (
	"slices"

	"tandem/data"
	"tandem/graph"
	"tandem/model"
	"tandem/processor"
	"tandem/tensor"
)

// feeder fills batches by the processor that serving applies.
type feeder struct {
	rows            *processor.Rows
	names           [][]string // of a category's values, where their codes are not the processor's
	target          string
	features, codes int // which inputs of the network they are; -1: it has none
}

// newFeed makes the function that fills batches of a dataset.
func newFeed(rows *processor.Rows, set *data.Dataset, target string, inputs []*graph.Value) func(*data.Dataset, []*tensor.Tensor, *tensor.Tensor) error {
	f := &feeder{rows: rows, target: target, features: -1, codes: -1, names: make([][]string, len(rows.Columns))}
	for i, v := range inputs {
		switch v.Name {
		case model.RowsOutput:
			f.features = i
		case model.RowsCodes:
			f.codes = i
		}
	}
	for i, c := range rows.Columns {
		if field, _ := set.Field(c.Name); c.Kind == data.Category && !slices.Equal(field.Values, c.Values) {
			f.names[i] = field.Values
		}
	}
	return f.feed
}

func (f *feeder) feed(examples *data.Dataset, inputs []*tensor.Tensor, want *tensor.Tensor) error {
	columns := make([]*tensor.Tensor, len(f.rows.Columns))
	for i, c := range f.rows.Columns {
		columns[i], _ = examples.Column(c.Name)
		if f.names[i] != nil {
			columns[i] = texts(columns[i], f.names[i])
		}
	}
	var features, codes *tensor.Tensor
	if f.features >= 0 {
		features = inputs[f.features]
	}
	if f.codes >= 0 {
		codes = inputs[f.codes]
	}
	if err := f.rows.Encode(features, codes, columns); err != nil {
		return err
	}
	values, _ := examples.Column(f.target)
	if want.DType() == tensor.Int64 {
		return want.CopyFrom(values)
	}
	for i, v := range tensor.Data[float64](values) {
		want.F32()[i] = float32(v)
	}
	return nil
}

// texts are the names of codes; of one that is missing the empty one.
func texts(codes *tensor.Tensor, names []string) *tensor.Tensor {
	list := make([]string, codes.Len())
	for i, k := range codes.I64() {
		if k >= 0 {
			list[i] = names[k]
		}
	}
	return tensor.OfStrings(list, len(list))
}
