//go:build unix

package onnx

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPipesAreNotOpened: opening one would wait for a writer for ever.
func TestPipesAreNotOpened(t *testing.T) {
	dir := t.TempDir()
	must(t, unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	path := filepath.Join(dir, "m.onnx")
	must(t, os.WriteFile(path, model(external("location", "pipe")), 0o600))
	for _, p := range []string{path, filepath.Join(dir, "pipe")} {
		if _, _, err := Load(p, LoadOptions{}); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s: %v", p, err)
		}
	}
}
