package nn

import (
	"fmt"

	"tandem/graph"
)

// Attention is scaled dot-product attention of x [batch, steps, width] with
// several heads (Vaswani et al., 2017). With fewer heads of keys and values,
// several heads of queries share one (Ainslie et al., 2023). It needs opset 23.
type Attention struct {
	Heads   int
	KVHeads int // 0 means Heads
	Size    int // of a head; 0 means width / Heads
	Causal  bool
	NoBias  bool
	// Mask, bool [batch or 1, heads or 1, steps or 1, keys], if given: true where a
	// query may look at a key.
	Mask *graph.Value
	// Context [batch, keys, any width], if given, is what x looks at instead of itself.
	Context *graph.Value
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
	project := func(x *graph.Value, units ...int64) []*graph.Value {
		total := int64(0)
		for _, n := range units {
			total += n
		}
		all := Dense{Units: int(total), NoBias: l.NoBias}.Build(b, x)
		if len(units) == 1 {
			return []*graph.Value{all}
		}
		return b.Node(graph.OpID{Name: "Split"}, len(units), graph.Attrs{"axis": int64(-1)}, all, b.Ints("heads", units...))
	}
	var parts []*graph.Value
	if l.Context == nil {
		parts = project(x, q, k, k)
	} else {
		parts = append(project(x, q), project(l.Context, k, k)...)
	}
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

// KeyMask makes of a mask bool [batch, steps], true where a step counts, the Mask of
// Attention: bool [batch, 1, 1, steps], which hides keys of steps that do not.
func KeyMask(b *Builder, mask *graph.Value) *graph.Value {
	return b.Op("Unsqueeze", nil, mask, b.Ints("heads", 1, 2))
}
