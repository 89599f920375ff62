package kernel

import (
	"fmt"
	"math"

	"tandem/kernel/ref"
)

// Dropout computes Y = X/(1-Ratio), or 0 with probability Ratio, on len(Y)
// elements. What is dropped depends on Seed, Stream (the node), Step and the
// element's index only: the same call on the gradient of Y gives that of X.
// Y may be X.
type Dropout struct {
	Y, X               []float32
	Ratio              float32 // in [0,1)
	Seed, Stream, Step uint64

	keys      ref.Stream
	threshold uint32
	scale     float32
	isa       ISA
}

// Run computes Y.
func (d *Dropout) Run(p *Pool) {
	checkLen("Dropout.X", len(d.X), len(d.Y))
	if !(d.Ratio >= 0 && d.Ratio < 1) {
		panic(fmt.Sprintf("kernel: Dropout.Ratio %v is not in [0,1)", d.Ratio))
	}
	d.keys = ref.NewStream(d.Seed, d.Stream, d.Step)
	d.threshold = uint32(float64(d.Ratio) * (1 << 32))
	d.scale = 1 / (1 - d.Ratio)
	d.isa = p.isa
	p.run(len(d.Y), vectorGrain, d)
}

func (d *Dropout) chunk(lo, hi, _ int) {
	dropout(d.isa, &d.keys, d.Y[lo:hi], d.X[lo:hi], lo, d.threshold, d.scale)
}

// Uniform fills dst with numbers in [0,1), multiples of 2⁻²⁴.
func Uniform(dst []float32, seed, stream uint64) {
	s := ref.NewStream(seed, stream, 0)
	var words [ref.GroupLen]uint32
	for i := range dst {
		if i%ref.GroupLen == 0 {
			s.Group(&words, uint64(i)/ref.GroupLen)
		}
		dst[i] = float32(words[i%ref.GroupLen]>>8) * (1.0 / (1 << 24))
	}
}

// Normal fills dst with numbers of mean 0 and variance 1 (Box and Muller).
func Normal(dst []float32, seed, stream uint64) {
	s := ref.NewStream(seed, stream, 0)
	var words [ref.GroupLen]uint32
	const half = ref.GroupLen / 2
	for i := 0; i < len(dst); i += ref.GroupLen {
		s.Group(&words, uint64(i)/ref.GroupLen)
		for j := range half {
			u := (float64(words[j]) + 0.5) * (1.0 / (1 << 32))
			sin, cos := math.Sincos(2 * math.Pi * float64(words[j+half]) * (1.0 / (1 << 32)))
			r := math.Sqrt(-2 * math.Log(u))
			if i+j < len(dst) {
				dst[i+j] = float32(r * cos)
			}
			if i+j+half < len(dst) {
				dst[i+j+half] = float32(r * sin)
			}
		}
	}
}
