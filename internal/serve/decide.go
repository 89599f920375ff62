package serve

import "time"

// waiting is what decide may know of a queued request.
type waiting struct {
	rows     int       // rows still to run
	class    string    // requests of one class have the same shapes but for the first dimension
	arrived  time.Time // of the whole request, slices included
	deadline time.Time // zero: none
}

// decision is what the next step does with the queue it was made from. Indices
// ascend.
type decision struct {
	join    []int         // requests of the step; the first of them always leads the queue
	expired []int         // requests whose deadline has passed: they never run
	wait    time.Duration // with an empty join and a queue that is not empty: decide again then
}

// decide says who joins the next step. It is pure: the same queue, limits and time
// give the same decision.
//
// The oldest live request always leads. Others join in order while they are of its
// class and fit; the first of the class that does not fit ends the scan, so that
// nobody is overtaken by his own kind. A request of another class is overtaken by
// at most one step for each request ahead of it, because it comes to lead: no
// class starves another. A request of more than MaxBatchRows rows leads alone and
// runs as many rows as a step takes.
//
// Rejected: the largest class first (starves rare shapes); padding to a common
// shape (the answer would depend on the batch).
func decide(queue []waiting, limits Limits, now time.Time, d *decision) {
	d.join, d.expired, d.wait = d.join[:0], d.expired[:0], 0
	rows, class, full := 0, "", false
	var oldest time.Time
	for i := range queue {
		w := &queue[i]
		switch {
		case !w.deadline.IsZero() && !now.Before(w.deadline):
			d.expired = append(d.expired, i)
		case full:
		case len(d.join) == 0:
			d.join = append(d.join, i)
			rows, class, oldest = w.rows, w.class, w.arrived
			full = rows >= limits.MaxBatchRows
		case w.class != class:
		case rows+w.rows > limits.MaxBatchRows:
			full = true
		default:
			d.join = append(d.join, i)
			rows += w.rows
			full = rows >= limits.MaxBatchRows
		}
	}
	if limits.MaxDelay > 0 && len(d.join) > 0 && !full {
		if left := limits.MaxDelay - now.Sub(oldest); left > 0 {
			d.join, d.wait = d.join[:0], left
		}
	}
}
