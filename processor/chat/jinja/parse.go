package jinja

import (
	"fmt"
	"slices"
)

// node is a statement: it writes, or changes variables.
type node interface{ run(s *state) }

type (
	textNode   struct{ text string }
	outputNode struct{ of expr }
	ifNode     struct {
		condition expr
		yes, no   []node
	}
	forNode struct {
		targets   []string
		in        expr
		condition expr // nil: none
		body      []node
		otherwise []node
		line      int
	}
	setNode struct {
		targets []string // names; with attribute, one of a namespace
		attr    string
		value   expr
		body    []node // of a block set
		filters []filterExpr
		line    int
	}
	macroNode struct {
		name     string
		names    []string
		defaults []expr // nil where there is none
		body     []node
	}
	callNode struct {
		call   callExpr
		caller macroNode
		line   int
	}
	filterNode struct {
		filters []filterExpr
		body    []node
	}
	withNode struct {
		names  []string
		values []expr
		body   []node
	}
	jumpNode struct{ jump jump }
)

// jump is what leaves the body of a loop early.
type jump uint8

const (
	noJump jump = iota
	breakJump
	continueJump
)

type parser struct {
	tokens  []token
	at      int
	depth   int
	loops   int
	filters map[string]filter
	tests   map[string]test
}

// maxDepth of statements and expressions within each other.
const maxDepth = 200

func parse(source string) []node {
	p := &parser{tokens: lex(source), filters: filters(), tests: tests()}
	body, _ := p.body(nil)
	return body
}

func (p *parser) fail(t token, format string, args ...any) {
	panic(&syntaxError{t.line, fmt.Sprintf(format, args...)})
}

func (p *parser) deeper() {
	if p.depth++; p.depth > maxDepth {
		p.fail(p.peek(), "more than %d expressions or statements within each other", maxDepth)
	}
}

func (p *parser) higher() { p.depth-- }

func (p *parser) peek() token      { return p.tokens[p.at] }
func (p *parser) peekAfter() token { return p.tokens[min(p.at+1, len(p.tokens)-1)] }
func (p *parser) line() int        { return p.peek().line }

func (p *parser) next() token {
	t := p.tokens[p.at]
	if t.kind != kindEnd {
		p.at++
	}
	return t
}

func (p *parser) is(k kind, text string) bool {
	t := p.peek()
	return t.kind == k && (text == "" || t.text == text)
}

// take takes an operator if it is the next token.
func (p *parser) take(op string) bool {
	if p.is(kindOperator, op) {
		p.at++
		return true
	}
	return false
}

func (p *parser) takeName(name string) bool {
	if p.is(kindName, name) {
		p.at++
		return true
	}
	return false
}

func (p *parser) expect(op string) {
	if !p.take(op) {
		p.fail(p.peek(), "expected %q, found %s", op, p.peek().describe())
	}
}

func (p *parser) name(what string) token {
	t := p.next()
	if t.kind != kindName {
		p.fail(t, "expected the name of %s, found %s", what, t.describe())
	}
	return t
}

func (p *parser) finish() {
	if t := p.next(); t.kind != kindFinish {
		p.fail(t, "expected the end of the tag, found %s", t.describe())
	}
}

func (t token) describe() string {
	switch t.kind {
	case kindEnd:
		return "the end of the template"
	case kindFinish:
		return "the end of the tag"
	case kindString:
		return "a string"
	}
	return fmt.Sprintf("%.40q", t.text)
}

// body reads statements up to a tag with one of the names in ends, which it takes
// but for its end, and returns its name.
func (p *parser) body(ends []string) ([]node, string) {
	p.deeper()
	defer p.higher()
	var all []node
	for {
		t := p.next()
		switch t.kind {
		case kindEnd:
			if ends != nil {
				p.fail(t, "the template ends where %v should be", ends)
			}
			return all, ""
		case kindText:
			all = append(all, textNode{t.text})
		case kindBegin:
			if t.text == "{{" {
				all = append(all, outputNode{p.tuple()})
				p.finish()
				continue
			}
			name := p.name("a statement")
			if slices.Contains(ends, name.text) {
				return all, name.text
			}
			if n := p.statement(name); n != nil {
				all = append(all, n)
			}
		}
	}
}

// block reads a body up to one end, and the end of that tag.
func (p *parser) block(end string) []node {
	p.finish()
	body, _ := p.body([]string{end})
	return body
}

func (p *parser) statement(t token) node {
	switch t.text {
	case "if":
		return p.ifStatement()
	case "for":
		return p.forStatement(t)
	case "set":
		return p.set(t)
	case "macro":
		m := p.macro(p.name("a macro").text, "endmacro")
		return m
	case "call":
		return p.call(t)
	case "filter":
		n := filterNode{filters: p.filterChain(true)}
		n.body = p.block("endfilter")
		p.finish()
		return n
	case "with":
		return p.with()
	case "generation": // marks what an assistant says, for training
		n := withNode{body: p.block("endgeneration")}
		p.finish()
		return n
	case "break", "continue":
		if p.loops == 0 {
			p.fail(t, "%s outside of a loop", t.text)
		}
		p.finish()
		if t.text == "break" {
			return jumpNode{breakJump}
		}
		return jumpNode{continueJump}
	}
	p.fail(t, "the statement %.60s is not known", t.text)
	return nil
}

func (p *parser) ifStatement() node {
	n := ifNode{condition: p.expression()}
	p.finish()
	var end string
	n.yes, end = p.body([]string{"elif", "else", "endif"})
	switch end {
	case "elif":
		p.deeper()
		n.no = []node{p.ifStatement()}
		p.higher()
		return n
	case "else":
		p.finish()
		n.no, _ = p.body([]string{"endif"})
	}
	p.finish()
	return n
}

// targets reads names with commas between, perhaps in parentheses.
func (p *parser) targets() []string {
	paren := p.take("(")
	names := []string{p.name("a variable").text}
	for p.take(",") {
		if !p.is(kindName, "") || p.is(kindName, "in") {
			break
		}
		names = append(names, p.name("a variable").text)
	}
	if paren {
		p.expect(")")
	}
	return names
}

func (p *parser) forStatement(t token) node {
	n := forNode{targets: p.targets(), line: t.line}
	if !p.takeName("in") {
		p.fail(p.peek(), "expected in, found %s", p.peek().describe())
	}
	n.in = p.or()
	if p.is(kindOperator, ",") {
		items := []expr{n.in}
		for p.take(",") {
			items = append(items, p.or())
		}
		n.in = listExpr{items, true}
	}
	if p.takeName("if") {
		n.condition = p.expression()
	}
	if p.is(kindName, "recursive") {
		p.fail(p.peek(), "recursive loops are not known")
	}
	p.finish()
	p.loops++
	var end string
	n.body, end = p.body([]string{"else", "endfor"})
	p.loops--
	if end == "else" {
		p.finish()
		n.otherwise, _ = p.body([]string{"endfor"})
	}
	p.finish()
	return n
}

func (p *parser) set(t token) node {
	n := setNode{line: t.line}
	if p.is(kindName, "") && p.peekAfter().kind == kindOperator && p.peekAfter().text == "." {
		n.targets = []string{p.next().text}
		p.next()
		n.attr = p.name("an attribute").text
	} else {
		n.targets = p.targets()
	}
	if p.take("=") {
		n.value = p.tuple()
		p.finish()
		return n
	}
	n.filters = p.filterChain(false)
	n.body = p.block("endset")
	p.finish()
	return n
}

// filterChain reads filters without the value that they apply to; the first has no
// bar before it if bare is true.
func (p *parser) filterChain(bare bool) []filterExpr {
	var all []filterExpr
	for bare || p.take("|") {
		bare = false
		all = append(all, p.filter(nil).(filterExpr)) // it gives nothing else
	}
	return all
}

// macro reads parameters and body.
func (p *parser) macro(name, end string) macroNode {
	m := macroNode{name: name}
	if p.take("(") {
		for !p.take(")") {
			if len(m.names) > 0 {
				p.expect(",")
				if p.take(")") {
					break
				}
			}
			m.names = append(m.names, p.name("a parameter").text)
			var value expr
			if p.take("=") {
				value = p.expression()
			}
			m.defaults = append(m.defaults, value)
		}
	}
	loops := p.loops
	p.loops = 0
	m.body = p.block(end)
	p.loops = loops
	p.finish()
	return m
}

func (p *parser) call(t token) node {
	n := callNode{line: t.line}
	var names []string
	var defaults []expr
	if p.take("(") {
		for !p.take(")") {
			if len(names) > 0 {
				p.expect(",")
			}
			names = append(names, p.name("a parameter").text)
			var value expr
			if p.take("=") {
				value = p.expression()
			}
			defaults = append(defaults, value)
		}
	}
	c, ok := p.unary(false).(callExpr)
	if !ok {
		p.fail(t, "call without a call")
	}
	n.call = c
	n.caller = p.macro("caller", "endcall")
	n.caller.names, n.caller.defaults = names, defaults
	return n
}

func (p *parser) with() node {
	var n withNode
	for !p.is(kindFinish, "") {
		if len(n.names) > 0 {
			p.expect(",")
		}
		n.names = append(n.names, p.name("a variable").text)
		p.expect("=")
		n.values = append(n.values, p.expression())
	}
	n.body = p.block("endwith")
	p.finish()
	return n
}
