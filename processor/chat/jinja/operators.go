package jinja

import (
	"math"
	"slices"
	"strings"
)

func (e negate) eval(s *state) any {
	v := e.of.eval(s)
	s.line = e.line
	f, i, isInt, ok := number(v)
	switch {
	case !ok:
		s.fail("a value of type %s has no sign", typeName(v))
	case isInt && e.minus:
		return -i
	case isInt:
		return i
	case e.minus:
		return -f
	}
	return f
}

func (e compare) eval(s *state) any {
	left := e.left.eval(s)
	for i, op := range e.ops {
		right := e.rights[i].eval(s)
		s.spend(1)
		s.line = e.line
		if !s.compare(op, left, right) {
			return false
		}
		left = right
	}
	return true
}

func (s *state) compare(op string, a, b any) bool {
	switch op {
	case "==":
		return s.equal(a, b, 0)
	case "!=":
		return !s.equal(a, b, 0)
	case "in":
		return s.contains(b, a)
	case "not in":
		return !s.contains(b, a)
	}
	c := s.order(a, b)
	switch op {
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	}
	return c >= 0
}

// order compares numbers, texts and lists as Python's < does.
func (s *state) order(a, b any) int {
	if x, _, _, ok := number(a); ok {
		if y, _, _, ok := number(b); ok {
			switch {
			case x < y:
				return -1
			case x > y:
				return 1
			}
			return 0
		}
	}
	switch x := a.(type) {
	case string:
		if y, ok := b.(string); ok {
			s.spend(min(len(x), len(y)) / 64)
			return strings.Compare(x, y)
		}
	case *List:
		if y, ok := b.(*List); ok {
			s.spend(min(len(x.Items), len(y.Items)) + 1)
			for i := range min(len(x.Items), len(y.Items)) {
				if !s.equal(x.Items[i], y.Items[i], 0) {
					return s.order(x.Items[i], y.Items[i])
				}
			}
			return len(x.Items) - len(y.Items)
		}
	}
	s.fail("values of the types %s and %s have no order", typeName(a), typeName(b))
	return 0
}

func (s *state) contains(in, v any) bool {
	switch in := in.(type) {
	case string:
		t, ok := v.(string)
		if !ok {
			s.fail("a value of type %s is looked for in a string", typeName(v))
		}
		s.spend(len(in) / 64)
		return strings.Contains(in, t)
	case *List:
		return slices.ContainsFunc(in.Items, func(x any) bool { return s.equal(x, v, 0) })
	case *Dict:
		_, ok := in.Get(v)
		return ok
	case undefined:
		return false
	}
	s.fail("a value of type %s contains nothing", typeName(in))
	return false
}

func (e binary) eval(s *state) any {
	v, _ := e.marked(s)
	return v
}

// marked is the result, and whether it is text that the filter safe marked as HTML: text
// that is added to such is escaped, as Python's markupsafe does. Templates that say safe
// expect it, though none writes HTML. A mark ends with the sum in which it is written: it
// does not outlast another filter, or a variable.
func (e binary) marked(s *state) (v any, safe bool) {
	a, safeA := s.marked(e.left)
	b, safeB := s.marked(e.right)
	s.spend(1)
	s.line = e.line
	if safe = e.op == "+" && safeA != safeB; safe {
		other := &a
		if safeA {
			other = &b
		}
		if _, ok := (*other).(string); ok {
			*other = escape(s, *other, arg{})
		}
	}
	return s.operate(e.op, a, b), safe || e.op == "+" && safeA
}

func (s *state) marked(e expr) (v any, safe bool) {
	switch e := e.(type) {
	case binary:
		return e.marked(s)
	case filterExpr:
		return e.eval(s), e.name == "safe"
	}
	return e.eval(s), false
}

func (s *state) operate(op string, a, b any) any {
	if op == "~" {
		return s.text(s.str(a) + s.str(b))
	}
	x, i, xInt, okX := number(a)
	y, j, yInt, okY := number(b)
	if okX && okY {
		if xInt && yInt {
			return s.integers(op, i, j)
		}
		return s.floats(op, x, y)
	}
	switch op {
	case "+":
		switch a := a.(type) {
		case string:
			if t, ok := b.(string); ok {
				return s.text(a + t)
			}
		case *List:
			if t, ok := b.(*List); ok {
				l := s.list(slices.Concat(a.Items, t.Items))
				l.tuple = a.tuple
				return l
			}
		}
	case "*":
		switch {
		case okY && yInt:
			return s.repeat(a, j)
		case okX && xInt:
			return s.repeat(b, i)
		}
	case "%":
		if t, ok := a.(string); ok {
			return s.format(t, b)
		}
	}
	for _, v := range []any{a, b} {
		if u, ok := v.(undefined); ok {
			s.fail("%s is undefined", u.name)
		}
	}
	s.fail("%s cannot be applied to values of the types %s and %s", op, typeName(a), typeName(b))
	return nil
}

func (s *state) repeat(v any, n int) any {
	n = max(0, n)
	switch v := v.(type) {
	case string:
		if len(v) > 0 && n > s.limits.OutputBytes/len(v) {
			s.bound(s.limits.OutputBytes + 1)
		}
		return s.text(strings.Repeat(v, n))
	case *List:
		if len(v.Items) > 0 && n > s.limits.Steps/len(v.Items) {
			s.spend(s.limits.Steps + 1)
		}
		s.spend(n * len(v.Items))
		return &List{Items: slices.Repeat(v.Items, n), tuple: v.tuple}
	}
	s.fail("a value of type %s cannot be repeated", typeName(v))
	return nil
}

// maxInt bounds integers, which have no bound in Python, so that no product
// overflows.
const maxInt = 1 << 53

func (s *state) integers(op string, i, j int) any {
	if (op == "/" || op == "//" || op == "%") && j == 0 {
		s.fail("division by zero")
	}
	var v int
	switch op {
	case "+":
		v = i + j
	case "-":
		v = i - j
	case "*":
		if math.Abs(float64(i)*float64(j)) > maxInt {
			s.fail("the number is too large")
		}
		v = i * j
	case "/":
		return float64(i) / float64(j)
	case "//":
		if v = i / j; i%j != 0 && (i < 0) != (j < 0) {
			v--
		}
	case "%":
		if v = i % j; v != 0 && (v < 0) != (j < 0) {
			v += j
		}
	case "**":
		f := math.Pow(float64(i), float64(j))
		if j < 0 {
			return f
		}
		if math.Abs(f) > maxInt {
			s.fail("the number is too large")
		}
		v = int(f)
	}
	if v > maxInt || v < -maxInt {
		s.fail("the number is too large")
	}
	return v
}

func (s *state) floats(op string, x, y float64) any {
	if (op == "/" || op == "//" || op == "%") && y == 0 {
		s.fail("division by zero")
	}
	switch op {
	case "+":
		return x + y
	case "-":
		return x - y
	case "*":
		return x * y
	case "/":
		return x / y
	case "//":
		return math.Floor(x / y)
	case "%":
		m := math.Mod(x, y)
		if m != 0 && (m < 0) != (y < 0) {
			m += y
		}
		return m
	}
	return math.Pow(x, y)
}
