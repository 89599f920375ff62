package block

import (
	"encoding/binary"
	"math"
)

// The blocks of 32. The lower nibbles of the bytes hold the first 16 numbers, the
// upper ones the last 16; a fifth bit lies in a word of its own. d is the step, m
// the least number:
//
//	Q4_0, Q5_0, Q8_0   d, codes:     v = d·(code - half the range), Q8_0's are signed
//	Q4_1, Q5_1         d, m, codes:  v = d·code + m
const simple = 32

// extreme is the number of x with the greatest magnitude, the first of equals.
func extreme(x []float32) float32 {
	var v, a float32
	for _, xi := range x {
		if abs(xi) > a {
			v, a = xi, abs(xi)
		}
	}
	return v
}

func bounds(x []float32) (lo, hi float32) {
	lo, hi = math.MaxFloat32, -math.MaxFloat32
	for _, v := range x {
		if v < lo { // not min: -0 must not replace 0
			lo = v
		}
		if v > hi {
			hi = v
		}
	}
	return lo, hi
}

func inverse(d float32) float32 {
	if d == 0 {
		return 0
	}
	return 1 / d
}

func abs(v float32) float32 { return math.Float32frombits(math.Float32bits(v) &^ (1 << 31)) }

// code rounds a number that is not negative to the nearest integer up to top.
func code(v float32, top int) byte { return byte(min(top, int(v))) }

func encodeQ4_0(dst []byte, x []float32) {
	d := extreme(x) / -8
	id := inverse(d)
	putHalf(dst, d)
	for i := range simple / 2 {
		dst[2+i] = code(float32(x[i]*id)+8.5, 15) | code(float32(x[i+16]*id)+8.5, 15)<<4
	}
}

func decodeQ4_0(y []float32, b []byte) {
	d := half(b)
	for i, q := range b[2:] {
		y[i] = float32(int(q&15)-8) * d
		y[i+16] = float32(int(q>>4)-8) * d
	}
}

func encodeQ4_1(dst []byte, x []float32) {
	lo, hi := bounds(x)
	d := (hi - lo) / 15
	id := inverse(d)
	putHalf(dst, d)
	putHalf(dst[2:], lo)
	for i := range simple / 2 {
		dst[4+i] = code(float32((x[i]-lo)*id)+0.5, 15) | code(float32((x[i+16]-lo)*id)+0.5, 15)<<4
	}
}

func decodeQ4_1(y []float32, b []byte) {
	d, m := half(b), half(b[2:])
	for i, q := range b[4:] {
		y[i] = float32(float32(q&15)*d) + m
		y[i+16] = float32(float32(q>>4)*d) + m
	}
}

// putFive writes 32 codes of five bits: the fifth bits, then the nibbles.
func putFive(dst []byte, codes *[simple]byte) {
	var high uint32
	for i, c := range codes {
		high |= uint32(c>>4) << i
	}
	binary.LittleEndian.PutUint32(dst, high)
	for i := range simple / 2 {
		dst[4+i] = codes[i]&15 | codes[i+16]<<4
	}
}

func five(b []byte) (codes [simple]byte) {
	high := binary.LittleEndian.Uint32(b)
	for i, q := range b[4:] {
		codes[i] = q&15 | byte(high>>i&1)<<4
		codes[i+16] = q>>4 | byte(high>>(i+16)&1)<<4
	}
	return codes
}

func encodeQ5_0(dst []byte, x []float32) {
	d := extreme(x) / -16
	id := inverse(d)
	var codes [simple]byte
	for i, v := range x {
		codes[i] = code(float32(v*id)+16.5, 31)
	}
	putHalf(dst, d)
	putFive(dst[2:], &codes)
}

func decodeQ5_0(y []float32, b []byte) {
	d := half(b)
	for i, c := range five(b[2:]) {
		y[i] = float32(int(c)-16) * d
	}
}

func encodeQ5_1(dst []byte, x []float32) {
	lo, hi := bounds(x)
	d := (hi - lo) / 31
	id := inverse(d)
	var codes [simple]byte
	for i, v := range x {
		codes[i] = code(float32((v-lo)*id)+0.5, 31)
	}
	putHalf(dst, d)
	putHalf(dst[2:], lo)
	putFive(dst[4:], &codes)
}

func decodeQ5_1(y []float32, b []byte) {
	d, m := half(b), half(b[2:])
	for i, c := range five(b[4:]) {
		y[i] = float32(float32(c)*d) + m
	}
}

func encodeQ8_0(dst []byte, x []float32) {
	d := abs(extreme(x)) / 127
	id := inverse(d)
	putHalf(dst, d)
	for i, v := range x {
		dst[2+i] = byte(int8(math.Round(float64(v * id))))
	}
}

func decodeQ8_0(y []float32, b []byte) {
	d := half(b)
	for i, q := range b[2:] {
		y[i] = float32(int8(q)) * d
	}
}
