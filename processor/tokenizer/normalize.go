package tokenizer

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// normalizer changes a text before it is cut into pieces.
type normalizer func(s string) string

func chain(all []normalizer) normalizer {
	switch len(all) {
	case 0:
		return func(s string) string { return s }
	case 1:
		return all[0]
	}
	return func(s string) string {
		for _, n := range all {
			s = n(s)
		}
		return s
	}
}

func prepend(prefix string) normalizer {
	return func(s string) string {
		if s == "" {
			return s
		}
		return prefix + s
	}
}

func replace(old, with string) normalizer {
	return func(s string) string { return strings.ReplaceAll(s, old, with) }
}

func lowercase(s string) string {
	for i := range len(s) {
		if c := s[i]; c >= utf8.RuneSelf || 'A' <= c && c <= 'Z' {
			return toLower(s)
		}
	}
	return s
}

// toLower lowers each character by itself: U+0130 becomes two characters, and a
// final sigma is like any other.
func toLower(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for _, r := range s {
		if r == 'İ' {
			b.WriteString("i̇")
		} else {
			b.WriteRune(toLowerRune(r))
		}
	}
	return b.String()
}

// stripAccents drops marks.
func stripAccents(s string) string { return drop(s, isAccent) }

func drop(s string, is func(rune) bool) string {
	return strings.Map(func(r rune) rune {
		if r >= 0x300 && is(r) {
			return -1
		}
		return r
	}, s)
}

func strip(left, right bool) normalizer {
	return func(s string) string {
		if left {
			s = strings.TrimLeftFunc(s, unicode.IsSpace)
		}
		if right {
			s = strings.TrimRightFunc(s, unicode.IsSpace)
		}
		return s
	}
}

// nmt drops control characters and makes others plain spaces, as the normaliser of
// neural machine translation in SentencePiece does.
func nmt(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 1 && r <= 8, r == 0xb, r >= 0xe && r <= 0x1f, r == 0x7f, r == 0x8f, r == 0x9f:
			return -1
		case r == 9, r == 0xa, r == 0xc, r == 0xd, r == 0x1680, r >= 0x200b && r <= 0x200f, r == 0x2028, r == 0x2029, r == 0x2581, r == 0xfeff, r == 0xfffd:
			return ' '
		}
		return r
	}, s)
}

// bert is the normaliser of BERT.
type bert struct{ clean, chinese, accents, lower bool }

func (b bert) normalize(s string) string {
	if b.clean {
		s = strings.Map(func(r rune) rune {
			switch {
			case r == 0 || r == utf8.RuneError || isControl(r):
				return -1
			case unicode.IsSpace(r):
				return ' '
			}
			return r
		}, s)
	}
	if b.chinese && strings.IndexFunc(s, isChinese) >= 0 {
		var w strings.Builder
		for _, r := range s {
			if isChinese(r) {
				w.WriteByte(' ')
				w.WriteRune(r)
				w.WriteByte(' ')
			} else {
				w.WriteRune(r)
			}
		}
		s = w.String()
	}
	if b.accents {
		s = drop(normalForm(norm.NFD)(s), isBertAccent)
	}
	if b.lower {
		s = lowercase(s)
	}
	return s
}

func isChinese(r rune) bool {
	return r >= 0x4e00 && r <= 0x9fff || r >= 0x3400 && r <= 0x4dbf || r >= 0x20000 && r <= 0x2a6df ||
		r >= 0x2a700 && r <= 0x2b73f || r >= 0x2b740 && r <= 0x2b81f || r >= 0x2b920 && r <= 0x2ceaf ||
		r >= 0xf900 && r <= 0xfaff || r >= 0x2f800 && r <= 0x2fa1f
}

// collapse makes runs of spaces one space, and drops those at both ends.
func collapse(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == ' ' }), " ")
}
