package tokenizer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"tandem/fault"
)

const (
	maxJSONBytes = 256 << 20
	maxTokens    = 1 << 22
	maxToken     = 1 << 12 // bytes
	maxTexts     = 1 << 26 // bytes of all tokens: tables of them take several times as much
	maxDepth     = 8       // of sequences within sequences
	maxParts     = 64      // of a sequence
)

// part is a normaliser, pre-tokenizer, post-processor or decoder as tokenizer.json
// has it. The fields are those of all kinds.
type part struct {
	Type          string   `json:"type"`
	Normalizers   []part   `json:"normalizers"`
	Pretokenizers []part   `json:"pretokenizers"`
	Processors    []part   `json:"processors"`
	Decoders      []part   `json:"decoders"`
	Pattern       *pattern `json:"pattern"`
	Content       any      `json:"content"`
	Prepend       string   `json:"prepend"`
	Behavior      string   `json:"behavior"`
	Invert        bool     `json:"invert"`

	AddPrefixSpace   *bool  `json:"add_prefix_space"`
	UseRegex         *bool  `json:"use_regex"`
	Replacement      string `json:"replacement"`
	PrependScheme    string `json:"prepend_scheme"`
	Split            *bool  `json:"split"`
	IndividualDigits bool   `json:"individual_digits"`
	Delimiter        string `json:"delimiter"`

	CleanText          *bool  `json:"clean_text"`
	HandleChineseChars *bool  `json:"handle_chinese_chars"`
	StripAccents       *bool  `json:"strip_accents"`
	Lowercase          *bool  `json:"lowercase"`
	StripLeft          bool   `json:"strip_left"`
	StripRight         bool   `json:"strip_right"`
	Charsmap           []byte `json:"precompiled_charsmap"`

	Single        []piece               `json:"single"`
	SpecialTokens map[string]specialIDs `json:"special_tokens"`
	Sep           []any                 `json:"sep"`
	Cls           []any                 `json:"cls"`

	Prefix  string `json:"prefix"`
	Cleanup bool   `json:"cleanup"`
	Start   int    `json:"start"`
	Stop    int    `json:"stop"`
}

type pattern struct {
	String *string
	Regex  *string
}

type piece struct {
	SpecialToken *struct {
		ID string `json:"id"`
	}
	Sequence *struct {
		ID string `json:"id"`
	}
}

type specialIDs struct {
	IDs []int `json:"ids"`
}

// file is a tokenizer.json.
type file struct {
	AddedTokens []struct {
		ID         int    `json:"id"`
		Content    string `json:"content"`
		SingleWord bool   `json:"single_word"`
		LStrip     bool   `json:"lstrip"`
		RStrip     bool   `json:"rstrip"`
		Normalized bool   `json:"normalized"`
		Special    bool   `json:"special"`
	} `json:"added_tokens"`
	Normalizer    *part     `json:"normalizer"`
	PreTokenizer  *part     `json:"pre_tokenizer"`
	Model         modelPart `json:"model"`
	PostProcessor *part     `json:"post_processor"`
	Decoder       *part     `json:"decoder"`
}

type modelPart struct {
	Type                    string          `json:"type"`
	Vocab                   json.RawMessage `json:"vocab"`
	Merges                  json.RawMessage `json:"merges"`
	UnkToken                *string         `json:"unk_token"`
	UnkID                   *int            `json:"unk_id"`
	FuseUnk                 bool            `json:"fuse_unk"`
	ByteFallback            bool            `json:"byte_fallback"`
	IgnoreMerges            bool            `json:"ignore_merges"`
	Dropout                 *float64        `json:"dropout"`
	ContinuingSubwordPrefix *string         `json:"continuing_subword_prefix"`
	EndOfWordSuffix         *string         `json:"end_of_word_suffix"`
	MaxInputCharsPerWord    int             `json:"max_input_chars_per_word"`
}

// FromJSON reads a tokenizer.json as Hugging Face's tokenizers library writes it.
// What it cannot honour it refuses by name, with an error of kind Unsupported.
func FromJSON(data []byte) (*Tokenizer, error) {
	const op = "tokenizer.fromJSON"
	if len(data) > maxJSONBytes {
		return nil, fault.New(op, fault.TooLarge, "tokenizer.json has %d bytes, at most %d are allowed", len(data), maxJSONBytes)
	}
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, fault.Wrap(fault.JSON("", data, err), op, fault.Invalid, "tokenizer.json")
	}
	t := &Tokenizer{numbers: map[string]int{}, bos: -1, eos: -1}
	b := &builder{t: t, f: &f}
	for _, stage := range []func() error{b.preTokenizer, b.model, b.normalizer, b.added, b.postProcessor, b.decoder} {
		if err := stage(); err != nil {
			kind := fault.KindOf(err)
			if kind == fault.Internal {
				kind = fault.Invalid
			}
			return nil, fault.Wrap(err, op, kind, "tokenizer.json")
		}
	}
	return t, nil
}

// builder makes a Tokenizer of a file, stage by stage.
type builder struct {
	t         *Tokenizer
	f         *file
	byteLevel bool
}

func unsupported(format string, args ...any) error {
	return fault.New("tokenizer.fromJSON", fault.Unsupported, format, args...).
		Try("use a tokenizer of one of the common models, or ask for this kind to be added")
}

// flatten resolves sequences within sequences.
func flatten(p *part, children func(*part) []part, depth int) ([]part, error) {
	if p == nil {
		return nil, nil
	}
	if p.Type != "Sequence" {
		return []part{*p}, nil
	}
	if depth == maxDepth || len(children(p)) > maxParts {
		return nil, fmt.Errorf("sequences deeper than %d or longer than %d", maxDepth, maxParts)
	}
	var all []part
	for i := range children(p) {
		flat, err := flatten(&children(p)[i], children, depth+1)
		if err != nil {
			return nil, err
		}
		all = append(all, flat...)
	}
	return all, nil
}

// checkTexts refuses tokens of which no tables can be made in time and memory.
func checkTexts(tokens []string) error {
	total := 0
	for id, text := range tokens {
		if total += len(text); len(text) > maxToken || total > maxTexts {
			return fmt.Errorf("token %d has %d bytes, and those up to it %d: at most %d and %d are allowed", id, len(text), total, maxToken, maxTexts)
		}
	}
	return nil
}

// maxNumber is the highest number that one of n tokens may have: numbers may have gaps,
// but not more of them than there are tokens, and some.
func maxNumber(n int) int { return 2*n + 1<<16 }

// grow makes room for token number id.
func (t *Tokenizer) grow(id int) error {
	if id < 0 || id >= maxTokens {
		return fmt.Errorf("a token has the number %d, behind %d tokens", id, len(t.tokens))
	}
	if id >= len(t.tokens) {
		t.tokens = append(t.tokens, make([]string, id+1-len(t.tokens))...)
		t.special = append(t.special, make([]bool, id+1-len(t.special))...)
	}
	return nil
}

func (t *Tokenizer) set(text string, id int) error {
	if err := t.grow(id); err != nil {
		return err
	}
	t.tokens[id] = text
	t.numbers[text] = id
	return nil
}

func (b *builder) vocabulary() error {
	var vocab map[string]int
	if err := json.Unmarshal(b.f.Model.Vocab, &vocab); err != nil {
		return fault.JSON("model.vocab", b.f.Model.Vocab, err)
	}
	if len(vocab) > maxTokens {
		return fmt.Errorf("a vocabulary of %d tokens, at most %d are allowed", len(vocab), maxTokens)
	}
	for text, id := range vocab {
		if id > maxNumber(len(vocab)) {
			return fmt.Errorf("token %.100q has the number %d in a vocabulary of %d", text, id, len(vocab))
		}
		if id >= 0 && id < len(b.t.tokens) && b.t.tokens[id] > text { // two have this number: the same is told in any order
			b.t.numbers[text] = id
			continue
		}
		if err := b.t.set(text, id); err != nil {
			return err
		}
	}
	return checkTexts(b.t.tokens)
}

func (b *builder) model() error {
	m := &b.f.Model
	switch m.Type {
	case "BPE", "":
		return b.bpe(m)
	case "WordPiece":
		return b.wordPiece(m)
	case "Unigram":
		return b.unigram(m)
	}
	return unsupported("the model is a %.40q, expected BPE, Unigram or WordPiece", m.Type)
}

func (b *builder) unknown(m *modelPart) (int, error) {
	if m.UnkToken == nil {
		return -1, nil
	}
	id, ok := b.t.numbers[*m.UnkToken]
	if !ok {
		return 0, fmt.Errorf("the unknown token %.100q is not in the vocabulary", *m.UnkToken)
	}
	return id, nil
}

func filled(s *string) bool { return s != nil && *s != "" }

func (b *builder) bpe(m *modelPart) error {
	if filled(m.ContinuingSubwordPrefix) || filled(m.EndOfWordSuffix) {
		return unsupported("BPE with marks at the beginning or end of words")
	}
	if m.Dropout != nil && *m.Dropout != 0 {
		return unsupported("BPE with dropout")
	}
	if err := b.vocabulary(); err != nil {
		return err
	}
	unknown, err := b.unknown(m)
	if err != nil {
		return err
	}
	merges, err := parseMerges(m.Merges)
	if err != nil {
		return err
	}
	model := newBPE(b.t.tokens, b.byteLevel, nil)
	model.unknown, model.fuse, model.ignoreMerges = int32(unknown), m.FuseUnk, m.IgnoreMerges
	if !b.byteLevel && !m.ByteFallback {
		clearBytes(&model.bytes)
	}
	b.t.model = model
	return model.addMerges(merges)
}

// newBPE fills the tables of a vocabulary. Tokens that usable excludes (nil: none)
// are not made of text.
func newBPE(tokens []string, byteLevel bool, usable func(id int) bool) *bpe {
	m := &bpe{ids: make(map[string]int32, len(tokens)), byteLevel: byteLevel, longest: utf8.UTFMax, unknown: -1, whole: newStates(len(tokens))}
	clearBytes(&m.bytes)
	for id, text := range tokens {
		if text == "" || usable != nil && !usable(id) {
			continue
		}
		if !byteLevel {
			m.longest = max(m.longest, utf8.RuneCountInString(text))
			m.ids[text] = int32(id)
			if c, ok := byteToken(text); ok {
				m.bytes[c] = int32(id)
			}
			continue
		}
		raw, ok := unmapStrict(text)
		if !ok {
			continue
		}
		m.longest = max(m.longest, len(raw))
		m.ids[raw] = int32(id)
		if len(raw) == 1 {
			m.bytes[raw[0]] = int32(id)
		}
	}
	return m
}

func clearBytes(b *[256]int32) {
	for i := range b {
		b[i] = -1
	}
}

// addMerges adds merges in the order of their rank. Left and right are written as in
// the vocabulary.
func (b *bpe) addMerges(all [][2]string) error {
	b.merges = newPairs(len(all))
	var buf []byte
	symbol := func(s string) (int32, bool) {
		if !b.byteLevel {
			id, ok := b.ids[s]
			return id, ok
		}
		begin := len(buf)
		for _, r := range s {
			c, ok := byteOf(r)
			if !ok {
				return 0, false
			}
			buf = append(buf, c)
		}
		id, ok := b.ids[string(buf[begin:])]
		return id, ok
	}
	for rank, m := range all {
		buf = buf[:0]
		left, okLeft := symbol(m[0])
		right, okRight := symbol(m[1])
		var id int32
		var ok bool
		if b.byteLevel {
			id, ok = b.ids[string(buf)]
		} else {
			id, ok = b.ids[m[0]+m[1]]
		}
		if !ok || !okLeft || !okRight {
			return fmt.Errorf("merge %d joins %.100q and %.100q, and one of them or the result is not in the vocabulary", rank, m[0], m[1])
		}
		b.merges.add(left, right, merge{int32(rank), id})
	}
	return nil
}

// parseMerges reads "left right" or ["left", "right"].
func parseMerges(data json.RawMessage) ([][2]string, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, nil
	}
	var pairs [][2]string
	var lists [][]string
	if json.Unmarshal(data, &lists) == nil {
		for i, l := range lists {
			if len(l) != 2 {
				return nil, fmt.Errorf("merge %d has %d parts", i, len(l))
			}
			pairs = append(pairs, [2]string{l[0], l[1]})
		}
		return pairs, nil
	}
	var lines []string
	if err := json.Unmarshal(data, &lines); err != nil {
		return nil, fault.JSON("model.merges", data, err)
	}
	return splitMerges(lines)
}

func splitMerges(lines []string) ([][2]string, error) {
	pairs := make([][2]string, 0, len(lines))
	for i, line := range lines {
		left, right, ok := strings.Cut(line, " ")
		if !ok || left == "" || right == "" {
			return nil, fmt.Errorf("merge %d is %.100q, expected two tokens with a space between", i, line)
		}
		pairs = append(pairs, [2]string{left, right})
	}
	return pairs, nil
}

func (b *builder) wordPiece(m *modelPart) error {
	if err := b.vocabulary(); err != nil {
		return err
	}
	unknown, err := b.unknown(m)
	if err == nil && unknown < 0 {
		err = fmt.Errorf("WordPiece needs an unknown token")
	}
	if err != nil {
		return err
	}
	prefix := "##"
	if m.ContinuingSubwordPrefix != nil {
		prefix = *m.ContinuingSubwordPrefix
	}
	w := &wordpiece{first: newTrie(), rest: newTrie(), unknown: unknown, maxChars: m.MaxInputCharsPerWord}
	if w.maxChars <= 0 {
		w.maxChars = 100
	}
	for id, text := range b.t.tokens {
		if text == "" {
			continue
		}
		w.first.add(text, id)
		if rest, ok := strings.CutPrefix(text, prefix); ok && rest != "" {
			w.rest.add(rest, id)
		}
	}
	b.t.model = w
	return nil
}

func (b *builder) unigram(m *modelPart) error {
	var vocab [][]any
	if err := json.Unmarshal(m.Vocab, &vocab); err != nil {
		return fault.JSON("model.vocab", m.Vocab, err)
	}
	scores := make([]float64, len(vocab))
	for id, entry := range vocab {
		text, ok := "", len(entry) == 2
		if ok {
			text, ok = entry[0].(string)
		}
		if ok {
			scores[id], ok = entry[1].(float64)
		}
		if !ok {
			return fmt.Errorf("token %d of the vocabulary is not a text and a score", id)
		}
		if err := b.t.set(text, id); err != nil {
			return err
		}
	}
	if err := checkTexts(b.t.tokens); err != nil {
		return err
	}
	u := newUnigram(b.t.tokens, scores, func(int) bool { return true })
	if m.UnkID != nil {
		if u.unknown = *m.UnkID; u.unknown < 0 || u.unknown >= len(vocab) {
			return fmt.Errorf("the unknown token has the number %d in a vocabulary of %d", u.unknown, len(vocab))
		}
	}
	if m.ByteFallback {
		u.fallback = u.findBytes(b.t.tokens)
	}
	b.t.model = u
	return nil
}

// findBytes finds the tokens of single bytes, and reports whether all are there.
func (u *unigram) findBytes(tokens []string) bool {
	clearBytes(&u.bytes)
	for id, text := range tokens {
		if c, ok := byteToken(text); ok {
			u.bytes[c] = int32(id)
		}
	}
	return !slices.Contains(u.bytes[:], -1)
}

func (b *builder) added() error {
	limit := maxNumber(len(b.t.tokens) + len(b.f.AddedTokens))
	for _, a := range b.f.AddedTokens {
		if a.ID > limit {
			return fmt.Errorf("added token %.100q has the number %d behind %d tokens", a.Content, a.ID, len(b.t.tokens))
		}
		if err := b.t.grow(a.ID); err != nil {
			return err
		}
		if old := b.t.tokens[a.ID]; old != "" && old != a.Content {
			delete(b.t.numbers, old)
		}
		if err := b.t.set(a.Content, a.ID); err != nil {
			return err
		}
		b.t.special[a.ID] = a.Special
		token := addedToken{id: a.ID, text: a.Content, special: a.Special, alone: a.SingleWord, takeBefore: a.LStrip, takeAfter: a.RStrip}
		if a.Normalized {
			token.text = b.t.normalize(a.Content)
			b.t.normal.add(token)
		} else {
			b.t.raw.add(token)
		}
	}
	return nil
}
