package train

import (
	"tandem/data"
	"tandem/fault"
	"tandem/graph"
	"tandem/graph/pass"
	"tandem/tensor"
)

// rows is how many a batch has at most: not more than there are, for which there would have
// to be room.
func (t TrainSpec) rows(p *Problem) int { return max(1, min(t.BatchRows, p.Train.Len())) }

// checkMemory refuses a run that needs more memory than it may take.
func (t *trainer) checkMemory() error {
	if t.opt.MemoryLimitBytes <= 0 {
		return nil
	}
	need, err := EstimateMemory(t.p, t.spec.Train, t.opt.Ops, t.opt)
	if err != nil {
		return err
	}
	if t.opt.Needs != nil {
		t.opt.Needs(need)
	}
	if total := need.Total(); total > t.opt.MemoryLimitBytes {
		return fault.New("train.run", fault.TooLarge, "the run needs about %d MiB of memory, the limit is %d MiB: %d MiB for weights and optimizer, %d MiB for a step of %d examples, %d MiB for evaluation",
			total>>20, t.opt.MemoryLimitBytes>>20, need.StateBytes>>20, need.StepBytes>>20, t.spec.Train.rows(t.p), need.EvaluationBytes>>20).
			Try("lower train.batch_rows, set train.recompute, or give a higher memory limit")
	}
	return nil
}

// Memory is what a run takes, in bytes.
type Memory struct {
	StateBytes      int64 // weights, what the optimizer keeps, and the copy that is written in the end
	StepBytes       int64 // what steps work in, and the batches that are prepared for them
	EvaluationBytes int64 // the same of evaluations
}

// Total is all of it.
func (m Memory) Total() int64 { return m.StateBytes + m.StepBytes + m.EvaluationBytes }

// EstimateMemory plans steps and evaluations without running them. Not in it are the
// examples themselves, and the garbage of Go's heap.
func EstimateMemory(p *Problem, spec TrainSpec, ops *graph.Table, opt Options) (Memory, error) {
	g, err := stepGraph(p, spec, ops)
	if err != nil {
		return Memory{}, fault.Wrap(err, "train.compile", fault.Invalid, "the network cannot be trained")
	}
	step, err := estimateAll(g, stepOptions(spec, ops, opt.Pool), p.Train, spec.rows(p))
	if err != nil {
		return Memory{}, err
	}
	if g, err = evaluationGraph(p, ops, nil); err != nil {
		return Memory{}, err
	}
	eval, err := estimateAll(g, graph.Options{Ops: ops, Pool: opt.Pool, Passes: pass.Evaluation()}, p.Test, evaluationRows)
	if err != nil {
		return Memory{}, err
	}
	weights := 0
	for _, v := range p.Params {
		weights += v.Const.DType.ByteLen(v.Const.Shape.Len())
	}
	threads := opt.Pool.Threads()
	return Memory{
		StateBytes:      int64(step.StateBytes + weights),
		StepBytes:       int64(step.WorkingBytes + preparedBytes(p, p.Train, spec.rows(p), threads)),
		EvaluationBytes: int64(eval.WorkingBytes + preparedBytes(p, p.Test, evaluationRows, threads)),
	}, nil
}

// estimateAll is the estimate for the batches of a pass over d. The last one has a frame of
// its own if it has fewer rows.
func estimateAll(g *graph.Graph, opt graph.Options, d *data.Dataset, rows int) (sum graph.Estimate, err error) {
	for _, n := range []int{rows, d.Len() % rows} {
		if n == 0 || n > d.Len() {
			continue
		}
		e, err := graph.EstimateRun(g, opt, shapesOf(g, n))
		if err != nil {
			return sum, err
		}
		e.WorkingBytes += sum.WorkingBytes
		sum = e
	}
	return sum, nil
}

// preparedBytes are of the batches that a feeder holds. How long texts are, such as the
// files of pictures, is not known.
func preparedBytes(p *Problem, d *data.Dataset, rows, threads int) int {
	types := []graph.Type{p.Target}
	for _, v := range p.Graph.Inputs {
		types = append(types, v.Type)
	}
	batch := 0
	for _, t := range types {
		batch += t.DType.ByteLen(shapeOf(t, rows).Len())
	}
	for _, f := range d.Fields() {
		if f.DType != tensor.String {
			batch += rows * f.DType.ByteLen(f.Shape.Len())
		}
	}
	return batch * (feedWorkers(threads) + 1)
}

// shapesOf are the shapes of a graph's inputs for so many rows.
func shapesOf(g *graph.Graph, rows int) []tensor.Shape {
	list := make([]tensor.Shape, len(g.Inputs))
	for i, v := range g.Inputs {
		list[i] = shapeOf(v.Type, rows)
	}
	return list
}

// shapeOf is a type's shape for so many rows: a dimension that is no number is the batch.
func shapeOf(t graph.Type, rows int) tensor.Shape {
	shape := make(tensor.Shape, len(t.Shape))
	for j, d := range t.Shape {
		n, ok := d.Value()
		if !ok {
			n = rows
		}
		shape[j] = n
	}
	return shape
}
