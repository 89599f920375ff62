package train

import (
	"context"
	"fmt"
	"math"

	"tandem/data"
	"tandem/fault"
	"tandem/graph"
	"tandem/tensor"
)

// firstBad is the error that ends a replay: where the first number that is none
// came from.
type firstBad struct {
	node   string
	output string
	value  float32
	index  int
}

func (b *firstBad) Error() string {
	return fmt.Sprintf("%s gives %v as element %d of %s", b.node, b.value, b.index, b.output)
}

// diverged is the error of a loss that is no number. The steps since the last
// checkpoint are done again, every result looked at, to find where it began: steps
// repeat bit for bit. The run ends with it, so that nothing of it counts any more.
func (t *trainer) diverged(ctx context.Context, epoch int, loss float64) error {
	step := t.done
	where := "it could not be found where this began"
	if bad, at, err := t.replay(ctx, step, math.IsNaN(loss)); err == nil && bad != nil {
		where = fmt.Sprintf("in step %d, node %v", at, bad)
	} else if err != nil {
		where += ": " + err.Error()
	}
	return fault.New("train.run", fault.Invalid, "the loss of step %d (epoch %d) is %v; %s", step, epoch+1, loss, where).
		Try(divergedRemedy)
}

const divergedRemedy = "lower train.optimizer.learning_rate, or add train.schedule.warmup_steps"

// replay does the steps from the newest checkpoint to last again.
func (t *trainer) replay(ctx context.Context, last int, nan bool) (bad *firstBad, step int, err error) {
	opt := stepOptions(t.spec.Train, t.opt.Ops, t.opt.Pool)
	opt.Check = func(n *graph.Node, output int, x *tensor.Tensor) error {
		if bad = badIn(n, output, x, nan); bad != nil {
			return bad
		}
		return nil
	}
	watched, err := newStepper(t.p, t.spec.Train, opt)
	if err != nil {
		return nil, 0, err
	}
	defer watched.Close()
	t.step, t.done, t.tests = watched, 0, nil
	if list, err := t.checkpoints(); err != nil {
		return nil, 0, err
	} else if len(list) > 0 {
		if err := t.load(list[0]); err != nil {
			return nil, 0, err
		}
	}
	feed := newFeeder(t.p, t.spec.Train.rows(t.p), t.opt.Pool.Threads())
	feed.start(t.p.Train, data.Pass{Shuffle: true, Seed: t.spec.Train.Seed, Epoch: t.done / t.perEpoch, Skip: t.done % t.perEpoch})
	defer feed.stop()
	for t.done < last {
		b, err := feed.next()
		if err != nil {
			return nil, 0, err
		}
		rate := t.spec.Train.rate(t.done, t.total, t.tests)
		_, _, err = t.step.Step(ctx, t.done+1, rate, b.inputs(), b.target())
		if t.done++; bad != nil {
			return bad, t.done, nil
		}
		if err != nil {
			return nil, 0, err
		}
		feed.release(b)
	}
	return nil, 0, nil
}

// badIn finds the first element that is NaN, or is +Inf where the loss is infinite.
// (-Inf is what masks are made of.)
func badIn(n *graph.Node, output int, x *tensor.Tensor, nan bool) *firstBad {
	if x.DType() != tensor.Float32 {
		return nil
	}
	for i, v := range x.F32() {
		if v != v || !nan && math.IsInf(float64(v), 1) {
			return &firstBad{n.String(), n.Outputs[output].Name, v, i}
		}
	}
	return nil
}
