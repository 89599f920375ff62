package model

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"runtime"
	"sync"

	"tandem/fault"
	"tandem/tensor/mapped"
)

// verifyChunkBytes is how much is hashed between two looks at the context.
const verifyChunkBytes = 16 << 20

// files are the verified bytes of an artifact, by name.
type files map[string]*mapped.File

// Verify compares every file with its size and digest. An error of kind Corrupt
// names the file.
func Verify(ctx context.Context, m *Manifest, src Source) error {
	f, err := openFiles(ctx, m, src)
	if err != nil {
		return err
	}
	return f.close()
}

// openFiles maps every file and compares the mapped bytes, files in parallel.
func openFiles(ctx context.Context, m *Manifest, src Source) (files, error) {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		all   = files{}
		errs  = make([]error, len(m.Files))
		slots = make(chan struct{}, runtime.GOMAXPROCS(0))
	)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for i, f := range m.Files {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			mf, err := openFile(ctx, f, src)
			if errs[i] = err; err != nil {
				cancel()
				return
			}
			mu.Lock()
			defer mu.Unlock()
			all[f.Name] = mf
		})
	}
	wg.Wait()
	if err := worst(errs); err != nil {
		_ = all.close() // the error that matters is the first
		return nil, err
	}
	return all, nil
}

// worst is the first error that is not the consequence of another.
func worst(errs []error) error {
	var canceled error
	for _, err := range errs {
		if err == nil {
			continue
		}
		if fault.KindOf(err) != fault.Canceled {
			return err
		}
		canceled = err
	}
	return canceled
}

// openFile opens, maps and hashes one descriptor: a file that takes the name
// afterwards is not seen.
func openFile(ctx context.Context, f File, src Source) (*mapped.File, error) {
	const op = "model.open"
	path, err := src(f)
	if err != nil {
		return nil, fault.Wrap(err, op, fault.KindOf(err), "file %s", f.Name)
	}
	m, err := mapped.Open(path)
	if err != nil {
		return nil, fault.Wrap(err, op, fault.KindOf(err), "file %s", f.Name).Try("restore the file, or upload the model again")
	}
	if err := verify(ctx, f, m); err != nil {
		_ = m.Close() // the error that matters is the first
		return nil, err
	}
	return m, nil
}

func verify(ctx context.Context, f File, m *mapped.File) error {
	const op, remedy = "model.open", "check the disk, then restore the file or upload the model again"
	data := m.Bytes()
	if int64(len(data)) != f.Bytes {
		return fault.New(op, fault.Corrupt, "file %s (%s) has %d bytes, the manifest says %d", f.Name, m.Path(), len(data), f.Bytes).Try(remedy)
	}
	h := sha256.New()
	for len(data) > 0 {
		if err := ctx.Err(); err != nil {
			return fault.From(err, op)
		}
		n := min(len(data), verifyChunkBytes)
		h.Write(data[:n])
		data = data[n:]
	}
	if got := Digest("sha256:" + hex.EncodeToString(h.Sum(nil))); got != f.Digest {
		return fault.New(op, fault.Corrupt, "file %s (%s) has digest %s, the manifest says %s", f.Name, m.Path(), got, f.Digest).Try(remedy)
	}
	return nil
}

func (all files) get(name string) ([]byte, error) {
	f, ok := all[name]
	if !ok {
		return nil, fault.Wrap(os.ErrNotExist, "model.open", fault.Invalid, "file %.200q is not listed in the manifest", name)
	}
	return f.Bytes(), nil
}

func (all files) close() error {
	var first error
	for _, f := range all {
		if err := f.Close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}
