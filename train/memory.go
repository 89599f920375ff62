package train

import (
	"tandem/fault"
	"tandem/graph"
	"tandem/graph/pass"
	"tandem/tensor"
)

// checkMemory refuses a run that needs more memory than it may take.
func (t *trainer) checkMemory() error {
	if t.opt.MemoryLimitBytes <= 0 {
		return nil
	}
	need, err := EstimateMemory(t.p, t.spec.Train, t.opt.Ops, t.opt)
	if err != nil {
		return err
	}
	if total := need.Total(); total > t.opt.MemoryLimitBytes {
		return fault.New("train.run", fault.TooLarge, "the run needs at least %d MiB of memory, the limit is %d MiB: %d MiB for weights and optimizer, %d MiB for a step of %d examples, %d MiB for evaluation",
			total>>20, t.opt.MemoryLimitBytes>>20, need.StateBytes>>20, need.StepBytes>>20, t.spec.Train.BatchRows, need.EvaluationBytes>>20).
			Try("lower train.batch_rows, set train.recompute, or give a higher memory limit")
	}
	return nil
}

// Memory is what a run takes at least, in bytes.
type Memory struct {
	StateBytes      int64 // weights, and what the optimizer keeps
	StepBytes       int64 // values of one step, and the batches that are prepared for it
	EvaluationBytes int64
}

// Total is all of it.
func (m Memory) Total() int64 { return m.StateBytes + m.StepBytes + m.EvaluationBytes }

// EstimateMemory plans a step and an evaluation without running them. What kernels
// keep for themselves is not in it.
func EstimateMemory(p *Problem, spec TrainSpec, ops *graph.Table, opt Options) (Memory, error) {
	g, err := stepGraph(p, spec, ops)
	if err != nil {
		return Memory{}, fault.Wrap(err, "train.compile", fault.Invalid, "the network cannot be trained")
	}
	step, err := graph.EstimateRun(g, stepOptions(spec, ops, opt.Pool), shapesOf(g, spec.BatchRows))
	if err != nil {
		return Memory{}, err
	}
	if g, err = evaluationGraph(p, ops, nil); err != nil {
		return Memory{}, err
	}
	eval, err := graph.EstimateRun(g, graph.Options{Ops: ops, Pool: opt.Pool, Passes: pass.Evaluation()}, shapesOf(g, evaluationRows))
	if err != nil {
		return Memory{}, err
	}
	batch := 0
	for i, s := range shapesOf(p.Graph, spec.BatchRows) {
		batch += p.Graph.Inputs[i].Type.DType.ByteLen(s.Len())
	}
	const prepared = 2 // batches at least, see feeder
	return Memory{int64(step.StateBytes), int64(step.WorkingBytes + prepared*batch), int64(eval.WorkingBytes)}, nil
}

// shapesOf are the shapes of a graph's inputs for so many rows: dimension 0 of what
// has symbols is the batch.
func shapesOf(g *graph.Graph, rows int) []tensor.Shape {
	list := make([]tensor.Shape, len(g.Inputs))
	for i, v := range g.Inputs {
		shape := make(tensor.Shape, len(v.Type.Shape))
		for j, d := range v.Type.Shape {
			n, ok := d.Value()
			if !ok {
				n = rows
			}
			shape[j] = n
		}
		list[i] = shape
	}
	return list
}
