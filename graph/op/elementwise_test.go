package op_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"tandem/graph"
	"tandem/tensor"
)

// typesOf are the types of inputs that an operator computes with: of those that random
// types seldom suit. The first input has four elements, the others one,
// or four of a bias.
func typesOf(name string) []tensor.DType {
	const b, u8, f32 = tensor.Bool, tensor.Uint8, tensor.Float32
	return map[string][]tensor.DType{
		"And": {b, b}, "BitShift": {u8, u8}, "Where": {b, f32, f32}, "BitCast": {f32},
		"DequantizeLinear": {u8, f32, u8}, "QLinearAdd": {u8, f32, u8, u8, f32, u8, f32, u8},
		"SwiGLU": {f32, f32}, "BitwiseXor": {u8, u8}, "Gelu": {f32}, "QuantizeLinear": {f32, f32, u8}, "DynamicQuantizeLinear": {f32}, "BiasGelu": {f32, f32},
	}[name]
}

// TestElementwiseNeverPanics gives the operators of these files inputs of any types
// and shapes, and attributes of any kind: a refusal is an error.
func TestElementwiseNeverPanics(t *testing.T) {
	names := []string{
		"Add", "Sub", "Mul", "Div", "Mod", "Pow", "PRelu", "Neg", "Abs", "Sign", "Sqrt", "Erf", "Relu", "LeakyRelu", "Gelu", "SwiGLU", "Shrink",
		"And", "Not", "Equal", "Greater", "LessOrEqual", "IsNaN", "IsInf", "BitShift", "BitwiseXor", "BitwiseNot", "Where", "Max", "Mean", "Clip",
		"Cast", "CastLike", "BitCast", "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear",
		"com.microsoft.BiasGelu", "com.microsoft.QLinearAdd",
	}
	types := append([]tensor.DType{tensor.Bool, tensor.String, tensor.Int4, tensor.Uint2, tensor.Float8E4M3FN, tensor.Float4E2M1, tensor.Float8E8M0, tensor.Complex64, tensor.Complex128}, numericTypes...)
	rng := rand.New(rand.NewPCG(5, 6))
	computed := map[string]int{}
	for range 4000 {
		id := graph.OpID{Name: names[rng.IntN(len(names))]}
		if len(id.Name) > 14 && id.Name[:14] == "com.microsoft." {
			id = graph.OpID{Domain: "com.microsoft", Name: id.Name[14:]}
		}
		first := types[rng.IntN(len(types))]
		in := make([]*tensor.Tensor, 1+rng.IntN(3))
		var shape []int
		if id.Domain != "" {
			in = make([]*tensor.Tensor, 2+6*rng.IntN(2))
		}
		likely := typesOf(id.Name) // what the operator takes, in half of the calls
		fits := likely != nil && rng.IntN(2) == 0
		if fits {
			in = make([]*tensor.Tensor, len(likely))
		}
		for i := range in {
			d := first
			if fits {
				in[i] = tensor.New(likely[i], []int{4, 1}[min(i, 1)])
				if id.Name == "BiasGelu" || id.Name == "SwiGLU" {
					in[i] = tensor.New(likely[i], 4)
				}
				if likely[i] == tensor.Float32 {
					in[i].F32()[0] = rng.Float32()
				}
				continue
			}
			if rng.IntN(4) == 0 {
				d = types[rng.IntN(len(types))]
			}
			if i == 0 || rng.IntN(3) == 0 {
				shape = make([]int, rng.IntN(4))
				for k := range shape {
					shape[k] = []int{1, 1, 2, 3, 0}[rng.IntN(5)]
				}
			}
			if rng.IntN(12) > 0 {
				in[i] = tensor.New(d, shape...)
				for k := range in[i].Bytes() {
					if in[i].Bytes()[k] = byte(rng.Uint32()); d == tensor.Bool {
						in[i].Bytes()[k] &= 1 // Go has no other booleans
					}
				}
			}
		}
		a := graph.Attrs{}
		for _, name := range []string{"to", "axis", "broadcast", "block_size", "output_dtype", "precision", "saturate", "fmod"} {
			if rng.IntN(3) == 0 {
				a[name] = int64(rng.IntN(30) - 3)
			}
		}
		if rng.IntN(2) == 0 {
			a["direction"], a["alpha"], a["min"] = "LEFT", float32(rng.NormFloat64()), "text"
		}
		opset := []int{6, 8, 13, 21, 28}[rng.IntN(5)]
		if _, err := apply(t, opset, id, a, in...); err == nil {
			computed[id.Name]++
		}
	}
	for _, name := range names { // a call that is refused shows nothing of the kernel
		name = strings.TrimPrefix(name, "com.microsoft.")
		if computed[name] == 0 {
			t.Errorf("no call of %s computed anything", name)
		}
	}
}
