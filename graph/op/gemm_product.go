package op

import (
	"fmt"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// arith are the element types that Go computes with.
type arith interface {
	~float32 | ~float64 | ~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64
}

// realFloat are the floating-point types of ordinary operators.
func realFloat(d tensor.DType) bool {
	return d == tensor.Float32 || d == tensor.Float64 || d == tensor.Float16 || d == tensor.BFloat16
}

// wideNumber are the types of matrix products: floating point, and integers of 32
// and 64 bits.
func wideNumber(d tensor.DType) bool {
	return realFloat(d) || d == tensor.Int32 || d == tensor.Int64 || d == tensor.Uint32 || d == tensor.Uint64
}

// isByte are the types of quantized operands.
func isByte(d tensor.DType) bool { return d == tensor.Int8 || d == tensor.Uint8 }

// typed checks that the given inputs, where present, have one type, of those allowed.
func typed(c *graph.Infer, allowed func(tensor.DType) bool, inputs ...int) error {
	first := tensor.Undefined
	for _, i := range inputs {
		if !c.Has(i) {
			continue
		}
		d := c.In(i).DType
		if !allowed(d) {
			return fmt.Errorf("input %d (%s) has type %v, which the operator does not take", i, c.Node.Inputs[i].Name, d)
		}
		if first == tensor.Undefined {
			first = d
		}
		if d != first {
			return fmt.Errorf("input %d (%s) has type %v, expected %v like the first", i, c.Node.Inputs[i].Name, d, first)
		}
	}
	return nil
}

// product is c = a·b of matrices of any element type. Every element is a sum over
// k in its order, whatever the number of rows and threads.
type product[T arith] struct {
	m, n, k        int
	transA, transB bool
	lda, ldb, ldc  int // row strides; 0 means dense
	pool           *kernel.Pool
	gemm           *kernel.Gemm // for float32

	a, b, c []T // of the run under way
	body    func(lo, hi, worker int)
}

// prepared fills in what does not change from run to run.
func (p *product[T]) prepared(pool *kernel.Pool) *product[T] {
	p.pool = pool
	p.body = func(lo, hi, _ int) {
		for i := lo; i < hi; i++ {
			p.row(i, p.a, p.b, p.c[i*p.ldc:][:p.n])
		}
	}
	if _, ok := any([]T(nil)).([]float32); ok {
		p.gemm = &kernel.Gemm{M: p.m, N: p.n, K: p.k, TransA: p.transA, TransB: p.transB, LDA: p.lda, LDB: p.ldb, LDC: p.ldc}
	}
	if p.lda == 0 {
		p.lda = p.k
		if p.transA {
			p.lda = p.m
		}
	}
	if p.ldb == 0 {
		p.ldb = p.n
		if p.transB {
			p.ldb = p.k
		}
	}
	if p.ldc == 0 {
		p.ldc = p.n
	}
	return p
}

// scratchLen is the number of floats that run needs.
func (p *product[T]) scratchLen() int {
	if p.gemm == nil {
		return 0
	}
	return p.gemm.ScratchLen(p.pool)
}

func (p *product[T]) run(a, b, c []T, scratch []float32) {
	if p.gemm != nil {
		p.gemm.A, p.gemm.B, p.gemm.C = any(a).([]float32), any(b).([]float32), any(c).([]float32)
		p.gemm.Run(p.pool, scratch)
		return
	}
	p.a, p.b, p.c = a, b, c
	p.pool.For(p.m, max(1, (1<<16)/max(1, p.n*p.k)), p.body)
}

func (p *product[T]) row(i int, a, b, c []T) {
	clear(c)
	step := 1
	if p.transA {
		a, step = a[min(i, len(a)):], p.lda
	} else {
		a = a[min(i*p.lda, len(a)):]
	}
	if p.transB {
		for j := range c {
			row := b[j*p.ldb:]
			var sum T
			for k := range p.k {
				sum += a[k*step] * row[k]
			}
			c[j] = sum
		}
		return
	}
	for k := range p.k {
		v := a[k*step]
		for j, w := range b[k*p.ldb:][:p.n] {
			c[j] += v * w
		}
	}
}
