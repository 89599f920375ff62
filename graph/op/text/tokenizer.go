package text

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"unicode/utf8"

	"tandem/graph"
	"tandem/tensor"
)

// What a tokenizer with marks puts around the tokens of a text.
const (
	startOfText = "\x02"
	endOfText   = "\x03"
)

// tokenizer cuts texts as Tokenizer of com.microsoft does, which scikit-learn's
// converter writes: by what a token looks like, by what lies between tokens, or
// into characters. Patterns are in the syntax of RE2, as Go's are.
type tokenizer struct {
	token      *regexp.Regexp
	class      *syntax.Regexp // where a token is one or more characters of a class
	separators []*regexp.Regexp
	characters bool
	shortest   int // in characters
	mark       bool
	pad        string
}

func newTokenizer(a graph.Attrs) (*tokenizer, error) {
	t := &tokenizer{shortest: a.Int("mincharnum", 1), mark: a.Int("mark", 0) != 0, pad: a.String("pad_value", "")}
	if t.shortest < 1 {
		return nil, fmt.Errorf("mincharnum is %d, it must be at least 1", t.shortest)
	}
	separators, _ := a["separators"].([]string)
	token := a.String("tokenexp", "")
	switch {
	case token != "" && len(separators) > 0:
		return nil, fmt.Errorf("separators and tokenexp are both given")
	case token != "":
		var err error
		t.token, err = regexp.Compile(token)
		if err != nil {
			return nil, fmt.Errorf("tokenexp %q: %w", token, err)
		}
		t.class = classOf(token)
	case len(separators) == 1 && separators[0] == "":
		t.characters = true
	case len(separators) == 0:
		return nil, fmt.Errorf("neither separators nor tokenexp are given")
	}
	for _, s := range separators {
		if t.characters {
			break
		}
		re, err := regexp.Compile(s)
		if err != nil {
			return nil, fmt.Errorf("separator %q: %w", s, err)
		}
		if re.MatchString("") {
			return nil, fmt.Errorf("separator %q matches where there is nothing", s)
		}
		t.separators = append(t.separators, re)
	}
	return t, nil
}

// classOf is the class of characters of which a pattern matches one or more, as many as
// there are; nil for other patterns.
func classOf(pattern string) *syntax.Regexp {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil || re.Op != syntax.OpPlus || re.Flags&syntax.NonGreedy != 0 || re.Sub[0].Op != syntax.OpCharClass {
		return nil
	}
	return re.Sub[0]
}

// runs are the longest parts of a text whose characters are all of a class.
func runs(text string, class *syntax.Regexp) []string {
	var parts []string
	start := -1
	for i, r := range text {
		in := false
		for k := 0; k < len(class.Rune) && !in; k += 2 {
			in = r >= class.Rune[k] && r <= class.Rune[k+1]
		}
		switch {
		case in && start < 0:
			start = i
		case !in && start >= 0:
			parts = append(parts, text[start:i])
			start = -1
		}
	}
	if start >= 0 {
		parts = append(parts, text[start:])
	}
	return parts
}

// cut are the tokens of a text that are long enough.
func (t *tokenizer) cut(text string) []string {
	var parts []string
	switch {
	case t.class != nil:
		parts = runs(text, t.class)
	case t.token != nil:
		parts = t.token.FindAllString(text, -1)
	case t.characters:
		for _, r := range text {
			parts = append(parts, string(r))
		}
	default:
		parts = []string{text}
		for _, re := range t.separators {
			var finer []string
			for _, p := range parts {
				finer = append(finer, re.Split(p, -1)...)
			}
			parts = finer
		}
	}
	if t.shortest == 1 { // none is empty but between separators
		return slices.DeleteFunc(parts, func(s string) bool { return s == "" })
	}
	return slices.DeleteFunc(parts, func(s string) bool { return utf8.RuneCountInString(s) < t.shortest })
}

// kernelTokenizer gives as many columns as the longest list of tokens, none if no
// text has a token; shorter lists are padded behind.
func kernelTokenizer(c *graph.Call) (func() error, error) {
	x, err := textOf(c)
	if err != nil {
		return nil, err
	}
	if x.Rank() != 1 && x.Rank() != 2 {
		return nil, fmt.Errorf("the texts have shape %v, expected one or two dimensions", x.Shape())
	}
	t, err := graph.Derive(c, newTokenizer)
	if err != nil {
		return nil, err
	}
	return func() error {
		if x.Len() == 0 {
			_, err := c.Make(0, tensor.String, x.Shape()...)
			return err
		}
		tokens, width := make([][]string, x.Len()), 0
		for i, s := range x.Strings() {
			c.Pool.Look()
			tokens[i] = t.cut(s)
			width = max(width, len(tokens[i]))
		}
		if t.mark && width > 0 {
			width += 2
		}
		shape := append(slices.Clone(x.Shape()), width)
		if _, err := shape.CheckedLen(1 << 28); err != nil {
			return err
		}
		y, err := c.Make(0, tensor.String, shape...)
		if y == nil || err != nil || width == 0 {
			return err
		}
		for i, list := range tokens {
			t.fill(y.Strings()[i*width:(i+1)*width], list)
		}
		return nil
	}, nil
}

func (t *tokenizer) fill(row, tokens []string) {
	if t.mark {
		tokens = slices.Concat([]string{startOfText}, tokens, []string{endOfText})
	}
	for j := copy(row, tokens); j < len(row); j++ {
		row[j] = t.pad
	}
}
