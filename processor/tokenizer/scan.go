package tokenizer

import "strings"

// words is a pattern of the family that began with GPT-2's: contractions, words,
// numbers, everything else, and spaces, tried in this order. What the members of the
// family differ in is data. In the notation of regular expressions, with Lead and
// Letters as the fields say:
//
//	's|'t|'re|'ve|'m|'ll|'d        Contractions
//	Lead?[Letters]+                words
//	\p{N}{1,Digits}                numbers, or with Digits 0: [ ]?\p{N}+
//	[ ]?[Others]+[Trail]*          everything else
//	\s*[\r\n]+                     Newlines
//	\s+(?!\S)|\s+                  spaces, of which the last before a word is left to it
type words struct {
	contractions contractions
	ascii        bool  // first: one ASCII punctuation mark and ASCII letters
	lead         lead  // what may stand before a word
	letters      class // what words are made of
	cased        bool  // a word is capitals, then small letters; Contractions follow it
	digits       int   // most digits of a number; 0: any, with a space before; -1: none
	others       class // what everything else is made of, or with not: not made of
	not          bool
	trail        string // ASCII characters that may follow
	newlines     bool
}

type contractions uint8

const (
	noContractions    contractions = iota
	exactContractions              // small letters only
	foldContractions               // (?i:…)
)

type lead uint8

const (
	leadNone   lead = iota
	leadSpace       // [ ]
	leadOther       // [^\r\n\p{L}\p{N}]
	leadNoSign      // [^\r\n\p{L}\p{P}\p{S}]
)

// match is the length of the match at the beginning of s, or -1.
func (w *words) match(t runs, s string) int {
	if w.ascii {
		if n := asciiWord(s); n > 0 {
			return n
		}
	}
	if w.contractions != noContractions && !w.cased {
		if n := w.contractions.match(s); n > 0 {
			return n
		}
	}
	if n := w.word(t, s); n > 0 {
		return n
	}
	if n := w.number(t, s); n > 0 {
		return n
	}
	if n := w.other(t, s); n > 0 {
		return n
	}
	end := t.skip(s, 0, space)
	if end == 0 {
		return -1
	}
	if w.newlines {
		if i := strings.LastIndexAny(s[:end], "\r\n"); i >= 0 {
			return i + 1
		}
	}
	if end == len(s) {
		return end
	}
	last := end - 1
	for s[last]&0xc0 == 0x80 {
		last--
	}
	if last > 0 {
		return last
	}
	return end
}

// leads reports whether a character may stand before a word.
func (l lead) leads(c byte, k class) bool {
	switch l {
	case leadSpace:
		return c == ' '
	case leadOther:
		return c != '\r' && c != '\n' && k&(letter|number) == 0
	case leadNoSign:
		return c != '\r' && c != '\n' && k&(letter|punct|symbol) == 0
	}
	return false
}

func (w *words) word(t runs, s string) int {
	k, n := t.at(s, 0)
	if n == 0 {
		return 0
	}
	begin := -1
	if w.lead.leads(s[0], k) {
		if k2, _ := t.at(s, n); k2&w.letters != 0 {
			begin = n
		}
	}
	if !w.cased {
		switch {
		case begin >= 0:
			return t.skip(s, begin, w.letters)
		case k&w.letters != 0:
			return t.skip(s, 0, w.letters)
		}
		return 0
	}
	for _, form := range [2]func(runs, string, int) int{smallWord, capitalWord} {
		for _, from := range [2]int{begin, 0} {
			if from < 0 {
				continue
			}
			if end := form(t, s, from); end > from {
				return end + max(0, w.contractions.match(s[end:]))
			}
		}
	}
	return 0
}

// isCapital and isSmall are the two kinds of characters of cased words. Letters
// without case and marks are of both.
func isCapital(k class) bool { return k&mark != 0 || k&letter != 0 && k&lower == 0 }
func isSmall(k class) bool   { return k&mark != 0 || k&letter != 0 && k&upper == 0 }

func skipIf(t runs, s string, i int, is func(class) bool) int {
	for {
		k, n := t.at(s, i)
		if n == 0 || !is(k) {
			return i
		}
		i += n
	}
}

// smallWord is the end of capitals* small+ at i, or i. Where nothing small follows
// the capitals, the last of them that is of both kinds is the small one.
func smallWord(t runs, s string, i int) int {
	end, both := i, i
	for {
		k, n := t.at(s, end)
		if n == 0 || !isCapital(k) {
			break
		}
		end += n
		if isSmall(k) {
			both = end
		}
	}
	if k, n := t.at(s, end); n > 0 && isSmall(k) {
		return skipIf(t, s, end, isSmall)
	}
	return both
}

// capitalWord is the end of capitals+ small* at i, or i.
func capitalWord(t runs, s string, i int) int {
	end := skipIf(t, s, i, isCapital)
	if end == i {
		return i
	}
	return skipIf(t, s, end, isSmall)
}

func (w *words) number(t runs, s string) int {
	switch {
	case w.digits < 0:
		return 0
	case w.digits > 0:
		end := 0
		for range w.digits {
			k, n := t.at(s, end)
			if k&number == 0 {
				break
			}
			end += n
		}
		return end
	}
	begin := 0
	if len(s) > 0 && s[0] == ' ' {
		begin = 1
	}
	if end := t.skip(s, begin, number); end > begin {
		return end
	}
	return 0
}

func (w *words) other(t runs, s string) int {
	begin := 0
	if len(s) > 0 && s[0] == ' ' {
		begin = 1
	}
	var end int
	if w.not {
		end = t.skipNot(s, begin, w.others)
	} else {
		end = t.skip(s, begin, w.others)
	}
	if end == begin {
		return 0
	}
	for end < len(s) && strings.IndexByte(w.trail, s[end]) >= 0 {
		end++
	}
	return end
}

// match is the length of the contraction that s begins with, or -1. Ignoring case,
// U+017F is an s.
func (c contractions) match(s string) int {
	if c == noContractions || len(s) < 2 || s[0] != '\'' {
		return -1
	}
	a, b := s[1], byte(0)
	if len(s) > 2 {
		b = s[2]
	}
	if c == foldContractions {
		if a == 0xc5 && b == 0xbf {
			return 3
		}
		a, b = fold(a), fold(b)
	}
	switch {
	case a == 's' || a == 't' || a == 'm' || a == 'd':
		return 2
	case a == 'r' && b == 'e', a == 'v' && b == 'e', a == 'l' && b == 'l':
		return 3
	}
	return -1
}

func fold(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// asciiWord is the length of one ASCII punctuation mark and ASCII letters.
func asciiWord(s string) int {
	if len(s) < 2 || s[0] <= ' ' || s[0] > '~' || isASCIILetter(s[0]) || '0' <= s[0] && s[0] <= '9' {
		return 0
	}
	i := 1
	for i < len(s) && isASCIILetter(s[i]) {
		i++
	}
	if i == 1 {
		return 0
	}
	return i
}

func isASCIILetter(c byte) bool { c |= 0x20; return 'a' <= c && c <= 'z' }
