package op

import (
	"fmt"

	"tandem/graph"
	"tandem/tensor"
)

// tokenMask tells which keys are real tokens. Its tensor is int32 and has one of
// these shapes:
//
//	[batch]              the number of keys
//	[2·batch]            where they end, then where they begin
//	[3·batch+2]          the number, then running sums, which follow from it
//	[batch, keys]        1 for a token
//	[batch, rows, keys]  1 for a token that a row may look at
//	[batch, 1, m, m]     the same for every row up to m, which counts the past too
//
// A key that is none gets the attribute mask_filter_value added, -10000 by default.
type tokenMask[T wide] struct {
	mask              *tensor.Tensor
	batch, rows, keys int
	filter            T
}

func newTokenMask[T wide](c *graph.Call, i int, a *attention[T]) (*tokenMask[T], error) {
	if !c.Has(i) {
		return nil, nil
	}
	p := &tokenMask[T]{c.In[i], a.batch, a.rows, a.keys, T(c.Node.Attrs.Float("mask_filter_value", -10000))}
	s, ok := p.mask.Shape(), false
	switch len(s) {
	case 1:
		ok = s[0] == p.batch || s[0] == 2*p.batch || s[0] == 3*p.batch+2
	case 2:
		ok = s[0] == p.batch && s[1] == p.keys
	case 3:
		ok = s[0] == p.batch && s[1] == p.rows && s[2] == p.keys
	case 4:
		ok = s[0] == p.batch && s[1] == 1 && s[2] >= p.keys && s[3] >= p.keys
	}
	if !ok {
		return nil, fmt.Errorf("the mask has shape %v for %d examples of %d rows and %d keys", s, p.batch, p.rows, p.keys)
	}
	return p, nil
}

func (p *tokenMask[T]) add(b, row int, bias []T) {
	m, s := tensor.Data[int32](p.mask), p.mask.Shape()
	switch len(s) {
	case 1:
		lo, hi := 0, int(m[b])
		if s[0] == 2*p.batch {
			lo = int(m[p.batch+b])
		}
		for j := range bias {
			if j < lo || j >= hi {
				bias[j] += p.filter
			}
		}
		return
	case 2:
		m = m[b*p.keys:]
	case 3:
		m = m[(b*p.rows+row)*p.keys:]
	case 4:
		m = m[(b*s[2]+p.keys-p.rows+row)*s[3]:]
	}
	for j := range bias {
		if m[j] <= 0 {
			bias[j] += p.filter
		}
	}
}
