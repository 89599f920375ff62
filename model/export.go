package model

import (
	"context"
	"encoding/json"

	"tandem/fault"
	"tandem/graph"
	"tandem/graph/onnx"
)

// Export writes the artifact's graph as one ONNX file with the weights inside, and
// returns the stages that stay behind, because ONNX has no form for them: whoever
// uses the file must do their work. What they do is described in the file's metadata, by
// "tandem.KIND" in JSON, and the labels by "tandem.labels". The artifact's files are
// verified first.
func Export(ctx context.Context, m *Manifest, src Source, path string) (behind []StageSpec, err error) {
	const op = "model.export"
	if err := m.Validate(); err != nil {
		return nil, err
	}
	graphs := 0
	var spec StageSpec
	for _, s := range m.Stages {
		if s.Kind == KindGraph {
			graphs++
			spec = s
		} else {
			behind = append(behind, s)
		}
	}
	if graphs != 1 {
		return nil, fault.New(op, fault.Unsupported, "the artifact has %d graphs; only one can be written as ONNX", graphs)
	}
	all, err := openFiles(ctx, m, src)
	if err != nil {
		return nil, err
	}
	defer all.close() // unmapping can fail only by a defect
	data, err := all.get(spec.File)
	if err != nil {
		return nil, err
	}
	g, err := onnx.Read(data, onnx.LoadOptions{Name: spec.File, External: all.get})
	if err != nil {
		return nil, err
	}
	if err := describe(g, m, behind, all); err != nil {
		return nil, err
	}
	if err := onnx.Save(path, g, onnx.SaveOptions{}); err != nil {
		return nil, fault.Wrap(err, op, fault.KindOf(err), "").Try(fault.RemedyOf(err))
	}
	return behind, nil
}

// describe puts what stays behind into the metadata of g.
func describe(g *graph.Graph, m *Manifest, behind []StageSpec, all files) error {
	if g.Meta == nil {
		g.Meta = map[string]string{}
	}
	for _, s := range behind {
		text, err := all.get(s.File)
		if err != nil {
			return err
		}
		g.Meta["tandem."+s.Kind] = string(text)
	}
	if len(m.Labels) > 0 {
		text, err := json.Marshal(m.Labels)
		if err != nil {
			return fault.From(err, "model.export")
		}
		g.Meta["tandem.labels"] = string(text)
	}
	return nil
}
