package vision

import (
	"slices"
	"testing"

	"tandem/kernel"
	"tandem/tensor"
	"tandem/train"
)

// ramp is a batch of images whose pixels are all different.
func ramp(n, c, h, w int) *tensor.Tensor {
	x := tensor.New(tensor.Float32, n, c, h, w)
	for i := range x.F32() {
		x.F32()[i] = float32(i + 1)
	}
	return x
}

// TestVariations are the ones whose result can be written down.
func TestVariations(t *testing.T) {
	src := []float32{1, 2, 3, 4, 5, 6}
	for _, tc := range []struct {
		name string
		v    variation
		want []float32
	}{
		{"nothing", variation{side: 1}, src},
		{"mirrored", variation{side: 1, flip: true}, []float32{3, 2, 1, 6, 5, 4}},
		{"moved", variation{side: 1, dy: 1, dx: -1}, []float32{0, 4, 5, 0, 0, 0}},
		{"moved and mirrored", variation{side: 1, dx: 1, flip: true}, []float32{0, 3, 2, 0, 6, 5}},
		{"the middle half of each side", variation{side: 0.5, top: 0.5, left: 0.75}, []float32{2.25, 2.75, 3.25, 3.75, 4.25, 4.75}},
	} {
		got := make([]float32, 6)
		tc.v.apply(got, src, 2, 3)
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

// TestVaryDependsOnThePlaceAlone: an image in a batch of its own is varied as among
// others, channels alike; another epoch, seed or place varies it otherwise.
func TestVaryDependsOnThePlaceAlone(t *testing.T) {
	a := Augment{Flip: true, Shift: 3, Zoom: 0.5}
	vary := func(at train.Visit, n, from int) []float32 {
		x := ramp(9, 2, 8, 8).Rows(from, from+n).Clone()
		a.vary(at, []*tensor.Tensor{x})
		return x.F32()
	}
	size := 2 * 8 * 8
	all := vary(train.Visit{Seed: 1, Epoch: 2, First: 100}, 9, 0)
	differ := 0
	for i := range 9 {
		one := all[i*size : (i+1)*size]
		if !slices.Equal(one, vary(train.Visit{Seed: 1, Epoch: 2, First: 100 + i}, 1, i)) {
			t.Errorf("image %d is varied otherwise alone", i)
		}
		for _, other := range []train.Visit{{Seed: 2, Epoch: 2, First: 100 + i}, {Seed: 1, Epoch: 3, First: 100 + i}, {Seed: 1, Epoch: 2, First: 101 + i}} {
			if !slices.Equal(one, vary(other, 1, i)) {
				differ++
			}
		}
		for k, v := range one[:size/2] {
			if d := one[size/2+k] - v; v != 0 && (d < 63.99 || d > 64.01) {
				t.Fatalf("image %d, pixel %d: channels differ by %v", i, k, d)
			}
		}
	}
	if differ < 25 {
		t.Errorf("%d of 27 other places vary an image otherwise", differ)
	}
}

// TestDrawsReachEveryChoice.
func TestDrawsReachEveryChoice(t *testing.T) {
	a := Augment{Flip: true, Shift: 1}
	seen := map[variation]int{}
	for i := range 2000 {
		seen[a.draw(kernel.Words(1, 2, 3, uint64(i)), 4, 4)]++
	}
	if len(seen) != 18 {
		t.Errorf("%d of 18 variations", len(seen))
	}
	for v := range seen {
		if v.dx < -1 || v.dx > 1 || v.dy < -1 || v.dy > 1 {
			t.Errorf("%+v", v)
		}
	}
}
