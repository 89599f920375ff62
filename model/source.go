package model

import (
	"io"
	"os"
	"path/filepath"

	"tandem/fault"
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
