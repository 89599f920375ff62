package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"tandem/fault"
	"tandem/internal/message"
)

// app is what every verb is handed.
type app struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
	msg      *message.Printer
	json     bool
	remote   remote
	lost     *error // the first line that could not be said: nil in a copy for tests
}

// newApp looks for --json and --lang before the arguments are parsed: what is wrong
// with them is to be said in the form and language that they ask for.
func newApp(args []string, in io.Reader, out, err io.Writer, getenv func(string) string) *app {
	a := &app{in: in, out: out, err: err, getenv: getenv, lost: new(error)}
	lang := ""
	for i, arg := range args {
		if arg == "--" {
			break
		}
		if arg == "--json" {
			a.json = true
		}
		if value, ok := strings.CutPrefix(arg, "--lang="); ok {
			lang = value
		} else if arg == "--lang" && i+1 < len(args) {
			lang = args[i+1]
		}
	}
	if lang == "auto" {
		lang = ""
	}
	a.msg = message.New(message.Choose(lang, getenv))
	return a
}

// say prints a line for people. With --json there are none. A line that gets lost makes
// the verb fail in the end.
func (a *app) say(format string, args ...any) {
	if a.json {
		return
	}
	if _, err := fmt.Fprintln(a.out, a.msg.Sprintf(format, args...)); err != nil && a.lost != nil && *a.lost == nil {
		*a.lost = fault.From(err, "tandem.print")
	}
}

// emit prints one JSON object, on a line.
func (a *app) emit(v any) error {
	e := json.NewEncoder(a.out)
	e.SetEscapeHTML(false)
	return fault.From(e.Encode(v), "tandem.print")
}

// table prints aligned columns; the titles are translated.
func (a *app) table(titles []string, rows [][]string) error {
	all := make([][]string, 0, len(rows)+1)
	if titles != nil {
		head := make([]string, len(titles))
		for i, t := range titles {
			head[i] = a.msg.Text(t)
		}
		all = append(all, head)
	}
	return fault.From(message.WriteTable(a.out, "", append(all, rows...)), "tandem.print")
}

// fail says what went wrong, and what can be done about it.
func (a *app) fail(err error) {
	if e, ok := errors.AsType[*usageError](err); ok {
		err = e.fault
	}
	text, remedy := a.msg.Error(err)
	if !a.json {
		fmt.Fprintf(a.err, "tandem: %s\n", text)
		if remedy != "" {
			fmt.Fprintln(a.err, a.msg.Sprintf("try: %s", remedy))
		}
		return
	}
	var e struct {
		Error struct {
			Kind    string `json:"kind"`
			Message string `json:"message"`
			Remedy  string `json:"remedy,omitempty"`
		} `json:"error"`
	}
	e.Error.Kind, e.Error.Message, e.Error.Remedy = fault.KindOf(err).String(), text, remedy
	line, _ := json.Marshal(e) // strings alone: it cannot fail
	fmt.Fprintf(a.err, "%s\n", line)
}

// terminal tells whether a person is at the other end of a stream.
func terminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// usageError marks a wrong command line.
type usageError struct{ fault *fault.Error }

func (e *usageError) Error() string { return e.fault.Error() }
func (e *usageError) Unwrap() error { return e.fault }

func usage(format string, args ...any) *usageError {
	return &usageError{fault.New("tandem.usage", fault.Invalid, format, args...)}
}

// usageOf turns an error of the parser into a usage error that says where to look. What
// is not the parser's own, such as help that could not be written, stays what it is.
func usageOf(err error) error {
	if e, ok := errors.AsType[*usageError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return e
	}
	verb := "tandem"
	if p, ok := errors.AsType[*kong.ParseError](err); ok && p.Context != nil && p.Context.Selected() != nil {
		verb = "tandem " + p.Context.Selected().Path()
	}
	if fields := strings.Fields(verb); len(fields) > 1 { // without arguments
		verb = strings.Join(slices.DeleteFunc(fields, func(s string) bool { return strings.ContainsAny(s, "<[") }), " ")
	}
	text := strings.ReplaceAll(err.Error(), "\n", " ")
	if m := wrongValue.FindStringSubmatch(text); m != nil {
		flag, kind, value := m[1], m[2], m[3]
		switch {
		case value == "EOL":
			return usage("%s needs a value", flag).with(verb + " --help")
		case m[4] != "" && strings.HasPrefix(m[4], "short flag"):
			return usage("%s: %q looks like a flag", flag, value).with(fmt.Sprintf("%s=%s", flag, value))
		case kind == "int" || kind == "uint" || kind == "float":
			return usage("%s is %q, which is no number that it can be", flag, value).with(verb + " --help")
		case kind == "duration":
			return usage("%s is %q, which is no time such as 2ms, 5s or 1h", flag, value).with(verb + " --help")
		}
	}
	if m := missingArgument.FindStringSubmatch(text); m != nil {
		return usage("an argument is missing: %s", strings.ToUpper(m[1])).with(verb + " --help")
	}
	return usage("%s", text).with(verb + " --help")
}

// missingArgument is what kong says of one: expected "<model> <output>".
var missingArgument = regexp.MustCompile(`^expected "(<[^"]+)"$`)

// wrongValue is what kong says of a flag's value: expected int value but got "-1" (short
// flag); expected a float but got "abc" (string).
var wrongValue = regexp.MustCompile(`^(--\S+): expected (?:an? )?(\w+?)(?: value)? but got "([^"]*)"(?: \(([^)]*)\))?`)

// with adds what the user can do.
func (e *usageError) with(remedy string) *usageError {
	e.fault.Try(remedy)
	return e
}
