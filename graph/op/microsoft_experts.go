package op

import (
	"fmt"
	"math"
	"slices"

	"tandem/graph"
	"tandem/graph/op/narrow"
	"tandem/tensor"
)

// expertsOps are mixtures of experts. Each row of the input goes through the k experts of
// two layers that its router scores highest; the results are added with the softmax of
// the scores as weights. Rows are independent of each other.
func expertsOps() []graph.Op {
	return []graph.Op{
		{ID: microsoft("MoE"), Since: 1, Infer: inferExperts(floatExperts), Kernel: narrow.Widened(kernelExperts(floatExperts)), Expand: expandExperts(floatExperts), Work: workExperts},
		{ID: microsoft("QMoE"), Since: 1, Infer: inferExperts(codedExperts), Kernel: narrow.Widened(kernelExperts(codedExperts)), Expand: expandExperts(codedExperts), Work: workExperts},
	}
}

// expertsForm is what the attributes say, and which inputs are which; -1: there is none.
type expertsForm struct {
	k                  int
	normalized         bool // the weights of the chosen add up to 1
	activation         string
	alpha, beta, limit float64 // of SwiGLU
	bits               [2]int  // of a code; 0: the weights are floats
	block              int     // codes of a row that share a scale; 0: all
	layers             [2]layerInputs
}

type layerInputs struct{ weight, scale, bias, zero int }

const (
	expertsX = iota
	expertsRouter
)

func floatExperts(a graph.Attrs) (expertsForm, error) {
	return readExperts(a, expertsForm{layers: [2]layerInputs{{2, -1, 3, -1}, {4, -1, 5, -1}}})
}

func codedExperts(a graph.Attrs) (expertsForm, error) {
	f := expertsForm{layers: [2]layerInputs{{2, 3, 4, 11}, {5, 6, 7, 12}}, block: a.Int("block_size", 0)}
	if kind := a.String("quant_type", "int"); kind != "int" {
		return f, fmt.Errorf("quant_type %q is not supported, int is", kind)
	}
	if n := a.Int("weights_prepacked", -1); n > 0 {
		return f, fmt.Errorf("weights_prepacked %d, the layout of another processor, is not supported", n)
	}
	if f.block < 0 || f.block&(f.block-1) != 0 {
		return f, fmt.Errorf("block_size is %d, expected a power of two", f.block)
	}
	bits := a.Int("expert_weight_bits", 4)
	for i, name := range []string{"fc1_expert_weight_bits", "fc2_expert_weight_bits"} {
		f.bits[i] = a.Int(name, bits)
		if n := f.bits[i]; n != 2 && n != 4 && n != 8 {
			return f, fmt.Errorf("%d bits for a weight are not supported, 2, 4 and 8 are", n)
		}
	}
	return readExperts(a, f)
}

func readExperts(a graph.Attrs, f expertsForm) (expertsForm, error) {
	f.k, f.normalized = a.Int("k", 1), a.Int("normalize_routing_weights", 0) != 0
	f.activation = a.String("activation_type", "relu")
	f.alpha, f.beta, f.limit = float64(a.Float("activation_alpha", 1)), float64(a.Float("activation_beta", 0)), math.Inf(1)
	if v, ok := a["swiglu_limit"].(float32); ok {
		f.limit = float64(v)
	}
	switch f.activation {
	case "relu", "gelu", "silu", "identity":
	case "swiglu":
		if n := a.Int("swiglu_fusion", 0); n != 1 {
			return f, fmt.Errorf("swiglu_fusion %d is not supported: the gate and the value are to be interleaved (1)", n)
		}
	default:
		return f, fmt.Errorf("activation_type %q is not supported", f.activation)
	}
	for _, name := range []string{"use_sparse_mixer", "swiglu_limit_after_activation"} {
		if a.Int(name, 0) != 0 {
			return f, fmt.Errorf("%s is not supported", name)
		}
	}
	if f.k < 1 {
		return f, fmt.Errorf("k is %d", f.k)
	}
	return f, nil
}

// fusion is how many numbers of the first layer make one of the second's.
func (f expertsForm) fusion() int {
	if f.activation == "swiglu" {
		return 2
	}
	return 1
}

func inferExperts(read func(graph.Attrs) (expertsForm, error)) func(*graph.Infer) error {
	return func(c *graph.Infer) error {
		f, err := read(c.Node.Attrs)
		if err != nil {
			return err
		}
		last := f.layers[1].bias
		if err := c.Require(expertsRouter+1, 15); err != nil {
			return err
		}
		for i := range c.Node.Inputs {
			if i > last && i != f.layers[0].zero && i != f.layers[1].zero && c.Has(i) {
				return fmt.Errorf("input %d (a third layer, or routing weights of its own) is not supported", i)
			}
		}
		if err := typed(c, expertFloat, expertsX, expertsRouter, f.layers[0].scale, f.layers[1].scale, f.layers[0].bias, f.layers[1].bias); err != nil {
			return err
		}
		x, router := c.In(expertsX), c.In(expertsRouter)
		if n := len(x.Shape); n != 2 && n != 3 {
			return fmt.Errorf("the input has shape %v, expected rows of tokens", x.Shape)
		}
		if err := c.Rank(expertsRouter, 2); err != nil {
			return err
		}
		hidden := x.Shape[len(x.Shape)-1]
		if err := c.Same(router.Shape[0], x.Shape[:len(x.Shape)-1].Len(), "rows of the router and tokens"); err != nil {
			return err
		}
		experts := router.Shape[1]
		if n, ok := experts.Value(); ok && f.k > n {
			return fmt.Errorf("k is %d of %d experts", f.k, n)
		}
		inner, err := f.layers[0].check(c, f, 0, experts, graph.Dim{}, hidden)
		if err != nil {
			return err
		}
		if n, ok := inner.Value(); ok && n%f.fusion() != 0 {
			return fmt.Errorf("the first layer gives %d numbers, which are no pairs", n)
		}
		if _, err := f.layers[1].check(c, f, 1, experts, hidden, inner.Div(graph.Const(f.fusion()))); err != nil {
			return err
		}
		c.Out(0, x.DType, x.Shape)
		return nil
	}
}

func expertFloat(d tensor.DType) bool { return realFloat(d) && d != tensor.Float64 }

// check compares the shapes of a layer with its sizes and returns the rows of its
// weights, which the first layer decides.
func (l layerInputs) check(c *graph.Infer, f expertsForm, i int, experts, rows, cols graph.Dim) (graph.Dim, error) {
	if !c.Has(l.weight) || l.scale >= 0 && !c.Has(l.scale) {
		return rows, fmt.Errorf("input %d or %d is missing", l.weight, l.scale)
	}
	if err := c.Rank(l.weight, 3); err != nil {
		return rows, err
	}
	w := c.In(l.weight).Shape
	if i == 0 {
		rows = w[1]
	}
	width, blocks := cols, graph.Const(1)
	if n := f.bits[i]; n > 0 {
		if c.In(l.weight).DType != tensor.Uint8 {
			return rows, fmt.Errorf("the codes are %v, expected uint8", c.In(l.weight).DType)
		}
		width = cols.Mul(graph.Const(n)).Div(graph.Const(8))
		if f.block > 0 {
			blocks = cols.Div(graph.Const(f.block))
			if v, ok := cols.Value(); ok && v%f.block != 0 {
				return rows, fmt.Errorf("%d columns are no blocks of %d", v, f.block)
			}
		}
		if v, ok := cols.Value(); ok && v*n%8 != 0 {
			return rows, fmt.Errorf("%d codes of %d bits are no whole bytes", v, n)
		}
	} else if err := typed(c, expertFloat, expertsX, l.weight); err != nil {
		return rows, err
	}
	if err := sameDims(c, fmt.Sprintf("weights of layer %d", i+1), w[0], experts, w[1], rows, w[2], width); err != nil {
		return rows, err
	}
	count := experts.Mul(rows)
	for at, want := range map[int]graph.Dim{l.scale: count.Mul(blocks), l.bias: count} {
		if c.Has(at) {
			if err := c.Same(c.In(at).Shape.Len(), want, fmt.Sprintf("elements of input %d", at)); err != nil {
				return rows, err
			}
		}
	}
	return rows, l.checkZeros(c, f, i, experts, rows, blocks)
}

// checkZeros: zero points are packed like the codes, along the rows of the weights or,
// in blocks, along those of a row.
func (l layerInputs) checkZeros(c *graph.Infer, f expertsForm, i int, experts, rows, blocks graph.Dim) error {
	if !c.Has(l.zero) {
		return nil
	}
	if c.In(l.zero).DType != tensor.Uint8 {
		return fmt.Errorf("the zero points are %v, expected uint8", c.In(l.zero).DType)
	}
	packed := func(n graph.Dim) graph.Dim {
		return n.Mul(graph.Const(f.bits[i])).Add(graph.Const(7)).Div(graph.Const(8))
	}
	want := experts.Mul(packed(rows))
	if f.block > 0 {
		want = experts.Mul(rows).Mul(packed(blocks))
	}
	return c.Same(c.In(l.zero).Shape.Len(), want, fmt.Sprintf("elements of input %d", l.zero))
}

// expertLayer is one layer of all experts: y = x·weightᵀ + bias.
type expertLayer struct {
	c          *graph.Call
	in         layerInputs
	rows, cols int
	bits       int
	block      int
	decoded    []float32 // weights of one expert, where they are codes
	product    *product[float32]
	scratch    []float32
}

func newExpertLayer(c *graph.Call, f expertsForm, i, cols int) (l *expertLayer, err error) {
	l = &expertLayer{c: c, in: f.layers[i], rows: c.In[f.layers[i].weight].Dim(1), cols: cols, bits: f.bits[i], block: f.block}
	if l.block == 0 {
		l.block = max(cols, 1)
	}
	if l.bits > 0 {
		if l.decoded, err = graph.Room[float32](c, l.rows*l.cols); err != nil {
			return nil, err
		}
	}
	l.product = (&product[float32]{n: l.rows, k: cols, transB: true}).prepared(c.Pool)
	return l, nil
}

// run computes m rows of y with the weights of an expert.
func (l *expertLayer) run(expert, m int, y, x []float32) (err error) {
	w := l.decoded
	if l.bits == 0 {
		w = l.c.In[l.in.weight].F32()[expert*l.rows*l.cols:][:l.rows*l.cols]
	} else {
		l.decode(expert)
	}
	l.product.m, l.product.gemm.M = m, m
	if n := l.product.scratchLen(); n > len(l.scratch) {
		if l.scratch, err = graph.Room[float32](l.c, n); err != nil {
			return err
		}
	}
	y = y[:m*l.rows]
	l.product.run(x[:m*l.cols], w, y, l.scratch)
	if l.c.Has(l.in.bias) {
		bias := l.c.In[l.in.bias].F32()[expert*l.rows:][:l.rows]
		for i := range m {
			for j, b := range bias {
				y[i*l.rows+j] += b
			}
		}
	}
	return nil
}

// decode writes (code - zero)·scale for the weights of an expert.
func (l *expertLayer) decode(expert int) {
	blocks := (l.cols + l.block - 1) / l.block
	perRow := l.cols * l.bits / 8
	codes, scales := l.c.In[l.in.weight].Bytes()[expert*l.rows*perRow:], l.c.In[l.in.scale].F32()[expert*l.rows*blocks:]
	zeros := l.zeros(expert, blocks)
	for r := range l.rows {
		row := codes[r*perRow:][:perRow]
		for b := range blocks {
			z, s := zeros.at(r, b), scales[r*blocks+b]
			for i := b * l.block; i < min((b+1)*l.block, l.cols); i++ {
				l.decoded[r*l.cols+i] = float32(bitsAt(row, i, l.bits)-z) * s
			}
		}
	}
}

// zeroPoints are those of the blocks of one expert: packed along the rows of the weights
// if a row is one block and the points say so, else along the blocks of each row.
type zeroPoints struct {
	codes []byte // empty: half the range everywhere
	bits  int
	row   int // bytes of the points of one row; 0: one point a row, packed along the rows
}

func (l *expertLayer) zeros(expert, blocks int) zeroPoints {
	z := zeroPoints{bits: l.bits}
	if !l.c.Has(l.in.zero) {
		return z
	}
	all, along := l.c.In[l.in.zero].Bytes(), (l.rows*l.bits+7)/8
	if blocks == 1 && len(all) == l.c.In[l.in.weight].Dim(0)*along {
		z.codes = all[expert*along:]
		return z
	}
	z.row = (blocks*l.bits + 7) / 8
	z.codes = all[expert*l.rows*z.row:]
	return z
}

func (z zeroPoints) at(row, block int) int {
	switch {
	case len(z.codes) == 0:
		return 1 << (z.bits - 1)
	case z.row == 0:
		return bitsAt(z.codes, row, z.bits)
	}
	return bitsAt(z.codes[row*z.row:], block, z.bits)
}

// mixture is the work of one node.
type mixture struct {
	c                      *graph.Call
	f                      expertsForm
	first, second          *expertLayer
	tokens, hidden, expert int
	chosen                 []int     // the experts of each token, k of them
	weight                 []float32 // of each of these
	rows                   []int     // the tokens of an expert: i·k + the place among its experts
	x, inner, mid, y       []float32
}

func kernelExperts(read func(graph.Attrs) (expertsForm, error)) graph.Kernel {
	return func(c *graph.Call) (func() error, error) {
		f, err := read(c.Node.Attrs)
		if err != nil {
			return nil, err
		}
		x := c.In[expertsX]
		m := &mixture{c: c, f: f, hidden: x.Dim(x.Rank() - 1), expert: c.In[expertsRouter].Dim(1)}
		m.tokens = x.Shape()[:x.Rank()-1].Len()
		if m.first, err = newExpertLayer(c, f, 0, m.hidden); err != nil {
			return nil, err
		}
		if m.second, err = newExpertLayer(c, f, 1, m.first.rows/f.fusion()); err != nil {
			return nil, err
		}
		m.chosen, m.weight, m.rows = make([]int, m.tokens*f.k), make([]float32, m.tokens*f.k), make([]int, 0, m.tokens)
		for _, part := range []struct {
			to *[]float32
			n  int
		}{{&m.x, m.hidden}, {&m.inner, m.first.rows}, {&m.mid, m.second.cols}, {&m.y, m.hidden}} {
			if *part.to, err = graph.Room[float32](c, m.tokens*part.n); err != nil {
				return nil, err
			}
		}
		return m.run, nil
	}
}

func (m *mixture) run() error {
	for t := range m.tokens {
		m.route(t)
	}
	x, y := m.c.In[expertsX].F32(), m.c.Out[0].F32()
	clear(y)
	for e := range m.expert {
		m.rows = m.rows[:0]
		for i, chosen := range m.chosen {
			if chosen == e {
				copy(m.x[len(m.rows)*m.hidden:], x[i/m.f.k*m.hidden:][:m.hidden])
				m.rows = append(m.rows, i)
			}
		}
		n := len(m.rows)
		if n == 0 {
			continue
		}
		if err := m.first.run(e, n, m.inner, m.x); err != nil {
			return err
		}
		m.activate(n)
		if err := m.second.run(e, n, m.y, m.mid); err != nil {
			return err
		}
		for r, i := range m.rows {
			to := y[i/m.f.k*m.hidden:][:m.hidden]
			for j, v := range m.y[r*m.hidden:][:m.hidden] {
				to[j] += m.weight[i] * v
			}
		}
	}
	return nil
}

// route chooses the experts of a token; of equal scores the first.
func (m *mixture) route(t int) {
	scores := m.c.In[expertsRouter].F32()[t*m.expert:][:m.expert]
	chosen, weight := m.chosen[t*m.f.k:][:m.f.k], m.weight[t*m.f.k:][:m.f.k]
	for i := range chosen {
		best := -1
		for e, s := range scores {
			if !slices.Contains(chosen[:i], e) && (best < 0 || s > scores[best]) {
				best = e
			}
		}
		chosen[i] = best
	}
	top, sum := scores[chosen[0]], 0.0
	for i, e := range chosen {
		weight[i] = float32(math.Exp(float64(scores[e] - top)))
		sum += float64(weight[i])
	}
	if !m.f.normalized {
		sum = 0
		for _, s := range scores {
			sum += math.Exp(float64(s - top))
		}
	}
	for i := range weight {
		weight[i] = float32(float64(weight[i]) / sum)
	}
}

// activate makes the second layer's input of the first layer's result, n rows.
func (m *mixture) activate(n int) {
	size := n * m.second.cols
	if m.f.activation == "swiglu" {
		for i := range m.mid[:size] {
			gate := min(float64(m.inner[2*i]), m.f.limit)
			value := min(max(float64(m.inner[2*i+1]), -m.f.limit), m.f.limit)
			m.mid[i] = float32(gate * sigmoid(m.f.alpha*gate) * (value + m.f.beta))
		}
		return
	}
	for i, v := range m.inner[:size] {
		switch x := float64(v); m.f.activation {
		case "relu":
			v = max(v, 0)
		case "gelu":
			v = float32(tanhGelu(x))
		case "silu":
			v = float32(x * sigmoid(x))
		}
		m.mid[i] = v
	}
}

// workExperts: the products of the k chosen experts.
func workExperts(n *graph.Node, in, _ []tensor.Shape) float64 {
	x, rows := in[expertsX], float64(in[2][1])
	inner := rows
	if n.Attrs.String("activation_type", "relu") == "swiglu" {
		inner /= 2
	}
	return 2 * float64(n.Attrs.Int("k", 1)) * float64(x.Len()) * (rows + inner)
}
