package jinja

import (
	"math"
	"strconv"
	"strings"
	"unicode"
)

// Values are: nil (None), bool, int, float64, string, *List, *Dict, *Namespace,
// undefined, and things to call. They mean what they mean in Python.

// List is a list, or a tuple, or what Python gives one by one: that is always true
// and has neither length nor JSON.
type List struct {
	Items []any
	tuple bool
	lazy  bool
}

// Dict is a dict: keys, which are strings, ints or bools, in the order of insertion.
type Dict struct {
	keys   []any
	values map[any]any
}

// NewDict makes an empty dict.
func NewDict() *Dict { return &Dict{values: map[any]any{}} }

// Set adds a pair, or replaces the value of a key.
func (d *Dict) Set(key, value any) {
	if _, ok := d.values[key]; !ok {
		d.keys = append(d.keys, key)
	}
	d.values[key] = value
}

// Get is the value of a key.
func (d *Dict) Get(key any) (any, bool) {
	switch key.(type) {
	case string, int, bool, float64, nil:
		v, ok := d.values[key]
		return v, ok
	}
	return nil, false
}

// Namespace is an object whose attributes {% set %} can change.
type Namespace struct{ attributes *Dict }

// undefined is what a name stands for that nothing was assigned to.
type undefined struct{ name string }

// function is something to call.
type function func(s *state, args []any, named *Dict) any

func truth(v any) bool {
	switch v := v.(type) {
	case nil, undefined:
		return false
	case bool:
		return v
	case int:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case *List:
		return v.lazy || len(v.Items) > 0
	case *Dict:
		return len(v.keys) > 0
	}
	return true
}

// number gives ints, floats and bools as a float, and as an int where it is one.
func number(v any) (f float64, i int, isInt, ok bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return 1, 1, true, true
		}
		return 0, 0, true, true
	case int:
		return float64(v), v, true, true
	case float64:
		return v, 0, false, true
	}
	return 0, 0, false, false
}

// maxNesting is how deep values may lie in each other where they are compared or
// written.
const maxNesting = 100

func (s *state) equal(a, b any, depth int) bool {
	s.spend(1)
	if depth > maxNesting {
		s.fail("values lie more than %d deep in each other", maxNesting)
	}
	if x, _, _, ok := number(a); ok {
		y, _, _, ok := number(b)
		return ok && x == y
	}
	switch a := a.(type) {
	case nil:
		return b == nil
	case undefined:
		_, ok := b.(undefined)
		return ok
	case string:
		t, ok := b.(string)
		s.spend(len(a) / 64)
		return ok && a == t
	case *List:
		t, ok := b.(*List)
		if !ok || len(a.Items) != len(t.Items) || a.tuple != t.tuple {
			return false
		}
		for i := range a.Items {
			if !s.equal(a.Items[i], t.Items[i], depth+1) {
				return false
			}
		}
		return true
	case *Dict:
		t, ok := b.(*Dict)
		if !ok || len(a.keys) != len(t.keys) {
			return false
		}
		for _, k := range a.keys {
			v, ok := t.Get(k)
			if !ok || !s.equal(a.values[k], v, depth+1) {
				return false
			}
		}
		return true
	case *Namespace:
		t, ok := b.(*Namespace)
		return ok && a == t
	}
	return false
}

// str is Python's str(v).
func (s *state) str(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case undefined:
		return ""
	}
	var b strings.Builder
	s.repr(&b, v, 0)
	return s.text(b.String())
}

// repr is Python's repr(v).
func (s *state) repr(b *strings.Builder, v any, depth int) {
	s.spend(1)
	s.bound(b.Len())
	if depth > maxNesting {
		s.fail("values lie more than %d deep in each other", maxNesting)
	}
	switch v := v.(type) {
	case nil:
		b.WriteString("None")
	case bool:
		if v {
			b.WriteString("True")
		} else {
			b.WriteString("False")
		}
	case int:
		b.WriteString(strconv.Itoa(v))
	case float64:
		b.WriteString(floatText(v))
	case string:
		quoteText(b, v)
	case *List:
		open, end := "[", "]"
		if v.tuple {
			open, end = "(", ")"
			if len(v.Items) == 1 {
				end = ",)"
			}
		}
		b.WriteString(open)
		for i, x := range v.Items {
			if i > 0 {
				b.WriteString(", ")
			}
			s.repr(b, x, depth+1)
		}
		b.WriteString(end)
	case *Dict:
		b.WriteString("{")
		for i, k := range v.keys {
			if i > 0 {
				b.WriteString(", ")
			}
			s.repr(b, k, depth+1)
			b.WriteString(": ")
			s.repr(b, v.values[k], depth+1)
		}
		b.WriteString("}")
	case undefined:
		b.WriteString("Undefined")
	case *Namespace:
		b.WriteString("<Namespace ")
		s.repr(b, v.attributes, depth+1)
		b.WriteString(">")
	default:
		b.WriteString("<function>")
	}
}

// floatText is Python's repr of a float.
func floatText(v float64) string {
	switch {
	case math.IsNaN(v):
		return "nan"
	case math.IsInf(v, 1):
		return "inf"
	case math.IsInf(v, -1):
		return "-inf"
	}
	if a := math.Abs(v); a != 0 && (a < 1e-4 || a >= 1e16) {
		text := strconv.FormatFloat(v, 'e', -1, 64)
		return text
	}
	text := strconv.FormatFloat(v, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

// quoteText is Python's repr of a string.
func quoteText(b *strings.Builder, v string) {
	quote := byte('\'')
	if strings.Contains(v, "'") && !strings.Contains(v, `"`) {
		quote = '"'
	}
	b.WriteByte(quote)
	for _, r := range v {
		switch {
		case r == rune(quote) || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < 0x20 || r == 0x7f:
			b.WriteString(`\x`)
			b.WriteString(hexText(int(r), 2))
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			b.WriteString(`\x` + hexText(int(r), 2))
		case r < 0x10000:
			b.WriteString(`\u` + hexText(int(r), 4))
		default:
			b.WriteString(`\U` + hexText(int(r), 8))
		}
	}
	b.WriteByte(quote)
}

func hexText(v, width int) string {
	text := strconv.FormatInt(int64(v), 16)
	return strings.Repeat("0", max(0, width-len(text))) + text
}

// typeName is what Python calls the type of v, for messages.
func typeName(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		return "bool"
	case int:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case *List:
		switch {
		case v.tuple:
			return "tuple"
		case v.lazy:
			return "generator"
		}
		return "list"
	case *Dict:
		return "dict"
	case *Namespace:
		return "namespace"
	case undefined:
		return "undefined"
	}
	return "function"
}
