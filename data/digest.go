package data

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"slices"
	"strings"

	"tandem/fault"
	"tandem/tensor"
)

// Digest identifies the contents of a dataset: the sha256 of its columns.
type Digest [sha256.Size]byte

const digestPrefix = "sha256:"

// String is "sha256:" and 64 hexadecimal digits.
func (d Digest) String() string { return digestPrefix + hex.EncodeToString(d[:]) }

// MarshalText is String, for JSON.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (d *Digest) UnmarshalText(text []byte) error {
	parsed, err := ParseDigest(string(text))
	if err == nil {
		*d = parsed
	}
	return err
}

// ParseDigest is the inverse of String. It takes that one form only, so that
// digests can be compared as text.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	digits, ok := strings.CutPrefix(s, digestPrefix)
	if !ok || len(digits) != hex.EncodedLen(len(d)) || strings.ToLower(digits) != digits {
		return Digest{}, badDigest(s)
	}
	if _, err := hex.Decode(d[:], []byte(digits)); err != nil {
		return Digest{}, badDigest(s)
	}
	return d, nil
}

func badDigest(s string) error {
	return fault.New("data.digest", fault.Invalid, "%.80q is not the digest of a dataset", s).
		Try("write it as sha256: and 64 lower-case hexadecimal digits")
}

// Digest is computed anew from all examples at every call: tensors are shared, and
// files may have changed. What's hashed (numbers are 8 bytes, little-endian; a text
// is its length and its bytes):
//
//	text "tandem.dataset.v2", number of columns, then for each in order of names:
//	text name, text type, rank, dimensions, number of names of classes, each as a text,
//	the sha256 of its elements: their bytes; or of strings, each as a text
//
// Neither the order of columns counts, since readers ask for them by name, nor
// whether the examples lie in memory.
func (d *Dataset) Digest() (Digest, error) {
	elements := make([]hasher, len(d.fields))
	for i := range elements {
		elements[i] = hasher{sha256.New()}
	}
	err := d.Scan(func(part *Dataset) error {
		for i, t := range part.memory {
			if t.DType() != tensor.String {
				elements[i].Write(t.Bytes())
				continue
			}
			for _, s := range t.Strings() {
				elements[i].text(s)
			}
		}
		return nil
	})
	if err != nil {
		return Digest{}, err
	}
	order := make([]int, len(d.fields))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(d.fields[a].Name, d.fields[b].Name) })
	h := hasher{Hash: sha256.New()}
	h.text("tandem.dataset.v2")
	h.number(len(d.fields))
	for _, i := range order {
		h.field(d.fields[i], d.Len())
		h.Write(elements[i].Sum(nil))
	}
	return Digest(h.Sum(nil)), nil
}

// hasher writes what's hashed so that no two datasets write the same.
type hasher struct{ hash.Hash }

func (h hasher) number(n int) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(n))
	h.Write(b[:])
}

func (h hasher) text(s string) {
	h.number(len(s))
	h.Write([]byte(s))
}

func (h hasher) field(f Field, length int) {
	h.text(f.Name)
	h.text(f.DType.String())
	h.number(1 + len(f.Shape))
	h.number(length)
	for _, dim := range f.Shape {
		h.number(dim)
	}
	h.number(len(f.Values))
	for _, v := range f.Values {
		h.text(v)
	}
}
