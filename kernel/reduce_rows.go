package kernel

import "tandem/kernel/ref"

// asmElements bounds the elements that one call of an assembly kernel visits:
// it cannot be preempted, and must return within 200 µs.
const asmElements = 1 << 14

// sum adds x up; the order depends on len(x) and the tier.
func sum(isa ISA, x []float32) float32 {
	if isa == Generic {
		return ref.Sum(x)
	}
	total := float32(0)
	for len(x) >= 64 {
		n := min(asmElements, len(x)&^63)
		total += sumAsm(isa, &x[0], n)
		x = x[n:]
	}
	return total + ref.Sum(x)
}

// maximum is the greatest element of x that is a number; -Inf when none is.
func maximum(isa ISA, x []float32) float32 {
	if isa == Generic {
		return ref.Max(x)
	}
	var top [2]float32
	top[0] = ref.Max(nil)
	for lanes := isa.lanes(); len(x) >= lanes; {
		n := min(asmElements, len(x)&^(lanes-1))
		top[1] = maxAsm(isa, &x[0], n)
		top[0] = ref.Max(top[:])
		x = x[n:]
	}
	return max(top[0], ref.Max(x))
}

// sumRows sums rows rows of stride ld; vectors of columns in assembly, the
// rest in Go: plain additions in the same order give the same bits.
func sumRows(isa ISA, dst, x []float32, rows, ld int) {
	n := len(dst) &^ (isa.lanes() - 1)
	if isa == Generic || n == 0 || rows == 0 {
		ref.SumRows(dst, x, rows, ld)
		return
	}
	clear(dst)
	step := max(1, asmElements/n)
	for i := 0; i < rows; i += step {
		sumRowsAsm(isa, &dst[0], &x[i*ld], n, min(step, rows-i), ld)
	}
	if n < len(dst) {
		ref.SumRows(dst[n:], x[n:], rows, ld)
	}
}

// Largest is the index of the largest element, the first of equals; p tells the tier.
func Largest(p *Pool, x []float32) int {
	best, top := 0, x[0]
	for i := 0; i < len(x); i += asmElements {
		if m := maximum(p.isa, x[i:min(len(x), i+asmElements)]); m > top {
			best, top = i, m
		}
	}
	for i, v := range x[best:] {
		if v == top {
			return best + i
		}
	}
	return best
}
