package llm

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"tandem/graph/op"
	"tandem/model/gguf"
)

// TestGGUFEqualsLlamaCpp compares GGUF files with what llama.cpp answers with them:
// make llm-parity makes both.
func TestGGUFEqualsLlamaCpp(t *testing.T) {
	dir := os.Getenv("LLM_MODELS")
	if dir == "" {
		t.Skip("LLM_MODELS does not name a folder made by bench/llm_make.py and bench/llm_llama.py")
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*", "llama.json"))
	if len(files) < 10 {
		t.Fatalf("%d models in %s", len(files), dir)
	}
	for _, path := range files {
		t.Run(filepath.Base(filepath.Dir(path)), func(t *testing.T) {
			f, err := gguf.Open(filepath.Join(filepath.Dir(path), "model.gguf"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			const context = 128
			c, err := parseGGUF(f, context)
			if err != nil {
				t.Fatal(err)
			}
			w := newWeights()
			if err := w.addGGUF(f); err != nil {
				t.Fatal(err)
			}
			g, err := buildDecoder(c, w, op.Default(), 1, context)
			if err != nil {
				t.Fatal(err)
			}
			r := readRecorded(t, path)
			got := feed(t, compiled(t, g), r.Tokens, len(r.Tokens))
			name := filepath.Base(filepath.Dir(path))
			switch name {
			case "mistral", "qwen3-yarn", "gemma3-scale", "phi3-long":
				// The file says nothing of the window, of bounds that are no whole numbers, or
				// of the scale of scores; or the context is another.
			default:
				compare(t, got, readRecorded(t, filepath.Join(filepath.Dir(path), "expected.json")), 1e-3)
			}
			if name == "llama-yarn" { // llama.cpp reads bounds and scale of YaRN for Mistral 3 alone
				return
			}
			room := testRoom(t)
			for i, row := range got {
				got[i] = room.normalise(nil, row, true)
			}
			if c.Arch == "phi3" && c.Layers[0].Window > 0 { // llama.cpp leaves the window out
				n := slices.IndexFunc(r.Rows, func(row int) bool { return row >= c.Layers[0].Window })
				r.Rows, r.Logits = r.Rows[:n], r.Logits[:n]
			}
			bound := 1e-3
			if c.arch.act == geluTanh {
				bound = 0.02 // llama.cpp looks the function up in a table of f16
			}
			compare(t, got, r, bound)
		})
	}
}
