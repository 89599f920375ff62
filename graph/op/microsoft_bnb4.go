package op

import (
	"fmt"

	"tandem/graph"
	"tandem/tensor"
)

// Inputs of MatMulBnb4: a [..., K], the codes of bᵀ [N, K] in a row, two to a byte, the
// first in the high bits; and the greatest magnitude of each block of them.
const (
	bnb4A = iota
	bnb4Codes
	bnb4Scales
)

// bnb4Values are what codes of four bits stand for, as shares of the greatest magnitude:
// those of a float with three bits and a sign (FP4), and quantiles of the normal
// distribution (NF4). Dettmers et al., "QLoRA" (2023), appendix E.
func bnb4Values(kind int) ([16]float64, error) {
	switch kind {
	case 0:
		const sixth, least = 1.0 / 6, 1.0 / 192
		return [16]float64{0, least, 4 * sixth, 1, 2 * sixth, 3 * sixth, sixth, 1.5 * sixth,
			0, -least, -4 * sixth, -1, -2 * sixth, -3 * sixth, -sixth, -1.5 * sixth}, nil
	case 1:
		return [16]float64{
			-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
			-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0,
			0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
			0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1}, nil
	}
	return [16]float64{}, fmt.Errorf("quant_type is %d, expected 0 (FP4) or 1 (NF4)", kind)
}

func readBnb4(a graph.Attrs) (f nbitsForm, err error) {
	f = nbitsForm{k: a.Int("K", 0), n: a.Int("N", 0), bits: 4, block: a.Int("block_size", 0)}
	if f.k < 1 || f.n < 1 || f.k > 1<<30 || f.n > 1<<30 {
		return f, fmt.Errorf("attributes K %d and N %d", f.k, f.n)
	}
	if f.block < 16 || f.block&(f.block-1) != 0 {
		return f, fmt.Errorf("block_size is %d, expected a power of two from 16", f.block)
	}
	if a.Int("transB", 1) == 0 {
		return f, fmt.Errorf("transB 0, the product of the backward pass, is not supported")
	}
	_, err = bnb4Values(a.Int("quant_type", -1))
	return f, err
}

func inferBnb4(c *graph.Infer) error {
	if err := c.Require(3, 3); err != nil {
		return err
	}
	f, err := readBnb4(c.Node.Attrs)
	if err != nil {
		return err
	}
	if err := floats(c, bnb4A, bnb4Scales); err != nil {
		return err
	}
	if c.In(bnb4Codes).DType != tensor.Uint8 {
		return fmt.Errorf("the codes are %v, expected uint8", c.In(bnb4Codes).DType)
	}
	a := c.In(bnb4A)
	if len(a.Shape) < 1 {
		return fmt.Errorf("a is a scalar")
	}
	last := len(a.Shape) - 1
	if err := c.Same(a.Shape[last], graph.Const(f.k), "columns of a and K"); err != nil {
		return err
	}
	for i, n := range map[int]int{bnb4Codes: (f.n*f.k + 1) / 2, bnb4Scales: (f.n*f.k + f.block - 1) / f.block} {
		if err := c.Same(c.In(i).Shape.Len(), graph.Const(n), fmt.Sprintf("elements of input %d", i)); err != nil {
			return err
		}
	}
	shape := append(graph.Shape{}, a.Shape...)
	shape[last] = graph.Const(f.n)
	c.Out(0, a.DType, shape)
	return nil
}

func kernelBnb4[T wide](c *graph.Call) (func() error, error) {
	f, err := readBnb4(c.Node.Attrs)
	if err != nil {
		return nil, err
	}
	values, err := bnb4Values(c.Node.Attrs.Int("quant_type", -1))
	if err != nil {
		return nil, err
	}
	multiply := byColumns(c, f.k, f.n, -1, func(col int, to []T) {
		codes, scales := c.In[bnb4Codes].Bytes(), tensor.Data[T](c.In[bnb4Scales])
		for i := range to {
			at := col*f.k + i
			code := codes[at/2] >> (4 * (1 - at%2)) & 15
			to[i] = T(float32(values[code])) * scales[at/f.block]
		}
	})
	return func() error {
		multiply()
		return nil
	}, nil
}
