package jinja

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// globals are the functions that every template may call.
func globals() map[string]any {
	return map[string]any{
		"range":           function(rangeOf),
		"namespace":       function(func(s *state, args []any, named *Dict) any { return &Namespace{attributes: s.dict(args, named)} }),
		"dict":            function(func(s *state, args []any, named *Dict) any { return s.dict(args, named) }),
		"raise_exception": function(raise),
		"strftime_now": function(func(s *state, args []any, named *Dict) any {
			return s.text(strftime(s.now, arg{args, named}.text(s, 0, "format", "")))
		}),
		"joiner": function(func(s *state, args []any, named *Dict) any {
			return &joiner{sep: arg{args, named}.text(s, 0, "sep", ", ")}
		}),
	}
}

func rangeOf(s *state, args []any, _ *Dict) any {
	a := arg{plain: args}
	lo, hi, step := 0, a.int(s, 0, "stop", 0), 1
	if len(args) > 1 {
		lo, hi, step = hi, a.int(s, 1, "stop", 0), a.int(s, 2, "step", 1)
	}
	if step == 0 {
		s.fail("range with a step of 0")
	}
	var items []any
	for i := lo; step > 0 && i < hi || step < 0 && i > hi; i += step {
		s.spend(1)
		items = append(items, i)
	}
	return &List{Items: items}
}

func (s *state) dict(args []any, named *Dict) *Dict {
	d := NewDict()
	for _, a := range args {
		if from, ok := a.(*Dict); ok {
			for _, k := range from.keys {
				d.Set(k, from.values[k])
			}
			continue
		}
		for _, pair := range s.items(a) {
			kv := s.items(pair)
			if len(kv) != 2 {
				s.fail("a dict is made of pairs")
			}
			d.Set(s.key(kv[0]), kv[1])
		}
	}
	for _, k := range named.keys {
		d.Set(k, named.values[k])
	}
	s.spend(len(d.keys))
	return d
}

func raise(s *state, args []any, named *Dict) any {
	panic(&failure{line: s.line, raised: true, text: s.str(arg{args, named}.get(0, "message", ""))})
}

// joiner gives nothing at its first call, and a separator then.
type joiner struct {
	sep  string
	used bool
}

func (j *joiner) next() string {
	if !j.used {
		j.used = true
		return ""
	}
	return j.sep
}

// strftime formats a time by the codes of C, in English.
func strftime(t time.Time, format string) string {
	layouts := map[byte]string{
		'Y': "2006", 'y': "06", 'm': "01", 'd': "02", 'H': "15", 'I': "03", 'M': "04", 'S': "05", 'p': "PM",
		'b': "Jan", 'B': "January", 'a': "Mon", 'A': "Monday", 'Z': "MST", 'z': "-0700", 'F': "2006-01-02", 'T': "15:04:05",
		'D': "01/02/06", 'R': "15:04", 'e': "_2", 'c': "Mon Jan _2 15:04:05 2006", 'x': "01/02/06", 'X': "15:04:05", 'h': "Jan",
	}
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		short := format[i] == '-' && i+1 < len(format) // without zeros in front
		if short {
			i++
		}
		text := ""
		switch c := format[i]; c {
		case '%':
			text = "%"
		case 'n':
			text = "\n"
		case 't':
			text = "\t"
		case 'j':
			text = fmt.Sprintf("%03d", t.YearDay())
		case 's':
			text = strconv.FormatInt(t.Unix(), 10)
		case 'f':
			text = fmt.Sprintf("%06d", t.Nanosecond()/1000)
		case 'u':
			text = strconv.Itoa((int(t.Weekday())+6)%7 + 1)
		case 'w':
			text = strconv.Itoa(int(t.Weekday()))
		default:
			layout, ok := layouts[c]
			if !ok {
				text = "%" + string(c)
				break
			}
			text = t.Format(layout)
		}
		if short && len(text) > 1 {
			text = strings.TrimLeft(text[:len(text)-1], "0") + text[len(text)-1:]
		}
		b.WriteString(text)
	}
	return b.String()
}
