package kernel

import (
	"fmt"
	"math"
	"unsafe"

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
	checkLen("Dropout", "X", len(d.X), len(d.Y))
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

// dropoutArgs is the argument of the assembly behind dropout; its layout is
// known to the generator in kernel/asm.
type dropoutArgs struct {
	y, x      unsafe.Pointer
	groups    int
	counter   uint64 // of the first group's first lane
	high      [2]uint32
	threshold uint32
	scale     float32
	keys      [10][2]uint32 // of each round
}

// dropout computes y, whose first element has the index first, a multiple of
// ref.GroupLen; a group that is not whole goes through a buffer.
func dropout(isa ISA, s *ref.Stream, y, x []float32, first int, threshold uint32, scale float32) {
	if isa == Generic {
		s.Dropout(y, x, first, threshold, scale)
		return
	}
	args := dropoutArgs{high: s.High, threshold: threshold, scale: scale, keys: s.RoundKeys()}
	n := len(y) &^ (ref.GroupLen - 1)
	for i := 0; i < n; i += asmElements {
		args.y, args.x = unsafe.Pointer(&y[i]), unsafe.Pointer(&x[i])
		args.groups = min(asmElements, n-i) / ref.GroupLen
		args.counter = uint64(first+i) / 4
		dropoutAsm(isa, &args)
	}
	if n < len(y) {
		var t [ref.GroupLen]float32
		copy(t[:], x[n:len(y)])
		args.y, args.x = unsafe.Pointer(&t), unsafe.Pointer(&t)
		args.groups, args.counter = 1, uint64(first+n)/4
		dropoutAsm(isa, &args)
		copy(y[n:], t[:])
	}
}

// Words are four random words that belong to an element of a step of a stream.
func Words(seed, stream, step, element uint64) [4]uint32 {
	s := ref.NewStream(seed, stream, step)
	return ref.Philox([4]uint32{uint32(element), uint32(element >> 32), s.High[0], s.High[1]}, s.Key)
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
