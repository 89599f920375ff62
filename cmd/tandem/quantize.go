package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"

	"tandem/fault"
	"tandem/model/gguf"
)

// quantizeCmd is `tandem quantize`.
type quantizeCmd struct {
	Path      string `arg:"" name:"PATH" help:"A .gguf file in f32, f16 or bf16."`
	Precision string `help:"Encoding of the weights: q8_0, q6_k, q5_k_m, q5_k_s, q5_1, q5_0, q4_k_m, q4_k_s, q4_1, q4_0, bf16, f16 or f32." placeholder:"NAME" required:""`
	Output    string `help:"File to write." placeholder:"PATH" required:""`
}

// quantized is what --json prints.
type quantized struct {
	Path        string `json:"path"`
	Precision   string `json:"precision"`
	Tensors     int    `json:"tensors"`
	SourceBytes int64  `json:"source_bytes"`
	Bytes       int64  `json:"bytes"`
}

// Run writes the model with other encodings.
func (c *quantizeCmd) Run(ctx context.Context, a *app) (err error) {
	const op = "tandem.quantize"
	if !strings.HasSuffix(strings.ToLower(c.Path), ".gguf") {
		return fault.New(op, fault.Unsupported, "%s is not a .gguf file: others are not quantised", c.Path).Try("give a .gguf file")
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
	if slices.ContainsFunc(src.Paths, func(path string) bool { return same(path, c.Output) }) {
		return fault.New(op, fault.Invalid, "%s would replace its own source", c.Output).Try("give another --output")
	}
	if err := gguf.Quantize(ctx, src, c.Output, mix, nil); err != nil {
		return err
	}
	from := int64(0)
	for _, path := range src.Paths {
		info, err := os.Stat(path)
		if err != nil {
			return fault.From(err, op)
		}
		from += info.Size()
	}
	to, err := os.Stat(c.Output)
	if err != nil {
		return fault.From(err, op)
	}
	q := quantized{c.Output, mix.Name, len(src.Tensors), from, to.Size()}
	if a.json {
		return a.emit(q)
	}
	a.say("Wrote %s: %d tensors in %s, %.1f MB instead of %.1f MB.", q.Path, q.Tensors, q.Precision, float64(q.Bytes)/1e6, float64(q.SourceBytes)/1e6)
	return nil
}

// same tells whether two paths mean the same file.
func same(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}
