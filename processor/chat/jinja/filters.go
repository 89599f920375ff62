package jinja

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// filter changes a value.
type filter func(s *state, v any, a arg) any

func filters() map[string]filter {
	byMethod := func(name string) filter {
		return func(s *state, v any, a arg) any {
			return textMethod(s.str(v), name).(function)(s, a.plain, a.named) // every name is one
		}
	}
	all := map[string]filter{
		"tojson": toJSON, "join": joinFilter, "default": defaultFilter, "d": defaultFilter,
		"length": length, "count": length, "first": first, "last": last, "list": listFilter, "reverse": reverse,
		"string": func(s *state, v any, _ arg) any { return s.str(v) },
		"int":    intFilter, "float": floatFilter, "abs": absFilter, "round": roundFilter,
		"items": itemsFilter, "dictsort": dictSort, "sort": sortFilter, "unique": unique, "sum": sum,
		"min": extremeFilter(-1), "max": extremeFilter(1), "attr": func(s *state, v any, a arg) any { return s.attribute(v, a.text(s, 0, "name", "")) },
		"map": mapFilter, "select": selectFilter(false, true), "reject": selectFilter(false, false),
		"selectattr": selectFilter(true, true), "rejectattr": selectFilter(true, false),
		"indent": indent, "safe": func(_ *state, v any, _ arg) any { return v }, "escape": escape, "e": escape,
		"format":  func(s *state, v any, a arg) any { return s.format(s.str(v), &List{Items: a.plain, tuple: true}) },
		"replace": byMethod("replace"), "upper": byMethod("upper"), "lower": byMethod("lower"), "title": byMethod("title"),
		"capitalize": byMethod("capitalize"), "trim": byMethod("strip"), "center": byMethod("center"),
		"wordcount": func(s *state, v any, _ arg) any { return len(strings.FieldsFunc(s.str(v), pythonSpace)) },
		"groupby":   groupBy, "batch": batch,
	}
	return all
}

func toJSON(s *state, v any, a arg) any {
	d := &dump{s: s, item: ", ", pair: ": ", ascii: truth(a.get(0, "ensure_ascii", false)), sorted: truth(a.get(3, "sort_keys", false))}
	switch indent := a.get(1, "indent", nil).(type) {
	case int:
		s.bound(indent)
		d.line, d.indent, d.item = true, strings.Repeat(" ", max(0, indent)), ","
	case string:
		d.line, d.indent, d.item = true, indent, ","
	}
	if l, ok := a.get(2, "separators", nil).(*List); ok && len(l.Items) == 2 {
		d.item, d.pair = s.str(l.Items[0]), s.str(l.Items[1])
	}
	d.value(v, 0)
	return s.text(d.b.String())
}

func joinFilter(s *state, v any, a arg) any {
	items := s.items(v)
	if name, ok := a.get(1, "attribute", nil).(string); ok {
		items = slices.Clone(items)
		for i, x := range items {
			items[i] = s.path(x, name)
		}
	}
	return s.join(items, s.str(a.get(0, "d", "")))
}

// path is the value of a dotted path of attributes.
func (s *state) path(v any, path string) any {
	for _, name := range strings.Split(path, ".") {
		if i, err := strconv.Atoi(name); err == nil {
			v = s.item(v, i)
		} else {
			v = s.item(v, name)
		}
	}
	return v
}

func defaultFilter(_ *state, v any, a arg) any {
	_, missing := v.(undefined)
	if missing || truth(a.get(1, "boolean", false)) && !truth(v) {
		return a.get(0, "default_value", "")
	}
	return v
}

func length(s *state, v any, _ arg) any {
	switch v := v.(type) {
	case string:
		s.spend(len(v) / 64)
		return utf8.RuneCountInString(v)
	case *List:
		if !v.lazy {
			return len(v.Items)
		}
	case *Dict:
		return len(v.keys)
	case undefined:
		return 0
	}
	s.fail("a value of type %s has no length", typeName(v))
	return nil
}

func first(s *state, v any, _ arg) any {
	if items := s.items(v); len(items) > 0 {
		return items[0]
	}
	return undefined{"the first item of nothing"}
}

func last(s *state, v any, _ arg) any {
	if items := s.items(v); len(items) > 0 {
		return items[len(items)-1]
	}
	return undefined{"the last item of nothing"}
}

func listFilter(s *state, v any, _ arg) any { return s.list(slices.Clone(s.items(v))) }

func reverse(s *state, v any, _ arg) any {
	items := slices.Clone(s.items(v))
	slices.Reverse(items)
	if _, ok := v.(string); ok {
		return s.join(items, "")
	}
	return s.generator(items)
}

func intFilter(s *state, v any, a arg) any {
	switch v := v.(type) {
	case string:
		t := strings.TrimFunc(v, pythonSpace)
		if i, err := strconv.Atoi(t); err == nil {
			return i
		}
		if f, err := strconv.ParseFloat(t, 64); err == nil && math.Abs(f) < maxInt {
			return int(f)
		}
	case float64:
		if math.Abs(v) < maxInt {
			return int(v)
		}
	default:
		if _, i, isInt, ok := number(v); ok && isInt {
			return i
		}
	}
	return a.get(0, "default", 0)
}

func floatFilter(_ *state, v any, a arg) any {
	if t, ok := v.(string); ok {
		if f, err := strconv.ParseFloat(strings.TrimFunc(t, pythonSpace), 64); err == nil {
			return f
		}
	} else if f, _, _, ok := number(v); ok {
		return f
	}
	return a.get(0, "default", 0.0)
}

func absFilter(s *state, v any, _ arg) any {
	f, i, isInt, ok := number(v)
	switch {
	case !ok:
		s.fail("abs of a value of type %s", typeName(v))
	case isInt:
		return max(i, -i)
	}
	return math.Abs(f)
}

func roundFilter(s *state, v any, a arg) any {
	f, _, _, ok := number(v)
	if !ok {
		s.fail("round of a value of type %s", typeName(v))
	}
	scale := math.Pow10(a.int(s, 0, "precision", 0))
	switch a.text(s, 1, "method", "common") {
	case "ceil":
		return math.Ceil(f*scale) / scale
	case "floor":
		return math.Floor(f*scale) / scale
	}
	return math.RoundToEven(f*scale) / scale
}

func itemsFilter(s *state, v any, _ arg) any {
	switch v := v.(type) {
	case *Dict:
		return s.pairs(v)
	case undefined:
		return s.list(nil)
	}
	s.fail("items of a value of type %s", typeName(v))
	return nil
}

func dictSort(s *state, v any, a arg) any {
	d, ok := v.(*Dict)
	if !ok {
		s.fail("dictsort of a value of type %s", typeName(v))
	}
	by := 0
	if a.text(s, 1, "by", "key") == "value" {
		by = 1
	}
	l := s.pairs(d)
	s.sort(l.Items, func(x any) any { return x.(*List).Items[by] }, truth(a.get(0, "case_sensitive", false)), truth(a.get(2, "reverse", false)))
	return l
}

// sort sorts in place by what key gives.
func (s *state) sort(items []any, key func(any) any, sensitive, reversed bool) {
	fold := func(v any) any {
		if t, ok := v.(string); ok && !sensitive {
			return strings.ToLower(t)
		}
		return v
	}
	slices.SortStableFunc(items, func(x, y any) int {
		s.spend(1)
		c := s.order(fold(key(x)), fold(key(y)))
		if reversed {
			return -c
		}
		return c
	})
}

func sortFilter(s *state, v any, a arg) any {
	items := slices.Clone(s.items(v))
	key := func(x any) any { return x }
	if name, ok := a.get(2, "attribute", nil).(string); ok {
		key = func(x any) any { return s.path(x, name) }
	}
	s.sort(items, key, truth(a.get(1, "case_sensitive", false)), truth(a.get(0, "reverse", false)))
	return s.list(items)
}

func unique(s *state, v any, _ arg) any {
	var kept []any
	for _, x := range s.items(v) {
		if !slices.ContainsFunc(kept, func(y any) bool { return s.equal(x, y, 0) }) {
			kept = append(kept, x)
		}
	}
	return s.generator(kept)
}

func sum(s *state, v any, a arg) any {
	total := a.get(1, "start", 0)
	for _, x := range s.items(v) {
		if name, ok := a.get(0, "attribute", nil).(string); ok {
			x = s.path(x, name)
		}
		total = s.operate("+", total, x)
	}
	return total
}

func extremeFilter(sign int) filter {
	return func(s *state, v any, _ arg) any {
		items := s.items(v)
		if len(items) == 0 {
			return undefined{"the extreme of nothing"}
		}
		return slices.MaxFunc(items, func(x, y any) int { return sign * s.order(x, y) })
	}
}

// generator accounts for what a filter gives one by one.
func (s *state) generator(items []any) *List {
	l := s.list(items)
	l.lazy = true
	return l
}

// lazyItems are the items of a value, none if it is empty or None.
func (s *state) lazyItems(v any) []any {
	if !truth(v) {
		return nil
	}
	return s.items(v)
}

func mapFilter(s *state, v any, a arg) any {
	items := slices.Clone(s.lazyItems(v))
	if name, ok := a.named.Get("attribute"); ok {
		byDefault, given := a.named.Get("default")
		for i, x := range items {
			items[i] = s.path(x, s.str(name))
			if _, missing := items[i].(undefined); missing && given {
				items[i] = byDefault
			}
		}
		return s.generator(items)
	}
	name := a.text(s, 0, "filter", "")
	do, ok := filters()[name]
	if !ok {
		s.fail("the filter %.60s is not known", name)
	}
	for i, x := range items {
		items[i] = do(s, x, arg{a.plain[min(1, len(a.plain)):], a.named})
	}
	return s.generator(items)
}

// selectFilter keeps the items (of which an attribute, if byAttribute) passes a test,
// or does not.
func selectFilter(byAttribute, keep bool) filter {
	return func(s *state, v any, a arg) any {
		args := a.plain
		value := func(x any) any { return x }
		if byAttribute {
			name := a.text(s, 0, "attribute", "")
			args = args[min(1, len(args)):]
			value = func(x any) any { return s.path(x, name) }
		}
		do := test(func(_ *state, v any, _ []any) bool { return truth(v) })
		if len(args) > 0 {
			var ok bool
			if do, ok = tests()[s.str(args[0])]; !ok {
				s.fail("the test %.60s is not known", s.str(args[0]))
			}
			args = args[1:]
		}
		var kept []any
		for _, x := range s.lazyItems(v) {
			if do(s, value(x), args) == keep {
				kept = append(kept, x)
			}
		}
		return s.generator(kept)
	}
}

func indent(s *state, v any, a arg) any {
	by, ok := a.get(0, "width", 4).(string)
	if !ok {
		n := a.int(s, 0, "width", 4)
		s.bound(n)
		by = strings.Repeat(" ", max(0, n))
	}
	lines := strings.Split(s.str(v), "\n")
	if len(lines) > 1 {
		s.bound(len(by) * len(lines))
	}
	for i, line := range lines {
		if i == 0 && !truth(a.get(1, "first", false)) || line == "" && i > 0 && !truth(a.get(2, "blank", false)) {
			continue
		}
		lines[i] = by + line
	}
	return s.text(strings.Join(lines, "\n"))
}

func escape(s *state, v any, _ arg) any {
	return s.text(strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "'", "&#39;", `"`, "&#34;").Replace(s.str(v)))
}

func groupBy(s *state, v any, a arg) any {
	name := a.text(s, 0, "attribute", "")
	items := slices.Clone(s.items(v))
	s.sort(items, func(x any) any { return s.path(x, name) }, false, false)
	var groups []any
	for _, x := range items {
		key := s.path(x, name)
		if n := len(groups); n > 0 {
			if g := groups[n-1].(*List); s.equal(g.Items[0], key, 0) {
				members := g.Items[1].(*List)
				members.Items = append(members.Items, x)
				continue
			}
		}
		groups = append(groups, &List{Items: []any{key, &List{Items: []any{x}}}, tuple: true})
	}
	return s.list(groups)
}

func batch(s *state, v any, a arg) any {
	var all []any
	for part := range slices.Chunk(s.items(v), cmp.Or(max(0, a.int(s, 0, "linecount", 1)), 1)) {
		all = append(all, &List{Items: slices.Clone(part)})
	}
	return s.list(all)
}
