package conformance

import (
	"bytes"
	"fmt"
	"math"

	"tandem/tensor"
)

// bfloat16RTol is two units in the last place, as the suite's runner allows.
const bfloat16RTol = 1.0 / 64

// compare tells where got differs from want: floats by more than the tolerance
// around want, everything else at all.
func (c testCase) compare(got, want *tensor.Tensor) error {
	if got.DType() != want.DType() || !got.Shape().Equal(want.Shape()) {
		return fmt.Errorf("%v, expected %v", got, want)
	}
	switch d := want.DType(); d {
	case tensor.Sequence, tensor.Optional, tensor.Map:
		for i, w := range want.Items() {
			if err := c.compare(got.Items()[i], w); err != nil {
				return fmt.Errorf("element %d: %w", i, err)
			}
		}
		return nil
	case tensor.String:
		for i, w := range want.Strings() {
			if g := got.Strings()[i]; g != w {
				return differ(want, i, fmt.Sprintf("%q", g), fmt.Sprintf("%q", w))
			}
		}
		return nil
	case tensor.Float64:
		return within(tensor.Data[float64](got), tensor.Data[float64](want), want, c.rtol, c.atol)
	case tensor.Float32, tensor.Float16, tensor.BFloat16, tensor.Float8E4M3FN, tensor.Float8E4M3FNUZ,
		tensor.Float8E5M2, tensor.Float8E5M2FNUZ, tensor.Float8E8M0, tensor.Float4E2M1:
		rtol := c.rtol
		if d == tensor.BFloat16 {
			rtol = max(rtol, bfloat16RTol)
		}
		a, b := make([]float32, got.Len()), make([]float32, want.Len())
		tensor.Float32s(a, got)
		tensor.Float32s(b, want)
		return within(a, b, want, rtol, c.atol)
	}
	return same(got, want)
}

// same compares elements bit by bit.
func same(got, want *tensor.Tensor) error {
	a, b := got.Bytes(), want.Bytes()
	if bytes.Equal(a, b) {
		return nil
	}
	for i := range b {
		if a[i] != b[i] {
			size := want.DType().Bits()
			return differ(want, i*8/size, fmt.Sprintf("%x", element(a, i, size)), fmt.Sprintf("%x", element(b, i, size)))
		}
	}
	return nil
}

// element are the bytes of the element that byte i belongs to, the highest first.
func element(data []byte, i, bits int) []byte {
	size := max(bits/8, 1)
	at := i / size * size
	out := make([]byte, 0, size)
	for j := size - 1; j >= 0; j-- {
		out = append(out, data[at+j])
	}
	return out
}

// within reports the first of the elements that differ too much. A NaN equals a NaN.
func within[T float32 | float64](got, want []T, like *tensor.Tensor, rtol, atol float64) error {
	first, count := -1, 0
	for i := range want {
		if !near(float64(got[i]), float64(want[i]), rtol, atol) {
			if count++; first < 0 {
				first = i
			}
		}
	}
	if count == 0 {
		return nil
	}
	return fmt.Errorf("%w; %d of %d elements differ", differ(like, first, fmt.Sprint(got[first]), fmt.Sprint(want[first])), count, len(want))
}

func near(got, want, rtol, atol float64) bool {
	if math.IsNaN(want) || math.IsInf(want, 0) || math.IsNaN(got) || math.IsInf(got, 0) {
		return got == want || math.IsNaN(got) && math.IsNaN(want)
	}
	return math.Abs(got-want) <= atol+rtol*math.Abs(want)
}

func differ(like *tensor.Tensor, i int, got, want string) error {
	at := make([]int, like.Rank())
	for d := len(at) - 1; d >= 0; d-- {
		at[d] = i % like.Dim(d)
		i /= like.Dim(d)
	}
	return fmt.Errorf("element %v is %s, expected %s", at, got, want)
}
