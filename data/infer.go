package data

import (
	"cmp"
	"slices"
	"strconv"

	"tandem/data/rows"
	"tandem/fault"
)

const (
	// A text column of at most so many different values, each twice in the mean, is
	// a category.
	maxGuessedValues = 1000
	// A column that is said to be a category has at most so many.
	maxValues = 1 << 20
	// Where at least this part of many values are numbers, or dates, the others are
	// taken for mistakes.
	mostly     = 0.95
	mostlyRows = 20
)

// columnGuess is what has been seen of a column.
type columnGuess struct {
	name    string
	said    Kind // by the user; "" if nothing
	present int
	counts  [classes]int
	first   [classes]sample
	values  map[string]struct{} // different ones; nil when they were too many
}

// sample is a value and where it stands.
type sample struct {
	path string
	line int
	text string
}

func newGuess(name string, said Kind) *columnGuess {
	return &columnGuess{name: name, said: said, values: map[string]struct{}{}}
}

// see takes a value into account.
func (g *columnGuess) see(v rows.Value, path string, line int) error {
	c := classOf(v)
	if g.present++; g.counts[c] == 0 {
		g.first[c] = sample{path, line, string(v.Text[:min(len(v.Text), 80)])}
	}
	g.counts[c]++
	if g.values == nil || g.said != "" && g.said != Category {
		return nil
	}
	var room [32]byte
	text := textOf(v, room[:0])
	if _, ok := g.values[string(text)]; ok {
		return nil
	}
	switch {
	case g.said == Category && len(g.values) == maxValues:
		return fault.New(openOp, fault.TooLarge, "column %q has more than %d different values", g.name, maxValues).
			Try("make it text or integer under data.columns")
	case g.said != Category && len(g.values) == maxGuessedValues:
		g.values = nil
		return nil
	}
	g.values[string(text)] = struct{}{}
	return nil
}

func classOf(v rows.Value) class {
	switch v.Is {
	case rows.Bare:
		return classify(v.Text)
	case rows.Number:
		if _, ok := parseInteger(v.Text); ok {
			return looksInteger
		}
		return looksFloat
	case rows.Int:
		return looksInteger
	case rows.Float:
		return looksFloat
	case rows.Bool:
		return looksBoolean
	case rows.Date:
		return looksDate
	}
	if len(v.Text) >= 8 && v.Text[0] >= '0' && v.Text[0] <= '9' {
		if _, ok := parseDate(v.Text); ok {
			return looksDate
		}
	}
	return looksText
}

// textOf is the text of a value, which may use room.
func textOf(v rows.Value, room []byte) []byte {
	switch v.Is {
	case rows.Int:
		return strconv.AppendInt(room, v.Int, 10)
	case rows.Date:
		return appendDate(room, v.Int)
	case rows.Float:
		return strconv.AppendFloat(room, v.Float, 'g', -1, 64)
	case rows.Bool:
		return strconv.AppendBool(room, v.Int != 0)
	}
	return v.Text
}

// field decides what the column is.
func (g *columnGuess) field() (Field, error) {
	kind := g.said
	if kind == "" {
		var err error
		if kind, err = g.kind(); err != nil {
			return Field{}, err
		}
	}
	f := Field{Name: g.name, Kind: kind, DType: kind.dtype()}
	switch kind {
	case Category:
		f.Values = g.sorted()
		f.Classes = len(f.Values)
	case Boolean:
		f.Classes = 2
	}
	return f, nil
}

func (g *columnGuess) kind() (Kind, error) {
	n, numbers, dates := g.present, g.counts[looksInteger]+g.counts[looksFloat], g.counts[looksDate]
	switch {
	case n == 0:
		return Text, nil
	case g.counts[looksInteger] == n:
		return Integer, nil
	case numbers == n:
		return Float, nil
	case numbers > 0 && numbers+g.counts[looksInfinite] == n: // however many
		return "", g.mistake(notFinite, looksInfinite)
	case g.counts[looksBoolean] == n:
		return Boolean, nil
	case dates == n:
		return Date, nil
	case n >= mostlyRows && g.counts[looksCode] == 0 && float64(numbers) >= mostly*float64(n):
		return "", g.mistake(notNumber, looksText, looksBoolean, looksDate, looksInfinite)
	case n >= mostlyRows && float64(dates) >= mostly*float64(n):
		return "", g.mistake(notDate, looksText, looksBoolean, looksInteger, looksFloat, looksCode, looksInfinite)
	case g.values != nil && 2*len(g.values) <= n:
		return Category, nil
	}
	return Text, nil
}

// What is said of a value, by file, line, column and text: whole sentences, which can be
// translated.
const (
	notNumber = "%s, line %d, column %q: %q is not a number, and nearly all others are"
	notFinite = "%s, line %d, column %q: %q is not a finite number, and all others are"
	notDate   = "%s, line %d, column %q: %q is not a date, and nearly all others are"
)

// mistake names the first value that is not what nearly all are.
func (g *columnGuess) mistake(says string, others ...class) error {
	var first *sample
	for _, c := range others {
		if s := &g.first[c]; s.line > 0 && (first == nil || s.path == first.path && s.line < first.line) {
			first = s
		}
	}
	return fault.New(openOp, fault.Invalid, says, first.path, first.line, g.name, first.text).
		Try("correct it, list it under data.missing, or say the column's kind under data.columns")
}

// sorted are the different values: numbers by size, others by their bytes.
func (g *columnGuess) sorted() []string {
	list := make([]string, 0, len(g.values))
	for v := range g.values {
		list = append(list, v)
	}
	if g.counts[looksInteger] == g.present {
		slices.SortFunc(list, func(a, b string) int {
			x, _ := parseInteger([]byte(a))
			y, _ := parseInteger([]byte(b))
			return cmp.Or(cmp.Compare(x, y), cmp.Compare(a, b))
		})
	} else {
		slices.Sort(list)
	}
	return list
}
