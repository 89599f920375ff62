package jinja

import (
	"fmt"
	"strconv"
	"strings"
)

// format is Python's text % value: %s %r %d %i %f %e %g %x %X %o %c %%, with flags,
// width, precision and names.
func (s *state) format(format string, value any) string {
	args := []any{value}
	if l, ok := value.(*List); ok && l.tuple {
		args = l.Items
	}
	var b strings.Builder
	next := 0
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			b.WriteByte(format[i])
			continue
		}
		i++
		if i < len(format) && format[i] == '%' {
			b.WriteByte('%')
			continue
		}
		var v any
		named := i < len(format) && format[i] == '('
		if named {
			end := strings.IndexByte(format[i:], ')')
			d, ok := value.(*Dict)
			if end < 0 || !ok {
				s.fail("a format with a name wants a dict")
			}
			if v, ok = d.Get(format[i+1 : i+end]); !ok {
				s.fail("the format's name %.60s is not in the dict", format[i+1:i+end])
			}
			i += end + 1
		}
		begin := i
		for i < len(format) && strings.IndexByte("-+ #0123456789.", format[i]) >= 0 {
			i++
		}
		if i == len(format) {
			s.fail("a format that is not complete")
		}
		if !named {
			if next == len(args) {
				s.fail("too few values for the format")
			}
			v = args[next]
			next++
		}
		b.WriteString(s.verb(format[begin:i], format[i], v))
		s.bound(b.Len())
	}
	if _, isDict := value.(*Dict); next < len(args) && !isDict {
		s.fail("too many values for the format")
	}
	return s.text(b.String())
}

// maxWidth of a number or text in a format.
const maxWidth = 1000

func (s *state) verb(flags string, verb byte, v any) string {
	for _, part := range strings.FieldsFunc(flags, func(r rune) bool { return r < '0' || r > '9' }) {
		if n, err := strconv.Atoi(part); err != nil || n > maxWidth {
			s.fail("a width of %.20s in a format", part)
		}
	}
	f, i, isInt, ok := number(v)
	switch verb {
	case 's':
		return fmt.Sprintf("%"+strings.ReplaceAll(flags, "0s", "")+"s", s.str(v))
	case 'r':
		var b strings.Builder
		s.repr(&b, v, 0)
		return fmt.Sprintf("%"+flags+"s", b.String())
	case 'd', 'i', 'u', 'x', 'X', 'o', 'c':
		if !ok {
			break
		}
		if !isInt {
			i = int(f)
		}
		if verb == 'i' || verb == 'u' {
			verb = 'd'
		}
		return fmt.Sprintf("%"+flags+string(verb), i)
	case 'f', 'F', 'e', 'E', 'g', 'G':
		if ok {
			return fmt.Sprintf("%"+flags+string(verb), f)
		}
	}
	s.fail("%%%c cannot format a value of type %s", verb, typeName(v))
	return ""
}

// braces is Python's text.format(…) with {}, {0}, {name} and simple formats behind a
// colon.
func (s *state) braces(format string, a arg) any {
	var b strings.Builder
	next := 0
	for i := 0; i < len(format); i++ {
		c := format[i]
		if (c == '{' || c == '}') && i+1 < len(format) && format[i+1] == c {
			b.WriteByte(c)
			i++
			continue
		}
		if c != '{' {
			b.WriteByte(c)
			continue
		}
		end := strings.IndexByte(format[i:], '}')
		if end < 0 {
			s.fail("a brace in a format is not closed")
		}
		name, spec, _ := strings.Cut(format[i+1:i+end], ":")
		i += end
		b.WriteString(s.field(s.named(name, a, &next), spec))
		s.bound(b.Len())
	}
	return s.text(b.String())
}

func (s *state) named(name string, a arg, next *int) any {
	at := *next
	if name == "" {
		*next++
	} else if i, err := strconv.Atoi(name); err == nil {
		at = i
	} else {
		first, rest, dotted := strings.Cut(name, ".")
		v, ok := a.named.Get(first)
		if !ok {
			s.fail("the format's name %.60s is not given", first)
		}
		if dotted {
			v = s.path(v, rest)
		}
		return v
	}
	if at < 0 || at >= len(a.plain) {
		s.fail("the format wants argument %d of %d", at+1, len(a.plain))
	}
	return a.plain[at]
}

func (s *state) field(v any, spec string) string {
	if spec == "" {
		return s.str(v)
	}
	align := strings.IndexByte("<>", spec[0])
	flags, verb := spec, byte('s')
	if align >= 0 {
		flags = flags[1:]
	}
	if n := len(flags); n > 0 && (flags[n-1] < '0' || flags[n-1] > '9') {
		flags, verb = flags[:n-1], flags[n-1]
	} else if _, _, isInt, ok := number(v); ok && isInt {
		verb = 'd'
	}
	if strings.Trim(flags, "0123456789.+") != "" {
		s.fail("the format %.40q is not known", spec)
	}
	if _, text := v.(string); align == 0 || align < 0 && text {
		flags = "-" + flags
	}
	return s.verb(flags, verb, v)
}
