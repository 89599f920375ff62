package graph

import (
	"testing"

	"pgregory.net/rapid"
)

// TestPackNeverOverlaps: blocks in use at the same step have no byte in common,
// all are aligned, and the arena is not larger than the sum.
func TestPackNeverOverlaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		blocks := make([]*block, rapid.IntRange(0, 40).Draw(t, "n"))
		sum := 0
		for i := range blocks {
			first := rapid.IntRange(0, 20).Draw(t, "first")
			blocks[i] = &block{first: first, last: first + rapid.IntRange(0, 10).Draw(t, "length"), size: rapid.IntRange(1, 1000).Draw(t, "size")}
			sum += (blocks[i].size + arenaAlign - 1) &^ (arenaAlign - 1)
		}
		total := pack(blocks)
		if total > sum {
			t.Fatalf("arena of %d bytes for blocks of %d", total, sum)
		}
		for i, a := range blocks {
			if a.offset%arenaAlign != 0 || a.offset < 0 || a.offset+a.size > total {
				t.Fatalf("block %+v outside an arena of %d", a, total)
			}
			for _, b := range blocks[:i] {
				if a.first <= b.last && b.first <= a.last && a.offset < b.offset+b.size && b.offset < a.offset+a.size {
					t.Fatalf("%+v and %+v overlap", a, b)
				}
			}
		}
	})
}

// TestPackReuses: a chain of values of one size needs two blocks at a time.
func TestPackReuses(t *testing.T) {
	var blocks []*block
	for i := range 10 {
		blocks = append(blocks, &block{first: i, last: i + 1, size: 64})
	}
	if got := pack(blocks); got != 128 {
		t.Errorf("%d bytes, want 128", got)
	}
}
