package onnx

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"

	"tandem/fault"
	"tandem/graph"
	"tandem/tensor"
)

// SaveOptions say how a graph is written. The zero value writes one file.
type SaveOptions struct {
	// ExternalData is the name of a file beside the model for the weights. Empty:
	// they go into the model, which can then have at most 2 GiB.
	ExternalData string
	// Producer and ProducerVersion name the program that made the model.
	Producer, ProducerVersion string
}

const (
	maxInlineBytes  = math.MaxInt32 // that protobuf readers take
	minExternal     = 1 << 10       // smaller tensors stay in the model, where shape rules find them
	externalAlign   = 64            // bytes: a cache line
	pageAlign       = 4096          // for tensors from pageAlignFrom on
	pageAlignFrom   = 1 << 20       // bytes
	writeBufferSize = 1 << 20       // bytes
)

// Save writes g as the ONNX file path, and beside it the external data. Each file
// appears complete or not at all, and replaces one of the same name; a mapping of
// the old one stays valid. Equal graphs give equal bytes.
//
// The types of inputs and outputs must be known. Values are renamed where two have
// one name. Errors of kind Unsupported name what ONNX cannot say: nodes of private
// operators, packed constants, state.
func Save(path string, g *graph.Graph, opt SaveOptions) error {
	const op = "onnx.save"
	if e := opt.ExternalData; e != "" && (e != filepath.Base(e) || !filepath.IsLocal(e) || e == filepath.Base(path)) {
		return fault.New(op, fault.Invalid, "%.200q is not the name of a file beside the model", e).Try("give a plain file name")
	}
	w, msg, err := encode(g, opt)
	if err != nil {
		return fault.Wrap(err, op, fault.KindOf(err), "%s", path).Try(fault.RemedyOf(err))
	}
	if len(w.outside) > 0 {
		if err := writeFile(filepath.Join(filepath.Dir(path), opt.ExternalData), w.writeOutside); err != nil {
			return fault.Wrap(err, op, fault.KindOf(err), "writing %s", opt.ExternalData).Try(fault.RemedyOf(err))
		}
	}
	if err := writeFile(path, msg.writeTo); err != nil {
		return fault.Wrap(err, op, fault.KindOf(err), "writing %s", path).Try(fault.RemedyOf(err))
	}
	return nil
}

// Write writes g as one ONNX file to out: see Save. ExternalData must be empty.
func Write(out io.Writer, g *graph.Graph, opt SaveOptions) error {
	const op = "onnx.write"
	if opt.ExternalData != "" {
		return fault.New(op, fault.Invalid, "external data needs a file: use Save")
	}
	_, msg, err := encode(g, opt)
	if err != nil {
		return fault.Wrap(err, op, fault.KindOf(err), "").Try(fault.RemedyOf(err))
	}
	return fault.From(msg.writeTo(out), op)
}

// encode makes the ModelProto.
func encode(g *graph.Graph, opt SaveOptions) (*writer, *message, error) {
	w := &writer{opt: opt, g: g, names: map[*graph.Value]string{}, used: map[string]bool{}, domains: map[string]bool{}}
	if len(g.State) > 0 {
		return nil, nil, unsupported("the graph has state (%s), which ONNX has no form for", g.State[0].Current.Name).
			Try("write the graph that predicts, not the one that trains")
	}
	body, err := w.model()
	if err != nil {
		return nil, nil, err
	}
	var m message
	version, ok := g.Opset[""]
	if !ok {
		version = graph.Opsets()[""]
	}
	m.int(modelIR, int64(max(irVersion(version), w.ir)))
	m.optional(modelProducer, opt.Producer)
	m.optional(modelProducerVersion, opt.ProducerVersion)
	m.sub(modelGraph, body)
	for _, domain := range slices.Sorted(maps.Keys(w.domains)) {
		version, ok := g.Opset[domain]
		if !ok {
			return nil, nil, invalid("the graph does not say which version of domain %q it uses", domain).
				Try("make it with graph.NewBuilder, or set Graph.Opset")
		}
		var o message
		o.text(opsetDomain, domain)
		o.int(opsetVersion, int64(version))
		m.sub(modelOpset, &o)
	}
	for _, key := range slices.Sorted(maps.Keys(g.Meta)) {
		m.entry(modelMeta, key, g.Meta[key])
	}
	if m.len() > maxInlineBytes {
		return nil, nil, fault.New("onnx.save", fault.TooLarge, "the model would have %d bytes; an ONNX file can have at most %d", m.len(), maxInlineBytes).
			Try("write the weights into a file beside it (external data)")
	}
	return w, &m, nil
}

// irVersion is the IR version that came with a version of ai.onnx. From 4 on,
// weights need not be inputs.
func irVersion(opset int) int {
	for _, v := range []struct{ opset, ir int }{{25, 13}, {24, 12}, {23, 11}, {21, 10}, {19, 9}, {15, 8}, {12, 7}, {11, 6}, {10, 5}} {
		if opset >= v.opset {
			return v.ir
		}
	}
	return 4
}

// irOf is the IR version that brought an element type.
func irOf(d tensor.DType) int {
	switch d {
	case tensor.Float8E4M3FN, tensor.Float8E4M3FNUZ, tensor.Float8E5M2, tensor.Float8E5M2FNUZ:
		return 9
	case tensor.Uint4, tensor.Int4:
		return 10
	case tensor.Float4E2M1:
		return 11
	case tensor.Float8E8M0:
		return 12
	case tensor.Uint2, tensor.Int2:
		return 13
	}
	return 4
}

// outside is a tensor in the file of external data.
type outside struct {
	offset int64
	data   []byte
}

// place finds room for data in the file of external data.
func (w *writer) place(data []byte) int64 {
	align := int64(externalAlign)
	if len(data) >= pageAlignFrom {
		align = pageAlign
	}
	offset := (w.end + align - 1) / align * align
	w.outside = append(w.outside, outside{offset, data})
	w.end = offset + int64(len(data))
	return offset
}

func (w *writer) writeOutside(out io.Writer) error {
	at := int64(0)
	for _, t := range w.outside {
		if _, err := out.Write(make([]byte, t.offset-at)); err != nil {
			return err
		}
		if _, err := out.Write(t.data); err != nil {
			return err
		}
		at = t.offset + int64(len(t.data))
	}
	return nil
}

// writeFile makes a file whole: under another name first, durable, then renamed. What is
// there and no file, such as a device, would be gone: it is refused.
func writeFile(path string, write func(io.Writer) error) (err error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return fault.New("onnx.save", fault.Invalid, "it is there, and is no file").Try("give the path of a file")
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real // the link stays
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".tmp-")
	if err != nil {
		return cause(err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()           // closed twice when renaming has failed
			_ = os.Remove(f.Name()) // the error that matters is the first
			err = cause(err)
		}
	}()
	out := bufio.NewWriterSize(f, writeBufferSize)
	if err := write(out); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// cause leaves out the name of a temporary file, which nobody has given.
func cause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
