package op_test

import (
	"context"
	"math/rand/v2"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/pass"
	"tandem/nn"
	"tandem/tensor"
)

// BenchmarkNewShapes compares a run whose shapes are prepared with one that must
// prepare them: "new" cycles through more shapes than a session keeps.
func BenchmarkNewShapes(b *testing.B) {
	net := nn.NewBuilder("deep", op.Default(), 1)
	x := net.Input("x", tensor.Float32, graph.Sym("batch"), graph.Const(8))
	layers := nn.Sequential{}
	for range 100 {
		layers = append(layers, nn.Dense{Units: 8, Activation: nn.Tanh})
	}
	net.Output(layers.Build(net, x))
	p := pool(b, 1)
	all := randomInput(rand.New(rand.NewPCG(1, 1)), []int{40, 8}, 0)
	for name, shapes := range map[string]int{"known": 1, "new": 40} {
		b.Run(name, func(b *testing.B) {
			s := session(b, net.G, p, 0, pass.Inference(p)...)
			for i := range b.N {
				if _, err := s.Run(context.Background(), []*tensor.Tensor{all.Rows(0, i%shapes+1)}, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
