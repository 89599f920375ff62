package packed

import (
	"bufio"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// write replaces the file. Errors are not reported: a cache that cannot be kept is none.
func (s *Store) write(entries []entry, total int64) {
	dir := filepath.Dir(s.path)
	if os.MkdirAll(dir, 0o755) != nil || makeRoom(dir, maxFolderBytes-total) != nil {
		return
	}
	f, err := os.CreateTemp(dir, filepath.Base(s.path)+".*"+unready)
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

var errStopped = errors.New("writing takes too long")

func (s *Store) writeTo(f *os.File, entries []entry) error {
	w := bufio.NewWriterSize(f, 1<<20)
	_, _ = w.WriteString(magic) // Flush tells of errors
	_, _ = w.Write(s.key[:])
	at := headLen
	for _, e := range entries {
		head := binary.LittleEndian.AppendUint32(nil, uint32(len(e.name)))
		head = binary.LittleEndian.AppendUint64(head, uint64(len(e.data)))
		head = binary.LittleEndian.AppendUint32(head, checksum(e.data))
		head = append(head, e.name...)
		for (at+len(head))%align != 0 {
			head = append(head, 0)
		}
		_, _ = w.Write(head)
		for piece := range slices.Chunk(e.data, pieceBytes) {
			if s.stopped.Load() {
				return errStopped
			}
			_, _ = w.Write(piece)
		}
		at += len(head) + len(e.data)
	}
	return w.Flush()
}

// staleAfter is how long nothing has been written to a file that nobody writes any more.
const staleAfter = 10 * time.Minute

// makeRoom removes the oldest files until the others take no more than limit bytes, and
// what a process left that was ended while it wrote.
func makeRoom(dir string, limit int64) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var files []os.FileInfo
	total := int64(0)
	for _, e := range list {
		info, err := e.Info()
		switch {
		case err != nil: // it has gone
		case strings.HasSuffix(e.Name(), suffix):
			files, total = append(files, info), total+info.Size()
		case strings.HasSuffix(e.Name(), unready) && time.Since(info.ModTime()) > staleAfter:
			_ = os.Remove(filepath.Join(dir, e.Name())) // another process may have been first
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
