package nn

import (
	"fmt"
	"math"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// Builder writes a network. Parameters are drawn from Seed: the n-th parameter
// takes the n-th stream, so that the same layers and seed give the same bits.
type Builder struct {
	*graph.Builder
	Seed uint64

	params []*graph.Value
	counts map[string]int
	prefix string // of the names of parameters
}

// NewBuilder starts an empty network.
func NewBuilder(name string, ops *graph.Table, seed uint64) *Builder {
	return &Builder{Builder: graph.NewBuilder(name, ops), Seed: seed, counts: map[string]int{}}
}

// Extend goes on with a network that is there; the names of its parameters begin with
// prefix.
func Extend(g *graph.Graph, ops *graph.Table, seed uint64, prefix string) *Builder {
	return &Builder{Builder: graph.Extend(g, ops), Seed: seed, counts: map[string]int{}, prefix: prefix}
}

// Params are the parameters in the order in which layers made them.
func (b *Builder) Params() []*graph.Value { return b.params }

// scope names the next layer of a kind: "conv1", "conv2", …
func (b *Builder) scope(kind string) string {
	b.counts[kind]++
	return fmt.Sprintf("%s%s%d", b.prefix, kind, b.counts[kind])
}

// Init fills a parameter; fanIn is the number of inputs of one output.
type Init func(dst []float32, fanIn int, seed, stream uint64)

// HeUniform draws from ±√(6/fanIn), for layers followed by ReLU (He et al.,
// "Delving Deep into Rectifiers", 2015).
func HeUniform(dst []float32, fanIn int, seed, stream uint64) {
	uniform(dst, math.Sqrt(6/float64(fanIn)), seed, stream)
}

// FanInUniform draws from ±√(3/fanIn), which keeps the variance of a linear layer
// (LeCun et al., "Efficient BackProp", 1998).
func FanInUniform(dst []float32, fanIn int, seed, stream uint64) {
	uniform(dst, math.Sqrt(3/float64(fanIn)), seed, stream)
}

// Ones is the start of a scale.
func Ones(dst []float32, _ int, _, _ uint64) {
	for i := range dst {
		dst[i] = 1
	}
}

// Normal draws from a normal distribution around 0.
func Normal(deviation float64) Init {
	return func(dst []float32, _ int, seed, stream uint64) {
		kernel.Normal(dst, seed, stream)
		for i, v := range dst {
			dst[i] = float32(float64(v) * deviation)
		}
	}
}

// or is the initialiser, or another where none is given.
func (i Init) or(other Init) Init {
	if i == nil {
		return other
	}
	return i
}

// Zeros is the start of a bias.
func Zeros([]float32, int, uint64, uint64) {}

func uniform(dst []float32, bound float64, seed, stream uint64) {
	kernel.Uniform(dst, seed, stream)
	for i, u := range dst {
		dst[i] = float32((2*float64(u) - 1) * bound)
	}
}

// paramStreams separates the streams of parameters from those of dropout, which
// count from 0 under the same seed.
const paramStreams = 1 << 32

// Param makes a parameter.
func (b *Builder) Param(name string, init Init, fanIn int, shape ...int) *graph.Value {
	t := tensor.New(tensor.Float32, shape...)
	init(t.F32(), fanIn, b.Seed, paramStreams+uint64(len(b.params)))
	v := b.Const(name, t)
	b.params = append(b.params, v)
	return v
}

// buffer makes a constant that training changes, but not by a gradient.
func (b *Builder) buffer(name string, init Init, shape ...int) *graph.Value {
	t := tensor.New(tensor.Float32, shape...)
	init(t.F32(), 1, b.Seed, 0)
	return b.Const(name, t)
}

// needs raises the opset that the graph is written in. That of a network that was there
// before stays: its nodes would mean something else.
func (b *Builder) needs(opset int) {
	if b.prefix != "" && b.G.Opset[""] < opset {
		b.Fail(fmt.Errorf("a layer needs opset %d, the model that it is put on has %d", opset, b.G.Opset[""]))
		return
	}
	b.G.Opset[""] = max(b.G.Opset[""], opset)
}
