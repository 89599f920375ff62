package tokenizer

import "unicode/utf8"

// wordpiece takes the longest token that a word begins with, then the longest that
// the rest begins with, and so on. A word that does not come out is unknown.
type wordpiece struct {
	first, rest *trie // tokens that begin a word, and that continue one
	unknown     int
	maxChars    int // of a word; a longer one is unknown
}

func (w *wordpiece) encode(dst []int, word string) []int {
	if utf8.RuneCountInString(word) > w.maxChars {
		return append(dst, w.unknown)
	}
	begin := len(dst)
	t := w.first
	for word != "" {
		n, id := t.longest(word)
		if n == 0 {
			return append(dst[:begin], w.unknown)
		}
		dst = append(dst, id)
		word, t = word[n:], w.rest
	}
	return dst
}

// least: a word of any length may be unknown.
func (w *wordpiece) least(string) int { return 0 }
