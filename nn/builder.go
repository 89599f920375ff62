package nn

import (
	"fmt"

	"tandem/graph"
	"tandem/tensor"
)

// Builder writes a network. Parameters are drawn from Seed: the n-th parameter
// takes the n-th stream, so that the same layers and seed give the same bits.
type Builder struct {
	*graph.Builder
	Seed uint64

	params []*graph.Value
	size   int // elements of all parameters
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

// paramStreams separates the streams of parameters from those of dropout, which
// count from 0 under the same seed.
const paramStreams = 1 << 32

// maxParams bounds the elements of all parameters together, before memory is asked for
// them: 8 GiB, and training takes at least three times that.
const maxParams = 1 << 31

// Param makes a parameter.
func (b *Builder) Param(name string, init Init, fan Fan, shape ...int) *graph.Value {
	n := 1
	for _, d := range shape {
		n = min(n, maxParams+1) * min(d, maxParams+1)
	}
	if b.size += min(n, maxParams+1); b.size > maxParams {
		b.Fail(fmt.Errorf("with parameter %s of shape %v the network has more than %d numbers", name, shape, maxParams))
		shape = make([]int, len(shape)) // nothing is drawn
	}
	t := tensor.New(tensor.Float32, shape...)
	if err := init.fill(t.F32(), fan, b.Seed, paramStreams+uint64(len(b.params))); err != nil {
		b.Fail(fmt.Errorf("%s: %w", name, err))
	}
	v := b.Const(name, t)
	b.params = append(b.params, v)
	return v
}

// buffer makes a constant that training changes, but not by a gradient: all elements
// begin with one number.
func (b *Builder) buffer(name string, begin float32, shape ...int) *graph.Value {
	t := tensor.New(tensor.Float32, shape...)
	set(t.F32(), begin)
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
