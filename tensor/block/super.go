package block

// The blocks of 256. Q4_K and Q5_K are eight parts of 32 numbers, each with a step
// and an offset of six bits, which the block's d and dmin scale:
//
//	v = d·step·code - dmin·offset
//
//	Q4_K   d, dmin, 12 bytes of steps and offsets, 128 of nibbles
//	Q5_K   d, dmin, 12 bytes of steps and offsets, 32 of fifth bits, 128 of nibbles
//
// A byte of nibbles holds number i of an even part below and of the odd part that
// follows above. Bit p of byte i of the fifth bits is that of number i of part p.
//
// Q6_K is sixteen parts of 16 numbers, each with a signed step of eight bits:
//
//	Q6_K   128 bytes of lower nibbles, 64 of upper two bits, 16 steps, d
//	       v = d·step·(code - 32)
const (
	super = 256
	parts = 8
	part  = super / parts
)

// putScales packs eight steps and eight offsets of six bits into twelve bytes: the
// first four of each fill the lower bits of bytes 0–3 and 4–7, whose upper two bits
// complete the nibbles of the last four, in bytes 8–11.
func putScales(dst []byte, steps, offsets *[parts]byte) {
	for j := range 4 {
		dst[j] = steps[j] | steps[j+4]>>4<<6
		dst[j+4] = offsets[j] | offsets[j+4]>>4<<6
		dst[j+8] = steps[j+4]&15 | offsets[j+4]<<4
	}
}

func scales(b []byte) (steps, offsets [parts]byte) {
	for j := range 4 {
		steps[j], offsets[j] = b[j]&63, b[j+4]&63
		steps[j+4] = b[j+8]&15 | b[j]>>6<<4
		offsets[j+4] = b[j+8]>>4 | b[j+4]>>6<<4
	}
	return steps, offsets
}

func decodeQ4_K(y []float32, b []byte) {
	d, dmin := half(b), half(b[2:])
	steps, offsets := scales(b[4:16])
	for p := 0; p < parts; p += 2 {
		q := b[16+p*16:][:part]
		d1, m1 := d*float32(steps[p]), dmin*float32(offsets[p])
		d2, m2 := d*float32(steps[p+1]), dmin*float32(offsets[p+1])
		for i, c := range q {
			y[p*part+i] = float32(d1*float32(c&15)) - m1
			y[(p+1)*part+i] = float32(d2*float32(c>>4)) - m2
		}
	}
}

func decodeQ5_K(y []float32, b []byte) {
	d, dmin := half(b), half(b[2:])
	steps, offsets := scales(b[4:16])
	high := b[16:48]
	for p := 0; p < parts; p += 2 {
		q := b[48+p*16:][:part]
		d1, m1 := d*float32(steps[p]), dmin*float32(offsets[p])
		d2, m2 := d*float32(steps[p+1]), dmin*float32(offsets[p+1])
		for i, c := range q {
			y[p*part+i] = float32(d1*float32(c&15|high[i]>>p&1<<4)) - m1
			y[(p+1)*part+i] = float32(d2*float32(c>>4|high[i]>>(p+1)&1<<4)) - m2
		}
	}
}

func encodeQ4_K(dst []byte, x []float32) {
	codes := encodeOffset(dst, x, fit{top: 15, begin: -1, delta: 0.1, trials: 20})
	putNibbles(dst[16:], codes)
}

func encodeQ5_K(dst []byte, x []float32) {
	codes := encodeOffset(dst, x, fit{top: 31, begin: -0.5, delta: 0.1, trials: 15})
	clear(dst[16:48])
	for i, c := range codes {
		dst[16+i%part] |= c >> 4 << (i / part)
		codes[i] &= 15
	}
	putNibbles(dst[48:], codes)
}

func putNibbles(dst []byte, codes *[super]byte) {
	for p := 0; p < parts; p += 2 {
		for i := range part {
			dst[p*16+i] = codes[p*part+i] | codes[(p+1)*part+i]<<4
		}
	}
}

// encodeOffset writes d, dmin, steps and offsets of a Q4_K or Q5_K block, and
// returns the codes.
func encodeOffset(dst []byte, x []float32, f fit) *[super]byte {
	var (
		codes         [super]byte
		step, offset  [parts]float32
		steps, mins   [parts]byte
		hiStep, hiMin float32
	)
	for p := range parts {
		step[p], offset[p] = f.search(codes[p*part:][:part], x[p*part:][:part])
		hiStep, hiMin = max(hiStep, step[p]), max(hiMin, offset[p])
	}
	var invStep, invMin float32
	if hiStep > 0 {
		invStep = 63 / hiStep
	}
	if hiMin > 0 {
		invMin = 63 / hiMin
	}
	for p := range parts {
		steps[p] = byte(min(63, nearest(invStep*step[p])))
		mins[p] = byte(min(63, nearest(invMin*offset[p])))
	}
	putHalf(dst, hiStep/63)
	putHalf(dst[2:], hiMin/63)
	putScales(dst[4:16], &steps, &mins)

	d, dmin := half(dst), half(dst[2:])
	for p := range parts {
		dp, mp := d*float32(steps[p]), dmin*float32(mins[p])
		if dp == 0 {
			continue // the codes of the search stand: they count for nothing
		}
		for i := p * part; i < (p+1)*part; i++ {
			codes[i] = byte(max(0, min(f.top, nearest((x[i]+mp)/dp))))
		}
	}
	return &codes
}

const (
	sixParts = 16
	sixPart  = super / sixParts
)

func decodeQ6_K(y []float32, b []byte) {
	low, high, steps, d := b[:128], b[128:192], b[192:208], half(b[208:])
	for i := range y {
		h, at := i/128, i%128 // each half has 64 bytes of nibbles and 32 of upper bits
		nibble := low[h*64+at%64] >> (at / 64 * 4) & 15
		two := high[h*32+at%32] >> (at / 32 * 2) & 3
		y[i] = float32(d*float32(int8(steps[i/sixPart]))) * float32(int(nibble|two<<4)-32)
	}
}

func encodeQ6_K(dst []byte, x []float32) {
	var (
		codes [super]byte
		step  [sixParts]float32
		most  float32 // the step of the greatest magnitude
	)
	for p := range sixParts {
		step[p] = symmetric(codes[p*sixPart:][:sixPart], x[p*sixPart:][:sixPart])
		if abs(step[p]) > abs(most) {
			most = step[p]
		}
	}
	clear(dst)
	if abs(most) < tiny {
		return
	}
	inv := -128 / most
	putHalf(dst[208:], 1/inv)
	d := half(dst[208:])
	for p := range sixParts {
		s := int8(min(127, nearest(inv*step[p])))
		dst[192+p] = byte(s)
		dp := d * float32(s)
		if dp == 0 {
			continue
		}
		for i := p * sixPart; i < (p+1)*sixPart; i++ {
			codes[i] = byte(max(-32, min(31, nearest(x[i]/dp))) + 32)
		}
	}
	for i, c := range codes {
		h, at := i/128, i%128
		dst[h*64+at%64] |= c & 15 << (at / 64 * 4)
		dst[128+h*32+at%32] |= c >> 4 << (at / 32 * 2)
	}
}
