package ref

import "math"

// Nibbles writes (code - zero)·scale for groups of eight rows of as many columns as there
// are scales. A word has the codes of four bits of a column in a group, the first in its low
// bits. Without zeros they are 8.
func Nibbles(dst, scales, zeros, words []float32, groups int) {
	cols := len(scales)
	for g := range groups {
		for j, w := range words[g*cols:][:cols] {
			zero := float32(8)
			if zeros != nil {
				zero = zeros[j]
			}
			codes := math.Float32bits(w)
			for i := range 8 {
				dst[(8*g+i)*cols+j] = (float32(codes>>(4*i)&15) - zero) * scales[j]
			}
		}
	}
}
