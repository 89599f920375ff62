package oip

import (
	"math"
	"strconv"
	"unsafe"
)

// number is a JSON number: (-1)^neg · mantissa · 10^exp.
type number struct {
	mantissa uint64
	exp      int
	neg      bool
	inexact  bool // digits beyond the mantissa were dropped
	integer  bool // written without fraction and exponent
}

// scanNumber reads the number at b[i:] by JSON's grammar; next is -1 if there is none.
func scanNumber(b []byte, i int) (n number, next int) {
	if i < len(b) && b[i] == '-' {
		n.neg = true
		i++
	}
	start := i
	i = n.digits(b, i)
	if i == start || b[start] == '0' && i > start+1 {
		return n, -1
	}
	n.integer = true
	if i < len(b) && b[i] == '.' {
		n.integer = false
		dropped := n.exp
		start = i + 1
		i = n.digits(b, start)
		if i == start {
			return n, -1
		}
		// digits counts those it drops in exp; of a fraction, the others lower it.
		n.exp = dropped - (i - start) + (n.exp - dropped)
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		n.integer = false
		if i = n.exponent(b, i+1); i < 0 {
			return n, -1
		}
	}
	return n, i
}

// digits appends decimal digits to the mantissa while it has room.
func (n *number) digits(b []byte, i int) int {
	const room = (math.MaxUint64 - 9) / 10
	m := n.mantissa
	for ; i < len(b); i++ {
		d := b[i] - '0'
		if d > 9 {
			break
		}
		switch {
		case m <= room && !n.inexact:
			m = m*10 + uint64(d)
		case !n.inexact && m == math.MaxUint64/10 && uint64(d) <= math.MaxUint64%10:
			m = m*10 + uint64(d)
		default:
			n.inexact = true
			n.exp++
		}
	}
	n.mantissa = m
	return i
}

func (n *number) exponent(b []byte, i int) int {
	neg := false
	if i < len(b) && (b[i] == '+' || b[i] == '-') {
		neg = b[i] == '-'
		i++
	}
	start, e := i, 0
	for ; i < len(b) && b[i]-'0' <= 9; i++ {
		e = min(e*10+int(b[i]-'0'), 1<<20)
	}
	if i == start {
		return -1
	}
	if neg {
		e = -e
	}
	n.exp += e
	return i
}

// powers of ten that a float64 holds exactly.
var powers = [...]float64{
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14,
	1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
}

// float32 rounds the number to the nearest float32; ok is false if it is out of range.
//
// The product below is off by at most two units in the last place of a float64. That
// decides the float32, unless it is that close to the middle between two of them:
// those, and the extremes, go the exact way.
func (n number) float32(text []byte) (v float32, ok bool) {
	if n.exp >= -22 && n.exp <= 22 {
		f := float64(n.mantissa)
		if n.exp < 0 {
			f /= powers[-n.exp]
		} else {
			f *= powers[n.exp]
		}
		const half = 1 << 28 // of the 29 bits that a float32 lacks
		low := int64(math.Float64bits(f)&(1<<29-1)) - half
		if (low > 4 || low < -4) && f < math.MaxFloat32 {
			if n.neg {
				f = -f
			}
			return float32(f), true
		}
	}
	f, err := strconv.ParseFloat(unsafe.String(unsafe.SliceData(text), len(text)), 32)
	return float32(f), err == nil
}

func (n number) float64(text []byte) (float64, bool) {
	f, err := strconv.ParseFloat(unsafe.String(unsafe.SliceData(text), len(text)), 64)
	return f, err == nil
}

// int64 is the number if it was written as an integer and fits.
func (n number) int64() (int64, bool) {
	switch {
	case !n.integer || n.inexact:
		return 0, false
	case n.neg:
		return -int64(n.mantissa), n.mantissa <= 1<<63
	}
	return int64(n.mantissa), n.mantissa <= math.MaxInt64
}

// uint64 is the number if it was written as an integer and fits.
func (n number) uint64() (uint64, bool) {
	return n.mantissa, n.integer && !n.inexact && (!n.neg || n.mantissa == 0)
}
