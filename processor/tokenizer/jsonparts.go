package tokenizer

import (
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

func is(b *bool, byDefault bool) bool {
	if b == nil {
		return byDefault
	}
	return *b
}

// behaviors are their names in tokenizer.json.
func behaviors() map[string]behavior {
	return map[string]behavior{
		"Isolated": isolated, "Removed": removed, "MergedWithPrevious": withBefore, "MergedWithNext": withAfter, "Contiguous": contiguous,
	}
}

func (b *builder) preTokenizer() error {
	list, err := flatten(b.f.PreTokenizer, func(p *part) []part { return p.Pretokenizers }, 0)
	if err != nil {
		return err
	}
	for i := range list {
		if err := b.addPreTokenizer(&list[i], i == 0); err != nil {
			return err
		}
	}
	return nil
}

// addPreTokenizer adds one. Those that change text must be the first, so that what
// follows only cuts.
func (b *builder) addPreTokenizer(p *part, first bool) error {
	t := b.t
	split := func(f find, how behavior) { t.splitters = append(t.splitters, splitter{find: f, behavior: how}) }
	if b.byteLevel && p.Type != "Digits" && p.Type != "Split" {
		return unsupported("the pre-tokenizer %.40q follows ByteLevel", p.Type)
	}
	switch p.Type {
	case "ByteLevel":
		b.byteLevel = true
		if is(p.AddPrefixSpace, true) {
			if !first {
				return unsupported("ByteLevel adds a space to pieces of other pre-tokenizers")
			}
			t.prepare.begin = " "
		}
		if is(p.UseRegex, true) {
			f, err := compile(exactList + `| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`)
			split(f, isolated)
			return err
		}
	case "Split":
		return b.addSplit(p)
	case "Digits":
		if b.byteLevel {
			how := contiguous
			if p.IndividualDigits {
				how = isolated
			}
			split(findDigitBytes, how)
		} else if p.IndividualDigits {
			split(findRune(unicode.IsNumber), isolated)
		} else {
			split(findRune(unicode.IsNumber), contiguous)
		}
	case "Punctuation":
		how, ok := behaviors()[p.Behavior]
		if p.Behavior == "" {
			how, ok = isolated, true
		}
		if !ok {
			return fmt.Errorf("the behaviour %.40q is not known", p.Behavior)
		}
		split(findRune(isBertPunct), how)
	case "WhitespaceSplit":
		split(findRune(unicode.IsSpace), removed)
	case "Whitespace": // \w+|[^\w\s]+
		split(findRune(unicode.IsSpace), removed)
		split(findRune(isWord), contiguous)
	case "BertPreTokenizer":
		split(findRune(unicode.IsSpace), removed)
		split(findRune(isBertPunct), isolated)
	case "CharDelimiterSplit":
		split(findText(p.Delimiter), removed)
	case "Metaspace":
		return b.addMetaspace(p, first)
	default:
		return unsupported("the pre-tokenizer is a %.40q", p.Type)
	}
	return nil
}

func (b *builder) addSplit(p *part) error {
	how, ok := behaviors()[p.Behavior]
	if !ok || p.Pattern == nil {
		return fmt.Errorf("a Split without a pattern or with the behaviour %.40q", p.Behavior)
	}
	var f find
	switch {
	case b.byteLevel && (p.Pattern.Regex == nil || *p.Pattern.Regex != threeDigits):
		return unsupported("a Split that follows ByteLevel")
	case p.Pattern.String != nil:
		f = findText(*p.Pattern.String)
	case p.Pattern.Regex != nil:
		var err error
		if f, err = compile(*p.Pattern.Regex); err != nil {
			return unsupported("%s", err.Error())
		}
	default:
		return fmt.Errorf("a Split without a pattern")
	}
	b.t.splitters = append(b.t.splitters, splitter{f, how, p.Invert})
	return nil
}

func (b *builder) addMetaspace(p *part, first bool) error {
	mark := p.Replacement
	if mark == "" {
		mark = lowLine
	}
	scheme := p.PrependScheme
	if scheme == "" {
		scheme = "always"
		if !is(p.AddPrefixSpace, true) {
			scheme = "never"
		}
	}
	if !first {
		if scheme != "always" {
			return unsupported("Metaspace with the scheme %.40q behind another pre-tokenizer", scheme)
		}
		b.t.pieceMark = mark
		return nil
	}
	b.t.prepare.mark = mark
	switch scheme {
	case "always":
		b.t.prepare.begin = mark
	case "first":
		b.t.prepare.begin, b.t.prepare.firstOnly = mark, true
	case "never":
	default:
		return fmt.Errorf("the prepend scheme %.40q is not known", scheme)
	}
	if is(p.Split, true) {
		b.t.splitters = append(b.t.splitters, splitter{findText(mark), withAfter, false})
	}
	return nil
}

func (b *builder) normalizer() error {
	list, err := flatten(b.f.Normalizer, func(p *part) []part { return p.Normalizers }, 0)
	if err != nil {
		return err
	}
	var all []normalizer
	for i := range list {
		n, err := newNormalizer(&list[i])
		if err != nil {
			return err
		}
		all = append(all, n)
	}
	b.t.normalize = chain(all)
	return nil
}

func newNormalizer(p *part) (normalizer, error) {
	switch p.Type {
	case "NFC":
		return normalForm(norm.NFC), nil
	case "NFD":
		return normalForm(norm.NFD), nil
	case "NFKC":
		return normalForm(norm.NFKC), nil
	case "NFKD":
		return normalForm(norm.NFKD), nil
	case "Lowercase":
		return lowercase, nil
	case "StripAccents":
		return stripAccents, nil
	case "Strip":
		return strip(p.StripLeft, p.StripRight), nil
	case "Nmt":
		return nmt, nil
	case "Prepend":
		return prepend(p.Prepend), nil
	case "Replace":
		with, ok := p.Content.(string)
		switch {
		case !ok || p.Pattern == nil:
			return nil, fmt.Errorf("a Replace without a pattern or content")
		case p.Pattern.String != nil:
			return replace(*p.Pattern.String, with), nil
		case p.Pattern.Regex != nil && *p.Pattern.Regex == " {2,}":
			return replaceRuns(with), nil
		}
		return nil, unsupported("a Replace with this pattern: %.100q", fmt.Sprint(p.Pattern))
	case "Precompiled":
		c, err := parseCharsmap(p.Charsmap)
		if err != nil {
			return nil, err
		}
		return c.graphemes, nil
	case "BertNormalizer":
		lower := is(p.Lowercase, true)
		return bert{is(p.CleanText, true), is(p.HandleChineseChars, true), is(p.StripAccents, lower), lower}.normalize, nil
	}
	return nil, unsupported("the normaliser is a %.40q", p.Type)
}

// replaceRuns replaces two or more spaces in a row.
func replaceRuns(with string) normalizer {
	return func(s string) string {
		if !strings.Contains(s, "  ") {
			return s
		}
		var w strings.Builder
		for i := 0; i < len(s); {
			end := i
			for end < len(s) && s[end] == ' ' {
				end++
			}
			if end-i >= 2 {
				w.WriteString(with)
				i = end
				continue
			}
			w.WriteByte(s[i])
			i++
		}
		return w.String()
	}
}

// postProcessor finds what is put around a text.
func (b *builder) postProcessor() error {
	list, err := flatten(b.f.PostProcessor, func(p *part) []part { return p.Processors }, 0)
	if err != nil {
		return err
	}
	for i := range list {
		switch p := &list[i]; p.Type {
		case "ByteLevel": // changes offsets only
		case "TemplateProcessing":
			err = b.template(p)
		case "BertProcessing", "RobertaProcessing":
			cls, okCls := pairID(p.Cls)
			sep, okSep := pairID(p.Sep)
			if !okCls || !okSep {
				return fmt.Errorf("%s without cls and sep", p.Type)
			}
			b.t.before, b.t.after = []int{cls}, []int{sep}
		default:
			err = unsupported("the post-processor is a %.40q", p.Type)
		}
		if err != nil {
			return err
		}
	}
	for _, ids := range [][]int{b.t.before, b.t.after} {
		for _, id := range ids {
			if id < 0 || id >= len(b.t.tokens) {
				return fmt.Errorf("the post-processor has token %d, and there are %d", id, len(b.t.tokens))
			}
		}
	}
	if len(b.t.before) > 0 {
		b.t.bos = b.t.before[0]
	}
	if len(b.t.after) > 0 {
		b.t.eos = b.t.after[len(b.t.after)-1]
	}
	return nil
}

// pairID reads a token as post-processors write it: its text and its number.
func pairID(pair []any) (int, bool) {
	if len(pair) != 2 {
		return 0, false
	}
	id, ok := pair[1].(float64)
	return int(id), ok
}

func (b *builder) template(p *part) error {
	seen := false
	for _, piece := range p.Single {
		switch {
		case piece.Sequence != nil && !seen && piece.Sequence.ID == "A":
			seen = true
		case piece.SpecialToken != nil:
			special, ok := p.SpecialTokens[piece.SpecialToken.ID]
			if !ok {
				return fmt.Errorf("the template's token %.100q is not listed", piece.SpecialToken.ID)
			}
			if seen {
				b.t.after = append(b.t.after, special.IDs...)
			} else {
				b.t.before = append(b.t.before, special.IDs...)
			}
		default:
			return fmt.Errorf("a template that is not tokens, the text once, tokens")
		}
	}
	if !seen {
		return fmt.Errorf("a template without the text")
	}
	return nil
}

// decoder finds how tokens become text. The steps of a sequence are taken for what
// they do to one token.
func (b *builder) decoder() error {
	list, err := flatten(b.f.Decoder, func(p *part) []part { return p.Decoders }, 0)
	if err != nil {
		return err
	}
	if len(list) == 1 {
		switch p := &list[0]; p.Type {
		case "ByteLevel":
			b.t.decoder = decoder{func(token string, _ bool) string { return unmap(token) }}
			return nil
		case "WordPiece":
			b.t.decoder = wordPieces(p.Prefix, p.Cleanup)
			return nil
		}
	}
	var steps []func(token string, first bool) string
	for i := range list {
		step, err := decodeStep(&list[i])
		if err != nil {
			return err
		}
		if step != nil {
			steps = append(steps, step)
		}
	}
	b.t.decoder = decoder{func(token string, first bool) string {
		for _, step := range steps {
			token = step(token, first)
		}
		return token
	}}
	if len(list) == 0 && b.byteLevel {
		b.t.decoder = decoder{func(token string, _ bool) string { return unmap(token) }}
	} else if len(list) == 0 {
		b.t.decoder = wordPieces("", false) // without a decoder, spaces stand between tokens
	}
	return nil
}

func decodeStep(p *part) (func(token string, first bool) string, error) {
	switch p.Type {
	case "Fuse":
		return nil, nil // text is one piece anyway
	case "ByteLevel":
		return func(token string, _ bool) string { return unmap(token) }, nil
	case "ByteFallback":
		return func(token string, _ bool) string {
			if c, ok := byteToken(token); ok {
				return string([]byte{c})
			}
			return token
		}, nil
	case "Replace":
		with, ok := p.Content.(string)
		if !ok || p.Pattern == nil || p.Pattern.String == nil {
			return nil, unsupported("a decoder that replaces something other than a fixed text")
		}
		old := *p.Pattern.String
		return func(token string, _ bool) string { return strings.ReplaceAll(token, old, with) }, nil
	case "Strip":
		char, _ := p.Content.(string)
		start := p.Start
		if p.Stop != 0 || char == "" {
			return nil, unsupported("a decoder that strips the end of a text")
		}
		return func(token string, first bool) string {
			for n := 0; first && n < start && strings.HasPrefix(token, char); n++ {
				token = token[len(char):]
			}
			return token
		}, nil
	case "Metaspace":
		mark := p.Replacement
		if mark == "" {
			mark = lowLine
		}
		strip := p.PrependScheme != "never" && (p.PrependScheme != "" || is(p.AddPrefixSpace, true))
		return func(token string, first bool) string {
			token = strings.ReplaceAll(token, mark, " ")
			if first && strip {
				token = strings.TrimPrefix(token, " ")
			}
			return token
		}, nil
	}
	return nil, unsupported("the decoder is a %.40q", p.Type)
}
