package model

import (
	"context"
	"encoding/json"
	"slices"

	"tandem/fault"
	"tandem/graph"
	"tandem/graph/onnx"
	"tandem/processor"
	"tandem/tensor"
)

// Process turns tensors that a model takes, in the order of its signature, into those that
// its graph takes.
type Process func(ctx context.Context, in []*tensor.Tensor) ([]*tensor.Tensor, error)

// Rewrite writes to dir the artifact m with another graph: what rewrite makes of its own,
// and the metrics that hold for it. Processors, labels and signature stay; the lineage
// names m as where it comes from. The artifact's files are verified first.
func Rewrite(ctx context.Context, m *Manifest, src Source, dir string, rewrite func(*graph.Graph, Process) (*graph.Graph, map[string]float64, error)) (Digest, error) {
	const op = "model.rewrite"
	if err := m.Validate(); err != nil {
		return "", err
	}
	all, err := openFiles(ctx, m, src)
	if err != nil {
		return "", err
	}
	defer all.close() // unmapping can fail only by a defect
	a := Artifact{Family: m.Family, Task: m.Task, Labels: m.Labels, Lineage: m.Lineage, Batch: m.Signature.Batch}
	a.Lineage.From = m.Digest()
	var before []*Stage
	for _, s := range m.Stages {
		data, err := all.get(s.File)
		if err != nil {
			return "", err
		}
		switch {
		case s.Kind == KindGraph && a.Graph == nil:
			a.Graph, err = onnx.Read(data, onnx.LoadOptions{Name: s.File, External: all.get})
		case s.Kind == KindImage && a.Graph == nil:
			a.Image = new(processor.Image)
			err = json.Unmarshal(data, a.Image)
		case s.Kind == KindRows && a.Graph == nil:
			a.Rows = new(processor.Rows)
			err = json.Unmarshal(data, a.Rows)
		case s.Kind == KindText && a.Graph == nil:
			a.Text = new(processor.Bytes)
			err = json.Unmarshal(data, a.Text)
		default:
			return "", fault.New(op, fault.Unsupported, "a stage of kind %q cannot stand where this artifact has it", s.Kind)
		}
		if err != nil {
			return "", fault.Wrap(err, op, fault.Invalid, "%s", s.File)
		}
		if s.Kind != KindGraph {
			k := slices.IndexFunc(Stages(), func(k StageKind) bool { return k.Kind == s.Kind })
			stage, err := Stages()[k].Open(StageFiles{Spec: s, Data: data, Other: all.get})
			if err != nil {
				return "", err
			}
			before = append(before, stage)
		}
	}
	if a.Graph == nil {
		return "", fault.New(op, fault.Unsupported, "the artifact has no graph")
	}
	if a.Graph, a.Metrics, err = rewrite(a.Graph, process(before)); err != nil {
		return "", err
	}
	return Write(dir, a)
}

func process(stages []*Stage) Process {
	return func(ctx context.Context, in []*tensor.Tensor) (_ []*tensor.Tensor, err error) {
		for _, s := range stages {
			if in, err = s.Run(ctx, in); err != nil {
				return nil, err
			}
		}
		return in, nil
	}
}
