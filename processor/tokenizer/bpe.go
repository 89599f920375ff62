package tokenizer

import (
	"cmp"
	"math"
	"slices"
	"sync/atomic"
	"unicode/utf8"
)

// bpe merges the neighbours that were merged first in training, again and again.
// The symbols that it begins with are bytes (of byte-level models) or characters.
type bpe struct {
	ids    map[string]int32 // the vocabulary, by the bytes that a token stands for
	merges pairs
	// bytes are the tokens of single bytes, -1 where there is none: the symbols of a
	// byte-level model, what unknown characters become in others.
	bytes     [256]int32
	byteLevel bool
	// strays are characters that occur in tokens but are none. Their symbols follow
	// the vocabulary's and are not tokens themselves.
	strays []string

	longest int // bytes of the longest token of a byte-level model, characters of another's

	unknown      int32 // what characters become that even bytes cannot spell; -1: nothing
	fuse         bool  // unknown characters in a row are one token
	ignoreMerges bool  // a piece that is a token is that token
	// whole remembers of short tokens whether merging their text gives them: 0 not
	// known yet, 1 no, 2 yes. It is a cache that is written from many goroutines.
	whole []atomic.Uint32
}

// pairs maps two symbols to the rank of their merge and the symbol it gives.
type pairs struct {
	keys []uint64 // left<<32 | right, plus 1; 0 is a free place
	to   []merge
	n    int
}

type merge struct{ rank, id int32 }

func newPairs(n int) pairs {
	size := 16
	for size < 2*n {
		size *= 2
	}
	return pairs{keys: make([]uint64, size), to: make([]merge, size)}
}

func (p *pairs) slot(key uint64) int {
	mask := uint64(len(p.keys) - 1)
	i := hash(key) & mask
	for p.keys[i] != 0 && p.keys[i] != key {
		i = (i + 1) & mask
	}
	return int(i)
}

// add adds a merge, once: the first of equals counts. There must be room.
func (p *pairs) add(left, right int32, m merge) {
	key := uint64(left)<<32 | uint64(right) + 1
	if at := p.slot(key); p.keys[at] == 0 {
		p.keys[at], p.to[at] = key, m
		p.n++
	}
}

func (p *pairs) get(left, right int32) (merge, bool) {
	at := p.slot(uint64(left)<<32 | uint64(right) + 1)
	return p.to[at], p.keys[at] != 0
}

func newStates(n int) []atomic.Uint32 { return make([]atomic.Uint32, n) }

// few is the number of symbols up to which the next merge is looked for among all,
// which is faster than keeping them in order.
const few = 32

// maxCached is the length in bytes of the tokens that whole knows about.
const maxCached = 32

func (b *bpe) encode(dst []int, piece string) []int {
	id, known := b.ids[piece]
	if known && (b.ignoreMerges || len(piece) <= maxCached && b.isWhole(id, piece)) {
		return append(dst, int(id))
	}
	return b.merge(dst, piece)
}

// least: no token stands for more than the longest one's text, if there is one for
// every character. Where characters can be dropped, or joined to one unknown token, a
// text of any length may give none, or one.
func (b *bpe) least(text string) int {
	if slices.Contains(b.bytes[:], -1) && (b.unknown < 0 || b.fuse) {
		return 0
	}
	if b.byteLevel {
		return len(text) / b.longest
	}
	return utf8.RuneCountInString(text) / b.longest
}

// isWhole reports whether merging the text of token id gives that token alone.
func (b *bpe) isWhole(id int32, text string) bool {
	switch b.whole[id].Load() {
	case 1:
		return false
	case 2:
		return true
	}
	var room [maxCached]int
	got := b.merge(room[:0], text)
	is := len(got) == 1 && got[0] == int(id)
	state := uint32(1)
	if is {
		state = 2
	}
	b.whole[id].Store(state)
	return is
}

func (b *bpe) merge(dst []int, piece string) []int {
	var room [few]int32
	symbols := b.symbols(room[:0], piece)
	if len(symbols) <= few {
		symbols = b.mergeFew(symbols)
	} else {
		symbols = b.mergeMany(symbols)
	}
	for _, s := range symbols {
		if stray := int(s) - len(b.whole); stray >= 0 {
			dst = b.spell(dst, b.strays[stray])
		} else {
			dst = append(dst, int(s))
		}
	}
	return dst
}

// spell appends the tokens of the bytes of a text, or the unknown token.
func (b *bpe) spell(dst []int, text string) []int {
	if b.canSpell(text) {
		for i := range len(text) {
			dst = append(dst, int(b.bytes[text[i]]))
		}
	} else if b.unknown >= 0 {
		dst = append(dst, int(b.unknown))
	}
	return dst
}

func (b *bpe) canSpell(text string) bool {
	for i := range len(text) {
		if b.bytes[text[i]] < 0 {
			return false
		}
	}
	return true
}

// symbols appends the symbols that merging begins with.
func (b *bpe) symbols(dst []int32, piece string) []int32 {
	if b.byteLevel {
		for i := range len(piece) {
			if id := b.bytes[piece[i]]; id >= 0 {
				dst = append(dst, id)
			} else if b.unknown >= 0 {
				dst = b.addUnknown(dst)
			}
		}
		return dst
	}
	for len(piece) > 0 {
		_, n := utf8.DecodeRuneInString(piece)
		ch := piece[:n]
		piece = piece[n:]
		if id, ok := b.ids[ch]; ok {
			dst = append(dst, id)
		} else if b.canSpell(ch) {
			for i := range n {
				dst = append(dst, b.bytes[ch[i]])
			}
		} else if b.unknown >= 0 {
			dst = b.addUnknown(dst)
		}
	}
	return dst
}

func (b *bpe) addUnknown(dst []int32) []int32 {
	if b.fuse && len(dst) > 0 && dst[len(dst)-1] == b.unknown {
		return dst
	}
	return append(dst, b.unknown)
}

const noRank = math.MaxInt32

func (b *bpe) rank(left, right int32) merge {
	if m, ok := b.merges.get(left, right); ok {
		return m
	}
	return merge{noRank, 0}
}

// mergeFew looks at all neighbours for each merge.
func (b *bpe) mergeFew(s []int32) []int32 {
	var next [few]merge // next[i] is the merge of s[i] and s[i+1]
	for i := 0; i+1 < len(s); i++ {
		next[i] = b.rank(s[i], s[i+1])
	}
	for len(s) > 1 {
		at := 0
		for i := 1; i < len(s)-1; i++ {
			if next[i].rank < next[at].rank {
				at = i
			}
		}
		if next[at].rank == noRank {
			break
		}
		s[at] = next[at].id
		copy(s[at+1:], s[at+2:])
		copy(next[at:], next[at+1:len(s)-1])
		s = s[:len(s)-1]
		if at+1 < len(s) {
			next[at] = b.rank(s[at], s[at+1])
		}
		if at > 0 {
			next[at-1] = b.rank(s[at-1], s[at])
		}
	}
	return s
}

// candidate is a merge of the symbol at a place with its successor.
type candidate struct {
	merge
	at int32
}

// queue is a heap of candidates: the first is the best.
type queue []candidate

func (q queue) less(i, j int) bool {
	return q[i].rank < q[j].rank || q[i].rank == q[j].rank && q[i].at < q[j].at
}

func (q *queue) push(c candidate) {
	*q = append(*q, c)
	h := *q
	for i := len(h) - 1; i > 0 && h.less(i, (i-1)/2); i = (i - 1) / 2 {
		h[i], h[(i-1)/2] = h[(i-1)/2], h[i]
	}
}

func (q *queue) pop() candidate {
	h := *q
	c := h[0]
	last := len(h) - 1
	h[0] = h[last]
	h = h[:last]
	*q = h
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			break
		}
		if child+1 < last && h.less(child+1, child) {
			child++
		}
		if !h.less(child, i) {
			break
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
	return c
}

// mergeMany keeps the symbols in a list and the merges in a heap. A candidate that
// is no longer what stands at its place is dropped when its turn comes.
func (b *bpe) mergeMany(s []int32) []int32 {
	const gone = -1
	n := int32(len(s))
	before, after := make([]int32, n), make([]int32, n)
	var q queue
	offer := func(l, r int32) {
		if l >= 0 && r < n {
			if m, ok := b.merges.get(s[l], s[r]); ok {
				q.push(candidate{m, l})
			}
		}
	}
	for i := range n {
		before[i], after[i] = i-1, i+1
		offer(i, i+1)
	}
	for len(q) > 0 {
		c := q.pop()
		l, r := c.at, after[c.at]
		if s[l] == gone || r >= n {
			continue
		}
		if m, ok := b.merges.get(s[l], s[r]); !ok || m != c.merge {
			continue
		}
		s[l], s[r] = c.id, gone
		after[l] = after[r]
		if after[r] < n {
			before[after[r]] = l
		}
		offer(before[l], l)
		offer(l, after[l])
	}
	out := s[:0]
	for i := int32(0); i < n; i = after[i] {
		out = append(out, s[i])
	}
	return out
}

// mergesOf derives the merges of a vocabulary with scores, as SentencePiece has: any
// two neighbours whose text is a token may merge, those of the best score first, of
// equal scores the leftmost. Characters that are no tokens get symbols of their own.
func (b *bpe) mergesOf(tokens []string, scores []float32, usable func(id int) bool) {
	symbols := make(map[string]int32, len(tokens))
	order := make([]int32, 0, len(tokens))
	total := 0
	for id, text := range tokens {
		if usable(id) {
			symbols[text] = int32(id)
			order = append(order, int32(id))
			total += utf8.RuneCountInString(text) - 1
		}
	}
	for _, id := range order {
		for _, r := range tokens[id] {
			if ch := string(r); symbols[ch] == 0 {
				if _, ok := symbols[ch]; !ok {
					symbols[ch] = int32(len(tokens) + len(b.strays))
					b.strays = append(b.strays, ch)
					b.ids[ch] = symbols[ch]
				}
			}
		}
	}
	slices.SortStableFunc(order, func(x, y int32) int { return cmp.Compare(scores[y], scores[x]) })
	b.merges = newPairs(max(0, total))
	rank := int32(0)
	for i, id := range order {
		if i > 0 && scores[id] != scores[order[i-1]] {
			rank++
		}
		text := tokens[id]
		for cut := range text {
			if cut == 0 {
				continue
			}
			left, ok := symbols[text[:cut]]
			if !ok {
				continue
			}
			if right, ok := symbols[text[cut:]]; ok {
				b.merges.add(left, right, merge{rank, id})
			}
		}
	}
}
