package op

import (
	"fmt"
	"slices"
	"strings"

	"tandem/graph"
	"tandem/tensor"
)

// einsumOps: sums of products, written as an equation.
func einsumOps() []graph.Op {
	return []graph.Op{
		{ID: onnx("Einsum"), Since: 12, Infer: inferEinsum, Kernel: kernelEinsum, Grad: gradEinsum},
	}
}

// equation names the dimensions of each operand and of the result: letters by
// their code, what an ellipsis stands for by numbers from ellipsisLabel on,
// counted from the right.
type equation struct {
	terms [][]int
	out   []int
}

const ellipsisLabel = 256

// maxEinsumRank bounds the dimensions of all labels together.
const maxEinsumRank = 64

func parseEquation(text string, ranks []int) (*equation, error) {
	text = strings.ReplaceAll(text, " ", "")
	left, right, explicit := strings.Cut(text, "->")
	terms := strings.Split(left, ",")
	if len(terms) != len(ranks) {
		return nil, fmt.Errorf("equation %q has %d operands, the node %d", text, len(terms), len(ranks))
	}
	e, hidden := &equation{}, 0
	for i, t := range terms {
		letters := len(strings.Replace(t, "...", "", 1))
		if strings.Contains(t, "...") {
			hidden = max(hidden, ranks[i]-letters)
		}
		labels, err := parseTerm(t, ranks[i]-letters)
		if err != nil {
			return nil, fmt.Errorf("equation %q: %w", text, err)
		}
		if len(labels) != ranks[i] {
			return nil, fmt.Errorf("equation %q: operand %d has %d dimensions, %q names %d", text, i, ranks[i], t, len(labels))
		}
		e.terms = append(e.terms, labels)
	}
	if !explicit {
		e.out = e.implicit(hidden)
		return e, nil
	}
	var err error
	if e.out, err = parseTerm(right, hidden); err != nil {
		return nil, fmt.Errorf("equation %q: %w", text, err)
	}
	for i, l := range e.out {
		if slices.Contains(e.out[:i], l) {
			return nil, fmt.Errorf("equation %q names a dimension of the result twice", text)
		}
		if !slices.ContainsFunc(e.terms, func(t []int) bool { return slices.Contains(t, l) }) {
			return nil, fmt.Errorf("equation %q: no operand has dimension %q of the result", text, rune(l))
		}
	}
	return e, nil
}

func parseTerm(t string, hidden int) ([]int, error) {
	if hidden > maxEinsumRank {
		return nil, fmt.Errorf("more than %d dimensions", maxEinsumRank)
	}
	var labels []int
	for i := 0; i < len(t); i++ {
		switch b := t[i]; {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z':
			labels = append(labels, int(b))
		case strings.HasPrefix(t[i:], "...") && !strings.Contains(t[i+3:], "."):
			for j := hidden - 1; j >= 0; j-- {
				labels = append(labels, ellipsisLabel+j)
			}
			i += 2
		default:
			return nil, fmt.Errorf("%q is not a term", t)
		}
	}
	return labels, nil
}

// implicit is the result without an arrow: the ellipsis, and the letters that
// occur once, in alphabetical order.
func (e *equation) implicit(hidden int) []int {
	var out, letters []int
	for j := hidden - 1; j >= 0; j-- {
		out = append(out, ellipsisLabel+j)
	}
	count := map[int]int{}
	for _, t := range e.terms {
		for _, l := range t {
			count[l]++
		}
	}
	for l, n := range count {
		if n == 1 && l < ellipsisLabel {
			letters = append(letters, l)
		}
	}
	slices.Sort(letters)
	return append(out, letters...)
}

func inferEinsum(c *graph.Infer) error {
	n := len(c.Node.Inputs)
	if n == 0 {
		return fmt.Errorf("no operands")
	}
	if err := c.Require(n, n); err != nil {
		return err
	}
	inputs, ranks := make([]int, n), make([]int, n)
	for i := range n {
		inputs[i], ranks[i] = i, len(c.In(i).Shape)
	}
	if err := typed(c, computable, inputs...); err != nil {
		return err
	}
	e, err := parseEquation(c.Node.Attrs.String("equation", ""), ranks)
	if err != nil {
		return err
	}
	sizes := map[int]graph.Dim{}
	for i, t := range e.terms {
		for axis, l := range t {
			d := c.In(i).Shape[axis]
			have, seen := sizes[l]
			switch {
			case !seen || have.Is(1):
				sizes[l] = d
			case d.Is(1):
			default:
				if err := c.Same(have, d, fmt.Sprintf("sizes of dimension %q", rune(l))); err != nil {
					return err
				}
			}
		}
	}
	shape := make(graph.Shape, len(e.out))
	for i, l := range e.out {
		shape[i] = sizes[l]
	}
	c.Out(0, c.In(0).DType, shape)
	return nil
}

// computable are the element types of general arithmetic.
func computable(d tensor.DType) bool {
	switch d {
	case tensor.Int8, tensor.Int16, tensor.Int32, tensor.Int64, tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Uint64:
		return true
	}
	return realFloat(d)
}

func kernelEinsum(c *graph.Call) (func() error, error) {
	switch c.In[0].DType() {
	case tensor.Int8:
		return kernelEinsumOf[int8](c)
	case tensor.Int16:
		return kernelEinsumOf[int16](c)
	case tensor.Int32:
		return kernelEinsumOf[int32](c)
	case tensor.Int64:
		return kernelEinsumOf[int64](c)
	case tensor.Uint8:
		return kernelEinsumOf[uint8](c)
	case tensor.Uint16:
		return kernelEinsumOf[uint16](c)
	case tensor.Uint32:
		return kernelEinsumOf[uint32](c)
	case tensor.Uint64:
		return kernelEinsumOf[uint64](c)
	}
	return floating(kernelEinsumOf[float32], kernelEinsumOf[float64])(c)
}
