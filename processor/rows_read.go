package processor

import (
	"io"
	"slices"
	"strconv"
	"strings"

	"tandem/data"
	"tandem/data/rows"
	"tandem/fault"
	"tandem/tensor"
)

// OpenRows begins to read rows of a file that lies in memory. Whether its first line names
// the columns is told by their names: a header of numbers looks like none, and a row of words
// like one.
func OpenRows(name string, content []byte, s *Schema) (*rows.Reader, error) {
	r, err := rows.New(name, content, rows.Options{})
	if err != nil || s.within(r.Columns()) {
		return r, err
	}
	for _, header := range []bool{true, false} {
		other, err := rows.New(name, content, rows.Options{Header: &header})
		switch {
		case err != nil:
		case s.within(other.Columns()):
			_ = r.Close() // of memory
			return other, nil
		default:
			_ = other.Close()
		}
	}
	return r, nil
}

// within reports whether all columns of the schema are there.
func (s *Schema) within(columns []string) bool {
	return !slices.Contains(placesOf(nil, s.Columns, columns), -1)
}

// ReadRows reads up to limit rows of a file into a tensor for each column of a schema, [N]:
// what Rows.Encode takes. Columns of other names are left out; dates become seconds since
// 1970. N is 0 at the end of the file.
func ReadRows(r *rows.Reader, s *Schema, limit int) ([]*tensor.Tensor, error) {
	inputs, absent := s.Columns, data.NewMarkers(s.Missing)
	numbers, texts := make([][]float64, len(inputs)), make([][]string, len(inputs))
	var row rows.Row
	n, place := 0, []int(nil)
	for ; n < limit; n++ {
		err := r.Next(&row)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		place = placesOf(place, inputs, r.Columns())
		for i, input := range inputs {
			var v rows.Value
			if k := place[i]; k >= 0 && k < len(row.Values) {
				v = row.Values[k]
			}
			if !isNumber(input.Kind) {
				texts[i] = append(texts[i], absent.TextOf(v))
				continue
			}
			x, ok := absent.NumberOf(v, input.Kind)
			if !ok {
				says := "line %d, column %q: %.80q is not a number"
				if input.Kind == data.Date {
					says = "line %d, column %q: %.80q is not a date"
				}
				err := fault.New(rowsOp, fault.Invalid, says, row.Line, input.Name, absent.TextOf(v)).
					Try("correct the row; leave the value out if it is missing")
				return nil, r.Locate(err)
			}
			numbers[i] = append(numbers[i], x)
		}
	}
	if place == nil { // no rows, or no more: what is known of columns counts
		place = placesOf(place, inputs, r.Columns())
	}
	if slices.Contains(place, -1) && (n > 0 || len(r.Columns()) > 0) {
		return nil, r.Locate(lacking(inputs, place, r.Columns()))
	}
	return tensorsOf(inputs, numbers, texts, n), nil
}

// lacking says which columns are not there, and what is instead.
func lacking(inputs []RowInput, place []int, columns []string) error {
	var names []string
	for i, input := range inputs {
		if place[i] < 0 {
			names = append(names, input.Name)
		}
	}
	return fault.New(rowsOp, fault.Invalid, "the rows have no column %s, they have %s", quoted(names), quoted(columns)).
		Try("give every column that the model takes, by name; names that differ in capitals or spaces are others")
}

// quoted lists some names.
func quoted(names []string) string {
	const most = 8
	if len(names) == 0 {
		return "[]"
	}
	list := make([]string, min(len(names), most))
	for i := range list {
		list[i] = strconv.Quote(names[i])
	}
	if more := len(names) - most; more > 0 {
		list = append(list, "+"+strconv.Itoa(more))
	}
	return strings.Join(list, ", ")
}

// placesOf finds inputs among the columns, of which there may be more by now.
func placesOf(place []int, inputs []RowInput, columns []string) []int {
	if place == nil {
		place = make([]int, len(inputs))
		for i := range place {
			place[i] = -1
		}
	}
	for i, input := range inputs {
		if place[i] < 0 && i < len(columns) && columns[i] == input.Name {
			place[i] = i // most come in the model's order
		}
		for k := 0; place[i] < 0 && k < len(columns); k++ {
			if columns[k] == input.Name {
				place[i] = k
			}
		}
	}
	return place
}

func tensorsOf(inputs []RowInput, numbers [][]float64, texts [][]string, n int) []*tensor.Tensor {
	list := make([]*tensor.Tensor, len(inputs))
	for i, input := range inputs {
		if !isNumber(input.Kind) {
			list[i] = tensor.OfStrings(texts[i], n)
		} else {
			list[i] = tensor.Of(numbers[i], n)
		}
	}
	return list
}
