package tokenizer

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// added finds added tokens in a text: the leftmost, of those that begin at the same
// place the longest.
type added struct {
	trie  *trie // numbers are places in list
	list  []addedToken
	first [256]bool // bytes that one of them begins with
}

// addedToken is a token that is recognised in text as a whole.
type addedToken struct {
	id         int
	text       string
	special    bool
	alone      bool // only where it is a word of its own
	takeBefore bool // white space before it belongs to it
	takeAfter  bool // white space after it belongs to it
}

func (a *added) add(t addedToken) {
	if t.text == "" {
		return
	}
	if a.trie == nil {
		a.trie = newTrie()
	}
	a.first[t.text[0]] = true
	a.trie.add(t.text, len(a.list))
	a.list = append(a.list, t)
}

// each calls found for the added tokens in s, in order: bytes lo to hi are token id.
// Without control, special tokens are not looked for. It ends when found returns false.
func (a *added) each(s string, control bool, found func(lo, hi, id int) bool) {
	if a.trie == nil {
		return
	}
	end := 0 // of the last one found
	for i := 0; i < len(s); {
		if !a.first[s[i]] {
			i++
			continue
		}
		n, at := a.longest(s[i:], control)
		if n == 0 {
			i++
			continue
		}
		t, lo, hi := a.list[at], i, i+n
		i = hi
		if t.alone && (wordBefore(s, lo) || wordAfter(s, hi)) {
			continue
		}
		if t.takeBefore {
			lo = max(end, len(strings.TrimRightFunc(s[:lo], unicode.IsSpace)))
		}
		if t.takeAfter {
			hi = len(s) - len(strings.TrimLeftFunc(s[hi:], unicode.IsSpace))
		}
		if !found(lo, hi, t.id) {
			return
		}
		i, end = max(i, hi), hi
	}
}

func (a *added) longest(s string, control bool) (n, at int) {
	node := int32(0)
	for i := range len(s) {
		if node = a.trie.step(node, s[i]); node < 0 {
			break
		}
		if v := a.trie.values[node]; v >= 0 && (control || !a.list[v].special) {
			n, at = i+1, int(v)
		}
	}
	return n, at
}

func wordBefore(s string, i int) bool {
	r, _ := utf8.DecodeLastRuneInString(s[:i])
	return i > 0 && isWord(r)
}

func wordAfter(s string, i int) bool {
	r, _ := utf8.DecodeRuneInString(s[i:])
	return i < len(s) && isWord(r)
}

// isWord: \w of Unicode's regular expressions.
func isWord(r rune) bool {
	return unicode.In(r, unicode.L, unicode.Nl, unicode.Other_Alphabetic, unicode.M, unicode.Nd, unicode.Pc, unicode.Join_Control)
}
