package llm

import (
	"os"
	"path/filepath"
	"testing"

	"tandem/model/gguf"
)

// TestRecommendedSampling: what a model's files say of sampling, and what they leave
// out or say without meaning.
func TestRecommendedSampling(t *testing.T) {
	m := &Model{config: &Config{Vocab: 100}}
	if s := m.Sampling(); s.Temperature != 1 || s.TopP != 1 || s.TopK != 0 || s.MinP != 0 || s.Repetition != 0 {
		t.Errorf("of nothing: %+v", s)
	}
	if err := m.sampling.readJSON([]byte(`{"do_sample": true, "temperature": 0.6, "top_k": 20, "top_p": 7, "min_p": null, "repetition_penalty": 1.1, "eos_token_id": [1]}`)); err != nil {
		t.Fatal(err)
	}
	if s := m.Sampling(); s.Temperature != 0.6 || s.TopK != 20 || s.TopP != 1 || s.MinP != 0 || s.Repetition != 1.1 {
		t.Errorf("of JSON: %+v", s)
	}
	if err := m.sampling.readJSON([]byte(`{"temperature": "hot"}`)); err == nil {
		t.Error("a temperature of text is taken")
	}
	path := filepath.Join(t.TempDir(), "a.gguf")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	var meta gguf.Metadata
	meta.Set("general.architecture", "llama")
	meta.Set("general.sampling.temp", float32(0.5))
	meta.Set("general.sampling.top_k", int32(40))
	w, err := gguf.NewWriter(file, &meta, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	file.Close()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m.sampling = recommended{}
	if err := m.sampling.readGGUF(f.Metadata); err != nil {
		t.Fatal(err)
	}
	if s := m.Sampling(); s.Temperature != 0.5 || s.TopK != 40 || s.TopP != 1 {
		t.Errorf("of GGUF: %+v", s)
	}
}
