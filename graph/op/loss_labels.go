package op

import (
	"fmt"
	"slices"

	"tandem/graph"
	"tandem/tensor"
)

// inferLoss is the rule for (scores [n,classes,...], labels [n,...], weights
// [classes]) -> (loss[, log probabilities]).
func inferLoss(softmax bool) func(*graph.Infer) error {
	return func(c *graph.Infer) error {
		if err := c.Require(2, 3); err != nil {
			return err
		}
		if err := floats(c, 0, 2); err != nil {
			return err
		}
		x, labels := c.In(0), c.In(1)
		if labels.DType != tensor.Int64 && labels.DType != tensor.Int32 {
			return fmt.Errorf("labels are %v, expected int32 or int64", labels.DType)
		}
		if len(x.Shape) < 2 || len(labels.Shape) != len(x.Shape)-1 {
			return fmt.Errorf("scores of shape %v and labels of shape %v", x.Shape, labels.Shape)
		}
		want := slices.Delete(slices.Clone(x.Shape), 1, 2)
		for i, d := range want {
			if err := c.Same(d, labels.Shape[i], fmt.Sprintf("dimension %d of labels and scores", i)); err != nil {
				return err
			}
		}
		if c.Has(2) {
			if err := c.Rank(2, 1); err != nil {
				return err
			}
			if err := c.Same(c.In(2).Shape[0], x.Shape[1], "numbers of weights and classes"); err != nil {
				return err
			}
		}
		switch r := c.Node.Attrs.String("reduction", "mean"); r {
		case "none":
			c.Out(0, x.DType, want)
		case "mean", "sum":
			c.Out(0, x.DType, graph.Shape{})
		default:
			return fmt.Errorf("reduction %q is not none, sum or mean", r)
		}
		if softmax {
			c.Out(1, x.DType, x.Shape)
		} else if c.Node.Output(1) != nil {
			return fmt.Errorf("there is no second output")
		}
		return nil
	}
}

// kernelLabelLoss: minus the weighted score of the label, at each position, after a
// log softmax over the classes or not. The mean is over the weights; a label of
// ignore_index has weight 0.
func kernelLabelLoss[T wide](softmax bool) graph.Kernel {
	return func(c *graph.Call) (func() error, error) {
		l := linesAlong(c.In[0].Shape(), 1)
		if c.In[1].Len() != l.outer*l.inner || c.Has(2) && c.In[2].Len() != l.n {
			return nil, fmt.Errorf("scores %v, labels %v and weights do not fit each other", c.In[0], c.In[1])
		}
		ignored, ignores := c.Node.Attrs["ignore_index"].(int64)
		reduction := c.Node.Attrs.String("reduction", "mean")
		keep := len(c.Out) > 1 && c.Out[1] != nil
		var logs []T
		if softmax && !keep {
			var err error
			if logs, err = graph.Room[T](c, c.In[0].Len()); err != nil {
				return nil, err
			}
		}
		return func() error {
			scores := tensor.Data[T](c.In[0])
			if softmax {
				if keep {
					logs = tensor.Data[T](c.Out[1])
				}
				l.each(func(first int) { softmaxLine(logs, scores, first, l, true) })
				scores = logs
			}
			var weights []T
			if c.Has(2) {
				weights = tensor.Data[T](c.In[2])
			}
			total, weight := 0.0, 0.0
			for i := range l.outer * l.inner {
				label, w := labelAt(c.In[1], i), T(1)
				switch {
				case ignores && label == ignored:
					w = 0
				case label < 0 || label >= int64(l.n):
					return fmt.Errorf("label %d at position %d is not one of the %d classes", label, i, l.n)
				case weights != nil:
					w = weights[label]
				}
				loss := T(0)
				if !ignores || label != ignored {
					loss = -scores[(i/l.inner*l.n+int(label))*l.inner+i%l.inner] * w
				}
				if reduction == "none" {
					tensor.Data[T](c.Out[0])[i] = loss
				}
				total, weight = total+float64(loss), weight+float64(w)
			}
			switch reduction {
			case "mean":
				tensor.Data[T](c.Out[0])[0] = T(total / weight)
			case "sum":
				tensor.Data[T](c.Out[0])[0] = T(total)
			}
			return nil
		}, nil
	}
}

func labelAt(t *tensor.Tensor, i int) int64 {
	if t.DType() == tensor.Int32 {
		return int64(tensor.Data[int32](t)[i])
	}
	return t.I64()[i]
}
