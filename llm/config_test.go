package llm

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/fault"
	"tandem/graph/op"
	"tandem/model/gguf"
)

// TestForeignConfigs: what cannot be a model is refused, with a kind that says so.
func TestForeignConfigs(t *testing.T) {
	const start = `{"model_type":"llama","vocab_size":8,"hidden_size":8,"num_hidden_layers":1,"num_attention_heads":2,"intermediate_size":8,"max_position_embeddings":16`
	if _, err := parseHF([]byte(start+"}"), 0); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		text string
		kind fault.Kind
	}{
		{`{`, fault.Invalid}, {`[]`, fault.Invalid},
		{`{"model_type":"mamba"}`, fault.Unsupported},
		{start + `,"hidden_act":"relu"}`, fault.Unsupported},
		{start + `,"num_hidden_layers":100000}`, fault.Invalid},
		{start + `,"num_hidden_layers":-1}`, fault.Invalid},
		{start + `,"head_dim":1000000000000}`, fault.Invalid},
		{start + `,"head_dim":-4}`, fault.Invalid},
		{start + `,"partial_rotary_factor":-1}`, fault.Invalid},
		{start + `,"num_key_value_heads":3}`, fault.Invalid},
		{start + `,"vocab_size":-1}`, fault.Invalid},
		{start + `,"rms_norm_eps":-1}`, fault.Invalid},
		{start + `,"rope_scaling":{"type":"dynamic","factor":2}}`, fault.Unsupported},
		{start + `,"rope_scaling":{"type":"yarn","factor":-1}}`, fault.Invalid},
		{start + `,"rope_scaling":{"type":"yarn","factor":2,"beta_fast":-1}}`, fault.Invalid},
		{start + `,"rope_theta":1,"rope_scaling":{"type":"yarn","factor":2}}`, fault.Invalid},
		{start + `,"rope_scaling":{"type":"longrope","short_factor":[1]}}`, fault.Invalid},
	} {
		_, err := parseHF([]byte(tc.text), 0)
		if kind := fault.KindOf(err); err == nil || kind != tc.kind {
			t.Errorf("%s: %v (%v)", tc.text, err, kind)
		}
	}
}

// TestContextOfYaRN: the context reaches as far as positions do, and no farther than
// queries of Ministral 3 stay as they are.
func TestContextOfYaRN(t *testing.T) {
	const start = `{"model_type":"llama","vocab_size":8,"hidden_size":8,"num_hidden_layers":1,"num_attention_heads":2,"intermediate_size":8,"max_position_embeddings":64`
	for extra, want := range map[string]int{
		`}`: 64,
		`,"rope_scaling":{"type":"yarn","factor":4,"original_max_position_embeddings":32}}`:                                   128,
		`,"rope_scaling":{"type":"yarn","factor":2,"original_max_position_embeddings":16}}`:                                   64,
		`,"rope_parameters":{"type":"yarn","factor":4,"original_max_position_embeddings":16,"llama_4_scaling_beta":0.1}}`:     16,
		`,"rope_parameters":{"type":"yarn","factor":1e300,"original_max_position_embeddings":32,"llama_4_scaling_beta":0.1}}`: 0,
	} {
		c, err := parseHF([]byte(start+extra), 0)
		if want == 0 {
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("%s: %v", extra, err)
			}
			continue
		}
		if err != nil || c.Context != want {
			t.Errorf("%s: %v, expected a context of %d", extra, err, want)
		}
	}
}

// TestUnusedTensorsAreRefused: a model with tensors that the graph does not read is not
// what it seems; one that lacks some is not complete.
func TestUnusedTensorsAreRefused(t *testing.T) {
	r := readRecorded(t, "testdata/transformers/qwen3.json")
	c, err := parseHF(r.Config, 16)
	if err != nil {
		t.Fatal(err)
	}
	w := r.weights(t, c)
	if err := w.addHF(c.arch, "model.layers.0.mlp.experts.0.gate_proj.weight", formula("x", []int{2, 2}, false)); err != nil {
		t.Fatal(err)
	}
	if _, err := buildDecoder(c, w, op.Default(), 1, 16); fault.KindOf(err) != fault.Unsupported || !strings.Contains(err.Error(), "experts") {
		t.Error(err)
	}
	w = r.weights(t, c)
	delete(w.byName, "blk.1.ffn_norm.weight")
	if _, err := buildDecoder(c, w, op.Default(), 1, 16); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "blk.1.ffn_norm") {
		t.Error(err)
	}
}

// FuzzConfigJSON: no config.json breaks the reader or makes it take much memory.
func FuzzConfigJSON(f *testing.F) {
	files, _ := filepath.Glob("testdata/transformers/*.json")
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		_, config, _ := strings.Cut(string(text), `"config": `)
		config, _, _ = strings.Cut(config, `, "tensors"`)
		f.Add(config, 64)
	}
	f.Fuzz(func(t *testing.T, text string, context int) {
		if c, err := parseHF([]byte(text), context); err == nil && c.check() != nil {
			t.Error("a config that is not valid is let in")
		}
	})
}

// TestListsOfLayers: one that is too short or far too long is refused, in a moment.
func TestListsOfLayers(t *testing.T) {
	for _, n := range []int{2, maxLayers + 1} {
		m := &gguf.Metadata{}
		for key, v := range map[string]any{
			"general.architecture": "llama", "llama.block_count": uint32(3), "llama.embedding_length": uint32(8), "llama.context_length": uint32(8),
			"llama.feed_forward_length": uint32(8), "llama.attention.head_count": slices.Repeat([]uint32{1}, n),
		} {
			m.Set(key, v)
		}
		if _, err := parseGGUF(&gguf.File{Metadata: m}, 16); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "elements for layer") {
			t.Errorf("%d: %v", n, err)
		}
	}
}

// FuzzConfigGGUF: no metadata breaks the reader.
func FuzzConfigGGUF(f *testing.F) {
	f.Add("gemma4", int64(2), int64(64), int64(4), int64(2), int64(16), int64(8), 1e4)
	f.Add("llama", int64(1), int64(8), int64(1), int64(1), int64(-1), int64(1<<40), -1.0)
	f.Fuzz(func(t *testing.T, arch string, layers, width, heads, kv, size, turned int64, base float64) {
		m := &gguf.Metadata{}
		m.Set("general.architecture", arch)
		for key, v := range map[string]any{
			"block_count": layers, "embedding_length": width, "attention.head_count": heads, "attention.head_count_kv": kv,
			"attention.key_length": size, "rope.dimension_count": turned, "rope.freq_base": base, "context_length": width,
			"feed_forward_length": width, "attention.sliding_window": size, "attention.shared_kv_layers": kv,
		} {
			m.Set(arch+"."+key, v)
		}
		if c, err := parseGGUF(&gguf.File{Metadata: m}, 16); err == nil && c.check() != nil {
			t.Error("a config that is not valid is let in")
		}
	})
}
