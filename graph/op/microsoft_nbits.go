package op

import (
	"fmt"

	"tandem/graph"
	"tandem/tensor"
)

// nbitsOps multiply by a matrix whose elements have a few bits.
func nbitsOps() []graph.Op {
	return []graph.Op{
		{ID: microsoft("MatMulNBits"), Since: 1, Infer: inferNBits, Kernel: floating(kernelNBits[float32], kernelNBits[float64]), Expand: expandNBits, Work: workProduct},
		{ID: microsoft("MatMulBnb4"), Since: 1, Infer: inferBnb4, Kernel: floating(kernelBnb4[float32], kernelBnb4[float64]), Expand: expandBnb4, Work: workProduct},
	}
}

// Inputs of MatMulNBits: a [..., K], the codes of bᵀ [N, blocks, bytes], a scale and
// a zero point for each block, indices of groups, and a bias [N].
const (
	nbitsA = iota
	nbitsCodes
	nbitsScales
	nbitsZeros
	nbitsGroups
	nbitsBias
)

// nbitsForm are the attributes.
type nbitsForm struct{ k, n, bits, block, blocks int }

func readNBits(a graph.Attrs) (nbitsForm, error) {
	f := nbitsForm{k: a.Int("K", 0), n: a.Int("N", 0), bits: a.Int("bits", 4), block: a.Int("block_size", 0)}
	if f.k < 1 || f.n < 1 || f.k > 1<<30 || f.n > 1<<30 {
		return f, fmt.Errorf("attributes K %d and N %d", f.k, f.n)
	}
	if f.bits != 1 && f.bits != 2 && f.bits != 4 && f.bits != 8 {
		return f, fmt.Errorf("bits is %d, expected 1, 2, 4 or 8", f.bits)
	}
	if f.block < 16 || f.block&(f.block-1) != 0 {
		return f, fmt.Errorf("block_size is %d, expected a power of two from 16", f.block)
	}
	f.blocks = (f.k + f.block - 1) / f.block
	return f, nil
}

func inferNBits(c *graph.Infer) error {
	if err := c.Require(3, 6); err != nil {
		return err
	}
	f, err := readNBits(c.Node.Attrs)
	if err != nil {
		return err
	}
	if err := floats(c, nbitsA, nbitsScales, nbitsBias); err != nil {
		return err
	}
	if c.In(nbitsCodes).DType != tensor.Uint8 {
		return fmt.Errorf("the codes are %v, expected uint8", c.In(nbitsCodes).DType)
	}
	if c.Has(nbitsZeros) && c.In(nbitsZeros).DType != tensor.Uint8 && c.In(nbitsZeros).DType != c.In(nbitsA).DType {
		return fmt.Errorf("the zero points are %v, expected uint8 or %v", c.In(nbitsZeros).DType, c.In(nbitsA).DType)
	}
	if c.Has(nbitsGroups) && c.In(nbitsGroups).DType != tensor.Int32 {
		return fmt.Errorf("the indices of groups are %v, expected int32", c.In(nbitsGroups).DType)
	}
	a := c.In(nbitsA)
	if len(a.Shape) < 1 {
		return fmt.Errorf("a is a scalar")
	}
	last := len(a.Shape) - 1
	if err := c.Same(a.Shape[last], graph.Const(f.k), "columns of a and K"); err != nil {
		return err
	}
	for i, n := range map[int]int{nbitsCodes: f.n * f.blocks * f.block * f.bits / 8, nbitsScales: f.n * f.blocks, nbitsBias: f.n, nbitsGroups: f.k} {
		if !c.Has(i) {
			continue
		}
		if v, ok := c.In(i).Shape.Len().Value(); ok && v != n && !(i == nbitsGroups && v == f.blocks*f.block) {
			return fmt.Errorf("input %d (%s) has shape %v, expected %d elements", i, c.Node.Inputs[i].Name, c.In(i).Shape, n)
		}
	}
	if c.Has(nbitsZeros) {
		want := f.n * f.blocks
		if c.In(nbitsZeros).DType == tensor.Uint8 {
			want = f.n * ((f.blocks*f.bits + 7) / 8)
		}
		if v, ok := c.In(nbitsZeros).Shape.Len().Value(); ok && v != want {
			return fmt.Errorf("the zero points have shape %v, expected %d elements", c.In(nbitsZeros).Shape, want)
		}
	}
	shape := append(graph.Shape{}, a.Shape...)
	shape[last] = graph.Const(f.n)
	c.Out(0, a.DType, shape)
	return nil
}

func kernelNBits[T wide](c *graph.Call) (func() error, error) {
	f, err := readNBits(c.Node.Attrs)
	if err != nil {
		return nil, err
	}
	multiply := byColumns(c, f.k, f.n, nbitsBias, func(col int, to []T) { nbitsColumn(c, f, col, to) })
	return func() error {
		if c.Has(nbitsGroups) {
			for i, g := range tensor.Data[int32](c.In[nbitsGroups]) {
				if g < 0 || int(g) >= f.blocks {
					return fmt.Errorf("element %d belongs to group %d, there are %d", i, g, f.blocks)
				}
			}
		}
		multiply()
		return nil
	}, nil
}

// byColumns multiplies the rows of input 0, each of k numbers, by n columns, which it
// decodes one at a time, and adds a bias where there is one.
func byColumns[T wide](c *graph.Call, k, n, bias int, decode func(col int, to []T)) func() {
	rows := c.In[0].Len() / k
	rooms := make([][]T, c.Pool.Threads())
	some := func(lo, hi, worker int) {
		if rooms[worker] == nil {
			rooms[worker] = make([]T, k)
		}
		a, y := tensor.Data[T](c.In[0]), tensor.Data[T](c.Out[0])
		for col := lo; col < hi; col++ {
			decode(col, rooms[worker])
			add := T(0)
			if c.Has(bias) {
				add = tensor.Data[T](c.In[bias])[col]
			}
			for r := range rows {
				y[r*n+col] = dot(a[r*k:][:k], rooms[worker]) + add
			}
		}
	}
	return func() { c.Pool.For(n, max(1, (1<<15)/(k*max(1, rows))), some) }
}

// nbitsColumn decodes (code-zero)·scale for the elements of a column.
func nbitsColumn[T wide](c *graph.Call, f nbitsForm, col int, to []T) {
	codes := c.In[nbitsCodes].Bytes()[col*f.blocks*f.block*f.bits/8:]
	scales := tensor.Data[T](c.In[nbitsScales])[col*f.blocks:]
	var groups []int32
	if c.Has(nbitsGroups) {
		groups = tensor.Data[int32](c.In[nbitsGroups])
	}
	for i := range to {
		g := i / f.block
		if groups != nil {
			g = int(groups[i])
		}
		to[i] = (T(bitsAt(codes, i, f.bits)) - nbitsZero[T](c, f, col, g)) * scales[g]
	}
}

// nbitsZero is the zero point of a block: half the range where none is given.
func nbitsZero[T wide](c *graph.Call, f nbitsForm, col, block int) T {
	switch {
	case !c.Has(nbitsZeros):
		return T(int(1) << (f.bits - 1))
	case c.In[nbitsZeros].DType() == tensor.Uint8:
		bytes := (f.blocks*f.bits + 7) / 8
		return T(bitsAt(c.In[nbitsZeros].Bytes()[col*bytes:], block, f.bits))
	}
	return tensor.Data[T](c.In[nbitsZeros])[col*f.blocks+block]
}

// bitsAt is element i of packed codes, the first in the low bits.
func bitsAt(data []byte, i, bits int) int {
	at := i * bits
	return int(data[at/8]) >> (at % 8) & (1<<bits - 1)
}
