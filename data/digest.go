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

// Digest is computed anew from all examples at every call, because the tensors
// are shared. What's hashed (numbers are 8 bytes, little-endian; a text is its
// length and its bytes):
//
//	text "tandem.dataset.v1", number of columns, then for each in order of names:
//	text name, text type, rank, dimensions, bytes of the elements; or of strings, each as a text
//
// The order of columns doesn't count: readers ask for them by name.
func (d *Dataset) Digest() Digest {
	h := hasher{Hash: sha256.New()}
	h.text("tandem.dataset.v1")
	h.number(len(d.columns))
	sorted := slices.SortedFunc(slices.Values(d.columns), func(a, b Column) int { return cmp.Compare(a.Name, b.Name) })
	for _, c := range sorted {
		t := c.Tensor
		h.text(c.Name)
		h.text(t.DType().String())
		h.number(t.Rank())
		for _, dim := range t.Shape() {
			h.number(dim)
		}
		if t.DType() == tensor.String {
			for _, s := range t.Strings() {
				h.text(s)
			}
			continue
		}
		h.Write(t.Bytes())
	}
	return Digest(h.Sum(nil))
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
