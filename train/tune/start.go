package tune

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"tandem/fault"
	"tandem/graph"
	"tandem/graph/onnx"
	"tandem/model"
	"tandem/processor"
	"tandem/tensor"
)

// Start says how training begins with a network that is there. Without a Model it
// begins with the family's own.
type Start struct {
	Model string   `yaml:"model" help:"model to start from: an .onnx file, or the directory of a run or of a model; empty: none"`
	After string   `yaml:"after" help:"node or value after which the new head begins; empty: where the last linear layer does, or at the output if it has none"`
	Pool  string   `yaml:"pool" one:"none first mean" help:"how the steps of a sequence become one row before the head: the first, or their mean by the model's attention_mask"`
	Also  []string `yaml:"also" help:"patterns of constants to train that would stay as they are: tables that are added, such as learned positions; with lora, weights as a whole"`
	LoRA  LoRA     `yaml:"lora"`
}

// LoRA says which weights get a low-rank pair beside them. They are then frozen with all
// the rest of the model that training starts from (Hu et al., 2021).
type LoRA struct {
	Rank     int      `yaml:"rank" limit:"[0,4096]" help:"rank of the pairs; 0: no pairs, the weights themselves are trained"`
	Alpha    float32  `yaml:"alpha" limit:"[0,)" help:"the pairs' products are multiplied with alpha/rank; 0: alpha is the rank"`
	Patterns []string `yaml:"patterns" help:"patterns of weights of products, convolutions, recurrent layers and embeddings, or of their nodes; none: all but embeddings"`
}

// SetDefaults sets what was left out.
func (s *Start) SetDefaults() {
	if s.Pool == "" {
		s.Pool = "none"
	}
}

// Network is a graph to start from, with what its artifact tells of it, if it has one.
type Network struct {
	Graph  *graph.Graph // its constants are copies: no file need stay open
	Image  *processor.Image
	Rows   *processor.Rows
	Text   *processor.Bytes
	Labels []string
}

// Open reads the model. Weights that exporters gave no names are called after the bias
// that is added to their product.
func Open(path string, ops *graph.Table) (*Network, error) {
	const op = "tune.open"
	n, file := &Network{}, path
	if !strings.EqualFold(filepath.Ext(path), ".onnx") {
		dir := path
		if inner := filepath.Join(path, "model"); exists(filepath.Join(inner, model.ManifestFile)) {
			dir = inner // of a run
		}
		m, src, err := model.ReadDir(dir)
		if err != nil {
			return nil, fault.Wrap(err, op, fault.KindOf(err), "the model to start from cannot be read").
				Try("give an .onnx file, or the directory of a model or of a run")
		}
		if err := n.readProcessors(m, src); err != nil {
			return nil, err
		}
		n.Labels, file = m.Labels, filepath.Join(dir, model.GraphFile)
	}
	g, mapping, err := onnx.Load(file, onnx.LoadOptions{})
	if err != nil {
		return nil, fault.Wrap(err, op, fault.KindOf(err), "the model to start from cannot be read").Try(fault.RemedyOf(err))
	}
	defer mapping.Close() // unmapping can fail only by a defect
	if n.Graph, err = own(g); err != nil {
		return nil, fault.Wrap(err, op, fault.Unsupported, "%s cannot be trained", path)
	}
	if err := graph.InferTypes(n.Graph, ops); err != nil {
		return nil, fault.Wrap(err, op, fault.Invalid, "%s cannot be trained", path)
	}
	nameWeights(n.Graph)
	return n, nil
}

func (n *Network) readProcessors(m *model.Manifest, src model.Source) error {
	var errs [3]error
	n.Image, errs[0] = model.ImageOf(m, src)
	n.Rows, errs[1] = model.RowsOf(m, src)
	n.Text, errs[2] = model.TextOf(m, src)
	return errors.Join(errs[:]...)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// own copies the constants of g.
func own(g *graph.Graph) (*graph.Graph, error) {
	to, _ := g.Clone()
	for _, v := range to.Constants() {
		if v.Const.DType == tensor.String {
			continue
		}
		t, err := v.Const.Tensor()
		if err != nil {
			return nil, err
		}
		v.Const = graph.ConstantOf(t.Clone())
	}
	return to, nil
}
