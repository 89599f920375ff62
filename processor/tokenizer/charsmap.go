package tokenizer

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/clipperhouse/uax29/v2/graphemes"
)

// charsmap is the table by which SentencePiece normalises: a double-array trie (as
// Darts-clone writes it) from sequences of characters to places in a text of
// replacements, each ended by a zero byte.
type charsmap struct {
	units        []uint32
	replacements []byte
}

const maxCharsmapBytes = 64 << 20

// parseCharsmap reads the size of the trie in bytes, the trie, the replacements.
func parseCharsmap(data []byte) (*charsmap, error) {
	if len(data) < 4 || len(data) > maxCharsmapBytes {
		return nil, fmt.Errorf("a table of characters of %d bytes", len(data))
	}
	n := binary.LittleEndian.Uint32(data)
	if n%4 != 0 || uint64(n) > uint64(len(data)-4) || n == 0 {
		return nil, fmt.Errorf("a trie of %d bytes in a table of characters of %d", n, len(data))
	}
	c := &charsmap{units: make([]uint32, n/4), replacements: data[4+n:]}
	for i := range c.units {
		c.units[i] = binary.LittleEndian.Uint32(data[4+4*i:])
	}
	return c, nil
}

// longest finds the longest prefix of s in the trie, and its replacement. A unit
// holds a label in bits 0–7 (and 31), whether a value follows in bit 8, and the
// offset of its children in bits 10–30, times 256 if bit 9 is set.
func (c *charsmap) longest(s string) (n int, with string) {
	at := uint32(0)
	unit := c.units[0]
	at ^= offset(unit)
	value := -1
	for i := range len(s) {
		b := s[i]
		if b == 0 {
			break
		}
		at ^= uint32(b)
		if at >= uint32(len(c.units)) {
			break
		}
		unit = c.units[at]
		if unit&(1<<31|0xff) != uint32(b) {
			break
		}
		at ^= offset(unit)
		if unit>>8&1 == 1 {
			if at >= uint32(len(c.units)) {
				break
			}
			n, value = i+1, int(c.units[at]&(1<<31-1))
		}
	}
	if value < 0 || value > len(c.replacements) {
		return 0, ""
	}
	text := c.replacements[value:]
	if end := bytes.IndexByte(text, 0); end >= 0 {
		text = text[:end]
	}
	return n, string(text)
}

func offset(unit uint32) uint32 { return unit >> 10 << (unit & (1 << 9) >> 6) }

// prefixes replaces the longest prefix that is in the table, again and again, as
// SentencePiece does.
func (c *charsmap) prefixes(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		if n, with := c.longest(s); n > 0 {
			b.WriteString(with)
			s = s[n:]
			continue
		}
		_, n := utf8.DecodeRuneInString(s)
		b.WriteString(s[:n])
		s = s[n:]
	}
	return b.String()
}

// graphemes replaces what a reader takes for one character if it is short and begins
// with an entry of the table, else its characters one by one, as the tokenizers
// library does.
func (c *charsmap) graphemes(s string) string {
	var b strings.Builder
	for g := graphemes.FromString(s); g.Next(); {
		text := g.Value()
		if len(text) < 6 {
			if n, with := c.first(text); n > 0 {
				b.WriteString(with)
				continue
			}
		}
		for _, r := range text {
			ch := string(r)
			if n, with := c.first(ch); n > 0 {
				b.WriteString(with)
			} else {
				b.WriteString(ch)
			}
		}
	}
	return b.String()
}

// first is like longest, but for the shortest prefix.
func (c *charsmap) first(s string) (n int, with string) {
	for i := 1; i <= len(s); i++ {
		if n, with = c.longest(s[:i]); n > 0 {
			return n, with
		}
	}
	return 0, ""
}
