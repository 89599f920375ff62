//go:build amd64 && !purego

package kernel

// The cells: n units, whole vectors; gates are stride elements apart.

func lstmCellAsm(isa ISA, gates, prev, c, h *float32, n, stride int) {
	if isa == AVX512 {
		lstmCellAVX512(gates, prev, c, h, n, stride*4)
	} else {
		lstmCellAVX2(gates, prev, c, h, n, stride*4)
	}
}

func lstmCellGradAsm(isa ISA, gates, prev, c, dh, dc *float32, n, stride int) {
	if isa == AVX512 {
		lstmCellGradAVX512(gates, prev, c, dh, dc, n, stride*4)
	} else {
		lstmCellGradAVX2(gates, prev, c, dh, dc, n, stride*4)
	}
}

func gruCellAsm(isa ISA, gates, rec, prev, h, inner *float32, n, stride int) {
	if isa == AVX512 {
		gruCellAVX512(gates, rec, prev, h, inner, n, stride*4)
	} else {
		gruCellAVX2(gates, rec, prev, h, inner, n, stride*4)
	}
}

func gruCellGradAsm(isa ISA, gates, prev, inner, dh *float32, n, stride int) {
	if isa == AVX512 {
		gruCellGradAVX512(gates, prev, inner, dh, n, stride*4)
	} else {
		gruCellGradAVX2(gates, prev, inner, dh, n, stride*4)
	}
}
