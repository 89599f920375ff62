package tokenizer

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// compile makes a scanner of a regular expression, if it is one of the kinds that
// pre-tokenizers are made of: alternatives of the family of package type words, or
// runs of one class of characters. Others are an error: there is no general engine.
func compile(pattern string) (find, error) {
	p := strings.NewReplacer("\r", `\r`, "\n", `\n`).Replace(pattern)
	if f, ok := compileRun(p); ok {
		return f, nil
	}
	if w, ok := compileWords(p); ok {
		return findWords(w), nil
	}
	return nil, fmt.Errorf("the pre-tokenizer's pattern %.300q is not among those that Tandem knows", pattern)
}

const (
	exactList   = `'s|'t|'re|'ve|'m|'ll|'d`
	threeDigits = `[0-9][0-9][0-9]`
	foldGroup   = `(?i:'s|'t|'re|'ve|'m|'ll|'d)`
	capitals    = `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`
	smalls      = `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`
	noWord      = `[^\r\n\p{L}\p{N}]?`
)

// choice is a way to write one part of a pattern, and what it says.
type choice struct {
	text string
	set  func(w *words)
}

// parts are the parts of a pattern of words, in order; each may be missing.
func parts() [][]choice {
	letters := func(l lead, c class) func(*words) { return func(w *words) { w.lead, w.letters = l, c } }
	cased := func(c contractions) func(*words) {
		return func(w *words) { w.lead, w.letters, w.cased, w.contractions = leadOther, letter|mark, true, c }
	}
	digits := func(n int) func(*words) { return func(w *words) { w.digits = n } }
	others := func(c class, not bool, trail string) func(*words) {
		return func(w *words) { w.others, w.not, w.trail = c, not, trail }
	}
	return [][]choice{
		{{`[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_` + "`" + `{|}~][A-Za-z]+`, func(w *words) { w.ascii = true }}},
		{
			{exactList, func(w *words) { w.contractions = exactContractions }},
			{foldGroup, func(w *words) { w.contractions = foldContractions }},
			{`'(?i:[sdmt]|ll|ve|re)`, func(w *words) { w.contractions = foldContractions }},
		},
		{
			{` ?\p{L}+`, letters(leadSpace, letter)},
			{noWord + `\p{L}+`, letters(leadOther, letter)},
			{noWord + `+\p{L}+`, letters(leadOther, letter)},
			{noWord + `[\p{L}\p{M}]+`, letters(leadOther, letter|mark)},
			{`[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+`, letters(leadNoSign, letter|mark)},
			{noWord + capitals + `*` + smalls + `+|` + noWord + capitals + `+` + smalls + `*`, cased(noContractions)},
			{noWord + capitals + `*` + smalls + `+` + foldGroup + `?|` + noWord + capitals + `+` + smalls + `*` + foldGroup + `?`, cased(foldContractions)},
		},
		{{` ?\p{N}+`, digits(0)}, {`\p{N}{1,3}`, digits(3)}, {`\p{N}{1,2}`, digits(2)}, {`\p{N}{1}`, digits(1)}, {`\p{N}`, digits(1)}},
		{
			{` ?[^\s\p{L}\p{N}]+[\r\n/]*`, others(space|letter|number, true, "\r\n/")},
			{` ?[^\s\p{L}\p{N}]+[\r\n]*`, others(space|letter|number, true, "\r\n")},
			{` ?[^\s\p{L}\p{N}]++[\r\n]*`, others(space|letter|number, true, "\r\n")},
			{` ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*`, others(space|letter|mark|number, true, "\r\n")},
			{` ?[^\s\p{L}\p{N}]+`, others(space|letter|number, true, "")},
			{` ?[\p{P}\p{S}]+[\r\n]*`, others(punct|symbol, false, "\r\n")},
		},
		{{`\s*[\r\n]+`, func(w *words) { w.newlines = true }}, {`\s*[\r\n]`, func(w *words) { w.newlines = true }}},
		{{`\s+(?!\S)`, func(*words) {}}},
		{{`\s+`, func(*words) {}}},
	}
}

// compileWords reads a pattern part by part. What words are made of, and the two
// ways of spaces, must be there.
func compileWords(p string) (w words, ok bool) {
	w.digits = -1
	found := make([]bool, len(parts()))
	for i, part := range parts() {
		for _, c := range part {
			rest, is := strings.CutPrefix(p, c.text)
			if is && (rest == "" || rest[0] == '|') {
				c.set(&w)
				p, found[i] = strings.TrimPrefix(rest, "|"), true
				break
			}
		}
	}
	last := len(found) - 1
	return w, p == "" && found[2] && found[4] && found[last-1] && found[last]
}

// compileRun reads \s?CLASS with +, {1,n} or nothing behind it, where CLASS is
// \p{…}, \d, \s or a list in brackets, and a few other simple forms.
func compileRun(p string) (find, bool) {
	digit := func(r rune) bool { return r >= '0' && r <= '9' }
	switch p {
	case `\s+$`:
		return findSpacesAtEnd, true
	case `[^\n]+|[\n]+`:
		return findLines, true
	case threeDigits, `[0-9]{3}`:
		return findExactly(digit, 3), true
	}
	rest, lead := strings.CutPrefix(p, `\s?`)
	is, rest, ok := parseClass(rest)
	if !ok {
		return nil, false
	}
	switch {
	case rest == "" || rest == "{1}":
		return findRun(is, 1, lead), true
	case rest == "+":
		return findRun(is, 0, lead), true
	case len(rest) == 5 && rest[:3] == "{1," && rest[3] >= '1' && rest[3] <= '9' && rest[4] == '}':
		return findRun(is, int(rest[3]-'0'), lead), true
	}
	return nil, false
}

// parseClass reads a class of characters at the beginning of p.
func parseClass(p string) (is func(rune) bool, rest string, ok bool) {
	if strings.HasPrefix(p, `\`) {
		return parseEscape(p)
	}
	p, ok = strings.CutPrefix(p, "[")
	if !ok {
		return nil, "", false
	}
	p, not := strings.CutPrefix(p, "^")
	var any []func(rune) bool
	for !strings.HasPrefix(p, "]") {
		if class, rest, ok := parseEscape(p); ok {
			any, p = append(any, class), rest
			continue
		}
		lo, rest, ok := parseChar(p)
		if !ok {
			return nil, "", false
		}
		hi := lo
		if after, ranged := strings.CutPrefix(rest, "-"); ranged && !strings.HasPrefix(after, "]") {
			if hi, rest, ok = parseChar(after); !ok || hi < lo {
				return nil, "", false
			}
		}
		any, p = append(any, func(r rune) bool { return lo <= r && r <= hi }), rest
	}
	return func(r rune) bool {
		for _, is := range any {
			if is(r) {
				return !not
			}
		}
		return not
	}, p[1:], true
}

// parseChar reads one character, or one that a backslash makes plain.
func parseChar(p string) (rune, string, bool) {
	if p == "" {
		return 0, "", false
	}
	rest, escaped := strings.CutPrefix(p, `\`)
	r, n := utf8.DecodeRuneInString(rest)
	if n == 0 || !escaped && r == '[' {
		return 0, "", false
	}
	if escaped {
		switch {
		case r == 'r':
			r = '\r'
		case r == 'n':
			r = '\n'
		case r == 't':
			r = '\t'
		case unicode.IsLetter(r) || unicode.IsDigit(r):
			return 0, "", false
		}
	}
	return r, rest[n:], true
}

// parseEscape reads \p{…}, \d or \s.
func parseEscape(p string) (is func(rune) bool, rest string, ok bool) {
	if rest, ok := strings.CutPrefix(p, `\s`); ok {
		return unicode.IsSpace, rest, true
	}
	if rest, ok := strings.CutPrefix(p, `\d`); ok {
		return unicode.IsDigit, rest, true
	}
	name, found := strings.CutPrefix(p, `\p{`)
	name, rest, closed := strings.Cut(name, "}")
	table := unicode.Categories[name]
	if table == nil {
		table = unicode.Scripts[name]
	}
	if !found || !closed || table == nil {
		return nil, "", false
	}
	return func(r rune) bool { return unicode.Is(table, r) }, rest, true
}

// findLines finds runs of line ends, and runs of anything else.
func findLines(s string, from int) (int, int, bool) {
	if from == len(s) {
		return 0, 0, false
	}
	end := strings.IndexByte(s[from:], '\n')
	if end == 0 {
		end = len(s) - from - len(strings.TrimLeft(s[from:], "\n"))
	} else if end < 0 {
		end = len(s) - from
	}
	return from, from + end, true
}

// findExactly finds n characters in a row.
func findExactly(is func(rune) bool, n int) find {
	return func(s string, from int) (int, int, bool) {
		count := 0
		lo := from
		for i, r := range s[from:] {
			if !is(r) {
				count = 0
				continue
			}
			if count == 0 {
				lo = from + i
			}
			if count++; count == n {
				return lo, from + i + utf8.RuneLen(r), true
			}
		}
		return 0, 0, false
	}
}
