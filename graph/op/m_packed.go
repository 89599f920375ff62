package op

import (
	"tandem/graph"
	"tandem/tensor"
)

// unpacked lets a kernel that moves elements see those of under a byte as bytes.
func unpacked(kernel graph.Kernel) graph.Kernel {
	return func(c *graph.Call) (func() error, error) {
		var before, after []func()
		for i, x := range c.In {
			if x != nil && isPacked(x.DType()) {
				wide, err := c.New(tensor.Uint8, x.Shape()...)
				if err != nil {
					return nil, err
				}
				c.In[i] = wide
				before = append(before, func() { unpackBits(wide.Bytes(), x) })
			}
		}
		for i, y := range c.Out {
			if y != nil && isPacked(y.DType()) {
				wide, err := c.New(tensor.Uint8, y.Shape()...)
				if err != nil {
					return nil, err
				}
				c.Out[i] = wide
				after = append(after, func() { packBits(y, wide.Bytes()) })
			}
		}
		run, err := kernel(c)
		if err != nil || len(before)+len(after) == 0 {
			return run, err
		}
		return func() error {
			for _, f := range before {
				f()
			}
			if err := run(); err != nil {
				return err
			}
			for _, f := range after {
				f()
			}
			return nil
		}, nil
	}
}

func isPacked(d tensor.DType) bool { return d.Bits() > 0 && d.Bits() < 8 }

// unpackBits puts the bits of each element into a byte of its own.
func unpackBits(dst []byte, src *tensor.Tensor) {
	bits := src.DType().Bits()
	per, mask, b := 8/bits, byte(1)<<bits-1, src.Bytes()
	for i := range dst {
		dst[i] = b[i/per] >> (i % per * bits) & mask
	}
}

// packBits is the inverse of unpackBits.
func packBits(dst *tensor.Tensor, src []byte) {
	bits := dst.DType().Bits()
	per, mask, b := 8/bits, byte(1)<<bits-1, dst.Bytes()
	clear(b)
	for i, v := range src {
		b[i/per] |= v & mask << (i % per * bits)
	}
}
