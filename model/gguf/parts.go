package gguf

import (
	"errors"
	"fmt"
	"strings"

	"tandem/fault"
)

// The keys of a model in parts. The first part has the metadata of the whole; each
// has its own tensors.
const (
	partKey        = "split.no"
	partsKey       = "split.count"
	partTensorsKey = "split.tensors.count" // of all parts together
)

const maxParts = 1 << 12

// part is the place of a file among those of its model.
type part struct{ number, of int } // from 0; 1 for a whole file

func (f *File) part() (part, error) {
	number, err := f.Metadata.IntOr(partKey, 0)
	if err != nil {
		return part{}, err
	}
	of, err := f.Metadata.IntOr(partsKey, 1)
	if err != nil {
		return part{}, err
	}
	of = max(of, 1) // some programs write 0 of a whole file
	if of > maxParts || number < 0 || number >= of {
		return part{}, fault.New("gguf.open", fault.Invalid, "%s says that it is part %d of %d, at most %d are read", f.Paths[0], number+1, of, maxParts)
	}
	return part{number, of}, nil
}

// name is how the name of the part's file ends.
func (p part) name() string { return fmt.Sprintf("-%05d-of-%05d.gguf", p.number+1, p.of) }

// parts are the paths of all parts of the model of which the open file is one.
func (f *File) parts() ([]string, error) {
	path := f.Paths[0]
	self, err := f.part()
	if err != nil || self.of == 1 {
		return f.Paths, err
	}
	stem, ok := strings.CutSuffix(path, self.name())
	if !ok {
		return nil, fault.New("gguf.open", fault.Invalid, "%s is part %d of a model in %d files, and its name does not end in %s", path, self.number+1, self.of, self.name()).
			Try("give the files the names under which they were published, and put them into one folder")
	}
	paths := make([]string, self.of)
	for i := range paths {
		paths[i] = stem + part{i, self.of}.name()
	}
	return paths, nil
}

// OpenParts opens a model whose parts are at paths, in order. The result is as if they
// were one file, and its metadata say nothing of parts.
func OpenParts(paths ...string) (*File, error) {
	whole := &File{Metadata: &Metadata{}, byName: map[string]int{}}
	for i, path := range paths {
		if err := whole.join(path, part{i, len(paths)}); err != nil {
			return nil, errors.Join(err, whole.Close())
		}
	}
	all, err := whole.Metadata.IntOr(partTensorsKey, len(whole.Tensors))
	if err == nil && all != len(whole.Tensors) {
		err = fault.New("gguf.open", fault.Invalid, "the parts of %s have %d tensors, the first says %d", paths[0], len(whole.Tensors), all).
			Try("fetch all parts of the model again")
	}
	if err != nil {
		return nil, errors.Join(err, whole.Close())
	}
	for _, key := range []string{partKey, partsKey, partTensorsKey} {
		whole.Metadata.Delete(key)
	}
	return whole, nil
}

// join adds the next part. The first has the metadata of all.
func (f *File) join(path string, want part) error {
	const op = "gguf.open"
	next, err := openPart(path)
	if err != nil && fault.KindOf(err) == fault.NotFound {
		return fault.Wrap(err, op, fault.NotFound, "part %d of %d is missing", want.number+1, want.of).Try("fetch all parts of the model into one folder")
	}
	if err != nil {
		return err
	}
	f.Paths, f.files = append(f.Paths, path), append(f.files, next.files...)
	is, err := next.part()
	if err != nil {
		return err
	}
	if is != want {
		return fault.New(op, fault.Invalid, "%s is part %d of %d, expected part %d of %d", path, is.number+1, is.of, want.number+1, want.of).
			Try("fetch all parts of the model again")
	}
	if want.number == 0 {
		f.Version, f.Metadata = next.Version, next.Metadata
	}
	for _, t := range next.Tensors {
		if _, twice := f.byName[t.Name]; twice {
			return fault.New(op, fault.Invalid, "%s: the tensor %.200q is in another part, too", path, t.Name)
		}
		f.byName[t.Name] = len(f.Tensors)
		f.Tensors = append(f.Tensors, t)
	}
	return nil
}
