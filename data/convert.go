package data

import (
	"math"
	"time"

	"tandem/data/rows"
	"tandem/tensor"
)

// dtype is how values of a kind are kept.
func (k Kind) dtype() tensor.DType {
	switch k {
	case Float:
		return tensor.Float64
	case Text:
		return tensor.String
	}
	return tensor.Int64
}

// kinds are those that a user may give a column.
func kinds() []Kind { return []Kind{Integer, Float, Boolean, Category, Text, Date} }

func appendDate(b []byte, micros int64) []byte {
	return time.UnixMicro(micros).UTC().AppendFormat(b, time.RFC3339Nano)
}

// missingBits is what stands for a missing value of the kind.
func (k Kind) missingBits() uint64 {
	switch k {
	case Float:
		return math.Float64bits(MissingFloat())
	case Boolean, Category:
		return math.MaxUint64 // MissingCode
	}
	return 1 << 63 // MissingInteger
}

// bits is a value of a column as its 8 bytes are kept; not ok if it's of another
// kind. codes are those of a category.
func (k Kind) bits(v rows.Value, codes map[string]int64) (uint64, bool) {
	switch k {
	case Integer:
		return integerBits(v)
	case Float:
		switch v.Is {
		case rows.Int:
			return math.Float64bits(float64(v.Int)), true
		case rows.Float:
			return math.Float64bits(v.Float), !math.IsInf(v.Float, 0)
		case rows.Bare, rows.Number, rows.Text:
			x, ok := parseFloat(v.Text)
			return math.Float64bits(x), ok
		}
	case Boolean:
		switch v.Is {
		case rows.Bool:
			return uint64(v.Int), true
		case rows.Int:
			return uint64(v.Int), v.Int == 0 || v.Int == 1
		case rows.Bare, rows.Number, rows.Text:
			if len(v.Text) == 1 && (v.Text[0] == '0' || v.Text[0] == '1') {
				return uint64(v.Text[0] - '0'), true
			}
			x, ok := parseBoolean(v.Text)
			return uint64(x), ok
		}
	case Category:
		var room [32]byte
		code, ok := codes[string(textOf(v, room[:0]))]
		return uint64(code), ok
	case Date:
		switch v.Is {
		case rows.Date:
			return uint64(v.Int), true
		case rows.Bare, rows.Text:
			x, ok := parseDate(v.Text)
			return uint64(x), ok
		}
	}
	return 0, false
}

func integerBits(v rows.Value) (uint64, bool) {
	switch v.Is {
	case rows.Int:
		return uint64(v.Int), v.Int != MissingInteger
	case rows.Float:
		return uint64(int64(v.Float)), v.Float == math.Trunc(v.Float) && math.Abs(v.Float) < 1<<53
	case rows.Bool:
		return uint64(v.Int), true
	case rows.Bare, rows.Number, rows.Text:
		x, ok := parseInteger(v.Text)
		return uint64(x), ok
	}
	return 0, false
}
