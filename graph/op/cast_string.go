package op

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"tandem/tensor"
)

// parseNumbers reads numbers as ONNX's Cast does: plain or in scientific notation,
// also INF and NaN in any case. Integers are read as such, so that all of their 64
// bits count; text with a fraction is truncated.
func parseNumbers(y *tensor.Tensor, text []string, convert tensor.Conversion) error {
	d := y.DType()
	if d == tensor.Int64 || d == tensor.Uint64 {
		for i, s := range text {
			if err := parseInt(y, i, strings.TrimSpace(s)); err != nil {
				return err
			}
		}
		return nil
	}
	numbers := make([]float64, len(text))
	for i, s := range text {
		f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
		if err != nil && !isRange(err) {
			return fmt.Errorf("element %d, %.100q, is not a number", i, s)
		}
		numbers[i] = f
	}
	return convert.Run(y, tensor.Of(numbers, y.Shape()...))
}

func parseInt(y *tensor.Tensor, i int, s string) error {
	if y.DType() == tensor.Uint64 {
		if n, err := strconv.ParseUint(s, 10, 64); err == nil {
			tensor.Data[uint64](y)[i] = n
			return nil
		}
	} else if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		y.I64()[i] = n
		return nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !isRange(err) {
		return fmt.Errorf("element %d, %.100q, is not a number", i, s)
	}
	one := tensor.New(y.DType(), 1)
	if err := tensor.Convert(one, tensor.Of([]float64{f}, 1), true); err != nil {
		return err
	}
	copy(y.Bytes()[8*i:], one.Bytes())
	return nil
}

// isRange reports whether a number was read that is infinite in float64.
func isRange(err error) bool {
	n, ok := err.(*strconv.NumError)
	return ok && n.Err == strconv.ErrRange
}

// formatNumbers writes numbers in the fewest digits that give them back, as numpy
// does: the plain notation of floats has a point, and beyond 16 digits or below
// 0.0001 it is scientific. Truth values are True and False.
func formatNumbers(y []string, x *tensor.Tensor) error {
	switch d := x.DType(); {
	case d == tensor.Uint64:
		for i, n := range tensor.Data[uint64](x) {
			y[i] = strconv.FormatUint(n, 10)
		}
	case d == tensor.Float64:
		for i, f := range tensor.Data[float64](x) {
			y[i] = formatFloat(f, 64)
		}
	case d.Float():
		f := make([]float32, len(y))
		tensor.Float32s(f, x)
		for i, v := range f {
			y[i] = shortest(v, d)
		}
	case d == tensor.Bool:
		for i, b := range x.Bytes() {
			y[i] = map[bool]string{true: "True", false: "False"}[b != 0]
		}
	default:
		n := make([]int64, len(y))
		if err := tensor.Convert(tensor.Of(n, len(n)), x, true); err != nil {
			return err
		}
		for i, v := range n {
			y[i] = strconv.FormatInt(v, 10)
		}
	}
	return nil
}

// shortest writes a float of at most 32 bits in the fewest digits that tell it from
// its neighbours of the same type.
func shortest(v float32, d tensor.DType) string {
	if d == tensor.Float32 {
		return formatFloat(float64(v), 32)
	}
	one, back := tensor.New(d, 1), make([]float32, 1)
	for digits := 1; digits < 9; digits++ {
		s := strconv.FormatFloat(float64(v), 'e', digits-1, 32)
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			break
		}
		tensor.SetFloat32s(one, []float32{float32(f)})
		if tensor.Float32s(back, one); back[0] == v {
			return formatFloat(f, 64)
		}
	}
	return formatFloat(float64(v), 32)
}

func formatFloat(f float64, bits int) string {
	abs := max(f, -f)
	switch {
	case f != f:
		return "NaN"
	case math.IsInf(f, 0):
		return map[bool]string{true: "INF", false: "-INF"}[f > 0]
	case abs != 0 && (abs < 1e-4 || abs >= 1e16):
		return strconv.FormatFloat(f, 'e', -1, bits)
	}
	s := strconv.FormatFloat(f, 'f', -1, bits)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}
