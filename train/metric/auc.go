package metric

import (
	"cmp"
	"slices"
)

// area is that under the ROC curve of class k against the rest: the probability that an
// example of k has a higher score than one that is not, where equals count half (Hanley
// and McNeil, 1982). It is not defined without examples of both.
func (c *Classes) area(k int) (float64, bool) {
	is := c.truth[k]
	not := int64(c.rows) - is
	if c.tooMany || is == 0 || not == 0 {
		return 0, false
	}
	type scored struct {
		score float32
		is    bool
	}
	all := make([]scored, c.rows)
	for i, label := range c.labels {
		all[i] = scored{c.scores[i*c.classes+k], label == int64(k)}
	}
	slices.SortFunc(all, func(a, b scored) int { return cmp.Compare(a.score, b.score) })
	var below, twice int64 // twice the count of ordered pairs
	for i := 0; i < len(all); {
		var own, other int64
		score := all[i].score
		for ; i < len(all) && cmp.Compare(all[i].score, score) == 0; i++ { // NaN equals NaN here
			if all[i].is {
				own++
			} else {
				other++
			}
		}
		twice += own * (2*below + other)
		below += other
	}
	return float64(twice) / 2 / (float64(is) * float64(not)), true
}
