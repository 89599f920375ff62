package kernel

import "tandem/kernel/ref"

// sum adds x up; the order depends on len(x) and the tier.
func sum(isa ISA, x []float32) float32 {
	n := len(x) &^ 63
	if isa == Generic || n == 0 {
		return ref.Sum(x)
	}
	return sumAsm(isa, &x[0], n) + ref.Sum(x[n:])
}

// maximum is the greatest element of x, NaN if there is one.
func maximum(isa ISA, x []float32) float32 {
	n := len(x) &^ (isa.lanes() - 1)
	if isa == Generic || n == 0 {
		return ref.Max(x)
	}
	m := [2]float32{maxAsm(isa, &x[0], n), ref.Max(x[n:])}
	return ref.Max(m[:])
}

// sumRows sums rows rows of stride ld; vectors of columns in assembly, the
// rest in Go: plain additions in the same order give the same bits.
func sumRows(isa ISA, dst, x []float32, rows, ld int) {
	n := len(dst) &^ (isa.lanes() - 1)
	if isa == Generic || n == 0 || rows == 0 {
		ref.SumRows(dst, x, rows, ld)
		return
	}
	sumRowsAsm(isa, &dst[0], &x[0], n, rows, ld)
	if n < len(dst) {
		ref.SumRows(dst[n:], x[n:], rows, ld)
	}
}
