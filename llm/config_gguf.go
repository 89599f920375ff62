package llm

import (
	"cmp"
	"fmt"
	"math"

	"tandem/fault"
	"tandem/model/gguf"
)

// ggufConfig reads the metadata of one file. The first error sticks.
type ggufConfig struct {
	file  *gguf.File
	arch  arch
	ropes ropes
	err   error
}

// parseGGUF reads the sizes of a GGUF file's model. context is how many positions
// will be used: LongRoPE has one set of factors up to the context of the first
// training and one beyond.
func parseGGUF(f *gguf.File, context int) (*Config, error) {
	const op = "llm.config"
	name, err := f.Metadata.Text("general.architecture")
	if err != nil {
		return nil, fault.From(err, op)
	}
	a, ok := findArch(func(a arch) bool { return a.name == name })
	if !ok {
		return nil, unknownArch(name)
	}
	g := &ggufConfig{file: f, arch: a}
	c := &Config{
		Arch: a.name, arch: a, Width: g.int("embedding_length", 0), Context: g.int("context_length", 0),
		Epsilon:       float32(g.float("attention.layer_norm_rms_epsilon", g.float("attention.layer_norm_epsilon", 1e-5))),
		LogitCap:      float32(g.float("final_logit_softcapping", 0)),
		PerLayerWidth: g.int("embedding_length_per_layer_input", 0),
	}
	if t, ok := f.Tensor("token_embd.weight"); ok && len(t.Shape) == 2 {
		c.Vocab = t.Shape[0]
	}
	n := g.int("block_count", 0)
	if n < 1 || n > maxLayers {
		return nil, fault.New(op, fault.Invalid, "the file's model has %d layers, expected 1 to %d", n, maxLayers)
	}
	if g.int("expert_count", 0) > 0 {
		return nil, fault.New(op, fault.Unsupported, "this model of %s has experts, which are not supported", a.name)
	}
	for i := range n {
		c.Layers = append(c.Layers, g.layer(c, i, n, context))
	}
	shareKV(c, n-g.int("attention.shared_kv_layers", 0))
	if g.float("attention.temperature_scale", 0) != 0 { // queries would grow beyond the original context
		c.Context = min(c.Context, g.int("rope.scaling.original_context_length", c.Context))
	}
	if g.err != nil {
		return nil, fault.Wrap(g.err, op, foreign(g.err), "")
	}
	if len(f.Tensors) == 0 {
		return nil, fault.New(op, fault.Invalid, "the file has a vocabulary and no weights").Try("use the file of the model itself")
	}
	return c, c.check()
}

func (g *ggufConfig) key(name string) string { return g.arch.name + "." + name }

func (g *ggufConfig) fail(err error) {
	if g.err == nil {
		g.err = err
	}
}

func (g *ggufConfig) int(name string, def int) int {
	v, err := g.file.Metadata.IntOr(g.key(name), def)
	g.fail(err)
	return v
}

func (g *ggufConfig) float(name string, def float64) float64 {
	v, err := g.file.Metadata.FloatOr(g.key(name), def)
	g.fail(err)
	return v
}

// at is layer i's element of a list, or the number that all layers have.
func (g *ggufConfig) at(name string, i, def int) int {
	if g.err != nil || !g.file.Metadata.Has(g.key(name)) {
		return def
	}
	list, err := g.file.Metadata.Ints(g.key(name))
	g.fail(err)
	switch {
	case len(list) == 1:
		return list[0]
	case i < len(list) && len(list) <= maxLayers: // it is read for each layer
		return list[i]
	}
	g.fail(fmt.Errorf("%s has %d elements for layer %d, expected one for each of %d layers at most", g.key(name), len(list), i, maxLayers))
	return def
}

// layer reads layer i of n.
func (g *ggufConfig) layer(c *Config, i, n, context int) Layer {
	heads := max(g.at("attention.head_count", i, 0), 1)
	l := Layer{
		Heads: heads, KVHeads: g.at("attention.head_count_kv", i, heads), FeedForward: g.at("feed_forward_length", i, 0),
		HeadSize: g.int("attention.key_length", c.Width/heads), ScoreCap: float32(g.float("attn_logit_softcapping", 0)), Shares: -1,
	}
	local := g.windowed(i)
	turned := g.int("rope.dimension_count", l.HeadSize)
	if local {
		l.Window = g.int("attention.sliding_window", 0)
		l.HeadSize = g.int("attention.key_length_swa", l.HeadSize)
		turned = g.int("rope.dimension_count_swa", min(turned, l.HeadSize))
	}
	l.Scale = float32(g.float("attention.scale", 1/math.Sqrt(float64(l.HeadSize))))
	switch {
	case g.arch.unitScale:
		l.Scale = 1
	case g.arch.meanScaleLayers == n:
		l.Scale = float32(1 / math.Sqrt(float64(c.Width/heads)))
	}
	if e := g.arch.unturnedEvery; g.arch.norm != layerNorm && (e == 0 || (i+1)%e != 0) {
		l.Rope, _ = g.ropes.of(turned, local, func() (*Rope, error) { return g.rope(c, turned, local, context), g.err })
	}
	return l
}

// windowed tells whether a layer sees a window only.
func (g *ggufConfig) windowed(i int) bool {
	const pattern = "attention.sliding_window_pattern"
	if g.int("attention.sliding_window", 0) < 1 {
		return false
	}
	switch value := g.file.Metadata.Get(g.key(pattern)).(type) {
	case []bool:
		return i < len(value) && value[i]
	case []uint8, []int32, []uint32:
		return g.at(pattern, i, 0) != 0
	}
	every := g.int(pattern, g.arch.windowEvery)
	return every == 0 || (i+1)%every != 0
}

// rope reads the rotary parameters of layers with or without a window.
func (g *ggufConfig) rope(c *Config, turned int, local bool, context int) *Rope {
	base := g.float("rope.freq_base", 10_000)
	if local {
		base = g.float("rope.freq_base_swa", cmp.Or(g.arch.localBase, base))
	}
	if turned < 0 || turned > maxWidth || !(base > 0) {
		g.fail(fault.New("llm.config", fault.Invalid, "rotary positions of base %g turn %d elements", base, turned))
		return nil
	}
	r := &Rope{Scale: 1, Frequencies: powers(base, turned, turned), Interleaved: g.arch.permuted}
	if local && g.arch.windowEvery > 0 {
		return r
	}
	original := g.float("rope.scaling.original_context_length", float64(c.Context))
	kind, err := g.file.Metadata.TextOr(g.key("rope.scaling.type"), "none")
	g.fail(err)
	switch kind {
	case "none", "longrope":
	case "linear":
		for i := range r.Frequencies {
			r.Frequencies[i] /= g.float("rope.scaling.factor", 1)
		}
	case "yarn":
		y := yarn{
			factor: g.float("rope.scaling.factor", 1), original: original,
			fast: g.float("rope.scaling.yarn_beta_fast", 32), slow: g.float("rope.scaling.yarn_beta_slow", 1),
		}
		if err := y.check(base); err != nil {
			g.fail(err)
			return r
		}
		r.Frequencies = y.stretch(r.Frequencies, base)
		r.Scale = g.float("rope.scaling.yarn_attn_factor", yarnScale(y.factor, 1)/yarnScale(y.factor, g.float("rope.scaling.yarn_log_multiplier", 0)))
		r.Scale *= g.float("rope.scaling.attn_factor", 1)
	default:
		g.fail(fault.New("llm.config", fault.Unsupported, "rotary positions of the type %.60q are not supported", kind))
	}
	factors := "rope_factors_short.weight"
	if float64(context) > original {
		factors = "rope_factors_long.weight"
	}
	for _, name := range []string{factors, "rope_freqs.weight"} {
		if t, ok := g.file.Tensor(name); ok {
			by, err := t.Float32s()
			g.fail(err)
			if err == nil {
				r.Frequencies, err = divided(r.Frequencies, by)
				g.fail(err)
			}
		}
	}
	if _, ok := g.file.Tensor(factors); ok {
		r.Scale = g.float("rope.scaling.attn_factor", longScale(float64(c.Context)/original, original))
	}
	return r
}
