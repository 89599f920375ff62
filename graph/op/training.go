package op

import (
	"fmt"
	"math"

	"tandem/graph"
	"tandem/tensor"
)

// trainingOps are ONNX's optimizers (domain ai.onnx.preview.training): a learning
// rate R, the number T of steps done, then for any number of parameters their
// values, gradients and state, each kind together; the results in the same order,
// without the gradients.
func trainingOps() []graph.Op {
	id := func(name string) graph.OpID { return graph.OpID{Domain: "ai.onnx.preview.training", Name: name} }
	define := func(name string, states int, step32, step64 graph.Kernel) graph.Op {
		return graph.Op{ID: id(name), Since: 1, Infer: inferTraining(states), Kernel: floating(step32, step64)}
	}
	return []graph.Op{
		define("Adagrad", 1, kernelTraining(1, adagrad[float32]), kernelTraining(1, adagrad[float64])),
		define("Momentum", 1, kernelTraining(1, momentum[float32]), kernelTraining(1, momentum[float64])),
		define("Adam", 2, kernelTraining(2, adam[float32]), kernelTraining(2, adam[float64])),
	}
}

func inferTraining(states int) func(*graph.Infer) error {
	return func(c *graph.Infer) error {
		kinds := 2 + states
		inputs := len(c.Node.Inputs) - 2
		if inputs < kinds || inputs%kinds != 0 {
			return fmt.Errorf("%d inputs, expected 2 and a multiple of %d", len(c.Node.Inputs), kinds)
		}
		if err := c.Require(len(c.Node.Inputs), len(c.Node.Inputs)); err != nil {
			return err
		}
		if c.In(1).DType != tensor.Int64 {
			return fmt.Errorf("the number of steps is %v, expected int64", c.In(1).DType)
		}
		for i := range 2 {
			if n, ok := oneElement(c, i); !ok {
				return fmt.Errorf("input %d has %v elements, expected a scalar", i, n)
			}
		}
		n := inputs / kinds
		for p := range n {
			x := c.In(2 + p)
			if x.DType != tensor.Float32 && x.DType != tensor.Float64 || c.In(0).DType != x.DType {
				return fmt.Errorf("parameter %d is %v, the learning rate %v: one type of float is expected", p, x.DType, c.In(0).DType)
			}
			for k := 1; k < kinds; k++ {
				if t := c.In(2 + k*n + p); t.DType != x.DType || !t.Shape.Equal(x.Shape) {
					return fmt.Errorf("input %d is %v, expected %v", 2+k*n+p, t, x)
				}
			}
			for k := range 1 + states {
				c.Out(k*n+p, x.DType, x.Shape)
			}
		}
		return nil
	}
}

// update is one step for one parameter: from x, gradient g and states to the next
// x and states.
type update[T wide] func(a graph.Attrs, rate T, step int64, x, g []T, states [][]T, nextX []T, next [][]T)

func kernelTraining[T wide](states int, f update[T]) graph.Kernel {
	return func(c *graph.Call) (func() error, error) {
		n := (len(c.In) - 2) / (2 + states)
		unread := make([][]T, n*(1+states)) // room for outputs that the node does not have
		for i := range unread {
			if i < len(c.Out) && c.Out[i] != nil {
				continue
			}
			var err error
			if unread[i], err = graph.Room[T](c, c.In[2+i%n].Len()); err != nil {
				return nil, err
			}
		}
		now, next := make([][]T, states), make([][]T, states)
		return func() error {
			rate, step := tensor.Data[T](c.In[0])[0], c.In[1].I64()[0]
			for p := range n {
				in := func(kind int) []T { return tensor.Data[T](c.In[2+kind*n+p]) }
				out := func(kind int) []T {
					if i := kind*n + p; i < len(c.Out) && c.Out[i] != nil {
						return tensor.Data[T](c.Out[i])
					}
					return unread[kind*n+p]
				}
				for s := range states {
					now[s], next[s] = in(2+s), out(1+s)
				}
				f(c.Node.Attrs, rate, step, in(0), in(1), now, out(0), next)
			}
			return nil
		}, nil
	}
}

func adagrad[T wide](a graph.Attrs, rate T, step int64, x, g []T, h [][]T, nextX []T, next [][]T) {
	rate /= 1 + T(step)*T(a.Float("decay_factor", 0))
	epsilon, norm := T(a.Float("epsilon", 0)), T(a.Float("norm_coefficient", 0))
	for i := range x {
		d := norm*x[i] + g[i]
		next[0][i] = h[0][i] + d*d
		nextX[i] = x[i] - rate*d/(T(math.Sqrt(float64(next[0][i])))+epsilon)
	}
}

// momentum is standard or, by the attribute mode, Nesterov's.
func momentum[T wide](a graph.Attrs, rate T, step int64, x, g []T, v [][]T, nextX []T, next [][]T) {
	alpha, beta, norm := T(a.Float("alpha", 0)), T(a.Float("beta", 0)), T(a.Float("norm_coefficient", 0))
	if step == 0 {
		beta = 1
	}
	nesterov := a.String("mode", "standard") == "nesterov"
	for i := range x {
		d := norm*x[i] + g[i]
		m := alpha*v[0][i] + beta*d
		next[0][i] = m
		if nesterov {
			m = d + alpha*m
		}
		nextX[i] = x[i] - rate*m
	}
}

func adam[T wide](a graph.Attrs, rate T, step int64, x, g []T, s [][]T, nextX []T, next [][]T) {
	alpha, beta := T(a.Float("alpha", 0.9)), T(a.Float("beta", 0.999))
	epsilon, norm, after := T(a.Float("epsilon", 0)), T(a.Float("norm_coefficient", 0)), T(a.Float("norm_coefficient_post", 0))
	if step > 0 {
		power := func(b T) float64 { return 1 - math.Pow(float64(b), float64(step)) }
		rate *= T(math.Sqrt(power(beta)) / power(alpha))
	}
	for i := range x {
		d := norm*x[i] + g[i]
		v := alpha*s[0][i] + (1-alpha)*d
		h := beta*s[1][i] + (1-beta)*d*d
		next[0][i], next[1][i] = v, h
		nextX[i] = (1 - after) * (x[i] - rate*v/(T(math.Sqrt(float64(h)))+epsilon))
	}
}
