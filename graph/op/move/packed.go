package move

import (
	"tandem/graph"
	"tandem/tensor"
)

// Unpacked lets a kernel that moves elements see those of under a byte as bytes.
func Unpacked(kernel graph.Kernel) graph.Kernel {
	return func(c *graph.Call) (func() error, error) {
		var before, after []func()
		for i, x := range c.In {
			if x != nil && Packed(x.DType()) {
				wide, err := c.New(tensor.Uint8, x.Shape()...)
				if err != nil {
					return nil, err
				}
				c.In[i] = wide
				before = append(before, func() { Unpack(wide.Bytes(), x) })
			}
		}
		for i, y := range c.Out {
			if y != nil && Packed(y.DType()) {
				wide, err := c.New(tensor.Uint8, y.Shape()...)
				if err != nil {
					return nil, err
				}
				c.Out[i] = wide
				after = append(after, func() { Pack(y, wide.Bytes()) })
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

// Packed reports whether several elements of a type share a byte.
func Packed(d tensor.DType) bool { return d.Bits() > 0 && d.Bits() < 8 }

// Unpack puts the bits of each element into a byte of its own.
func Unpack(dst []byte, src *tensor.Tensor) {
	bits := src.DType().Bits()
	per, mask, b := 8/bits, byte(1)<<bits-1, src.Bytes()
	for i := range dst {
		dst[i] = b[i/per] >> (i % per * bits) & mask
	}
}

// Pack is the inverse of Unpack.
func Pack(dst *tensor.Tensor, src []byte) {
	bits := dst.DType().Bits()
	per, mask, b := 8/bits, byte(1)<<bits-1, dst.Bytes()
	clear(b)
	for i, v := range src {
		b[i/per] |= v & mask << (i % per * bits)
	}
}
