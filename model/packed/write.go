package packed

import (
	"bufio"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// write replaces the file. Errors are not reported: a cache that cannot be kept is none.
func (s *Store) write(entries []entry, total int64) {
	dir := filepath.Dir(s.path)
	if os.MkdirAll(dir, 0o755) != nil || makeRoom(dir, maxFolderBytes-total) != nil {
		return
	}
	f, err := os.CreateTemp(dir, "*"+suffix)
	if err != nil {
		return
	}
	err = errors.Join(s.writeTo(f, entries), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), s.path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
}

var errStopped = errors.New("the model is closed")

func (s *Store) writeTo(f *os.File, entries []entry) error {
	w := bufio.NewWriterSize(f, 1<<20)
	_, _ = w.WriteString(magic) // Flush tells of errors
	_, _ = w.Write(s.key[:])
	at := headLen
	for _, e := range entries {
		if s.stopped.Load() {
			return errStopped
		}
		head := binary.LittleEndian.AppendUint32(nil, uint32(len(e.name)))
		head = binary.LittleEndian.AppendUint64(head, uint64(len(e.data)))
		head = binary.LittleEndian.AppendUint32(head, checksum(e.data))
		head = append(head, e.name...)
		for (at+len(head))%align != 0 {
			head = append(head, 0)
		}
		_, _ = w.Write(head)
		_, _ = w.Write(e.data)
		at += len(head) + len(e.data)
	}
	return w.Flush()
}

// makeRoom removes the oldest files until the others take no more than limit bytes.
func makeRoom(dir string, limit int64) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var files []os.FileInfo
	total := int64(0)
	for _, e := range list {
		if info, err := e.Info(); err == nil && strings.HasSuffix(e.Name(), suffix) {
			files, total = append(files, info), total+info.Size()
		}
	}
	slices.SortFunc(files, func(a, b os.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	for _, f := range files {
		if total <= limit {
			return nil
		}
		if err := os.Remove(filepath.Join(dir, f.Name())); err != nil {
			return err
		}
		total -= f.Size()
	}
	return nil
}
