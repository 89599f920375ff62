package data

import (
	"math/bits"
	"math/rand/v2"
)

// The second word of the generator's seed: one per use, so that the order of an
// epoch says nothing about the split that its examples came from.
const (
	orderStream uint64 = 0x6f72646572000000 // "order", plus the epoch
	splitStream uint64 = 0x73706c6974000000 // "split"
	blockStream uint64 = 0x626c6f636b000000 // "block", plus the epoch
)

// shuffle fills p with a permutation of its indices: the order in which an epoch visits
// examples, where stream is orderStream and the epoch. It's a function of its arguments that
// will never change, since resumed and repeated jobs depend on it:
//
//	generator: PCG-DXSM of math/rand/v2, seeded with (seed, stream)
//	p = 0 … n-1; for i from n-1 down to 1: swap p[i] with p[below(i+1)]
//	below(m): the high word of random × m; drawn again while the low word < 2⁶⁴ mod m
//
// rand.Shuffle isn't used: Go doesn't promise its order.
func shuffle(p []int, seed, stream uint64) {
	for i := range p {
		p[i] = i
	}
	var random rand.PCG
	random.Seed(seed, stream)
	for i := len(p) - 1; i > 0; i-- {
		j := below(&random, uint64(i)+1)
		p[i], p[j] = p[j], p[i]
	}
}

// below draws from 0 … m-1, each equally likely (Lemire's method).
func below(random *rand.PCG, m uint64) uint64 {
	hi, lo := bits.Mul64(random.Uint64(), m)
	if lo < m {
		for reject := -m % m; lo < reject; {
			hi, lo = bits.Mul64(random.Uint64(), m)
		}
	}
	return hi
}
