package tokenizer

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"tandem/fault"
)

// byteChars are the characters by which byte-level vocabularies write the 256 bytes.
func byteChars() (chars [256]string) {
	for r := rune(0); r < 0x144; r++ {
		if b, ok := byteOf(r); ok {
			chars[b] = string(r)
		}
	}
	return chars
}

// byteLevel is a tokenizer.json with the bytes, the merges given and two added tokens.
func byteLevel(merges ...string) []byte {
	vocab := map[string]int{}
	for b, c := range byteChars() {
		vocab[c] = b
	}
	for _, m := range merges {
		vocab[strings.ReplaceAll(m, " ", "")] = len(vocab)
	}
	n := len(vocab)
	data, err := json.Marshal(map[string]any{
		"added_tokens": []any{
			map[string]any{"id": n, "content": "<|end|>", "special": true},
			map[string]any{"id": n + 1, "content": "<tool>", "special": false},
		},
		"pre_tokenizer": map[string]any{"type": "Sequence", "pretokenizers": []any{
			map[string]any{"type": "Split", "behavior": "Isolated", "pattern": map[string]any{"Regex": foldGroup + `|` + noWord + `\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`}},
			map[string]any{"type": "ByteLevel", "add_prefix_space": false, "use_regex": false},
		}},
		"model":          map[string]any{"type": "BPE", "vocab": vocab, "merges": merges},
		"decoder":        map[string]any{"type": "ByteLevel"},
		"post_processor": map[string]any{"type": "TemplateProcessing", "single": []any{map[string]any{"Sequence": map[string]any{"id": "A"}}, map[string]any{"SpecialToken": map[string]any{"id": "<|end|>"}}}, "special_tokens": map[string]any{"<|end|>": map[string]any{"ids": []int{n}}}},
	})
	if err != nil {
		panic(err)
	}
	return data
}

func small(t testing.TB) *Tokenizer {
	t.Helper()
	tok, err := FromJSON(byteLevel("h e", "l l", "he ll", "hell o", "Ġ w", "Ġw o", "a a", "aa aa", "ä ¸", "ä¸ Ń"))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func TestEncodeDecode(t *testing.T) {
	tok := small(t)
	got := tok.Encode("hello world<|end|>中", true)
	want := []string{"hello", "Ġwo", "r", "l", "d", "<|end|>", "ä¸Ń", "<|end|>"}
	if !slices.Equal(texts(tok, got), want) {
		t.Errorf("%q, expected %q", texts(tok, got), want)
	}
	if plain := tok.EncodePlain("<|end|>"); slices.ContainsFunc(plain, tok.Special) || len(plain) < 5 {
		t.Errorf("a control token was recognised in plain text: %q", texts(tok, plain))
	}
	if s := tok.Decode(got, false); s != "hello world中" {
		t.Errorf("%q", s)
	}
	if s := tok.Decode(got, true); s != "hello world<|end|>中<|end|>" {
		t.Errorf("%q", s)
	}
	if got := tok.Decode(tok.Encode("a\xffb\xe4\xb8", false), false); got != "a\ufffdb\ufffd\ufffd" {
		t.Errorf("bytes that are not UTF-8 came back as %q", got)
	}
}

// TestRoundTrip: any text comes back, and comes back the same when it is streamed,
// without a part of a character at any time.
func TestRoundTrip(t *testing.T) {
	tok := small(t)
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		ids := tok.Encode(text, false)
		if got := tok.Decode(ids, true); got != text {
			t.Fatalf("%q came back as %q", text, got)
		}
		checkStream(t, tok, rapid.SliceOf(rapid.IntRange(-1, tok.Len())).Draw(t, "ids"))
	})
}

func checkStream(t interface{ Fatalf(string, ...any) }, tok *Tokenizer, ids []int) {
	var b strings.Builder
	s := tok.Stream(true)
	for _, id := range ids {
		part := s.Next(id)
		if !utf8.ValidString(part) {
			t.Fatalf("part of a character: %q", part)
		}
		b.WriteString(part)
	}
	b.WriteString(s.Flush())
	if whole := tok.Decode(ids, true); b.String() != whole {
		t.Fatalf("streamed %q, decoded %q", b.String(), whole)
	}
}

// TestBrokenCharacters: one U+FFFD for each longest beginning of a character.
func TestBrokenCharacters(t *testing.T) {
	tok := small(t)
	for in, want := range map[string]string{
		"\xe4\xb8": "\ufffd", "\xe4\xb8A": "\ufffdA", "\xff\xfe": "\ufffd\ufffd", "\xf0\x9f\x98": "\ufffd", "\xf0\x9f\x98A": "\ufffdA",
		"\xe4\xe4\xb8\xad": "\ufffd中", "\xc0\x80": "\ufffd\ufffd", "\xed\xa0\x80": "\ufffd\ufffd\ufffd",
	} {
		var ids []int
		for i := range len(in) {
			ids = append(ids, int(in[i]))
		}
		if got := tok.Decode(ids, false); got != want {
			t.Errorf("%q decodes to %q, expected %q", in, got, want)
		}
	}
}

// TestMergesFewAndMany: both ways of merging give the same.
func TestMergesFewAndMany(t *testing.T) {
	m := small(t).model.(*bpe)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		piece := make([]byte, 1+rng.IntN(few))
		for i := range piece {
			piece[i] = "hellowa"[rng.IntN(7)]
		}
		symbols := m.symbols(nil, string(piece))
		a, b := m.mergeFew(slices.Clone(symbols)), m.mergeMany(slices.Clone(symbols))
		if !slices.Equal(a, b) {
			t.Fatalf("%s: %v and %v", piece, a, b)
		}
	}
}

// TestLongPieces: three megabytes without a space take no quadratic time, which would be
// hours: the test would not end. It looks at no clock, as machines are busy at times.
func TestLongPieces(t *testing.T) {
	const n = 1 << 19
	if got := small(t).Encode(strings.Repeat("hellaa", n), false); len(got) != 2*n {
		t.Fatalf("%d tokens of %d words", len(got), n)
	}
}

func TestJSONRefused(t *testing.T) {
	for name, c := range map[string]struct {
		json string
		kind fault.Kind
	}{
		"not JSON":      {"x", fault.Invalid},
		"model":         {`{"model":{"type":"Magic"}}`, fault.Unsupported},
		"merge":         {`{"model":{"type":"BPE","vocab":{"a":0},"merges":["a b"]}}`, fault.Invalid},
		"merge parts":   {`{"model":{"type":"BPE","vocab":{"a":0},"merges":["ab"]}}`, fault.Invalid},
		"number":        {`{"model":{"type":"BPE","vocab":{"a":-1},"merges":[]}}`, fault.Invalid},
		"huge number":   {`{"model":{"type":"BPE","vocab":{"a":1000000000},"merges":[]}}`, fault.Invalid},
		"added":         {`{"model":{"type":"BPE","vocab":{"a":0},"merges":[]},"added_tokens":[{"id":99999999999,"content":"x"}]}`, fault.Invalid},
		"pattern":       {`{"model":{"type":"BPE","vocab":{"a":0}},"pre_tokenizer":{"type":"Split","behavior":"Isolated","pattern":{"Regex":"(a+)+$"}}}`, fault.Unsupported},
		"pre-tokenizer": {`{"model":{"type":"BPE","vocab":{"a":0}},"pre_tokenizer":{"type":"Nothing"}}`, fault.Unsupported},
		"depth":         {`{"model":{"type":"BPE","vocab":{"a":0}},"normalizer":` + strings.Repeat(`{"type":"Sequence","normalizers":[`, 50) + strings.Repeat(`]}`, 50) + `}`, fault.Invalid},
		"template":      {`{"model":{"type":"BPE","vocab":{"a":0}},"post_processor":{"type":"TemplateProcessing","single":[{"Sequence":{"id":"A"}},{"Sequence":{"id":"A"}}]}}`, fault.Invalid},
		"template id":   {`{"model":{"type":"BPE","vocab":{"a":0}},"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x"}},{"Sequence":{"id":"A"}}],"special_tokens":{"x":{"ids":[7]}}}}`, fault.Invalid},
		"charsmap":      {`{"model":{"type":"BPE","vocab":{"a":0}},"normalizer":{"type":"Precompiled","precompiled_charsmap":"AAAA"}}`, fault.Invalid},
		"added gap":     {`{"model":{"type":"BPE","vocab":{"a":0}},"added_tokens":[{"id":65000,"content":"x"},{"id":130000,"content":"y"}]}`, fault.Invalid},
		"no unknown":    {`{"model":{"type":"WordPiece","vocab":{"a":0}}}`, fault.Invalid},
		"unigram":       {`{"model":{"type":"Unigram","vocab":[["a"]]}}`, fault.Invalid},
		"a long token":  {`{"model":{"type":"BPE","vocab":{"` + strings.Repeat("a", maxToken+1) + `":0}}}`, fault.Invalid},
		"a long piece":  {`{"model":{"type":"Unigram","vocab":[["` + strings.Repeat("a", maxToken+1) + `",0]]}}`, fault.Invalid},
	} {
		if _, err := FromJSON([]byte(c.json)); err == nil || fault.KindOf(err) != c.kind {
			t.Errorf("%s: %v, expected kind %v", name, err, c.kind)
		}
	}
}

// TestTokensTooLong: tables of a foreign file's tokens take bounded time and memory.
func TestTokensTooLong(t *testing.T) {
	long := make([]string, maxTexts/maxToken+1)
	for i := range long {
		long[i] = strings.Repeat("a", maxToken)
	}
	for name, tokens := range map[string][]string{"one": {"a", long[0] + "a"}, "all together": long} {
		values := map[string]any{"model": "llama", "tokens": tokens, "scores": make([]float32, len(tokens))}
		if _, err := FromGGUF(func(key string) any { return values[strings.TrimPrefix(key, keyPrefix)] }); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestStripOfManySpaces: a decoder that may strip for ever ends with the token.
func TestStripOfManySpaces(t *testing.T) {
	tok, err := FromJSON([]byte(`{"model":{"vocab":{"  a a":0}},"decoder":{"type":"Strip","content":" ","start":9000000000000000000}}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := tok.Decode([]int{0}, false); got != "a a" {
		t.Errorf("%q", got)
	}
}

func FuzzFromJSON(f *testing.F) {
	f.Add(byteLevel("a a"), "aaa b")
	// Short ones besides: every byte of a seed costs.
	for _, text := range []string{
		`{"model":{"vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]},"pre_tokenizer":{"type":"Split","behavior":"Removed","invert":true,"pattern":{"Regex":"[^\\s]+"}}}`,
		`{"model":{"vocab":{"1":0,"11":1},"merges":[["1","1"]]},"pre_tokenizer":{"type":"Digits","individual_digits":true},"added_tokens":[{"id":9,"content":"x","lstrip":true,"single_word":true,"normalized":true}]}`,
		`{"model":{"vocab":{"Ġ":0,"a":1}},"pre_tokenizer":{"type":"ByteLevel"},"decoder":{"type":"ByteLevel"},"normalizer":{"type":"NFKC"}}`,
		`{"model":{"vocab":{"a":0}},"pre_tokenizer":{"type":"Punctuation","behavior":"MergedWithNext"},"normalizer":{"type":"Sequence","normalizers":[{"type":"Lowercase"},{"type":"StripAccents"},{"type":"Strip","strip_left":true}]}}`,
		`{"model":{"vocab":{"a":0}},"decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"a"},"content":"b"},{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Metaspace"}]}}`,
		`{"model":{"vocab":{"a":0}},"post_processor":{"type":"RobertaProcessing","sep":["a",0],"cls":["a",0]},"pre_tokenizer":{"type":"WhitespaceSplit"}}`,
	} {
		f.Add([]byte(text), "Ab 11 x, É")
	}
	f.Add([]byte(`{"model":{"type":"Unigram","unk_id":0,"vocab":[["<unk>",0],["a",-1],["▁a",-2]]},"pre_tokenizer":{"type":"Metaspace"}}`), "a aa ab")
	f.Add([]byte(`{"model":{"type":"WordPiece","unk_token":"u","vocab":{"u":0,"a":1,"##b":2}},"normalizer":{"type":"BertNormalizer"},"pre_tokenizer":{"type":"BertPreTokenizer"},"decoder":{"type":"WordPiece","prefix":"##"}}`), "ab, a")
	f.Add([]byte(`{"model":{"type":"BPE","byte_fallback":true,"unk_token":"u","vocab":{"u":0,"▁":1,"a":2,"▁a":3},"merges":[["▁","a"]]},"normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},{"type":"Replace","pattern":{"String":" "},"content":"▁"}]},"decoder":{"type":"Strip","content":" ","start":1}}`), "a  a中")
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		tok, err := FromJSON(data)
		if err != nil || len(text) > 1<<12 {
			return
		}
		ids := tok.Encode(text, true)
		for _, id := range ids {
			if id < 0 || id >= tok.Len() {
				t.Fatalf("token %d of %d", id, tok.Len())
			}
		}
		for limit := range 4 {
			checkWithin(t, tok, text, limit*len(ids)/2)
		}
		checkStream(t, tok, tok.EncodePlain(text))
	})
}

func FuzzFromGGUF(f *testing.F) {
	f.Add("llama", "", "<unk> a b ab ▁ ▁a <0x0A>", "a b", []byte{2, 1, 1, 1, 1, 1, 6}, "ab a\n")
	f.Add("gpt2", "llama-bpe", "a b ab Ġ", "a_b", []byte{1, 1, 1, 1}, "ab ab")
	f.Add("gemma4", "", "a b ab ▁", "a_b", []byte{1, 1, 1, 1}, "ab ab")
	f.Add("t5", "", "<unk> a ▁ ▁a", "", []byte{2, 1, 1, 1}, "a  a")
	f.Add("bert", "", "[UNK] ▁a b ,", "", []byte{3, 1, 1, 1}, "ab, a")
	f.Fuzz(func(t *testing.T, model, pre, tokens, merges string, kinds []byte, text string) {
		list := strings.Split(tokens, " ")
		scores, types := make([]float32, len(list)), make([]int32, len(list))
		for i := range list {
			scores[i] = -float32(i)
			if i < len(kinds) {
				types[i] = int32(kinds[i])
			}
		}
		values := map[string]any{
			"tokenizer.ggml.model": model, "tokenizer.ggml.pre": pre, "tokenizer.ggml.tokens": list, "tokenizer.ggml.scores": scores,
			"tokenizer.ggml.token_type": types, "tokenizer.ggml.merges": strings.Split(strings.ReplaceAll(merges, "_", " "), ";"),
			"tokenizer.ggml.precompiled_charsmap": kinds, "tokenizer.ggml.bos_token_id": uint32(len(kinds)), "tokenizer.ggml.unknown_token_id": uint32(0),
		}
		tok, err := FromGGUF(func(key string) any { return values[key] })
		if err != nil || len(text) > 1<<12 {
			return
		}
		ids := tok.Encode(text, true)
		for _, id := range ids {
			if id < 0 || id >= tok.Len() {
				t.Fatalf("token %d of %d", id, tok.Len())
			}
		}
		for limit := range 4 {
			checkWithin(t, tok, text, limit*len(ids)/2)
		}
		checkStream(t, tok, tok.EncodePlain(text))
	})
}

// BenchmarkEncode reports the speed on the text that bench/tokenizers.py gives to
// Hugging Face's library, with the same tokenizer.
func BenchmarkEncode(b *testing.B) {
	for _, name := range []string{"ggml-vocab-llama-bpe", "ggml-vocab-qwen2", "ggml-vocab-llama-spm"} {
		b.Run(name, func(b *testing.B) {
			tok := openGGUF(b, fmt.Sprintf("%s/%s.gguf", vocabularies(b), name))
			text := strings.Repeat("The quick brown fox jumps over the lazy dog's back; 12345 times.\n大规模语言模型的训练。", 1000)
			tok.Encode(text, false)
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				tok.Encode(text, false)
			}
		})
	}
}
