package lint

import (
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// maxLines is the length of a file above which its top must say why.
const maxLines = 600

func TestNames(t *testing.T) {
	banned := []string{"util", "utils", "helper", "helpers", "common", "manager", "impl", "misc"}
	word := regexp.MustCompile(`[a-z]+`)
	for _, s := range sources(t) {
		for _, w := range word.FindAllString(strings.TrimSuffix(s.path, ".go"), -1) {
			if slices.Contains(banned, w) {
				t.Errorf("%s: %q says nothing about what is inside", s.path, w)
			}
		}
	}
}

func TestFileLength(t *testing.T) {
	for _, s := range sources(t) {
		if n := strings.Count(s.text, "\n"); n > maxLines && !strings.Contains(s.text[:min(len(s.text), 1500)], "This file is long because") {
			t.Errorf("%s has %d lines; above %d the top must say why: \"This file is long because …\"", s.path, n, maxLines)
		}
	}
}

// TestPackagesAreDocumented: every package has a doc.go with a package comment.
func TestPackagesAreDocumented(t *testing.T) {
	documented, seen := map[string]bool{}, map[string]bool{}
	for _, s := range sources(t) {
		if s.test() {
			continue
		}
		seen[s.pkg] = true
		// A command tells in main.go what it does.
		place := strings.HasSuffix(s.path, "doc.go") || s.file.Name.Name == "main" && strings.HasSuffix(s.path, "main.go")
		if place && s.file.Doc != nil && len(s.file.Doc.Text()) > 40 {
			documented[s.pkg] = true
		}
	}
	for pkg := range seen {
		if !documented[pkg] {
			t.Errorf("package %q has no doc.go that tells what it is for", pkg)
		}
	}
}

// TestListsOfFiles: where a package comment lists files, every one of them is there, and
// every file of the package is listed.
func TestListsOfFiles(t *testing.T) {
	name := regexp.MustCompile(`[a-z0-9_*]+\.go`)
	files := map[string][]string{}
	for _, s := range sources(t) {
		if !s.test() && !strings.HasSuffix(s.path, "doc.go") {
			files[s.pkg] = append(files[s.pkg], filepath.Base(s.path))
		}
	}
	for _, s := range sources(t) {
		if !strings.HasSuffix(s.path, "doc.go") || s.file.Doc == nil {
			continue
		}
		var listed []string
		for line := range strings.Lines(s.file.Doc.Text()) {
			if strings.HasPrefix(line, "\t") {
				listed = append(listed, name.FindAllString(line, -1)...)
			}
		}
		fits := func(file string) func(string) bool {
			return func(pattern string) bool { ok, err := filepath.Match(pattern, file); return ok && err == nil }
		}
		for _, pattern := range listed {
			if !slices.ContainsFunc(files[s.pkg], func(file string) bool { return fits(file)(pattern) }) {
				t.Errorf("%s lists %s, which is not there", s.path, pattern)
			}
		}
		for _, file := range files[s.pkg] {
			if len(listed) > 0 && !slices.ContainsFunc(listed, fits(file)) {
				t.Errorf("%s does not list %s", s.path, file)
			}
		}
	}
}

// TestNoHiddenState: no init functions, and nothing assigns to a package-level
// variable.
func TestNoHiddenState(t *testing.T) {
	for _, s := range sources(t) {
		if s.test() {
			continue
		}
		globals := map[string]bool{}
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil && d.Name.Name == "init" {
					t.Errorf("%s has an init function", s.path)
				}
			case *ast.GenDecl:
				if d.Tok != token.VAR {
					continue
				}
				for _, spec := range d.Specs {
					for _, name := range spec.(*ast.ValueSpec).Names {
						globals[name.Name] = true
					}
				}
			}
		}
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Body != nil {
				s.checkAssignments(t, f, globals)
			}
		}
	}
}

// checkAssignments reports assignments in a function whose target begins with a
// global of the file. A name that the function also declares is taken for its own.
func (s source) checkAssignments(t *testing.T, f *ast.FuncDecl, globals map[string]bool) {
	own := map[string]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if n.Tok == token.DEFINE {
				for _, l := range n.Lhs {
					own[first(l)] = true
				}
			}
		case *ast.RangeStmt:
			own[first(n.Key)], own[first(n.Value)] = true, true
		case *ast.ValueSpec:
			for _, name := range n.Names {
				own[name.Name] = true
			}
		case *ast.Field:
			for _, name := range n.Names {
				own[name.Name] = true
			}
		}
		return true
	})
	report := func(target ast.Expr) {
		if name := first(target); globals[name] && !own[name] {
			t.Errorf("%s: %s is changed at run time", s.fset.Position(target.Pos()), name)
		}
	}
	ast.Inspect(f.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for _, l := range n.Lhs {
				report(l)
			}
		case *ast.IncDecStmt:
			report(n.X)
		}
		return true
	})
}

// first is the identifier that an expression such as a.b[i] begins with, or "".
func first(e ast.Expr) string {
	for {
		switch x := e.(type) {
		case *ast.IndexExpr:
			e = x.X
		case *ast.SelectorExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

// TestNoMachinePaths: nothing in the repository names a folder of the machine that
// somebody sits at.
func TestNoMachinePaths(t *testing.T) {
	path := regexp.MustCompile(`(^|[^A-Za-z0-9_.])/(root|home/[a-z]+|Users/[A-Za-z]+|work)/`)
	top := root(t)
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md", "Makefile", ".ci/*", "bench/*.py", "bench/*.md", "bench/*/*.py"} {
		files, err := filepath.Glob(filepath.Join(top, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if m := path.Find(text); m != nil {
				t.Errorf("%s names a folder of a machine: %q", f, m)
			}
		}
	}
	for _, s := range sources(t) {
		if s.pkg != "internal/lint" && path.MatchString(s.text) {
			t.Errorf("%s names a folder of a machine: %q", s.path, path.FindString(s.text))
		}
	}
}
