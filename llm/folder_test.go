package llm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/fault"
	"tandem/model/gguf"
	"tandem/tensor/block"
)

// TestIncompleteFolders: what a folder lacks is named, with what can be done.
func TestIncompleteFolders(t *testing.T) {
	config := string(readRecorded(t, "testdata/transformers/qwen3.json").Config)
	const tokenizer = `{"model":{"type":"WordPiece","unk_token":"u","continuing_subword_prefix":"#","max_input_chars_per_word":9,"vocab":{"u":0}}}`
	for _, tc := range []struct {
		name  string
		files map[string]string
		want  string // of the message and the remedy
	}{
		{"empty", nil, "is no Hugging Face folder: it has no config.json (give a .gguf file, or a folder"},
		{"beside a GGUF file", map[string]string{"m.gguf": ""}, "has no config.json (give the path of a .gguf file, such as"},
		{"no tokenizer", map[string]string{configFile: config}, "has no tokenizer.json (fetch all files"},
		{"an older tokenizer", map[string]string{configFile: config, "tokenizer.model": "x"}, "has no tokenizer.json (let transformers write it"},
		{"no weights", map[string]string{configFile: config, tokenizerFile: tokenizer}, "has no model.safetensors (fetch all files"},
		{"pickled weights", map[string]string{configFile: config, tokenizerFile: tokenizer, "pytorch_model.bin": "x"}, "has no model.safetensors (save the model as safetensors"},
		{"no shard", map[string]string{configFile: config, tokenizerFile: tokenizer, shardIndex: `{"weight_map":{"a":"model-00002-of-00002.safetensors"}}`},
			"has no model-00002-of-00002.safetensors (fetch all files"},
		{"a shard elsewhere", map[string]string{configFile: config, tokenizerFile: tokenizer, shardIndex: `{"weight_map":{"a":"../x.safetensors"}}`}, "not a plain name"},
		{"damaged weights", map[string]string{configFile: config, tokenizerFile: tokenizer, "model.safetensors": "x"}, "fetch or write it again"},
		{"quantised", map[string]string{configFile: strings.Replace(config, "{", `{"quantization_config":{"quant_method":"awq","bits":4},`, 1)}, `quantised by "awq"`},
	} {
		dir := t.TempDir()
		for name, text := range tc.files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, err := Open(dir, Options{})
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, expected %q", tc.name, err, tc.want)
		}
		if _, alone := err.(*fault.Error); !alone {
			t.Errorf("%s: a %T", tc.name, err)
		}
		if tc.name == "damaged weights" {
			continue // weights are looked at where they are opened
		}
		if _, _, err := Artifact(t.Context(), dir); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s, as an artifact: %v, expected %q", tc.name, err, tc.want)
		}
	}
}

// TestUnknownEncoding: a tensor that cannot be read is named, once.
func TestUnknownEncoding(t *testing.T) {
	const nonlinear = block.Format(20) // IQ4_NL
	f := &gguf.File{Tensors: []gguf.Tensor{{Name: "blk.0.ffn_up.weight", Format: nonlinear, Shape: []int{1, 32}, Data: make([]byte, 18)}}}
	err := newWeights().addGGUF(f)
	if fault.KindOf(err) != fault.Unsupported || strings.Count(err.Error(), "blk.0.ffn_up.weight") != 1 || !strings.Contains(err.Error(), "IQ4_NL") {
		t.Error(err)
	}
}

// TestCacheOfFewSequences: who answers one request at a time has a cache for one.
func TestCacheOfFewSequences(t *testing.T) {
	for sequences, want := range map[int]int{0: 4096, 1: 1024, 3: 3072, 16: 4096} {
		if got := (Limits{MaxSequences: sequences}).withDefaults(1024).CacheTokens; got != want {
			t.Errorf("%d sequences: a cache of %d tokens, expected %d", sequences, got, want)
		}
	}
}

// TestMaxContext: a model that was made for less than the most has its own context.
func TestMaxContext(t *testing.T) {
	for most, want := range map[int]int{0: 128, 1 << 20: 128, 32: 32} {
		if m := small(t, "llama2", Options{MaxContext: most}); m.Context() != want {
			t.Errorf("at most %d: a context of %d, expected %d", most, m.Context(), want)
		}
	}
}
