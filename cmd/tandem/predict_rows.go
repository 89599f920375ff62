package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"tandem/fault"
	"tandem/internal/client"
	"tandem/model"
	"tandem/processor"
	"tandem/tensor"
)

// predictRows is how many rows are sent at once.
const predictRows = 1000

// isRequest reports whether an input is a request of the Open Inference Protocol.
func isRequest(input []byte) bool {
	var request struct {
		Inputs json.RawMessage `json:"inputs"`
	}
	if !isJSON(input) {
		return false
	}
	if err := json.NewDecoder(bytes.NewReader(input)).Decode(&request); err != nil {
		return bytes.Contains(input, []byte(`"inputs"`)) // the server says what is wrong with it
	}
	return request.Inputs != nil
}

// isJSON tells whether an input begins as a JSON object does: no picture does.
func isJSON(input []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(input, " \t\r\n"), []byte("{"))
}

// rowAnswer is what a model says of a row.
type rowAnswer struct {
	Input       string   `json:"input,omitempty"` // if there are several
	Row         int      `json:"row"`
	Label       string   `json:"label,omitempty"`
	Probability *float64 `json:"probability,omitempty"`
	Value       *float64 `json:"value,omitempty"`
}

// rows reads rows of columns, runs and prints an answer for each.
func (c *predictCmd) rows(ctx context.Context, a *app, t target, m *model.Intake, inputs [][]byte) error {
	var table [][]string
	out, titles := newRecords(a.out, c.written), rowTitles(m, len(inputs) > 1)
	if c.inTable() {
		out.put(titles...)
	}
	put := func(answer rowAnswer) error {
		switch {
		case a.json:
			return a.emit(answer)
		case c.inTable():
			out.put(answer.cells(exact)...)
		default:
			table = append(table, answer.cells(shown))
		}
		return out.err
	}
	for i, data := range inputs {
		input := ""
		if len(inputs) > 1 {
			input = c.Input[i]
		}
		err := eachRow(ctx, t, m, c.Input[i], data, func(answer rowAnswer) error {
			answer.Input = input
			return put(answer)
		})
		if err != nil {
			return err
		}
	}
	if a.json || c.inTable() {
		return out.err
	}
	for i, title := range titles {
		titles[i] = strings.ToUpper(title)
	}
	return a.table(titles, table)
}

// eachRow runs the model on the rows of a file.
func eachRow(ctx context.Context, t target, m *model.Intake, name string, content []byte, visit func(rowAnswer) error) (err error) {
	r, err := processor.OpenRows(name, content, m.Rows)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for row := 1; ; {
		columns, err := processor.ReadRows(r, m.Rows, predictRows)
		if err != nil {
			return err
		}
		if columns[0].Len() == 0 {
			return nil
		}
		answers, err := askRows(ctx, t, m, columns)
		if err != nil {
			return err
		}
		for _, answer := range answers {
			answer.Row = row
			if err := visit(answer); err != nil {
				return err
			}
			row++
		}
	}
}

// rowTitles name the columns of what cells gives.
func rowTitles(m *model.Intake, inputs bool) []string {
	titles := []string{"row", "label", "probability"}
	if len(m.Labels) == 0 {
		titles = []string{"row", "value"}
	}
	if inputs {
		titles = append([]string{"input"}, titles...)
	}
	return titles
}

// cells are the answer's, with numbers as one writes them.
func (r rowAnswer) cells(number func(float64) string) []string {
	cells := []string{strconv.Itoa(r.Row)}
	if r.Input != "" {
		cells = append([]string{r.Input}, cells...)
	}
	if r.Value != nil {
		return append(cells, exact(*r.Value))
	}
	return append(cells, r.Label, number(*r.Probability))
}

// shown writes a probability for people.
func shown(v float64) string { return strconv.FormatFloat(v, 'f', 4, 64) }

// askRows runs the model on some rows.
func askRows(ctx context.Context, t target, m *model.Intake, columns []*tensor.Tensor) ([]rowAnswer, error) {
	named := make([]client.Named, len(columns))
	for i, s := range m.Rows.Columns {
		named[i] = client.Named{Name: s.Name, Tensor: columns[i]}
	}
	out, err := t.client.Infer(ctx, t.ref.name, t.ref.version, named)
	if err != nil {
		return nil, err
	}
	n := columns[0].Len()
	if len(out) == 0 || out[0].Tensor.DType() != tensor.Float32 || out[0].Tensor.Rank() != 2 || out[0].Tensor.Dim(0) != n {
		return nil, fault.New("tandem.predict", fault.Unsupported, "the model does not give a list of numbers for each row").
			Try("send a request of the Open Inference Protocol in JSON, and read its outputs")
	}
	answers := make([]rowAnswer, n)
	for i := range answers {
		scores := out[0].Tensor.Rows(i, i+1).F32()
		if len(m.Labels) == 0 {
			v := float64(scores[0])
			answers[i].Value = &v
			continue
		}
		best := top(scores, m.Labels, 1)[0]
		answers[i].Label, answers[i].Probability = best.Label, &best.Probability
	}
	return answers, nil
}
