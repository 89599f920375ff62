package tokenizer

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"tandem/model/gguf"
)

// vocabularies is the folder of llama.cpp's vocabularies and test vectors, which
// lies in the source of the Python package llama-cpp-python under
// vendor/llama.cpp/models.
func vocabularies(t testing.TB) string {
	dir := os.Getenv("LLAMA_VOCABULARIES")
	if dir == "" {
		t.Skip("set LLAMA_VOCABULARIES to llama.cpp's folder models")
	}
	return dir
}

func openGGUF(t testing.TB, path string) *Tokenizer {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tok, err := FromGGUF(f.Metadata.Get)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// TestLlamaVectors: the tokens that llama.cpp expects of each of its vocabularies.
func TestLlamaVectors(t *testing.T) {
	outs, err := filepath.Glob(filepath.Join(vocabularies(t), "ggml-vocab-*.gguf.out"))
	if err != nil || len(outs) < 13 {
		t.Fatalf("%d files of test vectors, %v", len(outs), err)
	}
	for _, out := range outs {
		path := strings.TrimSuffix(out, ".out")
		t.Run(filepath.Base(path), func(t *testing.T) {
			tok := openGGUF(t, path)
			inputs, err := os.ReadFile(path + ".inp")
			if err != nil {
				t.Fatal(err)
			}
			expected, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			texts := strings.Split(string(inputs), "\n__ggml_vocab_test__\n")
			lines := strings.Split(strings.TrimSuffix(string(expected), "\n"), "\n")
			if len(texts) < len(lines) || len(lines) < 40 {
				t.Fatalf("%d texts, %d lines", len(texts), len(lines))
			}
			for i, line := range lines {
				var want []int
				for _, f := range strings.Fields(line) {
					id, err := strconv.Atoi(f)
					if err != nil {
						t.Fatal(err)
					}
					want = append(want, id)
				}
				if got := tok.EncodePlain(texts[i]); !slices.Equal(got, want) {
					t.Errorf("%q:\n got %v\nwant %v", texts[i], got, want)
				}
			}
		})
	}
}
