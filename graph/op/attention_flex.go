package op

import (
	"fmt"

	"tandem/graph"
	"tandem/tensor"
)

// inferFlexAttention: (q, k, v), each [batch, heads, rows, size], with inner graphs
// that change the scores and the weights.
func inferFlexAttention(c *graph.Infer) error {
	if err := c.Require(3, 3); err != nil {
		return err
	}
	if err := floats(c, 0, 1, 2); err != nil {
		return err
	}
	if err := c.Rank(0, 4); err != nil {
		return err
	}
	d, err := readAttention(c)
	if err != nil {
		return err
	}
	if p := flexPrecision(c.Node, c.In(0).DType); !fullFloat(p) {
		return fmt.Errorf("softmax_precision %v is not a floating-point type", p)
	}
	c.Out(0, c.In(0).DType, graph.Shape{d.batch, d.heads, d.rows, d.valueSize})
	return nil
}

// flexPrecision is the type of scores and weights in the inner graphs.
func flexPrecision(n *graph.Node, d tensor.DType) tensor.DType {
	def := tensor.Float32
	if d == tensor.Float64 {
		def = d
	}
	return tensor.DType(n.Attrs.Int("softmax_precision", int(def)))
}

func kernelFlexAttention[T wide](c *graph.Call) (func() error, error) {
	a := attentionOf[T](c)
	scores, err := c.New(c.In[0].DType(), a.batch, a.heads, a.rows, a.keys)
	if err != nil {
		return nil, err
	}
	precision := flexPrecision(c.Node, c.In[0].DType())
	bind, err := bindAttention(c, a, len(c.In))
	if err != nil {
		return nil, err
	}
	change := func(attr string) error {
		if _, ok := c.Node.Attrs[attr]; !ok {
			return nil
		}
		in, err := c.New(precision, scores.Shape()...)
		if err != nil {
			return err
		}
		if err := tensor.Convert(in, scores, false); err != nil {
			return err
		}
		out, err := c.RunBody(attr, []*tensor.Tensor{in})
		if err != nil {
			return err
		}
		if len(out) != 1 || !out[0].Shape().Equal(scores.Shape()) {
			return fmt.Errorf("the inner graph %s does not keep the shape %v", attr, scores.Shape())
		}
		return tensor.Convert(scores, out[0], false)
	}
	return func() error {
		bind()
		data := tensor.Data[T](scores)
		a.eachRow(data, func(b, kv, head, row int, s []T) {
			for j := range s {
				s[j] = dot(a.q.at(b, head, row, a.size), a.k.at(b, kv, j, a.size)) * a.scale
			}
		})
		if err := change("score_mod"); err != nil {
			return err
		}
		a.eachRow(data, func(_, _, head, _ int, s []T) { a.normalize(s, head) })
		if err := change("prob_mod"); err != nil {
			return err
		}
		a.eachRow(data, func(b, kv, head, row int, s []T) {
			y := a.y.at(b, head, row, a.valueSize)
			clear(y)
			for j, p := range s {
				for i, v := range a.v.at(b, kv, j, a.valueSize) {
					y[i] += p * v
				}
			}
		})
		return nil
	}, nil
}

// eachRow visits the rows of scores [batch, heads, rows, keys].
func (a *attention[T]) eachRow(scores []T, f func(b, kv, head, row int, s []T)) {
	for i := range a.batch * a.heads * a.rows {
		head := i / a.rows % a.heads
		f(i/(a.rows*a.heads), head/(a.heads/a.kvHeads), head, i%a.rows, scores[i*a.keys:][:a.keys])
	}
}
