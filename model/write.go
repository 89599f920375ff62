package model

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"tandem/fault"
	"tandem/graph"
	"tandem/graph/onnx"
	"tandem/internal/blob"
	"tandem/processor"
)

// Names of the files that Write makes.
const (
	ImageFile   = "image.json"
	RowsFile    = "rows.json"
	TextFile    = "text.json"
	GraphFile   = "model.onnx"
	WeightsFile = "weights.bin"
)

// Artifact is what Write puts into a directory: the stages, in the order of the
// fields, and what the manifest tells of them.
type Artifact struct {
	Family, Task string
	Labels       []string
	Lineage      Lineage
	Metrics      map[string]float64
	// Batch tells that rows are independent: see Signature.
	Batch bool

	// What turns inputs into the graph's, one of these; none: the graph takes the
	// caller's tensors.
	Image *processor.Image
	Rows  *processor.Rows
	Text  *processor.Bytes

	Graph *graph.Graph // with the types of inputs and outputs known
}

// stages are the artifact's stages without Run, and their specs.
func (a Artifact) stages() ([]*Stage, []StageSpec) {
	var (
		stages []*Stage
		specs  []StageSpec
	)
	if a.Image != nil {
		stages, specs = append(stages, imageStage(a.Image)), append(specs, StageSpec{KindImage, ImageFile})
	}
	if a.Rows != nil {
		stages, specs = append(stages, rowsStage(a.Rows)), append(specs, StageSpec{KindRows, RowsFile})
	}
	if a.Text != nil {
		stages, specs = append(stages, textStage(a.Text)), append(specs, StageSpec{KindText, TextFile})
	}
	return append(stages, graphStage(a.Graph)), append(specs, StageSpec{KindGraph, GraphFile})
}

// manifest is complete but for the files.
func (a Artifact) manifest() (*Manifest, error) {
	if a.Graph == nil {
		return nil, fault.New("model.write", fault.Invalid, "the artifact has no graph")
	}
	stages, specs := a.stages()
	m := &Manifest{
		Format: FormatVersion, Family: a.Family, Task: a.Task, Stages: specs,
		Signature: signatureOf(stages, a.Batch),
		Labels:    a.Labels, Lineage: a.Lineage, Metrics: a.Metrics,
	}
	return m, checkStages(stages, specs, m.Signature)
}

// Write makes the directory dir with the artifact and returns its identity. The
// directory appears complete and durable, or not at all; it must not be there yet,
// or be empty.
func Write(dir string, a Artifact) (Digest, error) {
	const op = "model.write"
	m, err := a.manifest()
	if err != nil {
		return "", err
	}
	dir = filepath.Clean(dir)
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+".tmp-")
	if err != nil {
		return "", fault.Wrap(err, op, fault.KindOf(err), "writing %s", dir).Try("choose a directory that can be written")
	}
	if err := a.fill(tmp, m); err != nil {
		_ = os.RemoveAll(tmp) // the error that matters is the first
		return "", fault.Wrap(err, op, fault.KindOf(err), "writing %s", dir).Try(fault.RemedyOf(err))
	}
	if err := publish(tmp, dir); err != nil {
		_ = os.RemoveAll(tmp) // the error that matters is the first
		return "", err
	}
	return m.Digest(), nil
}

// fill writes the files and the manifest into the directory tmp.
func (a Artifact) fill(tmp string, m *Manifest) error {
	if a.Image != nil {
		if err := writeProcessor(filepath.Join(tmp, ImageFile), a.Image); err != nil {
			return err
		}
	}
	if a.Rows != nil {
		if err := writeProcessor(filepath.Join(tmp, RowsFile), a.Rows); err != nil {
			return err
		}
	}
	if a.Text != nil {
		if err := writeProcessor(filepath.Join(tmp, TextFile), a.Text); err != nil {
			return err
		}
	}
	if err := onnx.Save(filepath.Join(tmp, GraphFile), a.Graph, onnx.SaveOptions{ExternalData: WeightsFile}); err != nil {
		return err
	}
	if err := m.list(tmp); err != nil {
		return err
	}
	if err := m.Validate(); err != nil {
		return err
	}
	if data := m.Encode(); len(data) > maxManifestBytes {
		return fault.New("model.write", fault.TooLarge, "the manifest would have %d bytes, at most %d are allowed", len(data), maxManifestBytes).
			Try("use fewer or shorter labels")
	}
	if err := writeFile(filepath.Join(tmp, ManifestFile), m.Encode()); err != nil {
		return err
	}
	return syncDir(tmp)
}

// writeProcessor writes a processor's parameters, if they are valid.
func writeProcessor(path string, p interface{ Validate() error }) error {
	if err := p.Validate(); err != nil {
		return err
	}
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return writeFile(path, append(data, '\n'))
}

// list enters every file of the directory into the manifest.
func (m *Manifest) list(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if err := os.Chmod(path, 0o444); err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		digest, n, err := blob.SumReader(f)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		m.Files = append(m.Files, File{Name: e.Name(), Digest: digest, Bytes: n})
	}
	slices.SortFunc(m.Files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

// writeFile writes a new read-only file through to the disk.
func writeFile(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// publish gives the finished directory its name, then makes the name durable.
func publish(tmp, dir string) error {
	const op = "model.write"
	if err := os.Chmod(tmp, 0o755); err != nil { // MkdirTemp keeps others out
		return fault.From(err, op)
	}
	err := os.Rename(tmp, dir)
	if errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTDIR) { // ENOTDIR: a file
		return fault.New(op, fault.Conflict, "%s is there already", dir).Try("choose another directory, or remove that one")
	}
	if err != nil {
		return fault.Wrap(err, op, fault.KindOf(err), "writing %s", dir)
	}
	return fault.From(syncDir(filepath.Dir(dir)), op)
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
