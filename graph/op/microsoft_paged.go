package op

import (
	"fmt"

	"tandem/graph"
	"tandem/tensor"
)

// Inputs of ONNX Runtime's PagedAttention. The tokens of all sequences lie one after
// another: queries [tokens, heads·size], keys and values [tokens, kvHeads·size], or all
// three side by side in the first. Sequence s has the tokens from lengths[s] to
// lengths[s+1], and past[s] positions in the cache, whose blocks [blocks, positions,
// kvHeads, size] are those of row s of the table; -1 there is a block that is not
// mapped, whose positions nothing sees. Slots say where each token is stored, -1 nowhere;
// without them a token lies behind those of its sequence. Hints choose kernels of GPUs.
const (
	paQuery = iota
	paKey
	paValue
	paKeyCache
	paValueCache
	paLengths
	paPast
	paTable
	paCos
	paSin
	paSlots
	paSink
	paQueryNorm
	paKeyNorm
	paKeyScale
	paValueScale
	paHints
)

func inferMicrosoftPaged(c *graph.Infer) error {
	if err := c.Require(1, paHints+1); err != nil {
		return err
	}
	for _, i := range []int{paKeyCache, paValueCache, paLengths, paPast, paTable} {
		if !c.Has(i) {
			return fmt.Errorf("input %d is missing; a cache of keys alone (kv_cache_layout LATENT) is not supported", i)
		}
	}
	if err := refusePagedForms(c); err != nil {
		return err
	}
	if err := typed(c, expertFloat, paQuery, paKey, paValue, paKeyCache, paValueCache, paCos, paSin, paSink, paQueryNorm, paKeyNorm); err != nil {
		return err
	}
	for _, i := range []int{paLengths, paPast, paTable, paSlots, paHints} {
		if c.Has(i) && c.In(i).DType != tensor.Int32 {
			return fmt.Errorf("input %d (%s) is %v, expected int32", i, c.Node.Inputs[i].Name, c.In(i).DType)
		}
	}
	kv := c.Node.Attrs.Int("kv_num_heads", 0)
	tokens, heads, size, err := pagedQueryDims(c)
	if err != nil {
		return err
	}
	if err := checkPagedCache(c, graph.Const(kv), size); err != nil {
		return err
	}
	if err := checkPagedSequences(c, tokens); err != nil {
		return err
	}
	if err := checkPagedTables(c, size); err != nil {
		return err
	}
	c.Out(0, c.In(paQuery).DType, graph.Shape{tokens, heads.Mul(size)})
	c.Out(1, c.In(paKeyCache).DType, c.In(paKeyCache).Shape)
	c.Out(2, c.In(paValueCache).DType, c.In(paValueCache).Shape)
	return nil
}

// refusePagedForms: what the specification has and this kernel does not.
func refusePagedForms(c *graph.Infer) error {
	a := c.Node.Attrs
	for _, name := range []string{"k_quant_type", "v_quant_type"} {
		if kind := a.String(name, "NONE"); kind != "NONE" {
			return fmt.Errorf("%s %s: a quantized cache is not supported", name, kind)
		}
	}
	if c.Has(paKeyScale) || c.Has(paValueScale) {
		return fmt.Errorf("scales of a quantized cache are not supported")
	}
	for i, name := range []string{"k_cache_dtype", "v_cache_dtype"} {
		if kind := a.String(name, ""); kind != "" && kind != c.In(paKeyCache+i).DType.String() {
			return fmt.Errorf("%s is %s, the cache %v", name, kind, c.In(paKeyCache+i).DType)
		}
	}
	if layout := a.String("kv_cache_layout", "SEPARATE"); layout != "SEPARATE" {
		return fmt.Errorf("kv_cache_layout %s is not supported, SEPARATE is", layout)
	}
	if n := a.Int("v_head_size", 0); n != 0 {
		return fmt.Errorf("v_head_size %d, for a cache of keys alone, is not supported", n)
	}
	return nil
}

func pagedQueryDims(c *graph.Infer) (tokens, heads, size graph.Dim, err error) {
	n, kv := c.Node.Attrs.Int("num_heads", 0), c.Node.Attrs.Int("kv_num_heads", 0)
	if n < 1 || kv < 1 || n%kv != 0 {
		return tokens, heads, size, fmt.Errorf("num_heads is %d, kv_num_heads %d: they do not divide", n, kv)
	}
	if c.Has(paKey) != c.Has(paValue) {
		return tokens, heads, size, fmt.Errorf("keys and values come together")
	}
	if err := c.Rank(paQuery, 2); err != nil {
		return tokens, heads, size, err
	}
	q, units := c.In(paQuery).Shape, n
	if !c.Has(paKey) {
		units += 2 * kv
	}
	if w, ok := q[1].Value(); ok && (w%units != 0 || w == 0) {
		return tokens, heads, size, fmt.Errorf("queries have %d columns for %d heads", w, units)
	}
	size = q[1].Div(graph.Const(units))
	for i := paKey; i <= paValue && c.Has(i); i++ {
		if err := c.Rank(i, 2); err != nil {
			return tokens, heads, size, err
		}
		s := c.In(i).Shape
		if err := sameDims(c, "keys or values and queries", s[0], q[0], s[1], size.Mul(graph.Const(kv))); err != nil {
			return tokens, heads, size, err
		}
	}
	return q[0], graph.Const(n), size, nil
}

func checkPagedCache(c *graph.Infer, kv, size graph.Dim) error {
	for i := paKeyCache; i <= paValueCache; i++ {
		if err := c.Rank(i, 4); err != nil {
			return err
		}
		s, keys := c.In(i).Shape, c.In(paKeyCache).Shape
		if err := sameDims(c, fmt.Sprintf("input %d (%s), a cache [blocks, positions, kv_num_heads, size]", i, c.Node.Inputs[i].Name),
			s[0], keys[0], s[1], keys[1], s[2], kv, s[3], size); err != nil {
			return err
		}
		if s[1].Is(0) {
			return fmt.Errorf("the blocks of input %d (%s) have no positions", i, c.Node.Inputs[i].Name)
		}
	}
	return nil
}

func checkPagedSequences(c *graph.Infer, tokens graph.Dim) error {
	for i, rank := range map[int]int{paLengths: 1, paPast: 1, paTable: 2, paSlots: 1} {
		if !c.Has(i) {
			continue
		}
		if err := c.Rank(i, rank); err != nil {
			return err
		}
	}
	batch := c.In(paPast).Shape[0]
	if err := sameDims(c, "cumulative lengths, past lengths and rows of the table of blocks",
		c.In(paLengths).Shape[0], batch.Add(graph.Const(1)), c.In(paTable).Shape[0], batch); err != nil {
		return err
	}
	if !c.Has(paSlots) {
		return nil
	}
	return c.Same(c.In(paSlots).Shape[0], tokens, "slots and tokens")
}

// checkPagedTables: tables of the rotation, gains of the norms and sinks.
func checkPagedTables(c *graph.Infer, size graph.Dim) error {
	a := c.Node.Attrs
	if a.Int("do_rotary", 0) != 0 {
		if !c.Has(paCos) || !c.Has(paSin) {
			return fmt.Errorf("do_rotary needs tables of cosines and sines")
		}
		if s := c.In(paCos).Shape; len(s) != 2 || !s.Equal(c.In(paSin).Shape) {
			return fmt.Errorf("cosines have shape %v, sines %v", s, c.In(paSin).Shape)
		}
	}
	if n := a.Int("rotary_offset", 0); n < 0 || n%8 != 0 {
		return fmt.Errorf("rotary_offset is %d, expected a multiple of 8", n)
	}
	if c.Has(paQueryNorm) != c.Has(paKeyNorm) {
		return fmt.Errorf("gains of the norms of queries and keys come together")
	}
	for i, n := range map[int]graph.Dim{paQueryNorm: size, paKeyNorm: size, paSink: graph.Const(a.Int("num_heads", 0))} {
		if !c.Has(i) {
			continue
		}
		if err := c.Rank(i, 1); err != nil {
			return err
		}
		if err := c.Same(c.In(i).Shape[0], n, fmt.Sprintf("elements of input %d (%s)", i, c.Node.Inputs[i].Name)); err != nil {
			return err
		}
	}
	return nil
}
