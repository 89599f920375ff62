package blob

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"

	"tandem/fault"
)

// Put stores the bytes of r and returns their digest and number. It refuses them when
// there are more than limitBytes, or when want is not empty and not their digest.
// When it fails, nothing is left behind; when it returns nil, the bytes outlive a
// power cut.
//
// Bytes that are there already are read, compared and written all the same: so the
// time that Put takes does not tell one tenant what another has, and a damaged file is
// healed by uploading it again.
func (d *Dir) Put(ctx context.Context, r io.Reader, want Digest, limitBytes int64) (Digest, int64, error) {
	const op = "blob.put"
	if want != "" {
		if _, err := ParseDigest(string(want)); err != nil {
			return "", 0, fault.From(err, op)
		}
	}
	f, err := os.CreateTemp(d.tmp(), "put-")
	if err != nil {
		return "", 0, diskFault(err, op, "storing bytes in %q", d.root)
	}
	got, n, err := receive(ctx, f, r, want, limitBytes)
	if err == nil {
		err = d.keep(f, got)
	}
	if err != nil {
		_ = f.Close()           // closed twice when keep has failed later
		_ = os.Remove(f.Name()) // else OpenDir removes it
		if _, ok := errors.AsType[*fault.Error](err); ok {
			return "", 0, fault.From(err, op)
		}
		return "", 0, diskFault(err, op, "storing bytes in %q", d.root)
	}
	return got, n, nil
}

// receive copies r to f and checks length and digest.
func receive(ctx context.Context, f *os.File, r io.Reader, want Digest, limitBytes int64) (Digest, int64, error) {
	const op = "blob.put"
	h, src := sha256.New(), source{ctx, r}
	buf := make([]byte, 256<<10)
	n, err := io.CopyBuffer(io.MultiWriter(f, h), io.LimitReader(src, limitBytes), buf)
	if err != nil {
		return "", 0, err
	}
	if n >= limitBytes {
		more, err := io.ReadFull(src, buf[:1])
		if err != nil && !errors.Is(err, io.EOF) {
			return "", 0, err
		}
		if more > 0 {
			return "", 0, fault.New(op, fault.TooLarge, "more than the %d bytes that are allowed", limitBytes)
		}
	}
	got := digestOf(h.Sum(nil))
	if want != "" && got != want {
		return "", 0, fault.New(op, fault.Invalid, "the %d bytes received have digest %s, not %s", n, got, want).
			Try("send the file again: it was changed or cut short on the way")
	}
	return got, n, nil
}

// keep makes the temporary file durable, then gives it its name, then makes the name
// durable. In any other order a crash could leave a name without bytes.
func (d *Dir) keep(f *os.File, digest Digest) error {
	path, err := d.Path(digest)
	if err != nil {
		return err
	}
	if err := f.Chmod(0o400); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// source is a reader that ends soon after ctx does, and whose errors can be told from
// those of the disk: they are the sender's, who went away.
type source struct {
	ctx context.Context
	r   io.Reader
}

func (s source) Read(p []byte) (int, error) {
	const op = "blob.put"
	if err := s.ctx.Err(); err != nil {
		return 0, fault.From(err, op)
	}
	n, err := s.r.Read(p)
	if err == nil || err == io.EOF {
		return n, err
	}
	kind := fault.KindOf(err)
	if kind == fault.Internal {
		kind = fault.Canceled
	}
	return n, fault.Wrap(err, op, kind, "the bytes stopped coming")
}
