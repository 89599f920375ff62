package jinja

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

type kind uint8

const (
	kindEnd    kind = iota
	kindText        // template text, to be written as it is
	kindBegin       // {{ or {%
	kindFinish      // }} or %}
	kindName
	kindString
	kindInt
	kindFloat
	kindOperator
)

type token struct {
	kind kind
	text string
	line int
}

// lexer cuts a template into tokens. Blocks are trimmed as transformers has it: the
// line end after a block is dropped, and so are the spaces before one that begins a
// line.
type lexer struct {
	s      string
	at     int
	line   int
	tokens []token
	// fresh: the text that follows begins a line.
	fresh bool
}

const (
	maxSourceBytes = 4 << 20
	maxTokens      = 1 << 17
)

type syntaxError struct {
	line int
	text string
}

func (e *syntaxError) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.text) }

func (l *lexer) fail(format string, args ...any) {
	panic(&syntaxError{l.line, fmt.Sprintf(format, args...)})
}

func (l *lexer) add(k kind, text string) {
	if len(l.tokens) == maxTokens {
		l.fail("more than %d tokens", maxTokens)
	}
	l.tokens = append(l.tokens, token{k, text, l.line})
}

func lex(source string) []token {
	source = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(source)
	l := &lexer{s: strings.TrimSuffix(source, "\n"), line: 1, fresh: true}
	for l.at < len(l.s) {
		l.text()
	}
	l.add(kindEnd, "")
	return l.tokens
}

// advance moves on and counts lines.
func (l *lexer) advance(n int) {
	l.line += strings.Count(l.s[l.at:l.at+n], "\n")
	l.at += n
}

// text takes text up to the next tag, and the tag.
func (l *lexer) text() {
	rest := l.s[l.at:]
	end := -1
	for i := 0; i+1 < len(rest); i++ {
		if rest[i] == '{' && (rest[i+1] == '{' || rest[i+1] == '%' || rest[i+1] == '#') {
			end = i
			break
		}
	}
	if end < 0 {
		l.add(kindText, rest)
		l.advance(len(rest))
		return
	}
	open := rest[end+1]
	text := rest[:end]
	sign := byte(0)
	if end+2 < len(rest) && (rest[end+2] == '-' || rest[end+2] == '+') {
		sign = rest[end+2]
	}
	switch {
	case sign == '-':
		text = strings.TrimRightFunc(text, unicode.IsSpace)
	case sign == 0 && open != '{':
		begin := strings.LastIndexByte(text, '\n') + 1
		if (begin > 0 || l.fresh) && strings.TrimSpace(text[begin:]) == "" {
			text = text[:begin]
		}
	}
	if text != "" {
		l.add(kindText, text)
	}
	n := end + 2
	if sign != 0 {
		n++
	}
	l.advance(n)
	l.fresh = false
	switch open {
	case '#':
		i := strings.Index(l.s[l.at:], "#}")
		if i < 0 {
			l.fail("a comment is not closed")
		}
		sign := byte(0)
		if i > 0 {
			sign = l.s[l.at+i-1]
		}
		l.advance(i)
		l.finish("#}", sign, true)
	case '%':
		if l.raw() {
			return
		}
		l.add(kindBegin, "{%")
		l.expression("%}")
	default:
		l.add(kindBegin, "{{")
		l.expression("}}")
	}
}

// finish takes the end of a tag and what it trims.
func (l *lexer) finish(end string, sign byte, block bool) {
	l.advance(len(end))
	rest := l.s[l.at:]
	switch {
	case sign == '-':
		l.advance(len(rest) - len(strings.TrimLeftFunc(rest, unicode.IsSpace)))
	case block && sign != '+' && strings.HasPrefix(rest, "\n"):
		l.advance(1)
		l.fresh = true
	}
}

// raw takes {% raw %} … {% endraw %} whose {% has been taken.
func (l *lexer) raw() bool {
	rest := strings.TrimLeft(l.s[l.at:], " \t\n")
	rest, is := strings.CutPrefix(rest, "raw")
	trimmed := strings.TrimLeft(rest, " \t\n-")
	if !is || !strings.HasPrefix(trimmed, "%}") {
		return false
	}
	l.advance(len(l.s) - l.at - len(trimmed))
	sign := l.s[l.at-1]
	if sign != '-' {
		sign = 0
	}
	l.finish("%}", sign, true)
	rest = l.s[l.at:]
	for i := 0; ; {
		j := strings.Index(rest[i:], "{%")
		if j < 0 {
			l.fail("raw is not closed")
		}
		i += j
		name := strings.TrimLeft(rest[i+2:], "-+ \t\n")
		tail, is := strings.CutPrefix(name, "endraw")
		tail = strings.TrimLeft(tail, " \t\n")
		minus := strings.HasPrefix(tail, "-")
		if tail = strings.TrimPrefix(tail, "-"); !is || !strings.HasPrefix(tail, "%}") {
			i += 2
			continue
		}
		text := rest[:i]
		if rest[i+2] == '-' {
			text = strings.TrimRightFunc(text, unicode.IsSpace)
		}
		l.add(kindText, text)
		l.advance(len(rest) - len(tail))
		sign := byte(0)
		if minus {
			sign = '-'
		}
		l.finish("%}", sign, true)
		return true
	}
}

// operators in the order in which they are tried.
var operators = [...]string{"**", "//", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "<", ">", "=", "(", ")", "[", "]", "{", "}", ",", ".", ":", "|", ";"}

// expression takes tokens up to the end of the tag.
func (l *lexer) expression(end string) {
	depth := 0 // of braces, which }} may close
	for {
		for l.at < len(l.s) && strings.IndexByte(" \t\n\r\f\v", l.s[l.at]) >= 0 {
			l.advance(1)
		}
		rest := l.s[l.at:]
		if rest == "" {
			l.fail("a tag is not closed")
		}
		if depth == 0 {
			sign := byte(0)
			body := rest
			if rest[0] == '-' || rest[0] == '+' {
				sign, body = rest[0], rest[1:]
			}
			if strings.HasPrefix(body, end) {
				l.add(kindFinish, end)
				if sign != 0 {
					l.advance(1)
				}
				l.finish(end, sign, end == "%}")
				return
			}
		}
		c := rest[0]
		switch {
		case c == '"' || c == '\'':
			l.quoted(c)
		case c >= '0' && c <= '9':
			l.number()
		case c == '_' || c >= utf8.RuneSelf || unicode.IsLetter(rune(c)):
			n := strings.IndexFunc(rest, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
			if n < 0 {
				n = len(rest)
			}
			if n == 0 {
				l.fail("unexpected character %q", rest[:1])
			}
			l.add(kindName, rest[:n])
			l.advance(n)
		default:
			l.operator(&depth)
		}
	}
}

func (l *lexer) operator(depth *int) {
	for _, op := range operators {
		if strings.HasPrefix(l.s[l.at:], op) {
			switch op {
			case "{", "(", "[":
				*depth++
			case "}", ")", "]":
				*depth = max(0, *depth-1)
			}
			l.add(kindOperator, op)
			l.advance(len(op))
			return
		}
	}
	l.fail("unexpected character %q", l.s[l.at:l.at+1])
}

func (l *lexer) number() {
	rest := l.s[l.at:]
	digits := func(i int) int {
		for i < len(rest) && (rest[i] >= '0' && rest[i] <= '9' || rest[i] == '_') {
			i++
		}
		return i
	}
	n, k := digits(0), kindInt
	if n+1 < len(rest) && rest[n] == '.' && rest[n+1] >= '0' && rest[n+1] <= '9' {
		n, k = digits(n+1), kindFloat
	}
	if n < len(rest) && (rest[n] == 'e' || rest[n] == 'E') {
		m := n + 1
		if m < len(rest) && (rest[m] == '-' || rest[m] == '+') {
			m++
		}
		if e := digits(m); e > m {
			n, k = e, kindFloat
		}
	}
	l.add(k, strings.ReplaceAll(rest[:n], "_", ""))
	l.advance(n)
}

// quoted takes a string with Python's escapes.
func (l *lexer) quoted(quote byte) {
	rest := l.s[l.at+1:]
	var b strings.Builder
	for i := 0; i < len(rest); i++ {
		switch c := rest[i]; c {
		case quote:
			l.add(kindString, b.String())
			l.advance(i + 2)
			return
		case '\\':
			n, text := unescape(rest[i+1:])
			b.WriteString(text)
			i += n
		default:
			b.WriteByte(c)
		}
	}
	l.fail("a string is not closed")
}

// unescape reads what follows a backslash: how many bytes, and what they mean.
func unescape(s string) (int, string) {
	if s == "" {
		return 0, `\`
	}
	simple := map[byte]string{'n': "\n", 't': "\t", 'r': "\r", '\\': `\`, '\'': "'", '"': `"`, 'a': "\a", 'b': "\b", 'f': "\f", 'v': "\v", '\n': "", '0': "\x00"}
	if text, ok := simple[s[0]]; ok {
		return 1, text
	}
	size := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[0]]
	if size > 0 && len(s) > size {
		var r rune
		for _, c := range []byte(s[1 : 1+size]) {
			d := strings.IndexByte("0123456789abcdef", c|0x20)
			if c >= '0' && c <= '9' {
				d = int(c - '0')
			}
			if d < 0 {
				return 0, `\`
			}
			r = r<<4 | rune(d)
		}
		return 1 + size, string(r)
	}
	return 0, `\`
}
