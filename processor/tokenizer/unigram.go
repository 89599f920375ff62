package tokenizer

import (
	"math"
	"unicode/utf8"
)

// unigram cuts a piece so that the sum of its tokens' scores (logarithms of
// probabilities) is greatest: Kudo, "Subword Regularization" (2018).
type unigram struct {
	trie     *trie
	scores   []float64
	unknown  int     // -1: unknown characters are dropped
	penalty  float64 // score of a character that no token covers
	fuse     bool    // unknown characters in a row are one token
	longest  int     // characters of the longest token
	bytes    [256]int32
	fallback bool // unknown characters become the tokens of their bytes
}

// belowWorst is how much worse an unknown character is than the worst token.
const belowWorst = 10

// step is the best way to a place in the piece: where its last token begins.
type step struct {
	score float64
	begin int32
	id    int32 // -1: an unknown character
}

func (u *unigram) encode(dst []int, piece string) []int {
	best := make([]step, len(piece)+1)
	for i := range best {
		best[i].begin = -1
	}
	best[0].begin = 0
	for i := 0; i < len(piece); {
		_, char := utf8.DecodeRuneInString(piece[i:])
		here := best[i].score
		single := false
		node := int32(0)
		for j := i; j < len(piece); j++ {
			if node = u.trie.step(node, piece[j]); node < 0 {
				break
			}
			id := u.trie.values[node]
			if id < 0 {
				continue
			}
			single = single || j+1 == i+char
			if to := &best[j+1]; to.begin < 0 || here+u.scores[id] > to.score {
				*to = step{here + u.scores[id], int32(i), id}
			}
		}
		if !single {
			if to := &best[i+char]; to.begin < 0 || here+u.penalty > to.score {
				*to = step{here + u.penalty, int32(i), -1}
			}
		}
		i += char
	}
	var path []int32 // places where tokens end, last first
	for end := int32(len(piece)); end > 0; end = best[end].begin {
		path = append(path, end)
	}
	unknown := ""
	flush := func() {
		if unknown != "" {
			dst = u.spell(dst, unknown)
			unknown = ""
		}
	}
	for k := len(path) - 1; k >= 0; k-- {
		end := path[k]
		if s := best[end]; s.id >= 0 {
			flush()
			dst = append(dst, int(s.id))
		} else {
			if !u.fuse {
				flush()
			}
			unknown += piece[s.begin:end]
		}
	}
	flush()
	return dst
}

// least: see that of bpe.
func (u *unigram) least(text string) int {
	if !u.fallback && (u.unknown < 0 || u.fuse) {
		return 0
	}
	return utf8.RuneCountInString(text) / u.longest
}

func (u *unigram) spell(dst []int, text string) []int {
	if u.fallback {
		for i := range len(text) {
			dst = append(dst, int(u.bytes[text[i]]))
		}
	} else if u.unknown >= 0 {
		dst = append(dst, u.unknown)
	}
	return dst
}

func newUnigram(tokens []string, scores []float64, usable func(id int) bool) *unigram {
	u := &unigram{trie: newTrie(), scores: scores, unknown: -1, longest: 1, fuse: true, penalty: math.Inf(1)}
	for id, text := range tokens {
		if usable(id) && text != "" {
			u.trie.add(text, id)
			u.longest = max(u.longest, utf8.RuneCountInString(text))
			u.penalty = min(u.penalty, scores[id])
		}
	}
	if math.IsInf(u.penalty, 1) {
		u.penalty = 0
	}
	u.penalty -= belowWorst
	return u
}
