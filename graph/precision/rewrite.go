package precision

import (
	"math"
	"slices"
	"unsafe"

	"tandem/fault"
	"tandem/graph"
	"tandem/graph/pass"
	"tandem/kernel"
	"tandem/tensor"
)

// Options say how a graph is rounded.
type Options struct {
	Pool *kernel.Pool
	// Keep tells by name which layers stay in floats; nil: none.
	Keep func(layer string) bool
	// Ranges of values by name, as Calibrate finds them: convolutions without a range stay
	// in floats.
	Ranges Ranges
	// Packing keeps what weights were rounded to from one start to the next; nil: nothing.
	Packing pass.Packing
}

// Pass rounds the layers of a graph, whose constants have been folded.
func Pass(f Form, opt Options) graph.Pass {
	return graph.Pass{Name: "precision", Run: func(g *graph.Graph, ops *graph.Table) error {
		w := &rewriter{
			form: f, opt: opt, b: graph.Extend(g, ops), rows: map[*graph.Value][2]*graph.Value{},
			halves: map[*graph.Value]*graph.Value{}, made: map[weightOf][]*graph.Value{},
		}
		if w.opt.Packing == nil {
			w.opt.Packing = inMemory
		}
		layers := map[*graph.Node]Layer{}
		for _, l := range Layers(g) {
			if (opt.Keep == nil || !opt.Keep(l.Name())) && usable(l.Weight.Const) {
				layers[l.Node] = l
			}
		}
		if version := g.Opset[""]; version < leastOpset && len(layers) > 0 {
			return fault.New("precision.round", fault.Unsupported, "the model is in version %d of ONNX; quantised forms need version %d", version, leastOpset).
				Try("convert it, by onnx.version_converter")
		}
		if f == Int8 && len(opt.Ranges) > 0 {
			w.static(g, layers)
		}
		nodes := g.Nodes
		g.Nodes = nil
		for _, n := range nodes {
			if l, ok := layers[n]; !ok || !w.layer(l) {
				g.Nodes = append(g.Nodes, n)
			}
		}
		return w.b.Err()
	}}
}

// leastOpset is the version of ONNX from which on scales of channels can be said.
const leastOpset = 13

func inMemory(_ string, size int, fill func([]byte)) ([]byte, error) {
	data := tensor.AlignedBytes(size)
	fill(data)
	return data, nil
}

// usable reports whether all weights are numbers that have steps in float16.
func usable(c *graph.Constant) bool {
	const most = 4 * 65504
	for _, v := range floats(c.Data) {
		if !(abs(v) < most) {
			return false
		}
	}
	return true
}

// rewriter is the work of one Pass.
type rewriter struct {
	form Form
	opt  Options
	b    *graph.Builder
	rows map[*graph.Value][2]*graph.Value // of an input: its rows in bytes, and their steps
	// halves are inputs rounded to bfloat16, as float32.
	halves map[*graph.Value]*graph.Value
	made   map[weightOf][]*graph.Value
}

// weightOf is a weight and the form that it has been given.
type weightOf struct {
	w    *graph.Value
	form string
}

// layer rewrites a layer, whose node is then left out; or says that it stays.
func (w *rewriter) layer(l Layer) bool {
	var y *graph.Value
	switch {
	case w.form == BF16:
		y = w.bfloat16(l)
	case l.Kind == Product && w.form == Int8:
		y = w.rowProduct(l)
	case l.Kind == Product && l.columns() >= blockColumns && l.columns()%blockColumns == 0:
		y = w.blockProduct(l)
	case l.Kind == Table:
		y = w.table(l)
	case l.Kind == Convolution && w.form != Int8:
		y = w.convolution(l)
	}
	if y == nil || w.b.Err() != nil {
		return false
	}
	out := l.Node.Outputs[0]
	y.Def.Outputs[0], out.Def = out, y.Def
	return true
}

// trans reports whether the weights of a product are [N, K].
func (l Layer) trans() bool { return l.Node.Attrs.Int("transB", 0) != 0 }

// columns is K: how many weights a column of a product has.
func (l Layer) columns() int {
	if l.trans() {
		return l.Weight.Const.Shape[1]
	}
	return l.Weight.Const.Shape[0]
}

// alpha is the factor of a Gemm.
func (l Layer) alpha() float32 { return l.Node.Attrs.Float("alpha", 1) }

// plus adds the third operand of a Gemm, if there is one.
func (w *rewriter) plus(l Layer, y *graph.Value) *graph.Value {
	if c := l.Node.Input(2); c != nil {
		return w.b.Op("Add", nil, y, c)
	}
	return y
}

// rowProduct: float(rows·weights)·(steps·scales), of whole numbers exactly.
func (w *rewriter) rowProduct(l Layer) *graph.Value {
	m, err := weights(l)
	if err != nil {
		w.b.Fail(err)
		return nil
	}
	key := "int8"
	if l.trans() {
		key = "int8.transposed"
	}
	c := w.constants(weightOf{l.Weight, key}, []part{{tensor.Int8, tensor.Shape{m.k, m.n}}, {tensor.Float32, tensor.Shape{1, m.n}}}, func(p [][]byte) {
		m.columns(w.opt.Pool, signed(p[0]), floats(p[1]))
	})
	if c == nil {
		return nil
	}
	scales := w.scaled(c[1], l.alpha())
	x := l.Node.Inputs[0]
	if _, ok := w.rows[x]; !ok {
		q, step := pass.RowSteps(w.b, x)
		w.rows[x] = [2]*graph.Value{q, step}
	}
	q, step := w.rows[x][0], w.rows[x][1]
	sums := w.b.Op("Cast", graph.Attrs{"to": int64(tensor.Float32)}, w.b.Op("MatMulInteger", nil, q, c[0]))
	// MatMul of one column with one row, and not Mul: onnxruntime 1.32 takes a product of
	// scales by Mul for one number, and gives wrong results for a step for each row.
	return w.plus(l, w.b.Op("Mul", nil, sums, w.b.Op("MatMul", nil, step, scales)))
}

// scaled is a vector of scales times a factor.
func (w *rewriter) scaled(scales *graph.Value, factor float32) *graph.Value {
	if factor == 1 {
		return scales
	}
	t := tensor.New(tensor.Float32, scales.Const.Shape...)
	for i, s := range floats(scales.Const.Data) {
		t.F32()[i] = s * factor
	}
	return w.b.Const(scales.Name, t)
}

// accuracyBytes is the accuracy_level of MatMulNBits that lets activations be rounded to
// bytes within the product.
const accuracyBytes = 4

// blockProduct: MatMulNBits.
func (w *rewriter) blockProduct(l Layer) *graph.Value {
	m, err := weights(l)
	if err != nil {
		w.b.Fail(err)
		return nil
	}
	bits, per := 8, m.k/blockColumns
	if w.form == Int4Weights {
		bits = 4
	}
	parts := []part{{tensor.Uint8, tensor.Shape{m.n, per, blockColumns * bits / 8}}, {tensor.Float32, tensor.Shape{m.n, per}}}
	c := w.constants(weightOf{l.Weight, string(w.form)}, parts, func(p [][]byte) { m.blocks(w.opt.Pool, bits, p[0], floats(p[1])) })
	if c == nil {
		return nil
	}
	attrs := graph.Attrs{"K": int64(m.k), "N": int64(m.n), "bits": int64(bits), "block_size": int64(blockColumns), "accuracy_level": int64(accuracyBytes)}
	w.b.G.Opset["com.microsoft"] = max(1, w.b.G.Opset["com.microsoft"])
	y := w.b.Node(graph.OpID{Domain: "com.microsoft", Name: "MatMulNBits"}, 1, attrs, l.Node.Inputs[0], c[0], w.scaled(c[1], l.alpha()))[0]
	return w.plus(l, y)
}

// table: float(row)·scale, for rows of bytes with a scale each.
func (w *rewriter) table(l Layer) *graph.Value {
	t, err := l.Weight.Const.Tensor()
	if err != nil {
		w.b.Fail(err)
		return nil
	}
	rows, size := t.Dim(0), t.Dim(1)
	c := w.constants(weightOf{l.Weight, "rows"}, []part{{tensor.Int8, t.Shape()}, {tensor.Float32, tensor.Shape{rows, 1}}}, func(p [][]byte) {
		roundRows(w.opt.Pool, t.F32(), signed(p[0]), floats(p[1]), size)
	})
	if c == nil {
		return nil
	}
	ids := l.Node.Inputs[1]
	q := w.b.Op("Cast", graph.Attrs{"to": int64(tensor.Float32)}, w.b.Op("Gather", nil, c[0], ids))
	return w.b.Op("Mul", nil, q, w.b.Op("Gather", nil, c[1], ids))
}

// convolution: weights in bytes, a scale for each channel that comes out.
func (w *rewriter) convolution(l Layer) *graph.Value {
	c := w.channels(l)
	if c == nil {
		return nil
	}
	in := slices.Clone(l.Node.Inputs)
	in[1] = w.b.Op("DequantizeLinear", graph.Attrs{"axis": int64(0)}, c[0], c[1])
	return w.b.Op("Conv", l.Node.Attrs, in...)
}

// channels are the weights of a convolution in bytes, and their scales.
func (w *rewriter) channels(l Layer) []*graph.Value {
	t, err := l.Weight.Const.Tensor()
	if err != nil {
		w.b.Fail(err)
		return nil
	}
	n := t.Dim(0)
	return w.constants(weightOf{l.Weight, "channels"}, []part{{tensor.Int8, t.Shape()}, {tensor.Float32, tensor.Shape{n}}}, func(p [][]byte) {
		roundRows(w.opt.Pool, t.F32(), signed(p[0]), floats(p[1]), t.Len()/max(1, n))
	})
}

// roundRows rounds each row of so many elements to int8 in steps of its own.
func roundRows(p *kernel.Pool, x []float32, bytes []int8, scales []float32, size int) {
	p.For(len(scales), max(1, (1<<14)/max(1, size)), func(lo, hi, _ int) {
		for i := lo; i < hi; i++ {
			row, most := x[i*size:][:size], float32(0)
			for _, v := range row {
				most = max(most, abs(v))
			}
			scales[i] = stepOf(most)
			for j, v := range row {
				bytes[i*size+j] = int8(math.RoundToEven(float64(v / scales[i])))
			}
		}
	})
}

func weights(l Layer) (matrix, error) {
	t, err := l.Weight.Const.Tensor()
	if err != nil {
		return matrix{}, err
	}
	return matrixOf(t, l.trans()), nil
}

// part is one of the constants that a weight becomes.
type part struct {
	dtype tensor.DType
	shape tensor.Shape
}

// constants are what a weight becomes in a form: made once, or kept from before.
func (w *rewriter) constants(of weightOf, parts []part, fill func(parts [][]byte)) []*graph.Value {
	if c := w.made[of]; c != nil {
		return c
	}
	const align = 64
	var at []int
	size := 0
	for _, p := range parts {
		at = append(at, size)
		size += (p.dtype.ByteLen(p.shape.Len()) + align - 1) &^ (align - 1)
	}
	split := func(data []byte) (list [][]byte) {
		for i, p := range parts {
			n := p.dtype.ByteLen(p.shape.Len())
			list = append(list, data[at[i]:][:n:n])
		}
		return list
	}
	data, err := w.opt.Packing(of.w.Name+"."+of.form, size, func(dst []byte) { fill(split(dst)) })
	if err != nil {
		w.b.Fail(err)
		return nil
	}
	var list []*graph.Value
	for i, b := range split(data) {
		name := of.w.Name + "." + of.form
		if i > 0 {
			name += ".scale"
		}
		c := &graph.Constant{DType: parts[i].dtype, Shape: parts[i].shape, Data: b}
		list = append(list, &graph.Value{Name: w.b.Name(name), Type: graph.Type{DType: c.DType, Shape: graph.Dims(c.Shape...)}, Const: c})
	}
	w.made[of] = list
	return list
}

// floats and signed are bytes as numbers.
func floats(b []byte) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/4)
}

func signed(b []byte) []int8 {
	return unsafe.Slice((*int8)(unsafe.Pointer(unsafe.SliceData(b))), len(b))
}
