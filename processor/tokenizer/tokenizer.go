package tokenizer

import (
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
func (t *Tokenizer) Encode(text string, special bool) []int { return t.encode(text, special, true) }

// EncodePlain cuts text into tokens as Encode does, but the names of control tokens
// in it are text like any other: for text whose author must not control the model.
func (t *Tokenizer) EncodePlain(text string) []int { return t.encode(text, false, false) }

func (t *Tokenizer) encode(text string, special, control bool) []int {
	text = valid(text)
	e := encoder{Tokenizer: t, control: control, dst: make([]int, 0, len(text)/3+8)}
	if special {
		e.dst = append(e.dst, t.before...)
	}
	e.sections(text)
	if special {
		e.dst = append(e.dst, t.after...)
	}
	return e.dst
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
	dst     []int
	a, b    []span
}

func (e *encoder) sections(text string) {
	at := 0
	e.raw.each(text, e.control, func(lo, hi, id int) {
		e.section(text[at:lo], at == 0)
		e.dst = append(e.dst, id)
		at = hi
	})
	e.section(text[at:], at == 0)
}

// section takes text between two added tokens.
func (e *encoder) section(text string, first bool) {
	if text == "" {
		return
	}
	text = e.normalize(text)
	at := 0
	e.normal.each(text, e.control, func(lo, hi, id int) {
		e.words(text[at:lo], first && at == 0)
		e.dst = append(e.dst, id)
		at = hi
	})
	e.words(text[at:], first && at == 0)
}

func (e *encoder) words(text string, first bool) {
	if text == "" {
		return
	}
	text = e.prepare.apply(text, first)
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
		e.dst = e.model.encode(e.dst, piece)
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
