package llm_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/model/gguf/gguftest"
)

// TestExamplesRun runs the examples on the model that tells stories, and holds the user's
// documents to the first of them.
func TestExamplesRun(t *testing.T) {
	code, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(string(code), "func ExampleModel_Generate() {\n\t")
	body, _, _ = strings.Cut(body, "\n}\n")
	for _, page := range []string{"llm.md", "llm.zh.md"} {
		text, err := os.ReadFile(filepath.Join("..", "docs", page))
		if err != nil || !strings.Contains(string(text), "```go\n"+strings.ReplaceAll(body, "\n\t", "\n")+"\n```") {
			t.Errorf("%s has not the body of ExampleModel_Generate: %v", page, err)
		}
	}
	path := stories(t)
	dir := t.TempDir()
	gguftest.WithTemplate(t, path, filepath.Join(dir, "model.gguf"), "{{ bos_token }}{{ messages[-1].content }}")
	t.Chdir(dir)
	if said := printed(t, ExampleModel_Generate); len(said) < 100 {
		t.Errorf("a conversation: %q", said)
	}
	if said := printed(t, ExampleModel_Encode); !strings.HasPrefix(said, ", there was a little girl named Lily.") {
		t.Errorf("a text is gone on with: %q", said)
	}
}

// stories is the path of a real model.
func stories(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("TANDEM_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "data")
	}
	path, err := filepath.Abs(filepath.Join(dir, "stories260k", "stories260K.gguf"))
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Skip("NOT TESTED WITH A REAL MODEL: ", err)
	}
	return path
}

// printed is what f prints.
func printed(t *testing.T, f func()) string {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	stdout := os.Stdout
	os.Stdout = out
	f()
	os.Stdout = stdout
	if _, err := out.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
