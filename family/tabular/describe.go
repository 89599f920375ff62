package tabular

import (
	"math"

	"tandem/data"
	"tandem/fault"
	"tandem/internal/setting"
	"tandem/model"
	"tandem/processor"
	"tandem/tensor"
)

// target is the column to predict.
type target struct {
	field     data.Field
	mean, std float64 // of the training set, if it's a number
}

// columns are the names of a set's columns.
func columns(d *data.Dataset) []string {
	var names []string
	for _, f := range d.Fields() {
		names = append(names, f.Name)
	}
	return names
}

// moments are a column's, by Welford's method, in the order of the examples.
type moments struct {
	n, mean, squares float64
	most             float64 // the greatest size of a value
	missing          int
}

func (m *moments) add(v float64) {
	if math.IsNaN(v) {
		m.missing++
		return
	}
	m.n++
	m.most = max(m.most, math.Abs(v))
	d := v - m.mean
	m.mean += d / m.n
	m.squares += d * (v - m.mean)
}

// deviation is 1 where values do not vary: there is nothing to scale.
func (m *moments) deviation() float64 {
	if m.n == 0 || m.squares <= 0 {
		return 1
	}
	return math.Sqrt(m.squares / m.n)
}

// describe finds out how the columns become features: from the training set alone.
// Columns without values are refused where a network is to learn from them, which taught
// says that it has before.
func describe(m Model, trainSet, testSet *data.Dataset, taught bool) (*processor.Rows, target, error) {
	const op = "tabular.describe"
	for _, name := range m.Ignore {
		if _, ok := trainSet.Field(name); !ok {
			return nil, target{}, fault.New(op, fault.NotFound, "model.ignore names column %q, which is not there", name).Try(setting.Suggest(name, columns(trainSet)))
		}
	}
	if err := checkLengths(trainSet, m); err != nil {
		return nil, target{}, err
	}
	stats, err := measure(trainSet)
	if err != nil {
		return nil, target{}, err
	}
	held, err := measure(testSet)
	if err != nil {
		return nil, target{}, err
	}
	rows, t := &processor.Rows{}, target{}
	for i, f := range trainSet.Fields() {
		s := stats[i]
		switch {
		case f.Name == m.Target:
			if n := s.missing + held[i].missing; n > 0 {
				return nil, t, fault.New(op, fault.Invalid, "%d rows have no value of the target %q", n, m.Target).Try("take these rows out of the data")
			}
			if len(f.Values) == 1 {
				return nil, t, fault.New(op, fault.Invalid, "the target %q has one value, %q: there is nothing to tell apart", m.Target, f.Values[0]).
					Try("check model.target, or give data of several classes")
			}
			t = target{f, s.mean, s.deviation()}
			if f.Kind == data.Float {
				if err := t.checkNumber(s, max(s.most, held[i].most)); err != nil {
					return nil, t, err
				}
			}
			continue
		case !m.seen(f.Name):
			continue
		case f.Kind == data.Category && len(f.Values) == 0 || s.n == 0 && !taught:
			return nil, t, fault.New(op, fault.Invalid, "column %q has no values", f.Name).Try("list it under model.ignore")
		}
		c := processor.RowColumn{Name: f.Name, Kind: f.Kind, Values: f.Values, Missing: s.missing > 0}
		if f.DType == tensor.Float64 || f.Kind == data.Integer || f.Kind == data.Date {
			c.Mean, c.Std = s.mean, s.deviation()
		}
		switch {
		case f.Kind == data.Text:
			c.Missing, c.Words, c.Buckets, c.Embed = false, m.Text.Words, m.Text.Buckets, m.Text.Size
		case f.Kind == data.Category && m.EmbedAbove > 0 && len(f.Values) > m.EmbedAbove:
			c.Missing, c.Embed = false, m.EmbedSize // a missing value has a vector of its own
		}
		rows.Columns = append(rows.Columns, c)
	}
	if len(rows.Columns) == 0 {
		return nil, t, fault.New(op, fault.Invalid, "no column beside the target %q is left to learn from", m.Target).Try("give data of more columns, or ignore fewer")
	}
	return rows, t, rows.Validate()
}

// leastSpread is how many neighbours in float32, in which answers are given, a number to
// predict must spread over: with fewer its values are rounded to a few, which are then told
// too well.
const leastSpread = 16

// checkNumber refuses a number to predict that float32 does not hold.
func (t target) checkNumber(s moments, most float64) error {
	const op, remedy = "tabular.describe", "take its mean from it, or give it in another unit"
	mean := float32(math.Abs(t.mean))
	step := float64(math.Nextafter32(mean, math.MaxFloat32) - mean)
	switch {
	case most > math.MaxFloat32/2 || s.squares > 0 && t.std < 0x1p-100:
		return fault.New(op, fault.Invalid, "the target %q goes up to %.3g and has the deviation %.3g, which is beyond float32", t.field.Name, most, t.std).Try(remedy)
	case s.squares > 0 && t.std < leastSpread*step:
		return fault.New(op, fault.Invalid, "the target %q has the mean %.9g and the deviation %.3g: around there float32 tells numbers apart that differ by %.3g at least", t.field.Name, t.mean, t.std, step).Try(remedy)
	}
	return nil
}

// checkLengths refuses names that no artifact could have once the network is trained.
func checkLengths(set *data.Dataset, m Model) error {
	const op = "tabular.describe"
	for _, f := range set.Fields() {
		if n := len(f.Name); n > model.MaxTextBytes && m.seen(f.Name) {
			return fault.New(op, fault.TooLarge, "the name of column %.40q… has %d bytes, at most %d are allowed", f.Name, n, model.MaxTextBytes).Try("rename it")
		}
		for _, v := range f.Values {
			if n := len(v); n > model.MaxTextBytes && f.Name == m.Target {
				return fault.New(op, fault.TooLarge, "the class %.40q… of the target %q has %d bytes, at most %d are allowed", v, f.Name, n, model.MaxTextBytes).
					Try("check model.target, or give its classes shorter names")
			}
		}
	}
	return nil
}

// measure passes over the set once.
func measure(d *data.Dataset) ([]moments, error) {
	fields := d.Fields()
	stats := make([]moments, len(fields))
	err := d.Scan(func(part *data.Dataset) error {
		for i, f := range fields {
			values, _ := part.Column(f.Name)
			stats[i].addAll(f, values)
		}
		return nil
	})
	return stats, err
}

func (m *moments) addAll(f data.Field, values *tensor.Tensor) {
	switch f.DType {
	case tensor.String:
		for _, v := range values.Strings() {
			if v == "" {
				m.missing++
				continue
			}
			m.n++
		}
	case tensor.Float64:
		for _, v := range tensor.Data[float64](values) {
			m.add(v)
		}
	case tensor.Int64:
		absent := int64(data.MissingInteger)
		if f.Kind == data.Category || f.Kind == data.Boolean {
			absent = data.MissingCode
		}
		unit := 1.0
		if f.Kind == data.Date {
			unit = 1e6 // as the processor takes them
		}
		for _, v := range values.I64() {
			if v == absent {
				m.missing++
				continue
			}
			m.add(float64(v) / unit)
		}
	}
}
