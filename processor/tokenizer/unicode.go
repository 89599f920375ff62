package tokenizer

import (
	"unicode"

	"golang.org/x/text/unicode/rangetable"
)

// Libraries are built with tables of different versions of Unicode, and a tokenizer
// means those of the library it was made with. The tables here bring Go's, of
// Unicode 15.0, to what Hugging Face's library has in each place; they were found by
// asking it about every character.

// charRange is the characters lo to hi.
type charRange struct{ lo, hi rune }

// newer are the characters that Unicode 15.1 and 16 added, which patterns know.
func newer() []struct {
	charRange
	class class
} {
	return []struct {
		charRange
		class class
	}{
		{charRange{0x897, 0x897}, mark}, {charRange{0x1b4e, 0x1b4f}, punct}, {charRange{0x1b7f, 0x1b7f}, punct},
		{charRange{0x1c89, 0x1c89}, letter | upper}, {charRange{0x1c8a, 0x1c8a}, letter | lower}, {charRange{0x2427, 0x2429}, symbol},
		{charRange{0x2ffc, 0x2fff}, symbol}, {charRange{0x31e4, 0x31e5}, symbol}, {charRange{0x31ef, 0x31ef}, symbol},
		{charRange{0xa7cb, 0xa7cc}, letter | upper}, {charRange{0xa7cd, 0xa7cd}, letter | lower}, {charRange{0xa7da, 0xa7da}, letter | upper},
		{charRange{0xa7db, 0xa7db}, letter | lower}, {charRange{0xa7dc, 0xa7dc}, letter | upper}, {charRange{0x105c0, 0x105f3}, letter},
		{charRange{0x10d40, 0x10d49}, number}, {charRange{0x10d4a, 0x10d4f}, letter}, {charRange{0x10d50, 0x10d65}, letter | upper},
		{charRange{0x10d69, 0x10d6d}, mark}, {charRange{0x10d6e, 0x10d6e}, punct}, {charRange{0x10d6f, 0x10d6f}, letter},
		{charRange{0x10d70, 0x10d85}, letter | lower}, {charRange{0x10d8e, 0x10d8f}, symbol}, {charRange{0x10ec2, 0x10ec4}, letter},
		{charRange{0x10efc, 0x10efc}, mark}, {charRange{0x11380, 0x11389}, letter}, {charRange{0x1138b, 0x1138b}, letter},
		{charRange{0x1138e, 0x1138e}, letter}, {charRange{0x11390, 0x113b5}, letter}, {charRange{0x113b7, 0x113b7}, letter},
		{charRange{0x113b8, 0x113c0}, mark}, {charRange{0x113c2, 0x113c2}, mark}, {charRange{0x113c5, 0x113c5}, mark},
		{charRange{0x113c7, 0x113ca}, mark}, {charRange{0x113cc, 0x113d0}, mark}, {charRange{0x113d1, 0x113d1}, letter},
		{charRange{0x113d2, 0x113d2}, mark}, {charRange{0x113d3, 0x113d3}, letter}, {charRange{0x113d4, 0x113d5}, punct},
		{charRange{0x113d7, 0x113d8}, punct}, {charRange{0x113e1, 0x113e2}, mark}, {charRange{0x116d0, 0x116e3}, number},
		{charRange{0x11bc0, 0x11be0}, letter}, {charRange{0x11be1, 0x11be1}, punct}, {charRange{0x11bf0, 0x11bf9}, number},
		{charRange{0x11f5a, 0x11f5a}, mark}, {charRange{0x13460, 0x143fa}, letter}, {charRange{0x16100, 0x1611d}, letter},
		{charRange{0x1611e, 0x1612f}, mark}, {charRange{0x16130, 0x16139}, number}, {charRange{0x16d40, 0x16d6c}, letter},
		{charRange{0x16d6d, 0x16d6f}, punct}, {charRange{0x16d70, 0x16d79}, number}, {charRange{0x18cff, 0x18cff}, letter},
		{charRange{0x1cc00, 0x1ccef}, symbol}, {charRange{0x1ccf0, 0x1ccf9}, number}, {charRange{0x1cd00, 0x1ceb3}, symbol},
		{charRange{0x1e5d0, 0x1e5ed}, letter}, {charRange{0x1e5ee, 0x1e5ef}, mark}, {charRange{0x1e5f0, 0x1e5f0}, letter},
		{charRange{0x1e5f1, 0x1e5fa}, number}, {charRange{0x1e5ff, 0x1e5ff}, punct}, {charRange{0x1f8b2, 0x1f8bb}, symbol},
		{charRange{0x1f8c0, 0x1f8c1}, symbol}, {charRange{0x1fa89, 0x1fa89}, symbol}, {charRange{0x1fa8f, 0x1fa8f}, symbol},
		{charRange{0x1fabe, 0x1fabe}, symbol}, {charRange{0x1fac6, 0x1fac6}, symbol}, {charRange{0x1fadc, 0x1fadc}, symbol},
		{charRange{0x1fadf, 0x1fadf}, symbol}, {charRange{0x1fae9, 0x1fae9}, symbol}, {charRange{0x1fbcb, 0x1fbef}, symbol},
		{charRange{0x2ebf0, 0x2ee5d}, letter},
	}
}

// The characters that older versions of Unicode have.
var (
	unicode8 = rangetable.Assigned("8.0.0") // BERT's normaliser and pre-tokenizer
	unicode9 = rangetable.Assigned("9.0.0") // normal forms, and accents that are stripped
)

// isBertPunct: ASCII signs count as punctuation, too.
func isBertPunct(r rune) bool {
	switch {
	case r < 0x80:
		return r >= '!' && r <= '/' || r >= ':' && r <= '@' || r >= '[' && r <= '`' || r >= '{' && r <= '~'
	case r == 0x166d, r == 0x111c9:
		return true
	}
	return unicode.IsPunct(r) && unicode.Is(unicode8, r)
}

// isBertAccent: the nonspacing marks that BERT's normaliser drops. Some characters have
// changed their category since.
func isBertAccent(r rune) bool {
	switch r {
	case 0x1734:
		return true
	case 0x1885, 0x1886, 0xa9bd, 0x111c9:
		return false
	}
	return unicode.Is(unicode.Mn, r) && unicode.Is(unicode8, r)
}

// isAccent: the marks that StripAccents drops.
func isAccent(r rune) bool {
	switch r {
	case 0x1cf2, 0x1cf3:
		return true
	case 0x111c9:
		return false
	}
	return unicode.IsMark(r) && unicode.Is(unicode9, r)
}

// isControl: the categories Cc, Cf and Co, but not the usual spaces.
func isControl(r rune) bool {
	switch {
	case r == '\t', r == '\n', r == '\r':
		return false
	case unicode.In(r, unicode.Cc, unicode.Co):
		return true
	}
	return unicode.Is(unicode.Cf, r) && unicode.Is(unicode8, r)
}

// toLowerRune is the lower case of Unicode 17.
func toLowerRune(r rune) rune {
	switch {
	case r < 0x1c89:
	case r == 0xa7cb:
		return 0x264
	case r == 0xa7dc:
		return 0x19b
	case r == 0x1c89, r == 0xa7cc, r == 0xa7ce, r == 0xa7d2, r == 0xa7d4, r == 0xa7da:
		return r + 1
	case r >= 0x10d50 && r <= 0x10d65:
		return r + 0x20
	case r >= 0x16ea0 && r <= 0x16eb8:
		return r + 0x1b
	}
	return unicode.ToLower(r)
}
