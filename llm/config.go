package llm

import (
	"fmt"
	"math"

	"tandem/fault"
)

// Config is what the graph of one decoder depends on, whichever file it came from.
type Config struct {
	Arch    string // as GGUF names it
	Vocab   int    // tokens
	Width   int    // of the residual stream
	Context int    // positions that the model was made for
	Epsilon float32
	Layers  []Layer

	LogitCap      float32 // soft bound of logits; 0: none
	PerLayerWidth int     // of Gemma 4's embedding for each layer; 0: none
	arch          arch
}

// Layer is one block: attention, then the feed-forward network.
type Layer struct {
	Heads, KVHeads int
	HeadSize       int
	FeedForward    int
	Scale          float32 // of scores
	ScoreCap       float32 // soft bound of scores; 0: none
	Window         int     // keys that a query sees, its own among them; 0: all before it
	Rope           *Rope   // nil: no positions
	// Shares is the layer whose keys and values this one reads; -1: its own.
	Shares int
}

// Rope turns pairs of a head's elements by position · Frequencies[pair].
type Rope struct {
	Frequencies []float64 // radians a position
	Scale       float64   // of cosine and sine
	// Interleaved: pairs are neighbours; else pair i is elements i and i + len(Frequencies).
	Interleaved bool
}

// ropes are the rotary positions of a model, which layers of one kind share: a thousand
// layers of a foreign file cost as much as one.
type ropes map[ropeKind]*Rope

type ropeKind struct {
	size  int
	local bool // in layers with a window
}

func (r *ropes) of(size int, local bool, read func() (*Rope, error)) (*Rope, error) {
	kind := ropeKind{size, local}
	if found := (*r)[kind]; found != nil {
		return found, nil
	}
	made, err := read()
	if err != nil {
		return nil, err
	}
	if *r == nil {
		*r = ropes{}
	}
	(*r)[kind] = made
	return made, nil
}

// Limits on what a foreign file may say of a model.
const (
	maxLayers  = 1024
	maxVocab   = 1 << 22
	maxWidth   = 1 << 17
	maxContext = 1 << 24
)

// check refuses sizes that make no sense together, before anything is made of them.
func (c *Config) check() error {
	bad := func(format string, args ...any) error {
		return fault.New("llm.config", fault.Invalid, format, args...)
	}
	for _, f := range []struct {
		what   string
		n, max int
	}{{"vocabulary", c.Vocab, maxVocab}, {"width", c.Width, maxWidth}, {"context", c.Context, maxContext}, {"number of layers", len(c.Layers), maxLayers}} {
		if f.n < 1 || f.n > f.max {
			return bad("the model's %s is %d, expected 1 to %d", f.what, f.n, f.max)
		}
	}
	if c.PerLayerWidth < 0 || c.PerLayerWidth > maxWidth {
		return bad("the embeddings of each layer have a width of %d", c.PerLayerWidth)
	}
	if !(c.Epsilon > 0 && c.Epsilon < 1) {
		return bad("the norms' epsilon is %g", c.Epsilon)
	}
	for i, l := range c.Layers {
		switch {
		case l.Heads < 1 || l.KVHeads < 1 || l.Heads > maxWidth || l.Heads%l.KVHeads != 0:
			return bad("layer %d has %d heads of queries and %d of keys", i, l.Heads, l.KVHeads)
		case l.HeadSize < 1 || l.HeadSize > maxWidth/l.Heads:
			return bad("layer %d has %d heads of size %d", i, l.Heads, l.HeadSize)
		case l.FeedForward < 1 || l.FeedForward > 4*maxWidth:
			return bad("layer %d has a feed-forward network of %d", i, l.FeedForward)
		case l.Window < 0:
			return bad("layer %d has a window of %d", i, l.Window)
		case l.Rope != nil && (len(l.Rope.Frequencies) < 1 || 2*len(l.Rope.Frequencies) > l.HeadSize):
			return bad("layer %d turns %d elements of a head of %d", i, 2*len(l.Rope.Frequencies), l.HeadSize)
		case l.Shares >= i || l.Shares >= 0 && c.Layers[l.Shares].Shares >= 0:
			return bad("layer %d reads the keys of layer %d", i, l.Shares)
		}
	}
	return nil
}

// powers are the frequencies base^(-2i/size) of rotary positions (Su et al.,
// "RoFormer", 2021), for the first turned elements.
func powers(base float64, size, turned int) []float64 {
	f := make([]float64, turned/2)
	for i := range f {
		f[i] = math.Pow(base, -2*float64(i)/float64(size))
	}
	return f
}

// divided divides frequencies by factors, as many.
func divided[T float32 | float64](f []float64, by []T) ([]float64, error) {
	if len(by) != len(f) {
		return nil, fmt.Errorf("%d factors for %d frequencies of rotary positions", len(by), len(f))
	}
	out := make([]float64, len(f))
	for i := range f {
		out[i] = f[i] / float64(by[i])
	}
	return out, nil
}

// stretch is Llama 3's scaling: long waves are slowed by factor, short ones stay, and
// those between are interpolated. original is the context of the first training.
func stretch(f []float64, factor, low, high, original float64) []float64 {
	out := make([]float64, len(f))
	for i, v := range f {
		switch wave := 2 * math.Pi / v; {
		case wave < original/high:
			out[i] = v
		case wave > original/low:
			out[i] = v / factor
		default:
			smooth := (original/wave - low) / (high - low)
			out[i] = (1-smooth)*v/factor + smooth*v
		}
	}
	return out
}

// yarn is YaRN's scaling (Peng et al., "YaRN", 2023): pairs that turn more than fast
// times within the context of the first training stay, those that turn less than slow
// times are slowed by factor, and those between are interpolated.
type yarn struct {
	factor, original float64
	fast, slow       float64 // turns
	fractions        bool    // the two bounds are not rounded to whole pairs
}

// check refuses what gives no frequencies.
func (y yarn) check(base float64) error {
	if !(y.factor > 0 && y.factor < 1e6 && y.original >= 1 && y.fast > 0 && y.slow > 0 && base > 1) {
		return fmt.Errorf("rotary positions are stretched %g times from a context of %g, with bounds at %g and %g turns and base %g", y.factor, y.original, y.fast, y.slow, base)
	}
	return nil
}

// stretch gives the frequencies f = powers(base, 2·len(f), 2·len(f)) of the longer context.
func (y yarn) stretch(f []float64, base float64) []float64 {
	size := float64(2 * len(f))
	// pair is the one that turns so many times, as a fraction.
	pair := func(turns float64) float64 {
		return size * math.Log(y.original/(turns*2*math.Pi)) / (2 * math.Log(base))
	}
	low, high := pair(y.fast), pair(y.slow)
	if !y.fractions {
		low, high = math.Floor(low), math.Ceil(high)
	}
	low, high = max(low, 0), min(high, size-1)
	if low == high {
		high += 0.001
	}
	out := make([]float64, len(f))
	for i, v := range f {
		slowed := min(max((float64(i)-low)/(high-low), 0), 1)
		out[i] = v/y.factor*slowed + v*(1-slowed)
	}
	return out
}

// yarnScale is what YaRN multiplies cosine and sine by, for a weight of 1.
func yarnScale(factor, weight float64) float64 {
	if factor <= 1 {
		return 1
	}
	return 0.1*weight*math.Log(factor) + 1
}

// longScale is what LongRoPE multiplies cosine and sine by when a context is
// stretched by factor (Ding et al., 2024).
func longScale(factor, original float64) float64 {
	if factor <= 1 {
		return 1
	}
	return math.Sqrt(1 + math.Log(factor)/math.Log(original))
}
