package op_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"tandem/graph"
	"tandem/graph/op/optest"
	"tandem/tensor"
)

// pagedCase is a call of com.microsoft's PagedAttention.
type pagedCase struct {
	heads, kv, size, block int
	lengths, past          []int
	attrs                  graph.Attrs
	packed, norms, sink    bool
	rotary                 int  // elements of a head that are turned
	skip                   int  // tokens, counted from the first, that are not stored: by slots
	hole                   bool // the first block of sequence 0 is not mapped
}

// inputs are those of a case, in float32, whose numbers float16 holds.
func (p pagedCase) inputs(r *rand.Rand) []*tensor.Tensor {
	noise := func(shape ...int) *tensor.Tensor {
		x := tensor.New(tensor.Float32, shape...)
		for i := range x.F32() {
			x.F32()[i] = tensor.Float16From(tensor.Float16Bits(float32(r.NormFloat64())))
		}
		return x
	}
	cumulative, tokens, most := []int32{0}, 0, 0
	for s, n := range p.lengths {
		tokens += n
		cumulative = append(cumulative, int32(tokens))
		most = max(most, n+p.past[s])
	}
	perRow := (most + p.block - 1) / p.block
	blocks := perRow*len(p.lengths) + 3
	table := make([]int32, perRow*len(p.lengths))
	for i, v := range r.Perm(blocks)[:len(table)] {
		table[i] = int32(v)
	}
	if p.hole {
		table[0] = -1
	}
	in := make([]*tensor.Tensor, 17)
	if in[0] = noise(tokens, p.heads*p.size); p.packed {
		in[0] = noise(tokens, (p.heads+2*p.kv)*p.size)
	} else {
		in[1], in[2] = noise(tokens, p.kv*p.size), noise(tokens, p.kv*p.size)
	}
	in[3], in[4] = noise(blocks, p.block, p.kv, p.size), noise(blocks, p.block, p.kv, p.size)
	in[5] = tensor.Of(cumulative, len(cumulative))
	past := make([]int32, len(p.past))
	for i, v := range p.past {
		past[i] = int32(v)
	}
	in[6], in[7] = tensor.Of(past, len(past)), tensor.Of(table, len(p.lengths), perRow)
	if p.rotary > 0 {
		in[8], in[9] = noise(most+2, p.rotary/2), noise(most+2, p.rotary/2)
	}
	if p.skip > 0 {
		in[10] = tensor.New(tensor.Int32, tokens)
		for s, at := range p.past {
			for i := range p.lengths[s] {
				t := int(cumulative[s]) + i
				slot := int32(-1)
				if block := table[s*perRow+(at+i)/p.block]; t >= p.skip && block >= 0 {
					slot = block*int32(p.block) + int32((at+i)%p.block)
				}
				tensor.Data[int32](in[10])[t] = slot
			}
		}
	}
	if p.sink {
		in[11] = noise(p.heads)
	}
	if p.norms {
		in[12], in[13] = noise(p.size), noise(p.size)
	}
	return in
}

// definition computes a case one number at a time in float64, by what the specification
// says of each token.
func (p pagedCase) definition(in []*tensor.Tensor) (y, keys, values []float64) {
	numbers := func(i int) []float64 { return numbersOf(in[i]) }
	q, k, v := numbers(0), []float64(nil), []float64(nil)
	tokens, all := in[0].Dim(0), (p.heads+2*p.kv)*p.size
	if p.packed {
		packed := q
		q = nil
		for t := range tokens {
			row := packed[t*all:][:all]
			q, k, v = append(q, row[:p.heads*p.size]...), append(k, row[p.heads*p.size:][:p.kv*p.size]...), append(v, row[(p.heads+p.kv)*p.size:]...)
		}
	} else {
		k, v = numbers(1), numbers(2)
	}
	keys, values = numbers(3), numbers(4)
	table, perRow := tensor.Data[int32](in[7]), in[7].Dim(1)
	place := func(s, position int) int { // of a position's first number in the caches; -1: none
		if block := int(table[s*perRow+position/p.block]); block >= 0 {
			return (block*p.block + position%p.block) * p.kv * p.size
		}
		return -1
	}
	turn := func(x []float64, position, gain int) {
		if p.norms {
			sum := 0.0
			for _, u := range x {
				sum += u * u
			}
			for i := range x {
				x[i] *= numbers(gain)[i] / math.Sqrt(sum/float64(p.size)+float64(p.attrs.Float("qk_norm_epsilon", 1e-6)))
			}
		}
		half := p.rotary / 2
		x = x[p.attrs.Int("rotary_offset", 0):]
		for i := range half {
			a, b := i, i+half
			if p.attrs.Int("rotary_interleaved", 0) == 1 {
				a, b = 2*i, 2*i+1
			}
			cos, sin := numbers(8)[position*half+i], numbers(9)[position*half+i]
			x[a], x[b] = x[a]*cos-x[b]*sin, x[a]*sin+x[b]*cos
		}
	}
	y = make([]float64, tokens*p.heads*p.size)
	first := 0
	for s, n := range p.lengths { // all are stored before any is read
		for i := range n {
			t, at := first+i, p.past[s]+i
			for h := range p.heads {
				turn(q[(t*p.heads+h)*p.size:][:p.size], at, 12)
			}
			for h := range p.kv {
				turn(k[(t*p.kv+h)*p.size:][:p.size], at, 13)
			}
			if to := place(s, at); to >= 0 && t >= p.skip {
				copy(keys[to:], k[t*p.kv*p.size:][:p.kv*p.size])
				copy(values[to:], v[t*p.kv*p.size:][:p.kv*p.size])
			}
		}
		first += n
	}
	first = 0
	for s, n := range p.lengths {
		for i := range n * p.heads {
			i, h := i/p.heads, i%p.heads
			own, total := p.past[s]+i, 0.0
			out := y[((first+i)*p.heads+h)*p.size:][:p.size]
			if p.sink {
				total = math.Exp(numbers(11)[h])
			}
			for at := range p.past[s] + n {
				window := p.attrs.Int("local_window_size", -1)
				from := place(s, at)
				if from < 0 || p.attrs.Int("is_causal", 1) == 1 && at > own || window > 0 && at <= own-window {
					continue
				}
				from += h / (p.heads / p.kv) * p.size
				score := 0.0
				for j := range p.size {
					score += q[((first+i)*p.heads+h)*p.size+j] * keys[from+j]
				}
				score *= float64(p.attrs.Float("scale", float32(1/math.Sqrt(float64(p.size)))))
				if cap := float64(p.attrs.Float("softcap", 0)); cap > 0 {
					score = cap * math.Tanh(score/cap)
				}
				total += math.Exp(score)
				for j := range out {
					out[j] += math.Exp(score) * values[from+j]
				}
			}
			for j := range out {
				if total > 0 {
					out[j] /= total
				}
			}
		}
		first += n
	}
	return y, keys, values
}

func pagedCases() map[string]pagedCase {
	base := func(a graph.Attrs, change func(*pagedCase)) pagedCase {
		p := pagedCase{heads: 4, kv: 2, size: 16, block: 4, lengths: []int{3, 1, 0, 7}, past: []int{0, 9, 5, 6}, attrs: a}
		if change != nil {
			change(&p)
		}
		return p
	}
	return map[string]pagedCase{
		"plain":             base(attrs(), nil),
		"nothing before":    base(attrs(), func(p *pagedCase) { p.past = []int{0, 0, 0, 0} }),
		"packed":            base(attrs(), func(p *pagedCase) { p.packed = true }),
		"one head each":     base(attrs("scale", float32(0.3)), func(p *pagedCase) { p.kv = 4 }),
		"turned":            base(attrs("do_rotary", int64(1)), func(p *pagedCase) { p.rotary = 16 }),
		"turned, packed":    base(attrs("do_rotary", int64(1), "rotary_interleaved", int64(1)), func(p *pagedCase) { p.rotary, p.packed = 16, true }),
		"a part turned":     base(attrs("do_rotary", int64(1), "rotary_offset", int64(8)), func(p *pagedCase) { p.rotary = 6 }),
		"normalised":        base(attrs("do_rotary", int64(1), "qk_norm_epsilon", float32(0.01)), func(p *pagedCase) { p.rotary, p.norms = 16, true }),
		"a window":          base(attrs("local_window_size", int64(3)), nil),
		"capped":            base(attrs("softcap", float32(1.5), "local_window_size", int64(5)), nil),
		"sinks":             base(attrs(), func(p *pagedCase) { p.sink = true }),
		"both ways":         base(attrs("is_causal", int64(0)), nil),
		"both ways, window": base(attrs("is_causal", int64(0), "local_window_size", int64(2)), nil),
		"slots":             base(attrs(), func(p *pagedCase) { p.skip = 2 }),
		"a hole":            base(attrs(), func(p *pagedCase) { p.hole, p.past[0] = true, 3 }),
		"nothing seen":      base(attrs(), func(p *pagedCase) { p.hole = true }),
	}
}

// TestMicrosoftPagedEqualsDefinition compares with one loop over positions in float64,
// for caches that are updated in their own memory and for such as are copied.
func TestMicrosoftPagedEqualsDefinition(t *testing.T) {
	for name, p := range pagedCases() {
		p.attrs["num_heads"], p.attrs["kv_num_heads"] = int64(p.heads), int64(p.kv)
		for _, d := range []tensor.DType{tensor.Float32, tensor.Float16, tensor.BFloat16} {
			for _, outputs := range []int{1, 3} {
				in := p.inputs(rand.New(rand.NewPCG(3, uint64(len(name)))))
				tolerance := 2e-5
				for i, x := range in {
					if x != nil && x.DType() == tensor.Float32 && d != tensor.Float32 {
						in[i] = narrowed(t, d, x.F32(), x.Shape()...)
						tolerance = map[tensor.DType]float64{tensor.Float16: 3e-3, tensor.BFloat16: 3e-2}[d]
					}
				}
				got, err := evaluate(t, graph.OpID{Domain: "com.microsoft", Name: "PagedAttention"}, 24, p.attrs, in, outputs, len(in))
				if err != nil {
					t.Fatalf("%s %v: %v", name, d, err)
				}
				y, keys, values := p.definition(in)
				for i, want := range [][]float64{y, keys, values}[:outputs] {
					if !sameNumbers(numbersOf(got[i]), want, tolerance) {
						t.Errorf("%s %v, %d outputs: output %d differs from the definition", name, d, outputs, i)
					}
				}
			}
		}
	}
}

// TestMicrosoftPagedRefuses: shapes, forms and elements that cannot be are named.
func TestMicrosoftPagedRefuses(t *testing.T) {
	ints := func(shape []int, v ...int32) *tensor.Tensor { return tensor.Of(v, shape...) }
	for _, c := range []struct {
		want  string
		attrs graph.Attrs
		set   map[int]*tensor.Tensor
	}{
		{"num_heads is 4, kv_num_heads 3", attrs("kv_num_heads", int64(3)), nil},
		{"they do not divide", attrs("kv_num_heads", int64(0)), nil},
		{"keys and values come together", attrs(), map[int]*tensor.Tensor{2: nil}},
		{"expected 2 dimensions", attrs(), map[int]*tensor.Tensor{0: tensor.New(tensor.Float32, 1, 11, 64)}},
		{"columns for 4 heads", attrs(), map[int]*tensor.Tensor{0: tensor.New(tensor.Float32, 11, 63)}},
		{"a cache [blocks, positions, kv_num_heads, size]", attrs(), map[int]*tensor.Tensor{4: tensor.New(tensor.Float32, 19, 4, 2, 8)}},
		{"have no positions", attrs(), map[int]*tensor.Tensor{3: tensor.New(tensor.Float32, 19, 0, 2, 16), 4: tensor.New(tensor.Float32, 19, 0, 2, 16)}},
		{"LATENT", attrs(), map[int]*tensor.Tensor{4: nil}},
		{"LATENT", attrs("kv_cache_layout", "LATENT"), nil},
		{"quantized cache", attrs("k_quant_type", "PER_TENSOR"), nil},
		{"k_cache_dtype is int4", attrs("k_cache_dtype", "int4"), nil},
		{"int32", attrs(), map[int]*tensor.Tensor{6: optest.Ints(0, 9, 5, 6)}},
		{"rows of the table of blocks", attrs(), map[int]*tensor.Tensor{6: ints([]int{3}, 0, 9, 5)}},
		{"do_rotary needs tables", attrs("do_rotary", int64(1)), nil},
		{"sines", attrs("do_rotary", int64(1)), map[int]*tensor.Tensor{8: tensor.New(tensor.Float32, 30, 8), 9: tensor.New(tensor.Float32, 30, 7)}},
		{"turn 20 elements", attrs("do_rotary", int64(1)), map[int]*tensor.Tensor{8: tensor.New(tensor.Float32, 30, 10), 9: tensor.New(tensor.Float32, 30, 10)}},
		{"rotary_offset is 3", attrs("rotary_offset", int64(3)), nil},
		{"ends at position 10, the tables", attrs("do_rotary", int64(1)), map[int]*tensor.Tensor{8: tensor.New(tensor.Float32, 9, 8), 9: tensor.New(tensor.Float32, 9, 8)}},
		{"norms of queries and keys come together", attrs(), map[int]*tensor.Tensor{12: tensor.New(tensor.Float32, 16)}},
		{"elements of input 11", attrs(), map[int]*tensor.Tensor{11: tensor.New(tensor.Float32, 2)}},
		{"slots and tokens", attrs(), map[int]*tensor.Tensor{10: ints([]int{2}, 0, 0)}},
		{"slot 76 of token 10", attrs(), map[int]*tensor.Tensor{10: ints([]int{11}, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 19*4)}},
		{"go from 1 to 11", attrs(), map[int]*tensor.Tensor{5: ints([]int{5}, 1, 3, 4, 4, 11)}},
		{"go from 0 to 12, there are 11 tokens", attrs(), map[int]*tensor.Tensor{5: ints([]int{5}, 0, 3, 4, 4, 12)}},
		{"fall from 4 to 2 at sequence 2", attrs(), map[int]*tensor.Tensor{5: ints([]int{5}, 0, 3, 4, 2, 11)}},
		{"has -1 positions in the cache", attrs(), map[int]*tensor.Tensor{6: ints([]int{4}, -1, 9, 5, 6)}},
		{"have room for 16", attrs(), map[int]*tensor.Tensor{6: ints([]int{4}, 0, 9, 5, 10)}},
		{"is 19, the cache has 19", attrs(), map[int]*tensor.Tensor{7: ints([]int{4, 4}, 19, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)}},
		{"is -2, the cache has 19", attrs(), map[int]*tensor.Tensor{7: ints([]int{4, 4}, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, -2)}},
	} {
		p := pagedCases()["plain"]
		in := p.inputs(rand.New(rand.NewPCG(1, 1)))
		for i, x := range c.set {
			in[i] = x
		}
		for name, v := range map[string]int{"num_heads": p.heads, "kv_num_heads": p.kv} {
			if c.attrs[name] == nil {
				c.attrs[name] = int64(v)
			}
		}
		_, err := evaluate(t, graph.OpID{Domain: "com.microsoft", Name: "PagedAttention"}, 24, c.attrs, in, 3, len(in))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v", c.want, err)
		}
	}
}
