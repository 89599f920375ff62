package llm

import (
	"fmt"
	"math"

	"tandem/graph"
	"tandem/tensor"
)

// attention writes the attention of layer i: queries, keys and values with their
// biases, norms and positions; the cache; the scores; the projection.
func (d *decoder) attention(i int, x *graph.Value) *graph.Value {
	l, name := &d.c.Layers[i], func(s string) string { return fmt.Sprintf("blk.%d.%s", i, s) }
	q, k, v := d.queries(i, x)
	q = d.turn(d.headNorm(q, name("attn_q_norm"), l.Heads, l.HeadSize), l.Rope, l.Heads)
	if l.Shares >= 0 {
		d.caches[i] = d.caches[l.Shares]
	} else {
		k = d.turn(d.headNorm(k, name("attn_k_norm"), l.KVHeads, l.HeadSize), l.Rope, l.KVHeads)
		if d.c.arch.valueNorm {
			v = d.valueNorm(v, l.KVHeads, l.HeadSize)
		}
		d.caches[i] = cache{d.keep(name("keys"), k, l), d.keep(name("values"), v, l)}
	}
	attrs := graph.Attrs{
		"q_num_heads": int64(l.Heads), "kv_num_heads": int64(l.KVHeads), "is_causal": int64(1), "scale": l.Scale,
	}
	if l.ScoreCap != 0 {
		attrs["softcap"] = l.ScoreCap
	}
	if l.Window > 0 && l.Window < d.context {
		attrs["left_window_size"] = int64(l.Window - 1)
	}
	y := d.Op("Attention", attrs, q, d.caches[i].keys, d.caches[i].values, nil, nil, nil, d.total)
	return d.linear(y, name("attn_output"), d.c.Width, l.Heads*l.HeadSize)
}

// queries are queries, keys and values, [batch, sequence, heads · size]; keys and
// values are nil in a layer that reads those of another.
func (d *decoder) queries(i int, x *graph.Value) (q, k, v *graph.Value) {
	l, name := &d.c.Layers[i], func(s string) string { return fmt.Sprintf("blk.%d.%s", i, s) }
	all, some := l.Heads*l.HeadSize, l.KVHeads*l.HeadSize
	if d.w.has(name("attn_qkv.weight")) {
		parts := d.split(d.linear(x, name("attn_qkv"), all+2*some, d.c.Width), all, some, some)
		return parts[0], parts[1], parts[2]
	}
	q = d.linear(x, name("attn_q"), all, d.c.Width)
	if l.Shares >= 0 {
		d.skip(name("attn_k.weight"), name("attn_v.weight"), name("attn_k_norm.weight"))
		return q, nil, nil
	}
	k = d.linear(x, name("attn_k"), some, d.c.Width)
	if !d.w.has(name("attn_v.weight")) && d.c.arch.valueNorm {
		return q, k, k // Gemma 4: one matrix for both
	}
	return q, k, d.linear(x, name("attn_v"), some, d.c.Width)
}

// skip counts tensors as read that a file has although the model does not need them.
func (d *decoder) skip(names ...string) {
	for _, n := range names {
		d.w.taken[n] = true
	}
}

// headNorm normalises each head, if the model does.
func (d *decoder) headNorm(x *graph.Value, name string, heads, size int) *graph.Value {
	if !d.w.has(name + ".weight") {
		return x
	}
	return d.perHead(x, heads, size, func(x *graph.Value) *graph.Value { return d.norm(x, name, size) })
}

// valueNorm normalises each head without weights.
func (d *decoder) valueNorm(x *graph.Value, heads, size int) *graph.Value {
	ones := tensor.New(tensor.Float32, size)
	for i := range ones.F32() {
		ones.F32()[i] = 1
	}
	attrs := graph.Attrs{"axis": int64(-1), "epsilon": d.c.Epsilon}
	return d.perHead(x, heads, size, func(x *graph.Value) *graph.Value {
		return d.Op("RMSNormalization", attrs, x, d.Const("ones", ones))
	})
}

// perHead applies f to x seen as [batch, sequence, heads, size].
func (d *decoder) perHead(x *graph.Value, heads, size int, f func(*graph.Value) *graph.Value) *graph.Value {
	x = f(d.Op("Reshape", nil, x, d.ints("heads", 0, 0, heads, size)))
	return d.Op("Reshape", nil, x, d.ints("joined", 0, 0, heads*size))
}

// turn applies rotary positions.
func (d *decoder) turn(x *graph.Value, r *Rope, heads int) *graph.Value {
	if r == nil {
		return x
	}
	t := d.rotation(r)
	interleaved := int64(0)
	if r.Interleaved {
		interleaved = 1
	}
	return d.Op("RotaryEmbedding", graph.Attrs{
		"num_heads": int64(heads), "rotary_embedding_dim": int64(2 * len(r.Frequencies)), "interleaved": interleaved,
	}, x, t.cos, t.sin, d.positions)
}

// rotation writes the tables of r, which layers with equal ones share.
func (d *decoder) rotation(r *Rope) rotation {
	for other, t := range d.turns {
		if other.equal(r) {
			return t
		}
	}
	pairs := len(r.Frequencies)
	cos, sin := tensor.New(tensor.Float32, d.context, pairs), tensor.New(tensor.Float32, d.context, pairs)
	for p := range d.context {
		for i, f := range r.Frequencies {
			s, c := math.Sincos(float64(p) * f)
			cos.F32()[p*pairs+i], sin.F32()[p*pairs+i] = float32(c*r.Scale), float32(s*r.Scale)
		}
	}
	t := rotation{d.Const("cos", cos), d.Const("sin", sin)}
	d.turns[r] = t
	return t
}

func (r *Rope) equal(o *Rope) bool {
	if len(r.Frequencies) != len(o.Frequencies) || r.Scale != o.Scale {
		return false
	}
	for i, f := range r.Frequencies {
		if f != o.Frequencies[i] {
			return false
		}
	}
	return true
}

// keep writes new keys or values into the state of their layer, after the past ones.
func (d *decoder) keep(name string, x *graph.Value, l *Layer) *graph.Value {
	current := d.State(name, tensor.New(tensor.Float32, d.batch, d.context, l.KVHeads*l.HeadSize))
	next := d.Op("TensorScatter", graph.Attrs{"axis": int64(1)}, current, x, d.past)
	d.SetNext(current, next)
	return next
}
