package tokenizer

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// span is a piece of a text: bytes lo to hi.
type span struct{ lo, hi int }

// behavior says what becomes of a separator.
type behavior uint8

const (
	isolated   behavior = iota // a piece of its own
	removed                    // nothing
	withBefore                 // the end of the piece before
	withAfter                  // the beginning of the piece after
	contiguous                 // neighbours are one piece
)

// find gives the next separator in s at or after from; ok is false if there is none.
type find func(s string, from int) (lo, hi int, ok bool)

// splitter is one pre-tokenizer: it cuts pieces at separators.
type splitter struct {
	find     find
	behavior behavior
	invert   bool // what find does not give is a separator
}

// removes reports whether there may be text that is in no piece.
func (p splitter) removes() bool { return p.behavior == removed }

// split cuts s[piece.lo:piece.hi], appending to out.
func (p splitter) split(out []span, s string, piece span) []span {
	text := s[piece.lo:piece.hi]
	first, before := len(out), false // before: the last piece is a separator
	emit := func(lo, hi int, separator bool) {
		if lo == hi || separator && p.behavior == removed {
			return
		}
		join := false
		switch p.behavior {
		case withBefore:
			join = separator && !before
		case withAfter:
			join = !separator && before
		case contiguous:
			join = separator == before
		}
		if before = separator; join && len(out) > first {
			out[len(out)-1].hi = piece.lo + hi
			return
		}
		out = append(out, span{piece.lo + lo, piece.lo + hi})
	}
	at := 0
	for at < len(text) {
		lo, hi, ok := p.find(text, at)
		if !ok {
			break
		}
		emit(at, lo, p.invert)
		emit(lo, hi, !p.invert)
		at = hi
	}
	emit(at, len(text), p.invert)
	return out
}

// findWords makes a find of a scanner. Characters at which the scanner matches
// nothing are no separators.
func findWords(w words) find {
	t := runs{classes()}
	return func(s string, from int) (int, int, bool) {
		for from < len(s) {
			if n := w.match(t, s[from:]); n > 0 {
				return from, from + n, true
			}
			_, n := utf8.DecodeRuneInString(s[from:])
			from += n
		}
		return 0, 0, false
	}
}

// findRune finds single characters.
func findRune(is func(rune) bool) find {
	return func(s string, from int) (int, int, bool) {
		i := strings.IndexFunc(s[from:], is)
		if i < 0 {
			return 0, 0, false
		}
		_, n := utf8.DecodeRuneInString(s[from+i:])
		return from + i, from + i + n, true
	}
}

// findDigitBytes finds the bytes that are numbers as characters of Latin-1: what
// Digits cuts out where it follows ByteLevel, even within a character.
func findDigitBytes(s string, from int) (int, int, bool) {
	for i := from; i < len(s); i++ {
		switch c := s[i]; {
		case c >= '0' && c <= '9', c == 0xb2, c == 0xb3, c == 0xb9, c >= 0xbc && c <= 0xbe:
			return i, i + 1, true
		}
	}
	return 0, 0, false
}

// findRun finds up to most characters in a row; 0: any number. A white space may
// stand before them if lead is true.
func findRun(is func(rune) bool, most int, lead bool) find {
	t := runs{classes()}
	return func(s string, from int) (int, int, bool) {
		i := strings.IndexFunc(s[from:], is)
		if i < 0 {
			return 0, 0, false
		}
		lo := from + i
		hi := lo
		for n := 0; hi < len(s) && (most == 0 || n < most); n++ {
			r, size := utf8.DecodeRuneInString(s[hi:])
			if !is(r) {
				break
			}
			hi += size
		}
		if lead && lo > from {
			r, size := utf8.DecodeLastRuneInString(s[from:lo])
			if t.of[r]&space != 0 {
				lo -= size
			}
		}
		return lo, hi, true
	}
}

// findSpacesAtEnd finds the white space that a text ends with.
func findSpacesAtEnd(s string, from int) (int, int, bool) {
	lo := from + len(strings.TrimRightFunc(s[from:], unicode.IsSpace))
	return lo, len(s), lo < len(s)
}

// findText finds a fixed text.
func findText(sep string) find {
	return func(s string, from int) (int, int, bool) {
		i := strings.Index(s[from:], sep)
		return from + i, from + i + len(sep), i >= 0 && sep != ""
	}
}
