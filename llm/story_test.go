package llm

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"tandem/kernel"
	"tandem/model/gguf"
)

// storiesFile is the model that Andrej Karpathy trained to tell children's stories.
func storiesFile(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("TANDEM_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "data")
	}
	path := filepath.Join(dir, "stories260k", "stories260K.gguf")
	if _, err := os.Stat(path); err != nil {
		t.Skip("NOT TESTED WITH A REAL MODEL: ", err)
	}
	return path
}

// TestStory: a real model tells its story token for token as llama.cpp does
// (bench/llm_llama.py story).
func TestStory(t *testing.T) {
	var want struct {
		Prompt string
		Before []int `json:"prompt_tokens"`
		Tokens []int
		Text   string
	}
	text, err := os.ReadFile("testdata/stories260k.json")
	if err == nil {
		err = json.Unmarshal(text, &want)
	}
	if err != nil {
		t.Fatal(err)
	}
	m, err := Open(storiesFile(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	prompt := m.Encode(want.Prompt)
	if !slices.Equal(prompt, want.Before) {
		t.Errorf("the prompt is %v, expected %v", prompt, want.Before)
	}
	var ids []int
	said := ""
	for p, err := range m.Generate(context.Background(), Request{Prompt: prompt, MaxTokens: len(want.Tokens), Sampling: Sampling{Logprobs: -1}}) {
		if err != nil {
			t.Fatal(err)
		}
		ids, said = append(ids, p.ID), said+p.Text
	}
	if !slices.Equal(ids, want.Tokens) || said != want.Text {
		t.Errorf("the story is\n%v\n%s\nexpected\n%v\n%s", ids, said, want.Tokens, want.Text)
	}
}

// TestBFloat16Story: where a processor multiplies bfloat16, rows are rounded to it, which
// moves answers less than rounding the weights has done.
func TestBFloat16Story(t *testing.T) {
	src, err := gguf.Open(storiesFile(t))
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	mix, err := gguf.MixOf("bf16")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "bf16.gguf")
	if err := gguf.Quantize(context.Background(), src, path, mix, nil); err != nil {
		t.Fatal(err)
	}
	var told struct{ Tokens []int }
	text, err := os.ReadFile("testdata/stories260k.json")
	if err == nil {
		err = json.Unmarshal(text, &told)
	}
	if err != nil {
		t.Fatal(err)
	}
	pool := kernel.NewPool(2, kernel.Detect())
	defer pool.Close()
	stretches := [][]int{told.Tokens[:200]}
	full := logprobsOf(t, pool, storiesFile(t), false, stretches)
	rounded, exact := logprobsOf(t, pool, path, false, stretches), logprobsOf(t, pool, path, true, stretches)
	activations, weights := mean(divergences(exact, rounded)), mean(divergences(full, exact))
	t.Logf("%v: by activations %.3g nats, by weights %.3g", pool.Tier(), activations, weights)
	if !(activations <= weights) || weights == 0 {
		t.Errorf("rounding activations moves answers by %.3g nats, rounding weights by %.3g", activations, weights)
	}
}
