package op

import (
	"fmt"
	"slices"
	"strings"

	"tandem/graph"
)

// gradEinsum: the gradient of an operand is the sum of products of the result's and
// the other operands, written as another equation.
func gradEinsum(g *graph.Gradient) error {
	ranks := make([]int, len(g.Node.Inputs))
	for i, v := range g.Node.Inputs {
		ranks[i] = len(v.Type.Shape)
	}
	eq, err := parseEquation(g.Node.Attrs.String("equation", ""), ranks)
	if err != nil {
		return err
	}
	l := letters{}
	for i := range g.Node.Inputs {
		if g.Needs(i) {
			g.Set(i, eq.operandGrad(g, l, i))
		}
	}
	if len(l) > len(alphabet) {
		return fmt.Errorf("more than %d dimensions with names of their own", len(alphabet))
	}
	return nil
}

const alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// letters name dimensions, those that an ellipsis stands for too.
type letters map[int]byte

func (l letters) term(labels []int) string {
	var text strings.Builder
	for _, label := range labels {
		if _, seen := l[label]; !seen {
			l[label] = alphabet[min(len(l), len(alphabet)-1)]
		}
		text.WriteByte(l[label])
	}
	return text.String()
}

func (e *equation) operandGrad(g *graph.Gradient, l letters, i int) *graph.Value {
	x, own := g.In(i), e.terms[i]
	once := unrepeated(own)
	terms, inputs := []string{l.term(e.out)}, []*graph.Value{g.Out(0)}
	known := e.sameSize(x, own, g.Out(0), e.out)
	for j, t := range e.terms {
		if j != i {
			terms, inputs, known = append(terms, l.term(t)), append(inputs, g.In(j)), append(known, e.sameSize(x, own, g.In(j), t)...)
		}
	}
	if slices.ContainsFunc(once, func(label int) bool { return !slices.Contains(known, label) }) {
		// A dimension that this operand alone has, or has at its full size, and that is
		// summed over: every element of it has the same gradient.
		ones := g.Private("OnesLike", nil, x)
		terms, inputs = append(terms, l.term(own)), append(inputs, ones)
	}
	d := g.Op("Einsum", graph.Attrs{"equation": strings.Join(terms, ",") + "->" + l.term(once)}, inputs...)
	if len(once) == len(own) {
		return sumTo(g, d, i)
	}
	// A diagonal: its elements are where the operand's numbers say.
	diagonal := graph.Attrs{"equation": l.term(own) + "->" + l.term(once)}
	return g.Private("Return", nil, d, g.Op("Einsum", diagonal, g.Private("Number", nil, x)), x)
}

// sameSize are the dimensions of other that have the size they have in x.
func (e *equation) sameSize(x *graph.Value, own []int, other *graph.Value, labels []int) []int {
	var same []int
	for axis, label := range labels {
		at := slices.Index(own, label)
		if at >= 0 && (other.Type.Shape[axis].Equal(x.Type.Shape[at]) || x.Type.Shape[at].Is(1)) {
			same = append(same, label)
		}
	}
	return same
}

func unrepeated(labels []int) []int {
	var once []int
	for _, l := range labels {
		if !slices.Contains(once, l) {
			once = append(once, l)
		}
	}
	return once
}
