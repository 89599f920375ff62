package tokenizer

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// checkWithin: a text within a limit is encoded as ever, and one is refused if, and only
// if, it gives more.
func checkWithin(t interface{ Fatalf(string, ...any) }, tok *Tokenizer, text string, limit int) {
	want := tok.Encode(text, true)
	got, ok := tok.EncodeWithin(text, true, limit)
	if ok != (len(want) <= limit) || ok && !slices.Equal(got, want) {
		t.Fatalf("%.200q gives %d tokens, within %d: %v, %d", text, len(want), limit, ok, len(got))
	}
}

// TestWithinALimit: with tokenizers that drop characters, join unknown ones, swallow white
// space and split what others do not, on texts of what they treat so.
func TestWithinALimit(t *testing.T) {
	for name, file := range map[string]string{
		"bytes":             string(byteLevel("h e", "l l", "he ll", "hell o", "Ġ w", "Ġw o", "a a", "aa aa", "ä ¸", "ä¸ Ń")),
		"drops":             `{"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}}`,
		"unknown each":      `{"model":{"type":"BPE","unk_token":"u","vocab":{"u":0,"a":1,"aa":2,"aaaa":3},"merges":["a a","aa aa"]}}`,
		"unknown together":  `{"model":{"type":"BPE","unk_token":"u","fuse_unk":true,"vocab":{"u":0,"a":1,"aa":2},"merges":["a a"]}}`,
		"removed":           `{"model":{"type":"BPE","unk_token":"u","vocab":{"u":0,"a":1,"b":2}},"pre_tokenizer":{"type":"WhitespaceSplit"}}`,
		"normalised away":   `{"model":{"type":"BPE","unk_token":"u","vocab":{"u":0,"a":1,"b":2}},"normalizer":{"type":"Sequence","normalizers":[{"type":"Replace","pattern":{"String":"b"},"content":""},{"type":"Strip","strip_left":true,"strip_right":true}]}}`,
		"swallowing tokens": `{"model":{"type":"BPE","unk_token":"u","vocab":{"u":0,"a":1}},"added_tokens":[{"id":2,"content":"b","lstrip":true,"rstrip":true}]}`,
		"whole pieces":      `{"model":{"type":"BPE","unk_token":"u","ignore_merges":true,"vocab":{"u":0,"aaaaaaaa":1}},"pre_tokenizer":{"type":"WhitespaceSplit"}}`,
		"unigram":           `{"model":{"type":"Unigram","unk_id":0,"vocab":[["<unk>",0],["a",-1],["▁a",-2],["aab",-2]]},"pre_tokenizer":{"type":"Metaspace"}}`,
		"unigram drops":     `{"model":{"type":"Unigram","vocab":[["a",-1],["aab",-2]]}}`,
		"wordpiece":         `{"model":{"type":"WordPiece","unk_token":"u","max_input_chars_per_word":5,"vocab":{"u":0,"a":1,"##b":2,"##aa":3}},"normalizer":{"type":"BertNormalizer"},"pre_tokenizer":{"type":"BertPreTokenizer"}}`,
	} {
		tok, err := FromJSON([]byte(file))
		if err != nil {
			t.Fatal(name, err)
		}
		t.Run(name, func(t *testing.T) {
			letters := []rune("aaaaaabh el o ow  中é\u0301\u200b\x01,")
			rapid.Check(t, func(t *rapid.T) {
				text := rapid.StringOfN(rapid.SampledFrom(letters), 0, 200, -1).Draw(t, "text")
				if rapid.Bool().Draw(t, "long") {
					text = strings.Repeat(text, 50)
				}
				n := len(tok.Encode(text, true))
				checkWithin(t, tok, text, rapid.OneOf(rapid.IntRange(max(n-3, 0), n+3), rapid.IntRange(0, n+10)).Draw(t, "limit"))
			})
		})
	}
}

// counted counts the bytes that a model encodes.
type counted struct {
	model
	bytes *int
}

func (c counted) encode(dst []int, piece string) []int {
	*c.bytes += len(piece)
	return c.model.encode(dst, piece)
}

// TestTooLongATextIsNotEncoded: where its length tells, none of it is, and else not more
// than the limit's pieces.
func TestTooLongATextIsNotEncoded(t *testing.T) {
	tok, n := small(t), 0
	tok.model = counted{tok.model, &n}
	for _, tc := range []struct {
		text        string
		limit, most int
	}{
		{strings.Repeat("hello wo", 1<<18), 1000, 0},  // tokens have 5 bytes at most
		{strings.Repeat("<|end|>", 1<<18), 1000, 0},   // added tokens alone
		{strings.Repeat("a b c ", 1<<10), 5000, 5002}, // a token for each byte, pieces of 2
	} {
		n = 0
		if got, ok := tok.EncodeWithin(tc.text, true, tc.limit); ok || n > tc.most {
			t.Errorf("%.10q…: %d tokens, %v, %d bytes were encoded", tc.text, len(got), ok, n)
		}
	}
	if n == 0 {
		t.Error("the length of the last text tells that it is too long")
	}
}
