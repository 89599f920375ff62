package model

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"tandem/fault"
	"tandem/graph"
	"tandem/graph/onnx"
	"tandem/model/packed"
	"tandem/processor"
	"tandem/tensor"
)

// Stage is one step from input to answer, ready to run.
type Stage struct {
	Inputs, Outputs []TensorSpec
	// Run takes and gives tensors in the order of Inputs and Outputs. It is safe
	// for concurrent use, and gives tensors that belong to the caller.
	Run func(ctx context.Context, in []*tensor.Tensor) ([]*tensor.Tensor, error)
	// MemoryBytes is what the stage holds between runs.
	MemoryBytes int64
	// Close frees it; nil if there is nothing to free. No run is under way.
	Close func()
}

// StageKind makes stages of one kind.
type StageKind struct {
	Kind string
	Open func(StageFiles) (*Stage, error)
}

// StageFiles are what a stage is made from: verified bytes, which stay as they are
// until the stage has been closed.
type StageFiles struct {
	Spec     StageSpec
	Data     []byte                            // of Spec.File
	Other    func(name string) ([]byte, error) // of any file of the artifact
	Artifact Digest                            // of the whole
	Options  Options
}

// The kinds of stages that Stages knows.
const (
	KindImage = "image" // processor.Image: pixels to floats
	KindRows  = "rows"  // processor.Rows: typed columns to floats and codes
	KindText  = "text"  // processor.Bytes: texts to tokens
	KindGraph = "graph" // an ONNX graph
	// KindLanguage is a model that generates text, a stage on its own: its file is a
	// GGUF file or a config.json. Package llm opens it; Open does not.
	KindLanguage = "language"
)

// ImageInput is the name of the pixels that an image stage takes, and ImageOutput
// that of the floats it gives.
const (
	ImageInput  = "image"
	ImageOutput = "pixels"
	// RowsOutput is the name of the floats that a rows stage gives, if it gives any, and
	// RowsCodes that of the codes. What it takes is named for the columns.
	RowsOutput = "features"
	RowsCodes  = "codes"
	// TextInput is the name of the texts that a text stage takes, and TextOutput that of
	// the tokens it gives.
	TextInput  = "text"
	TextOutput = "tokens"
)

// Stages lists the kinds of stages that Tandem knows. A caller may add its own.
func Stages() []StageKind {
	return []StageKind{{KindImage, openImage}, {KindRows, openRows}, {KindText, openText}, {KindGraph, openGraph}}
}

func openImage(f StageFiles) (*Stage, error) {
	p := new(processor.Image)
	if err := json.Unmarshal(f.Data, p); err != nil {
		return nil, fault.Wrap(err, "model.open", fault.Invalid, "%s", f.Spec.File)
	}
	s := imageStage(p)
	s.Run = func(_ context.Context, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
		out := tensor.New(tensor.Float32, in[0].Dim(0), p.Channels, p.Height, p.Width)
		if err := p.Pixels(out, in[0]); err != nil {
			return nil, err
		}
		return []*tensor.Tensor{out}, nil
	}
	return s, nil
}

// imageStage has the specs of p's stage, and no Run.
func imageStage(p *processor.Image) *Stage {
	return &Stage{
		Inputs:  []TensorSpec{{ImageInput, tensor.Uint8.String(), []int{-1, p.Height, p.Width, p.Channels}}},
		Outputs: []TensorSpec{{ImageOutput, tensor.Float32.String(), []int{-1, p.Channels, p.Height, p.Width}}},
	}
}

func openRows(f StageFiles) (*Stage, error) {
	p := new(processor.Rows)
	if err := json.Unmarshal(f.Data, p); err != nil {
		return nil, fault.Wrap(err, "model.open", fault.Invalid, "%s", f.Spec.File)
	}
	s := rowsStage(p)
	s.Run = func(_ context.Context, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
		var features, codes *tensor.Tensor
		var out []*tensor.Tensor
		if n := p.Features(); n > 0 {
			features = tensor.New(tensor.Float32, in[0].Len(), n)
			out = append(out, features)
		}
		if n := p.Codes(); n > 0 {
			codes = tensor.New(tensor.Int64, in[0].Len(), n)
			out = append(out, codes)
		}
		return out, p.Encode(features, codes, in)
	}
	return s, nil
}

// rowsStage has the specs of p's stage, and no Run.
func rowsStage(p *processor.Rows) *Stage {
	s := &Stage{}
	if n := p.Features(); n > 0 {
		s.Outputs = append(s.Outputs, TensorSpec{RowsOutput, tensor.Float32.String(), []int{-1, n}})
	}
	if n := p.Codes(); n > 0 {
		s.Outputs = append(s.Outputs, TensorSpec{RowsCodes, tensor.Int64.String(), []int{-1, n}})
	}
	for i := range p.Columns {
		c := &p.Columns[i]
		s.Inputs = append(s.Inputs, TensorSpec{c.Name, c.DType().String(), []int{-1}})
	}
	return s
}

func openText(f StageFiles) (*Stage, error) {
	p := new(processor.Bytes)
	if err := json.Unmarshal(f.Data, p); err != nil {
		return nil, fault.Wrap(err, "model.open", fault.Invalid, "%s", f.Spec.File)
	}
	s := textStage(p)
	s.Run = func(_ context.Context, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
		out := tensor.New(tensor.Int64, in[0].Len(), p.Steps)
		return []*tensor.Tensor{out}, p.Encode(out, in[0])
	}
	return s, nil
}

// textStage has the specs of p's stage, and no Run.
func textStage(p *processor.Bytes) *Stage {
	return &Stage{
		Inputs:  []TensorSpec{{TextInput, tensor.String.String(), []int{-1}}},
		Outputs: []TensorSpec{{TextOutput, tensor.Int64.String(), []int{-1, p.Steps}}},
	}
}

func openGraph(f StageFiles) (*Stage, error) {
	g, err := onnx.Read(f.Data, onnx.LoadOptions{Name: f.Spec.File, External: f.Other})
	if err != nil {
		return nil, err
	}
	opt := graph.Options{Ops: f.Options.Ops, Pool: f.Options.Pool, MemoryLimitBytes: int(f.Options.MemoryLimitBytes), Profile: f.Options.Profile}
	name := string(f.Artifact) + "/" + f.Spec.File
	store := packed.Open(f.Options.PackedDir, name, name, opt.Pool.Tier())
	if f.Options.Passes != nil {
		opt.Passes = f.Options.Passes(store.Packing(nil))
	}
	program, err := graph.Compile(g, opt)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	store.Keep()
	s := graphStage(program.Graph())
	session, err := program.NewSession()
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	s.MemoryBytes = int64(program.ConstantBytes())
	s.Close = func() {
		session.Close()
		_ = store.Close() // of a cache that was only read
	}
	s.Run = func(ctx context.Context, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
		return session.Run(ctx, in, nil)
	}
	return s, nil
}

// graphStage has the specs of g's stage, and no Run.
func graphStage(g *graph.Graph) *Stage {
	return &Stage{Inputs: specsOf(g.Inputs), Outputs: specsOf(g.Outputs)}
}

func specsOf(values []*graph.Value) []TensorSpec {
	specs := make([]TensorSpec, len(values))
	for i, v := range values {
		t := v.Described()
		specs[i] = TensorSpec{Name: v.Name, DType: t.DType.String(), Shape: make([]int, len(t.Shape))}
		for j, d := range t.Shape {
			specs[i].Shape[j] = -1
			if n, ok := d.Value(); ok {
				specs[i].Shape[j] = n
			}
		}
	}
	return specs
}

// compatible checks that tensors of one list can be taken for the other, by order.
// A dimension of -1 goes with any.
func compatible(have, want []TensorSpec, names bool) error {
	if len(have) != len(want) {
		return fmt.Errorf("%d tensors, expected %d", len(have), len(want))
	}
	for i, h := range have {
		w := want[i]
		if names && h.Name != w.Name {
			return fmt.Errorf("tensor %d is called %.200q, expected %.200q", i, h.Name, w.Name)
		}
		same := slices.EqualFunc(h.Shape, w.Shape, func(a, b int) bool { return a == b || a == -1 || b == -1 })
		if h.DType != w.DType || !same {
			return fmt.Errorf("tensor %.200q is %s%v, expected %s%v", h.Name, h.DType, h.Shape, w.DType, w.Shape)
		}
	}
	return nil
}

// signatureOf is the signature of stages in a row.
func signatureOf(stages []*Stage, batch bool) Signature {
	return Signature{Inputs: stages[0].Inputs, Outputs: stages[len(stages)-1].Outputs, Batch: batch}
}

// checkStages compares neighbours with each other, and the ends with the signature.
func checkStages(stages []*Stage, specs []StageSpec, s Signature) error {
	for i := 1; i < len(stages); i++ {
		if err := compatible(stages[i-1].Outputs, stages[i].Inputs, false); err != nil {
			return fault.Wrap(err, "model.open", fault.Invalid, "stage %d (%s) does not give what stage %d (%s) takes",
				i-1, specs[i-1].Kind, i, specs[i].Kind)
		}
	}
	if err := compatible(stages[0].Inputs, s.Inputs, true); err != nil {
		return fault.Wrap(err, "model.open", fault.Invalid, "the inputs of stage 0 (%s) are not those of the signature", specs[0].Kind)
	}
	last := len(stages) - 1
	if err := compatible(stages[last].Outputs, s.Outputs, true); err != nil {
		return fault.Wrap(err, "model.open", fault.Invalid, "the outputs of stage %d (%s) are not those of the signature", last, specs[last].Kind)
	}
	return nil
}
