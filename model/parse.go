package model

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"tandem/fault"
	"tandem/internal/blob"
)

// Limits of a manifest.
const (
	maxManifestBytes = 16 << 20
	maxFiles         = 1024
	maxFileBytes     = 1 << 50
	maxStages        = 64
	maxTensors       = 1 << 14 // of each side of a signature: rows have as many columns
	maxRank          = 32
	maxNameBytes     = 128  // of files and kinds
	MaxTextBytes     = 4096 // of labels, tensor names and the like
)

const (
	parseOp     = "model.parseManifest"
	remedyParse = "write the artifact again with this version of Tandem"
)

// ParseManifest accepts exactly what Encode writes: an artifact has one identity,
// hence one spelling. Unknown or repeated fields, other spacing, and whatever
// Validate refuses are errors of kind Invalid.
func ParseManifest(data []byte) (*Manifest, error) {
	if len(data) > maxManifestBytes {
		return nil, fault.New(parseOp, fault.TooLarge, "the manifest has more than %d bytes", maxManifestBytes)
	}
	m := new(Manifest)
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(m); err != nil {
		return nil, fault.Wrap(fault.JSON("manifest", data, err), parseOp, fault.Invalid, "").Try(remedyParse)
	}
	if err := m.Validate(); err != nil {
		return nil, err
	}
	if !bytes.Equal(m.Encode(), data) {
		return nil, fault.New(parseOp, fault.Invalid, "the manifest is not in its canonical form").Try(remedyParse)
	}
	return m, nil
}

// Encode is the canonical form: compact JSON, fields in the order of the type, one
// newline at the end. The manifest must be valid: a metric that is not a finite
// number panics.
func (m *Manifest) Encode() []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(m.withoutNil()); err != nil {
		panic(fmt.Sprintf("model: Encode of a manifest that Validate refuses: %v", err))
	}
	return buf.Bytes()
}

// Digest is the identity of the artifact.
func (m *Manifest) Digest() Digest { return blob.Sum(m.Encode()) }

// withoutNil replaces nil lists by empty ones, which are written otherwise.
func (m *Manifest) withoutNil() *Manifest {
	c := *m
	c.Stages = orEmpty(m.Stages)
	c.Files = orEmpty(m.Files)
	specs := func(list []TensorSpec) []TensorSpec {
		out := orEmpty(slices.Clone(list))
		for i := range out {
			out[i].Shape = orEmpty(out[i].Shape)
		}
		return out
	}
	c.Signature.Inputs = specs(m.Signature.Inputs)
	c.Signature.Outputs = specs(m.Signature.Outputs)
	return &c
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// File is the listed file of that name.
func (m *Manifest) File(name string) (File, bool) {
	i, ok := slices.BinarySearchFunc(m.Files, name, func(f File, name string) int { return strings.Compare(f.Name, name) })
	if !ok {
		return File{}, false
	}
	return m.Files[i], true
}

// Validate says what is wrong with the manifest.
func (m *Manifest) Validate() error {
	if m.Format != FormatVersion {
		return fault.New(parseOp, fault.Unsupported, "the artifact has format %d, this version of Tandem reads %d", m.Format, FormatVersion).
			Try("use the version of Tandem that wrote it, or a newer one")
	}
	for _, check := range []func() error{m.checkFiles, m.checkStages, m.Signature.validate, m.checkTexts, m.checkLineage} {
		if err := check(); err != nil {
			return fault.Wrap(err, parseOp, fault.Invalid, "manifest").Try(remedyParse)
		}
	}
	return nil
}

func (m *Manifest) checkFiles() error {
	if len(m.Files) > maxFiles {
		return fmt.Errorf("%d files, at most %d are allowed", len(m.Files), maxFiles)
	}
	folded := map[string]bool{}
	for i, f := range m.Files {
		if err := plainName(f.Name); err != nil {
			return err
		}
		if i > 0 && m.Files[i-1].Name >= f.Name {
			return fmt.Errorf("file %q is not in order, or listed twice", f.Name)
		}
		// Some file systems take both spellings for one file.
		if low := strings.ToLower(f.Name); folded[low] {
			return fmt.Errorf("file %q differs from another in case only", f.Name)
		} else {
			folded[low] = true
		}
		if _, err := blob.ParseDigest(string(f.Digest)); err != nil {
			return fmt.Errorf("file %q: %w", f.Name, err)
		}
		if f.Bytes < 0 || f.Bytes > maxFileBytes {
			return fmt.Errorf("file %q: a size of %d bytes", f.Name, f.Bytes)
		}
	}
	return nil
}

// plainName admits names that mean the same file everywhere and lead nowhere else.
func plainName(name string) error {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
	if name == "" || len(name) > maxNameBytes || strings.Trim(name, letters) != "" || name[0] == '.' || name[0] == '-' ||
		strings.EqualFold(name, ManifestFile) {
		return fault.New(parseOp, fault.Invalid, "%.200q is not a file name for an artifact", name).
			Try("use letters, digits, '-', '_' and '.', and begin with a letter or digit")
	}
	return nil
}

func (m *Manifest) checkStages() error {
	if len(m.Stages) == 0 || len(m.Stages) > maxStages {
		return fmt.Errorf("%d stages, expected 1 to %d", len(m.Stages), maxStages)
	}
	for i, s := range m.Stages {
		if err := plainName(s.Kind); err != nil {
			return fmt.Errorf("stage %d: %q is not the kind of a stage", i, s.Kind)
		}
		if _, ok := m.File(s.File); !ok {
			return fmt.Errorf("stage %d (%s): its file %q is not listed", i, s.Kind, s.File)
		}
	}
	return nil
}

func (s Signature) validate() error {
	side := func(what string, list []TensorSpec) error {
		if len(list) == 0 || len(list) > maxTensors {
			return fmt.Errorf("%d %ss, expected 1 to %d", len(list), what, maxTensors)
		}
		names := map[string]bool{}
		for _, t := range list {
			if err := t.validate(s.Batch); err != nil {
				return fmt.Errorf("%s %.200q: %w", what, t.Name, err)
			}
			if names[t.Name] {
				return fmt.Errorf("two %ss are called %.200q", what, t.Name)
			}
			names[t.Name] = true
		}
		return nil
	}
	if err := side("input", s.Inputs); err != nil {
		return err
	}
	return side("output", s.Outputs)
}

func (s TensorSpec) validate(batch bool) error {
	if s.Name == "" {
		return fmt.Errorf("it has no name")
	}
	if err := checkText(s.Name); err != nil {
		return err
	}
	if !s.Type().Valid() {
		return fmt.Errorf("no element type is called %.40q", s.DType)
	}
	if len(s.Shape) > maxRank {
		return fmt.Errorf("%d dimensions, at most %d are allowed", len(s.Shape), maxRank)
	}
	for _, d := range s.Shape {
		if d < -1 || d > math.MaxInt32 {
			return fmt.Errorf("a dimension of %d", d)
		}
	}
	if batch && (len(s.Shape) == 0 || s.Shape[0] != -1) {
		return fmt.Errorf("its first dimension must be -1, because the signature says that it is the batch")
	}
	return nil
}

func (m *Manifest) checkTexts() error {
	texts := append([]string{m.Family, m.Task, m.Lineage.Spec}, m.Labels...)
	for name, v := range m.Metrics {
		texts = append(texts, name)
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("metric %.200q is %v, not a finite number", name, v)
		}
	}
	for _, s := range texts {
		if err := checkText(s); err != nil {
			return err
		}
	}
	return nil
}

func checkText(s string) error {
	if len(s) > MaxTextBytes {
		return fmt.Errorf("a text of %d bytes (%.40q…), at most %d are allowed", len(s), s, MaxTextBytes)
	}
	return checkUTF8(s)
}

func checkUTF8(s string) error {
	if !utf8.ValidString(s) {
		return fmt.Errorf("a text that is not UTF-8: %.40q", s)
	}
	return nil
}

func (m *Manifest) checkLineage() error {
	for _, d := range []Digest{m.Lineage.Data, m.Lineage.From, Digest(m.Lineage.Spec)} {
		if d == "" {
			continue
		}
		if _, err := blob.ParseDigest(string(d)); err != nil {
			return fmt.Errorf("lineage: %w", err)
		}
	}
	return nil
}
