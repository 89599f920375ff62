package ref

import "math"

// Codes writes (code - zero)·scale for groups of rows of as many columns as there are scales.
// A word has the codes of a column in a group, each of bits, the first in its low ones.
// Without zeros they are half of the range.
func Codes(dst, scales, zeros, words []float32, groups, bits int) {
	cols, group := len(scales), 32/bits
	for g := range groups {
		for j, w := range words[g*cols:][:cols] {
			zero := float32(int(1) << (bits - 1))
			if zeros != nil {
				zero = zeros[j]
			}
			for i := range group {
				code := math.Float32bits(w) >> (bits * i) & (1<<bits - 1)
				dst[(group*g+i)*cols+j] = (float32(code) - zero) * scales[j]
			}
		}
	}
}
