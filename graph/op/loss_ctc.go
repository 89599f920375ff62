package op

import (
	"fmt"
	"math"

	"tandem/graph"
	"tandem/tensor"
)

// ctcOps: connectionist temporal classification (Graves et al., ICML 2006): minus the
// logarithm of the probability that a sequence of scores spells a text, however it is
// aligned in time. Class blank stands between letters.
func ctcOps() []graph.Op {
	return []graph.Op{
		// (log probabilities [steps, batch, classes], labels int64 [batch, letters],
		// steps int64 [batch], letters int64 [batch]) -> loss [batch], gradient of the
		// loss by the log probabilities; attribute blank
		{ID: private("CTCLoss"), Infer: inferCTC, Kernel: kernelCTC, Grad: gradCTC},
		// (dloss [batch], gradient) -> the gradient times dloss
		{ID: private("CTCGrad"), Infer: sameAs(1, 2, 2), Kernel: kernelCTCGrad, InPlace: []graph.Alias{{In: 1, Out: 0}}},
	}
}

func inferCTC(c *graph.Infer) error {
	if err := c.Require(4, 4); err != nil {
		return err
	}
	if err := c.Floats(0); err != nil {
		return err
	}
	for i, rank := range []int{3, 2, 1, 1} {
		if err := c.Rank(i, rank); err != nil {
			return err
		}
		if i > 0 && c.In(i).DType != tensor.Int64 {
			return fmt.Errorf("input %d (%s) is %v, expected int64", i, c.Node.Inputs[i].Name, c.In(i).DType)
		}
	}
	logs := c.In(0).Shape
	if err := sameDims(c, "batch", c.In(1).Shape[0], logs[1], c.In(2).Shape[0], logs[1], c.In(3).Shape[0], logs[1]); err != nil {
		return err
	}
	c.Out(0, tensor.Float32, graph.Shape{logs[1]})
	c.Out(1, tensor.Float32, logs)
	return nil
}

// gradCTC: the forward pass finds the gradient too, as it takes the same sums.
func gradCTC(g *graph.Gradient) error {
	if g.Out(1) != nil {
		return fmt.Errorf("only the loss has a gradient")
	}
	if err := g.Keep(g.Node.Op, 1); err != nil {
		return err
	}
	g.Set(0, g.Private("CTCGrad", nil, g.Out(0), g.Node.Outputs[1]))
	return nil
}

// ctc is one sequence: its text with blanks between the letters and around them, and
// the logarithms of the probabilities of having spelled it up to each place.
type ctc struct {
	steps, batch, classes int
	blank                 int
	logs, grad            []float32 // of all sequences; grad may be nil
	text                  []int
	alpha, beta           []float64 // [steps][len(text)]
	classSums             []float64
}

func kernelCTC(c *graph.Call) (func() error, error) {
	s, letters := c.In[0].Shape(), c.In[1].Dim(1)
	k := &ctc{steps: s[0], batch: s[1], classes: s[2], blank: c.Node.Attrs.Int("blank", 0)}
	if k.blank < 0 || k.blank >= k.classes {
		return nil, fmt.Errorf("blank is class %d of %d", k.blank, k.classes)
	}
	places := 2*letters + 1
	k.text, k.classSums = make([]int, 0, places), make([]float64, k.classes)
	var err error
	if k.alpha, err = graph.Room[float64](c, k.steps*places); err != nil {
		return nil, err
	}
	if k.beta, err = graph.Room[float64](c, k.steps*places); err != nil {
		return nil, err
	}
	return func() error {
		k.logs, k.grad = c.F32(0), outputF32(c, 1)
		clear(k.grad)
		for b := range k.batch {
			loss, err := k.sequence(b, c.In[1].I64()[b*letters:][:letters], c.In[2].I64()[b], c.In[3].I64()[b])
			if err != nil {
				return fmt.Errorf("sequence %d: %w", b, err)
			}
			c.Out[0].F32()[b] = float32(loss)
		}
		return nil
	}, nil
}

// sequence is the loss of sequence b; +Inf if it is too short for its text.
func (k *ctc) sequence(b int, labels []int64, steps, letters int64) (float64, error) {
	if steps < 1 || int(steps) > k.steps || letters < 0 || int(letters) > len(labels) {
		return 0, fmt.Errorf("%d steps of %d, %d letters of %d", steps, k.steps, letters, len(labels))
	}
	k.text = append(k.text[:0], k.blank)
	for _, l := range labels[:letters] {
		if l < 0 || int(l) >= k.classes || int(l) == k.blank {
			return 0, fmt.Errorf("label %d is not one of the %d classes, or the blank %d", l, k.classes, k.blank)
		}
		k.text = append(k.text, int(l), k.blank)
	}
	n, last := len(k.text), int(steps)-1
	k.forward(b, last)
	end := k.alpha[last*n+n-1]
	if n > 1 {
		end = logAdd(end, k.alpha[last*n+n-2])
	}
	if k.grad != nil && !math.IsInf(end, -1) {
		k.backward(b, last)
		k.spread(b, last, end)
	}
	return -end, nil
}

func (k *ctc) log(b, t, class int) float64 {
	return float64(k.logs[(t*k.batch+b)*k.classes+class])
}

// skips reports whether place s may follow s-2: a letter other than the one before.
func (k *ctc) skips(s int) bool { return s > 1 && k.text[s] != k.blank && k.text[s] != k.text[s-2] }

// forward: alpha[t][s] is that of all ways to be at place s after step t.
func (k *ctc) forward(b, last int) {
	n := len(k.text)
	for s := range n {
		k.alpha[s] = math.Inf(-1)
		if s < 2 {
			k.alpha[s] = k.log(b, 0, k.text[s])
		}
	}
	for t := 1; t <= last; t++ {
		before, now := k.alpha[(t-1)*n:][:n], k.alpha[t*n:][:n]
		for s := range now {
			sum := before[s]
			if s > 0 {
				sum = logAdd(sum, before[s-1])
			}
			if k.skips(s) {
				sum = logAdd(sum, before[s-2])
			}
			now[s] = sum + k.log(b, t, k.text[s])
		}
	}
}

// backward: beta[t][s] is that of all ways on from place s after step t.
func (k *ctc) backward(b, last int) {
	n := len(k.text)
	for s := range n {
		k.beta[last*n+s] = math.Inf(-1)
		if s >= n-2 {
			k.beta[last*n+s] = 0
		}
	}
	for t := last - 1; t >= 0; t-- {
		after, now := k.beta[(t+1)*n:][:n], k.beta[t*n:][:n]
		for s := range now {
			sum := after[s] + k.log(b, t+1, k.text[s])
			if s+1 < n {
				sum = logAdd(sum, after[s+1]+k.log(b, t+1, k.text[s+1]))
			}
			if s+2 < n && k.skips(s+2) {
				sum = logAdd(sum, after[s+2]+k.log(b, t+1, k.text[s+2]))
			}
			now[s] = sum
		}
	}
}

// spread: by the log probability of a class at a step, the loss moves by minus the
// share of the ways that pass there.
func (k *ctc) spread(b, last int, end float64) {
	n := len(k.text)
	for t := 0; t <= last; t++ {
		clear(k.classSums)
		for s, class := range k.text {
			k.classSums[class] += math.Exp(k.alpha[t*n+s] + k.beta[t*n+s] - end)
		}
		for class, p := range k.classSums {
			k.grad[(t*k.batch+b)*k.classes+class] = -float32(p)
		}
	}
}

// logAdd is log(exp(a) + exp(b)).
func logAdd(a, b float64) float64 {
	if a < b {
		a, b = b, a
	}
	if math.IsInf(b, -1) {
		return a
	}
	return a + math.Log1p(math.Exp(b-a))
}

func kernelCTCGrad(c *graph.Call) (func() error, error) {
	s := c.In[1].Shape()
	return func() error {
		dloss, from, to := c.F32(0), c.F32(1), c.Out[0].F32()
		for i := range to {
			to[i] = from[i] * dloss[i/s[2]%s[1]]
		}
		return nil
	}, nil
}
