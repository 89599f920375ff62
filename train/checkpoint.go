package train

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"tandem/fault"
	"tandem/model"
)

// keptCheckpoints is how many checkpoints stay: the newest, and one in case the
// newest turns out damaged.
const keptCheckpoints = 2

// checkpoint writes the state after the steps done, then the record. Until both
// are on the disk, the checkpoint before counts.
func (t *trainer) checkpoint() error {
	const op = "train.checkpoint"
	if err := t.metrics.Sync(); err != nil {
		return fault.From(err, op)
	}
	if err := t.save(t.checkpointPath(t.done)); err != nil {
		return fault.Wrap(err, op, fault.KindOf(err), "the checkpoint after step %d cannot be written", t.done)
	}
	t.record.Steps = t.done
	t.record.TrainedMS = t.trainedBefore + time.Since(t.started).Milliseconds()
	if err := t.record.write(t.dir); err != nil {
		return fault.From(err, op)
	}
	return t.prune()
}

// save writes the state and how far the run is.
func (t *trainer) save(path string) error {
	var tensors []model.NamedTensor
	for _, name := range t.step.names {
		tensors = append(tensors, model.NamedTensor{Name: name, Tensor: t.step.state[name]})
	}
	sums, err := json.Marshal(t.epoch)
	if err != nil {
		return err
	}
	window, err := json.Marshal(t.window)
	if err != nil {
		return err
	}
	tests, err := json.Marshal(t.tests)
	if err != nil {
		return err
	}
	// The record is written after the checkpoint, and may be one behind it.
	metrics, err := json.Marshal(t.record.Metrics)
	if err != nil {
		return err
	}
	meta := map[string]string{"step": strconv.Itoa(t.done), "spec": string(t.record.Spec), "epoch": string(sums), "window": string(window), "tests": string(tests), "metrics": string(metrics), "stopped": strconv.FormatBool(t.stopped)}
	return writeDurably(path, func(f *os.File) error { return model.WriteSafetensors(f, tensors, meta) })
}

// saveBest keeps the state of the best epoch so far.
func (t *trainer) saveBest() error {
	if err := t.save(filepath.Join(t.dir, bestFile)); err != nil {
		return fault.Wrap(err, "train.checkpoint", fault.KindOf(err), "the best weights so far cannot be written")
	}
	return nil
}

// best is the state of the best epoch.
func (t *trainer) best() (*model.Safetensors, error) {
	return model.ReadSafetensors(filepath.Join(t.dir, bestFile))
}

func (t *trainer) checkpointPath(step int) string {
	return filepath.Join(t.dir, checkpointDir, fmt.Sprintf("%08d.safetensors", step))
}

// checkpoints lists the files, the newest first. From 100 million steps on their names
// are longer.
func (t *trainer) checkpoints() ([]string, error) {
	list, err := filepath.Glob(filepath.Join(t.dir, checkpointDir, "*.safetensors"))
	slices.SortFunc(list, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(b, a)) })
	return list, err
}

func (t *trainer) prune() error {
	list, err := t.checkpoints()
	if err != nil || len(list) <= keptCheckpoints {
		return fault.From(err, "train.checkpoint")
	}
	for _, path := range list[keptCheckpoints:] {
		if err := os.Remove(path); err != nil {
			return fault.From(err, "train.checkpoint")
		}
	}
	return nil
}

// restore loads the newest checkpoint that is whole; without one the run starts
// anew. Lines of metrics after it are dropped: those steps will be done again.
func (t *trainer) restore() error {
	list, err := t.checkpoints()
	if err != nil {
		return fault.From(err, "train.restore")
	}
	var damaged []error
	for _, path := range list {
		err := t.load(path)
		if err == nil {
			damaged = nil
			break
		}
		damaged = append(damaged, err)
	}
	if len(damaged) > 0 {
		return fault.Wrap(errors.Join(damaged...), "train.restore", fault.Corrupt, "no checkpoint in %s can be read", filepath.Join(t.dir, checkpointDir)).
			Try("remove the damaged files to start anew")
	}
	if t.spec.Train.KeepBest && len(t.tests) > 0 {
		best, err := t.best()
		if err != nil {
			return fault.Wrap(err, "train.restore", fault.Corrupt, "the weights of the best epoch so far cannot be read").
				Try("restore " + filepath.Join(t.dir, bestFile) + ", or take the directory of the run away to start anew")
		}
		if err := best.Close(); err != nil {
			return fault.From(err, "train.restore")
		}
	}
	return t.cutMetrics()
}

func (t *trainer) load(path string) error {
	const op = "train.restore"
	saved, err := model.ReadSafetensors(path)
	if err != nil {
		return err
	}
	defer saved.Close()
	step, err := strconv.Atoi(saved.Metadata["step"])
	if err != nil || step < 0 || step > t.total || saved.Metadata["spec"] != string(t.record.Spec) {
		return fault.New(op, fault.Corrupt, "%s does not belong to this run", path)
	}
	var sums, window tally
	if err := json.Unmarshal([]byte(saved.Metadata["epoch"]), &sums); err != nil {
		return fault.Wrap(err, op, fault.Corrupt, "%s", path)
	}
	if text, ok := saved.Metadata["window"]; ok { // older checkpoints have none
		if err := json.Unmarshal([]byte(text), &window); err != nil {
			return fault.Wrap(err, op, fault.Corrupt, "%s", path)
		}
	}
	var tests []float64
	var metrics map[string]float64
	if err := errors.Join(json.Unmarshal([]byte(saved.Metadata["tests"]), &tests), json.Unmarshal([]byte(saved.Metadata["metrics"]), &metrics)); err != nil {
		return fault.Wrap(err, op, fault.Corrupt, "%s", path)
	}
	if len(saved.Tensors) != len(t.step.names) {
		return fault.New(op, fault.Corrupt, "%s has %d tensors, the run has %d", path, len(saved.Tensors), len(t.step.names))
	}
	for _, s := range saved.Tensors {
		to := t.step.state[s.Name]
		if to == nil || to.DType() != s.Tensor.DType() || !to.Shape().Equal(s.Tensor.Shape()) {
			return fault.New(op, fault.Corrupt, "%s: tensor %s is not one of this run's", path, s.Name)
		}
	}
	for _, s := range saved.Tensors {
		copy(t.step.state[s.Name].Bytes(), s.Tensor.Bytes())
	}
	t.done, t.epoch, t.window, t.tests, t.record.Metrics = step, sums, window, tests, metrics
	t.stopped = saved.Metadata["stopped"] == "true"
	return nil
}

func (t *trainer) cutMetrics() error {
	path := filepath.Join(t.dir, metricsFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.From(err, "train.restore")
	}
	var kept []byte
	for line := range bytes.Lines(text) {
		var m Metric
		if json.Unmarshal(line, &m) != nil || m.Step > t.done {
			break
		}
		kept = append(kept, line...)
	}
	return fault.From(writeDurably(path, func(f *os.File) error { _, err := f.Write(kept); return err }), "train.restore")
}
