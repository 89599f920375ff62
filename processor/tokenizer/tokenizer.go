package tokenizer

import (
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// Tokenizer turns text into tokens and back. It may be used from several goroutines
// at once.
type Tokenizer struct {
	tokens  []string // by number: the texts of the vocabulary, as its file writes them
	numbers map[string]int
	special []bool // by number: control tokens, which decoding leaves out

	raw       added // added tokens looked for in the text as it is
	normal    added // those looked for in normalised text
	normalize normalizer
	prepare   prepare
	splitters []splitter
	pieceMark string // put before every piece that does not begin with it
	model     model
	before    []int // what Encode puts around the tokens if asked for
	after     []int
	decoder   decoder

	bos, eos int // -1: none
}

// model cuts a piece of text into tokens, which it appends to dst.
type model interface {
	encode(dst []int, piece string) []int
	// least is a number of tokens that a text gives at least, wherever it is cut into
	// pieces; 0: nothing is known without encoding it.
	least(text string) int
}

// prepare is the part of the pre-tokenizers that changes text: what stands before a
// section, and what stands for a space.
type prepare struct {
	mark  string // replaces spaces; "" leaves them
	begin string // put before a section that does not begin with it
	// firstOnly: begin is for the section at the beginning of the text only, not for
	// those after an added token.
	firstOnly bool
}

// Len is the number of tokens, those that were added among them.
func (t *Tokenizer) Len() int { return len(t.tokens) }

// BOS is the token at the beginning of a text, or -1.
func (t *Tokenizer) BOS() int { return t.bos }

// EOS is the token at the end of a text, or -1.
func (t *Tokenizer) EOS() int { return t.eos }

// Text is a token as the vocabulary writes it, or "" for a number that is none.
func (t *Tokenizer) Text(id int) string {
	if id < 0 || id >= len(t.tokens) {
		return ""
	}
	return t.tokens[id]
}

// Lookup finds a token by what Text gives.
func (t *Tokenizer) Lookup(text string) (int, bool) { id, ok := t.numbers[text]; return id, ok }

// Special reports whether a token is for control and no part of a text.
func (t *Tokenizer) Special(id int) bool { return id >= 0 && id < len(t.special) && t.special[id] }

// Encode cuts text into tokens. Added tokens that stand in the text, such as
// <|im_end|>, are recognised. With special, what the model expects around a text
// (BOS, EOS, [CLS] …) is put around it; a chat template writes these itself.
func (t *Tokenizer) Encode(text string, special bool) []int {
	tokens, _ := t.encode(text, special, true, math.MaxInt)
	return tokens
}

// EncodeWithin is Encode for a text that may be too long: ok is false if it gives more
// than limit tokens. That costs no more than reading the text where its length alone
// tells, and else no more than limit tokens do, or one piece of the text.
func (t *Tokenizer) EncodeWithin(text string, special bool, limit int) (tokens []int, ok bool) {
	return t.encode(text, special, true, limit)
}

// EncodePlain cuts text into tokens as Encode does, but the names of control tokens
// in it are text like any other: for text whose author must not control the model.
func (t *Tokenizer) EncodePlain(text string) []int {
	tokens, _ := t.encode(text, false, false, math.MaxInt)
	return tokens
}

func (t *Tokenizer) encode(text string, special, control bool, limit int) (tokens []int, ok bool) {
	text = valid(text)
	e := encoder{Tokenizer: t, control: control, limit: limit, dst: make([]int, 0, max(min(len(text)/3, limit), 0)+8)}
	if special {
		e.dst = append(e.dst, t.before...)
		e.limit -= len(t.after)
	}
	if e.sections(text); e.over() {
		return nil, false
	}
	if special {
		e.dst = append(e.dst, t.after...)
	}
	return e.dst, true
}

// valid writes U+FFFD for each byte that is not part of a character.
func valid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		b.WriteRune(r)
	}
	return b.String()
}

// encoder is one call of Encode.
type encoder struct {
	*Tokenizer
	control bool
	limit   int // of dst: what comes after it is not encoded
	beyond  bool
	dst     []int
	a, b    []span
}

// over reports whether there are more tokens than the limit, some of which may not have
// been encoded.
func (e *encoder) over() bool { return e.beyond || len(e.dst) > e.limit }

func (e *encoder) sections(text string) {
	at := 0
	e.raw.each(text, e.control, func(lo, hi, id int) bool {
		e.section(text[at:lo], at == 0)
		e.dst = append(e.dst, id)
		at = hi
		return !e.over()
	})
	e.section(text[at:], at == 0)
}

// section takes text between two added tokens.
func (e *encoder) section(text string, first bool) {
	if text == "" || e.over() {
		return
	}
	text = e.normalize(text)
	at := 0
	e.normal.each(text, e.control, func(lo, hi, id int) bool {
		e.words(text[at:lo], first && at == 0)
		e.dst = append(e.dst, id)
		at = hi
		return !e.over()
	})
	e.words(text[at:], first && at == 0)
}

func (e *encoder) words(text string, first bool) {
	if text == "" || e.over() {
		return
	}
	text = e.prepare.apply(text, first)
	// Here nothing is taken from the text any more, but by splitters that say so.
	if e.limit < len(text) && !slices.ContainsFunc(e.splitters, splitter.removes) && e.model.least(text) > e.limit-len(e.dst) {
		e.beyond = true
		return
	}
	e.a = append(e.a[:0], span{0, len(text)})
	for _, s := range e.splitters {
		e.b = e.b[:0]
		for _, piece := range e.a {
			e.b = s.split(e.b, text, piece)
		}
		e.a, e.b = e.b, e.a
	}
	for _, p := range e.a {
		piece := text[p.lo:p.hi]
		if e.pieceMark != "" && !strings.HasPrefix(piece, e.pieceMark) {
			piece = e.pieceMark + piece
		}
		if e.dst = e.model.encode(e.dst, piece); e.over() {
			return
		}
	}
}

func (p prepare) apply(text string, first bool) string {
	if p.mark != "" {
		text = strings.ReplaceAll(text, " ", p.mark)
	}
	if p.begin != "" && (first || !p.firstOnly) && !strings.HasPrefix(text, p.begin) {
		text = p.begin + text
	}
	return text
}
