package llm

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"tandem/fault"
)

// hfConfig is what is read of a config.json. Older files and newer ones say the same
// things in different words.
type hfConfig struct {
	ModelType  string          `json:"model_type"`
	TextConfig json.RawMessage `json:"text_config"`

	Vocab    int     `json:"vocab_size"`
	Width    int     `json:"hidden_size"`
	WidthGPT int     `json:"n_embd"`
	Context  int     `json:"max_position_embeddings"`
	CtxGPT   int     `json:"n_positions"`
	Epsilon  float32 `json:"rms_norm_eps"`
	EpsGPT   float32 `json:"layer_norm_epsilon"`

	Layers      int    `json:"num_hidden_layers"`
	LayersGPT   int    `json:"n_layer"`
	Heads       int    `json:"num_attention_heads"`
	HeadsGPT    int    `json:"n_head"`
	KVHeads     int    `json:"num_key_value_heads"`
	HeadSize    int    `json:"head_dim"`
	FeedForward int    `json:"intermediate_size"`
	InnerGPT    int    `json:"n_inner"`
	Act         string `json:"hidden_act"`
	ActGemma    string `json:"hidden_activation"`
	ActGPT      string `json:"activation_function"`

	Window       *int     `json:"sliding_window"`
	UseWindow    *bool    `json:"use_sliding_window"`
	WindowLayers int      `json:"max_window_layers"`
	LayerTypes   []string `json:"layer_types"`
	Pattern      int      `json:"sliding_window_pattern"`
	Turned       []int    `json:"no_rope_layers"` // 1: the layer has positions

	Theta      float64         `json:"rope_theta"`
	ThetaLocal float64         `json:"rope_local_base_freq"`
	Scaling    json.RawMessage `json:"rope_scaling"`
	Rope       json.RawMessage `json:"rope_parameters"`
	Partial    float64         `json:"partial_rotary_factor"`
	Original   float64         `json:"original_max_position_embeddings"`

	QueryScale float64 `json:"query_pre_attn_scalar"`
	ScoreCap   float32 `json:"attn_logit_softcapping"`
	LogitCap   float32 `json:"final_logit_softcapping"`

	// Gemma 4
	GlobalHeadSize int              `json:"global_head_dim"`
	GlobalKVHeads  int              `json:"num_global_key_value_heads"`
	PerLayer       map[string]sizes `json:"per_layer_config"`
	PerLayerWidth  int              `json:"hidden_size_per_layer_input"`
	SharedKV       int              `json:"num_kv_shared_layers"`
	DoubleWide     bool             `json:"use_double_wide_mlp"`
	Experts        int              `json:"num_experts"`
	Quantised      map[string]any   `json:"quantization_config"`
	ropes          ropes
	Bidirectional  any `json:"use_bidirectional_attention"` // false, "vision" or "all"
}

// sizes are what one layer has of its own.
type sizes struct {
	HeadSize int `json:"head_dim"`
	KVHeads  int `json:"num_key_value_heads"`
}

// hfRope is one set of rotary parameters.
type hfRope struct {
	Type      string    `json:"rope_type"`
	OldType   string    `json:"type"`
	Theta     float64   `json:"rope_theta"`
	Factor    float64   `json:"factor"`
	Low       float64   `json:"low_freq_factor"`
	High      float64   `json:"high_freq_factor"`
	Original  float64   `json:"original_max_position_embeddings"`
	Partial   float64   `json:"partial_rotary_factor"`
	Short     []float64 `json:"short_factor"`
	Long      []float64 `json:"long_factor"`
	Attention float64   `json:"attention_factor"`
	Fast      float64   `json:"beta_fast"`
	Slow      float64   `json:"beta_slow"`
	Weight    float64   `json:"mscale"`
	WeightAll float64   `json:"mscale_all_dim"`
	Truncate  *bool     `json:"truncate"`
	// Temperature is how queries grow beyond the original context, in Ministral 3.
	Temperature float64 `json:"llama_4_scaling_beta"`
}

// yarn reads YaRN's parameters; scale is that of cosine and sine.
func (r *hfRope) yarn(context, original float64) (y yarn, scale float64) {
	y = yarn{factor: cmp.Or(r.Factor, context/original), original: original, fast: cmp.Or(r.Fast, 32), slow: cmp.Or(r.Slow, 1)}
	y.fractions = r.Truncate != nil && !*r.Truncate
	switch {
	case r.Attention != 0:
		return y, r.Attention
	case r.Weight != 0 && r.WeightAll != 0:
		return y, yarnScale(y.factor, r.Weight) / yarnScale(y.factor, r.WeightAll)
	}
	return y, yarnScale(y.factor, 1)
}

// parseHF reads a config.json. context is how many positions will be used: LongRoPE
// has one set of factors up to the context of the first training and one beyond.
func parseHF(text []byte, context int) (*Config, error) {
	const op = "llm.config"
	var h hfConfig
	if err := json.Unmarshal(text, &h); err != nil {
		return nil, fault.Wrap(fault.JSON("", text, err), op, fault.Invalid, "config.json cannot be read")
	}
	a, ok := findArch(func(a arch) bool { return slices.Contains(a.hf, h.ModelType) })
	if !ok {
		return nil, unknownArch(h.ModelType)
	}
	if len(h.TextConfig) > 0 { // of a model that sees or hears too
		if err := json.Unmarshal(h.TextConfig, &h); err != nil {
			return nil, fault.Wrap(fault.JSON("", h.TextConfig, err), op, fault.Invalid, "text_config in config.json cannot be read")
		}
	}
	if len(h.Quantised) > 0 {
		method, _ := h.Quantised["quant_method"].(string)
		return nil, fault.New(op, fault.Unsupported, "the weights are quantised by %.60q, which is not read from Hugging Face folders", method).
			Try("use the model's own weights in bfloat16 or float16, or a GGUF file")
	}
	if h.Experts > 0 && a.name == "gemma4" || h.Bidirectional == "all" || h.Bidirectional == true {
		return nil, fault.New(op, fault.Unsupported, "this model of %s has experts or sees what follows: neither is supported", a.name)
	}
	c := &Config{
		Arch: a.name, arch: a, Vocab: h.Vocab, Width: cmp.Or(h.Width, h.WidthGPT), Context: cmp.Or(h.Context, h.CtxGPT),
		Epsilon: cmp.Or(h.Epsilon, h.EpsGPT, 1e-6), LogitCap: h.LogitCap, PerLayerWidth: h.PerLayerWidth,
	}
	n := cmp.Or(h.Layers, h.LayersGPT)
	if n < 1 || n > maxLayers {
		return nil, fault.New(op, fault.Invalid, "config.json has %d layers, expected 1 to %d", n, maxLayers)
	}
	if err := h.checkActivation(a); err != nil {
		return nil, err
	}
	for i := range n {
		l, err := h.layer(c, i, n, context)
		if err != nil {
			return nil, fault.Wrap(err, op, foreign(err), "layer %d of config.json", i)
		}
		c.Layers = append(c.Layers, l)
	}
	h.share(c)
	if err := h.bound(c); err != nil {
		return nil, fault.Wrap(err, op, fault.Invalid, "config.json")
	}
	return c, c.check()
}

// bound sets the context to what rotary positions reach: with YaRN the original one
// times its factor, which a file may not have in max_position_embeddings; and the
// original one where queries would grow beyond it.
func (h *hfConfig) bound(c *Config) error {
	r, err := h.parameters(false)
	if err != nil {
		return err
	}
	original := cmp.Or(r.Original, h.Original)
	if kind := cmp.Or(r.Type, r.OldType); kind == "yarn" && original > 0 {
		if reach := original * r.Factor; reach > float64(c.Context) && reach <= maxContext {
			c.Context = int(reach)
		}
	}
	if r.Temperature != 0 && original > 0 && original < float64(c.Context) {
		c.Context = int(original)
	}
	return nil
}

// foreign is the kind of an error in what a file says: Invalid unless it has one.
func foreign(err error) fault.Kind {
	if kind := fault.KindOf(err); kind != fault.Internal {
		return kind
	}
	return fault.Invalid
}

func unknownArch(name string) error {
	return fault.New("llm.config", fault.Unsupported, "models of the architecture %.60q cannot be opened", name).
		Try("use a model of one of these: " + strings.Join(archNames(), ", "))
}

func (h *hfConfig) checkActivation(a arch) error {
	want := map[activation][]string{silu: {"silu", "swish"}, geluTanh: {"gelu_pytorch_tanh", "gelu_new"}}[a.act]
	if got := cmp.Or(h.ActGemma, h.Act, h.ActGPT, want[0]); !slices.Contains(want, got) {
		return fault.New("llm.config", fault.Unsupported, "the activation %.60q is not the one of %s, which is %s", got, a.name, want[0])
	}
	return nil
}

// layer reads layer i of n.
func (h *hfConfig) layer(c *Config, i, n, context int) (Layer, error) {
	heads := cmp.Or(h.Heads, h.HeadsGPT)
	if heads < 1 {
		return Layer{}, fmt.Errorf("there are %d heads", heads)
	}
	l := Layer{
		Heads: heads, KVHeads: cmp.Or(h.KVHeads, heads), HeadSize: cmp.Or(h.HeadSize, c.Width/heads),
		FeedForward: cmp.Or(h.FeedForward, h.InnerGPT, 4*c.Width), ScoreCap: h.ScoreCap, Shares: -1,
	}
	local := h.windowed(c.arch, i)
	if local {
		l.Window = *h.Window
	} else {
		own := h.own(i)
		l.HeadSize = cmp.Or(h.GlobalHeadSize, own.HeadSize, l.HeadSize)
		l.KVHeads = cmp.Or(h.GlobalKVHeads, own.KVHeads, l.KVHeads)
	}
	if h.DoubleWide && i >= n-h.SharedKV {
		l.FeedForward *= 2
	}
	l.Scale = float32(1 / math.Sqrt(cmp.Or(h.QueryScale, float64(l.HeadSize))))
	if c.arch.unitScale {
		l.Scale = 1
	}
	turned := c.arch.norm != layerNorm
	if i < len(h.Turned) {
		turned = h.Turned[i] != 0
	} else if e := c.arch.unturnedEvery; e > 0 {
		turned = (i+1)%e != 0
	}
	if turned {
		var err error
		l.Rope, err = h.ropes.of(l.HeadSize, local, func() (*Rope, error) { return h.rope(c, l.HeadSize, local, context) })
		return l, err
	}
	return l, nil
}

// own are the sizes that the file gives for layer i; its keys may have leading zeros.
func (h *hfConfig) own(i int) sizes {
	for key, s := range h.PerLayer {
		if n, err := strconv.Atoi(key); err == nil && n == i {
			return s
		}
	}
	return sizes{}
}

// windowed tells whether a layer sees a window only.
func (h *hfConfig) windowed(a arch, i int) bool {
	switch {
	case h.Window == nil || *h.Window < 1 || h.UseWindow != nil && !*h.UseWindow:
		return false
	case i < len(h.LayerTypes):
		return h.LayerTypes[i] == "sliding_attention"
	case h.UseWindow != nil: // Qwen: the first layers see all
		return i >= h.WindowLayers
	}
	every := cmp.Or(h.Pattern, a.windowEvery)
	return every == 0 || (i+1)%every != 0
}

// share points the last layers to the one before them, of the same kind, that has
// keys and values.
func (h *hfConfig) share(c *Config) {
	shareKV(c, len(c.Layers)-h.SharedKV)
}

// shareKV makes the layers from first on read the keys and values of the last layer
// before first that has a window as they do, or has none as they do.
func shareKV(c *Config, first int) {
	for i := max(first, 0); i < len(c.Layers); i++ {
		for j := first - 1; j >= 0; j-- {
			if (c.Layers[j].Window > 0) == (c.Layers[i].Window > 0) {
				c.Layers[i].Shares = j
				break
			}
		}
	}
}

// rope reads the rotary parameters of layers with or without a window.
func (h *hfConfig) rope(c *Config, size int, local bool, context int) (*Rope, error) {
	r, err := h.parameters(local)
	if err != nil {
		return nil, err
	}
	theta := cmp.Or(r.Theta, h.Theta, 10_000)
	if local && r.Theta == 0 {
		theta = cmp.Or(h.ThetaLocal, c.arch.localBase, theta)
	}
	kind := cmp.Or(r.Type, r.OldType, "default")
	part := cmp.Or(r.Partial, h.Partial, 1)
	if size < 1 || size > maxWidth || !(part > 0 && part <= 1) || !(theta > 0) {
		return nil, fmt.Errorf("rotary positions of base %g turn %g of a head of %d", theta, part, size)
	}
	turned := int(float64(size)*part) &^ 1
	out := &Rope{Scale: 1, Frequencies: powers(theta, turned, turned)}
	original := cmp.Or(r.Original, h.Original, float64(c.Context))
	switch kind {
	case "default":
	case "linear":
		for i := range out.Frequencies {
			out.Frequencies[i] /= cmp.Or(r.Factor, 1)
		}
	case "llama3":
		out.Frequencies = stretch(out.Frequencies, cmp.Or(r.Factor, 1), cmp.Or(r.Low, 1), cmp.Or(r.High, 4), original)
	case "proportional": // as many pairs as without, of which the last stand still
		out.Frequencies = powers(theta, size, size)
		clear(out.Frequencies[int(part*float64(size))/2:])
	case "longrope", "su":
		factors := r.Short
		if float64(context) > original {
			factors = r.Long
		}
		if out.Frequencies, err = divided(out.Frequencies, factors); err != nil {
			return nil, err
		}
		out.Scale = cmp.Or(r.Attention, longScale(cmp.Or(r.Factor, float64(c.Context)/original), original))
	case "yarn":
		y, scale := r.yarn(float64(c.Context), original)
		if err := y.check(theta); err != nil {
			return nil, err
		}
		out.Frequencies, out.Scale = y.stretch(out.Frequencies, theta), scale
	default:
		return nil, fault.New("llm.config", fault.Unsupported, "rotary positions of the type %.60q are not supported", kind)
	}
	return out, nil
}

// parameters finds them: in rope_parameters, which may have one set for each kind of
// layer, or in rope_scaling.
func (h *hfConfig) parameters(local bool) (r hfRope, err error) {
	text := h.Rope
	if len(text) == 0 {
		if text = h.Scaling; len(text) == 0 || local && h.ThetaLocal != 0 {
			return r, nil
		}
	}
	var each struct {
		Full  json.RawMessage `json:"full_attention"`
		Local json.RawMessage `json:"sliding_attention"`
	}
	if err := json.Unmarshal(text, &each); err != nil {
		return r, err
	}
	if len(each.Full) > 0 {
		if text = each.Full; local {
			text = each.Local
		}
	}
	if len(text) == 0 {
		return r, nil
	}
	return r, json.Unmarshal(text, &r)
}
