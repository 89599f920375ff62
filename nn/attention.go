package nn

import (
	"fmt"

	"tandem/graph"
)

// Attention is scaled dot-product self-attention of x [batch, steps, width] with
// several heads (Vaswani et al., 2017). With fewer heads of keys and values,
// several heads of queries share one (Ainslie et al., 2023). It needs opset 23.
type Attention struct {
	Heads   int
	KVHeads int // 0 means Heads
	Size    int // of a head; 0 means width / Heads
	Causal  bool
	NoBias  bool
	// Mask, bool [batch or 1, heads or 1, steps, steps], if given: true where a
	// query may look at a key.
	Mask *graph.Value
}

func (l Attention) Build(b *Builder, x *graph.Value) *graph.Value {
	name := "attention"
	width, ok := size(b, name, 3, -1, x)
	if !ok || !positive(b, name+" heads", l.Heads) {
		return x
	}
	kv, head := l.KVHeads, l.Size
	if kv == 0 {
		kv = l.Heads
	}
	if head == 0 {
		head = width / l.Heads
	}
	if head < 1 || l.Size == 0 && width%l.Heads != 0 || l.Heads%kv != 0 {
		b.Fail(fmt.Errorf("%s: width %d, %d heads and %d of keys do not divide", name, width, l.Heads, kv))
		return x
	}
	q, k := int64(l.Heads*head), int64(kv*head)
	all := Dense{Units: int(q + 2*k), NoBias: l.NoBias}.Build(b, x)
	parts := b.Node(graph.OpID{Name: "Split"}, 3, graph.Attrs{"axis": int64(-1)}, all, ints(b, "heads", q, k, k))
	return Dense{Units: width, NoBias: l.NoBias}.Build(b, l.attend(b, parts[0], parts[1], parts[2], kv))
}

// attend joins queries, keys and values [batch, steps, heads·size].
func (l Attention) attend(b *Builder, q, k, v *graph.Value, kv int) *graph.Value {
	b.needs(23)
	attrs := graph.Attrs{"q_num_heads": int64(l.Heads), "kv_num_heads": int64(kv)}
	if l.Causal {
		attrs["is_causal"] = int64(1)
	}
	inputs := []*graph.Value{q, k, v}
	if l.Mask != nil {
		inputs = append(inputs, l.Mask)
	}
	return b.Op("Attention", attrs, inputs...)
}
