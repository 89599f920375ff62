package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"tandem/fault"
	"tandem/graph"
	"tandem/graph/onnx"
	"tandem/graph/op"
	"tandem/graph/pass"
	"tandem/graph/precision"
	"tandem/kernel"
	"tandem/model"
	"tandem/tensor"
)

// quantizeCmd is `tandem quantize`.
type quantizeCmd struct {
	Path       string   `arg:"" name:"PATH" help:"An .onnx file, the directory of a run or of a model, or a .gguf file in f32, f16 or bf16."`
	Precision  string   `help:"bf16, int8, int8-weights or int4-weights; of a .gguf file q8_0, q6_k, q5_k_m, q5_k_s, q5_1, q5_0, q4_k_m, q4_k_s, q4_1, q4_0, bf16, f16 or f32." placeholder:"NAME" required:""`
	Output     string   `help:"File to write, or directory if PATH is one." placeholder:"PATH" required:""`
	Data       []string `help:"Arrays by the names of the model's inputs, in NumPy's format: on them the error is measured, and for int8 the ranges of convolutions. An array \"labels\" has the number of each row's class. May be given more than once." placeholder:"FILE.npz" sep:"none"`
	MaxError   float64  `help:"The error up to which layers are rounded: the distance of the outputs over their spread. Those that cost most stay in floats." placeholder:"SHARE" default:"0.2"`
	Keep       []string `help:"A layer that stays in floats, by name. May be given more than once." placeholder:"LAYER" sep:"none"`
	Percentile float64  `help:"Percentage of the numbers that ranges hold, for convolutions." placeholder:"PERCENT" default:"100"`
	Force      bool     `help:"Round every layer, whatever the error."`
	Threads    int      `help:"Threads that compute. Without it: all processors." placeholder:"N"`
}

// quantized is what --json prints.
type quantized struct {
	Path           string   `json:"path"`
	Precision      string   `json:"precision"`
	Layers         int      `json:"layers"` // that are rounded
	Kept           []string `json:"kept"`   // that stay in floats to keep the error small
	Samples        int      `json:"samples"`
	Error          *float64 `json:"error,omitempty"` // ‖a−b‖ over ‖a−mean(a)‖
	Cosine         *float64 `json:"cosine,omitempty"`
	AccuracyBefore *float64 `json:"accuracy_before,omitempty"`
	Accuracy       *float64 `json:"accuracy,omitempty"`
	SourceBytes    int64    `json:"source_bytes"`
	Bytes          int64    `json:"bytes"`
}

// Run writes the model with fewer bits.
func (c *quantizeCmd) Run(ctx context.Context, a *app) (err error) {
	const name = "tandem.quantize"
	if same(c.Path, c.Output) {
		return fault.New(name, fault.Invalid, "%s would replace its own source", c.Output).Try("give another --output")
	}
	if strings.HasSuffix(strings.ToLower(c.Path), ".gguf") {
		return c.text(ctx, a)
	}
	if c.MaxError <= 0 || c.Percentile <= 50 || c.Percentile > 100 {
		return usage("%s must be more than 0, and %s more than 50 and at most 100", "--max-error", "--percentile")
	}
	if languageAt(c.Path) {
		return usage("%s is a Hugging Face folder: language models are written as GGUF from a GGUF file", c.Path).
			with("make a .gguf file of it with llama.cpp's convert_hf_to_gguf.py first, or let the folder serve as it is")
	}
	form, err := precision.Parse(c.Precision)
	if err != nil {
		return err
	}
	threads, err := threadsOr(c.Threads)
	if err != nil {
		return err
	}
	pool := kernel.NewPool(threads, kernel.Detect())
	defer pool.Close()
	q := quantized{Path: c.Output, Precision: string(form), Kept: []string{}}
	if isONNX(c.Path) {
		err = c.file(ctx, pool, form, &q)
	} else {
		err = c.artifact(ctx, pool, form, &q)
	}
	if err != nil {
		return err
	}
	if q.Bytes, err = sizeOf(c.Output); err != nil {
		return err
	}
	if a.json {
		return a.emit(q)
	}
	return q.show(a)
}

// file rounds an ONNX file.
func (c *quantizeCmd) file(ctx context.Context, pool *kernel.Pool, form precision.Form, q *quantized) (err error) {
	if !isONNX(c.Output) {
		return usage("%s must end in %s, as its source does", "--output", onnxSuffix)
	}
	g, mapping, err := onnx.Load(c.Path, onnx.LoadOptions{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, mapping.Close()) }()
	for _, path := range mapping.Paths() {
		n, err := sizeOf(path)
		if err != nil {
			return err
		}
		q.SourceBytes += n
	}
	direct := func(_ context.Context, in []*tensor.Tensor) ([]*tensor.Tensor, error) { return in, nil }
	g, _, err = c.round(ctx, pool, form, g, direct, portsOf(g), q)
	if err != nil {
		return err
	}
	opt := onnx.SaveOptions{Producer: "tandem", ProducerVersion: programVersion()}
	const inline = 1 << 30
	total := 0
	for _, v := range g.Constants() {
		total += len(v.Const.Data)
	}
	if total > inline {
		opt.ExternalData = filepath.Base(c.Output) + dataSuffix
	}
	return onnx.Save(c.Output, g, opt)
}

// artifact rounds the graph of an artifact.
func (c *quantizeCmd) artifact(ctx context.Context, pool *kernel.Pool, form precision.Form, q *quantized) error {
	m, src, err := localArtifact(c.Path)
	if err != nil {
		return err
	}
	for _, f := range m.Files {
		q.SourceBytes += f.Bytes
	}
	var ports []port
	for _, s := range m.Signature.Inputs {
		ports = append(ports, port{s.Name, s.Type(), len(s.Shape) > 0 && s.Shape[0] == -1})
	}
	_, err = model.Rewrite(ctx, m, src, c.Output, func(g *graph.Graph, before model.Process) (*graph.Graph, map[string]float64, error) {
		return c.round(ctx, pool, form, g, before, ports, q)
	})
	return err
}

// port is an input of the model.
type port struct {
	name  string
	dtype tensor.DType
	open  bool // its first dimension may be of any size
}

func portsOf(g *graph.Graph) []port {
	var list []port
	for _, v := range g.Inputs {
		t := v.Described()
		p := port{name: v.Name, dtype: t.DType}
		if len(t.Shape) > 0 {
			_, fixed := t.Shape[0].Value()
			p.open = !fixed
		}
		list = append(list, p)
	}
	return list
}

// round makes the graph with few bits, and measures what it costs.
func (c *quantizeCmd) round(ctx context.Context, pool *kernel.Pool, form precision.Form, g *graph.Graph, before model.Process, ports []port, q *quantized) (*graph.Graph, map[string]float64, error) {
	const name = "tandem.quantize"
	ops := op.Default()
	if err := pass.Unzip().Run(g, ops); err != nil {
		return nil, nil, err
	}
	g, err := precision.Prepare(g, ops, pool)
	if err != nil {
		return nil, nil, err
	}
	if err := c.checkKeep(g); err != nil {
		return nil, nil, err
	}
	s := &precision.Search{Graph: g, Ops: ops, Form: form, Always: c.Keep, Options: precision.Options{Pool: pool}}
	labels, err := c.data(ctx, s, before, ports)
	if err != nil {
		return nil, nil, err
	}
	if form == precision.Int8 && len(s.Inputs) > 0 {
		if s.Ranges, err = precision.Calibrate(ctx, g, ops, pool, s.Inputs, c.Percentile); err != nil {
			return nil, nil, err
		}
	}
	limit := c.MaxError
	if c.Force || len(s.Inputs) == 0 {
		limit = -1
	}
	r, err := s.Near(ctx, limit)
	if err != nil {
		return nil, nil, err
	}
	if r.Layers == 0 {
		return nil, nil, fault.New(name, fault.Unsupported, "nothing in %s can be rounded to %s: no layer has large weights of float32, or ranges are wanted", c.Path, form).Try("give --data, from which the ranges of convolutions are taken")
	}
	q.Layers, q.Kept, q.Samples = r.Layers, append(q.Kept, r.Kept...), len(s.Inputs)
	if len(s.Inputs) == 0 {
		return r.Graph, nil, nil
	}
	if limit >= 0 && r.Error > limit {
		return nil, nil, fault.New(name, fault.Invalid, "the error is %.3g with %d layers in floats, more than %.3g", r.Error, len(r.Kept), limit).
			Try("allow more by --max-error, or round all the same by --force")
	}
	return r.Graph, q.measure(ctx, s, r, labels), nil
}

// checkKeep refuses names of layers that are not there.
func (c *quantizeCmd) checkKeep(g *graph.Graph) error {
	there := map[string]bool{}
	for _, l := range precision.Layers(g) {
		there[l.Name()] = true
	}
	for _, name := range c.Keep {
		if !there[name] {
			return fault.New("tandem.quantize", fault.NotFound, "the model has no layer %.200q with weights to round", name)
		}
	}
	return nil
}

// measure fills in what was measured, and returns it as metrics.
func (q *quantized) measure(ctx context.Context, s *precision.Search, r *precision.Result, labels []int) map[string]float64 {
	q.Error, q.Cosine = &r.Error, &r.Cosine
	metrics := map[string]float64{"quantize_error": r.Error, "quantize_cosine": r.Cosine}
	want, err := s.Wanted(ctx)
	if err != nil || labels == nil {
		return metrics
	}
	before, after := accuracy(want, labels), accuracy(r.Outputs, labels)
	q.AccuracyBefore, q.Accuracy = &before, &after
	metrics["accuracy"] = after
	return metrics
}

func (q *quantized) show(a *app) error {
	a.say("Wrote %s: %d layers in %s, %s instead of %s.", q.Path, q.Layers, q.Precision, size(q.Bytes), size(q.SourceBytes))
	if len(q.Kept) > 0 {
		a.say("In floats, as they cost most: %s", strings.Join(q.Kept, ", "))
	}
	if q.Error == nil {
		a.say("The error was not measured: give --data.")
		return nil
	}
	rows := [][]string{
		{a.msg.Sprintf("Relative error"), fmt.Sprintf("%.5f", *q.Error)},
		{a.msg.Sprintf("Least cosine"), fmt.Sprintf("%.6f", *q.Cosine)},
	}
	if q.Accuracy != nil {
		rows = append(rows, []string{a.msg.Sprintf("Accuracy"), a.msg.Sprintf("%.4f, before %.4f", *q.Accuracy, *q.AccuracyBefore)})
	}
	return a.table(nil, rows)
}

// same tells whether two paths mean the same file.
func same(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

// dataSuffix ends the name of a file with weights, which lies beside the model.
const dataSuffix = ".data"

// sizeOf is the size of a file with the weights that lie beside it, or of all files of a
// directory.
func sizeOf(path string) (int64, error) {
	var total int64
	err := filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	if beside, errBeside := os.Stat(path + dataSuffix); err == nil && errBeside == nil {
		total += beside.Size()
	}
	return total, fault.From(err, "tandem.quantize")
}
