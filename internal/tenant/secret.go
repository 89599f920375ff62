package tenant

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"strings"
)

// A secret is "td_" and 43 random characters of base62: 256 bits, and a double click
// selects all of it. Its first characters are public: they find the key, and tell a
// person which key it is. The other 35 are 208 bits that nobody can guess.
const (
	secretMark   = "td_"
	secretChars  = 43
	publicChars  = 8
	prefixLength = len(secretMark) + publicChars
	secretLength = len(secretMark) + secretChars
	alphabet     = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// hash is what is stored of a secret. Plain SHA-256 is enough: salt and a slow function
// protect secrets that people choose, of which there are few enough to try; here an
// attacker with the database has 2^208 to try. And it runs for each request.
type hash [sha256.Size]byte

func hashOf(secret string) hash { return sha256.Sum256([]byte(secret)) }

func (h hash) equal(other hash) bool { return subtle.ConstantTimeCompare(h[:], other[:]) == 1 }

// newSecret draws each character evenly: bytes that would favour the first ones are
// drawn again.
func newSecret() string {
	const even = 256 - 256%len(alphabet)
	out := make([]byte, 0, secretLength)
	out = append(out, secretMark...)
	var buf [64]byte
	for len(out) < secretLength {
		rand.Read(buf[:]) // never fails: the program ends if the system has no randomness
		for _, b := range buf {
			if int(b) < even && len(out) < secretLength {
				out = append(out, alphabet[int(b)%len(alphabet)])
			}
		}
	}
	return string(out)
}

// publicPart is the indexed prefix of a secret; ok is false if it cannot be a secret.
func publicPart(secret string) (prefix string, ok bool) {
	if len(secret) != secretLength || !strings.HasPrefix(secret, secretMark) {
		return "", false
	}
	return secret[:prefixLength], true
}
