package fault

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
)

// JSON says what is wrong with a text that encoding/json has refused with err: where in
// it, what stands there, and what is expected, in the words of JSON where err names types
// of Go. name is what the text is; it is the beginning of the path, and empty for a whole
// body. An error that is an Error already stays as it is.
func JSON(name string, text []byte, err error) error {
	const op = "fault.json"
	whole := name
	if name == "" {
		whole = "the body"
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		path := name + pathAt(text, e.Offset)
		if name == "" {
			path = strings.TrimPrefix(path, ".")
		}
		if path == "" {
			path = whole
		}
		return New(op, Invalid, "%s is %s, expected %s", path, came(e.Value), expected(e))
	}
	e, ok := errors.AsType[*json.SyntaxError](err)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || ok && e.Offset >= int64(len(text)) {
		return New(op, Invalid, "%s is not JSON: it ends too early", whole)
	}
	if ok {
		return New(op, Invalid, "%s is not JSON: %s at byte %d", whole, e.Error(), e.Offset)
	}
	return New(op, Invalid, "%s is not as expected: %s", whole, strings.TrimPrefix(err.Error(), "json: "))
}

// pathAt is the path of the value at which encoding/json was when it had read so many
// bytes: just after a value that is a word, a number or a string, just after the bracket
// of another. It is such as .messages[1].role.
func pathAt(text []byte, offset int64) string {
	type level struct {
		list  bool
		named bool // what comes next is the value of name
		name  string
		next  int // place of what comes next
	}
	var levels []level
	path := func() string {
		var b strings.Builder
		for _, l := range levels {
			if l.list {
				fmt.Fprintf(&b, "[%d]", l.next)
			} else if l.named {
				fmt.Fprintf(&b, ".%.100s", l.name)
			}
		}
		return b.String()
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	for {
		token, err := d.Token()
		if err != nil {
			return ""
		}
		top := len(levels) - 1
		if name, ok := token.(string); ok && top >= 0 && !levels[top].list && !levels[top].named {
			levels[top].name, levels[top].named = name, true
			continue
		}
		closes := token == json.Delim('}') || token == json.Delim(']')
		if !closes && d.InputOffset() >= offset {
			return path()
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			levels = append(levels, level{list: token == json.Delim('[')})
			continue
		case json.Delim('}'), json.Delim(']'):
			levels, top = levels[:top], top-1
		}
		if top >= 0 {
			levels[top].next++
			levels[top].named = false
		}
	}
}

// came says what stands where something else is expected.
func came(value string) string {
	kind, rest, _ := strings.Cut(value, " ")
	switch {
	case kind == "number" && rest != "":
		return fmt.Sprintf("%.40s", rest)
	case kind == "bool":
		return "a boolean"
	case kind == "array":
		return "a list"
	case kind == "object":
		return "an object"
	}
	return "a " + kind
}

// expected says what a value of a Go type is in JSON.
func expected(e *json.UnmarshalTypeError) string {
	t := e.Type
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	number, given := strings.CutPrefix(e.Value, "number ")
	whole := given && strings.Trim(number, "-0123456789") == ""
	switch k := t.Kind(); {
	case k >= reflect.Int && k <= reflect.Int64 && whole:
		return fmt.Sprintf("an integer from %d to %d", -1<<(t.Bits()-1), 1<<(t.Bits()-1)-1)
	case k >= reflect.Uint && k <= reflect.Uintptr && whole:
		return "an integer from 0 to " + strconv.FormatUint(1<<t.Bits()-1, 10)
	case k >= reflect.Int && k <= reflect.Uintptr:
		return "an integer"
	case k == reflect.Float32 && given:
		return "a number that 32 bits hold"
	case k == reflect.Float64 && given:
		return "a number that 64 bits hold"
	case k == reflect.Float32 || k == reflect.Float64:
		return "a number"
	case k == reflect.String:
		return "a string"
	case k == reflect.Bool:
		return "a boolean"
	case k == reflect.Slice || k == reflect.Array:
		return "a list"
	}
	return "an object"
}
