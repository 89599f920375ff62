package llm

// arch is what the models of one architecture have in common and their files do not
// say. What a file does say (sizes, biases, tied embeddings, norms of queries and
// keys, fused matrices) is read from it.
type arch struct {
	name string   // as GGUF's general.architecture says it
	hf   []string // as config.json's model_type says it
	norm normKind
	act  activation
	// permuted: GGUF's converter has reordered the rows of queries and keys, so
	// that rotary positions turn neighbours and not halves.
	permuted bool
	// normOffset: the weights of norms in a Hugging Face folder lack 1.
	normOffset bool
	// embedScale: embeddings are multiplied by the root of their width.
	embedScale bool
	// unitScale: scores are not divided by the root of a head's size.
	unitScale bool
	// meanScaleLayers: a GGUF file with so many layers means a model that divides
	// scores by the root of width/heads and not of a head's size; 0: none.
	meanScaleLayers int
	// valueNorm: values are normalised too, without weights.
	valueNorm bool
	// windowEvery: of so many layers all but the last see a window, unless the file
	// has a list of its own. 0: all of them, where the file has a window.
	windowEvery int
	// localBase is the base of rotary positions in layers with a window, unless the
	// file has one; 0: that of the others.
	localBase float64
	// unturnedEvery: of so many layers the last has no positions; 0: none.
	unturnedEvery int
	// columns: matrices in a Hugging Face folder are [inputs, outputs].
	columns bool
	// names are the tensors' names in Hugging Face folders.
	names []naming
}

type normKind int

const (
	rmsNorm normKind = iota
	layerNorm
)

type activation int

const (
	silu activation = iota
	geluTanh
)

// naming pairs a name in a Hugging Face folder with GGUF's; * is a layer's number.
// Both go without ".weight" and ".bias".
type naming struct{ hf, gguf string }

// archs is the table of architectures.
func archs() []arch {
	plain := llamaNames()
	gemma := gemmaNames()
	return []arch{
		{name: "llama", hf: []string{"llama", "mistral"}, permuted: true, names: plain},
		{name: "mistral3", hf: []string{"ministral3", "mistral3"}, permuted: true, names: plain},
		{name: "qwen2", hf: []string{"qwen2"}, names: plain},
		{name: "qwen3", hf: []string{"qwen3"}, names: plain},
		{name: "smollm3", hf: []string{"smollm3"}, permuted: true, unturnedEvery: 4, names: plain},
		{name: "phi3", hf: []string{"phi3"}, names: phiNames()},
		{name: "gpt2", hf: []string{"gpt2"}, norm: layerNorm, act: geluTanh, columns: true, names: gptNames()},
		{name: "gemma3", hf: []string{"gemma3_text", "gemma3"}, act: geluTanh, normOffset: true, embedScale: true,
			windowEvery: 6, localBase: 10_000, meanScaleLayers: 62, names: gemma},
		{name: "gemma4", hf: []string{"gemma4_text", "gemma4"}, act: geluTanh, embedScale: true, unitScale: true,
			valueNorm: true, windowEvery: 6, localBase: 10_000, names: gemma},
	}
}

func findArch(match func(arch) bool) (arch, bool) {
	for _, a := range archs() {
		if match(a) {
			return a, true
		}
	}
	return arch{}, false
}

// archNames lists what can be opened, for messages.
func archNames() []string {
	var list []string
	for _, a := range archs() {
		list = append(list, a.name)
	}
	return list
}

func llamaNames() []naming {
	return []naming{
		{"model.embed_tokens", "token_embd"},
		{"model.norm", "output_norm"},
		{"lm_head", "output"},
		{"model.layers.*.input_layernorm", "blk.*.attn_norm"},
		{"model.layers.*.self_attn.q_proj", "blk.*.attn_q"},
		{"model.layers.*.self_attn.k_proj", "blk.*.attn_k"},
		{"model.layers.*.self_attn.v_proj", "blk.*.attn_v"},
		{"model.layers.*.self_attn.o_proj", "blk.*.attn_output"},
		{"model.layers.*.self_attn.q_norm", "blk.*.attn_q_norm"},
		{"model.layers.*.self_attn.k_norm", "blk.*.attn_k_norm"},
		{"model.layers.*.post_attention_layernorm", "blk.*.ffn_norm"},
		{"model.layers.*.mlp.gate_proj", "blk.*.ffn_gate"},
		{"model.layers.*.mlp.up_proj", "blk.*.ffn_up"},
		{"model.layers.*.mlp.down_proj", "blk.*.ffn_down"},
	}
}

// phiNames: one matrix makes queries, keys and values; another both halves of the
// feed-forward network.
func phiNames() []naming {
	return append([]naming{
		{"model.layers.*.self_attn.qkv_proj", "blk.*.attn_qkv"},
		{"model.layers.*.mlp.gate_up_proj", "blk.*.ffn_up"},
	}, llamaNames()...)
}

// gemmaNames: norms before and after, and Gemma 4's embeddings for each layer.
func gemmaNames() []naming {
	return append([]naming{
		{"model.layers.*.post_attention_layernorm", "blk.*.post_attention_norm"},
		{"model.layers.*.pre_feedforward_layernorm", "blk.*.ffn_norm"},
		{"model.layers.*.post_feedforward_layernorm", "blk.*.post_ffw_norm"},
		{"model.embed_tokens_per_layer", "per_layer_token_embd"},
		{"model.per_layer_model_projection", "per_layer_model_proj"},
		{"model.per_layer_projection_norm", "per_layer_proj_norm"},
		{"model.layers.*.per_layer_input_gate", "blk.*.inp_gate"},
		{"model.layers.*.per_layer_projection", "blk.*.proj"},
		{"model.layers.*.post_per_layer_input_norm", "blk.*.post_norm"},
		{"model.layers.*.layer_scalar", "blk.*.layer_output_scale.weight"},
	}, llamaNames()...)
}

func gptNames() []naming {
	return []naming{
		{"wte", "token_embd"},
		{"wpe", "position_embd"},
		{"ln_f", "output_norm"},
		{"lm_head", "output"},
		{"h.*.ln_1", "blk.*.attn_norm"},
		{"h.*.attn.c_attn", "blk.*.attn_qkv"},
		{"h.*.attn.c_proj", "blk.*.attn_output"},
		{"h.*.ln_2", "blk.*.ffn_norm"},
		{"h.*.mlp.c_fc", "blk.*.ffn_up"},
		{"h.*.mlp.c_proj", "blk.*.ffn_down"},
	}
}
