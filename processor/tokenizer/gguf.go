package tokenizer

import (
	"fmt"
	"strings"
	"unicode"

	"tandem/fault"
)

// The kinds of tokens in a GGUF file.
const (
	kindNormal = 1 + iota
	kindUnknown
	kindControl
	kindUser
	kindUnused
	kindByte
)

const keyPrefix = "tokenizer.ggml."

// FromGGUF makes a tokenizer of the metadata of a GGUF file; get gives the value of
// a key, or nil. It cuts text as llama.cpp does. What it does not know it refuses by
// name, with an error of kind Unsupported.
func FromGGUF(get func(key string) any) (*Tokenizer, error) {
	const op = "tokenizer.fromGGUF"
	g := &metadata{get: get}
	t, err := g.build()
	if err != nil {
		kind := fault.KindOf(err)
		if kind == fault.Internal {
			kind = fault.Invalid
		}
		return nil, fault.Wrap(err, op, kind, "the file's tokenizer")
	}
	return t, nil
}

type metadata struct {
	get    func(key string) any
	t      *Tokenizer
	kinds  []int32
	scores []float32
}

func (g *metadata) text(key string) string { s, _ := g.get(keyPrefix + key).(string); return s }

func (g *metadata) flag(key string, byDefault bool) bool {
	if v, ok := g.get(keyPrefix + key).(bool); ok {
		return v
	}
	return byDefault
}

// token is the number that a key gives, or byDefault. One beyond the vocabulary is -1.
func (g *metadata) token(key string, byDefault int) int {
	id := byDefault
	switch v := g.get(keyPrefix + key).(type) {
	case uint32:
		id = int(v)
	case int32:
		id = int(v)
	case uint64:
		id = int(min(v, maxTokens))
	}
	if id < 0 || id >= len(g.t.tokens) {
		return -1
	}
	return id
}

func (g *metadata) build() (*Tokenizer, error) {
	tokens, _ := g.get(keyPrefix + "tokens").([]string)
	if len(tokens) == 0 || len(tokens) > maxTokens {
		return nil, fmt.Errorf("a vocabulary of %d tokens, expected 1 to %d", len(tokens), maxTokens)
	}
	if err := checkTexts(tokens); err != nil {
		return nil, err
	}
	g.t = &Tokenizer{tokens: tokens, numbers: make(map[string]int, len(tokens)), special: make([]bool, len(tokens)), normalize: chain(nil)}
	g.scores, _ = g.get(keyPrefix + "scores").([]float32)
	g.kinds, _ = g.get(keyPrefix + "token_type").([]int32)
	if g.scores != nil && len(g.scores) != len(tokens) || g.kinds != nil && len(g.kinds) != len(tokens) {
		return nil, fmt.Errorf("%d tokens with %d scores and %d kinds", len(tokens), len(g.scores), len(g.kinds))
	}
	for id, text := range tokens {
		g.t.numbers[text] = id
		kind := g.kind(id)
		g.t.special[id] = kind == kindControl || kind == kindUnknown
		if kind == kindControl || kind == kindUser || kind == kindUnknown {
			g.t.raw.add(addedToken{id: id, text: text, special: kind != kindUser, takeAfter: g.takesAfter(text, kind)})
		}
	}
	var err error
	switch model := g.text("model"); model {
	case "gpt2", "gemma4":
		err = g.bpe(model)
	case "llama":
		err = g.sentencePiece()
	case "t5":
		err = g.unigram()
	case "bert":
		err = g.wordPiece()
	default:
		err = unsupported("the tokenizer's model is %.40q, expected gpt2, llama, gemma4, t5 or bert", model)
	}
	return g.t, err
}

func (g *metadata) kind(id int) int32 {
	if g.kinds == nil {
		return kindNormal
	}
	return g.kinds[id]
}

func (g *metadata) usable(id int) bool {
	k := g.kind(id)
	return k == kindNormal || k == kindUser || k == kindUnused
}

// takesAfter: the control tokens of Phi-3 swallow the white space behind them, which
// its file does not tell.
func (g *metadata) takesAfter(text string, kind int32) bool {
	arch, _ := g.get("general.architecture").(string)
	return arch == "phi3" && kind != kindUnknown && text != "<s>" && text != "<|endoftext|>" && text != "<unk>"
}

// around sets what Encode puts around a text.
func (g *metadata) around(first, last string, addFirst, addLast bool) {
	g.t.bos, g.t.eos = g.token(first, -1), g.token(last, -1)
	if g.flag("add_bos_token", addFirst) && g.t.bos >= 0 {
		g.t.before = []int{g.t.bos}
	}
	if g.flag("add_eos_token", addLast) && g.t.eos >= 0 {
		g.t.after = []int{g.t.eos}
	}
}

// bpe reads a vocabulary with merges. The pattern goes by a name.
func (g *metadata) bpe(model string) error {
	name := g.text("pre")
	if model == "gemma4" && name == "" {
		name = "gemma4"
	}
	pre, ok := namedPatterns()[name]
	if !ok {
		return unsupported("the pre-tokenizer is called %.60q", name)
	}
	for _, p := range pre.patterns {
		f, err := compile(p)
		if err != nil {
			return err
		}
		g.t.splitters = append(g.t.splitters, splitter{find: f})
	}
	lines, _ := g.get(keyPrefix + "merges").([]string)
	merges, err := splitMerges(lines)
	if err != nil {
		return err
	}
	byteLevel := name != "gemma4"
	m := newBPE(g.t.tokens, byteLevel, func(id int) bool { k := g.kind(id); return byteLevel || k != kindControl && k != kindUnknown })
	m.ignoreMerges = pre.ignoreMerges
	g.t.model = m
	g.t.decoder = decoder{func(token string, _ bool) string { return unmap(token) }}
	if !byteLevel {
		g.t.prepare.mark = lowLine
		if g.flag("add_space_prefix", false) {
			g.t.prepare.begin = lowLine
		}
		g.t.decoder = sentencePiece(false)
		g.t.splitters = append(g.t.splitters, splitter{find: findLines})
	}
	g.around("bos_token_id", "eos_token_id", pre.addBOS, false)
	return m.addMerges(merges)
}

// sentencePiece reads a vocabulary with scores, by which neighbours merge.
func (g *metadata) sentencePiece() error {
	if g.scores == nil {
		return fmt.Errorf("a vocabulary without scores")
	}
	m := newBPE(g.t.tokens, false, g.usable)
	for id, text := range g.t.tokens {
		if c, ok := byteToken(text); ok && g.kind(id) == kindByte {
			m.bytes[c] = int32(id)
		}
	}
	m.unknown = int32(g.token("unknown_token_id", 0))
	m.mergesOf(g.t.tokens, g.scores, g.usable)
	g.t.model = m
	g.t.prepare.mark = lowLine
	prefix := g.flag("add_space_prefix", true)
	if prefix {
		g.t.normalize = prepend(" ")
	}
	g.t.decoder = sentencePiece(prefix)
	g.around("bos_token_id", "eos_token_id", true, false)
	return nil
}

func (g *metadata) unigram() error {
	if g.scores == nil {
		return fmt.Errorf("a vocabulary without scores")
	}
	scores := make([]float64, len(g.scores))
	for i, s := range g.scores {
		scores[i] = float64(s)
		if g.kind(i) == kindUser {
			scores[i] = 0
		}
	}
	u := newUnigram(g.t.tokens, scores, g.usable)
	u.unknown = g.token("unknown_token_id", 2)
	g.t.model = u
	var all []normalizer
	if blob := bytesOf(g.get(keyPrefix + "precompiled_charsmap")); len(blob) > 0 {
		c, err := parseCharsmap(blob)
		if err != nil {
			return err
		}
		all = append(all, c.prefixes)
	}
	if g.flag("remove_extra_whitespaces", false) {
		all = append(all, collapse)
	}
	if g.flag("add_space_prefix", true) {
		all = append(all, prepend(" "))
	}
	g.t.normalize = chain(all)
	g.t.prepare.mark = lowLine
	g.t.decoder = sentencePiece(true)
	g.around("bos_token_id", "eos_token_id", false, true)
	return nil
}

func bytesOf(v any) []byte {
	switch v := v.(type) {
	case []uint8:
		return v
	case []int8:
		b := make([]byte, len(v))
		for i, c := range v {
			b[i] = byte(c)
		}
		return b
	}
	return nil
}

// wordPiece reads a vocabulary in which U+2581 begins what begins a word.
func (g *metadata) wordPiece() error {
	w := &wordpiece{first: newTrie(), rest: newTrie(), unknown: g.token("unknown_token_id", 100), maxChars: 1 << 20}
	if w.unknown < 0 {
		return fmt.Errorf("a vocabulary without an unknown token")
	}
	for id, text := range g.t.tokens {
		if text == "" || !g.usable(id) {
			continue
		}
		if rest, ok := strings.CutPrefix(text, lowLine); ok && rest != "" {
			w.first.add(rest, id)
		} else {
			w.rest.add(text, id)
		}
	}
	g.t.model = w
	g.t.normalize = bert{clean: true, chinese: true, accents: true, lower: true}.normalize
	g.t.splitters = []splitter{{find: findRune(unicode.IsSpace), behavior: removed}, {find: findRune(isBertPunct)}}
	g.t.decoder = decoder{func(token string, first bool) string {
		if rest, ok := strings.CutPrefix(token, lowLine); ok && !first {
			return " " + rest
		} else if ok {
			return rest
		}
		return token
	}}
	g.around("cls_token_id", "seperator_token_id", true, true)
	return nil
}

// casedLetters are letters with case, as DeepSeek's first pattern lists them.
const casedLetters = "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373\u0376\u0377" +
	"\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556" +
	"\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15" +
	"\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe" +
	"\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113" +
	"\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184" +
	"\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e" +
	"\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3" +
	"\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943"

// named is what the name of a pre-tokenizer in a GGUF file stands for.
type named struct {
	patterns     []string // each cuts what the ones before left
	ignoreMerges bool
	addBOS       bool
}

func namedPatterns() map[string]named {
	const (
		gpt2     = exactList + `| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
		end      = `| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
		llama3   = foldGroup + `|` + noWord + `\p{L}+|\p{N}{1,3}` + end
		qwen2    = foldGroup + `|` + noWord + `\p{L}+|\p{N}` + end
		qwen35   = foldGroup + `|` + noWord + `[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
		casedEnd = `| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
		o200k    = noWord + capitals + `*` + smalls + `+` + foldGroup + `?|` + noWord + capitals + `+` + smalls + `*` + foldGroup + `?|\p{N}{1,3}` + casedEnd
		tekken   = noWord + capitals + `*` + smalls + `+|` + noWord + capitals + `+` + smalls + `*|\p{N}` + casedEnd
		deepseek = `[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_` + "`" + `{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
		cased    = `\s?[` + casedLetters + `]+`
		punctRun = `[\p{P}\$\+<=>\^~\|` + "`" + `]+`
		han      = `[一-龥ࠀ-一가-퟿]+`
	)
	plain := named{patterns: []string{gpt2}}
	digits := named{patterns: []string{`\p{N}`, gpt2}}
	all := map[string]named{
		"":               {patterns: []string{`[\p{P}\$\+<=>\^~\|]+`, gpt2, `\p{N}+`, threeDigits}},
		"deepseek-llm":   {patterns: []string{`[\r\n]`, cased, `\s?[!-/:-~！-／：-～‘-‟　-。]+`, `\s+$`, han, `\p{N}+`}},
		"deepseek-coder": {patterns: []string{`[\r\n]`, `\s?\p{L}+`, `\s?\p{P}+`, han, `\p{N}`}},
		"deepseek-v3":    {patterns: []string{`\p{N}{1,3}`, `[一-龥぀-ゟ゠-ヿ]+`, deepseek}},
		"falcon":         {patterns: []string{punctRun, gpt2, threeDigits}},
		"qwen2":          {patterns: []string{qwen2}},
		"qwen35":         {patterns: []string{qwen35}},
		"gpt-4o":         {patterns: []string{o200k}},
		"tekken":         {patterns: []string{tekken}, ignoreMerges: true, addBOS: true},
		"llama-bpe":      {patterns: []string{llama3}, ignoreMerges: true, addBOS: true},
		"glm4":           {patterns: []string{llama3}, ignoreMerges: true},
		"chatglm-bpe":    {patterns: []string{llama3}},
		"gemma4":         {},
	}
	same := func(of string, names ...string) {
		for _, n := range names {
			all[n] = all[of]
		}
	}
	same("", "default")
	same("llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano")
	same("qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez", "stablelm2", "hunyuan", "solar-open", "grok-2")
	same("gpt-4o", "llama4", "kanana2", "minimax-m2")
	same("deepseek-v3", "hunyuan-dense", "joyai-llm")
	same("chatglm-bpe", "dbrx", "smaug-bpe")
	same("glm4", "glm5")
	for _, n := range []string{"gpt-2", "phi-2", "mpt", "olmo", "jais", "trillion", "granite-docling", "jina-es", "jina-de", "gigachat", "jina-v2-es", "jina-v2-de", "a.x-4.0", "mellum", "modern-bert", "exaone4"} {
		all[n] = plain
	}
	for _, n := range []string{"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2"} {
		all[n] = digits
	}
	return all
}
