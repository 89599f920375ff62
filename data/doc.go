// Package data holds the examples that models learn from: datasets, their
// deterministic order and split, and the readers of file formats.
//
// A Dataset is a set of named columns; the first dimension of each is the
// example. It lies in memory, or streams from where it is, in blocks; readers see
// no difference, but that a column of one that streams can't be had whole:
//
//	dataset.go  Dataset, Field: what there is
//	reader.go   Read: all examples in batches, in order or shuffled; resumed at any batch
//	order.go    permutations
//	digest.go   the identity of the examples
//
// Everything random here is a specified function of a seed: the same call gives
// the same rows on every machine and in every release, because a training job that
// resumes after a crash depends on it.
package data
