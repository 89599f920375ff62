package onnx

import (
	"math"

	"tandem/fault"
	"tandem/graph"
)

// Limits of what a file may ask for.
const (
	maxDepth      = 64            // of graphs within nodes, and of functions within functions
	maxRank       = 64            // dimensions of a tensor
	maxDim        = math.MaxInt32 // of an input
	maxVersion    = 1 << 20       // of a domain
	copyFactor    = 16            // bytes copied, per byte of the files
	expandFactor  = 64            // nodes after writing functions out, per node of the file
	freeNodes     = 1 << 12       // nodes that functions may give anyhow
	freeCopyBytes = 1 << 20
)

// reader is one Read under way.
type reader struct {
	opt       LoadOptions
	opset     map[string]int
	functions map[functionID]*function
	symbols   map[string]string // of dimensions, by the name in the file
	taken     map[string]bool   // symbols in use
	sources   map[string]bool   // files of external data seen so far

	copyLeft int64 // bytes that may still be copied out of the files
	nodeLeft int   // nodes that functions may still give
}

// Read reads a ModelProto. Constants borrow data: it must stay as it is for as
// long as the graph, or anything compiled from it, is used. See Load for errors.
func Read(data []byte, opt LoadOptions) (*graph.Graph, error) {
	r := &reader{
		opt: opt, opset: map[string]int{}, functions: map[functionID]*function{}, symbols: map[string]string{},
		taken: map[string]bool{}, sources: map[string]bool{},
		copyLeft: copyFactor*int64(len(data)) + freeCopyBytes, nodeLeft: freeNodes,
	}
	g, err := r.model(data)
	if err == nil {
		return g, nil
	}
	if opt.Name == "" {
		opt.Name = "the ONNX model"
	}
	return nil, fault.Wrap(err, "onnx.load", fault.KindOf(err), "%s", opt.Name).Try(fault.RemedyOf(err))
}

func (r *reader) model(data []byte) (*graph.Graph, error) {
	var (
		body, functions [][]byte
		meta            map[string]string
		ir              int64
	)
	for f, err := range fields(data) {
		if err != nil {
			return nil, err
		}
		switch f.num {
		case modelIR:
			ir, err = f.int()
		case modelGraph:
			body, err = appendMessage(body, f)
		case modelOpset:
			err = r.importOpset(f)
		case modelFunction:
			functions, err = appendMessage(functions, f)
		case modelMeta:
			var key, value string
			if key, value, err = entry(f); meta == nil {
				meta = map[string]string{}
			}
			meta[key] = value
		}
		if err != nil {
			return nil, err
		}
	}
	if len(body) != 1 || ir < 1 {
		return nil, invalid("it has %d graphs and IR version %d: it is not an ONNX model", len(body), ir).
			Try("give a file that an ONNX exporter has written")
	}
	if ir < 3 && len(r.opset) == 0 {
		r.opset[""] = 1 // those versions of the format have no imports
	}
	for _, msg := range functions {
		if err := r.declareFunction(msg); err != nil {
			return nil, err
		}
	}
	g, err := r.graph(body[0], nil, 0)
	if err != nil {
		return nil, err
	}
	g.Meta = meta
	return g, nil
}

func appendMessage(to [][]byte, f field) ([][]byte, error) {
	msg, err := f.message()
	return append(to, msg), err
}

// importOpset reads one opset_import into r.opset.
func (r *reader) importOpset(f field) error {
	domain, version, err := opset(f)
	if err != nil {
		return err
	}
	if have, ok := r.opset[domain]; ok && have != version {
		return invalid("domain %q is imported in versions %d and %d", domain, have, version).Try(remedyExport)
	}
	r.opset[domain] = version
	return nil
}

func opset(f field) (domain string, version int, err error) {
	msg, err := f.message()
	if err != nil {
		return "", 0, err
	}
	var v int64
	for f, err := range fields(msg) {
		if err != nil {
			return "", 0, err
		}
		switch f.num {
		case opsetDomain:
			domain, err = f.text()
		case opsetVersion:
			v, err = f.int()
		}
		if err != nil {
			return "", 0, err
		}
	}
	if v < 0 || v > maxVersion {
		return "", 0, invalid("domain %.200q is imported in version %d", domain, v).Try(remedyExport)
	}
	return canonicalDomain(domain), int(v), nil
}

// canonicalDomain maps the two names of the standard domain to one.
func canonicalDomain(domain string) string {
	if domain == "ai.onnx" {
		return ""
	}
	return domain
}

// spend accounts for n bytes that are about to be copied.
func (r *reader) spend(n int) error {
	if r.copyLeft -= int64(n); r.copyLeft < 0 {
		return fault.New("onnx.read", fault.TooLarge, "the model repeats its data more than %d times", copyFactor).Try(remedyExport)
	}
	return nil
}

const remedyExport = "export the model again, or check it with onnx.checker"

func invalid(format string, args ...any) *fault.Error {
	return fault.New("onnx.read", fault.Invalid, format, args...)
}

func unsupported(format string, args ...any) *fault.Error {
	return fault.New("onnx.read", fault.Unsupported, format, args...)
}

// within says where err happened, and keeps its kind and remedy.
func within(err error, format string, args ...any) error {
	return fault.Wrap(err, "onnx.read", fault.KindOf(err), format, args...).Try(fault.RemedyOf(err))
}
