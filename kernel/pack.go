package kernel

// Packed B: panels of tileShape.cols columns, each [K][cols], the last one
// filled up with zeros.

// PackedLen is the number of floats that a packed [k,n] matrix takes for isa.
func PackedLen(k, n int, isa ISA) int {
	cols := shapeOf(isa).cols
	return ceilDiv(n, cols) * cols * k
}

// PackB packs b, [k,n] with row stride ldb (0 means dense), or [n,k] when
// trans, for use as Gemm.Packed on pools of the tier isa.
func PackB(dst, b []float32, k, n, ldb int, trans bool, isa ISA) {
	checkLen("PackB", "dst", len(dst), PackedLen(k, n, isa))
	if k == 0 || n == 0 {
		return
	}
	if trans {
		ldb = or(ldb, k)
		checkMatrix("B", b, n, k, ldb)
	} else {
		ldb = or(ldb, n)
		checkMatrix("B", b, k, n, ldb)
	}
	packPanels(dst, b, k, n, ldb, trans, isa, 0, ceilDiv(n, shapeOf(isa).cols))
}

// packPanels packs panels [lo,hi) of the whole matrix.
func packPanels(dst, b []float32, k, n, ldb int, trans bool, isa ISA, lo, hi int) {
	cols := shapeOf(isa).cols
	packBlock(dst[lo*cols*k:], b, ldb, trans, 0, k, lo*cols, min(hi*cols, n), isa)
}

// packBlock packs rows [k0,k1) and columns [n0,n1) of B into panels of
// [k1-k0][cols]; n0 is the first column of a panel.
func packBlock(dst, b []float32, ldb int, trans bool, k0, k1, n0, n1 int, isa ISA) {
	cols := shapeOf(isa).cols
	if !trans {
		packRows(dst, b[k0*ldb+n0:], ldb, k1-k0, n1-n0, cols)
		return
	}
	for n := n0; n < n1; n += cols {
		panel := dst[(n-n0)*(k1-k0):][:(k1-k0)*cols]
		packTransposed(panel, b[n*ldb+k0:], ldb, k1-k0, min(cols, n1-n), cols, isa)
	}
}

// packRows writes panels [k][cols] from src[k·ld + column]. It goes row by row: a row
// that is read for each panel anew would be fetched, and its address translated, as
// often.
func packRows(dst, src []float32, ld, k, width, cols int) {
	packSomeRows(dst, src, ld, k, width, cols, 0, k)
}

// packSomeRows is packRows of rows [lo,hi) of the k.
func packSomeRows(dst, src []float32, ld, k, width, cols, lo, hi int) {
	for i := lo; i < hi; i++ {
		row, at := src[i*ld:][:width], i*cols
		for ; len(row) >= cols; row, at = row[cols:], at+k*cols {
			copy(dst[at:][:cols], row)
		}
		if len(row) > 0 {
			clear(dst[at:][:cols][copy(dst[at:][:cols], row):])
		}
	}
}

// packTransposed writes panel[k][cols] from src[column·ld + k].
func packTransposed(panel, src []float32, ld, k, width, cols int, isa ISA) {
	if width < cols {
		for i := range k {
			clear(panel[i*cols+width : (i+1)*cols])
		}
	}
	transpose(panel, src, cols, ld, width, k, isa)
}

// transpose writes dst[c·ds + r] = src[r·ss + c] for rows × columns, whole
// squares in assembly.
func transpose(dst, src []float32, ds, ss, rows, columns int, isa ISA) {
	wholeRows, wholeColumns := 0, 0
	if lanes := isa.lanes(); lanes > 1 && rows >= lanes && columns >= lanes {
		wholeRows, wholeColumns = rows-rows%lanes, columns-columns%lanes
		for r := 0; r < wholeRows; r += lanes {
			for c := 0; c < wholeColumns; c += transposeBlocks * lanes {
				blocks := min(transposeBlocks, (wholeColumns-c)/lanes)
				transposeAsm(isa, &dst[c*ds+r], &src[r*ss+c], ds, ss, blocks)
			}
		}
	}
	for r := range rows {
		from := wholeColumns
		if r >= wholeRows {
			from = 0
		}
		for c, v := range src[r*ss:][from:columns] {
			dst[(from+c)*ds+r] = v
		}
	}
}

// transposeBlocks bounds the time in one call of the assembly.
const transposeBlocks = 256
