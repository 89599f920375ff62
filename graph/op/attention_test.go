package op_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"tandem/graph"
	"tandem/tensor"
)

// plainAttention is the definition for [batch, heads, rows, size], where see tells
// which keys a row looks at.
func plainAttention(q, k, v *tensor.Tensor, see func(b, row, key int) bool) *tensor.Tensor {
	s, kv, keys, width := q.Shape(), k.Dim(1), k.Dim(2), v.Dim(3)
	y := tensor.New(tensor.Float32, s[0], s[1], s[2], width)
	for i := range s[0] * s[1] * s[2] {
		b, head, row := i/(s[1]*s[2]), i/s[2]%s[1], i%s[2]
		at := b*kv + head*kv/s[1]
		weights, total := make([]float64, keys), 0.0
		for j := range weights {
			score := 0.0
			for x := range s[3] {
				score += float64(q.F32()[i*s[3]+x]) * float64(k.F32()[(at*keys+j)*s[3]+x])
			}
			if see(b, row, j) {
				weights[j] = math.Exp(score / math.Sqrt(float64(s[3])))
				total += weights[j]
			}
		}
		for x := range width {
			sum := 0.0
			for j, w := range weights {
				sum += w * float64(v.F32()[(at*keys+j)*width+x])
			}
			if total > 0 {
				y.F32()[i*width+x] = float32(sum / total)
			}
		}
	}
	return y
}

func TestAttentionEqualsDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	q, k, v := randomInput(rng, []int{2, 4, 3, 8}, 0), randomInput(rng, []int{2, 2, 5, 8}, 0), randomInput(rng, []int{2, 2, 5, 6}, 0)
	mask := tensor.New(tensor.Bool, 2, 1, 3, 4)
	for i := range tensor.Data[bool](mask) {
		tensor.Data[bool](mask)[i] = i%3 != 0 && i/4 != 1 // the second row sees nothing
	}
	causal := attrs("is_causal", int64(1))
	window := attrs("left_window_size", int64(1), "right_window_size", int64(0))
	for _, tc := range []struct {
		name  string
		attrs graph.Attrs
		rest  []*tensor.Tensor
		see   func(b, row, key int) bool
	}{
		{"all", nil, nil, func(b, row, key int) bool { return true }},
		{"causal", causal, nil, func(b, row, key int) bool { return key <= row }},
		{"mask, shorter than the keys", nil, these(mask), func(b, row, key int) bool {
			return key < 4 && tensor.Data[bool](mask)[(b*3+row)*4+key]
		}},
		{"lengths", causal, these(nil, nil, nil, ints(4, 2)), func(b, row, key int) bool { return key <= row+[]int{4, 2}[b]-3 }},
		{"window", window, nil, func(b, row, key int) bool { return key <= row && key >= row-1 }},
	} {
		in := append(these(q, k, v), tc.rest...)
		got, err := evaluate(t, onnxID("Attention"), 25, tc.attrs, in, 1, len(in))
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		if want := plainAttention(q, k, v, tc.see); !sameNumbers(numbersOf(got[0]), numbersOf(want), 1e-5) {
			t.Errorf("%s: %v, expected %v", tc.name, got[0].F32(), want.F32())
		}
	}
}

// TestAttentionByTokens: one token at a time, with its past, gives the rows of a
// causal run over all of them.
func TestAttentionByTokens(t *testing.T) {
	rng := rand.New(rand.NewPCG(10, 10))
	const tokens, heads, size = 4, 2, 6
	q, k, v := randomInput(rng, []int{1, tokens, heads * size}, 0), randomInput(rng, []int{1, tokens, heads * size}, 0), randomInput(rng, []int{1, tokens, heads * size}, 0)
	a := attrs("q_num_heads", int64(heads), "kv_num_heads", int64(heads), "is_causal", int64(1))
	whole, err := evaluate(t, onnxID("Attention"), 23, a, these(q, k, v), 1, 3)
	if err != nil {
		t.Fatal(err)
	}
	row := func(x *tensor.Tensor, i int) *tensor.Tensor {
		return tensor.Of(x.F32()[i*heads*size:][:heads*size], 1, 1, heads*size)
	}
	past := these(tensor.New(tensor.Float32, 1, heads, 0, size), tensor.New(tensor.Float32, 1, heads, 0, size))
	for i := range tokens {
		got, err := evaluate(t, onnxID("Attention"), 23, a, append(these(row(q, i), row(k, i), row(v, i), nil), past...), 3, 6)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got[0].F32(), row(whole[0], i).F32()) {
			t.Errorf("token %d: %v, expected %v", i, got[0].F32(), row(whole[0], i).F32())
		}
		past = got[1:]
	}
}

// TestGroupQueryByTokens is the same for Microsoft's form, with a rotation.
func TestGroupQueryByTokens(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 11))
	const tokens, heads, kv, size = 5, 4, 2, 8
	x := randomInput(rng, []int{1, tokens, (heads + 2*kv) * size}, 0)
	cos, sin := tensor.New(tensor.Float32, 9, size/2), tensor.New(tensor.Float32, 9, size/2)
	for i := range cos.F32() {
		c, s := math.Sincos(float64(i))
		cos.F32()[i], sin.F32()[i] = float32(c), float32(s)
	}
	a := attrs("num_heads", int64(heads), "kv_num_heads", int64(kv), "do_rotary", int64(1), "local_window_size", int64(3))
	step := func(x, pastK, pastV *tensor.Tensor, total int32) []*tensor.Tensor {
		out, err := evaluate(t, msID("GroupQueryAttention"), 21, a, these(x, nil, nil, pastK, pastV, tensor.Of([]int32{total - 1}, 1), tensor.Of([]int32{total}, 1), cos, sin), 3, 9)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	whole := step(x, nil, nil, tokens)
	got := step(tensor.Of(x.F32()[:x.Len()/tokens], 1, 1, x.Dim(2)), nil, nil, 1)
	for i := 1; i < tokens; i++ {
		got = step(tensor.Of(x.F32()[i*x.Dim(2):][:x.Dim(2)], 1, 1, x.Dim(2)), got[1], got[2], int32(i+1))
		if want := whole[0].F32()[i*heads*size:][:heads*size]; !slices.Equal(got[0].F32(), want) {
			t.Errorf("token %d: %v, expected %v", i, got[0].F32(), want)
		}
	}
	if !slices.Equal(got[1].F32(), whole[1].F32()) {
		t.Error("the caches differ")
	}
}

// TestRecurrencesByTokens: a state that is passed on gives what one run gives.
func TestRecurrencesByTokens(t *testing.T) {
	rng := rand.New(rand.NewPCG(12, 12))
	q, k, v := randomInput(rng, []int{1, 2, 8}, 0), randomInput(rng, []int{1, 2, 4}, 0), randomInput(rng, []int{1, 2, 6}, 0)
	decay, beta := randomInput(rng, []int{1, 2, 2}, 0), randomInput(rng, []int{1, 2, 1}, 0)
	a := attrs("q_num_heads", int64(4), "kv_num_heads", int64(2))
	whole, err := evaluate(t, onnxID("LinearAttention"), 27, a, these(q, k, v, nil, decay, beta), 2, 6)
	if err != nil {
		t.Fatal(err)
	}
	var state *tensor.Tensor
	for i := range 2 {
		row := func(x *tensor.Tensor) *tensor.Tensor {
			n := x.Dim(2)
			return tensor.Of(x.F32()[i*n:][:n], 1, 1, n)
		}
		got, err := evaluate(t, onnxID("LinearAttention"), 27, a, these(row(q), row(k), row(v), state, row(decay), row(beta)), 2, 6)
		if err != nil {
			t.Fatal(err)
		}
		state = got[1]
		if want := whole[0].F32()[i*12:][:12]; !slices.Equal(got[0].F32(), want) {
			t.Errorf("token %d: %v, expected %v", i, got[0].F32(), want)
		}
	}
	try(t, []trial{
		{name: "conv", id: onnxID("CausalConvWithState"), opset: 27, in: these(tensor.Of([]float32{1, 2, 3}, 1, 1, 3), tensor.Of([]float32{10, 1}, 1, 1, 2), nil, tensor.Of([]float32{5}, 1, 1, 1)),
			want: these(tensor.Of([]float32{51, 12, 23}, 1, 1, 3), tensor.Of([]float32{3}, 1, 1, 1))},
		{name: "rule", id: onnxID("LinearAttention"), opset: 27, attrs: attrs("q_num_heads", int64(4), "kv_num_heads", int64(2), "update_rule", "linear"), in: these(q, k, v, nil, decay), err: "needs a decay"},
	})
}

func TestMicrosoftOperators(t *testing.T) {
	codes := tensor.Of([]uint8{0x98, 0x98, 0x98, 0x98, 0x98, 0x98, 0x98, 0x98}, 1, 1, 8) // 8, 9, 8, 9, …: 0, 1, 0, 1 from the middle
	a := tensor.New(tensor.Float32, 1, 16)
	for i := range a.F32() {
		a.F32()[i] = float32(i)
	}
	form := attrs("K", int64(16), "N", int64(1), "bits", int64(4), "block_size", int64(16))
	half := tensor.Of([]float32{0.5}, 1)
	gamma := tensor.Of([]float32{1, 1}, 2)
	try(t, []trial{
		{name: "middle", id: msID("MatMulNBits"), opset: 21, attrs: form, in: these(a, codes, half), want: these(tensor.Of([]float32{32}, 1, 1))}, // (1+3+…+15)/2
		{name: "zero point", id: msID("MatMulNBits"), opset: 21, attrs: form, in: these(a, codes, half, tensor.Of([]uint8{9}, 1)), want: these(tensor.Of([]float32{-28}, 1, 1))},
		{name: "width", id: msID("MatMulNBits"), opset: 21, attrs: form, in: these(a, tensor.New(tensor.Uint8, 1, 1, 7), half), err: "expected 8 elements"},
		{name: "bits", id: msID("MatMulNBits"), opset: 21, attrs: attrs("K", int64(16), "N", int64(1), "bits", int64(3), "block_size", int64(16)), in: these(a, codes, half), err: "bits is 3"},
		{name: "skip", id: msID("SkipLayerNormalization"), opset: 21, in: these(tensor.Of([]float32{1, 2}, 1, 1, 2), tensor.Of([]float32{0, 1}, 1, 1, 2), gamma),
			want: these(tensor.Of([]float32{-1, 1}, 1, 1, 2), tensor.Of([]float32{2}, 1, 1, 1), tensor.Of([]float32{1}, 1, 1, 1), tensor.Of([]float32{1, 3}, 1, 1, 2)), near: 1e-6},
		{name: "root mean square", id: msID("SkipSimplifiedLayerNormalization"), opset: 21, attrs: attrs("epsilon", float32(0)), in: these(tensor.Of([]float32{1, 2}, 1, 2), tensor.Of([]float32{0, 5}, 1, 2), gamma),
			want: these(tensor.Of([]float32{0.2, 1.4}, 1, 2)), near: 1e-6},
		{name: "id", id: msID("EmbedLayerNormalization"), opset: 21, in: these(tensor.Of([]int32{4}, 1, 1), nil, tensor.New(tensor.Float32, 3, 2), tensor.New(tensor.Float32, 1, 2), nil, gamma, gamma), err: "id 4"},
		{name: "position", id: onnxID("RotaryEmbedding"), opset: 23, in: these(tensor.New(tensor.Float32, 1, 1, 1, 2), tensor.New(tensor.Float32, 3, 1), tensor.New(tensor.Float32, 3, 1), tensor.Of([]int64{3}, 1, 1)), err: "position 3"},
		{name: "quarter turn", id: onnxID("RotaryEmbedding"), opset: 23, in: these(tensor.Of([]float32{1, 2, 3, 4}, 1, 1, 1, 4), tensor.Of([]float32{1, 0}, 1, 2), tensor.Of([]float32{0, 1}, 1, 2), tensor.Of([]int64{0}, 1, 1)),
			want: these(tensor.Of([]float32{1, -4, 3, 2}, 1, 1, 1, 4))},
	})
}

// TestNothingPanics feeds every operator of these families shapes, types and
// attributes at random: it is refused or computes, nothing else.
func TestNothingPanics(t *testing.T) {
	names := []string{"ReduceSum", "ReduceMax", "ReduceLogSumExp", "ReduceMean", "ArgMax", "TopK", "CumSum", "Softmax", "Hardmax", "BatchNormalization", "InstanceNormalization",
		"GroupNormalization", "LayerNormalization", "RMSNormalization", "LRN", "LpNormalization", "MeanVarianceNormalization", "NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss",
		"Dropout", "Bernoulli", "Multinomial", "RandomNormalLike", "Attention", "RotaryEmbedding", "LinearAttention", "CausalConvWithState",
		"ms MultiHeadAttention", "ms Attention", "ms GroupQueryAttention", "ms SkipLayerNormalization", "ms EmbedLayerNormalization", "ms RotaryEmbedding", "ms MatMulNBits"}
	types := []tensor.DType{tensor.Float32, tensor.Float32, tensor.Float32, tensor.Float64, tensor.Float16, tensor.Int64, tensor.Int32, tensor.Bool, tensor.Uint8}
	keys := []string{"axis", "axes", "keepdims", "num_groups", "size", "p", "num_heads", "q_num_heads", "kv_num_heads", "is_causal", "unidirectional", "do_rotary", "K", "N", "block_size",
		"training_mode", "spatial", "sample_size", "noop_with_empty_axes", "stash_type", "rotary_embedding_dim", "interleaved", "ignore_index", "exclusive", "left_window_size"}
	rng := rand.New(rand.NewPCG(13, 13))
	worked := 0
	for range 4000 {
		name := names[rng.IntN(len(names))]
		id := onnxID(name)
		if name[:3] == "ms " {
			id = msID(name[3:])
		}
		a := graph.Attrs{}
		for range rng.IntN(6) {
			k := keys[rng.IntN(len(keys))]
			if a[k] = int64(rng.IntN(5) - 1); k == "axes" {
				a[k] = []int64{int64(rng.IntN(5) - 2)}
			}
		}
		var in []*tensor.Tensor
		d, rank, wild := types[rng.IntN(len(types))], rng.IntN(5), rng.IntN(3)
		shape := make([]int, rank)
		for range 1 + rng.IntN(1+3*wild) {
			for i := range shape {
				if wild > 0 || len(in) == 0 {
					shape[i] = []int{0, 1, 2, 2, 2, 4}[rng.IntN(6)]
				}
			}
			x := tensor.New(d, shape...)
			switch rng.IntN(6) + 6*(1-min(wild, 1)) {
			case 0:
				x = nil
			case 1:
				x = tensor.New(types[rng.IntN(len(types))], shape[:rng.IntN(rank+1)]...)
			}
			in = append(in, x)
		}
		if in[0] == nil {
			continue
		}
		func() {
			defer func() {
				if p := recover(); p != nil {
					t.Errorf("%v %v of %v: %v", id, a, fmt.Sprint(in), p)
				}
			}()
			if _, err := evaluate(t, id, []int{6, 9, 13, 18, 27}[rng.IntN(5)], a, in, 1+rng.IntN(1+wild), rng.IntN(3)); err == nil {
				worked++
			}
		}()
	}
	if worked < 200 {
		t.Errorf("only %d of the calls computed anything", worked)
	}
}
