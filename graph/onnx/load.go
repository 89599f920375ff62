package onnx

import (
	"os"
	"path/filepath"
	"sync"

	"tandem/fault"
	"tandem/graph"
	"tandem/tensor/mapped"
)

// LoadOptions are what reading needs besides the bytes. The zero value will do.
type LoadOptions struct {
	// Name stands for the file in errors. Load takes the path if it is empty.
	Name string
	// External gives all bytes of a file that holds tensors outside the model, by
	// its location relative to the model. The bytes must stay as they are for as
	// long as the graph is used. Load looks in the model's folder if it is nil;
	// Read refuses such tensors.
	External func(location string) ([]byte, error)
}

// Load reads the ONNX file at path. Constants are not copied where they lie
// aligned to their element: they share the mapped file. The caller owns the
// mapping, and closes it when neither the graph nor anything compiled from it is
// used any more.
//
// Errors are of kind Invalid (the file is wrong), Unsupported (it is well-formed,
// but uses what Tandem does not have) or that of the file system; they name the
// file and the node or tensor.
func Load(path string, opt LoadOptions) (*graph.Graph, *Files, error) {
	if opt.Name == "" {
		opt.Name = path
	}
	files := &Files{dir: filepath.Dir(path), byLocation: map[string]*mapped.File{}}
	if opt.External == nil {
		opt.External = files.external
	}
	f, err := mapped.Open(path)
	if err != nil {
		return nil, nil, fault.Wrap(err, "onnx.load", fault.KindOf(err), "%s", opt.Name)
	}
	files.all = append(files.all, f)
	g, err := Read(f.Bytes(), opt)
	if err != nil {
		_ = files.Close() // the error that matters is the first
		return nil, nil, err
	}
	return g, files, nil
}

// Files are what a loaded graph borrows from.
type Files struct {
	dir        string
	mu         sync.Mutex
	byLocation map[string]*mapped.File
	all        []*mapped.File
}

// Paths are where the files lie, the graph's first.
func (m *Files) Paths() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	paths := make([]string, len(m.all))
	for i, f := range m.all {
		paths[i] = f.Path()
	}
	return paths
}

// external opens a file beneath the model's folder: os.Root follows no link out of it.
func (m *Files) external(location string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.byLocation[location]; f != nil {
		return f.Bytes(), nil
	}
	f, err := openBeneath(m.dir, location)
	if err != nil {
		return nil, err
	}
	m.byLocation[location] = f
	m.all = append(m.all, f)
	return f.Bytes(), nil
}

func openBeneath(dir, location string) (*mapped.File, error) {
	const remedy = "put the file into the folder of the model, as a file and not a link"
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fault.From(err, "onnx.external")
	}
	defer root.Close()
	info, err := root.Stat(location)
	if err != nil {
		return nil, fault.Wrap(err, "onnx.external", fault.Invalid, "").Try(remedy)
	}
	if !info.Mode().IsRegular() {
		return nil, fault.New("onnx.external", fault.Invalid, "%s is not a regular file", location).Try(remedy)
	}
	f, err := root.Open(location)
	if err != nil {
		return nil, fault.Wrap(err, "onnx.external", fault.Invalid, "").Try(remedy)
	}
	defer f.Close()
	return mapped.Of(f)
}

// Forget tells that the files' bytes have been read: they need no memory until they are
// read again, which may be at any time.
func (m *Files) Forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range m.all {
		f.Forget(f.Bytes())
	}
}

// Close unmaps every file.
func (m *Files) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var first error
	for _, f := range m.all {
		if err := f.Close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}
