package serve

import (
	"time"

	"tandem/fault"
)

// Limits bound one deployment's queue and steps. Zero fields take the defaults.
type Limits struct {
	MaxBatchRows      int           // rows of one step; a larger request runs in slices of it
	MaxQueuedRequests int           // requests that wait; one more is refused
	MaxQueuedRows     int           // rows that wait, and so the most rows of one request
	MaxDelay          time.Duration // how long the oldest request may wait for company while the engine is idle
	Instances         int           // steps at the same time; kernels are parallel inside
}

// DefaultLimits are what a deployment gets that asks for nothing.
func DefaultLimits() Limits {
	return Limits{MaxBatchRows: 64, MaxQueuedRequests: 1024, MaxQueuedRows: 65536, Instances: 1}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	if l.MaxBatchRows == 0 {
		l.MaxBatchRows = d.MaxBatchRows
	}
	if l.MaxQueuedRequests == 0 {
		l.MaxQueuedRequests = d.MaxQueuedRequests
	}
	if l.MaxQueuedRows == 0 {
		l.MaxQueuedRows = d.MaxQueuedRows
	}
	if l.Instances == 0 {
		l.Instances = d.Instances
	}
	return l
}

func (l Limits) check() error {
	for _, f := range []struct {
		name string
		n    int
	}{
		{"MaxBatchRows", l.MaxBatchRows}, {"MaxQueuedRequests", l.MaxQueuedRequests},
		{"MaxQueuedRows", l.MaxQueuedRows}, {"Instances", l.Instances},
	} {
		if f.n < 1 {
			return fault.New("serve.limits", fault.Invalid, "%s is %d and must be at least 1", f.name, f.n)
		}
	}
	if l.MaxDelay < 0 {
		return fault.New("serve.limits", fault.Invalid, "MaxDelay is %v and must not be negative", l.MaxDelay)
	}
	return nil
}
