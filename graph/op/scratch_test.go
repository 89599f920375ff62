package op_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"tandem/fault"
	"tandem/graph"
	"tandem/tensor"
)

// TestScratchCounts: what a kernel allocates beside its outputs counts towards the memory
// limit before it is there, where it is more than the tensors around it. Each limit lies
// between the result and what the kernel keeps besides.
func TestScratchCounts(t *testing.T) {
	const mib = 1 << 20
	f32 := func(shape ...int) *tensor.Tensor { return tensor.New(tensor.Float32, shape...) }
	number := func(v float32) *tensor.Tensor { return tensor.Scalar(v) }
	for _, tc := range []struct {
		name  string
		limit int
		opset int
		attrs graph.Attrs
		in    []*tensor.Tensor
	}{
		{"Conv", 3 * mib, 21, nil, []*tensor.Tensor{f32(1, 4, 26, 26, 26), f32(4, 4, 3, 3, 3)}},
		{"ConvTranspose", 3 * mib, 21, nil, []*tensor.Tensor{f32(1, 4, 24, 24, 24), f32(4, 4, 3, 3, 3)}},
		{"ConvInteger", 2 * mib, 21, nil, []*tensor.Tensor{tensor.New(tensor.Uint8, 1, 4, 256, 256), tensor.New(tensor.Int8, 1, 4, 3, 3)}},
		{"DeformConv", mib, 21, nil, []*tensor.Tensor{f32(1, 8, 66, 66), f32(1, 8, 3, 3), f32(1, 18, 64, 64)}},
		{"Einsum", 8 * mib, 21, attrs("equation", "ij,kl,jk,li->i"), []*tensor.Tensor{f32(64, 64), f32(64, 64), f32(64, 64), f32(64, 64)}},
		{"GRU", mib, 21, attrs("hidden_size", int64(64)), []*tensor.Tensor{
			tensor.New(tensor.Float64, 1024, 1, 4), tensor.New(tensor.Float64, 1, 192, 4), tensor.New(tensor.Float64, 1, 192, 64)}},
		{"DFT", 4 * mib, 17, attrs("axis", int64(1)), []*tensor.Tensor{f32(1, 65537, 1)}},
		{"Unique", 16 * mib, 21, nil, []*tensor.Tensor{tensor.New(tensor.Int8, mib)}},
		{"Resize", 4 * mib, 18, attrs("mode", "linear"), []*tensor.Tensor{f32(2048, 4), nil, nil, tensor.Of([]int64{4, 2048}, 2)}},
		{"TopK", 2 * mib, 21, nil, []*tensor.Tensor{tensor.New(tensor.Uint8, mib), tensor.Of([]int64{1}, 1)}},
		{"RandomUniformLike", 4 * mib, 21, attrs("dtype", int64(tensor.Float16)), []*tensor.Tensor{tensor.New(tensor.Float16, mib)}},
		{"GridSample", 3 * mib, 20, nil, []*tensor.Tensor{tensor.New(tensor.Uint8, 1, 1, 1024, 1024), f32(1, 4, 4, 2)}},
		{"ai.onnx.ml.Scaler", 3 * mib, 3, attrs("scale", []float32{2}, "offset", []float32{1}), []*tensor.Tensor{f32(65536, 8)}},
		{"ai.onnx.preview.FlexAttention", 3 * mib, 1, nil, []*tensor.Tensor{f32(1, 1, 1024, 8), f32(1, 1, 1024, 8), f32(1, 1, 1024, 8)}},
		{"com.microsoft.MultiHeadAttention", 3 * mib, 1, attrs("num_heads", int64(4)), []*tensor.Tensor{f32(2, 2048, 64), f32(2, 2048, 64), f32(2, 2048, 64), f32(192)}},
		{"com.microsoft.QGemm", 4 * mib, 1, nil, []*tensor.Tensor{
			tensor.New(tensor.Uint8, 1024, 4), number(1), tensor.Scalar(uint8(0)), tensor.New(tensor.Uint8, 4, 1024), number(1), tensor.Scalar(uint8(0)), nil, number(1), tensor.Scalar(uint8(0))}},
	} {
		id := graph.OpID{Name: tc.name}
		for _, domain := range []string{"ai.onnx.ml", "ai.onnx.preview", "com.microsoft"} {
			if n := len(domain); len(tc.name) > n && tc.name[:n] == domain {
				id = graph.OpID{Domain: domain, Name: tc.name[n+1:]}
			}
		}
		t.Run(tc.name, func(t *testing.T) {
			b := testBuilder()
			b.G.Opset[id.Domain] = tc.opset
			var values []*graph.Value
			var given []*tensor.Tensor
			for i, x := range tc.in {
				switch {
				case x == nil:
					values = append(values, nil)
				case x.Len() <= 4: // sizes and scales
					values = append(values, b.Const("c", x))
				default:
					values = append(values, b.Input("x"+string(rune('0'+i)), x.DType(), graph.Dims(x.Shape()...)...))
					given = append(given, x)
				}
			}
			b.Output(b.Node(id, 1, tc.attrs, values...)[0])
			if _, err := runAll(t, b, 1<<30, given...); err != nil {
				t.Fatal(err)
			}
			if _, err := runAll(t, b, tc.limit, given...); fault.KindOf(err) != fault.TooLarge {
				t.Errorf("with a limit of %d MiB: %v", tc.limit/mib, err)
			}
		})
	}
}

// TestUndividedKernelsStop: sorting, suppression, text and others that one thread does
// by itself end soon after the context does, with an input that would take seconds.
func TestUndividedKernelsStop(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED in short mode: it makes large inputs")
	}
	rng := rand.New(rand.NewPCG(5, 6))
	noise := func(shape ...int) *tensor.Tensor {
		x := tensor.New(tensor.Float32, shape...)
		for i := range x.F32() {
			x.F32()[i] = rng.Float32()
		}
		return x
	}
	apart := tensor.New(tensor.Float32, 1, 1<<17, 4) // boxes that do not touch
	for i := range 1 << 17 {
		at := float32(2 * i)
		copy(apart.F32()[4*i:], []float32{at, at, at + 1, at + 1})
	}
	text := make([]string, 1<<16)
	for i := range text {
		text[i] = strings.Repeat("some words ", 400)
	}
	words := tensor.OfStrings(text, len(text))
	for _, tc := range []struct {
		id    graph.OpID
		opset int
		attrs graph.Attrs
		in    []*tensor.Tensor
	}{
		{graph.OpID{Name: "TopK"}, 21, nil, []*tensor.Tensor{noise(1 << 24), tensor.Of([]int64{1}, 1)}},
		{graph.OpID{Name: "ArgMax"}, 21, attrs("axis", int64(0)), []*tensor.Tensor{noise(1<<10, 1<<14)}},
		{graph.OpID{Name: "Unique"}, 21, nil, []*tensor.Tensor{noise(1 << 23)}},
		{graph.OpID{Name: "NonMaxSuppression"}, 21, nil, []*tensor.Tensor{apart, noise(1, 1, 1<<17), tensor.Scalar(int64(1 << 20)), tensor.Scalar(float32(0.5)), tensor.Scalar(float32(0))}},
		{graph.OpID{Name: "StringSplit"}, 21, nil, []*tensor.Tensor{words}},
		{graph.OpID{Name: "DFT"}, 17, attrs("axis", int64(1)), []*tensor.Tensor{noise(1<<13, 1021, 1)}},
		{graph.OpID{Name: "Det"}, 21, nil, []*tensor.Tensor{noise(1<<10, 128, 128)}},
		{graph.OpID{Name: "GridSample"}, 20, attrs("mode", "cubic"), []*tensor.Tensor{noise(1, 8, 64, 64), noise(1, 1<<11, 1<<10, 2)}},
	} {
		t.Run(tc.id.Name, func(t *testing.T) {
			b := testBuilder()
			b.G.Opset[tc.id.Domain] = tc.opset
			var values []*graph.Value
			var given []*tensor.Tensor
			for i, x := range tc.in {
				if x.Len() == 1 {
					values = append(values, b.Const("c", x))
					continue
				}
				values = append(values, b.Input(fmt.Sprint("x", i), x.DType(), graph.Dims(x.Shape()...)...))
				given = append(given, x)
			}
			b.Output(b.Node(tc.id, 1, tc.attrs, values...)[0])
			if b.Err() != nil {
				t.Fatal(b.Err())
			}
			s := session(t, b.G, pool(t, 1), 0)
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			defer cancel()
			begin := time.Now()
			_, err := s.Run(ctx, given, nil)
			if fault.KindOf(err) != fault.Deadline {
				t.Errorf("after %v: %v, want kind deadline", time.Since(begin), err)
			}
			t.Log(time.Since(begin))
		})
	}
}
