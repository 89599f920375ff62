package jinja

import (
	"fmt"
	"strings"
	"time"

	"tandem/fault"
)

// Template is a parsed template. It may be rendered from several goroutines at once.
type Template struct{ body []node }

// Limits of one rendering.
type Limits struct {
	Steps       int // expressions, statements and loops' turns; a long text counts for more
	OutputBytes int // of the output, and of any text on the way
	Depth       int // of macros that call macros
}

// DefaultLimits are enough for a conversation of a hundred thousand tokens.
func DefaultLimits() Limits {
	return Limits{Steps: 5_000_000, OutputBytes: 16 << 20, Depth: 100}
}

// Parse reads a template. Errors are of kind Invalid and name the line.
func Parse(source string) (t *Template, err error) {
	const op = "jinja.parse"
	if len(source) > maxSourceBytes {
		return nil, fault.New(op, fault.TooLarge, "a template of %d bytes, at most %d are allowed", len(source), maxSourceBytes)
	}
	defer func() {
		if e, ok := recovered(recover()); ok {
			t, err = nil, fault.Wrap(e, op, fault.Invalid, "the template cannot be read")
		}
	}()
	return &Template{body: parse(source)}, nil
}

// recovered gives the error that a panic of this package carries; other panics go on.
func recovered(r any) (error, bool) {
	switch e := r.(type) {
	case nil:
		return nil, false
	case *syntaxError:
		return e, true
	case *failure:
		return e, true
	}
	panic(r)
}

// failure ends a rendering.
type failure struct {
	line   int
	text   string
	raised bool // by the template's raise_exception
	limit  bool
}

func (f *failure) Error() string {
	if f.line == 0 || f.raised {
		return f.text
	}
	return fmt.Sprintf("line %d: %s", f.line, f.text)
}

// Render runs a template with variables. Values are those of JSON: nil, bool, int,
// float64, string, []any, map[string]any (in the order of its keys),
// json.RawMessage (in its own order), or what json.Marshal makes such. now is the
// time that strftime_now tells.
func (t *Template) Render(variables map[string]any, now time.Time, limits Limits) (out string, err error) {
	const op = "jinja.render"
	s := &state{limits: limits, steps: limits.Steps, now: now, globals: &scope{variables: globals()}}
	s.scope = &scope{variables: map[string]any{}, outer: s.globals}
	for name, v := range variables {
		value, err := valueOf(v, 0)
		if err != nil {
			return "", fault.Wrap(err, op, fault.Invalid, "the variable %.100q of the template", name)
		}
		s.scope.variables[name] = value
	}
	defer func() {
		if e, ok := recovered(recover()); ok {
			out = ""
			kind := fault.Invalid
			if f, is := e.(*failure); is && f.limit {
				kind = fault.TooLarge
			}
			err = fault.Wrap(e, op, kind, "the template failed")
			if f, is := e.(*failure); is && f.raised {
				err = fault.New(op, fault.Invalid, "the model's template refuses the conversation: %s", f.text)
			}
		}
	}()
	s.run(t.body)
	return s.out.String(), nil
}

// state is one rendering.
type state struct {
	limits  Limits
	steps   int // left
	now     time.Time
	out     *strings.Builder
	globals *scope
	scope   *scope
	line    int
	depth   int
	jump    jump
}

// scope holds variables, and sees those of the scopes around it.
type scope struct {
	variables map[string]any
	outer     *scope
}

func (s *state) fail(format string, args ...any) {
	panic(&failure{line: s.line, text: fmt.Sprintf(format, args...)})
}

// spend takes steps off the budget.
func (s *state) spend(n int) {
	if s.steps -= n; s.steps < 0 {
		panic(&failure{line: s.line, limit: true, text: fmt.Sprintf("it took more than %d steps", s.limits.Steps)})
	}
}

// bound refuses a text of n bytes that is too long.
func (s *state) bound(n int) {
	if n > s.limits.OutputBytes {
		panic(&failure{line: s.line, limit: true, text: fmt.Sprintf("a text has more than %d bytes", s.limits.OutputBytes)})
	}
}

// text accounts for a text that was made.
func (s *state) text(v string) string {
	s.bound(len(v))
	s.spend(len(v) / 64)
	return v
}

// list accounts for a list that was made.
func (s *state) list(items []any) *List {
	s.spend(len(items))
	return &List{Items: items}
}

func (s *state) lookup(name string) (any, bool) {
	for c := s.scope; c != nil; c = c.outer {
		if v, ok := c.variables[name]; ok {
			return v, true
		}
	}
	return nil, false
}

// within runs f in a new scope.
func (s *state) within(f func()) {
	outer := s.scope
	s.scope = &scope{variables: map[string]any{}, outer: outer}
	f()
	s.scope = outer
}

// capture runs f and returns what it wrote.
func (s *state) capture(f func()) string {
	out := s.out
	s.out = &strings.Builder{}
	f()
	text := s.out.String()
	s.out = out
	return s.text(text)
}

func (s *state) write(text string) {
	s.bound(s.out.Len() + len(text))
	s.out.WriteString(text)
}

func (s *state) run(body []node) {
	if s.out == nil {
		s.out = &strings.Builder{}
	}
	for _, n := range body {
		s.spend(1)
		n.run(s)
		if s.jump != noJump {
			return
		}
	}
}

func (n textNode) run(s *state)   { s.write(n.text) }
func (n outputNode) run(s *state) { s.write(s.str(n.of.eval(s))) }
func (n jumpNode) run(s *state)   { s.jump = n.jump }

func (n ifNode) run(s *state) {
	if truth(n.condition.eval(s)) {
		s.run(n.yes)
	} else {
		s.run(n.no)
	}
}

func (n forNode) run(s *state) {
	s.line = n.line
	items := s.items(n.in.eval(s))
	if n.condition != nil {
		var kept []any
		for _, v := range items {
			s.within(func() {
				s.assign(n.targets, v)
				if truth(n.condition.eval(s)) {
					kept = append(kept, v)
				}
			})
		}
		items = kept
	}
	if len(items) == 0 {
		s.within(func() { s.run(n.otherwise) })
		return
	}
	l := &loop{items: items}
	for i, v := range items {
		s.spend(1)
		l.at = i
		s.within(func() {
			s.scope.variables["loop"] = l
			s.assign(n.targets, v)
			s.run(n.body)
		})
		if s.jump == breakJump {
			s.jump = noJump
			break
		}
		s.jump = noJump
	}
}

// loop is the variable of that name within a for.
type loop struct {
	items   []any
	at      int
	changed []any // what changed() was last called with
}

func (l *loop) attribute(name string) (any, bool) {
	n := len(l.items)
	neighbour := func(i int) any {
		if i < 0 || i >= n {
			return undefined{"the item beyond the loop's end"}
		}
		return l.items[i]
	}
	switch name {
	case "index":
		return l.at + 1, true
	case "index0":
		return l.at, true
	case "revindex":
		return n - l.at, true
	case "revindex0":
		return n - l.at - 1, true
	case "first":
		return l.at == 0, true
	case "last":
		return l.at == n-1, true
	case "length":
		return n, true
	case "depth":
		return 1, true
	case "depth0":
		return 0, true
	case "previtem":
		return neighbour(l.at - 1), true
	case "nextitem":
		return neighbour(l.at + 1), true
	case "cycle":
		return function(func(s *state, args []any, _ *Dict) any {
			if len(args) == 0 {
				s.fail("cycle without arguments")
			}
			return args[l.at%len(args)]
		}), true
	case "changed":
		return function(func(s *state, args []any, _ *Dict) any {
			same := l.changed != nil && s.equal(&List{Items: l.changed}, &List{Items: args}, 0)
			l.changed = append([]any{}, args...)
			return !same
		}), true
	}
	return nil, false
}

// assign gives a value to one name, or its items to several.
func (s *state) assign(names []string, v any) {
	if len(names) == 1 {
		s.scope.variables[names[0]] = v
		return
	}
	items := s.items(v)
	if len(items) != len(names) {
		s.fail("%d values for %d names", len(items), len(names))
	}
	for i, name := range names {
		s.scope.variables[name] = items[i]
	}
}

func (n setNode) run(s *state) {
	s.line = n.line
	var v any
	if n.value != nil {
		v = n.value.eval(s)
	} else {
		text := s.capture(func() { s.within(func() { s.run(n.body) }) })
		v = s.filtered(text, n.filters)
	}
	if n.attr == "" {
		s.assign(n.targets, v)
		return
	}
	of, _ := s.lookup(n.targets[0])
	ns, ok := of.(*Namespace)
	if !ok {
		s.fail("%s is no namespace: its attributes cannot be set", n.targets[0])
	}
	ns.attributes.Set(n.attr, v)
}

func (s *state) filtered(v any, filters []filterExpr) any {
	for _, f := range filters {
		f.of = literal{v}
		v = f.eval(s)
	}
	return v
}

func (n filterNode) run(s *state) {
	text := s.capture(func() { s.within(func() { s.run(n.body) }) })
	s.write(s.str(s.filtered(text, n.filters)))
}

func (n withNode) run(s *state) {
	s.within(func() {
		for i, name := range n.names {
			s.scope.variables[name] = n.values[i].eval(s)
		}
		s.run(n.body)
	})
}

func (n macroNode) run(s *state) { s.scope.variables[n.name] = n.bind(s) }

// bind makes a macro something to call. It sees the variables around its definition.
func (n macroNode) bind(s *state) function {
	around := s.scope
	return func(s *state, args []any, named *Dict) any {
		if s.depth++; s.depth > s.limits.Depth {
			panic(&failure{line: s.line, limit: true, text: fmt.Sprintf("macros call each other more than %d deep", s.limits.Depth)})
		}
		outer := s.scope
		s.scope = &scope{variables: map[string]any{}, outer: around}
		if len(args) > len(n.names) {
			s.fail("the macro %s takes %d arguments, not %d", n.name, len(n.names), len(args))
		}
		if caller, ok := named.Get("caller"); ok {
			s.scope.variables["caller"] = caller
		}
		for i, name := range n.names {
			value, given := named.Get(name)
			switch {
			case i < len(args):
				value = args[i]
			case given:
			case n.defaults[i] != nil:
				value = n.defaults[i].eval(s)
			default:
				value = undefined{name}
			}
			s.scope.variables[name] = value
		}
		text := s.capture(func() { s.run(n.body) })
		s.scope = outer
		s.depth--
		return text
	}
}

func (n callNode) run(s *state) {
	s.line = n.line
	args, named := n.call.args.eval(s)
	named.Set("caller", n.caller.bind(s))
	s.write(s.str(s.call(n.call.of.eval(s), args, named)))
}
