package blob

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strings"

	"tandem/fault"
)

// Digest names bytes by their content: "sha256:" and 64 lower-case hexadecimal
// digits. A value made by ParseDigest, Sum or SumReader is well-formed, hence safe
// as a part of a path.
type Digest string

const digestPrefix = "sha256:"

// ParseDigest accepts the canonical form only: two spellings of one digest would be
// two identities of one artifact.
func ParseDigest(s string) (Digest, error) {
	hexa, ok := strings.CutPrefix(s, digestPrefix)
	if !ok || len(hexa) != 2*sha256.Size || strings.Trim(hexa, "0123456789abcdef") != "" {
		return "", fault.New("blob.parseDigest", fault.Invalid, "%.100q is not a digest", s).
			Try("write sha256: and 64 lower-case hexadecimal digits")
	}
	return Digest(s), nil
}

// Sum is the digest of b.
func Sum(b []byte) Digest {
	sum := sha256.Sum256(b)
	return digestOf(sum[:])
}

// SumReader reads r to its end; it returns the digest and the number of bytes.
func SumReader(r io.Reader) (Digest, int64, error) {
	h := sha256.New()
	n, err := io.Copy(h, r)
	if err != nil {
		return "", n, fault.From(err, "blob.sum")
	}
	return digestOf(h.Sum(nil)), n, nil
}

func digestOf(sum []byte) Digest {
	return Digest(digestPrefix + hex.EncodeToString(sum))
}
