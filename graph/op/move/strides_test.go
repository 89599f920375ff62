package move_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"tandem/graph/op/move"
	"tandem/tensor"
)

// TestStridesEqualTheirDefinition: boxes of random shapes, cut from one tensor and put
// into another at random places, in any direction.
func TestStridesEqualTheirDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		rank := r.IntN(4)
		from, to, box := make([]int, rank), make([]int, rank), make([]int, rank)
		for i := range box {
			box[i] = r.IntN(4)
			from[i], to[i] = box[i]+r.IntN(3), box[i]+r.IntN(3)
		}
		src, dst := numbered(from), tensor.New(tensor.Int32, to...)
		s := move.Box(box)
		s.From, s.To = move.Dense(from), move.Dense(to)
		for i, n := range box {
			s.FromAt += s.From[i] * r.IntN(from[i]-n+1)
			s.ToAt += s.To[i] * r.IntN(to[i]-n+1)
			if n > 0 && r.IntN(2) == 0 { // backwards
				s.FromAt += s.From[i] * (n - 1)
				s.From[i] = -s.From[i]
			}
		}
		want := slices.Clone(tensor.Data[int32](dst))
		for i := range tensor.Shape(box).Len() {
			f, at := s.FromAt, s.ToAt
			for d := rank - 1; d >= 0; d-- {
				f, at = f+i%box[d]*s.From[d], at+i%box[d]*s.To[d]
				i /= box[d]
			}
			want[at] = tensor.Data[int32](src)[f]
		}
		m, err := move.Of(tensor.Int32)
		if err != nil {
			t.Fatal(err)
		}
		m.Strided(dst, src, s.Compact())
		if got := tensor.Data[int32](dst); !slices.Equal(got, want) {
			t.Fatalf("box %v of %v in %v: %v, want %v", box, from, to, got, want)
		}
	}
}

// TestPackedElements: what is packed and unpacked is the same, whatever the bits.
func TestPackedElements(t *testing.T) {
	for d, bits := range map[tensor.DType]int{tensor.Uint4: 4, tensor.Uint2: 2} {
		for n := range 9 {
			want := make([]byte, n)
			for i := range want {
				want[i] = byte(5*i+3) & (1<<bits - 1)
			}
			x, got := tensor.New(d, n), make([]byte, n)
			move.Pack(x, want)
			move.Unpack(got, x)
			if !slices.Equal(got, want) {
				t.Errorf("%d of %v: %v, want %v", n, d, got, want)
			}
		}
	}
}

// numbered is 1, 2, 3, …
func numbered(shape []int) *tensor.Tensor {
	x := tensor.New(tensor.Int32, shape...)
	for i := range tensor.Data[int32](x) {
		tensor.Data[int32](x)[i] = int32(i + 1)
	}
	return x
}
