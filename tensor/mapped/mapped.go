package mapped

import (
	"math"
	"os"
	"sync"

	"tandem/fault"
)

// File is a file whose bytes are in memory.
type File struct {
	path  string
	data  []byte
	close func() error
	once  sync.Once
}

// Open maps the file at path.
func Open(path string) (*File, error) {
	if err := regular(os.Stat(path)); err != nil { // opening a named pipe would wait for its writer
		return nil, fault.Wrap(err, "mapped.open", fault.KindOf(err), "")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.From(err, "mapped.open")
	}
	defer f.Close()
	return Of(f)
}

// Of maps the file that f has open, whatever its name stands for by now. It does
// not close f.
func Of(f *os.File) (*File, error) {
	const op = "mapped.open"
	info, err := f.Stat()
	if err := regular(info, err); err != nil {
		return nil, fault.Wrap(err, op, fault.KindOf(err), "")
	}
	if info.Size() > math.MaxInt {
		return nil, fault.New(op, fault.TooLarge, "%s has %d bytes, more than this machine can address", f.Name(), info.Size())
	}
	m := &File{path: f.Name(), close: func() error { return nil }}
	if info.Size() == 0 {
		return m, nil
	}
	if m.data, m.close, err = hold(f, int(info.Size())); err != nil {
		return nil, fault.Wrap(err, op, fault.KindOf(err), "%s", f.Name())
	}
	return m, nil
}

func regular(info os.FileInfo, err error) error {
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fault.New("mapped.open", fault.Invalid, "%s is not a regular file", info.Name()).Try("give the path of a file")
	}
	return nil
}

// Bytes are the file's bytes, read only, until Close.
func (m *File) Bytes() []byte { return m.data }

// Path is the name that the file was opened with.
func (m *File) Path() string { return m.path }

// Close unmaps. A second call does nothing.
func (m *File) Close() error {
	var err error
	m.once.Do(func() {
		m.data = nil
		err = fault.From(m.close(), "mapped.close")
	})
	return err
}

// Forget tells that part of the file's bytes will not be read soon: they need no memory
// until they are.
func (m *File) Forget(part []byte) { forget(part) }
