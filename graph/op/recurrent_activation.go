package op

import (
	"fmt"
	"math"
	"strings"

	"tandem/graph"
)

// recurrentFunc is an activation of a recurrent layer, by its lower-case name:
// which parameters it takes, with their defaults, and what it computes.
type recurrentFunc struct {
	params   int
	defaults [2]float64
	f        func(x, alpha, beta float64) float64
}

func recurrentFuncs() map[string]recurrentFunc {
	plain := func(f func(float64) float64) recurrentFunc {
		return recurrentFunc{f: func(x, _, _ float64) float64 { return f(x) }}
	}
	return map[string]recurrentFunc{
		"relu": plain(relu), "tanh": plain(math.Tanh), "sigmoid": plain(sigmoid),
		"softsign":  plain(func(x float64) float64 { return x / (1 + math.Abs(x)) }),
		"softplus":  plain(func(x float64) float64 { return math.Log1p(math.Exp(-math.Abs(x))) + max(x, 0) }),
		"leakyrelu": {1, [2]float64{0.01}, func(x, a, _ float64) float64 { return leaky(x, a) }},
		"thresholdedrelu": {1, [2]float64{1}, func(x, a, _ float64) float64 {
			if x >= a {
				return x
			}
			return 0
		}},
		"elu": {1, [2]float64{1}, func(x, a, _ float64) float64 {
			if x < 0 {
				return a * math.Expm1(x)
			}
			return x
		}},
		"affine":      {2, [2]float64{1, 0}, func(x, a, b float64) float64 { return a*x + b }},
		"scaledtanh":  {2, [2]float64{1, 1}, func(x, a, b float64) float64 { return a * math.Tanh(b*x) }},
		"hardsigmoid": {2, [2]float64{0.2, 0.5}, func(x, a, b float64) float64 { return min(max(a*x+b, 0), 1) }},
	}
}

// readActivations lists the activations of each direction. activation_alpha and
// activation_beta belong, in order, to the activations that take them.
func readActivations(n *graph.Node, kind recurrentKind, dirs int) ([][]func(float64) float64, error) {
	names, _ := n.Attrs["activations"].([]string)
	if len(names) == 0 {
		for range dirs {
			names = append(names, kind.defaults...)
		}
	}
	if len(names) != dirs*len(kind.defaults) {
		return nil, fmt.Errorf("activations %v: %d expected", names, dirs*len(kind.defaults))
	}
	alphas, _ := n.Attrs["activation_alpha"].([]float32)
	betas, _ := n.Attrs["activation_beta"].([]float32)
	take := func(list *[]float32, def float64) float64 {
		if len(*list) == 0 {
			return def
		}
		v := (*list)[0]
		*list = (*list)[1:]
		return float64(v)
	}
	funcs := recurrentFuncs()
	out := make([][]func(float64) float64, dirs)
	for i, name := range names {
		def, ok := funcs[strings.ToLower(name)]
		if !ok {
			return nil, fmt.Errorf("activation %q is unknown", name)
		}
		alpha, beta := def.defaults[0], def.defaults[1]
		if def.params > 0 {
			alpha = take(&alphas, alpha)
		}
		if def.params > 1 {
			beta = take(&betas, beta)
		}
		d := i / len(kind.defaults)
		out[d] = append(out[d], func(x float64) float64 { return def.f(x, alpha, beta) })
	}
	return out, nil
}
