package llm

import (
	"fmt"
	"math"

	"tandem/graph"
	"tandem/tensor"
)

// The graph's inputs and outputs, by name. All integers are int64.
const (
	InputIDs       = "ids"       // [batch, sequence]: tokens
	InputPositions = "positions" // [batch, sequence]: of each token in its sequence
	InputPast      = "past"      // [batch]: how many tokens the cache holds already
	InputTotal     = "total"     // [batch]: past and new tokens together
	InputRows      = "rows"      // [rows]: which of all the step's tokens get logits
	OutputLogits   = "logits"    // [rows, vocabulary], float32
)

// decoder writes the graph of a Config: one form for every architecture, of ONNX
// operators only. Keys and values lie in state [batch, context, heads · size], which
// TensorScatter extends and Attention reads up to "total".
type decoder struct {
	*graph.Builder
	c       *Config
	w       *weights
	batch   int
	context int

	positions, past, total *graph.Value
	caches                 []cache                 // by layer
	turns                  map[*Rope]rotation      // tables that are written already
	constants              map[string]*graph.Value // weights that are, by name
}

// cache holds the keys and values of a layer, the new ones included.
type cache struct{ keys, values *graph.Value }

// rotation holds cosines and sines, [context, pairs].
type rotation struct{ cos, sin *graph.Value }

// buildDecoder writes the graph for batch sequences of up to context tokens.
func buildDecoder(c *Config, w *weights, ops *graph.Table, batch, context int) (*graph.Graph, error) {
	d := &decoder{
		Builder: graph.NewBuilder(c.Arch, ops), c: c, w: w, batch: batch, context: context,
		caches: make([]cache, len(c.Layers)), turns: map[*Rope]rotation{}, constants: map[string]*graph.Value{},
	}
	d.G.Opset[""] = 24
	ids := d.Input(InputIDs, tensor.Int64, graph.Const(batch), graph.Sym("sequence"))
	d.positions = d.Input(InputPositions, tensor.Int64, graph.Const(batch), graph.Sym("sequence"))
	d.past = d.Input(InputPast, tensor.Int64, graph.Const(batch))
	d.total = d.Input(InputTotal, tensor.Int64, graph.Const(batch))
	rows := d.Input(InputRows, tensor.Int64, graph.Sym("rows"))
	x := d.embed(ids)
	perLayer := d.perLayerInputs(ids, x)
	for i := range c.Layers {
		x = d.layer(i, x, perLayer)
	}
	x = d.Op("Reshape", nil, x, d.ints("flat", -1, c.Width))
	x = d.Op("Gather", graph.Attrs{"axis": int64(0)}, x, rows)
	x = d.norm(x, "output_norm", c.Width)
	logits := d.cap(d.output(x), c.LogitCap)
	if d.Err() == nil {
		logits.Name = OutputLogits
		d.Output(logits)
	}
	if err := d.Err(); err != nil {
		return nil, err
	}
	return d.G, w.unused()
}

func (d *decoder) ints(name string, v ...int) *graph.Value {
	list := make([]int64, len(v))
	for i, n := range v {
		list[i] = int64(n)
	}
	return d.Const(name, tensor.Of(list, len(v)))
}

func (d *decoder) scalar(v float64) *graph.Value {
	return d.Const("scalar", tensor.Scalar(float32(v)))
}

// weight is a constant as it lies in the file. A failure is recorded.
func (d *decoder) weight(name string, shape ...int) *graph.Value {
	if v := d.constants[name]; v != nil {
		return v
	}
	c, err := d.w.take(name, shape...)
	if err != nil {
		d.Fail(err)
		return d.ints(name, 0)
	}
	v := &graph.Value{Name: name, Type: graph.Type{DType: c.DType, Shape: graph.Dims(c.Shape...)}, Const: c}
	d.constants[name] = v
	return v
}

// matrix is the weight [outputs, inputs] as the right operand of MatMul.
func (d *decoder) matrix(name string, outputs, inputs int) *graph.Value {
	if v := d.constants[name+".T"]; v != nil {
		return v
	}
	c, err := d.w.take(name, outputs, inputs)
	if err != nil {
		d.Fail(err)
		return d.ints(name, 0)
	}
	k := &graph.Constant{DType: c.DType, Shape: tensor.Shape{inputs, outputs}, Data: c.Data}
	if f, ok := c.Encoding.InRows(); ok {
		k.Encoding = graph.Columns(f) // the same bytes, seen the other way
	} else if t, err := c.Tensor(); err != nil {
		d.Fail(err)
	} else {
		k = graph.ConstantOf(transposed(t))
	}
	v := &graph.Value{Name: name + ".T", Type: graph.Type{DType: k.DType, Shape: graph.Dims(k.Shape...)}, Const: k}
	d.constants[name+".T"] = v
	return v
}

// linear multiplies by the matrix of a name and adds its bias, if the model has one.
func (d *decoder) linear(x *graph.Value, name string, outputs, inputs int) *graph.Value {
	x = d.Op("MatMul", nil, x, d.matrix(name+".weight", outputs, inputs))
	if d.w.has(name + ".bias") {
		x = d.Op("Add", nil, x, d.weight(name+".bias", outputs))
	}
	return x
}

// norm normalises the last dimension.
func (d *decoder) norm(x *graph.Value, name string, width int) *graph.Value {
	attrs := graph.Attrs{"axis": int64(-1), "epsilon": d.c.Epsilon}
	scale := d.weight(name+".weight", width)
	if d.c.arch.norm == rmsNorm {
		return d.Op("RMSNormalization", attrs, x, scale)
	}
	return d.Op("LayerNormalization", attrs, x, scale, d.weight(name+".bias", width))
}

// cap bounds x softly.
func (d *decoder) cap(x *graph.Value, bound float32) *graph.Value {
	if bound == 0 {
		return x
	}
	b := d.scalar(float64(bound))
	return d.Op("Mul", nil, d.Op("Tanh", nil, d.Op("Div", nil, x, b)), b)
}

// embed looks tokens up, and adds learned positions where the model has them.
func (d *decoder) embed(ids *graph.Value) *graph.Value {
	c := d.c
	x := d.Op("Gather", graph.Attrs{"axis": int64(0)}, d.weight("token_embd.weight", c.Vocab, c.Width), ids)
	if c.arch.embedScale {
		x = d.Op("Mul", nil, x, d.scalar(math.Sqrt(float64(c.Width))))
	}
	if d.w.has("position_embd.weight") {
		p := d.Op("Gather", graph.Attrs{"axis": int64(0)}, d.weight("position_embd.weight", -1, c.Width), d.positions)
		x = d.Op("Add", nil, x, p)
	}
	return x
}

// output is the last matrix: its own, or that of the embeddings.
func (d *decoder) output(x *graph.Value) *graph.Value {
	if d.w.has("output.weight") {
		return d.linear(x, "output", d.c.Vocab, d.c.Width)
	}
	return d.Op("MatMul", nil, x, d.matrix("token_embd.weight", d.c.Vocab, d.c.Width))
}

// layer writes block i.
func (d *decoder) layer(i int, x, perLayer *graph.Value) *graph.Value {
	c, name := d.c, func(s string) string { return fmt.Sprintf("blk.%d.%s", i, s) }
	add := func(x, y *graph.Value, post string) *graph.Value {
		if d.w.has(name(post) + ".weight") {
			y = d.norm(y, name(post), c.Width)
		}
		return d.Op("Add", nil, x, y)
	}
	x = add(x, d.attention(i, d.norm(x, name("attn_norm"), c.Width)), "post_attention_norm")
	x = add(x, d.feedForward(i, d.norm(x, name("ffn_norm"), c.Width)), "post_ffw_norm")
	if perLayer != nil {
		x = add(x, d.perLayer(i, x, perLayer), "post_norm")
	}
	if scale := name("layer_output_scale.weight"); d.w.has(scale) {
		x = d.Op("Mul", nil, x, d.weight(scale, 1))
	}
	return x
}

// feedForward is down(act(gate(x)) · up(x)), or down(act(up(x))) in a model without
// gates. Gate and up may be one matrix.
func (d *decoder) feedForward(i int, x *graph.Value) *graph.Value {
	n, width := d.c.Layers[i].FeedForward, d.c.Width
	name := func(s string) string { return fmt.Sprintf("blk.%d.%s", i, s) }
	var gate, up *graph.Value
	switch {
	case d.w.has(name("ffn_gate.weight")):
		gate, up = d.linear(x, name("ffn_gate"), n, width), d.linear(x, name("ffn_up"), n, width)
	case d.c.arch.norm == layerNorm:
		gate = d.linear(x, name("ffn_up"), n, width)
	default:
		parts := d.split(d.linear(x, name("ffn_up"), 2*n, width), n, n)
		gate, up = parts[0], parts[1]
	}
	y := d.activate(gate)
	if up != nil {
		y = d.Op("Mul", nil, y, up)
	}
	return d.linear(y, name("ffn_down"), width, n)
}

func (d *decoder) activate(x *graph.Value) *graph.Value {
	if d.c.arch.act == silu {
		return d.Op("Swish", nil, x)
	}
	return d.Op("Gelu", graph.Attrs{"approximate": "tanh"}, x)
}

// split cuts the last dimension.
func (d *decoder) split(x *graph.Value, sizes ...int) []*graph.Value {
	return d.Node(graph.OpID{Name: "Split"}, len(sizes), graph.Attrs{"axis": int64(-1)}, x, d.ints("sizes", sizes...))
}

// perLayerInputs are Gemma 4's further embeddings, one for each layer, mixed with a
// projection of the usual ones: [batch, sequence, layers, width], or nil.
func (d *decoder) perLayerInputs(ids, x *graph.Value) *graph.Value {
	n := d.c.PerLayerWidth
	if n == 0 {
		return nil
	}
	all := n * len(d.c.Layers)
	shape := d.ints("perLayer", 0, 0, len(d.c.Layers), n)
	own := d.Op("Gather", graph.Attrs{"axis": int64(0)}, d.weight("per_layer_token_embd.weight", -1, all), ids)
	own = d.Op("Mul", nil, own, d.scalar(math.Sqrt(float64(n))))
	mixed := d.linear(x, "per_layer_model_proj", all, d.c.Width)
	mixed = d.Op("Mul", nil, mixed, d.scalar(1/math.Sqrt(float64(d.c.Width))))
	mixed = d.norm(d.Op("Reshape", nil, mixed, shape), "per_layer_proj_norm", n)
	sum := d.Op("Add", nil, mixed, d.Op("Reshape", nil, own, shape))
	return d.Op("Mul", nil, sum, d.scalar(math.Sqrt(0.5)))
}

// perLayer lets layer i's embedding pass through a gate that x opens.
func (d *decoder) perLayer(i int, x, inputs *graph.Value) *graph.Value {
	n, name := d.c.PerLayerWidth, func(s string) string { return fmt.Sprintf("blk.%d.%s", i, s) }
	own := d.Op("Gather", graph.Attrs{"axis": int64(2)}, inputs, d.Const("layer", tensor.Scalar(int64(i))))
	gate := d.activate(d.linear(x, name("inp_gate"), n, d.c.Width))
	return d.linear(d.Op("Mul", nil, gate, own), name("proj"), d.c.Width, n)
}
