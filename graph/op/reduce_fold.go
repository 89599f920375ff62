package op

import (
	"math"
	"unsafe"
)

// foldKernels are the kernels of a reduction for each type.
func foldKernels(how string) numeric {
	n := numeric{
		f32: kernelReduce(foldFloat[float32](how)), f64: kernelReduce(foldFloat[float64](how)),
		i8: kernelReduce(foldInt[int8](how)), i16: kernelReduce(foldInt[int16](how)),
		i32: kernelReduce(foldInt[int32](how)), i64: kernelReduce(foldInt[int64](how)),
		u8: kernelReduce(foldInt[uint8](how)), u16: kernelReduce(foldInt[uint16](how)),
		u32: kernelReduce(foldInt[uint32](how)), u64: kernelReduce(foldInt[uint64](how)),
	}
	switch how {
	case "max":
		n.b = kernelReduce(foldBool(true))
	case "min":
		n.b = kernelReduce(foldBool(false))
	}
	return n
}

// overAll adds f(v) over what r visits from the beginning of x, in float64.
func overAll[T number](x []T, r *reduction, f func(float64) float64) float64 {
	total := 0.0
	for _, o := range r.runs {
		for _, v := range x[o:][:r.run] {
			total += f(float64(v))
		}
	}
	return total
}

// foldFloat sums in float64, so that a sum of float32 is right to its last bit.
func foldFloat[T wide](how string) func(x []T, r *reduction) T {
	switch how {
	case "sum":
		return sumFloat[T]
	case "mean":
		return func(x []T, r *reduction) T { return T(sumFloat64(x, r) / float64(r.count())) }
	case "prod":
		return prodOf[T]
	case "max":
		return func(x []T, r *reduction) T { return greatest(x, r, T(math.Inf(-1))) }
	case "min":
		return func(x []T, r *reduction) T { return least(x, r, T(math.Inf(1))) }
	case "logexp":
		return func(x []T, r *reduction) T {
			return T(logSumExp(x, r, float64(greatest(x, r, T(math.Inf(-1))))))
		}
	}
	return func(x []T, r *reduction) T { return T(foldReal(how, x, r)) }
}

// foldReal are the reductions that go by way of real numbers for every type.
func foldReal[T number](how string, x []T, r *reduction) float64 {
	square := func(v float64) float64 { return v * v }
	switch how {
	case "l1":
		return overAll(x, r, math.Abs)
	case "l2":
		return math.Sqrt(overAll(x, r, square))
	case "square":
		return overAll(x, r, square)
	}
	return math.Log(overAll(x, r, func(v float64) float64 { return v }))
}

func sumFloat64[T wide](x []T, r *reduction) float64 {
	total := 0.0
	for _, o := range r.runs {
		for _, v := range x[o:][:r.run] {
			total += float64(v)
		}
	}
	return total
}

func sumFloat[T wide](x []T, r *reduction) T { return T(sumFloat64(x, r)) }

// foldInt computes in the type itself, which wraps; the mean is cut towards zero.
func foldInt[T integer](how string) func(x []T, r *reduction) T {
	lo, hi := limits[T]()
	switch how {
	case "sum":
		return func(x []T, r *reduction) T { return sumInt(x, r, func(v T) T { return v }) }
	case "l1":
		return func(x []T, r *reduction) T { return sumInt(x, r, absolute[T]) }
	case "square":
		return func(x []T, r *reduction) T { return sumInt(x, r, func(v T) T { return v * v }) }
	case "mean":
		return func(x []T, r *reduction) T {
			if r.count() == 0 {
				return 0
			}
			return T(overAll(x, r, func(v float64) float64 { return v }) / float64(r.count()))
		}
	case "prod":
		return prodOf[T]
	case "max":
		return func(x []T, r *reduction) T { return greatest(x, r, lo) }
	case "min":
		return func(x []T, r *reduction) T { return least(x, r, hi) }
	case "logexp":
		return func(x []T, r *reduction) T { return T(logSumExp(x, r, float64(greatest(x, r, lo)))) }
	}
	return func(x []T, r *reduction) T { return T(foldReal(how, x, r)) }
}

func sumInt[T integer](x []T, r *reduction, f func(T) T) T {
	total := T(0)
	for _, o := range r.runs {
		for _, v := range x[o:][:r.run] {
			total += f(v)
		}
	}
	return total
}

func absolute[T integer](v T) T {
	if v < 0 {
		return -v
	}
	return v
}

func prodOf[T number](x []T, r *reduction) T {
	total := T(1)
	for _, o := range r.runs {
		for _, v := range x[o:][:r.run] {
			total *= v
		}
	}
	return total
}

// greatest is NaN if any element is.
func greatest[T number](x []T, r *reduction, top T) T {
	for _, o := range r.runs {
		for _, v := range x[o:][:r.run] {
			if v > top || v != v {
				top = v
			}
		}
	}
	return top
}

func least[T number](x []T, r *reduction, low T) T {
	for _, o := range r.runs {
		for _, v := range x[o:][:r.run] {
			if v < low || v != v {
				low = v
			}
		}
	}
	return low
}

// logSumExp is shifted by the greatest element, so that no power overflows.
func logSumExp[T number](x []T, r *reduction, top float64) float64 {
	if r.count() == 0 {
		return math.Inf(-1)
	}
	if math.IsInf(top, 0) {
		return top
	}
	return top + math.Log(overAll(x, r, func(v float64) float64 { return math.Exp(v - top) }))
}

// foldBool is any (max) or all (min).
func foldBool(any bool) func(x []bool, r *reduction) bool {
	return func(x []bool, r *reduction) bool {
		for _, o := range r.runs {
			for _, v := range x[o:][:r.run] {
				if v == any {
					return any
				}
			}
		}
		return !any
	}
}

// limits are the least and the greatest value of an integer type.
func limits[T integer]() (lo, hi T) {
	var zero T
	bits := 8 * unsafe.Sizeof(zero)
	if zero-1 > 0 {
		return 0, zero - 1
	}
	lo = T(1) << (bits - 1)
	return lo, lo - 1
}
