package ref

import "math/bits"

// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3").
const (
	philoxM0, philoxM1 = 0xD2511F53, 0xCD9E8D57
	philoxW0, philoxW1 = 0x9E3779B9, 0xBB67AE85
)

// Philox encrypts a counter of 128 bits with a key of 64.
func Philox(c [4]uint32, k [2]uint32) [4]uint32 {
	for range 10 {
		h0, l0 := bits.Mul32(philoxM0, c[0])
		h1, l1 := bits.Mul32(philoxM1, c[2])
		c = [4]uint32{h1 ^ c[1] ^ k[0], l1, h0 ^ c[3] ^ k[1], l0}
		k[0] += philoxW0
		k[1] += philoxW1
	}
	return c
}

// Stream is a sequence of random words, random access: a key and the upper
// half of the counter, both drawn from (seed, stream, step).
type Stream struct{ Key, High [2]uint32 }

// NewStream derives the stream's key by one encryption under the seed.
func NewStream(seed, stream, step uint64) Stream {
	w := Philox([4]uint32{uint32(stream), uint32(stream >> 32), uint32(step), uint32(step >> 32)},
		[2]uint32{uint32(seed), uint32(seed >> 32)})
	return Stream{Key: [2]uint32{w[0], w[1]}, High: [2]uint32{w[2], w[3]}}
}

// RoundKeys are the keys of the ten rounds.
func (s Stream) RoundKeys() (keys [10][2]uint32) {
	k := s.Key
	for i := range keys {
		keys[i] = k
		k[0] += philoxW0
		k[1] += philoxW1
	}
	return keys
}

// GroupLen is the number of words that sixteen consecutive counters give. In
// a group, element 16·w + l is word w of counter l, so sixteen lanes write
// whole vectors without transposing.
const GroupLen = 64

// Group fills dst with the 64 words of group g.
func (s Stream) Group(dst *[GroupLen]uint32, g uint64) {
	for l := range uint64(16) {
		c := g*16 + l
		w := Philox([4]uint32{uint32(c), uint32(c >> 32), s.High[0], s.High[1]}, s.Key)
		for i, v := range w {
			dst[i*16+int(l)] = v
		}
	}
}

// Dropout computes y = x·scale for the elements whose word is at least
// threshold and 0 for the others; first is the index of y[0] in the stream, a
// multiple of GroupLen.
func (s Stream) Dropout(y, x []float32, first int, threshold uint32, scale float32) {
	var words [GroupLen]uint32
	for i := range y {
		if i%GroupLen == 0 {
			s.Group(&words, uint64(first+i)/GroupLen)
		}
		if words[i%GroupLen] >= threshold {
			y[i] = x[i] * scale
		} else {
			y[i] = 0
		}
	}
}
