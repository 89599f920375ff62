package processor

import (
	"hash/fnv"
	"unicode"
)

// hashWords fills dst with the words of a text, each as a number from 1 to buckets, and
// zeros after the last. What dst has no room for is left out. A word is a run of letters
// and digits, without regard to case, or one ideograph, since Chinese does not part words.
func hashWords(dst []int64, text string, buckets int) {
	n, h := 0, fnv.New64a()
	begun := false
	end := func() {
		if begun && n < len(dst) {
			dst[n] = 1 + int64(mix(h.Sum64())%uint64(buckets))
			n++
		}
		begun = false
		h.Reset()
	}
	for _, r := range text {
		switch {
		case n == len(dst):
			return
		case unicode.Is(unicode.Han, r):
			end()
			begun = true
			h.Write([]byte(string(r)))
			end()
		case unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r):
			begun = true
			h.Write([]byte(string(unicode.ToLower(r))))
		default:
			end()
		}
	}
	end()
	clear(dst[n:])
}

// mix takes likeness out of the hashes of short words (the finalizer of MurmurHash3).
func mix(x uint64) uint64 {
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
