package jinja

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// arg are the arguments of a call of a method or a filter.
type arg struct {
	plain []any
	named *Dict
}

// get is the argument at place i or with that name, or byDefault.
func (a arg) get(i int, name string, byDefault any) any {
	if i < len(a.plain) {
		return a.plain[i]
	}
	if a.named != nil {
		if v, ok := a.named.Get(name); ok {
			return v
		}
	}
	return byDefault
}

func (a arg) text(s *state, i int, name, byDefault string) string {
	v := a.get(i, name, byDefault)
	t, ok := v.(string)
	if !ok {
		s.fail("argument %d is of type %s, expected a string", i+1, typeName(v))
	}
	return t
}

func (a arg) int(s *state, i int, name string, byDefault int) int {
	v := a.get(i, name, byDefault)
	_, n, isInt, ok := number(v)
	if !ok || !isInt {
		s.fail("argument %d is of type %s, expected an integer", i+1, typeName(v))
	}
	return n
}

// method makes a function of one that takes its arguments together.
func method(do func(s *state, a arg) any) any {
	return function(func(s *state, args []any, named *Dict) any { return do(s, arg{args, named}) })
}

func textMethod(v, name string) any {
	texts := func(change func(string) string) any {
		return method(func(s *state, _ arg) any { return s.text(change(v)) })
	}
	every := func(is func(rune) bool) any {
		return method(func(s *state, _ arg) any {
			s.spend(len(v) / 64)
			return v != "" && strings.IndexFunc(v, func(r rune) bool { return !is(r) }) < 0
		})
	}
	switch name {
	case "strip", "lstrip", "rstrip":
		return method(func(s *state, a arg) any { return s.text(stripText(s, v, name, a)) })
	case "upper":
		return texts(strings.ToUpper)
	case "lower":
		return texts(strings.ToLower)
	case "title":
		return texts(title)
	case "capitalize":
		return texts(capitalize)
	case "isdigit", "isdecimal", "isnumeric":
		return every(unicode.IsDigit)
	case "isalpha":
		return every(unicode.IsLetter)
	case "isalnum":
		return every(func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) })
	case "isspace":
		return every(unicode.IsSpace)
	case "isupper":
		return method(func(*state, arg) any { return v == strings.ToUpper(v) && v != strings.ToLower(v) })
	case "islower":
		return method(func(*state, arg) any { return v == strings.ToLower(v) && v != strings.ToUpper(v) })
	case "startswith":
		return method(func(s *state, a arg) any { return affix(s, v, a, strings.HasPrefix) })
	case "endswith":
		return method(func(s *state, a arg) any { return affix(s, v, a, strings.HasSuffix) })
	case "removeprefix":
		return method(func(s *state, a arg) any { return strings.TrimPrefix(v, a.text(s, 0, "prefix", "")) })
	case "removesuffix":
		return method(func(s *state, a arg) any { return strings.TrimSuffix(v, a.text(s, 0, "suffix", "")) })
	case "split", "rsplit":
		return method(func(s *state, a arg) any { return splitText(s, v, name == "rsplit", a) })
	case "splitlines":
		return method(func(s *state, a arg) any { return splitLines(s, v, truth(a.get(0, "keepends", false))) })
	case "partition", "rpartition":
		return method(func(s *state, a arg) any { return partition(s, v, name == "rpartition", a) })
	case "replace":
		return method(func(s *state, a arg) any {
			return s.replace(v, a.text(s, 0, "old", ""), a.text(s, 1, "new", ""), a.int(s, 2, "count", -1))
		})
	case "find", "rfind", "index", "count":
		return method(func(s *state, a arg) any { return search(s, v, name, a.text(s, 0, "sub", "")) })
	case "join":
		return method(func(s *state, a arg) any { return s.join(s.items(a.get(0, "iterable", nil)), v) })
	case "format":
		return method(func(s *state, a arg) any { return s.braces(v, a) })
	case "zfill", "ljust", "rjust", "center":
		return method(func(s *state, a arg) any { return pad(s, v, name, a) })
	}
	return nil
}

// pythonSpace is what Python's strip and split take for white space.
func pythonSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

func stripText(s *state, v, name string, a arg) string {
	cut := pythonSpace
	if chars, ok := a.get(0, "chars", nil).(string); ok {
		s.spend(len(v) / 64 * len(chars))
		cut = func(r rune) bool { return strings.ContainsRune(chars, r) }
	}
	if name != "rstrip" {
		v = strings.TrimLeftFunc(v, cut)
	}
	if name != "lstrip" {
		v = strings.TrimRightFunc(v, cut)
	}
	return v
}

func affix(s *state, v string, a arg, has func(s, t string) bool) bool {
	if l, ok := a.get(0, "prefix", "").(*List); ok {
		return slices.ContainsFunc(l.Items, func(x any) bool { t, ok := x.(string); return ok && has(v, t) })
	}
	return has(v, a.text(s, 0, "prefix", ""))
}

func capitalize(v string) string {
	_, n := utf8.DecodeRuneInString(v)
	return strings.ToUpper(v[:n]) + strings.ToLower(v[n:])
}

// title makes the first letter of each run of letters a capital.
func title(v string) string {
	before := false
	return strings.Map(func(r rune) rune {
		is := unicode.IsLetter(r)
		defer func() { before = is }()
		if is && !before {
			return unicode.ToTitle(r)
		}
		return unicode.ToLower(r)
	}, v)
}

func texts(s *state, all []string) *List {
	items := make([]any, len(all))
	for i, t := range all {
		items[i] = t
	}
	return s.list(items)
}

func splitText(s *state, v string, right bool, a arg) any {
	s.spend(len(v) / 16)
	limit := a.int(s, 1, "maxsplit", -1)
	sep, given := a.get(0, "sep", nil).(string)
	if !given {
		all := strings.FieldsFunc(v, pythonSpace)
		if limit >= 0 && len(all) > limit+1 {
			if right {
				s.fail("rsplit at white space with a limit is not known")
			}
			rest := v
			for range limit {
				rest = strings.TrimLeftFunc(rest, pythonSpace)
				rest = rest[strings.IndexFunc(rest, pythonSpace):]
			}
			all = append(all[:limit:limit], strings.TrimLeftFunc(rest, pythonSpace))
		}
		return texts(s, all)
	}
	if sep == "" {
		s.fail("an empty separator")
	}
	all := strings.Split(v, sep)
	if limit >= 0 && len(all) > limit+1 {
		if right {
			first := strings.Join(all[:len(all)-limit], sep)
			all = append([]string{first}, all[len(all)-limit:]...)
		} else {
			all = append(all[:limit:limit], strings.Join(all[limit:], sep))
		}
	}
	return texts(s, all)
}

func splitLines(s *state, v string, keep bool) any {
	s.spend(len(v) / 16)
	var all []string
	for v != "" {
		i := strings.IndexAny(v, "\n\r\v\f\x1c\x1d\x1e\u0085\u2028\u2029")
		if i < 0 {
			all = append(all, v)
			break
		}
		_, n := utf8.DecodeRuneInString(v[i:])
		if strings.HasPrefix(v[i:], "\r\n") {
			n = 2
		}
		line := v[:i]
		if keep {
			line = v[:i+n]
		}
		all, v = append(all, line), v[i+n:]
	}
	return texts(s, all)
}

func partition(s *state, v string, right bool, a arg) any {
	sep := a.text(s, 0, "sep", "")
	if sep == "" {
		s.fail("an empty separator")
	}
	i := strings.Index(v, sep)
	if right {
		i = strings.LastIndex(v, sep)
	}
	var parts []string
	switch {
	case i >= 0:
		parts = []string{v[:i], sep, v[i+len(sep):]}
	case right:
		parts = []string{"", "", v}
	default:
		parts = []string{v, "", ""}
	}
	l := texts(s, parts)
	l.tuple = true
	return l
}

func (s *state) replace(v, old, with string, count int) string {
	if len(with) > len(old) {
		n := strings.Count(v, old)
		if count >= 0 {
			n = min(n, count)
		}
		if n > 0 && len(with)-len(old) > s.limits.OutputBytes/n {
			s.bound(s.limits.OutputBytes + 1)
		}
	}
	return s.text(strings.Replace(v, old, with, count))
}

func search(s *state, v, name, sub string) any {
	s.spend(len(v) / 64)
	switch name {
	case "count":
		return strings.Count(v, sub)
	case "rfind":
		return runes(v, strings.LastIndex(v, sub))
	}
	i := runes(v, strings.Index(v, sub))
	if i < 0 && name == "index" {
		s.fail("the text looked for is not there")
	}
	return i
}

// runes turns a place in bytes into one in characters.
func runes(v string, i int) int {
	if i < 0 {
		return i
	}
	return utf8.RuneCountInString(v[:i])
}

func (s *state) join(items []any, sep string) string {
	var b strings.Builder
	for i, x := range items {
		if i > 0 {
			b.WriteString(sep)
		}
		b.WriteString(s.str(x))
		s.spend(1)
		s.bound(b.Len())
	}
	return s.text(b.String())
}

func pad(s *state, v, name string, a arg) any {
	width, fill := a.int(s, 0, "width", 0), " "
	if name != "zfill" {
		fill = a.text(s, 1, "fillchar", " ")
	}
	if utf8.RuneCountInString(fill) != 1 {
		s.fail("a text is filled with one character, not with %.40q", fill)
	}
	n := max(0, width-utf8.RuneCountInString(v))
	s.bound(n)
	switch name {
	case "zfill":
		sign := ""
		if v != "" && (v[0] == '-' || v[0] == '+') {
			sign, v = v[:1], v[1:]
		}
		return s.text(sign + strings.Repeat("0", n) + v)
	case "ljust":
		return s.text(v + strings.Repeat(fill, n))
	case "rjust":
		return s.text(strings.Repeat(fill, n) + v)
	}
	left := n/2 + n&width&1
	return s.text(strings.Repeat(fill, left) + v + strings.Repeat(fill, n-left))
}

func dictMethod(d *Dict, name string) any {
	switch name {
	case "items":
		return method(func(s *state, _ arg) any { return s.pairs(d) })
	case "keys":
		return method(func(s *state, _ arg) any { return s.list(slices.Clone(d.keys)) })
	case "values":
		return method(func(s *state, _ arg) any {
			items := make([]any, len(d.keys))
			for i, k := range d.keys {
				items[i] = d.values[k]
			}
			return s.list(items)
		})
	case "get":
		return method(func(s *state, a arg) any {
			if v, ok := d.Get(a.get(0, "key", nil)); ok {
				return v
			}
			return a.get(1, "default", nil)
		})
	case "copy":
		return method(func(s *state, _ arg) any {
			c := NewDict()
			s.spend(len(d.keys))
			for _, k := range d.keys {
				c.Set(k, d.values[k])
			}
			return c
		})
	case "update", "pop", "clear", "setdefault", "popitem":
		return refused("dict", name)
	}
	return nil
}

// refused are methods that change a value: values do not change.
func refused(of, name string) any {
	return method(func(s *state, _ arg) any {
		s.fail("%s.%s changes a value, which templates must not", of, name)
		return nil
	})
}

func (s *state) pairs(d *Dict) *List {
	items := make([]any, len(d.keys))
	for i, k := range d.keys {
		items[i] = &List{Items: []any{k, d.values[k]}, tuple: true}
	}
	return s.list(items)
}

func listMethod(l *List, name string) any {
	switch name {
	case "index", "count":
		return method(func(s *state, a arg) any {
			n := 0
			for i, x := range l.Items {
				if s.equal(x, a.get(0, "value", nil), 0) {
					if name == "index" {
						return i
					}
					n++
				}
			}
			if name == "index" {
				s.fail("the value looked for is not in the list")
			}
			return n
		})
	case "copy":
		return method(func(s *state, _ arg) any { return s.list(slices.Clone(l.Items)) })
	case "append", "pop", "extend", "insert", "remove", "clear", "sort", "reverse":
		return refused("list", name)
	}
	return nil
}
