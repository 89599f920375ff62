package data

import (
	"math"
	"slices"

	"tandem/data/rows"
)

// Markers tell which values stand for one that is missing. Of fields of CSV it is a text of
// the list, or none. Other formats say themselves what is missing: of those only a list that
// was given counts, by the texts of values. In a column of numbers a marker that is a number
// goes by its value: -999 is -999.0. A nil *Markers has no texts.
type Markers struct {
	texts    map[string]struct{}
	floats   []float64 // that the texts are
	integers []int64
	given    bool
}

// NewMarkers makes markers of a list; nil is DefaultMissing, and for CSV alone.
func NewMarkers(list []string) *Markers {
	m := &Markers{texts: map[string]struct{}{}, given: list != nil}
	if list == nil {
		list = DefaultMissing()
	}
	for _, s := range list {
		m.texts[s] = struct{}{}
		if v, ok := parseFloat([]byte(s)); ok {
			m.floats = append(m.floats, v)
		}
		if v, ok := parseInteger([]byte(s)); ok {
			m.integers = append(m.integers, v)
		}
	}
	return m
}

// missing reports whether a value is not there, of whatever kind its column is.
func (m *Markers) missing(v rows.Value) bool {
	switch v.Is {
	case rows.Missing:
		return true
	case rows.Float:
		if math.IsNaN(v.Float) {
			return true
		}
	case rows.Bare:
		return len(v.Text) == 0 || m.has(v.Text)
	case rows.Text:
		if len(v.Text) == 0 {
			return true
		}
	}
	if m == nil || !m.given || len(m.texts) == 0 {
		return false
	}
	var room [32]byte
	return m.has(textOf(v, room[:0]))
}

func (m *Markers) has(text []byte) bool {
	if m == nil {
		return false
	}
	_, ok := m.texts[string(text)]
	return ok
}

// Text reports whether a text stands for a missing value.
func (m *Markers) Text(s string) bool {
	if m == nil {
		return false
	}
	_, ok := m.texts[s]
	return ok
}

// Float reports whether a value of a column of numbers stands for a missing one.
func (m *Markers) Float(v float64) bool { return m != nil && slices.Contains(m.floats, v) }

// Integer is Float of whole numbers.
func (m *Markers) Integer(v int64) bool { return m != nil && slices.Contains(m.integers, v) }

// TextOf is a value of a row as a category or a text has it; empty if it's missing.
func (m *Markers) TextOf(v rows.Value) string {
	if m.missing(v) {
		return ""
	}
	var room [32]byte
	return string(textOf(v, room[:0]))
}

// NumberOf is a value of a row as a column of the kind has it, which is one of numbers or
// dates: NaN if it's missing, of a date the seconds since 1970. It's not ok if it's of
// another kind.
func (m *Markers) NumberOf(v rows.Value, k Kind) (number float64, ok bool) {
	switch {
	case m.missing(v):
		return MissingFloat(), true
	case k == Date:
		bits, ok := Date.bits(v, nil)
		return float64(int64(bits)) / 1e6, ok
	case v.Is == rows.Bool:
		return float64(v.Int), true
	}
	bits, ok := Float.bits(v, nil)
	return math.Float64frombits(bits), ok
}
