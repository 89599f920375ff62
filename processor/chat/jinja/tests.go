package jinja

import "strings"

// test tells something about a value.
type test func(s *state, v any, args []any) bool

func tests() map[string]test {
	is := func(f func(v any) bool) test { return func(_ *state, v any, _ []any) bool { return f(v) } }
	comparison := func(op string) test {
		return func(s *state, v any, args []any) bool {
			if len(args) != 1 {
				s.fail("a test that compares takes one argument")
			}
			return s.compare(op, v, args[0])
		}
	}
	integer := func(s *state, v any) int {
		_, i, isInt, ok := number(v)
		if !ok || !isInt {
			s.fail("a value of type %s is no integer", typeName(v))
		}
		return i
	}
	all := map[string]test{
		"defined":   is(func(v any) bool { _, no := v.(undefined); return !no }),
		"undefined": is(func(v any) bool { _, yes := v.(undefined); return yes }),
		"none":      is(func(v any) bool { return v == nil }),
		"string":    is(func(v any) bool { _, yes := v.(string); return yes }),
		"mapping":   is(func(v any) bool { _, yes := v.(*Dict); return yes }),
		"boolean":   is(func(v any) bool { _, yes := v.(bool); return yes }),
		"true":      is(func(v any) bool { return v == true }),
		"false":     is(func(v any) bool { return v == false }),
		"integer":   is(func(v any) bool { _, yes := v.(int); return yes }),
		"float":     is(func(v any) bool { _, yes := v.(float64); return yes }),
		"number":    is(func(v any) bool { _, _, _, yes := number(v); return yes }),
		"sequence":  is(isSequence),
		"iterable":  is(func(v any) bool { _, none := v.(undefined); return none || isSequence(v) }),
		"callable":  is(func(v any) bool { _, yes := v.(function); return yes }),
		"lower": func(s *state, v any, _ []any) bool {
			t := s.str(v)
			return t == strings.ToLower(t) && t != strings.ToUpper(t)
		},
		"upper": func(s *state, v any, _ []any) bool {
			t := s.str(v)
			return t == strings.ToUpper(t) && t != strings.ToLower(t)
		},
		"odd":  func(s *state, v any, _ []any) bool { return integer(s, v)&1 == 1 },
		"even": func(s *state, v any, _ []any) bool { return integer(s, v)&1 == 0 },
		"divisibleby": func(s *state, v any, args []any) bool {
			if len(args) != 1 || integer(s, args[0]) == 0 {
				s.fail("divisibleby takes one number, not zero")
			}
			return integer(s, v)%integer(s, args[0]) == 0
		},
		"sameas": func(s *state, v any, args []any) bool {
			return len(args) == 1 && typeName(v) == typeName(args[0]) && s.equal(v, args[0], 0)
		},
		"in":      comparison("in"),
		"filter":  func(s *state, v any, _ []any) bool { _, yes := filters()[s.str(v)]; return yes },
		"escaped": is(func(any) bool { return false }),
	}
	for op, names := range map[string]string{"==": "eq equalto", "!=": "ne", "<": "lt lessthan", "<=": "le", ">": "gt greaterthan", ">=": "ge"} {
		for _, name := range strings.Fields(names) {
			all[name] = comparison(op)
		}
	}
	return all
}

func isSequence(v any) bool {
	switch v.(type) {
	case string, *List, *Dict:
		return true
	}
	return false
}
