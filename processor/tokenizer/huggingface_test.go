package tokenizer

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// cases is a folder of tokenizers and of what Hugging Face's library makes of texts,
// which bench/tokenizer_cases.py writes: TOKENIZER_CASES if it is set, else a small
// one made here with the environment for tests.
func cases(t *testing.T) string {
	if dir := os.Getenv("TOKENIZER_CASES"); dir != "" {
		return dir
	}
	python, err := filepath.Abs("../../bench/.venv/bin/python")
	if err != nil {
		t.Fatal(err)
	}
	if err := exec.Command(python, "-c", "import tokenizers").Run(); err != nil {
		t.Skip("bench/.venv has no tokenizers package: make unit installs it")
	}
	dir := t.TempDir()
	if out, err := exec.Command(python, "../../bench/tokenizer_cases.py", dir, "--count", "400").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// TestEqualsHuggingFace: the same tokens, and the same text of them.
func TestEqualsHuggingFace(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(cases(t), "*.json"))
	if err != nil || len(files) < 15 {
		t.Fatalf("%d tokenizers, %v", len(files), err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".json"), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			tok, err := FromJSON(data)
			if err != nil {
				t.Fatal(err)
			}
			file, err := os.Open(strings.TrimSuffix(path, ".json") + ".cases")
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			n, bad := 0, 0
			for s := bufio.NewReader(file); ; n++ {
				line, err := s.ReadBytes('\n')
				if err != nil {
					break
				}
				var text, back string
				var want []int
				if err := json.Unmarshal(line, &[]any{&text, &want, &back}); err != nil {
					t.Fatal(err)
				}
				if got := tok.Encode(text, true); !slices.Equal(got, want) {
					if bad++; bad <= 5 {
						t.Errorf("%q:\n got %v %q\nwant %v", text, got, texts(tok, got), want)
					}
				} else if got := tok.Decode(want, false); got != back {
					if bad++; bad <= 5 {
						t.Errorf("%q decodes to\n%q, want\n%q", text, got, back)
					}
				}
			}
			if n == 0 || bad > 5 {
				t.Errorf("%d of %d differ", bad, n)
			}
		})
	}
}

func texts(t *Tokenizer, ids []int) (all []string) {
	for _, id := range ids {
		all = append(all, t.Text(id))
	}
	return all
}
