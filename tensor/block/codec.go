package block

import (
	"encoding/binary"
	"fmt"
	"math"

	"tandem/tensor"
)

// Decode reads the numbers of src, whole blocks of f, into dst. It panics if the
// sizes do not fit each other or f has no codec: that is a defect of the caller.
func Decode(f Format, dst []float32, src []byte) {
	check("Decode", f, len(dst), len(src))
	n, size := f.Elements(), f.Bytes()
	switch f {
	case F32:
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
		}
		return
	case F16:
		for i := range dst {
			dst[i] = half(src[2*i:])
		}
		return
	case BF16:
		for i := range dst {
			dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[2*i:])) << 16)
		}
		return
	}
	decode := decoder(f)
	for len(dst) > 0 {
		decode(dst[:n], src[:size])
		dst, src = dst[n:], src[size:]
	}
}

// Encode writes the numbers of src as blocks of f into dst. It panics as Decode
// does. Numbers that are not finite give blocks that are of no use.
func Encode(f Format, dst []byte, src []float32) {
	check("Encode", f, len(src), len(dst))
	n, size := f.Elements(), f.Bytes()
	switch f {
	case F32:
		for i, v := range src {
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
		}
		return
	case F16:
		for i, v := range src {
			putHalf(dst[2*i:], v)
		}
		return
	case BF16:
		for i, v := range src {
			binary.LittleEndian.PutUint16(dst[2*i:], tensor.BFloat16Bits(v))
		}
		return
	}
	encode := encoder(f)
	for len(src) > 0 {
		encode(dst[:size], src[:n])
		dst, src = dst[size:], src[n:]
	}
}

func decoder(f Format) func(dst []float32, src []byte) {
	switch f {
	case Q4_0:
		return decodeQ4_0
	case Q4_1:
		return decodeQ4_1
	case Q5_0:
		return decodeQ5_0
	case Q5_1:
		return decodeQ5_1
	case Q8_0:
		return decodeQ8_0
	case Q4_K:
		return decodeQ4_K
	case Q5_K:
		return decodeQ5_K
	}
	return decodeQ6_K
}

func encoder(f Format) func(dst []byte, src []float32) {
	switch f {
	case Q4_0:
		return encodeQ4_0
	case Q4_1:
		return encodeQ4_1
	case Q5_0:
		return encodeQ5_0
	case Q5_1:
		return encodeQ5_1
	case Q8_0:
		return encodeQ8_0
	case Q4_K:
		return encodeQ4_K
	case Q5_K:
		return encodeQ5_K
	}
	return encodeQ6_K
}

func check(what string, f Format, numbers, bytes int) {
	if !f.Codec() || numbers%f.Elements() != 0 || f.Size(numbers) != bytes {
		panic(fmt.Sprintf("block.%s: %d numbers in %d bytes of %v", what, numbers, bytes, f))
	}
}

// half reads a binary16 number.
func half(b []byte) float32 { return tensor.Float16From(binary.LittleEndian.Uint16(b)) }

// putHalf rounds v to binary16, to even.
func putHalf(b []byte, v float32) { binary.LittleEndian.PutUint16(b, tensor.Float16Bits(v)) }
