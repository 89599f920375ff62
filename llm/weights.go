package llm

import (
	"slices"
	"strings"

	"tandem/fault"
	"tandem/graph"
	"tandem/tensor"
	"tandem/tensor/block"
)

// weights are a file's tensors under GGUF's names. What the graph has taken is
// counted: a tensor that nobody reads means that the model is not what it seems.
type weights struct {
	byName map[string]*graph.Constant
	taken  map[string]bool
}

func newWeights() *weights {
	return &weights{byName: map[string]*graph.Constant{}, taken: map[string]bool{}}
}

func (w *weights) has(name string) bool { return w.byName[name] != nil }

// take finds a tensor that must be there, of a shape; -1 is any size.
func (w *weights) take(name string, shape ...int) (*graph.Constant, error) {
	c := w.byName[name]
	if c == nil {
		return nil, fault.New("llm.weights", fault.Invalid, "the model has no tensor %q", name).
			Try("the file is not complete: fetch or convert it again")
	}
	w.taken[name] = true
	fits := slices.EqualFunc(c.Shape, shape, func(have, want int) bool { return want < 0 || have == want })
	if !fits {
		return nil, fault.New("llm.weights", fault.Invalid, "tensor %q has shape %v, expected %v", name, c.Shape, tensor.Shape(shape))
	}
	return c, nil
}

// bytes is what all tensors take.
func (w *weights) bytes() int64 {
	var n int64
	for _, c := range w.byName {
		n += int64(len(c.Data))
	}
	return n
}

// unused refuses a model with tensors that the graph does not read.
func (w *weights) unused() error {
	var left []string
	for name := range w.byName {
		if !w.taken[name] {
			left = append(left, name)
		}
	}
	if len(left) == 0 {
		return nil
	}
	slices.Sort(left)
	return fault.New("llm.weights", fault.Unsupported, "the model has %d tensors that its architecture does not use here, such as %q", len(left), left[0]).
		Try("use a plain text model of the architectures listed in docs/llm.md")
}

// hfName maps a tensor's name in a Hugging Face folder to GGUF's. ok is false for
// what a text decoder does not need: the parts that see and hear.
func hfName(a arch, name string) (gguf string, ok bool) {
	for _, prefix := range []string{"model.vision_tower.", "model.audio_tower.", "model.embed_vision.", "model.embed_audio.",
		"vision_tower.", "multi_modal_projector.", "model.multi_modal_projector."} {
		if strings.HasPrefix(name, prefix) {
			return "", false
		}
	}
	for _, prefix := range []string{"model.language_model.", "language_model.model."} {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			name = "model." + rest
		}
	}
	name = strings.TrimPrefix(strings.TrimPrefix(name, "transformer."), "language_model.")
	for _, suffix := range []string{".rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias"} { // buffers of old files
		if strings.HasSuffix(name, suffix) {
			return "", false
		}
	}
	stem, suffix := name, ""
	for _, s := range []string{".weight", ".bias"} {
		if rest, ok := strings.CutSuffix(name, s); ok {
			stem, suffix = rest, s
		}
	}
	for _, n := range a.names {
		if to, ok := translate(stem, n); ok {
			return to + suffix, true
		}
	}
	return name, true // nobody takes it, so that unused tells of it
}

// translate applies one naming to a stem.
func translate(stem string, n naming) (string, bool) {
	before, after, numbered := strings.Cut(n.hf, "*")
	if !numbered {
		return n.gguf, stem == n.hf
	}
	rest, ok := strings.CutPrefix(stem, before)
	number, ok2 := strings.CutSuffix(rest, after)
	if !ok || !ok2 || number == "" || strings.Trim(number, "0123456789") != "" {
		return "", false
	}
	return strings.Replace(n.gguf, "*", number, 1), true
}

// addHF takes a tensor of a Hugging Face folder.
func (w *weights) addHF(a arch, name string, t *tensor.Tensor) error {
	gguf, ok := hfName(a, name)
	if !ok {
		return nil
	}
	if f, ok := halfFormat(t.DType()); ok && t.Rank() == 2 && !a.columns {
		return w.add(gguf, &graph.Constant{DType: tensor.Float32, Shape: t.Shape(), Encoding: graph.Rows(f), Data: t.Bytes()})
	}
	t, err := inFloat32(t)
	if err != nil {
		return fault.Wrap(err, "llm.weights", fault.Unsupported, "tensor %q", name)
	}
	switch {
	case a.normOffset && t.Rank() == 1 && strings.HasSuffix(gguf, "norm.weight"):
		t = t.Clone()
		for i := range t.F32() {
			t.F32()[i]++
		}
	case a.columns && t.Rank() == 2 && strings.Contains(gguf, "blk."):
		t = transposed(t)
	}
	return w.add(gguf, graph.ConstantOf(t))
}

func (w *weights) add(name string, c *graph.Constant) error {
	if w.has(name) {
		return fault.New("llm.weights", fault.Invalid, "tensor %q is there twice", name)
	}
	w.byName[name] = c
	return nil
}

// halfFormat is the format of blocks that a type of two bytes is.
func halfFormat(d tensor.DType) (block.Format, bool) {
	switch d {
	case tensor.Float16:
		return block.F16, true
	case tensor.BFloat16:
		return block.BF16, true
	}
	return 0, false
}

func inFloat32(t *tensor.Tensor) (*tensor.Tensor, error) {
	if t.DType() == tensor.Float32 {
		return t, nil
	}
	out := tensor.New(tensor.Float32, t.Shape()...)
	return out, tensor.Convert(out, t, false)
}

// transposed copies a matrix with rows and columns exchanged, block by block.
func transposed(t *tensor.Tensor) *tensor.Tensor {
	const block = 32
	rows, cols := t.Dim(0), t.Dim(1)
	out := tensor.New(tensor.Float32, cols, rows)
	from, to := t.F32(), out.F32()
	for i := 0; i < rows; i += block {
		for j := 0; j < cols; j += block {
			for r := i; r < min(i+block, rows); r++ {
				for c := j; c < min(j+block, cols); c++ {
					to[c*rows+r] = from[r*cols+c]
				}
			}
		}
	}
	return out
}
