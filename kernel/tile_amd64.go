//go:build amd64 && !purego

package kernel

import "unsafe"

// runTile computes one tile. The AVX2 kernel always works on whole rows of 16
// columns: B and a column bias must have them, and a narrower C goes through a
// tile on the stack.
func runTile(isa ISA, b storage, t *tileArgs) {
	if isa == AVX512 {
		args := (*byte)(unsafe.Pointer(t))
		switch b {
		case asFloat16:
			tileF16AVX512(args)
		case asWideFloat16:
			tileF16WideAVX512(args)
		case asBFloat16:
			tileBF16AVX512(args)
		case asDots:
			tileDotAVX512(args)
		default:
			tileAVX512(args)
		}
		return
	}
	if t.mask == 1<<16-1 {
		runWideAVX2(b, t)
		return
	}
	runNarrowAVX2(b, t)
}

func runWideAVX2(b storage, t *tileArgs) {
	args := (*byte)(unsafe.Pointer(t))
	switch b {
	case asFloat16:
		tileF16AVX2(args)
	case asBFloat16:
		tileBF16AVX2(args)
	case asPairs:
		tileBytesAVX2(args)
	default:
		tileAVX2(args)
	}
}

func runNarrowAVX2(b storage, t *tileArgs) {
	const cols = 16
	var c, from [6 * cols]float32
	var bias [cols]float32
	width := 0
	for ; t.mask>>width != 0; width++ {
	}
	row := func(base unsafe.Pointer, i int) []float32 {
		return unsafe.Slice((*float32)(unsafe.Add(base, uintptr(i)*t.cs)), width)
	}
	args := *t
	args.c, args.cs = unsafe.Pointer(&c), cols*4
	switch t.start {
	case startC:
		for i := range t.rows {
			copy(c[i*cols:], row(t.c, i))
		}
	case startFrom:
		for i := range t.rows {
			copy(from[i*cols:], row(t.from, i))
		}
		args.from = unsafe.Pointer(&from)
		if t.bias != nil {
			copy(bias[:], unsafe.Slice((*float32)(t.bias), width))
			args.bias = unsafe.Pointer(&bias)
		}
	case startColumnBias:
		copy(bias[:], unsafe.Slice((*float32)(t.bias), width))
		args.bias = unsafe.Pointer(&bias)
	}
	runWideAVX2(b, &args)
	for i := range t.rows {
		copy(row(t.c, i), c[i*cols:])
	}
}

func amxAsm(args *amxArgs) { amxBFloat16((*byte)(unsafe.Pointer(args))) }

func packAsm(isa ISA, args *packArgs) {
	if isa == AVX512 {
		patchesAVX512((*byte)(unsafe.Pointer(args)))
	} else {
		patchesAVX2((*byte)(unsafe.Pointer(args)))
	}
}

// codesAsm writes the floats of blocks of groups of rows, which follow each other.
func codesAsm(isa ISA, bits int, dst, scales, words *float32, blocks, groups, zeros int) {
	switch {
	case isa == AVX512 && bits == 4:
		codes4AVX512(dst, scales, words, blocks, groups, zeros)
	case isa == AVX512:
		codes8AVX512(dst, scales, words, blocks, groups, zeros)
	case bits == 4:
		codes4AVX2(dst, scales, words, blocks, groups, zeros)
	default:
		codes8AVX2(dst, scales, words, blocks, groups, zeros)
	}
}

// codeRowsAsm adds products of rows of a to sums, on AVX-512.
func codeRowsAsm(bits int, sums, scales, words, a *float32, stride, rows, blocks, groups, zeros int) {
	if bits == 4 {
		codeRows4AVX512(sums, scales, words, a, stride, rows, blocks, groups, zeros)
	} else {
		codeRows8AVX512(sums, scales, words, a, stride, rows, blocks, groups, zeros)
	}
}

// transposeAsm writes dst[c·ds + r] = src[r·ss + c] for isa.lanes() rows and
// blocks times as many columns.
func transposeAsm(isa ISA, dst, src *float32, ds, ss, blocks int) {
	if isa == AVX512 {
		transposeAVX512(dst, src, ds*4, ss*4, blocks)
	} else {
		transposeAVX2(dst, src, ds*4, ss*4, blocks)
	}
}
