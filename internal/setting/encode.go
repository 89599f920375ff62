package setting

import (
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Encodable is a type that writes its own node.
type Encodable interface {
	EncodeSetting() *Node
}

// nodeOf is a value as a node. Fields of structs that have their zero values are
// left out: what decodes them fills in the same.
func nodeOf(v any) *Node { return NodeWith(v, nil) }

// NodeWith is nodeOf where special, if given, may write values in its own way; it
// returns nil for all others.
func NodeWith(v any, special func(reflect.Value) *Node) *Node {
	return encoder{special}.node(reflect.ValueOf(v))
}

type encoder struct{ special func(reflect.Value) *Node }

// Named is a mapping of one key, or the name alone if its value says nothing.
func Named(name string, value *Node) *Node {
	if value == nil || value.shape != scalar && len(value.kids) == 0 {
		return &Node{text: name}
	}
	return &Node{shape: mapping, keys: []string{name}, from: []Source{{}}, kids: []*Node{value}}
}

// ListOf is a list of nodes.
func ListOf(items []*Node) *Node { return &Node{shape: list, kids: items} }

func (e encoder) node(v reflect.Value) *Node {
	if !v.IsValid() {
		return &Node{}
	}
	if e.special != nil {
		if n := e.special(v); n != nil {
			return n
		}
	}
	if own, ok := v.Interface().(Encodable); ok {
		return own.EncodeSetting()
	}
	n := &Node{}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return e.node(v.Elem())
	case reflect.Struct:
		n.shape = mapping
		for _, f := range fieldsOf(v.Type()) {
			if x := v.FieldByIndex(f.index); !x.IsZero() {
				n.Put(f.name, e.node(x))
			}
		}
	case reflect.Slice:
		n.shape = list
		for i := range v.Len() {
			n.kids = append(n.kids, e.node(v.Index(i)))
		}
	case reflect.Map:
		n.shape = mapping
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, k := range keys {
			n.keys, n.from, n.kids = append(n.keys, k.String()), append(n.from, Source{}), append(n.kids, e.node(v.MapIndex(k)))
		}
	case reflect.String:
		n.text, n.quoted = v.String(), true
	case reflect.Float32, reflect.Float64:
		n.text = strconv.FormatFloat(v.Float(), 'g', -1, v.Type().Bits())
	case reflect.Bool:
		n.text = strconv.FormatBool(v.Bool())
	default:
		if v.CanUint() {
			n.text = strconv.FormatUint(v.Uint(), 10)
		} else {
			n.text = strconv.FormatInt(v.Int(), 10)
		}
	}
	return n
}

// Plain is what a setting's value says, for other forms than YAML: texts, numbers,
// lists and maps.
func (s Setting) Plain() any { return nodeOf(s.Value).plain() }

func (n *Node) plain() any {
	switch n.shape {
	case list:
		all := make([]any, len(n.kids))
		for i, kid := range n.kids {
			all[i] = kid.plain()
		}
		return all
	case mapping:
		all := map[string]any{}
		for i, kid := range n.kids {
			all[n.keys[i]] = kid.plain()
		}
		return all
	}
	if !n.quoted && json.Valid([]byte(n.text)) {
		return json.RawMessage(n.text)
	}
	return n.text
}

// plain texts are read back as themselves without quotes, by any reader of YAML.
var plain = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_./-]*$`)

func quote(s string) string {
	switch strings.ToLower(s) {
	case "true", "false", "null", "yes", "no", "on", "off", "y", "n":
	default:
		if plain.MatchString(s) {
			return s
		}
	}
	var b strings.Builder
	e := json.NewEncoder(&b) // a JSON string is one of YAML
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string: it cannot fail
	return strings.TrimSuffix(b.String(), "\n")
}

// flow writes a node on one line.
func (n *Node) flow(b *strings.Builder) {
	switch n.shape {
	case scalar:
		if n.quoted {
			b.WriteString(quote(n.text))
		} else {
			b.WriteString(n.text)
		}
	case list:
		b.WriteByte('[')
		for i, kid := range n.kids {
			if i > 0 {
				b.WriteString(", ")
			}
			kid.flow(b)
		}
		b.WriteByte(']')
	case mapping:
		b.WriteByte('{')
		for i, kid := range n.kids {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(quote(n.keys[i]) + ": ")
			kid.flow(b)
		}
		b.WriteByte('}')
	}
}

// item writes an element of a list: a mapping of one key without braces.
func (n *Node) item() string {
	var b strings.Builder
	if n.shape == mapping && len(n.keys) == 1 {
		b.WriteString(quote(n.keys[0]) + ": ")
		n.kids[0].flow(&b)
	} else {
		n.flow(&b)
	}
	return b.String()
}

// Encode writes every setting of a struct as YAML: what is zero too, so that it can be
// told from what was left out.
func Encode(v any) []byte { return EncodeWith(v, nil, nil) }

// commentColumn is where comments begin.
const commentColumn = 40

// EncodeWith writes the settings with a comment behind each.
func EncodeWith(v any, given *Node, comment func(Setting) string) []byte {
	var b strings.Builder
	for _, s := range walk(nil, "", 0, reflect.ValueOf(v), given) {
		indent := strings.Repeat("  ", s.depth)
		line, below := indent+s.last+":", []string(nil)
		if !s.lead {
			line, below = s.lines(line, indent)
		}
		if !s.lead && comment != nil {
			line += strings.Repeat(" ", max(commentColumn-utf8.RuneCountInString(line), 1)) + "# " + strings.ReplaceAll(comment(s), "\n", " ")
		}
		b.WriteString(line + "\n")
		for _, l := range below {
			b.WriteString(l + "\n")
		}
	}
	return []byte(b.String())
}

// lines are the line of a setting, and those of the elements of a list.
func (s Setting) lines(line, indent string) (string, []string) {
	n := nodeOf(s.Value)
	if n.shape == list && len(n.kids) > 0 && slices.ContainsFunc(n.kids, func(k *Node) bool { return k.shape != scalar }) {
		var below []string
		for _, kid := range n.kids {
			below = append(below, indent+"  - "+kid.item())
		}
		return line, below
	}
	var b strings.Builder
	n.flow(&b)
	return line + " " + b.String(), nil
}

// EncodeSetting makes a node that nobody has decoded write itself.
func (n Node) EncodeSetting() *Node { return &n }

// Difference is the first setting, in the order of a, that differs between two specs,
// and what each of them says of it: "" for nothing.
func Difference(a, b *Node) (path, inA, inB string) {
	if a == nil || b == nil || a.shape != mapping || b.shape != mapping {
		x, y := a.line(), b.line()
		return "", x, y
	}
	keys := slices.Clone(a.keys)
	for _, k := range b.keys {
		if !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	for _, k := range keys {
		if path, x, y := Difference(a.own(k), b.own(k)); x != y {
			return strings.TrimSuffix(k+"."+path, "."), x, y
		}
	}
	return "", "", ""
}

// line is a node on one line; "" for none.
func (n *Node) line() string {
	var b strings.Builder
	if n != nil {
		n.flow(&b)
	}
	return b.String()
}
