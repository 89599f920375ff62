package setting

import (
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"tandem/fault"
)

// Check holds every setting against its limits. given, which may be nil, says where
// values come from.
func Check(v any, given *Node) error {
	for _, s := range List(v, given) {
		if err := s.check(); err != nil {
			return err
		}
	}
	return nil
}

func (s Setting) check() error {
	at := s.Key
	if s.Source.Name != "" {
		at = s.Source.String() + ", " + s.Key
	}
	if s.One != "" {
		names := strings.Fields(s.One)
		if text := s.value.String(); !slices.Contains(names, text) {
			return fault.New("setting.check", fault.Invalid, "%s is %.100q, it must be one of: %s", at, text, strings.Join(names, ", ")).
				Try(Suggest(text, names))
		}
	}
	if s.Limit == "" {
		return nil
	}
	var x float64
	switch v := s.value; {
	case v.CanInt():
		x = float64(v.Int())
	case v.CanUint():
		x = float64(v.Uint())
	default:
		x = v.Float()
	}
	if !inside(s.Limit, x) {
		return fault.New("setting.check", fault.Invalid, "%s is %v, it must be %s", at, s.value.Interface(), rangeOf(s.Limit)).
			Try("tandem train --explain lists the keys, their ranges and defaults")
	}
	return nil
}

// ends are the bounds of an interval such as [0,1).
func ends(limit string) (from, to string, withFrom, withTo bool) {
	from, to, _ = strings.Cut(limit[1:len(limit)-1], ",")
	return from, to, limit[0] == '[', limit[len(limit)-1] == ']'
}

func inside(limit string, x float64) bool {
	from, to, withFrom, withTo := ends(limit)
	lo, errLo := strconv.ParseFloat(from, 64)
	hi, errHi := strconv.ParseFloat(to, 64)
	above := from == "" || errLo == nil && (x > lo || withFrom && x == lo)
	below := to == "" || errHi == nil && (x < hi || withTo && x == hi)
	return x == x && above && below
}

// rangeOf says an interval in words.
func rangeOf(limit string) *fault.Error {
	from, to, withFrom, withTo := ends(limit)
	say := func(format string, args ...any) *fault.Error { return fault.New("", fault.Invalid, format, args...) }
	switch {
	case to == "" && withFrom:
		return say("at least %s", from)
	case to == "":
		return say("above %s", from)
	case withFrom && withTo:
		return say("from %s to %s", from, to)
	case withFrom:
		return say("at least %s and below %s", from, to)
	case withTo:
		return say("above %s and at most %s", from, to)
	}
	return say("above %s and below %s", from, to)
}

// Range says in words what values a setting takes; nil: any of its kind.
func (s Setting) Range() error {
	switch {
	case s.One != "":
		return errors.New(strings.Join(strings.Fields(s.One), ", "))
	case s.Limit != "":
		return rangeOf(s.Limit)
	case s.value.Kind() == reflect.Bool:
		return errors.New("true or false")
	}
	return nil
}
