package control

import (
	"fmt"
	"math"

	"tandem/graph"
	"tandem/tensor"
)

// loop is a Loop node under way.
type loop struct {
	c       *graph.Call
	carried []*tensor.Tensor
	scans   []collector
	bytes   int // gathered
}

// kernelLoop: inputs are the number of iterations and the condition, either of
// which may be absent, and the values carried; the body takes the iteration, the
// condition and the values, and gives the next condition, the next values, and
// what is gathered.
func kernelLoop(c *graph.Call) (func() error, error) {
	body, err := bodyOf(c)
	if err != nil {
		return nil, err
	}
	l := &loop{c: c}
	if len(c.In) > 2 {
		l.carried = c.In[2:]
	}
	n := len(l.carried)
	for i := range l.carried {
		if l.carried[i] == nil {
			return nil, fmt.Errorf("input %d is missing", i+2)
		}
	}
	if len(body.Inputs) != n+2 || len(body.Outputs) < n+1 {
		return nil, fmt.Errorf("its body has %d inputs and %d outputs, for %d values carried", len(body.Inputs), len(body.Outputs), n)
	}
	if len(c.Out) > len(body.Outputs)-1 {
		return nil, fmt.Errorf("it has %d outputs, its body gives %d", len(c.Out), len(body.Outputs)-1)
	}
	for _, v := range body.Outputs[n+1:] {
		l.scans = append(l.scans, collector{like: v})
	}
	return l.run, nil
}

func (l *loop) run() error {
	count, on, err := l.limits()
	if err != nil {
		return err
	}
	for i := int64(0); i < count && on; i++ {
		if err := l.c.Context().Err(); err != nil {
			return err
		}
		in := append([]*tensor.Tensor{tensor.Scalar(i), tensor.Scalar(on)}, l.carried...)
		out, err := l.c.RunBody("body", in)
		if err != nil {
			return fmt.Errorf("iteration %d: %w", i, err)
		}
		if on, err = boolIn(out[0], "the condition that the body gives"); err != nil {
			return err
		}
		n := len(l.carried)
		l.carried = out[1 : n+1]
		more, err := collect(l.scans, out[n+1:])
		if err != nil {
			return err
		}
		l.bytes += more
		held := l.bytes
		for _, x := range l.carried {
			held += bytesIn(x)
		}
		if err := checkLoop(l.c, held); err != nil {
			return err
		}
	}
	out := append([]*tensor.Tensor{}, l.carried...)
	for i, s := range l.scans {
		if n := len(out); n >= len(l.c.Out) || l.c.Out[n] == nil {
			out = append(out, nil) // nobody reads it
			continue
		}
		x, err := s.stacked(0, false)
		if err != nil {
			return fmt.Errorf("gathered output %d: %w", i, err)
		}
		out = append(out, x)
	}
	return deliver(l.c, out)
}

// limits are the number of iterations and the first condition.
func (l *loop) limits() (count int64, on bool, err error) {
	count, on = math.MaxInt64, true
	if l.c.Has(0) {
		n, err := integerIn(l.c.In[0], "the number of iterations")
		if err != nil {
			return 0, false, err
		}
		count = int64(n)
	}
	if l.c.Has(1) {
		on, err = boolIn(l.c.In[1], "the condition")
	}
	return count, on, err
}

// kernelSequenceMap applies the body to each element of the first input; of the
// others, sequences give an element and tensors themselves.
func kernelSequenceMap(c *graph.Call) (func() error, error) {
	body, err := bodyOf(c)
	if err != nil {
		return nil, err
	}
	if err := c.Require(max(len(c.In), 1), -1); err != nil {
		return nil, err
	}
	return func() error {
		first, err := items(c)
		if err != nil {
			return err
		}
		lists := make([][]*tensor.Tensor, len(body.Outputs))
		for i := range first {
			in := make([]*tensor.Tensor, len(c.In))
			for j, x := range c.In {
				in[j] = x
				if x.DType() != tensor.Sequence {
					continue
				}
				if len(x.Items()) != len(first) {
					return fmt.Errorf("input %d has %d elements, input 0 has %d", j, len(x.Items()), len(first))
				}
				in[j] = x.Items()[i]
			}
			out, err := c.RunBody("body", in)
			if err != nil {
				return fmt.Errorf("element %d: %w", i, err)
			}
			for j, x := range out {
				lists[j] = append(lists[j], x)
			}
		}
		out := make([]*tensor.Tensor, len(lists))
		for j, list := range lists {
			out[j] = tensor.OfTensors(tensor.Sequence, list)
		}
		return deliver(c, out)
	}, nil
}
