package blob

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"tandem/fault"
)

// Dir is a directory of blobs, safe for concurrent use. One process at a time may
// have it open for writing (internal/store holds the lock): OpenDir empties tmp/.
type Dir struct {
	root string // absolute
}

const (
	remedySpace = "free space on that disk, or start the server with --data on a larger one; nothing was stored"
	remedyWrite = "choose a --data directory that this user can write, or change its owner and mode"
)

// OpenDir creates the directory where it is missing, checks that it can be written,
// and removes what interrupted uploads left behind.
func OpenDir(path string) (*Dir, error) {
	const op = "blob.openDir"
	root, err := filepath.Abs(path)
	if err != nil {
		return nil, fault.From(err, op)
	}
	d := &Dir{root: root}
	if err := d.prepare(); err != nil {
		return nil, diskFault(err, op, "cannot use %q for model files", root)
	}
	return d, nil
}

// prepare makes all 256 fan-out folders now. Making them on demand would need a sync
// of two folders for each Put, because a folder that another Put has just made may
// not be on the disk yet.
func (d *Dir) prepare() error {
	if err := os.RemoveAll(d.tmp()); err != nil {
		return err
	}
	if err := os.MkdirAll(d.tmp(), 0o700); err != nil {
		return err
	}
	made := false
	for i := range 256 {
		const hexa = "0123456789abcdef"
		sub := filepath.Join(d.root, "sha256", string([]byte{hexa[i>>4], hexa[i&15]}))
		switch err := os.Mkdir(sub, 0o700); {
		case err == nil:
			made = true
		case errors.Is(err, fs.ErrNotExist):
			if err := os.MkdirAll(sub, 0o700); err != nil {
				return err
			}
			made = true
		case !errors.Is(err, fs.ErrExist):
			return err
		}
	}
	if made {
		for _, p := range []string{filepath.Join(d.root, "sha256"), d.root, filepath.Dir(d.root)} {
			if err := syncDir(p); err != nil {
				return err
			}
		}
	}
	return d.probe()
}

// probe writes one byte: a read-only mount and a full disk show only when writing.
func (d *Dir) probe() error {
	f, err := os.CreateTemp(d.tmp(), "probe-")
	if err != nil {
		return err
	}
	_, werr := f.Write([]byte{1})
	return errors.Join(werr, f.Close(), os.Remove(f.Name()))
}

func (d *Dir) tmp() string { return filepath.Join(d.root, "tmp") }

// Path is where the blob's file is or would be. The file is never rewritten, so it
// can be mapped, and stays readable by whoever has it open when it is deleted.
func (d *Dir) Path(digest Digest) (string, error) {
	if _, err := ParseDigest(string(digest)); err != nil {
		return "", fault.From(err, "blob.path")
	}
	hexa := string(digest[len(digestPrefix):])
	return filepath.Join(d.root, "sha256", hexa[:2], hexa), nil
}

// Open opens a blob for reading.
func (d *Dir) Open(digest Digest) (*os.File, error) {
	const op = "blob.open"
	path, err := d.Path(digest)
	if err != nil {
		return nil, fault.From(err, op)
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(op, fault.NotFound, "there are no bytes with digest %s", digest)
	}
	if err != nil {
		return nil, diskFault(err, op, "reading %s", digest)
	}
	return f, nil
}

// Has tells whether the blob is there. It does not read it.
func (d *Dir) Has(digest Digest) (bool, error) {
	const op = "blob.has"
	path, err := d.Path(digest)
	if err != nil {
		return false, fault.From(err, op)
	}
	switch info, err := os.Lstat(path); {
	case err == nil:
		return info.Mode().IsRegular(), nil
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	default:
		return false, diskFault(err, op, "looking for %s", digest)
	}
}

// Delete removes a blob; one that is not there is no error.
func (d *Dir) Delete(digest Digest) error {
	const op = "blob.delete"
	path, err := d.Path(digest)
	if err != nil {
		return fault.From(err, op)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return diskFault(err, op, "deleting %s", digest)
	}
	return nil
}

// All lists every stored digest, in order. Files that are not blobs are left out.
func (d *Dir) All() ([]Digest, error) {
	const op = "blob.all"
	var all []Digest
	base := filepath.Join(d.root, "sha256")
	folders, err := os.ReadDir(base)
	if err != nil {
		return nil, diskFault(err, op, "listing %q", base)
	}
	for _, folder := range folders {
		files, err := os.ReadDir(filepath.Join(base, folder.Name()))
		if err != nil {
			return nil, diskFault(err, op, "listing %q", base)
		}
		for _, f := range files {
			digest, err := ParseDigest(digestPrefix + f.Name())
			if err == nil && strings.HasPrefix(f.Name(), folder.Name()) {
				all = append(all, digest)
			}
		}
	}
	return all, nil
}

// diskFault gives an error of the file system its kind and says what to do.
func diskFault(err error, op, format string, args ...any) error {
	kind, remedy := fault.KindOf(err), fault.RemedyOf(err)
	switch {
	case errors.Is(err, syscall.EFBIG): // a limit of the file system or of ulimit -f
		kind, remedy = fault.NoSpace, remedySpace
	case remedy != "":
	case kind == fault.NoSpace:
		remedy = remedySpace
	case kind == fault.Denied, errors.Is(err, syscall.EROFS), errors.Is(err, syscall.ENOTDIR):
		kind, remedy = fault.Denied, remedyWrite
	}
	return fault.Wrap(err, op, kind, format, args...).Try(remedy)
}
