package kernel

import (
	"fmt"
	"math"
	"unsafe"

	"tandem/kernel/ref"
)

// A ConvLast of bfloat16 is one of words, as a Gemm of bfloat16 is: pairs of channels where
// the processor has dot products of them, else rounded numbers. X becomes words where
// patches of it are copied, or its lines, so that it is read once more, from the cache, for
// each tap and written nowhere. Tiles of AMX have no convolution yet: where they are, dot
// products are slower than float32.
//
// Where dot products add, see Gemm; the widened form has the bits of a ConvLast on the
// rounded numbers.

// convWords is what the words of a ConvLast are.
type convWords struct {
	storage  storage
	elements int // of X in a word
	channels int // words of a pixel's channels in a group
}

// convDots reports whether convolutions of bfloat16 multiply words of two channels.
func convDots(p *Pool) bool { return p.dots && !p.amx }

// BFloat16Conv reports whether p has ConvLast.BFloat16 for so many channels.
func BFloat16Conv(channels, groups int) bool { return groups == 1 && channels%2 == 0 }

func (c *ConvLast) wordsOf(w *window, p *Pool) convWords {
	if !c.BFloat16 {
		return convWords{asFloat32, 1, w.ic}
	}
	if !BFloat16Conv(c.C, w.groups) || c.Winograd != 0 {
		panic(fmt.Sprintf("kernel: ConvLast of bfloat16 with %d channels in %d groups, tiles of %d", c.C, w.groups, c.Winograd))
	}
	if convDots(p) {
		return convWords{asDots, 2, c.C / 2}
	}
	return convWords{asFloat32, 1, c.C}
}

// write makes words of elements of X that follow each other.
func (c *ConvLast) write(words, x []float32) {
	switch {
	case !c.BFloat16:
		copy(words, x)
	case c.words.storage == asDots:
		wordsBFloat16(c.isa, words, x[:2*len(words)])
	default:
		roundBFloat16(c.isa, words, x[:len(words)])
	}
}

// wordsBFloat16 writes ref.DotBFloat16 of x, two in a word.
func wordsBFloat16(isa ISA, words, x []float32) {
	y := bitsAt(words)
	if isa == AVX512 {
		for i := 0; i < len(y); i += asmElements / 2 {
			wordsBFloat16Asm(&y[i], &x[2*i], 2*min(asmElements/2, len(y)-i))
		}
		return
	}
	for i := range y {
		y[i] = math.Float32bits(ref.DotBFloat16(x[2*i]))>>16 | math.Float32bits(ref.DotBFloat16(x[2*i+1]))
	}
}

// BFloat16ConvLen is the number of bytes that PackBFloat16Conv writes.
func BFloat16ConvLen(p *Pool, oc, ic, kh, kw int) int {
	if convDots(p) {
		ic /= 2
	}
	return 4 * PackedLen(ic*kh*kw, oc, p.isa)
}

// PackBFloat16Conv packs the weights w [oc, ic, kh, kw], of bfloat16, for a ConvLast with
// BFloat16 on p.
func PackBFloat16Conv(p *Pool, dst, w []byte, oc, ic, kh, kw int) {
	checkLen("PackBFloat16Conv", "dst", len(dst), BFloat16ConvLen(p, oc, ic, kh, kw))
	checkLen("PackBFloat16Conv", "w", len(w), 2*oc*ic*kh*kw)
	halves := unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(w))), oc*ic*kh*kw)
	pairs, taps, channels := convDots(p), kh*kw, ic
	if pairs {
		channels /= 2
	}
	words := make([]float32, oc*channels*taps) // [oc, channels, taps]
	for i := range words {
		if !pairs {
			words[i] = math.Float32frombits(uint32(halves[i]) << 16)
			continue
		}
		at := i/taps*2*taps + i%taps
		bitsAt(words)[i] = uint32(halves[at]) | uint32(halves[at+taps])<<16
	}
	packed := unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(dst))), len(dst)/4)
	packLastPanels(packed, words, oc, channels, kh, kw, 1, p.isa)
}
