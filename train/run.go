package train

import (
	"bufio"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tandem/fault"
	"tandem/model"
)

// Names within a run directory.
const (
	specFile      = "spec.yaml"
	recordFile    = "run.json"
	metricsFile   = "metrics.jsonl"
	checkpointDir = "checkpoints"
	reportFile    = "evaluation.json"
	bestFile      = "best.safetensors" // weights of the best epoch
	// ModelDir is the artifact of a run that has succeeded.
	ModelDir = "model"
)

// Status of a run.
type Status string

const (
	Running   Status = "running"
	Succeeded Status = "succeeded"
	Failed    Status = "failed"
	Stopped   Status = "stopped" // by the user, with a checkpoint
	Killed    Status = "killed"  // its process ended without a word: what is recorded is Running
)

// Record is run.json: what a run is and how it went.
type Record struct {
	ID        string             `json:"id"`
	Name      string             `json:"name"`
	Family    string             `json:"family"`
	Task      string             `json:"task"`
	Status    Status             `json:"status"`
	Error     string             `json:"error,omitempty"`
	Seed      uint64             `json:"seed"`
	Spec      model.Digest       `json:"spec_digest"`
	Data      model.Digest       `json:"data_digest"`
	From      model.Digest       `json:"from_digest,omitempty"` // of what is kept of the model that training started from
	Created   time.Time          `json:"created_at"`
	Finished  *time.Time         `json:"finished_at,omitempty"`
	Steps     int                `json:"steps"` // done, as of the last checkpoint
	Threads   int                `json:"threads"`
	ISA       string             `json:"isa"` // bits differ between instruction tiers; of several if it was resumed in another
	TrainedMS int64              `json:"trained_ms"`
	Metrics   map[string]float64 `json:"metrics,omitempty"`
	Artifact  model.Digest       `json:"artifact,omitempty"`
}

// Metric is a line of metrics.jsonl. A line of kind "train" covers the steps since
// the one before; a line of kind "test" is an evaluation on the test set.
type Metric struct {
	Kind     string  `json:"kind"`
	Epoch    int     `json:"epoch"` // from 1
	Step     int     `json:"step"`  // from 1, over all epochs
	Loss     float64 `json:"loss"`
	Accuracy float64 `json:"accuracy"`
	// Values are the other metrics of an evaluation, by name.
	Values        map[string]float64 `json:"metrics,omitempty"`
	LearningRate  float32            `json:"learning_rate,omitempty"`
	RowsPerSecond float64            `json:"rows_per_s"`
	Time          time.Time          `json:"time"`
}

// ReadRecord reads the record of a run directory.
func ReadRecord(dir string) (*Record, error) {
	text, err := os.ReadFile(filepath.Join(dir, recordFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Wrap(err, "train.readRecord", fault.NotFound, "%s is not a run directory", dir)
	}
	if err != nil {
		return nil, fault.From(err, "train.readRecord")
	}
	var r Record
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fault.Wrap(err, "train.readRecord", fault.Corrupt, "%s", filepath.Join(dir, recordFile)).
			Try("restore the file, or take the directory of the run away")
	}
	if r.Status == Running && !locked(dir) {
		r.Status = Killed
	}
	return &r, nil
}

// ListRuns reads the records of the run directories in root, the oldest first.
// A missing root has none.
func ListRuns(root string) ([]*Record, error) {
	entries, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.From(err, "train.listRuns")
	}
	var list []*Record
	for _, e := range entries {
		if !e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		r, err := ReadRecord(filepath.Join(root, e.Name()))
		if fault.KindOf(err) == fault.NotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b *Record) int { return a.Created.Compare(b.Created) })
	return list, nil
}

// ReadMetrics reads metrics.jsonl of a run directory. A last line that was cut by
// a crash is left out.
func ReadMetrics(dir string) ([]Metric, error) {
	f, err := os.Open(filepath.Join(dir, metricsFile))
	if err != nil {
		return nil, fault.From(err, "train.readMetrics")
	}
	defer f.Close()
	var list []Metric
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var m Metric
		if json.Unmarshal(lines.Bytes(), &m) != nil {
			break
		}
		list = append(list, m)
	}
	return list, fault.From(lines.Err(), "train.readMetrics")
}

// writeDurably replaces a file in one step: after a crash there is the old content
// or the new.
func writeDurably(path string, write func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".tmp-")
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (r *Record) write(dir string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return writeDurably(filepath.Join(dir, recordFile), func(f *os.File) error {
		_, err := f.Write(append(text, '\n'))
		return err
	})
}
