package lint

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

// room is a folder whose packages may import the rooms listed, and each other.
// The order is that of docs/ARCHITECTURE.md: data passes from top to bottom.
type room struct {
	folder string
	may    []string
}

func rooms() []room {
	engine := []string{"fault", "tensor"}
	network := append(engine, "kernel", "graph")
	artifact := append(network, "data", "processor", "internal/blob", "model")
	served := []string{"fault", "tensor", "model", "llm", "internal/blob", "internal/tenant", "internal/registry", "internal/serve"}
	return []room{
		{"fault", nil},
		{"tensor", []string{"fault"}},
		{"kernel", engine},
		{"graph", append(engine, "kernel")},
		{"internal/setting", []string{"fault"}},
		{"nn", append(network, "internal/setting")},
		{"data", engine},
		{"processor", append(engine, "data")},
		{"internal/blob", []string{"fault"}},
		{"model", append(network, "processor", "internal/blob")},
		{"train", append(artifact, "nn", "internal/setting")},
		{"family", append(artifact, "nn", "train", "internal/setting")},
		{"llm", append(network, "processor", "model")},
		{"internal/store", []string{"fault"}},
		{"internal/tenant", []string{"fault", "internal/store"}},
		{"internal/registry", []string{"fault", "model", "internal/blob", "internal/store", "internal/tenant"}},
		{"internal/serve", []string{"fault", "tensor", "model", "llm", "internal/tenant", "internal/registry"}},
		{"internal/api", served},
		{"internal/gateway", []string{"fault", "internal/tenant", "internal/serve", "internal/api"}},
		{"internal/message", []string{"fault"}},
		{"internal/client", []string{"fault", "tensor", "model", "internal/blob"}},
		{"internal/lint", nil},
	}
}

// inside reports whether pkg is folder or lies in it.
func inside(pkg, folder string) bool { return pkg == folder || strings.HasPrefix(pkg, folder+"/") }

// TestImportDirection: a package imports only rooms that its own may see. cmd is
// where everything is wired, and sees all. Tests are free but for what follows.
func TestImportDirection(t *testing.T) {
	for _, s := range sources(t) {
		if s.test() || inside(s.pkg, "cmd") || inside(s.pkg, "bench") || s.pkg == "" {
			continue
		}
		i := slices.IndexFunc(rooms(), func(r room) bool { return inside(s.pkg, r.folder) })
		if i < 0 {
			t.Errorf("%s: folder %s is not a room of the design", s.path, s.pkg)
			continue
		}
		r := rooms()[i]
		for _, imp := range s.file.Imports {
			path, _ := strconv.Unquote(imp.Path.Value)
			to, ours := strings.CutPrefix(path, "tandem/")
			if !ours || inside(to, r.folder) {
				continue
			}
			if !slices.ContainsFunc(r.may, func(f string) bool { return inside(to, f) }) {
				t.Errorf("%s imports %s, which %s must not see", s.path, path, r.folder)
			}
		}
	}
}

// TestStrangers: families do not know each other, nor do protocols and groups of
// operators, but for their common ground; training and serving do not either, in
// tests too.
func TestStrangers(t *testing.T) {
	siblings := map[string][]string{"family": nil, "internal/api": {"reply"}, "graph/op": {"move", "narrow", "optest"}}
	for _, s := range sources(t) {
		for _, imp := range s.file.Imports {
			path, _ := strconv.Unquote(imp.Path.Value)
			to, ours := strings.CutPrefix(path, "tandem/")
			if !ours {
				continue
			}
			for parent, common := range siblings {
				if a, b := child(s.pkg, parent), child(to, parent); a != "" && b != "" && a != b && !slices.Contains(common, b) {
					t.Errorf("%s imports its sibling %s", s.path, path)
				}
			}
			if (inside(to, "graph/op/optest") || inside(to, "model/gguf/gguftest")) && !s.test() {
				t.Errorf("%s imports %s, which is for tests", s.path, path)
			}
			if inside(s.pkg, "train") && inside(to, "internal/serve") || inside(s.pkg, "internal/serve") && (inside(to, "train") || inside(to, "family")) {
				t.Errorf("%s imports %s: training and serving meet only in cmd", s.path, path)
			}
		}
	}
}

// child is the folder directly under parent that holds pkg.
func child(pkg, parent string) string {
	rest, ok := strings.CutPrefix(pkg, parent+"/")
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}
