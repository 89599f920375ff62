package message

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/text/language"
	xmessage "golang.org/x/text/message"
	"golang.org/x/text/message/catalog"

	"tandem/fault"
)

// entry is a format in English and in Chinese.
type entry struct{ en, zh string }

// Printer speaks one language. It is safe for concurrent use.
type Printer struct {
	tag      language.Tag
	catalog  catalog.Catalog
	numbers  *xmessage.Printer
	patterns []pattern // none for English
}

// Languages are those that there is a catalogue for, by the names that --lang takes.
func Languages() []string { return []string{"en", "zh"} }

// New makes a printer for en or zh; anything else is English.
func New(lang string) *Printer {
	tag := language.English
	b := catalog.NewBuilder(catalog.Fallback(language.English))
	p := &Printer{}
	if lang == "zh" {
		tag = language.Chinese
		for _, e := range entries() {
			if err := b.SetString(tag, e.en, escape(e.zh)); err != nil {
				panic(fmt.Sprintf("message: %q: %v", e.en, err)) // a constant of this package
			}
			p.patterns = appendPattern(p.patterns, e)
		}
	}
	p.tag, p.catalog, p.numbers = tag, b, xmessage.NewPrinter(tag)
	return p
}

// Choose finds the language: that of --lang if it is given, else the first of LC_ALL,
// LC_MESSAGES and LANG that is set, as POSIX has it.
func Choose(lang string, getenv func(string) string) string {
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if lang == "" {
			lang = getenv(name)
		}
	}
	name, charset, named := strings.Cut(lang, ".") // zh_CN.UTF-8
	charset, _, _ = strings.Cut(charset, "@")
	if named && !strings.EqualFold(strings.ReplaceAll(charset, "-", ""), "utf8") {
		return "en" // what is written is UTF-8, which such a terminal shows as nonsense
	}
	tag, err := language.Parse(strings.ReplaceAll(name, "_", "-"))
	if err != nil { // C, POSIX
		return "en"
	}
	_, i, _ := language.NewMatcher([]language.Tag{language.English, language.Chinese}).Match(tag)
	return Languages()[i]
}

// Lang is the language by the name that --lang takes.
func (p *Printer) Lang() string { return p.tag.String() }

// escape keeps x/text from reading its own placeholders.
func escape(s string) string { return strings.ReplaceAll(s, "${", "$\u200b{") }

// found takes a message from the catalogue.
type found struct{ text string }

func (f *found) Render(s string) { f.text = s }
func (f *found) Arg(int) any     { return nil }

// Lookup is the translation of a format, if there is one.
func (p *Printer) Lookup(format string) (string, bool) {
	if p.tag == language.English {
		return format, true
	}
	var f found
	if err := p.catalog.Context(p.tag, &f).Execute(format); err != nil {
		return "", false
	}
	return f.text, true
}

// Sprintf formats a message as fmt does.
func (p *Printer) Sprintf(format string, args ...any) string {
	text, ok := p.Lookup(format)
	if !ok {
		return p.Text(fmt.Sprintf(format, args...))
	}
	if len(args) == 0 { // a sentence may have a per cent sign
		return text
	}
	return fmt.Sprintf(text, args...)
}

// Count prints a number of things: 10,000.
func (p *Printer) Count(n int) string { return p.numbers.Sprint(n) }

// Error says an error and what can be done about it; either may have several lines.
func (p *Printer) Error(err error) (message, remedy string) {
	remedy = fault.RemedyOf(err)
	for _, e := range joined(err) {
		if remedy == "" {
			remedy = fault.RemedyOf(e)
		}
	}
	if remedy == "" {
		remedy = systemRemedy(err)
	}
	return p.message(err), p.Text(remedy)
}

// systemRemedy is for an error of the operating system that nobody knew more about.
func systemRemedy(err error) string {
	for _, r := range []struct {
		err    error
		remedy string
	}{
		{fs.ErrNotExist, "check the path"},
		{fs.ErrPermission, "choose another path, or change the owner or mode of this one"},
		{syscall.ENOSPC, "make room on that disk, or choose another"},
		{syscall.EISDIR, "give the path of a file"},
		{syscall.ENOTDIR, "check the path: a part of it is no folder"},
	} {
		if errors.Is(err, r.err) {
			return r.remedy
		}
	}
	return ""
}

// joined are the parts of an error made by errors.Join.
func joined(err error) []error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		return many.Unwrap()
	}
	return nil
}

func (p *Printer) message(err error) string {
	if parts := joined(err); len(parts) > 0 {
		var lines []string
		for _, e := range parts {
			line := p.message(e)
			if !slices.ContainsFunc(lines, func(before string) bool { return strings.HasSuffix(before, line) }) {
				lines = append(lines, line) // a file that is written and closed may fail twice alike
			}
		}
		return strings.Join(lines, "\n")
	}
	e, ok := errors.AsType[*fault.Error](err)
	if !ok || error(e) != err {
		return p.Text(plain(err))
	}
	switch {
	case e.Format == "" && e.Err == nil:
		return p.Text(e.Kind.String())
	case e.Format == "":
		return p.message(e.Err)
	}
	args := make([]any, len(e.Args))
	for i, a := range e.Args {
		if inner, ok := a.(error); ok {
			a = p.message(inner)
		}
		args[i] = a
	}
	text := fmt.Sprintf(e.Format, args...)
	if f, ok := p.Lookup(e.Format); ok && len(args) > 0 {
		text = fmt.Sprintf(f, args...)
	} else {
		text = p.Text(text)
	}
	if e.Err == nil {
		return text
	}
	return text + p.colon() + p.message(e.Err)
}

// plain is the text of a foreign error.
func plain(err error) string {
	if errors.Is(err, context.Canceled) {
		return "canceled"
	}
	return err.Error()
}

func (p *Printer) colon() string {
	if p.tag == language.English {
		return ": "
	}
	return "："
}
