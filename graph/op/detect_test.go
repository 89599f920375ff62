package op

import (
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"

	"tandem/kernel"
)

// TestSuppressionEqualsAllPairs: boxes kept by columns are those that comparing each
// with all that were taken leaves.
func TestSuppressionEqualsAllPairs(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	pool := kernel.NewPool(1, kernel.Detect())
	defer pool.Close()
	for range 300 {
		n := 1 + r.IntN(200)
		boxes, scores := make([]corners, n), make([]float32, n)
		for i := range boxes {
			move := float32(r.IntN(3)) * 500 // classes that lie apart
			x, y := r.Float32()*100+move, r.Float32()*100+move
			boxes[i] = corners{x, y, x + r.Float32()*40, y + r.Float32()*40}
			scores[i] = float32(r.IntN(20))
			switch r.IntN(60) {
			case 0:
				boxes[i].x1 = float32(math.NaN())
			case 1:
				boxes[i].x1 = float32(math.Inf(1))
			case 2:
				boxes[i].x1 = boxes[i].x0
			}
		}
		s := suppression{look: lookout{pool: pool}, limit: 1 + r.IntN(n), overlap: r.Float32(), score: 3}
		if r.IntN(10) == 0 {
			s.overlap = -1
		}
		if got, want := s.choose(boxes, scores, true), chooseAllPairs(s, boxes, scores); !slices.Equal(got, want) {
			t.Fatalf("%+v of %d boxes: %v, want %v", s, n, got, want)
		}
	}
}

func chooseAllPairs(s suppression, boxes []corners, scores []float32) []int {
	var order, chosen []int
	for i, v := range scores {
		if v > s.score {
			order = append(order, i)
		}
	}
	sort.SliceStable(order, func(i, j int) bool { return scores[order[i]] > scores[order[j]] })
next:
	for _, i := range order {
		if len(chosen) == s.limit {
			break
		}
		for _, j := range chosen {
			if boxes[i].overlap(boxes[j]) > s.overlap {
				continue next
			}
		}
		chosen = append(chosen, i)
	}
	return chosen
}
