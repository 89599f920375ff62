package llm

import (
	"tandem/fault"
	"tandem/graph"
	"tandem/model/gguf"
	"tandem/tensor"
	"tandem/tensor/block"
)

// addGGUF takes the tensors of a file, as they lie in it. Tables of rotary factors are
// the Config's. What operators read element by element (norms, biases) is dense.
func (w *weights) addGGUF(f *gguf.File) error {
	for i := range f.Tensors {
		t := &f.Tensors[i]
		switch t.Name {
		case "rope_freqs.weight", "rope_factors_short.weight", "rope_factors_long.weight":
			continue
		}
		if len(t.Shape) == 2 && t.Format != block.F32 && t.Format.Codec() {
			w.byName[t.Name] = &graph.Constant{DType: tensor.Float32, Shape: t.Shape, Encoding: graph.Rows(t.Format), Data: t.Data}
			continue
		}
		x, err := dense(t)
		if err != nil {
			return fault.From(err, "llm.weights") // it names the tensor
		}
		w.byName[t.Name] = graph.ConstantOf(x)
	}
	return nil
}

// dense is a tensor as float32: where it lies, if it is a matrix of such. Of a small one
// every use would keep 64 KB of the file in memory.
func dense(t *gguf.Tensor) (*tensor.Tensor, error) {
	if t.Format == block.F32 {
		x, err := tensor.FromBytes(tensor.Float32, t.Data, t.Shape...)
		if err == nil && len(t.Shape) < 2 {
			x = x.Clone()
		}
		return x, err
	}
	x, err := t.Float32s()
	if err != nil {
		return nil, err
	}
	return tensor.Of(x, t.Shape...), nil
}
