package main

import (
	"context"
	"errors"

	"tandem/model/gguf"
)

// quantizedText is what --json prints of a language model.
type quantizedText struct {
	Path        string `json:"path"`
	Precision   string `json:"precision"`
	Tensors     int    `json:"tensors"`
	SourceBytes int64  `json:"source_bytes"`
	Bytes       int64  `json:"bytes"`
}

// text writes a language model with other encodings.
func (c *quantizeCmd) text(ctx context.Context, a *app) (err error) {
	if len(c.Data) > 0 || len(c.Keep) > 0 || c.Force {
		return usage("%s, %s and %s are for ONNX files and artifacts", "--data", "--keep", "--force")
	}
	mix, err := gguf.MixOf(c.Precision)
	if err != nil {
		return err
	}
	src, err := gguf.Open(c.Path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	if err := gguf.Quantize(ctx, src, c.Output, mix, nil); err != nil {
		return err
	}
	from, err := sizeOf(c.Path)
	if err != nil {
		return err
	}
	to, err := sizeOf(c.Output)
	if err != nil {
		return err
	}
	q := quantizedText{c.Output, mix.Name, len(src.Tensors), from, to}
	if a.json {
		return a.emit(q)
	}
	a.say("Wrote %s: %d tensors in %s, %s instead of %s.", q.Path, q.Tensors, q.Precision, size(q.Bytes), size(q.SourceBytes))
	return nil
}
