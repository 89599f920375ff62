package jinja

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// FromJSON makes a value of JSON, whose objects become dicts in the order of their
// keys. Whole numbers become ints.
func FromJSON(data []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	v, err := fromJSON(dec, 0)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("something follows the JSON value")
	}
	return v, nil
}

func fromJSON(dec *json.Decoder, depth int) (any, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("JSON more than %d deep", maxNesting)
	}
	t, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Delim:
		if t == '[' {
			list := &List{}
			for dec.More() {
				v, err := fromJSON(dec, depth+1)
				if err != nil {
					return nil, err
				}
				list.Items = append(list.Items, v)
			}
			_, err := dec.Token()
			return list, err
		}
		dict := NewDict()
		for dec.More() {
			key, err := dec.Token()
			if err != nil {
				return nil, err
			}
			v, err := fromJSON(dec, depth+1)
			if err != nil {
				return nil, err
			}
			dict.Set(key.(string), v) // a key is nothing else
		}
		_, err := dec.Token()
		return dict, err
	case json.Number:
		if i, err := strconv.Atoi(t.String()); err == nil {
			return i, nil
		}
		return t.Float64()
	}
	return t, nil // nil, bool or string
}

// valueOf turns Go values into those of templates: JSON as it is, maps in the order
// of their keys.
func valueOf(v any, depth int) (any, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("values more than %d deep", maxNesting)
	}
	switch v := v.(type) {
	case nil, bool, int, float64, string, *List, *Dict, function:
		return v, nil
	case json.RawMessage:
		return FromJSON(v)
	case []string:
		list := &List{}
		for _, x := range v {
			list.Items = append(list.Items, x)
		}
		return list, nil
	case []any:
		list := &List{}
		for _, x := range v {
			y, err := valueOf(x, depth+1)
			if err != nil {
				return nil, err
			}
			list.Items = append(list.Items, y)
		}
		return list, nil
	case map[string]any:
		dict := NewDict()
		for _, k := range slices.Sorted(maps.Keys(v)) {
			y, err := valueOf(v[k], depth+1)
			if err != nil {
				return nil, err
			}
			dict.Set(k, y)
		}
		return dict, nil
	}
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return FromJSON(data)
}

// dump writes JSON as Python's json.dumps does.
type dump struct {
	s          *state
	b          strings.Builder
	ascii      bool
	indent     string // "" with line false: all in one line
	line       bool
	item, pair string // separators
	sorted     bool
}

func (d *dump) value(v any, depth int) {
	d.s.spend(1)
	d.s.bound(d.b.Len())
	if depth > maxNesting {
		d.s.fail("values lie more than %d deep in each other", maxNesting)
	}
	switch v := v.(type) {
	case nil:
		d.b.WriteString("null")
	case bool:
		d.b.WriteString(strconv.FormatBool(v))
	case int:
		d.b.WriteString(strconv.Itoa(v))
	case float64:
		switch {
		case math.IsNaN(v):
			d.b.WriteString("NaN")
		case math.IsInf(v, 0):
			d.b.WriteString(strings.Replace(strings.Replace(floatText(v), "inf", "Infinity", 1), "+", "", 1))
		default:
			d.b.WriteString(floatText(v))
		}
	case string:
		d.text(v)
	case *List:
		if v.lazy {
			d.s.fail("a value of type %s cannot be written as JSON", typeName(v))
		}
		d.all("[", "]", len(v.Items), depth, func(i int) { d.value(v.Items[i], depth+1) })
	case *Dict:
		keys := v.keys
		if d.sorted {
			keys = slices.Clone(keys)
			slices.SortFunc(keys, func(a, b any) int { return strings.Compare(d.s.str(a), d.s.str(b)) })
		}
		d.all("{", "}", len(keys), depth, func(i int) {
			d.key(keys[i])
			d.b.WriteString(d.pair)
			d.value(v.values[keys[i]], depth+1)
		})
	default:
		d.s.fail("a value of type %s cannot be written as JSON", typeName(v))
	}
}

func (d *dump) key(k any) {
	switch k := k.(type) {
	case string:
		d.text(k)
	case bool:
		d.text(strconv.FormatBool(k))
	case nil:
		d.text("null")
	default:
		d.text(d.s.str(k))
	}
}

func (d *dump) all(open, end string, n, depth int, write func(i int)) {
	d.b.WriteString(open)
	for i := range n {
		if i > 0 {
			d.b.WriteString(d.item)
		}
		d.newline(depth + 1)
		write(i)
	}
	if n > 0 {
		d.newline(depth)
	}
	d.b.WriteString(end)
}

func (d *dump) newline(depth int) {
	if d.line {
		d.b.WriteByte('\n')
		for range depth {
			d.b.WriteString(d.indent)
		}
	}
}

func (d *dump) text(s string) {
	d.b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			d.b.WriteByte('\\')
			d.b.WriteRune(r)
		case r == '\n':
			d.b.WriteString(`\n`)
		case r == '\r':
			d.b.WriteString(`\r`)
		case r == '\t':
			d.b.WriteString(`\t`)
		case r == '\b':
			d.b.WriteString(`\b`)
		case r == '\f':
			d.b.WriteString(`\f`)
		case r < 0x20 || d.ascii && r >= 0x7f && r < 0x10000:
			d.b.WriteString(`\u` + hexText(int(r), 4))
		case d.ascii && r >= 0x10000:
			r -= 0x10000
			d.b.WriteString(`\u` + hexText(int(0xd800+r>>10), 4) + `\u` + hexText(int(0xdc00+r&0x3ff), 4))
		default:
			d.b.WriteRune(r)
		}
	}
	d.b.WriteByte('"')
}
