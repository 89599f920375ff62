package tensor

import "math"

// miniFloat describes a floating-point format by its fields. A number is
// sign · 2^(e-bias) · 1.m, or sign · 2^(1-bias) · 0.m where e is 0.
//
// Definitions: IEEE 754 for binary16; Micikevicius et al., "FP8 Formats for Deep
// Learning" (2022) for E4M3FN and E5M2; Noune et al., "8-bit Numerical Formats for
// Deep Neural Networks" (2022) for the FNUZ forms; OCP, "Microscaling Formats (MX)"
// 1.0 for E2M1 and E8M0.
type miniFloat struct {
	bits, man, bias int
	top             uint // the code of the greatest number
	inf, nan        uint // codes; inf is 0 where there is none
	// unsignedZero: there is one zero, and the code of -0 is the only NaN (FNUZ).
	unsignedZero bool
}

var (
	binary16   = miniFloat{bits: 16, man: 10, bias: 15, top: 0x7bff, inf: 0x7c00, nan: 0x7e00}
	bfloat16   = miniFloat{bits: 16, man: 7, bias: 127, top: 0x7f7f, inf: 0x7f80, nan: 0x7fc0}
	miniFloats = [...]miniFloat{
		Float8E4M3FN:   {bits: 8, man: 3, bias: 7, top: 0x7e, nan: 0x7f},
		Float8E4M3FNUZ: {bits: 8, man: 3, bias: 8, top: 0x7f, nan: 0x80, unsignedZero: true},
		Float8E5M2:     {bits: 8, man: 2, bias: 15, top: 0x7b, inf: 0x7c, nan: 0x7e},
		Float8E5M2FNUZ: {bits: 8, man: 2, bias: 16, top: 0x7f, nan: 0x80, unsignedZero: true},
		Float4E2M1:     {bits: 4, man: 1, bias: 1, top: 0x7},
	}
	// miniValues are the numbers of the formats of up to 8 bits by code.
	miniValues = [...]*[256]float32{
		Float8E4M3FN:   miniFloats[Float8E4M3FN].values(),
		Float8E4M3FNUZ: miniFloats[Float8E4M3FNUZ].values(),
		Float8E5M2:     miniFloats[Float8E5M2].values(),
		Float8E5M2FNUZ: miniFloats[Float8E5M2FNUZ].values(),
		Float4E2M1:     miniFloats[Float4E2M1].values(),
		Float8E8M0:     e8m0Values(),
	}
)

func (m miniFloat) values() *[256]float32 {
	var t [256]float32
	for code := range t {
		t[code] = float32(m.decode(uint(code) & (1<<m.bits - 1)))
	}
	return &t
}

func (m miniFloat) decode(code uint) float64 {
	sign := uint(1) << (m.bits - 1)
	magnitude := code &^ sign
	var v float64
	switch e, frac := int(magnitude>>m.man), float64(magnitude&(1<<m.man-1)); {
	case m.unsignedZero && code == m.nan:
		return math.NaN()
	case m.inf != 0 && magnitude == m.inf:
		v = math.Inf(1)
	case magnitude > m.top:
		return math.NaN()
	case e == 0:
		v = math.Ldexp(frac, 1-m.bias-m.man)
	default:
		v = math.Ldexp(frac+float64(int(1)<<m.man), e-m.bias-m.man)
	}
	if code&sign != 0 {
		v = -v
	}
	return v
}

// encode rounds to nearest, ties to even. Beyond the range there is the greatest
// number if saturate, otherwise infinity, otherwise NaN; a format without either
// always saturates, and NaN is -0 in it.
func (m miniFloat) encode(v float64, saturate bool) uint {
	sign := uint(0)
	if math.Signbit(v) {
		sign = 1 << (m.bits - 1)
	}
	switch {
	case v != v && m.unsignedZero:
		return m.nan
	case v != v && m.nan == 0:
		return 1 << (m.bits - 1)
	case v != v:
		return sign | m.nan
	}
	code := m.magnitude(math.Abs(v))
	switch {
	case code <= m.top && m.unsignedZero && code == 0:
		return 0
	case code <= m.top:
		return sign | code
	case saturate || m.nan == 0:
		return sign | m.top
	case m.inf != 0:
		return sign | m.inf
	case m.unsignedZero:
		return m.nan
	}
	return sign | m.nan
}

// magnitude is the code of a number that is not negative, beyond top if it is out
// of range. A carry out of the fraction goes on into the exponent by itself.
func (m miniFloat) magnitude(a float64) uint {
	if a >= 1<<127*2 { // the exponents below stay small
		return math.MaxUint
	}
	if a == 0 {
		return 0
	}
	_, e := math.Frexp(a) // a = f·2^e, f in [1/2, 1)
	e = max(e-1, 1-m.bias)
	n := uint(math.RoundToEven(math.Ldexp(a, m.man-e)))
	return n + uint(e+m.bias-1)<<m.man
}

// fromFloat16 is binary16.decode without branches on the way of normal numbers.
func fromFloat16(h uint16) float32 {
	sign, magnitude := uint32(h&0x8000)<<16, uint32(h&0x7fff)
	switch {
	case magnitude >= 0x7c00:
		return math.Float32frombits(sign | 0x7f800000 | magnitude<<13)
	case magnitude >= 0x0400:
		return math.Float32frombits(sign | (magnitude<<13 + (127-15)<<23))
	}
	return math.Float32frombits(sign | math.Float32bits(float32(magnitude)*(1.0/(1<<24))))
}

// Float16From is the number whose binary16 code is h.
func Float16From(h uint16) float32 { return fromFloat16(h) }

// Float16Bits is the binary16 code nearest to v, to even.
func Float16Bits(v float32) uint16 { return toFloat16(v) }

// BFloat16Bits is the bfloat16 code nearest to v, to even.
func BFloat16Bits(v float32) uint16 { return toBFloat16(v) }

// toFloat16 rounds a float32 by its bits; other types, which may have more, in float64.
func toFloat16[C carried](v C) uint16 {
	f, ok := any(v).(float32)
	if !ok {
		return uint16(binary16.encode(float64(v), false))
	}
	u := math.Float32bits(f)
	sign, u := uint16(u>>16&0x8000), u&0x7fffffff
	switch {
	case u > 0x7f800000:
		return sign | 0x7e00
	case u >= 0x47800000: // 65536
		return sign | 0x7c00
	case u < 0x38800000: // 2^-14: adding 1/2 rounds at the bit 2^-24
		return sign | uint16(math.Float32bits(math.Float32frombits(u)+0.5)-math.Float32bits(0.5))
	}
	return sign | uint16((u-(127-15)<<23+0xfff+u>>13&1)>>13)
}

func toBFloat16[C carried](v C) uint16 {
	f, ok := any(v).(float32)
	if !ok {
		return uint16(bfloat16.encode(float64(v), false))
	}
	u := math.Float32bits(f)
	if u&0x7fffffff > 0x7f800000 {
		return uint16(u>>16) | 0x40
	}
	return uint16((u + 0x7fff + u>>16&1) >> 16)
}

// Float8E8M0: the code e is 2^(e-127), 255 is NaN. There is neither sign nor zero.

func e8m0Values() *[256]float32 {
	var t [256]float32
	for code := range t {
		t[code] = float32(math.Ldexp(1, code-127))
	}
	t[255] = float32(math.NaN())
	return &t
}

// toE8M0 takes the magnitude: what becomes of the sign is not specified.
func toE8M0(v float64, c Conversion) uint8 {
	a := math.Abs(v)
	switch {
	case a != a, math.IsInf(a, 0) && !c.Saturate, a == 0 && !c.Saturate:
		return 255
	case math.IsInf(a, 0):
		return 254
	case a == 0:
		return 0
	}
	f, e := math.Frexp(a)
	e-- // a = 2f·2^e, 2f in [1, 2)
	if c.Round == RoundUp && f > 0.5 || c.Round == RoundNearest && f >= 0.75 {
		e++
	}
	switch code := e + 127; {
	case code >= 0 && code <= 254:
		return uint8(code)
	case !c.Saturate:
		return 255
	case code < 0:
		return 0
	}
	return 254
}
