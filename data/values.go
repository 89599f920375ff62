package data

import (
	"math"
	"strconv"
	"strings"
	"time"
	"unsafe"
)

// class is what a text looks like.
type class uint8

const (
	looksText    class = iota
	looksCode          // digits that begin with 0: a number would lose it
	looksInteger       // fits int64
	looksFloat
	looksBoolean
	looksDate
	looksInfinite // inf, or more than float64 holds
	classes
)

// classify tells what a field of a text file looks like.
func classify(text []byte) class {
	if len(text) == 0 {
		return looksText
	}
	switch c := text[0]; {
	case c >= '0' && c <= '9' || c == '-' || c == '+' || c == '.':
		if _, ok := parseInteger(text); ok {
			if len(text) > 1 && c == '0' {
				return looksCode
			}
			return looksInteger
		}
		if _, ok := parseFloat(text); ok {
			return looksFloat
		}
		if _, ok := parseDate(text); ok {
			return looksDate
		}
	default:
		if _, ok := parseBoolean(text); ok {
			return looksBoolean
		}
	}
	if isInfinite(text) {
		return looksInfinite
	}
	return looksText
}

// isInfinite tells a number that is none to learn from: inf as other programs write it,
// or digits that stand for more than float64 holds.
func isInfinite(text []byte) bool {
	if text[0] == '-' || text[0] == '+' {
		text = text[1:]
	}
	switch {
	case len(text) == 0:
		return false
	case text[0] >= '0' && text[0] <= '9':
		v, ok := parseFloat(text)
		return !ok && math.IsInf(v, 0)
	}
	return len(text) <= len("infinity") && (strings.EqualFold(string(text), "inf") || strings.EqualFold(string(text), "infinity"))
}

// parseInteger reads decimal digits with or without a sign.
func parseInteger(text []byte) (int64, bool) {
	digits, negative := text, false
	if len(text) > 0 && (text[0] == '-' || text[0] == '+') {
		digits, negative = text[1:], text[0] == '-'
	}
	if len(digits) == 0 || len(digits) > 19 {
		return 0, false
	}
	var n uint64
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	// The smallest int64 stands for what is missing.
	if n > math.MaxInt64 {
		return 0, false
	}
	if negative {
		return -int64(n), true
	}
	return int64(n), true
}

// parseFloat reads a finite decimal number, with or without an exponent. Of one that is
// too large v is infinite.
func parseFloat(text []byte) (v float64, ok bool) {
	for _, c := range text {
		if (c < '0' || c > '9') && c != '.' && c != '-' && c != '+' && c != 'e' && c != 'E' {
			return 0, false
		}
	}
	v, err := strconv.ParseFloat(unsafe.String(unsafe.SliceData(text), len(text)), 64)
	return v, err == nil
}

// parseBoolean reads true, false, yes and no, in any letters.
func parseBoolean(text []byte) (int64, bool) {
	if len(text) > 5 {
		return 0, false
	}
	switch strings.ToLower(string(text)) {
	case "true", "yes":
		return 1, true
	case "false", "no":
		return 0, true
	}
	return 0, false
}

// dateLayouts are the forms of dates that are read. A fraction of a second may
// follow any seconds.
var dateLayouts = [...]string{
	"2006-01-02", "2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02T15:04:05Z07:00",
	"2006-01-02 15:04:05Z07:00", "2006-01-02 15:04", "2006-01-02T15:04",
	"2006/1/2", "2006/1/2 15:04:05", "2006/1/2 15:04", "2006年1月2日",
}

// parseDate reads a date, with or without a time: microseconds since 1970, in UTC
// if it names no zone.
func parseDate(text []byte) (int64, bool) {
	if len(text) < 8 || len(text) > 40 {
		return 0, false
	}
	for _, c := range text[:4] {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	s := string(text)
	for _, layout := range dateLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UnixMicro(), true
		}
	}
	return 0, false
}
