package llm

import (
	"tandem/fault"
	"tandem/graph"
	"tandem/model/gguf"
	"tandem/tensor"
)

// addGGUF takes the tensors of a file. Tables of rotary factors are the Config's.
func (w *weights) addGGUF(f *gguf.File) error {
	for i := range f.Tensors {
		t := &f.Tensors[i]
		switch t.Name {
		case "rope_freqs.weight", "rope_factors_short.weight", "rope_factors_long.weight":
			continue
		}
		x, err := t.Float32s()
		if err != nil {
			return fault.Wrap(err, "llm.weights", fault.KindOf(err), "tensor %q", t.Name)
		}
		w.byName[t.Name] = graph.ConstantOf(tensor.Of(x, t.Shape...))
	}
	return nil
}
