package setting

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"tandem/fault"
)

// maxDepth bounds how deep settings may lie in each other.
const maxDepth = 50

// Source says where a value comes from.
type Source struct {
	Name string // a file, or a flag; "": it is a default
	Line int    // in the file, from 1; 0: none
}

func (s Source) String() string {
	if s.Line > 0 && !strings.HasPrefix(s.Name, "-") { // a flag has one line
		return fmt.Sprintf("%s:%d", s.Name, s.Line)
	}
	return s.Name
}

type shape uint8

const (
	scalar shape = iota
	mapping
	list
)

// Node is a value as it was written: a scalar, a mapping or a list.
type Node struct {
	Source Source

	shape  shape
	text   string // of a scalar
	quoted bool
	keys   []string // of a mapping, in their order
	from   []Source // of the keys
	kids   []*Node  // of a mapping or a list
}

// Scalar is a value that a flag gives.
func Scalar(text string, from Source) *Node { return &Node{Source: from, text: text} }

// Parse reads YAML: one document, a mapping. Anchors, aliases and tags are refused:
// a spec says what it means where it means it.
func Parse(name string, text []byte) (*Node, error) {
	root := &Node{Source: Source{Name: name}, shape: mapping}
	text = bytes.TrimPrefix(text, []byte("\ufeff")) // which editors put there
	if err := checkText(name, text); err != nil {
		return nil, err
	}
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		line, message := 0, err.Error()
		if e, ok := errors.AsType[yaml.Error](err); ok {
			message = e.GetMessage()
			if t := e.GetToken(); t != nil {
				line = t.Position.Line
			}
		}
		return nil, fault.New("setting.parse", fault.Invalid, "%s is not valid YAML: %s", Source{name, line}, message)
	}
	switch {
	case len(file.Docs) == 0 || file.Docs[0].Body == nil:
		return root, nil
	case len(file.Docs) > 1:
		return nil, fault.New("setting.parse", fault.Invalid, "%s has %d documents, it must have one", name, len(file.Docs))
	}
	n, err := convert(name, file.Docs[0].Body, 0)
	if err != nil {
		return nil, err
	}
	if n.shape != mapping {
		return nil, n.fail("", "it must be a list of keys with values")
	}
	return n, nil
}

// checkText: the parser takes whatever bytes there are.
func checkText(name string, text []byte) error {
	line := 1
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && n == 1:
			return fault.New("setting.parse", fault.Invalid, "%s is not UTF-8", Source{name, line}).Try("save the file as UTF-8")
		case r == 0:
			return fault.New("setting.parse", fault.Invalid, "%s has a zero byte, which no text has", Source{name, line}).Try("save the file as UTF-8")
		case r == '\n':
			line++
		}
		text = text[n:]
	}
	return nil
}

func convert(name string, from ast.Node, depth int) (*Node, error) {
	n := &Node{Source: Source{Name: name}}
	if t := from.GetToken(); t != nil {
		n.Source.Line = t.Position.Line
	}
	if depth > maxDepth {
		return nil, fault.New("setting.parse", fault.TooLarge, "%s: values lie more than %d deep in each other", n.Source, maxDepth)
	}
	switch from := from.(type) {
	case *ast.MappingNode:
		return n, n.addEntries(name, from.Values, depth)
	case *ast.MappingValueNode:
		return n, n.addEntries(name, []*ast.MappingValueNode{from}, depth)
	case *ast.SequenceNode:
		n.shape = list
		for _, v := range from.Values {
			kid, err := convert(name, v, depth+1)
			if err != nil {
				return nil, err
			}
			n.kids = append(n.kids, kid)
		}
		return n, nil
	case *ast.StringNode:
		n.text, n.quoted = from.Value, from.Token.Type.String() != "String"
		return n, nil
	case *ast.LiteralNode:
		n.text, n.quoted = from.Value.Value, true
		return n, nil
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		n.text = from.GetToken().Value
		return n, nil
	case *ast.NullNode:
		return n, nil
	}
	return nil, fault.New("setting.parse", fault.Invalid, "%s: anchors, aliases, merged keys and tags are not read here", n.Source).
		Try("write the value itself")
}

// addEntries fills a mapping. Keys are texts, and each is there once.
func (n *Node) addEntries(name string, entries []*ast.MappingValueNode, depth int) error {
	n.shape = mapping
	for i, e := range entries {
		at := Source{name, e.Key.GetToken().Position.Line}
		if i == 0 {
			n.Source.Line = at.Line
		}
		if _, ok := e.Key.(ast.ScalarNode); !ok || e.Key.IsMergeKey() {
			return fault.New("setting.parse", fault.Invalid, "%s: anchors, aliases, merged keys and tags are not read here", at).
				Try("write the value itself")
		}
		key := e.Key.GetToken().Value
		if n.Get(key) != nil {
			return fault.New("setting.parse", fault.Invalid, "%s: %s is there twice", at, key)
		}
		kid, err := convert(name, e.Value, depth+1)
		if err != nil {
			return err
		}
		if kid.shape == scalar {
			kid.Source = at // a value may begin a line below its key
		}
		n.keys, n.from, n.kids = append(n.keys, key), append(n.from, at), append(n.kids, kid)
	}
	return nil
}

// Get is the value of a key of a mapping, or nil. Dots lead into mappings.
func (n *Node) Get(path string) *Node {
	key, rest, deeper := strings.Cut(path, ".")
	if n == nil || n.shape != mapping {
		return nil
	}
	for i, k := range n.keys {
		switch {
		case k == path:
			return n.kids[i]
		case k == key && deeper:
			return n.kids[i].Get(rest)
		}
	}
	return nil
}

// Put sets the value of a path, in place of what was there.
func (n *Node) Put(path string, value *Node) {
	key, rest, deeper := strings.Cut(path, ".")
	at := -1
	for i, k := range n.keys {
		if k == key {
			at = i
		}
	}
	if at < 0 {
		at = len(n.keys)
		n.keys, n.from, n.kids = append(n.keys, key), append(n.from, value.Source), append(n.kids, nil)
	}
	if !deeper {
		n.from[at], n.kids[at] = value.Source, value
		return
	}
	if n.kids[at] == nil || n.kids[at].shape != mapping {
		n.kids[at] = &Node{Source: value.Source, shape: mapping}
	}
	n.kids[at].Put(rest, value)
}

// Drop removes a key of a mapping.
func (n *Node) Drop(path string) {
	key, rest, deeper := strings.Cut(path, ".")
	for i, k := range n.keys {
		switch {
		case k != key:
		case deeper:
			n.kids[i].Drop(rest)
			return
		default:
			n.keys, n.from, n.kids = append(n.keys[:i:i], n.keys[i+1:]...), append(n.from[:i:i], n.from[i+1:]...), append(n.kids[:i:i], n.kids[i+1:]...)
			return
		}
	}
}

// fail is an error about a value: its source, its path, and what is wrong with it.
// What is wrong is an error of its own, so that it can be said in another language.
func (n *Node) fail(path, format string, args ...any) *fault.Error {
	const op = "setting.decode"
	what := fault.New("", fault.Invalid, format, args...)
	switch {
	case n == nil || n.Source.Name == "":
		return fault.New(op, fault.Invalid, "%s: %s", path, what)
	case path == "":
		return fault.New(op, fault.Invalid, "%s: %s", n.Source, what)
	}
	return fault.New(op, fault.Invalid, "%s, %s: %s", n.Source, path, what)
}

// Value reads what a flag says: a list or a mapping in brackets, else a text.
func Value(text, by string) (*Node, error) {
	if !strings.HasPrefix(text, "[") && !strings.HasPrefix(text, "{") {
		return Scalar(text, Source{Name: by}), nil
	}
	n, err := Parse(by, []byte("value: "+text))
	if err != nil {
		return nil, err
	}
	v := n.Get("value")
	v.Source = Source{Name: by}
	return v, nil
}

// Says tells whether n is a scalar of that text.
func (n *Node) Says(text string) bool { return n != nil && n.shape == scalar && n.text == text }
