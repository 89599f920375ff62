package jinja

import (
	"strings"
	"unicode/utf8"
)

func (e literal) eval(*state) any { return e.value }

func (e nameExpr) eval(s *state) any {
	s.spend(1)
	s.line = e.line
	if v, ok := s.lookup(e.name); ok {
		return v
	}
	return undefined{e.name}
}

func (e listExpr) eval(s *state) any {
	items := make([]any, len(e.items))
	for i, x := range e.items {
		items[i] = x.eval(s)
	}
	l := s.list(items)
	l.tuple = e.tuple
	return l
}

func (e dictExpr) eval(s *state) any {
	d := NewDict()
	for i := range e.keys {
		s.spend(1)
		d.Set(s.key(e.keys[i].eval(s)), e.values[i].eval(s))
	}
	return d
}

// key checks that a value can be the key of a dict.
func (s *state) key(v any) any {
	switch v.(type) {
	case string, int, bool, float64, nil:
		return v
	}
	s.fail("a value of type %s cannot be a key", typeName(v))
	return nil
}

func (e attribute) eval(s *state) any {
	v := e.of.eval(s)
	s.spend(1)
	s.line = e.line
	return s.attribute(v, e.name)
}

// attribute is v.name: a method, or else an item.
func (s *state) attribute(v any, name string) any {
	switch v := v.(type) {
	case undefined:
		s.fail("%s is undefined, and has no attribute %s", v.name, name)
	case *Dict:
		if m := dictMethod(v, name); m != nil {
			return m
		}
		if x, ok := v.Get(name); ok {
			return x
		}
	case *Namespace:
		if x, ok := v.attributes.Get(name); ok {
			return x
		}
	case *loop:
		if x, ok := v.attribute(name); ok {
			return x
		}
	case string:
		if m := textMethod(v, name); m != nil {
			s.spend(len(v) / 64) // no method takes less
			return m
		}
	case *List:
		if m := listMethod(v, name); m != nil {
			return m
		}
	case *joiner:
		return undefined{name}
	}
	return undefined{typeName(v) + "." + name}
}

func (e item) eval(s *state) any {
	v, index := e.of.eval(s), e.index.eval(s)
	s.spend(1)
	s.line = e.line
	return s.item(v, index)
}

// item is v[index], or v.index where index is a string and v has no such item.
func (s *state) item(v, index any) any {
	switch v := v.(type) {
	case undefined:
		s.fail("%s is undefined, and has no item %s", v.name, s.str(index))
	case *Dict:
		if x, ok := v.Get(index); ok {
			return x
		}
	case *List:
		if i, ok := index.(int); ok {
			if i < 0 {
				i += len(v.Items)
			}
			if i >= 0 && i < len(v.Items) {
				return v.Items[i]
			}
			return undefined{"an item beyond the list's end"}
		}
	case string:
		if i, ok := index.(int); ok {
			s.spend(len(v) / 64)
			n := utf8.RuneCountInString(v)
			if i < 0 {
				i += n
			}
			if i < 0 || i >= n {
				return undefined{"a character beyond the text's end"}
			}
			return runeAt(v, i)
		}
	}
	if name, ok := index.(string); ok {
		return s.attribute(v, name)
	}
	return undefined{typeName(v) + "[" + s.str(index) + "]"}
}

func runeAt(v string, i int) string {
	for _, r := range v {
		if i == 0 {
			return string(r)
		}
		i--
	}
	return ""
}

func (e slice) eval(s *state) any {
	v := e.of.eval(s)
	s.line = e.line
	bound := func(x expr) (int, bool) {
		if x == nil {
			return 0, false
		}
		switch v := x.eval(s).(type) {
		case nil:
			return 0, false
		case int:
			return v, true
		case bool:
			_, i, _, _ := number(v)
			return i, true
		default:
			s.fail("the bound of a slice is of type %s", typeName(v))
		}
		return 0, false
	}
	var items []any
	text, isText := v.(string)
	if isText {
		s.spend(len(text) / 16)
		for _, r := range text {
			items = append(items, string(r))
		}
	} else if l, ok := v.(*List); ok {
		items = l.Items
	} else {
		if u, ok := v.(undefined); ok {
			s.fail("%s is undefined", u.name)
		}
		s.fail("a value of type %s cannot be sliced", typeName(v))
	}
	picked := pick(s, items, bound, e)
	if isText {
		var b strings.Builder
		for _, x := range picked {
			b.WriteString(x.(string)) // they are characters
		}
		return s.text(b.String())
	}
	l := s.list(picked)
	l.tuple = v.(*List).tuple // it is one
	return l
}

// pick takes the items that a slice means.
func pick(s *state, items []any, bound func(expr) (int, bool), e slice) []any {
	n := len(items)
	every, given := bound(e.every)
	if !given {
		every = 1
	}
	if every == 0 {
		s.fail("a slice with a step of 0")
	}
	clamp := func(x expr, byDefault int) int {
		i, given := bound(x)
		if !given {
			return byDefault
		}
		if i < 0 {
			i += n
		}
		if every < 0 {
			return max(-1, min(n-1, i))
		}
		return max(0, min(n, i))
	}
	picked := []any{}
	if every > 0 {
		for i, end := clamp(e.begin, 0), clamp(e.end, n); i < end; i += min(every, n) {
			picked = append(picked, items[i])
		}
		return picked
	}
	for i, end := clamp(e.begin, n-1), clamp(e.end, -1); i > end; i += max(every, -n-1) {
		picked = append(picked, items[i])
	}
	return picked
}

func (a arguments) eval(s *state) ([]any, *Dict) {
	args, named := make([]any, 0, len(a.plain)), NewDict()
	for _, x := range a.plain {
		args = append(args, x.eval(s))
	}
	if a.star != nil {
		args = append(args, s.items(a.star.eval(s))...)
	}
	for i, x := range a.named {
		named.Set(a.names[i], x.eval(s))
	}
	if a.starStar != nil {
		d, ok := a.starStar.eval(s).(*Dict)
		if !ok {
			s.fail("** before a value that is no dict")
		}
		for _, k := range d.keys {
			named.Set(k, d.values[k])
		}
	}
	s.spend(len(args) + len(named.keys) + 1)
	return args, named
}

func (e callExpr) eval(s *state) any {
	f := e.of.eval(s)
	args, named := e.args.eval(s)
	s.line = e.line
	return s.call(f, args, named)
}

func (s *state) call(f any, args []any, named *Dict) any {
	switch f := f.(type) {
	case function:
		return f(s, args, named)
	case *joiner:
		return f.next()
	case undefined:
		s.fail("%s is undefined, and cannot be called", f.name)
	}
	s.fail("a value of type %s cannot be called", typeName(f))
	return nil
}

func (e filterExpr) eval(s *state) any {
	v := e.of.eval(s)
	args, named := e.args.eval(s)
	s.line = e.line
	return e.do(s, v, arg{args, named})
}

func (e testExpr) eval(s *state) any {
	v := e.of.eval(s)
	args, _ := e.args.eval(s)
	s.line = e.line
	return e.do(s, v, args) != e.not
}

func (e logical) eval(s *state) any {
	v := e.left.eval(s)
	if truth(v) == e.and {
		return e.right.eval(s)
	}
	return v
}

func (e notExpr) eval(s *state) any { return !truth(e.of.eval(s)) }

func (e choose) eval(s *state) any {
	if truth(e.condition.eval(s)) {
		return e.yes.eval(s)
	}
	return e.no.eval(s)
}

// items are what a loop goes through.
func (s *state) items(v any) []any {
	switch v := v.(type) {
	case *List:
		return v.Items
	case *Dict:
		return v.keys
	case string:
		s.spend(len(v))
		items := make([]any, 0, len(v))
		for _, r := range v {
			items = append(items, string(r))
		}
		return items
	case undefined:
		return nil
	}
	s.fail("a value of type %s cannot be looped over", typeName(v))
	return nil
}
