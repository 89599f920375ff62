package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"tandem/family"
	"tandem/internal/message"
	"tandem/train"
)

// said are the calls whose literal arguments people read, and which arguments.
var said = map[string][]int{
	"say": {0}, "Sprintf": {0}, "Text": {0}, "Try": {0}, "with": {0}, "usage": {0}, "New": {2}, "Wrap": {3},
	"sayList": {0, 1}, "note": {0}, "helpFlags": {1}, "section": {0}, "fact": {0},
}

// saidOfModels are those of packages that read language models.
var saidOfModels = map[string][]int{"New": {2}, "Wrap": {3}, "Try": {0}, "bad": {0, 1}, "fail": {0}, "unsupported": {0}}

// TestEveryMessageIsInChinese: what the command line, the client and the readers of
// language models say has an entry in the catalogue, with the same arguments.
func TestEveryMessageIsInChinese(t *testing.T) {
	zh := message.New("zh")
	check := func(where, text string) {
		if !regexp.MustCompile(`[a-zA-Z]{2}`).MatchString(verbs.ReplaceAllString(text, "")) || strings.HasPrefix(text, "tandem ") {
			return // a command is the same in every language
		}
		if !strings.Contains(text, " ") && strings.HasSuffix(text, ".json") {
			return // so is the name of a file
		}
		translated, ok := zh.Lookup(text)
		if !ok {
			t.Errorf("%s: no Chinese for\n\t{%q, \"\"},", where, text)
		} else if a, b := arguments(text), arguments(translated); !slices.Equal(a, b) {
			t.Errorf("%s: %q takes %v, its translation %q takes %v", where, text, a, translated, b)
		}
	}
	for _, dir := range []string{".", "../../internal/client"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatal(dir, err)
		}
		for _, f := range files {
			if !strings.HasSuffix(f, "_test.go") {
				checkFile(t, f, said, check)
			}
		}
	}
	for _, dir := range []string{"../../llm", "../../model/gguf", "../../processor/tokenizer"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatal(dir, err)
		}
		for _, f := range files {
			if !strings.HasSuffix(f, "_test.go") {
				checkFile(t, f, saidOfModels, check)
			}
		}
	}
	for _, c := range chatCommands() {
		check("chat", c[1])
	}
	for _, g := range groups() {
		check("groups", g.title)
	}
	for _, f := range family.List() {
		spec := train.Spec{Family: f.Name}
		if err := f.Complete(&spec); err != nil {
			t.Fatal(err)
		}
		for _, s := range spec.Settings() {
			if s.Help == "" {
				t.Errorf("setting %s of family %s does not say what it means", s.Key, f.Name)
			}
			check("setting "+s.Key, s.Help)
		}
	}
	var g grammar
	parser, err := kong.New(&g, kong.Name("tandem"), kong.NoDefaultHelp(), kong.Bind(&app{}))
	if err != nil {
		t.Fatal(err)
	}
	checkHelp(parser.Model.Node, check)
}

func checkHelp(n *kong.Node, check func(where, text string)) {
	for _, v := range append(slices.Clone(n.Positional), flagValues(n)...) {
		check("flag or argument "+v.Name+" of "+n.Name, v.Help)
	}
	for _, c := range n.Children {
		check("verb "+c.Name, c.Help)
		checkHelp(c, check)
	}
}

func flagValues(n *kong.Node) []*kong.Value {
	var all []*kong.Value
	for _, f := range n.Flags {
		if !f.Hidden {
			all = append(all, f.Value)
		}
	}
	return all
}

func checkFile(t *testing.T, path string, said map[string][]int, check func(where, text string)) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	literal := func(e ast.Expr) {
		if l, ok := e.(*ast.BasicLit); ok && l.Kind == token.STRING {
			text, err := strconv.Unquote(l.Value)
			if err != nil {
				t.Fatal(err)
			}
			check(fset.Position(l.Pos()).String(), text)
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			name := ""
			switch f := n.Fun.(type) {
			case *ast.Ident:
				name = f.Name
			case *ast.SelectorExpr:
				name = f.Sel.Name
				if x, ok := f.X.(*ast.Ident); ok && (x.Name == "fmt" || (name == "New" || name == "Wrap") && x.Name != "fault") {
					return true
				}
			}
			for _, i := range said[name] {
				if i < len(n.Args) {
					literal(n.Args[i])
				}
			}
		case *ast.CompositeLit: // titles of columns: ID, NAME
			array, ok := n.Type.(*ast.ArrayType)
			if !ok {
				return true
			}
			if of, ok := array.Elt.(*ast.Ident); ok && of.Name == "string" {
				for _, e := range n.Elts {
					if l, ok := e.(*ast.BasicLit); ok && l.Value == strings.ToUpper(l.Value) {
						literal(e)
					}
				}
			}
		}
		return true
	})
}

var verbs = regexp.MustCompile(`%(?:\[(\d+)\])?[-+# 0]*\d*(?:\.\d+)?([a-zA-Z%])`)

// arguments are the verbs of a format in the order of its arguments.
func arguments(format string) []string {
	var all []string
	next := 1
	for _, m := range verbs.FindAllStringSubmatch(format, -1) {
		if m[2] == "%" {
			continue
		}
		if m[1] != "" {
			next, _ = strconv.Atoi(m[1])
		}
		for len(all) < next {
			all = append(all, "")
		}
		all[next-1] = m[2]
		next++
	}
	return all
}

// TestEveryVerbHasExamples: --help shows lines to copy.
func TestEveryVerbHasExamples(t *testing.T) {
	var g grammar
	parser, err := kong.New(&g, kong.Name("tandem"), kong.NoDefaultHelp(), kong.Bind(&app{}))
	if err != nil {
		t.Fatal(err)
	}
	for _, leaf := range parser.Model.Leaves(false) {
		if len(examples(verbOf(leaf))) == 0 {
			t.Errorf("tandem %s has no examples", verbOf(leaf))
		}
		if _, ok := reflect.TypeOf(leaf.Target.Addr().Interface()).MethodByName("Run"); !ok {
			t.Errorf("tandem %s does nothing", verbOf(leaf))
		}
	}
}
