package message

import (
	"fmt"
	"regexp"
	"strings"

	"golang.org/x/text/language"
)

// pattern recognises a text that was made by a format of the catalogue.
type pattern struct {
	text *regexp.Regexp
	zh   string // with %s for every argument
}

var (
	verb    = regexp.MustCompile(`%(\[\d+\])?[-+# 0]*\d*(?:\.\d+)?[a-zA-Z]`)
	letters = regexp.MustCompile(`[a-zA-Z]{2}`)
)

// appendPattern adds the pattern of a format with arguments. One that is little more
// than its arguments would fit anything, and is left out.
func appendPattern(list []pattern, e entry) []pattern {
	if !verb.MatchString(e.en) || len(letters.FindAllString(verb.ReplaceAllString(e.en, ""), -1)) < 3 {
		return list
	}
	var re strings.Builder
	rest := e.en
	for at := verb.FindStringIndex(rest); at != nil; at = verb.FindStringIndex(rest) {
		re.WriteString(regexp.QuoteMeta(strings.ReplaceAll(rest[:at[0]], "%%", "%")))
		switch rest[at[1]-1] {
		case 'd':
			re.WriteString(`(-?[0-9]+)`)
		case 'q':
			re.WriteString(`("(?:[^"\\]|\\.)*")`)
		default:
			re.WriteString(`(.+?)`)
		}
		rest = rest[at[1]:]
	}
	re.WriteString(regexp.QuoteMeta(strings.ReplaceAll(rest, "%%", "%")))
	return append(list, pattern{regexp.MustCompile(`^(?s:` + re.String() + `)$`), verb.ReplaceAllString(e.zh, "%${1}s")})
}

// Text translates a sentence that was put together in English: a server's answer, a
// library's error. Parts that a colon separates are translated one by one, and so is a
// remedy in parentheses at the end; what is not in the catalogue stays as it is.
func (p *Printer) Text(s string) string {
	if p.tag == language.English || s == "" {
		return s
	}
	if i := strings.LastIndex(s, " ("); i >= 0 && strings.HasSuffix(s, ")") { // before a last argument takes it
		head, remedy := s[:i], s[i+len(" ("):len(s)-1]
		if a, b := p.Text(head), p.Text(remedy); a != head && b != remedy {
			return a + "（" + b + "）"
		}
	}
	if t, ok := p.whole(s); ok {
		return t
	}
	for at := 0; ; {
		i := strings.Index(s[at:], ": ")
		if i < 0 {
			return s
		}
		at += i
		if head, ok := p.whole(s[:at]); ok {
			return head + p.colon() + p.Text(s[at+2:])
		}
		if tail := s[at+2:]; p.Text(tail) != tail {
			return s[:at] + p.colon() + p.Text(tail)
		}
		at += 2
	}
}

func (p *Printer) whole(s string) (string, bool) {
	if t, ok := p.Lookup(s); ok {
		return t, true
	}
	for _, q := range p.patterns {
		if m := q.text.FindStringSubmatch(s); m != nil {
			args := make([]any, len(m)-1)
			for i, a := range m[1:] {
				args[i] = a
			}
			return fmt.Sprintf(q.zh, args...), true
		}
	}
	return "", false
}
