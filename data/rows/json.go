package rows

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"unicode/utf8"

	"tandem/fault"
)

// jsonScanner reads an object a line. Its values are texts, numbers, true, false and
// null; empty lines count for nothing.
type jsonScanner struct {
	in    *bufio.Reader
	long  []byte // a line that is longer than in's memory
	line  int
	names []string
	index map[string]int
	set   []int // for each column the line that named it last

	text []byte // of the line
	at   int
	room []byte // texts whose escapes were taken out
}

func newJSON(in io.Reader) *jsonScanner {
	return &jsonScanner{in: bufio.NewReaderSize(in, csvBufferBytes), index: map[string]int{}}
}

func (j *jsonScanner) columns() []string { return j.names }

func (j *jsonScanner) next(row *Row) error {
	for {
		text, err := j.readLine()
		if err != nil {
			return err
		}
		if text = bytes.Trim(text, " \t\r\n"); len(text) > 0 {
			j.text, j.at, j.room = text, 0, j.room[:0]
			row.Line, row.Values = j.line, row.Values[:0]
			return j.object(row)
		}
	}
}

// readLine reads a line of bounded length.
func (j *jsonScanner) readLine() ([]byte, error) {
	j.line++
	j.long = j.long[:0]
	for {
		part, err := j.in.ReadSlice('\n')
		if len(j.long)+len(part) > maxRowBytes {
			return nil, atLine(j.line, "the row is longer than %d bytes", maxRowBytes).Try("put every object on a line of its own")
		}
		switch {
		case err == bufio.ErrBufferFull:
			j.long = append(j.long, part...)
			continue
		case err == io.EOF && len(j.long)+len(part) == 0:
			return nil, io.EOF
		case err != nil && err != io.EOF:
			return nil, err
		case len(j.long) > 0:
			j.long = append(j.long, part...)
			return j.long, nil
		}
		return part, nil
	}
}

// object reads {"name": value, …}, the whole of the line.
func (j *jsonScanner) object(row *Row) error {
	if !j.take('{') {
		return j.bad("the line is not a JSON object").Try("write an object a line, such as {\"age\": 39, \"name\": \"Ada\"}; jq -c '.[]' makes them of a list")
	}
	for k := 0; !j.take('}'); k++ {
		if k > 0 && !j.take(',') {
			return j.broken("a comma or }")
		}
		name, ok := j.string()
		if !ok {
			return j.broken("a name in quotes")
		}
		if !j.take(':') {
			return j.broken("a colon")
		}
		column, err := j.column(name, k)
		if err != nil {
			return err
		}
		for len(row.Values) <= column {
			row.Values = append(row.Values, Value{})
		}
		if row.Values[column], err = j.value(column); err != nil {
			return err
		}
	}
	if j.space(); j.at < len(j.text) {
		return j.broken("the end of the line")
	}
	return nil
}

// column is the place of a name, which is new if it was not seen before.
func (j *jsonScanner) column(name []byte, guess int) (int, error) {
	if guess >= len(j.names) || j.names[guess] != string(name) {
		k, ok := j.index[string(name)]
		if !ok {
			k = len(j.names)
			if k == maxColumns {
				return 0, j.bad("more than %d names", maxColumns).Try("keep fewer columns")
			}
			if len(name) == 0 {
				return 0, j.bad("a name is empty").Try("name every value")
			}
			j.names, j.set = append(j.names, string(name)), append(j.set, 0)
			j.index[j.names[k]] = k
		}
		guess = k
	}
	if j.set[guess] == j.line {
		return 0, j.bad("the name %q is given twice", j.names[guess]).Try("give it once")
	}
	j.set[guess] = j.line
	return guess, nil
}

func (j *jsonScanner) value(column int) (Value, error) {
	j.space()
	rest := j.text[j.at:]
	switch {
	case len(rest) == 0:
		return Value{}, j.broken("a value")
	case rest[0] == '"':
		if s, ok := j.string(); ok {
			return Value{Is: Text, Text: s}, nil
		}
		return Value{}, j.broken("a text in quotes, in UTF-8")
	case rest[0] == '{' || rest[0] == '[':
		return Value{}, j.bad("column %q holds a list or an object", j.names[column]).
			Try("write its parts as columns of their own")
	}
	for _, w := range [...]struct {
		word  string
		value Value
	}{{"null", Value{}}, {"true", Value{Is: Bool, Int: 1}}, {"false", Value{Is: Bool}}} {
		if bytes.HasPrefix(rest, []byte(w.word)) {
			j.at += len(w.word)
			return w.value, nil
		}
	}
	n := numberLength(rest)
	if n == 0 {
		return Value{}, j.broken("a value")
	}
	j.at += n
	return Value{Is: Number, Text: rest[:n]}, nil
}

// numberLength is how long the number is that text begins with, as JSON writes
// them; 0 if it's none.
func numberLength(text []byte) int {
	i := 0
	digits := func() bool {
		begin := i
		for i < len(text) && text[i] >= '0' && text[i] <= '9' {
			i++
		}
		return i > begin
	}
	if i < len(text) && text[i] == '-' {
		i++
	}
	if i < len(text) && text[i] == '0' {
		i++
	} else if !digits() {
		return 0
	}
	if i < len(text) && text[i] == '.' {
		if i++; !digits() {
			return 0
		}
	}
	if i < len(text) && (text[i] == 'e' || text[i] == 'E') {
		if i++; i < len(text) && (text[i] == '+' || text[i] == '-') {
			i++
		}
		if !digits() {
			return 0
		}
	}
	return i
}

// string reads a text in quotes.
func (j *jsonScanner) string() ([]byte, bool) {
	j.space()
	if j.at == len(j.text) || j.text[j.at] != '"' {
		return nil, false
	}
	begin, escaped := j.at+1, false
	for i := begin; i < len(j.text); i++ {
		switch c := j.text[i]; {
		case c == '"':
			s := j.text[begin:i]
			j.at = i + 1
			if escaped {
				return j.unescape(j.text[begin-1 : i+1])
			}
			return s, utf8.Valid(s)
		case c == '\\':
			escaped = true
			i++
		case c < 0x20:
			return nil, false
		}
	}
	return nil, false
}

// unescape takes the escapes out of a text with its quotes.
func (j *jsonScanner) unescape(quoted []byte) ([]byte, bool) {
	var s string
	if !utf8.Valid(quoted) || json.Unmarshal(quoted, &s) != nil {
		return nil, false
	}
	from := len(j.room)
	j.room = append(j.room, s...)
	return j.room[from:len(j.room):len(j.room)], true
}

func (j *jsonScanner) space() {
	for j.at < len(j.text) && (j.text[j.at] == ' ' || j.text[j.at] == '\t') {
		j.at++
	}
}

// take goes past a character, if it's the next.
func (j *jsonScanner) take(c byte) bool {
	j.space()
	if j.at < len(j.text) && j.text[j.at] == c {
		j.at++
		return true
	}
	return false
}

func (j *jsonScanner) bad(format string, args ...any) *fault.Error {
	return atLine(j.line, format, args...)
}

// broken says where the line is no JSON.
func (j *jsonScanner) broken(want string) error {
	return j.bad("character %d: %s is missing", utf8.RuneCount(j.text[:j.at])+1, want).Try("correct the row: every line is a JSON object")
}
