package jinja

import (
	"slices"
	"strconv"
)

// expr is an expression: it gives a value, or fails.
type expr interface{ eval(s *state) any }

type (
	literal  struct{ value any }
	nameExpr struct {
		name string
		line int
	}
	listExpr struct {
		items []expr
		tuple bool
	}
	dictExpr  struct{ keys, values []expr }
	attribute struct {
		of   expr
		name string
		line int
	}
	item struct {
		of, index expr
		line      int
	}
	slice struct {
		of                expr
		begin, end, every expr // nil: not given
		line              int
	}
	callExpr struct {
		of   expr
		args arguments
		line int
	}
	filterExpr struct {
		of   expr
		name string
		do   filter
		args arguments
		line int
	}
	testExpr struct {
		of   expr
		do   test
		args arguments
		not  bool
		line int
	}
	binary struct {
		op          string
		left, right expr
		line        int
	}
	compare struct {
		left   expr
		ops    []string
		rights []expr
		line   int
	}
	logical struct {
		and         bool
		left, right expr
	}
	notExpr struct{ of expr }
	negate  struct {
		of    expr
		minus bool
		line  int
	}
	choose struct{ condition, yes, no expr }
)

// arguments of a call. Those with a name follow the others; star and starStar are
// spread out.
type arguments struct {
	plain    []expr
	names    []string
	named    []expr
	star     expr
	starStar expr
}

func (p *parser) expression() expr {
	p.deeper()
	defer p.higher()
	e := p.or()
	for p.takeName("if") {
		condition := p.or()
		var no expr = literal{undefined{"the value of an if without else"}}
		if p.takeName("else") {
			no = p.expression()
		}
		e = choose{condition, e, no}
	}
	return e
}

// tuple reads expressions with commas between, which are a tuple.
func (p *parser) tuple() expr {
	first := p.expression()
	if !p.is(kindOperator, ",") {
		return first
	}
	items := []expr{first}
	for p.take(",") {
		if p.is(kindFinish, "") || p.is(kindOperator, ")") || p.is(kindOperator, "=") {
			break
		}
		items = append(items, p.expression())
	}
	return listExpr{items, true}
}

func (p *parser) or() expr {
	e := p.and()
	for p.takeName("or") {
		e = logical{false, e, p.and()}
	}
	return e
}

func (p *parser) and() expr {
	e := p.not()
	for p.takeName("and") {
		e = logical{true, e, p.not()}
	}
	return e
}

func (p *parser) not() expr {
	if p.takeName("not") {
		p.deeper()
		defer p.higher()
		return notExpr{p.not()}
	}
	return p.comparison()
}

func (p *parser) comparison() expr {
	c := compare{left: p.sum(), line: p.line()}
	for {
		op := ""
		switch t := p.peek(); {
		case t.kind == kindOperator && slices.Contains([]string{"==", "!=", "<", ">", "<=", ">="}, t.text):
			op = t.text
			p.next()
		case p.takeName("in"):
			op = "in"
		case t.kind == kindName && t.text == "not" && p.peekAfter().text == "in":
			p.next()
			p.next()
			op = "not in"
		default:
			if len(c.ops) == 0 {
				return c.left
			}
			return c
		}
		c.ops = append(c.ops, op)
		c.rights = append(c.rights, p.sum())
	}
}

// operations reads operations of equal rank from left to right.
func (p *parser) operations(of func() expr, ops ...string) expr {
	e := of()
	for {
		t := p.peek()
		if t.kind != kindOperator || !slices.Contains(ops, t.text) {
			return e
		}
		p.next()
		e = binary{t.text, e, of(), t.line}
	}
}

func (p *parser) sum() expr     { return p.operations(p.concat, "+", "-") }
func (p *parser) concat() expr  { return p.operations(p.product, "~") }
func (p *parser) product() expr { return p.operations(p.power, "*", "/", "//", "%") }
func (p *parser) power() expr {
	return p.operations(func() expr { return p.unary(true) }, "**")
}

func (p *parser) unary(filters bool) expr {
	p.deeper()
	defer p.higher()
	var e expr
	line := p.line()
	switch {
	case p.take("-"):
		e = negate{p.unary(false), true, line}
	case p.take("+"):
		e = negate{p.unary(false), false, line}
	default:
		e = p.primary()
	}
	e = p.postfix(e)
	for filters {
		switch {
		case p.take("|"):
			e = p.filter(e)
		case p.takeName("is"):
			e = p.test(e)
		case p.is(kindOperator, "("):
			e = callExpr{e, p.arguments(), p.line()}
		default:
			return e
		}
	}
	return e
}

func (p *parser) primary() expr {
	t := p.next()
	switch t.kind {
	case kindName:
		switch t.text {
		case "true", "True":
			return literal{true}
		case "false", "False":
			return literal{false}
		case "none", "None":
			return literal{nil}
		}
		return nameExpr{t.text, t.line}
	case kindString:
		text := t.text
		for p.peek().kind == kindString {
			text += p.next().text
		}
		return literal{text}
	case kindInt:
		v, err := strconv.Atoi(t.text)
		if err != nil {
			p.fail(t, "the number %.40s is too large", t.text)
		}
		return literal{v}
	case kindFloat:
		v, err := strconv.ParseFloat(t.text, 64)
		if err != nil {
			p.fail(t, "the number %.40s is too large", t.text)
		}
		return literal{v}
	case kindOperator:
		switch t.text {
		case "(":
			if p.take(")") {
				return listExpr{nil, true}
			}
			e := p.tuple()
			p.expect(")")
			return e
		case "[":
			return listExpr{p.items("]"), false}
		case "{":
			return p.dict()
		}
	}
	p.fail(t, "unexpected %s", t.describe())
	return nil
}

// items reads expressions up to a closing bracket.
func (p *parser) items(end string) []expr {
	var all []expr
	for !p.take(end) {
		if len(all) > 0 {
			p.expect(",")
			if p.take(end) {
				break
			}
		}
		all = append(all, p.expression())
	}
	return all
}

func (p *parser) dict() expr {
	var d dictExpr
	for !p.take("}") {
		if len(d.keys) > 0 {
			p.expect(",")
			if p.take("}") {
				break
			}
		}
		d.keys = append(d.keys, p.expression())
		p.expect(":")
		d.values = append(d.values, p.expression())
	}
	return d
}

// postfix reads attributes, items and calls.
func (p *parser) postfix(e expr) expr {
	for {
		line := p.line()
		switch {
		case p.take("."):
			t := p.next()
			switch t.kind {
			case kindName:
				e = attribute{e, t.text, line}
			case kindInt:
				i, err := strconv.Atoi(t.text)
				if err != nil {
					p.fail(t, "the number %.40s is too large", t.text)
				}
				e = item{e, literal{i}, line}
			default:
				p.fail(t, "unexpected %s after a dot", t.describe())
			}
		case p.take("["):
			e = p.subscript(e, line)
		case p.is(kindOperator, "("):
			e = callExpr{e, p.arguments(), line}
		default:
			return e
		}
	}
}

func (p *parser) subscript(e expr, line int) expr {
	var parts [3]expr
	n, sliced := 0, false
	for !p.take("]") {
		if p.take(":") {
			sliced = true
			if n++; n > 2 {
				p.fail(p.peek(), "a slice of more than three parts")
			}
			continue
		}
		if parts[n] != nil {
			p.fail(p.peek(), "unexpected %s in a subscript", p.peek().describe())
		}
		parts[n] = p.tuple()
	}
	if sliced {
		return slice{e, parts[0], parts[1], parts[2], line}
	}
	if parts[0] == nil {
		p.fail(p.peek(), "an empty subscript")
	}
	return item{e, parts[0], line}
}

func (p *parser) arguments() arguments {
	var a arguments
	p.expect("(")
	for first := true; !p.take(")"); first = false {
		if !first {
			p.expect(",")
			if p.take(")") {
				break
			}
		}
		switch t := p.peek(); {
		case p.take("*"):
			a.star = p.expression()
		case p.take("**"):
			a.starStar = p.expression()
		case t.kind == kindName && p.peekAfter().kind == kindOperator && p.peekAfter().text == "=":
			p.next()
			p.next()
			a.names = append(a.names, t.text)
			a.named = append(a.named, p.expression())
		default:
			if len(a.names) > 0 {
				p.fail(t, "an argument without a name follows one with a name")
			}
			a.plain = append(a.plain, p.expression())
		}
	}
	return a
}

func (p *parser) filter(e expr) expr {
	t := p.name("a filter")
	do, ok := p.filters[t.text]
	if !ok { // an error only where it is reached, as in Python
		do = func(s *state, _ any, _ arg) any { s.fail("the filter %.60s is not known", t.text); return nil }
	}
	f := filterExpr{of: e, name: t.text, do: do, line: t.line}
	if p.is(kindOperator, "(") {
		f.args = p.arguments()
	}
	return f
}

func (p *parser) test(e expr) expr {
	not := p.takeName("not")
	t := p.name("a test")
	do, ok := p.tests[t.text]
	if !ok {
		do = func(s *state, _ any, _ []any) bool { s.fail("the test %.60s is not known", t.text); return false }
	}
	x := testExpr{of: e, do: do, not: not, line: t.line}
	next := p.peek()
	switch {
	case next.kind == kindOperator && next.text == "(":
		x.args = p.arguments()
	case next.kind == kindString, next.kind == kindInt, next.kind == kindFloat,
		next.kind == kindOperator && (next.text == "[" || next.text == "{"),
		next.kind == kindName && !slices.Contains([]string{"else", "or", "and", "is", "if", "in", "not"}, next.text):
		x.args.plain = []expr{p.postfix(p.primary())}
	}
	return x
}
