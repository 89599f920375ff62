// Package serve answers requests with loaded models: it loads and swaps
// deployments, admits requests to a queue for each, and joins what waits there
// into steps.
//
// The way of a request, in the order of the files:
//
//	engine.go    which model: tenant and name to the deployment that serves now
//	validate.go  are the tensors what the model's signature asks for
//	limits.go    how much may wait, and be joined
//	queue.go     admission, deadline, cancel; workers that take steps
//	decide.go    who joins the next step: a pure function, replayed by a seed
//	step.go      join inputs along the first dimension, run, split, settle
//	record.go    what a request took, for the ledger
//	language.go  models that generate text: leases, and what they record
//	deploy.go    load, warm, commit; the replaced version drains and closes
//	rollout.go   Rollout: what the registry says serves is what serves
//
// serve knows a model only as a Runner. Which families there are, and how a
// request looks on the wire, is known elsewhere: cmd hands in a Loader, and the
// protocols call Infer.
//
// A request that finds the engine idle runs at once: nothing here sleeps in the
// hope of company unless Limits.MaxDelay says so. Batches form because requests
// arrive while a step runs.
package serve
