package nn

import (
	"fmt"

	"tandem/graph"
)

// Activation is a function applied to a layer's result; it is a layer itself.
type Activation string

const (
	Linear    Activation = ""
	ReLU      Activation = "relu"
	Tanh      Activation = "tanh"
	Sigmoid   Activation = "sigmoid"
	GELU      Activation = "gelu"
	SiLU      Activation = "silu"
	LeakyReLU Activation = "leaky_relu" // slope 0.01
	ELU       Activation = "elu"
	Softplus  Activation = "softplus"
	HardSwish Activation = "hard_swish"
	Softmax   Activation = "softmax" // over the last dimension
)

// Activations are all of them, but for Linear.
func Activations() []Activation {
	return []Activation{ReLU, Tanh, Sigmoid, GELU, SiLU, LeakyReLU, ELU, Softplus, HardSwish, Softmax}
}

func (a Activation) Build(b *Builder, x *graph.Value) *graph.Value {
	switch a {
	case Linear:
		return x
	case ReLU:
		return b.Op("Relu", nil, x)
	case Tanh:
		return b.Op("Tanh", nil, x)
	case Sigmoid:
		return b.Op("Sigmoid", nil, x)
	case GELU:
		return b.Op("Gelu", nil, x)
	case SiLU:
		return b.Op("Mul", nil, x, b.Op("Sigmoid", nil, x))
	case LeakyReLU:
		return b.Op("LeakyRelu", nil, x)
	case ELU:
		return b.Op("Elu", nil, x)
	case Softplus:
		return b.Op("Softplus", nil, x)
	case HardSwish:
		return b.Op("HardSwish", nil, x)
	case Softmax:
		return b.Op("Softmax", nil, x)
	}
	b.Fail(fmt.Errorf("activation %q is unknown: use relu, tanh, sigmoid, gelu, silu, leaky_relu, elu, softplus, hard_swish or softmax", a))
	return x
}

// init is the initialiser that suits the activation.
func (a Activation) init() Init {
	if a == ReLU {
		return HeUniform
	}
	return LecunUniform
}
