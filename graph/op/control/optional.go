package control

import (
	"fmt"

	"tandem/graph"
	"tandem/tensor"
)

// optionalOf wraps its input; without one it makes an empty optional, whose type
// (attribute type) is of no consequence here.
func optionalOf(c *graph.Call) (*tensor.Tensor, error) {
	if !c.Has(0) {
		return tensor.OfTensors(tensor.Optional, nil), nil
	}
	return tensor.OfTensors(tensor.Optional, []*tensor.Tensor{c.In[0]}), nil
}

// optionalGetElement: since version 18 the input may be the element itself.
func optionalGetElement(c *graph.Call) (*tensor.Tensor, error) {
	x := c.In[0]
	switch {
	case x.DType() != tensor.Optional:
		return x, nil
	case len(x.Items()) == 0:
		return nil, fmt.Errorf("the optional is empty")
	}
	return x.Items()[0], nil
}

func optionalHasElement(c *graph.Call) (*tensor.Tensor, error) {
	has := c.Has(0) && (c.In[0].DType() != tensor.Optional || len(c.In[0].Items()) > 0)
	return tensor.Scalar(has), nil
}
