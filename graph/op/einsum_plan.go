package op

import (
	"fmt"
	"slices"

	"tandem/graph"
	"tandem/tensor"
)

// einsum is the sum as products of two operands at a time, from the left. Before a
// product, each operand is brought into the form [batch, own, summed].
type einsum[T arith] struct {
	call  *graph.Call
	sizes map[int]int // by label
	steps []func()
	err   error // the first
}

// maxEinsum bounds the elements of a result on the way: an equation can ask for
// far more than its operands and its result have.
const maxEinsum = 1 << 31

// factor is a dense array with named dimensions.
type factor[T arith] struct {
	labels []int
	data   func() []T
}

func kernelEinsumOf[T arith](c *graph.Call) (func() error, error) {
	ranks := make([]int, len(c.In))
	for i, x := range c.In {
		ranks[i] = x.Rank()
	}
	eq, err := parseEquation(c.Node.Attrs.String("equation", ""), ranks)
	if err != nil {
		return nil, err
	}
	e := &einsum[T]{call: c, sizes: map[int]int{}}
	for i, t := range eq.terms {
		for axis, l := range t {
			if n, seen := e.sizes[l]; !seen || n == 1 {
				e.sizes[l] = c.In[i].Dim(axis)
			}
		}
	}
	// needed are the labels that the result or a later operand reads.
	needed := func(after int) []int {
		return slices.Concat(eq.out, slices.Concat(eq.terms[after:]...))
	}
	have := e.reduced(c.In[0], eq.terms[0], needed(1))
	for i := 1; i < len(c.In); i++ {
		next := e.reduced(c.In[i], eq.terms[i], slices.Concat(have.labels, needed(i+1)))
		have = e.times(have, next, needed(i+1))
	}
	y := c.Out[0]
	e.copy(func() []T { return tensor.Data[T](y) }, eq.out, have.data, e.stridesOf(have.labels))
	if e.err != nil {
		return nil, e.err
	}
	return func() error {
		for _, step := range e.steps {
			step()
		}
		return nil
	}, nil
}

// reduced takes diagonals, drops dimensions of size 1 that are broadcast, and sums
// over what nobody else needs.
func (e *einsum[T]) reduced(x *tensor.Tensor, labels, needed []int) factor[T] {
	strides, stride := map[int]int{}, 1
	var keep []int
	for axis := len(labels) - 1; axis >= 0; axis-- {
		l := labels[axis]
		if x.Dim(axis) == e.sizes[l] {
			strides[l] += stride
			if slices.Contains(needed, l) && !slices.Contains(keep, l) {
				keep = append(keep, l)
			}
		}
		stride *= x.Dim(axis)
	}
	slices.Reverse(keep)
	from := func() []T { return tensor.Data[T](x) }
	if len(keep) == len(labels) {
		return factor[T]{labels, from}
	}
	to := e.room(keep)
	e.copy(to, keep, from, strides)
	return factor[T]{keep, to}
}

// room is memory for a result.
func (e *einsum[T]) room(labels []int) func() []T {
	sizes := make(tensor.Shape, len(labels))
	for i, l := range labels {
		sizes[i] = e.sizes[l]
	}
	n, err := sizes.CheckedLen(maxEinsum)
	if err != nil && e.err == nil {
		e.err = fmt.Errorf("a result on the way: %w", err)
	}
	data := roomFor[T](e, n)
	return func() []T { return data }
}

// roomFor allocates elements, none once there is an error.
func roomFor[S, T arith](e *einsum[T], n int) (data []S) {
	if e.err == nil {
		data, e.err = graph.Room[S](e.call, n)
	}
	return data
}

func (e *einsum[T]) count(labels []int) int {
	n := 1
	for _, l := range labels {
		n *= e.sizes[l]
	}
	return n
}

// stridesOf are those of a dense array.
func (e *einsum[T]) stridesOf(labels []int) map[int]int {
	strides, stride := map[int]int{}, 1
	for _, l := range slices.Backward(labels) {
		strides[l] = stride
		stride *= e.sizes[l]
	}
	return strides
}

// copy adds a step that writes to in the order of its labels, summing over the
// others of strides.
func (e *einsum[T]) copy(to func() []T, labels []int, from func() []T, strides map[int]int) {
	outer, inner := newOdometer(), newOdometer()
	for _, l := range labels {
		outer.add(e.sizes[l], strides[l])
	}
	var summed []int
	for l := range strides {
		if !slices.Contains(labels, l) {
			summed = append(summed, l)
		}
	}
	slices.Sort(summed)
	for _, l := range summed {
		inner.add(e.sizes[l], strides[l])
	}
	e.steps = append(e.steps, func() {
		x, y := from(), to()
		outer.reset()
		for i := range y {
			inner.reset()
			var sum T
			for range inner.count {
				sum += x[outer.at+inner.at]
				inner.next()
			}
			y[i] = sum
			outer.next()
		}
	})
}

// odometer walks over offsets, the last dimension the fastest.
type odometer struct {
	sizes, strides, digits []int
	count, at              int
}

func newOdometer() *odometer { return &odometer{count: 1} }

func (o *odometer) add(size, stride int) {
	o.sizes, o.strides, o.digits = append(o.sizes, size), append(o.strides, stride), append(o.digits, 0)
	o.count *= size
}

func (o *odometer) reset() {
	clear(o.digits)
	o.at = 0
}

func (o *odometer) next() {
	for i := len(o.digits) - 1; i >= 0; i-- {
		o.digits[i]++
		o.at += o.strides[i]
		if o.digits[i] < o.sizes[i] {
			return
		}
		o.at -= o.sizes[i] * o.strides[i]
		o.digits[i] = 0
	}
}

// times multiplies two factors and sums over what both have and nobody needs.
func (e *einsum[T]) times(a, b factor[T], needed []int) factor[T] {
	var batch, rows, cols, inner []int
	for _, l := range a.labels {
		switch {
		case !slices.Contains(b.labels, l):
			rows = append(rows, l)
		case slices.Contains(needed, l):
			batch = append(batch, l)
		default:
			inner = append(inner, l)
		}
	}
	for _, l := range b.labels {
		if !slices.Contains(a.labels, l) {
			cols = append(cols, l)
		}
	}
	x, y := e.arranged(a, slices.Concat(batch, rows, inner)), e.arranged(b, slices.Concat(batch, inner, cols))
	labels := slices.Concat(batch, rows, cols)
	to := e.room(labels)
	p := (&product[T]{m: e.count(rows), n: e.count(cols), k: e.count(inner)}).prepared(e.call.Pool)
	scratch, count := roomFor[float32](e, p.scratchLen()), e.count(batch)
	e.steps = append(e.steps, func() {
		a, b, c := x(), y(), to()
		for i := range count {
			p.run(a[i*p.m*p.k:][:p.m*p.k], b[i*p.k*p.n:][:p.k*p.n], c[i*p.m*p.n:][:p.m*p.n], scratch)
		}
	})
	return factor[T]{labels, to}
}

// arranged is f with its dimensions in another order.
func (e *einsum[T]) arranged(f factor[T], labels []int) func() []T {
	if slices.Equal(labels, f.labels) {
		return f.data
	}
	to := e.room(labels)
	e.copy(to, labels, f.data, e.stridesOf(f.labels))
	return to
}
