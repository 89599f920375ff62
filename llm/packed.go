package llm

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"tandem/graph"
	"tandem/graph/pass"
	"tandem/kernel"
)

// packedStore keeps the packed weights of models in a folder, so that the next start
// reads them instead of packing anew. A file belongs to one state of one model's file
// and to one tier of instructions. It is a cache: what is damaged or cannot be written
// is packed anew, and the oldest files make room for new ones.
//
// A file is a list of entries: length of the name (u32), number of bytes (u64), their
// CRC-32C (u32), the name, the bytes; little-endian.
type packedStore struct {
	path    string // of the file; "": nothing is kept
	in      *bufio.Reader
	closeIn func() error
	entries []packedEntry // all of them
	fresh   bool          // some were packed anew
	writing sync.WaitGroup
	stopped atomic.Bool
}

type packedEntry struct {
	name string
	data []byte
}

const (
	packedVersion  = "1" // of the panels' layout: another one is packed anew
	packedSuffix   = ".packed"
	maxPackedBytes = 64 << 30 // of all files in the folder
)

// openPacked opens the file of a model that lies at source, if there is one.
func openPacked(dir, source string, isa kernel.ISA) *packedStore {
	s := &packedStore{}
	info, err := os.Stat(source)
	if dir == "" || err != nil {
		return s
	}
	full, err := filepath.Abs(source)
	if err != nil {
		return s
	}
	key := sha256.Sum256(fmt.Appendf(nil, "%s\n%v\n%s\n%d\n%d", packedVersion, isa, full, info.Size(), info.ModTime().UnixNano()))
	s.path = filepath.Join(dir, hex.EncodeToString(key[:16])+packedSuffix)
	if f, err := os.Open(s.path); err == nil {
		s.in, s.closeIn = bufio.NewReaderSize(f, 1<<20), f.Close
	}
	return s
}

// packing reads weights into a region, or packs them.
func (s *packedStore) packing(r *graph.Region) pass.Packing {
	return func(name string, size int, fill func([]byte)) ([]byte, error) {
		data, err := r.Take(size)
		if err != nil {
			return nil, err
		}
		s.entries = append(s.entries, packedEntry{name, data})
		if s.in != nil && readEntry(s.in, name, data) == nil {
			return data, nil
		}
		s.in, s.fresh = nil, true // what follows would not fit either
		fill(data)
		return data, nil
	}
}

func checksum(data []byte) uint32 { return crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)) }

const entryHead = 4 + 8 + 4

func readEntry(r io.Reader, name string, data []byte) error {
	head := make([]byte, entryHead+len(name))
	if _, err := io.ReadFull(r, head); err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(head) != uint32(len(name)) || binary.LittleEndian.Uint64(head[4:]) != uint64(len(data)) || string(head[entryHead:]) != name {
		return errors.New("another weight")
	}
	if _, err := io.ReadFull(r, data); err != nil {
		return err
	}
	if checksum(data) != binary.LittleEndian.Uint32(head[12:]) {
		return errors.New("damaged")
	}
	return nil
}

// keep writes the file if something was packed anew, in the background: the model serves
// meanwhile.
func (s *packedStore) keep() {
	if s.closeIn != nil {
		_ = s.closeIn() // it was only read
		s.closeIn = nil
	}
	if s.path == "" || !s.fresh {
		return
	}
	s.writing.Go(func() {
		if err := s.write(); err != nil {
			_ = os.Remove(s.path + ".new") // a cache that cannot be kept is none
		}
	})
}

func (s *packedStore) write() error {
	dir, total := filepath.Dir(s.path), int64(0)
	for _, e := range s.entries {
		total += int64(entryHead + len(e.name) + len(e.data))
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := makeRoom(dir, maxPackedBytes-total); err != nil {
		return err
	}
	f, err := os.Create(s.path + ".new")
	if err != nil {
		return err
	}
	for _, e := range s.entries {
		head := binary.LittleEndian.AppendUint32(nil, uint32(len(e.name)))
		head = binary.LittleEndian.AppendUint64(head, uint64(len(e.data)))
		head = binary.LittleEndian.AppendUint32(head, checksum(e.data))
		_, err1 := f.Write(append(head, e.name...))
		_, err2 := f.Write(e.data)
		if err := cmp.Or(err1, err2); err != nil || s.stopped.Load() {
			return errors.Join(err, f.Close(), os.Remove(s.path+".new"))
		}
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(s.path+".new", s.path)
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
		if info, err := e.Info(); err == nil && strings.HasSuffix(e.Name(), packedSuffix) {
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

// close waits for what is being written, which ends early.
func (s *packedStore) close() error {
	s.stopped.Store(true)
	s.writing.Wait()
	return nil
}
