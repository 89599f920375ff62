package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// decoder turns a token into bytes, by itself: so that text can be streamed.
type decoder struct {
	// text turns a token into bytes; first tells that no token was before it.
	text func(token string, first bool) string
}

// Decode is the text of tokens. Control tokens are left out unless special is true.
// Bytes that are not UTF-8 become U+FFFD. Numbers that are no tokens are left out.
func (t *Tokenizer) Decode(ids []int, special bool) string {
	s := t.Stream(special)
	var b strings.Builder
	for _, id := range ids {
		b.WriteString(s.Next(id))
	}
	b.WriteString(s.Flush())
	return b.String()
}

// Bytes are what a token alone adds to a text, perhaps parts of characters.
func (t *Tokenizer) Bytes(id int) []byte {
	if id < 0 || id >= len(t.tokens) {
		return nil
	}
	return []byte(t.decoder.text(t.tokens[id], false))
}

// Stream decodes tokens one by one and never gives part of a character.
type Stream struct {
	t       *Tokenizer
	special bool
	begun   bool
	held    []byte // the beginning of a character
}

// Stream begins a text. Control tokens are left out unless special is true.
func (t *Tokenizer) Stream(special bool) *Stream { return &Stream{t: t, special: special} }

// Next gives the text that is complete with token id, which may be none.
func (s *Stream) Next(id int) string {
	if id < 0 || id >= len(s.t.tokens) || !s.special && s.t.special[id] {
		return ""
	}
	text := s.t.decoder.text(s.t.tokens[id], !s.begun)
	s.begun = true
	if len(s.held) == 0 && utf8.ValidString(text) {
		return text
	}
	s.held = append(s.held, text...)
	return s.take(false)
}

// Flush gives what is left: U+FFFD for a character that was not completed.
func (s *Stream) Flush() string { return s.take(true) }

// take removes whole characters from held, and at the end of the text all of it.
func (s *Stream) take(end bool) string {
	var b strings.Builder
	for len(s.held) > 0 {
		if !end && !utf8.FullRune(s.held) {
			break
		}
		r, n := utf8.DecodeRune(s.held)
		if r == utf8.RuneError && n == 1 {
			n = broken(s.held)
		}
		b.WriteRune(r)
		s.held = s.held[n:]
	}
	return b.String()
}

// broken is the length of the longest beginning of b that could have begun a
// character: one U+FFFD stands for it, as Unicode recommends.
func broken(b []byte) int {
	for n := 1; n <= min(len(b), utf8.UTFMax); n++ {
		if utf8.FullRune(b[:n]) {
			return max(1, n-1)
		}
	}
	return min(len(b), utf8.UTFMax-1)
}

// byteOf are the characters by which byte-level vocabularies write bytes: printable
// ones of Latin-1 stand for themselves, the others are counted from U+0100 on.
func byteOf(r rune) (byte, bool) {
	switch {
	case r >= '!' && r <= '~', r >= 0xa1 && r <= 0xac, r >= 0xae && r <= 0xff:
		return byte(r), true
	case r >= 0x100 && r <= 0x120:
		return byte(r - 0x100), true
	case r >= 0x121 && r <= 0x142:
		return byte(r - 0x121 + 0x7f), true
	case r == 0x143:
		return 0xad, true
	}
	return 0, false
}

// unmap turns a token of a byte-level vocabulary into bytes. One with another
// character is meant as it is written.
func unmap(token string) string {
	if raw, ok := unmapStrict(token); ok {
		return raw
	}
	return token
}

func unmapStrict(token string) (string, bool) {
	b := make([]byte, 0, len(token))
	for _, r := range token {
		c, ok := byteOf(r)
		if !ok {
			return "", false
		}
		b = append(b, c)
	}
	return string(b), true
}

// byteToken is the byte that a token such as <0x0A> stands for.
func byteToken(token string) (byte, bool) {
	if len(token) != 6 || token[:3] != "<0x" || token[5] != '>' {
		return 0, false
	}
	hi, lo := hex(token[3]), hex(token[4])
	return byte(hi<<4 | lo), hi >= 0 && lo >= 0
}

func hex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}

const lowLine = "▁" // U+2581, which SentencePiece writes for a space

// sentencePiece decodes tokens in which U+2581 is a space and <0x0A> a byte. With
// strip, the space before the first word is dropped.
func sentencePiece(strip bool) decoder {
	return decoder{func(token string, first bool) string {
		if b, ok := byteToken(token); ok {
			return string([]byte{b})
		}
		token = strings.ReplaceAll(token, lowLine, " ")
		if first && strip {
			token = strings.TrimPrefix(token, " ")
		}
		return token
	}}
}

// wordPieces decodes tokens of which those that begin with prefix continue a word,
// and the others follow a space. With cleanup, no space stands before punctuation.
func wordPieces(prefix string, cleanup bool) decoder {
	tidy := strings.NewReplacer(" .", ".", " ?", "?", " !", "!", " ,", ",", " ' ", "'", " n't", "n't", " 'm", "'m",
		" do not", " don't", " 's", "'s", " 've", "'ve", " 're", "'re")
	return decoder{func(token string, first bool) string {
		if rest, ok := strings.CutPrefix(token, prefix); ok && !first {
			token = rest
		} else if !first {
			token = " " + token
		}
		if cleanup {
			token = tidy.Replace(token)
		}
		return token
	}}
}
