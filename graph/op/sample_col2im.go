package op

import (
	"fmt"

	"tandem/graph"
	"tandem/graph/op/move"
	"tandem/tensor"
)

// patches are the attributes of Col2Im for an image of known dimensions.
type patches struct {
	dilations, strides, pads []int
}

func patchesOf(a graph.Attrs, dims int) (patches, error) {
	p := patches{a.Ints("dilations"), a.Ints("strides"), a.Ints("pads")}
	for _, list := range []*[]int{&p.dilations, &p.strides} {
		if *list == nil {
			*list = make([]int, dims)
			for i := range *list {
				(*list)[i] = 1
			}
		}
		if len(*list) != dims {
			return p, fmt.Errorf("%v for %d dimensions", *list, dims)
		}
		for _, v := range *list {
			if v < 1 || v > 1<<30 {
				return p, fmt.Errorf("stride or dilation %d is outside [1, %d]", v, 1<<30)
			}
		}
	}
	if p.pads == nil {
		p.pads = make([]int, 2*dims)
	}
	if len(p.pads) != 2*dims {
		return p, fmt.Errorf("pads %v for %d dimensions", p.pads, dims)
	}
	for _, v := range p.pads {
		if v < 0 || v > 1<<30 {
			return p, fmt.Errorf("pad %d is outside [0, %d]", v, 1<<30)
		}
	}
	return p, nil
}

// inferCol2Im: data are [N, C·|block|, positions], the result [N, C, image…].
func inferCol2Im(c *graph.Infer) error {
	if err := c.Require(3, 3); err != nil {
		return err
	}
	if err := c.Rank(0, 3); err != nil {
		return err
	}
	image, ok := c.Content(1)
	if !ok {
		return graph.ErrNeedsData
	}
	block, err := c.Ints(2)
	if err != nil {
		return err
	}
	if len(block) != len(image) || len(image) == 0 {
		return fmt.Errorf("blocks of shape %v in an image of shape %v", block, graph.Shape(image))
	}
	p, err := patchesOf(c.Node.Attrs, len(image))
	if err != nil {
		return err
	}
	for _, b := range block {
		if b < 1 || b > 1<<15 {
			return fmt.Errorf("a dimension of blocks is %d, expected [1, %d]", b, 1<<15)
		}
	}
	in := c.In(0)
	size, err := tensor.Shape(block).CheckedLen(1 << 40)
	if err != nil {
		return err
	}
	channels, err := divide(in.Shape[1], size, "channels of patches")
	if err != nil {
		return err
	}
	if d, ok := graph.Shape(image).Static(); ok {
		n := p.positions(d, block).Len()
		if err := c.Same(in.Shape[2], graph.Const(n), "numbers of patches"); err != nil {
			return err
		}
	}
	c.Out(0, in.DType, append(graph.Shape{in.Shape[0], channels}, image...))
	return nil
}

// positions is how many blocks there are along each dimension.
func (p patches) positions(image, block []int) tensor.Shape {
	out := make(tensor.Shape, len(image))
	for i := range out {
		room := image[i] + p.pads[i] + p.pads[i+len(image)] - p.dilations[i]*(block[i]-1) - 1
		if room >= 0 {
			out[i] = room/p.strides[i] + 1
		}
	}
	return out
}

func kernelCol2Im(c *graph.Call) (func() error, error) {
	switch c.In[0].DType() {
	case tensor.Float32:
		return col2im[float32](c)
	case tensor.Float64:
		return col2im[float64](c)
	case tensor.Int8:
		return col2im[int8](c)
	case tensor.Int16:
		return col2im[int16](c)
	case tensor.Int32:
		return col2im[int32](c)
	case tensor.Int64:
		return col2im[int64](c)
	case tensor.Uint8:
		return col2im[uint8](c)
	case tensor.Uint16:
		return col2im[uint16](c)
	case tensor.Uint32:
		return col2im[uint32](c)
	case tensor.Uint64:
		return col2im[uint64](c)
	}
	return nil, fmt.Errorf("patches of type %v cannot be added", c.In[0].DType())
}

// col2im adds every element of the patches where it comes from, in the order in
// which they lie.
func col2im[T arithmetic](c *graph.Call) (func() error, error) {
	image := c.Out[0].Shape()[2:]
	p, err := patchesOf(c.Node.Attrs, len(image))
	if err != nil {
		return nil, err
	}
	return func() error {
		from, to := tensor.Data[T](c.In[0]), tensor.Data[T](c.Out[0])
		clear(to)
		return p.each(c.Out[0].Shape(), c.In[2], len(from), func(at, k int) { to[k] += from[at] })
	}, nil
}

// each calls f for every element of the patches, in the order in which they lie,
// that is not in the padding: at is its offset, k that in the images of a shape.
func (p patches) each(shape tensor.Shape, blocks *tensor.Tensor, n int, f func(at, k int)) error {
	image, planes := shape[2:], shape[:2].Len()
	block, size := tensor.Shape(blocks.Ints()), image.Len()
	positions := p.positions(image, block)
	if positions.Len()*block.Len()*planes != n {
		return fmt.Errorf("%v patches of %v do not fit %d elements of data", positions, block, n)
	}
	inBlock, position := make([]int, len(image)), make([]int, len(image))
	stride, at := move.Dense(image), 0
	for plane := range planes {
		clear(inBlock)
		for range block.Len() {
			clear(position)
			for range positions.Len() {
				if k, ok := p.target(position, inBlock, image, stride); ok {
					f(at, plane*size+k)
				}
				at++
				next(position, positions)
			}
			next(inBlock, block)
		}
	}
	return nil
}

// target is the offset in the image of an element of a block at a position; false
// if it is in the padding.
func (p patches) target(position, inBlock, image, stride []int) (int, bool) {
	offset := 0
	for d := range image {
		i := position[d]*p.strides[d] - p.pads[d] + inBlock[d]*p.dilations[d]
		if i < 0 || i >= image[d] {
			return 0, false
		}
		offset += i * stride[d]
	}
	return offset, true
}
