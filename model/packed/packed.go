package packed

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tandem/graph"
	"tandem/graph/pass"
	"tandem/tensor"
	"tandem/tensor/mapped"
)

// A file begins with its head: magic and key. Entries follow: length of the name
// (u32), number of bytes (u64), their CRC-32C (u32), all little-endian, the name, and
// the bytes from the next cache line on.
const (
	magic    = "tndmpk2\n"
	headLen  = len(magic) + sha256.Size
	entryLen = 4 + 8 + 4
	align    = 64
	suffix   = ".packed"
	unready  = ".part" // of a file that is being written
	// smallest is what must have been packed for a file to be worth its place.
	smallest = 1 << 20
	// maxFolderBytes bounds all files of a folder.
	maxFolderBytes = 64 << 30
	// pieceBytes are copied or written at a time.
	pieceBytes = 4 << 20
)

// Store has the packed weights of one model.
type Store struct {
	path    string // of the file; "": nothing is kept
	key     [sha256.Size]byte
	file    *mapped.File
	found   map[string]entry
	entries []entry // those that the model uses
	fresh   bool    // some were packed anew
	writing sync.WaitGroup
	stopped atomic.Bool // what is being written is given up
}

type entry struct {
	name string
	data []byte
	sum  uint32 // as the file has it
}

// OfFiles names the state of a model that lies in files: where they lie, their sizes
// and when they were changed. It is "" if they cannot be found.
func OfFiles(paths ...string) string {
	name := ""
	for _, p := range paths {
		full, err := filepath.Abs(p)
		if err != nil {
			return ""
		}
		info, err := os.Stat(full)
		if err != nil {
			return ""
		}
		name += fmt.Sprintf("%q %d %d\n", full, info.Size(), info.ModTime().UnixNano())
	}
	return name
}

// Open opens the store of a model in dir. The model lies at place, and state tells
// which of its states it is in, such as OfFiles or a digest; tier is that of the pool.
// Where dir or state is empty nothing is kept.
func Open(dir, place, state string, tier string) *Store {
	s := &Store{found: map[string]entry{}}
	if dir == "" || state == "" {
		return s
	}
	name := sha256.Sum256(fmt.Appendf(nil, "%s\n%s", tier, place))
	s.path = filepath.Join(dir, hex.EncodeToString(name[:16])+suffix)
	s.key = sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s", tier, build(), state))
	if f, err := mapped.Open(s.path); err == nil {
		s.file = f
		s.read(f.Bytes())
	}
	return s
}

// build names this program: another one may pack in another way.
func build() string {
	path, err := os.Executable()
	if err != nil {
		return ""
	}
	return OfFiles(path)
}

// read finds the entries of a file. A length that does not fit ends it.
func (s *Store) read(b []byte) {
	if len(b) < headLen || string(b[:len(magic)]) != magic || [sha256.Size]byte(b[len(magic):headLen]) != s.key {
		return
	}
	for at := headLen; at+entryLen <= len(b); {
		name, size := uint64(binary.LittleEndian.Uint32(b[at:])), binary.LittleEndian.Uint64(b[at+4:])
		sum := binary.LittleEndian.Uint32(b[at+12:])
		from := (uint64(at) + entryLen + name + align - 1) &^ (align - 1)
		if from > uint64(len(b)) || size > uint64(len(b))-from {
			return
		}
		e := entry{string(b[at+entryLen:][:name]), b[from : from+size : from+size], sum}
		s.found[e.name] = e
		at = int(from + size)
	}
}

// Packing is the pass's view: what was kept, or what is packed now. Bytes come from
// region if there is one.
func (s *Store) Packing(region *graph.Region) pass.Packing {
	return func(name string, size int, fill func([]byte)) ([]byte, error) {
		kept, ok := s.found[name]
		ok = ok && len(kept.data) == size
		if ok && region == nil && checksum(kept.data) == kept.sum {
			s.entries = append(s.entries, kept)
			return kept.data, nil
		}
		data, err := room(region, size)
		if err != nil {
			return nil, err
		}
		s.entries = append(s.entries, entry{name: name, data: data})
		if ok && region != nil {
			if s.copy(data, kept) {
				return data, nil
			}
			clear(data)
		}
		s.fresh = true
		fill(data)
		return data, nil
	}
}

// copy takes what was kept, piece by piece, so that never much of the file is in memory
// beside its copy. It reports whether it is whole.
func (s *Store) copy(dst []byte, kept entry) bool {
	sum, table := uint32(0), crc32.MakeTable(crc32.Castagnoli)
	for src := kept.data; len(src) > 0; {
		n := min(pieceBytes, len(src))
		copy(dst, src[:n])
		sum = crc32.Update(sum, table, dst[:n])
		s.file.Forget(src[:n])
		dst, src = dst[n:], src[n:]
	}
	return sum == kept.sum
}

func room(region *graph.Region, size int) ([]byte, error) {
	if region != nil {
		return region.Take(size)
	}
	return tensor.AlignedBytes(size), nil
}

func checksum(data []byte) uint32 { return crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)) }

// Fresh reports whether something had to be packed.
func (s *Store) Fresh() bool { return s.fresh }

// Keep writes the file, if something was packed anew, in the background: the model
// serves meanwhile. Nothing is packed any more.
func (s *Store) Keep() {
	total := int64(0)
	for _, e := range s.entries {
		total += int64(entryLen + len(e.name) + len(e.data) + align)
	}
	if s.path == "" || !s.fresh || total < smallest {
		return
	}
	entries := slices.Clone(s.entries)
	s.writing.Go(func() { s.write(entries, total) })
}

// patience is how long Close waits for what is being written, at most.
const patience = 30 * time.Second

// Close returns when what is being written has been, so that a short first start is
// enough for the second to be fast; on a disk that takes too long it is given up. Then
// the file is unmapped: weights that came from it must not be read any more.
func (s *Store) Close() error {
	late := time.AfterFunc(patience, func() { s.stopped.Store(true) })
	s.writing.Wait()
	late.Stop()
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	return err
}
