package graph

import (
	"slices"
	"testing"
)

// TestRowwiseHoldsItsEnds: what nodes 2 to 4 read is kept until all rows are computed and
// what is read behind them is there from the first row on, as each time takes all of the
// nodes; what lies between takes nothing.
func TestRowwiseHoldsItsEnds(t *testing.T) {
	type life struct{ first, last, size int }
	l := &layout{stores: []storage{{first: 0, last: 2}, {first: 2, last: 4}, {first: 4, last: 5}, {first: 1, last: 9}, {first: 0, last: 1}, {place: outside, last: 3}}}
	sizes := []int{1, 1, 1, 1, 1, 1}
	(&rowwise{lo: 2, hi: 5}).hold(l, sizes)
	var got []life
	for i, s := range l.stores {
		got = append(got, life{s.first, s.last, sizes[i]})
	}
	want := []life{{0, 4, 1}, {2, 4, 0}, {2, 5, 1}, {1, 9, 1}, {0, 1, 1}, {0, 3, 1}}
	if !slices.Equal(got, want) {
		t.Errorf("storages live and take %v, want %v", got, want)
	}
}
