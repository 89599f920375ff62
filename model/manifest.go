package model

import (
	"tandem/internal/blob"
	"tandem/tensor"
)

// Digest names bytes by their content: "sha256:" and 64 hexadecimal digits.
type Digest = blob.Digest

// Manifest describes an artifact completely. Its encoding is canonical, and the
// digest of that encoding is the identity of the artifact: whoever trusts the
// digest can verify every byte.
type Manifest struct {
	Format    int                `json:"format"` // FormatVersion
	Family    string             `json:"family,omitempty"`
	Task      string             `json:"task,omitempty"`
	Stages    []StageSpec        `json:"stages"` // in the order that data passes through them
	Signature Signature          `json:"signature"`
	Labels    []string           `json:"labels,omitempty"` // names of classes, by index
	Files     []File             `json:"files"`            // sorted by name
	Lineage   Lineage            `json:"lineage"`
	Metrics   map[string]float64 `json:"metrics,omitempty"`
}

// FormatVersion is the version of the artifact format that this package writes.
const FormatVersion = 1

// StageSpec names a stage's kind ("image", "graph") and the file that configures it.
type StageSpec struct {
	Kind string `json:"kind"`
	File string `json:"file"`
}

// Signature is what the first stage takes and the last one gives.
type Signature struct {
	Inputs  []TensorSpec `json:"inputs"`
	Outputs []TensorSpec `json:"outputs"`
	// Batch tells that the first dimension of every input and output is the batch:
	// rows are independent, so that requests can be joined.
	Batch bool `json:"batch"`
}

// TensorSpec describes one named tensor. A dimension of -1 is any size.
type TensorSpec struct {
	Name  string `json:"name"`
	DType string `json:"dtype"` // as tensor.DType prints it
	Shape []int  `json:"shape"`
}

// Type is the element type; Undefined if the name is not one.
func (s TensorSpec) Type() tensor.DType {
	d, err := tensor.ParseDType(s.DType)
	if err != nil {
		return tensor.Undefined
	}
	return d
}

// File is one file of an artifact.
type File struct {
	Name   string `json:"name"` // a plain name: no separators
	Digest Digest `json:"digest"`
	Bytes  int64  `json:"bytes"`
}

// Lineage says where an artifact comes from.
type Lineage struct {
	Spec string `json:"spec,omitempty"` // digest of the run's spec
	Data Digest `json:"data,omitempty"` // digest of the training data
	Seed uint64 `json:"seed,omitempty"`
	From Digest `json:"from,omitempty"` // artifact that training started from
}
