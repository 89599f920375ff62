package processor

import (
	"encoding/json"
	"math"
	"strings"

	"tandem/data"
	"tandem/fault"
	"tandem/tensor"
)

const rowsOp = "processor.rows"

// Limits of what a row becomes.
const (
	maxRowColumns  = 1 << 14
	maxRowFeatures = 1 << 20
)

// Rows turns rows of typed columns into the tensors that a network takes: float32
// [N,Features] and int64 [N,Codes]. The features lie in the order of the columns:
//
//	number, date  (v - Mean) / Std in float64, rounded once; of one that is missing 0
//	category      a 1 at the value's place and 0 elsewhere; of one that is missing,
//	              or that training has not seen, all are 0
//	boolean       as a category of false and true
//
// With Missing another feature follows, which is 1 where the value is missing. So do the
// codes, for the network to look vectors up by:
//
//	category with Embed  2 + the value's place; 1 if it is missing, 0 if it is unseen
//	text                 Words hashes of its first words, from 1 to Buckets; 0 after the
//	                     last
//
// What becomes of a row depends on that row alone, so that training and serving give
// the same bits.
type Rows struct {
	Columns []RowColumn `json:"columns"`
	// Missing are the texts, and numbers of columns of numbers, that stand for a missing
	// value, as they did in training, besides the empty text and NaN. nil: there none did,
	// and of CSV those of data.DefaultMissing do.
	Missing []string `json:"missing,omitzero"`
}

// Schema is what has to be known to send rows to a model.
type Schema struct {
	Columns []RowInput `json:"columns"`
	Missing []string   `json:"missing,omitzero"` // see Rows
}

// RowInput is a column that a model takes.
type RowInput struct {
	Name string    `json:"name"`
	Kind data.Kind `json:"kind"`
}

// Schema is the one of rows that r takes.
func (r *Rows) Schema() *Schema {
	s := &Schema{Missing: r.Missing}
	for i := range r.Columns {
		s.Columns = append(s.Columns, RowInput{r.Columns[i].Name, r.Columns[i].Kind})
	}
	return s
}

// RowColumn is a column that the network takes.
type RowColumn struct {
	Name    string    `json:"name"`
	Kind    data.Kind `json:"kind"`
	Mean    float64   `json:"mean,omitempty"`
	Std     float64   `json:"std,omitempty"`
	Values  []string  `json:"values,omitempty"` // of a category
	Missing bool      `json:"missing,omitempty"`
	Embed   int       `json:"embed,omitempty"`   // length of the vectors that the network looks up; texts always have some
	Words   int       `json:"words,omitempty"`   // of a text
	Buckets int       `json:"buckets,omitempty"` // that words of a text fall into

	codes  map[string]int // of values
	absent *data.Markers  // nil: no text
}

// isNumber reports whether a column of the kind is one number.
func isNumber(k data.Kind) bool { return k == data.Integer || k == data.Float || k == data.Date }

func (c *RowColumn) number() bool { return isNumber(c.Kind) }

// Vocabulary is how many different codes the column has; 0 if it becomes features.
func (c *RowColumn) Vocabulary() int {
	switch {
	case c.Kind == data.Text:
		return 1 + c.Buckets
	case c.Kind == data.Category && c.Embed > 0:
		return firstCode + len(c.Values)
	}
	return 0
}

// firstCode is the code of a category's first value; before it come unseen and missing.
const firstCode = 2

// Codes is how many codes the column becomes.
func (c *RowColumn) Codes() int {
	switch {
	case c.Kind == data.Text:
		return c.Words
	case c.Vocabulary() > 0:
		return 1
	}
	return 0
}

// Features is how many numbers the column becomes.
func (c *RowColumn) Features() int {
	n := 1
	switch {
	case c.Vocabulary() > 0:
		return 0
	case c.Kind == data.Boolean:
		n = 2
	case c.Kind == data.Category:
		n = len(c.Values)
	}
	if c.Missing {
		n++
	}
	return n
}

// DType is what serving takes the column as: text for categories and booleans,
// float64 for numbers; dates are seconds since 1970.
func (c *RowColumn) DType() tensor.DType { return rowDType(c.Kind) }

func rowDType(k data.Kind) tensor.DType {
	if isNumber(k) {
		return tensor.Float64
	}
	return tensor.String
}

// Features is how many numbers a row becomes.
func (r *Rows) Features() int {
	n := 0
	for i := range r.Columns {
		n += r.Columns[i].Features()
	}
	return n
}

// Codes is how many codes a row becomes.
func (r *Rows) Codes() int {
	n := 0
	for i := range r.Columns {
		n += r.Columns[i].Codes()
	}
	return n
}

// Validate says what's wrong with the parameters, and prepares them for use.
func (r *Rows) Validate() error {
	bad := func(format string, args ...any) *fault.Error {
		return fault.New(rowsOp, fault.Invalid, format, args...).Try("train the model anew")
	}
	if n := len(r.Columns); n < 1 || n > maxRowColumns {
		return bad("rows of %d columns", n)
	}
	if n := len(r.Missing); n > maxRowColumns {
		return bad("%d texts that stand for a missing value", n)
	}
	var absent *data.Markers
	if r.Missing != nil {
		absent = data.NewMarkers(r.Missing)
	}
	names := map[string]bool{}
	for i := range r.Columns {
		c := &r.Columns[i]
		switch {
		case c.Name == "" || names[c.Name]:
			return bad("two columns are called %q, or one has no name", c.Name)
		case c.number() && !(c.Std > 0 && !math.IsInf(c.Std, 0) && !math.IsInf(c.Mean, 0) && !math.IsNaN(c.Mean)):
			return bad("column %q has the mean %v and the standard deviation %v", c.Name, c.Mean, c.Std)
		case c.Kind == data.Category && len(c.Values) == 0:
			return bad("category %q has no values", c.Name)
		case c.Kind == data.Text && (c.Embed < 1 || c.Words < 1 || c.Buckets < 1 || c.Words > maxRowFeatures || c.Buckets > maxRowFeatures):
			return bad("text %q has %d words of %d, in vectors of %d", c.Name, c.Words, c.Buckets, c.Embed)
		case !c.number() && c.Kind != data.Category && c.Kind != data.Boolean && c.Kind != data.Text:
			return bad("column %q is of the kind %.40q", c.Name, string(c.Kind))
		}
		names[c.Name], c.absent = true, absent
		c.codes = make(map[string]int, len(c.Values))
		for k, v := range c.Values {
			if _, ok := c.codes[v]; ok {
				return bad("category %q has the value %.80q twice", c.Name, v)
			}
			c.codes[v] = k
		}
	}
	if n := r.Features() + r.Codes(); n > maxRowFeatures {
		return fault.New(rowsOp, fault.TooLarge, "rows become %d numbers, at most %d", n, maxRowFeatures).
			Try("leave out categories of many values")
	}
	return nil
}

// Encode fills features, float32 [N,Features], and codes, int64 [N,Codes], with rows whose
// columns, [N] each, stand in the order of Columns; one that would be empty is nil. Numbers
// come as float64 or int64; categories as texts, or as the int64 codes of a dataset. Values
// that a dataset has for missing ones are missing.
func (r *Rows) Encode(features, codes *tensor.Tensor, columns []*tensor.Tensor) error {
	if len(columns) != len(r.Columns) {
		return fault.New(rowsOp, fault.Invalid, "%d columns, not %d", len(columns), len(r.Columns))
	}
	n := columns[0].Len()
	if !fits(features, tensor.Float32, n, r.Features()) || !fits(codes, tensor.Int64, n, r.Codes()) {
		return fault.New(rowsOp, fault.Invalid, "destinations %v and %v, not float32[%dx%d] and int64[%dx%d]", features, codes, n, r.Features(), n, r.Codes())
	}
	var out []float32
	var ids []int64
	if features != nil {
		out = features.F32()
		clear(out)
	}
	if codes != nil {
		ids = codes.I64()
		clear(ids)
	}
	for i := range r.Columns {
		c := &r.Columns[i]
		if columns[i].Rank() != 1 || columns[i].Dim(0) != n {
			return fault.New(rowsOp, fault.Invalid, "column %q is %v, the first has %d rows", c.Name, columns[i], n).
				Try("send one value of every column for each row")
		}
		if err := c.encode(out, r.Features(), ids, r.Codes(), columns[i]); err != nil {
			return err
		}
		if n > 0 && c.Vocabulary() > 0 {
			ids = ids[c.Codes():]
		} else if n > 0 {
			out = out[c.Features():]
		}
	}
	return nil
}

// fits tells whether a destination has the type and shape that it must have.
func fits(t *tensor.Tensor, d tensor.DType, rows, width int) bool {
	if width == 0 || t == nil {
		return width == 0 && t == nil
	}
	return t.DType() == d && t.Rank() == 2 && t.Dim(0) == rows && t.Dim(1) == width
}

// encode fills the column's features, which lie width apart from row to row, or its codes,
// which lie stride apart.
func (c *RowColumn) encode(out []float32, width int, ids []int64, stride int, values *tensor.Tensor) error {
	if c.Kind == data.Text {
		return c.encodeText(ids, stride, values)
	}
	last := c.Features() - 1
	beyond := 0. // the last value that no float32 holds once it is scaled
	put := func(row int, v float64, code int) {
		switch at := row * width; {
		case c.Vocabulary() > 0:
			ids[row*stride] = int64(max(code+firstCode, 0))
		case c.number() && !math.IsNaN(v):
			if out[at] = float32((v - c.Mean) / c.Std); math.IsInf(float64(out[at]), 0) {
				beyond = v
			}
		case !c.number() && code >= 0:
			out[at+code] = 1
		case c.Missing && (c.number() || code == data.MissingCode):
			out[at+last] = 1
		}
	}
	classes := len(c.Values)
	if c.Kind == data.Boolean {
		classes = 2
	}
	switch d := values.DType(); {
	case d == tensor.Float64 && c.number():
		for i, v := range tensor.Data[float64](values) {
			if c.Kind != data.Date && c.absent.Float(v) {
				v = data.MissingFloat()
			}
			put(i, v, 0)
		}
	case d == tensor.Int64 && c.number():
		for i, v := range values.I64() {
			put(i, c.fromInteger(v), 0)
		}
	case d == tensor.Int64:
		for i, v := range values.I64() {
			if v < data.MissingCode || v >= int64(classes) {
				return fault.New(rowsOp, fault.Invalid, "column %q has the code %d of %d classes", c.Name, v, classes)
			}
			put(i, 0, int(v))
		}
	case d == tensor.String && !c.number():
		for i, v := range values.Strings() {
			put(i, 0, c.code(v))
		}
	default:
		return fault.New(rowsOp, fault.Invalid, "column %q is %v, it is of the kind %s", c.Name, values, string(c.Kind)).
			Try("send numbers as FP64, and categories and texts as BYTES")
	}
	if beyond != 0 {
		return fault.New(rowsOp, fault.Invalid, "column %q has the value %g, and training has seen %.3g on average", c.Name, beyond, c.Mean).
			Try("correct the value, or leave it out if it is missing")
	}
	return nil
}

// encodeText fills the column's codes.
func (c *RowColumn) encodeText(ids []int64, stride int, texts *tensor.Tensor) error {
	if texts.DType() != tensor.String {
		return fault.New(rowsOp, fault.Invalid, "column %q is %v, it is of the kind %s", c.Name, texts, string(c.Kind)).
			Try("send numbers as FP64, and categories and texts as BYTES")
	}
	for i, text := range texts.Strings() {
		if c.absent.Text(text) {
			continue
		}
		hashWords(ids[i*stride:i*stride+c.Words], text, c.Buckets)
	}
	return nil
}

// fromInteger is a whole number as a float; dates in seconds.
func (c *RowColumn) fromInteger(v int64) float64 {
	switch {
	case v == data.MissingInteger:
		return math.NaN()
	case c.Kind == data.Date:
		return float64(v) / 1e6
	}
	return float64(v)
}

// unseen is the code of a value that training has not seen.
const unseen = -2

// code is the place of a category's value.
func (c *RowColumn) code(v string) int {
	if v == "" || c.absent.Text(v) {
		return data.MissingCode
	}
	if c.Kind == data.Category {
		if k, ok := c.codes[v]; ok {
			return k
		}
		return unseen
	}
	switch strings.ToLower(v) {
	case "true", "yes", "1":
		return 1
	case "false", "no", "0":
		return 0
	}
	return unseen
}

// UnmarshalJSON is strict: a key that's unknown is refused, and so are parameters
// that aren't valid.
func (r *Rows) UnmarshalJSON(text []byte) error {
	type plain Rows // without this method
	var q plain
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil {
		return fault.Wrap(fault.JSON("", text, err), rowsOp, fault.Invalid, "the row processor's parameters")
	}
	if err := (*Rows)(&q).Validate(); err != nil {
		return err
	}
	*r = Rows(q)
	return nil
}
