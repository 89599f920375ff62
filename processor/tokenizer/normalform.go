package tokenizer

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// normalForm is a normal form as Hugging Face's library makes it, which differs from
// that of golang.org/x/text in two ways. Its tables are those of Unicode 9: a character
// that is younger stands by itself, no mark moves past it, and nothing is composed with
// it. And it has no bound on the number of marks in a row, where x/text inserts U+034F
// after thirty.
func normalForm(f norm.Form) normalizer {
	return func(s string) string {
		if f.IsNormalString(s) {
			return s // and cutting it leaves it so
		}
		var b strings.Builder
		b.Grow(len(s))
		for s != "" {
			young := strings.IndexFunc(s, func(r rune) bool { return !unicode.Is(unicode9, r) })
			if young < 0 {
				b.WriteString(formOf(f, s))
				break
			}
			b.WriteString(formOf(f, s[:young]))
			_, n := utf8.DecodeRuneInString(s[young:])
			b.WriteString(s[young:][:n])
			s = s[young+n:]
		}
		return b.String()
	}
}

// formOf is x/text's form, unless it would insert something.
func formOf(f norm.Form, s string) string {
	const joiner = "\u034f"
	y := f.String(s)
	if strings.Count(y, joiner) == strings.Count(s, joiner) {
		return y
	}
	return longForm(f, s)
}

// longForm follows the definition: characters are taken apart, marks sorted by their
// class, and what can be put together again is.
func longForm(f norm.Form, s string) string {
	apart, composed := f, f == norm.NFC || f == norm.NFKC
	if composed {
		apart++ // the form of the same kind that takes apart
	}
	var all []rune
	for _, r := range s {
		all = append(all, []rune(apart.String(string(r)))...)
	}
	for lo := 0; lo < len(all); lo++ {
		hi := lo
		for hi < len(all) && markClass(all[hi]) != 0 {
			hi++
		}
		slices.SortStableFunc(all[lo:hi], func(a, b rune) int { return int(markClass(a)) - int(markClass(b)) })
		lo = hi
	}
	if composed {
		all = compose(all)
	}
	return string(all)
}

func markClass(r rune) uint8 { return norm.NFD.PropertiesString(string(r)).CCC() }

// compose puts each character together with the last that is no mark, where the two have
// a composite and no character of the same class or a higher one stands between them.
func compose(all []rune) []rune {
	out, starter, last := all[:0], -1, uint8(0)
	for _, r := range all {
		class := markClass(r)
		if starter >= 0 && (len(out)-1 == starter || last != 0 && last < class) {
			pair := norm.NFC.String(string([]rune{out[starter], r}))
			if one, n := utf8.DecodeRuneInString(pair); n == len(pair) {
				out[starter] = one
				continue
			}
		}
		if out = append(out, r); class == 0 {
			starter = len(out) - 1
		}
		last = class
	}
	return out
}
