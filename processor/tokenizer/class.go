package tokenizer

import (
	"sync"
	"unicode"
	"unicode/utf8"
)

// class is a set of properties of a character.
type class uint8

const (
	letter class = 1 << iota // L
	mark                     // M
	number                   // N
	space                    // White_Space
	punct                    // P
	symbol                   // S
	upper                    // Lu, Lt
	lower                    // Ll
)

// classes holds the class of every character. It is filled by ranges, once, in less
// than a millisecond.
var classes = sync.OnceValue(func() *[unicode.MaxRune + 1]class {
	var all [unicode.MaxRune + 1]class
	for _, t := range []struct {
		table *unicode.RangeTable
		class class
	}{
		{unicode.L, letter}, {unicode.M, mark}, {unicode.N, number}, {unicode.White_Space, space}, {unicode.P, punct},
		{unicode.S, symbol}, {unicode.Lu, upper}, {unicode.Lt, upper}, {unicode.Ll, lower},
	} {
		fill := func(lo, hi, stride uint32) {
			for r := lo; r <= hi; r += stride {
				all[r] |= t.class
			}
		}
		for _, r := range t.table.R16 {
			fill(uint32(r.Lo), uint32(r.Hi), uint32(r.Stride))
		}
		for _, r := range t.table.R32 {
			fill(r.Lo, r.Hi, r.Stride)
		}
	}
	for _, t := range newer() {
		for r := t.lo; r <= t.hi; r++ {
			all[r] |= t.class
		}
	}
	return &all
})

// runs finds runs of characters of a class.
type runs struct{ of *[unicode.MaxRune + 1]class }

// at is the class of the character at s[i:] and its length; 0 at the end.
func (t runs) at(s string, i int) (class, int) {
	if i >= len(s) {
		return 0, 0
	}
	if c := s[i]; c < utf8.RuneSelf {
		return t.of[c], 1
	}
	r, n := utf8.DecodeRuneInString(s[i:])
	return t.of[r], n
}

// skip is the end of the run from i on whose characters have a property of c.
func (t runs) skip(s string, i int, c class) int {
	for {
		k, n := t.at(s, i)
		if k&c == 0 {
			return i
		}
		i += n
	}
}

// skipNot is the end of the run from i on whose characters have none of c.
func (t runs) skipNot(s string, i int, c class) int {
	for {
		k, n := t.at(s, i)
		if n == 0 || k&c != 0 {
			return i
		}
		i += n
	}
}
