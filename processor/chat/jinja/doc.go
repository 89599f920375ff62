// Package jinja runs the templates by which language models write conversations:
// the part of Jinja that they use, with Python's meaning of values, and with limits.
//
//	lex.go      text and tags, tokens, white space
//	parse.go    statements; expr.go expressions
//	run.go      statements at work, scopes, the budget
//	eval.go     expressions at work; operators.go arithmetic and comparisons
//	value.go    values: what Python's str, repr, bool and == make of them
//	format.go   text % value
//	methods.go  methods of strings, dicts and lists
//	filters.go, tests.go, globals.go
//	json.go     dicts in the order of their JSON
//
// A template is foreign code. It cannot reach anything but its arguments; steps,
// output and depth are bounded, so that one that loops or recurses for ever ends with
// an error. A statement that is not known is refused when the template
// is parsed, a filter or a test when it is reached, as in Python.
package jinja
