package op

import (
	"fmt"
	"math"

	"tandem/graph"
	"tandem/kernel"
)

// activationFunc is the function that a fused operator applies to its result.
type activationFunc struct {
	// fused: the matrix kernels apply act themselves.
	fused bool
	act   kernel.Activation
	apply func(float64) float64 // nil: none
}

// activation reads the attributes of FusedConv (activation_params) and FusedGemm
// (activation_alpha, activation_beta).
func activation(n *graph.Node) (activationFunc, error) {
	p, _ := n.Attrs["activation_params"].([]float32)
	param := func(i int, name string, def float32) float64 {
		if i < len(p) {
			return float64(p[i])
		}
		return float64(n.Attrs.Float(name, def))
	}
	var f func(float64) float64
	fused, ok := fusedActivation(n.Attrs.String("activation", ""))
	switch name := n.Attrs.String("activation", ""); name {
	case "":
	case "Relu":
		f = relu
	case "Gelu":
		f = gelu
	case "FastGelu":
		f = tanhGelu
	case "Tanh":
		f = math.Tanh
	case "Sigmoid":
		f = sigmoid
	case "HardSwish": // the passes' own, like the next
		f = func(x float64) float64 { return x * hardSigmoid(1./6, 0.5, x) }
	case "Swish":
		f = func(x float64) float64 { return x * sigmoid(x) }
	case "LeakyRelu":
		alpha := param(0, "activation_alpha", 0.01)
		f = func(x float64) float64 { return leaky(x, alpha) }
	case "Clip":
		lo, hi := param(0, "activation_alpha", -math.MaxFloat32), param(1, "activation_beta", math.MaxFloat32)
		f = func(x float64) float64 { return min(max(x, lo), hi) }
		if lo == 0 && hi == 6 {
			fused, ok = kernel.ActReLU6, true
		}
	case "HardSigmoid":
		alpha, beta := param(0, "activation_alpha", 0.2), param(1, "activation_beta", 0.5)
		f = func(x float64) float64 { return min(max(alpha*x+beta, 0), 1) }
		if float32(alpha) == float32(1.0/6) && beta == 0.5 {
			fused, ok = kernel.ActHardSigmoid, true
		}
	default:
		return activationFunc{}, fmt.Errorf("activation %q is not supported", name)
	}
	return activationFunc{fused: ok, act: fused, apply: f}, nil
}

func relu(x float64) float64    { return max(x, 0) }
func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

func leaky(x, alpha float64) float64 {
	if x < 0 {
		return alpha * x
	}
	return x
}
