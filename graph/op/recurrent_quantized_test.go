package op_test

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/pass"
	"tandem/kernel"
	"tandem/tensor"
)

// byteLSTM is a DynamicQuantizeLSTM with random weights.
type byteLSTM struct {
	seq, batch, in, hidden int
	dtype                  tensor.DType
	columns                int // that have scales and zero points of their own
	zeros, peepholes       bool
	lengths                []int32

	weights, scales, zero [2]*tensor.Tensor // of inputs and of states
	bias, h, c, peephole  *tensor.Tensor
}

func (l *byteLSTM) draw(r *rand.Rand) {
	for i, k := range []int{l.in, l.hidden} {
		l.weights[i] = randomOf(r, l.dtype, 2, k, 4*l.hidden)
		l.scales[i] = randomFloats(r, 0.004, 2, l.columns)
		if l.zeros {
			l.zero[i] = randomOf(r, l.dtype, 2, l.columns)
		}
	}
	l.bias, l.peephole = randomFloats(r, 1, 2, 8*l.hidden), randomFloats(r, 1, 2, 3*l.hidden)
	l.h, l.c = randomFloats(r, 1, 2, l.batch, l.hidden), randomFloats(r, 1, 2, l.batch, l.hidden)
}

// graph has the weights as constants, or as inputs after x.
func (l *byteLSTM) graph(t *testing.T, constant bool) (*graph.Graph, []*tensor.Tensor) {
	t.Helper()
	b := graph.NewBuilder("g", op.Default())
	var inputs []*tensor.Tensor
	value := func(name string, x *tensor.Tensor) *graph.Value {
		if x == nil {
			return nil
		}
		return b.Const(name, x)
	}
	x := b.Input("x", tensor.Float32, graph.Dims(l.seq, l.batch, l.in)...)
	var weights [2]*graph.Value
	for i, name := range []string{"w", "r"} {
		if constant {
			weights[i] = b.Const(name, l.weights[i])
			continue
		}
		weights[i] = b.Input(name, l.dtype, graph.Dims(l.weights[i].Shape()...)...)
		inputs = append(inputs, l.weights[i])
	}
	var lengths, peephole *tensor.Tensor
	if l.lengths != nil {
		lengths = tensor.Of(l.lengths, l.batch)
	}
	if l.peepholes {
		peephole = l.peephole
	}
	out := b.Node(graph.OpID{Domain: "com.microsoft", Name: "DynamicQuantizeLSTM"}, 3, attrs("direction", "bidirectional", "hidden_size", int64(l.hidden)),
		x, weights[0], weights[1], value("b", l.bias), value("lengths", lengths), value("h", l.h), value("c", l.c), value("p", peephole),
		value("ws", l.scales[0]), value("wz", l.zero[0]), value("rs", l.scales[1]), value("rz", l.zero[1]))
	for _, o := range out {
		b.Output(o)
	}
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	return b.G, inputs
}

// product multiplies rows, rounded by their range, with the weights of direction d.
func (l *byteLSTM) product(i, d int, x []float32) []float64 {
	k, n := l.weights[i].Dim(1), 4*l.hidden
	least, most := min(0, slices.Min(x)), max(0, slices.Max(x))
	scale := (most - least) / 255
	zero := math.RoundToEven(float64(-least / scale))
	at := func(t *tensor.Tensor, i int) int {
		if t.DType() == tensor.Int8 {
			return int(int8(t.Bytes()[i]))
		}
		return int(t.Bytes()[i])
	}
	y := make([]float64, len(x)/k*n)
	for e := range y {
		row, col, sum, column := e/n, e%n, 0, d*l.columns+e%n%l.columns
		for j, v := range x[row*k:][:k] {
			w := at(l.weights[i], (d*k+j)*n+col)
			if l.zeros {
				w -= at(l.zero[i], column)
			}
			sum += int(min(max(math.RoundToEven(float64(v/scale))+zero, 0), 255)-zero) * w
		}
		y[e] = float64(sum) * float64(scale) * float64(l.scales[i].F32()[column])
	}
	return y
}

// want is y [seq,2,batch,hidden], by the definition.
func (l *byteLSTM) want(x []float32) []float64 {
	n, y, steps := l.hidden, make([]float64, l.seq*2*l.batch*l.hidden), l.seq
	length := func(b int) int { return l.seq }
	if l.lengths != nil {
		length = func(b int) int { return int(l.lengths[b]) }
		steps = int(slices.Max(l.lengths))
	}
	for d := range 2 {
		xw := l.product(0, d, x[:steps*l.batch*l.in])
		h, c := make([]float32, l.batch*n), make([]float64, l.batch*n)
		copy(h, l.h.F32()[d*len(h):])
		for i := range c {
			c[i] = float64(l.c.F32()[d*len(c)+i])
		}
		for s := range steps {
			for b := range l.batch {
				if s > length(b) {
					clear(h[b*n:][:n])
				}
			}
			hr := l.product(1, d, h)
			for e := range h {
				b, j, t := e/n, e%n, s
				if s >= length(b) {
					continue
				}
				if d == 1 {
					t = length(b) - 1 - s
				}
				gate := func(g int) float64 {
					bias := l.bias.F32()[d*8*n:]
					return xw[(t*l.batch+b)*4*n+g*n+j] + hr[b*4*n+g*n+j] + float64(bias[g*n+j]) + float64(bias[(4+g)*n+j])
				}
				peep := func(g int) float64 {
					if !l.peepholes {
						return 0
					}
					return float64(l.peephole.F32()[(d*3+g)*n+j])
				}
				sigma := func(v float64) float64 { return 1 / (1 + math.Exp(-v)) }
				in, keep := sigma(gate(0)+peep(0)*c[e]), sigma(gate(2)+peep(2)*c[e])
				c[e] = keep*c[e] + in*math.Tanh(gate(3))
				h[e] = float32(sigma(gate(1)+peep(1)*c[e]) * math.Tanh(c[e]))
				y[((t*2+d)*l.batch+b)*n+j] = float64(h[e])
			}
		}
	}
	return y
}

// TestByteLSTM compares layers with their definition on every tier: packed weights and
// weights that come as input, with any number of threads, in run after run.
func TestByteLSTM(t *testing.T) {
	for isa := kernel.Generic; isa <= kernel.Detect(); isa++ {
		for i, l := range []byteLSTM{
			{seq: 5, batch: 1, in: 12, hidden: 16, dtype: tensor.Int8, columns: 1},
			{seq: 4, batch: 3, in: 7, hidden: 21, dtype: tensor.Uint8, columns: 84},
			{seq: 6, batch: 3, in: 10, hidden: 9, dtype: tensor.Int8, columns: 36, zeros: true, lengths: []int32{4, 1, 5}},
			{seq: 6, batch: 9, in: 64, hidden: 48, dtype: tensor.Uint8, columns: 1, zeros: true},
			{seq: 3, batch: 2, in: 5, hidden: 8, dtype: tensor.Uint8, columns: 32, zeros: true, lengths: []int32{3, 0}, peepholes: true},
		} {
			r := rand.New(rand.NewPCG(7, uint64(i)))
			l.draw(r)
			x := randomFloats(r, 2, l.seq, l.batch, l.in)
			want := l.want(x.F32())
			var first []float32
			for form := range 4 {
				p := kernel.NewPool(1+2*(form&1), isa)
				g, inputs := l.graph(t, form&2 != 0)
				s := session(t, g, p, 0, pass.Inference(p)...)
				for range 2 {
					out, err := s.Run(context.Background(), append([]*tensor.Tensor{x}, inputs...), nil)
					if err != nil {
						t.Fatal(err)
					}
					if first == nil {
						first = slices.Clone(out[0].F32())
					}
					if !slices.Equal(out[0].F32(), first) {
						t.Fatalf("%v, layer %d: the bits of form %d are others", isa, i, form)
					}
				}
				p.Close()
			}
			for e, v := range first {
				if !(math.Abs(float64(v)-want[e]) < 1e-5) {
					t.Fatalf("%v, layer %d: element %d is %v, want %v", isa, i, e, v, want[e])
				}
			}
		}
	}
}
