package serve

import (
	"context"
	"slices"
	"sync"
	"time"

	"tandem/fault"
	"tandem/tensor"
)

// request is one call on its way through a queue. The queue's mutex guards state,
// at and step; the worker that runs the request owns the rest until done is closed.
type request struct {
	waiting
	inputs []*tensor.Tensor
	total  int // rows
	call   *Call

	state requestState
	step  *step // while running

	parts   [][]*tensor.Tensor // outputs of the slices so far
	compute time.Duration
	outputs []*tensor.Tensor
	err     error
	done    chan struct{}
}

type requestState uint8

const (
	queued   requestState = iota
	running               // in a step
	left                  // the caller has gone: nobody reads the answer
	finished              // done is closed
)

// queue admits requests to one deployment and runs them in steps. A worker lives
// while there is work: an idle queue has no goroutines.
//
// Invariant: the first live request of waiting is the oldest, or the slice of a
// larger one that has already had its turn.
type queue struct {
	limits Limits
	run    func(*step)    // runs a step and sets outputs or err of its requests
	settle func(*request) // called once for every admitted request

	mu      sync.Mutex
	waiting []*request
	rows    int // of the requests in waiting
	workers int
	holders int // see hold
	closed  bool
	idle    chan struct{} // closed when the queue is closed and its last worker and holder have gone
	arrived chan struct{} // wakes a worker that waits for MaxDelay
}

func newQueue(limits Limits, run func(*step), settle func(*request)) *queue {
	return &queue{
		limits: limits, run: run, settle: settle,
		idle: make(chan struct{}), arrived: make(chan struct{}, 1),
	}
}

// errRetired tells the engine that this deployment takes no more requests, so that
// it looks for the one that has replaced it. It never leaves the package.
var errRetired = fault.New("serve.admit", fault.Unavailable, "the deployment is being replaced")

// admit takes r in or refuses it; it never blocks.
func (q *queue) admit(r *request) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return errRetired
	case r.rows > q.limits.MaxQueuedRows:
		return fault.New("serve.admit", fault.TooLarge, "the request has %d rows: the limit MaxQueuedRows is %d",
			r.rows, q.limits.MaxQueuedRows).Try("send fewer rows in one request")
	case len(q.waiting) >= q.limits.MaxQueuedRequests:
		return fault.New("serve.admit", fault.Exhausted, "%d requests wait: the limit MaxQueuedRequests is %d",
			len(q.waiting), q.limits.MaxQueuedRequests).Try("try again later")
	case q.rows+r.rows > q.limits.MaxQueuedRows:
		return fault.New("serve.admit", fault.Exhausted, "%d rows wait and the request has %d: the limit MaxQueuedRows is %d",
			q.rows, r.rows, q.limits.MaxQueuedRows).Try("try again later")
	}
	q.push(r)
	if q.workers < q.limits.Instances {
		q.workers++
		go q.work()
	} else if q.limits.MaxDelay > 0 {
		select {
		case q.arrived <- struct{}{}:
		default:
		}
	}
	return nil
}

func (q *queue) push(r *request) {
	r.state, r.step = queued, nil
	q.waiting = append(q.waiting, r)
	q.rows += r.rows
}

// await returns when r is finished or its caller has gone. A caller that goes away
// frees the place in the queue at once; a step that runs for nobody is canceled.
func (q *queue) await(ctx context.Context, r *request) error {
	var expired <-chan time.Time
	if !r.deadline.IsZero() {
		timer := time.NewTimer(time.Until(r.deadline))
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return q.leave(r, fault.From(context.Cause(ctx), "serve.await"))
	case <-expired:
		return q.leave(r, errDeadline(r))
	}
}

func errDeadline(r *request) error {
	return fault.New("serve.await", fault.Deadline, "the request took longer than its limit of %v",
		r.deadline.Sub(r.arrived).Round(time.Millisecond)).Try("send fewer rows, or allow a longer timeout")
}

func (q *queue) leave(r *request, why error) error {
	q.mu.Lock()
	switch r.state {
	case finished:
		q.mu.Unlock()
		return r.err
	case queued:
		i := slices.Index(q.waiting, r)
		q.waiting = slices.Delete(q.waiting, i, i+1)
		q.rows -= r.rows
		r.state, r.err = finished, why
		q.mu.Unlock()
		q.settle(r)
		return why
	}
	r.state = left
	r.step.present--
	if r.step.present == 0 {
		r.step.cancel()
	}
	q.mu.Unlock()
	return why
}

// work takes steps until nothing waits.
func (q *queue) work() {
	var view []waiting
	var d decision
	for {
		q.mu.Lock()
		view = view[:0]
		for _, r := range q.waiting {
			view = append(view, r.waiting)
		}
		decide(view, q.limits, time.Now(), &d)
		gone := q.expire(d.expired)
		s := q.take(d.join)
		if s == nil && d.wait == 0 && len(q.waiting) == 0 {
			q.workers--
			q.endIfIdle()
			q.mu.Unlock()
			q.settleAll(gone)
			return
		}
		q.mu.Unlock()
		q.settleAll(gone)
		if s == nil {
			q.sleep(d.wait)
			continue
		}
		q.run(s)
		q.finish(s)
	}
}

// sleep waits for company, but no longer than d.
func (q *queue) sleep(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-q.arrived:
	}
}

// expire ends the requests at these indices; take has not moved any yet, and
// indices of the join stay those of the snapshot, so expired ones are only cleared.
func (q *queue) expire(indices []int) []*request {
	var gone []*request
	for _, i := range indices {
		r := q.waiting[i]
		q.rows -= r.rows
		r.state, r.err = finished, errDeadline(r)
		gone = append(gone, r)
		q.waiting[i] = nil
	}
	return gone
}

func (q *queue) settleAll(gone []*request) {
	for _, r := range gone {
		q.settle(r)
		close(r.done)
	}
}

// take moves the requests at these indices out of the queue and into a step, and
// closes the gaps that expire left.
func (q *queue) take(indices []int) *step {
	var s *step
	if len(indices) > 0 {
		s = newStep(len(indices))
		for _, i := range indices {
			r := q.waiting[i]
			q.waiting[i] = nil
			q.rows -= r.rows
			r.state, r.step = running, s
			s.add(r, min(r.rows, q.limits.MaxBatchRows))
		}
	}
	q.waiting = slices.DeleteFunc(q.waiting, func(r *request) bool { return r == nil })
	return s
}

// finish ends the requests of a step that has run; one with rows left goes to the
// end of the queue, so that a large request delays the others by a slice at a time.
func (q *queue) finish(s *step) {
	s.cancel()
	for _, m := range s.members {
		r := m.request
		if r.err == nil && m.hi < r.total {
			q.mu.Lock()
			if r.state != left {
				r.rows = r.total - m.hi
				q.push(r)
				q.mu.Unlock()
				continue
			}
			r.err = fault.New("serve.step", fault.Canceled, "the caller went away")
			q.mu.Unlock()
		}
		if r.err == nil {
			r.outputs, r.err = joinParts(r.parts)
		}
		q.mu.Lock()
		r.state = finished
		q.mu.Unlock()
		q.settle(r)
		close(r.done)
	}
}

// hold keeps the deployment open without a step, for what has a queue of its own; false
// if it is being replaced. letGo must follow.
func (q *queue) hold() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.holders++
	return true
}

func (q *queue) letGo() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.holders--
	q.endIfIdle()
}

// endIfIdle closes idle, once: a closed queue gets no new workers and holders. q.mu is
// held.
func (q *queue) endIfIdle() {
	if q.closed && q.workers == 0 && q.holders == 0 {
		close(q.idle)
	}
}

// retire takes no more requests; those that were admitted are answered.
func (q *queue) retire() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	q.closed = true
	q.endIfIdle()
}

// depth is the number of requests and rows that wait.
func (q *queue) depth() (requests, rows int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting), q.rows
}
