// Package train runs a training job: a function of a problem (graph, data), a
// spec and a seed, whose result is an artifact.
//
//	spec.go        Spec: the YAML that describes a run; dataspec.go, its section on data
//	unused.go      … settings that nothing would take are refused
//	problem.go     Problem: what a family makes of a spec
//	loss.go        what training makes small
//	optimizer.go   how weights are updated
//	schedule.go    learning rates
//	step.go        the training step as a rewrite of the problem's graph
//	stepper.go     Stepper: one step at a time
//	feeder.go      batches, made ready ahead of the steps
//	trainer.go     the loop: batches, evaluation, checkpoints, progress
//	evaluate.go    the test set: metrics, what is best, callbacks
//	checkpoint.go  state on disk
//	memory.go      what a run needs, found before it starts
//	diverged.go    where a loss that is no number comes from
//	run.go         the run directory: reading, listing; lock_*.go, one process at a time
//
// # Run directory
//
//	spec.yaml                     the spec with all defaults filled in
//	run.json                      status, data digest, seed, versions, results (type Run)
//	metrics.jsonl                 one JSON object a line (type Metric)
//	evaluation.json               the evaluation that counts: each class, confusion (type Report)
//	checkpoints/NNNNNNNN.safetensors   weights and optimizer state after that many steps
//	model/                        the artifact, once the run has succeeded
//
// A run that was killed goes on from its last checkpoint and ends with the same
// weights, bit for bit, as one that was not: batches, dropout and learning rates
// depend on seed and step alone.
package train
