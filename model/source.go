package model

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"

	"tandem/fault"
	"tandem/processor"
)

// ManifestFile is the name of the manifest in an artifact's directory.
const ManifestFile = "manifest.json"

// Source finds the file that holds the bytes of f. What it gives is not trusted:
// Open compares size and digest.
type Source func(f File) (path string, err error)

// DirSource finds files by name in an artifact's directory.
func DirSource(dir string) Source {
	return func(f File) (string, error) {
		if err := plainName(f.Name); err != nil {
			return "", err
		}
		return filepath.Join(dir, f.Name), nil
	}
}

// ReadDir reads the manifest of the artifact in dir. The other files are neither
// read nor verified: see Open and Verify.
func ReadDir(dir string) (*Manifest, Source, error) {
	const op = "model.readDir"
	f, err := os.Open(filepath.Join(dir, ManifestFile))
	if err != nil {
		return nil, nil, fault.Wrap(err, op, fault.KindOf(err), "%s is not an artifact", dir).
			Try("give a directory that contains " + ManifestFile)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxManifestBytes+1))
	if err != nil {
		return nil, nil, fault.Wrap(err, op, fault.KindOf(err), "reading %s", f.Name())
	}
	m, err := ParseManifest(data)
	if err != nil {
		return nil, nil, fault.Wrap(err, op, fault.KindOf(err), "%s", f.Name()).Try(fault.RemedyOf(err))
	}
	return m, DirSource(dir), nil
}

// ImageOf reads the parameters of an artifact's image stage; nil: it has none.
func ImageOf(m *Manifest, src Source) (*processor.Image, error) {
	return processorOf[processor.Image](m, src, KindImage)
}

// RowsOf reads the parameters of an artifact's rows stage; nil: it has none.
func RowsOf(m *Manifest, src Source) (*processor.Rows, error) {
	return processorOf[processor.Rows](m, src, KindRows)
}

// TextOf reads the parameters of an artifact's text stage; nil: it has none.
func TextOf(m *Manifest, src Source) (*processor.Bytes, error) {
	return processorOf[processor.Bytes](m, src, KindText)
}

// processorOf reads the file of a kind of stage. Parameters are checked as they are read.
func processorOf[T any](m *Manifest, src Source, kind string) (*T, error) {
	const op = "model.processor"
	for _, stage := range m.Stages {
		if stage.Kind != kind {
			continue
		}
		f, _ := m.File(stage.File) // a manifest that was parsed has it
		path, err := src(f)
		if err != nil {
			return nil, err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fault.From(err, op)
		}
		p := new(T)
		if err := json.Unmarshal(text, p); err != nil {
			return nil, fault.Wrap(err, op, fault.Corrupt, "%s cannot be read", path)
		}
		return p, nil
	}
	return nil, nil
}
